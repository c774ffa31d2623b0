"""The process's OpenGL context through EGL, also without a GPU, and its compiled shaders.

One process owns one context: a second standalone context breaks the first.
"""

import contextlib
import importlib
from functools import cache
from pathlib import Path
from typing import Any

import moderngl
import numpy as np

EGL_PACKAGES = "libegl1 libgl1-mesa-dri libgles2 libgl1 libegl-mesa0 libgbm1"
SHADERS = {
    "still": ("surface.vert.glsl", "surface.frag.glsl"),
    "ground": ("surface.vert.glsl", "surface.frag.glsl"),
    "people": ("surface.vert.glsl", "surface.frag.glsl"),
    "light": ("sky.vert.glsl", "light.frag.glsl"),
    "truth": ("truth.vert.glsl", "truth.frag.glsl"),
    "depth": ("depth.vert.glsl", "depth.frag.glsl"),
    "sky_truth": ("sky.vert.glsl", "sky_truth.frag.glsl"),
}


@cache
def opengl_context() -> moderngl.Context:
    """The process's one context.

    Raises:
        RuntimeError: when EGL or its software driver is not installed.
    """
    # Mesa's software driver and torch's compiler carry LLVM each; Mesa's first and torch's after it
    # ends in a segmentation fault (seen with torch 2.15), the other order does not.
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")
    settings: dict[str, Any] = {"backend": "egl"}
    try:
        context = moderngl.create_context(standalone=True, require=330, **settings)
    except Exception as error:  # glcontext raises bare Exception when a library is missing
        msg = f"no OpenGL 3.3 through EGL ({error}); on Debian: apt-get install {EGL_PACKAGES}"
        raise RuntimeError(msg) from error
    context.front_face = "cw"
    return context


@cache
def shader_program(name: str, is_cutout: bool) -> moderngl.Program:
    """Compiled shaders, one object per arguments; the cut-out variant drops low alpha."""
    folder = Path(__file__).parent / "shaders"
    texts = [(folder / file).read_text() for file in SHADERS[name]]
    for shared in ("flow.glsl", "sample.glsl"):
        text = (folder / shared).read_text()
        texts = [t.replace(f"#include {shared}", text) for t in texts]
    defines = f"#define {name.upper()}" + "\n#define CUTOUT" * is_cutout
    texts = [text.replace("#version 330", f"#version 330\n{defines}") for text in texts]
    return opengl_context().program(vertex_shader=texts[0], fragment_shader=texts[1])


def write_uniform(program: moderngl.Program, name: str, values: np.ndarray) -> None:
    """Set a float uniform; matrices go column by column, as GLSL reads them."""
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform)
    uniform.write(np.asarray(values, np.float32).T.tobytes())


def assign_uniform(program: moderngl.Program, name: str, value: int | bool) -> None:
    """Set an integer or boolean uniform."""
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform)
    uniform.value = value
