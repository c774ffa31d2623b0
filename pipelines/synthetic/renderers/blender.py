"""Pictures of a world by Blender: soft light and true shadows, at a hundred times the cost.

Blender (GPL-3.0) runs as a program of its own, fed with a folder of arrays: nothing of it is
imported here, and a crash of it is an error of one clip. Labels never come from it.
World frame: metres, y up.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from numpy.lib.format import open_memmap

from pipelines.synthetic.environment import direction_of_pixels
from pipelines.synthetic.renderers.mesh import SurfaceMesh
from pipelines.synthetic.renderers.projection import FAR_M, NEAR_M
from pipelines.synthetic.world import Pictures, World

Engine = Literal["CYCLES", "BLENDER_EEVEE_NEXT"]
SCRIPT = Path(__file__).with_name("blender_script.py")
SAMPLES = 8
"""Rays per pixel: with the denoiser the fewest that keep faces and hair."""


def blender_command() -> list[str]:
    """How to start Blender with our script: the module `bpy` if installed, else a `blender`.

    Raises:
        RuntimeError: If there is neither.
    """
    if find_spec("bpy"):
        return [sys.executable, str(SCRIPT)]
    if program := shutil.which("blender"):
        return [program, "--background", "--python-exit-code", "1", "--python", str(SCRIPT), "--"]
    raise RuntimeError(
        "the Blender tier needs Blender 4.5: pip install 'bpy==4.5.*' (GPL-3.0, 0.9 GB), "
        "or put a blender program on the PATH"
    )


def blender_version() -> str:
    """Of the Blender that draws; unknown where a program does not tell."""
    if find_spec("bpy"):
        return version("bpy")
    told = subprocess.run([blender_command()[0], "--version"], capture_output=True, text=True)
    return (told.stdout.splitlines() or ["unknown"])[0]


def draw_blender(world: World, engine: Engine = "CYCLES", samples: int = SAMPLES) -> Pictures:
    """Frames and plate of a world; the same world gives the same pixels on the same machine.

    Args:
        world: What to draw.
        engine: Cycles traces rays on the CPU; EEVEE draws through OpenGL and wants a GPU.
        samples: Per pixel.

    Raises:
        RuntimeError: If Blender is missing or fails; its log is named.
    """
    command = blender_command()
    with tempfile.TemporaryDirectory(prefix="isa4d_blender_") as name:
        folder = Path(name)
        _write_job(folder, world, engine=engine, samples=samples)
        _run(command, folder)
        exposure, frames = world.environment.lighting.exposure, world.spec.num_frames
        plates = [_picture(folder, "plate", f, exposure) for f in range(_num_plates(world))]
        return Pictures(
            frames=np.stack([_picture(folder, "frame", f, exposure) for f in range(frames)]),
            plate=np.stack(plates) if len(plates) == frames else np.repeat(plates, frames, axis=0),
        )


EEVEE_SAMPLES = 16
draw_eevee = partial(draw_blender, engine="BLENDER_EEVEE_NEXT", samples=EEVEE_SAMPLES)


def trace_truth(world: World) -> Float[np.ndarray, "frames height width 3"]:
    """What Blender's rays hit, to hold against the OpenGL pass.

    Returns:
        Number of the person (0: none), camera z in metres (0: nothing hit), and
        (1 + upward part of the normal) / 2.

    Raises:
        RuntimeError: If Blender is missing or fails; its log is named.
    """
    command = blender_command()
    with tempfile.TemporaryDirectory(prefix="isa4d_blender_") as name:
        folder = Path(name)
        _write_job(folder, world, engine="CYCLES", samples=1, is_truth=True)
        _run(command, folder)
        paths = [folder / f"frame_{frame:04d}.exr" for frame in range(world.spec.num_frames)]
        return np.stack([_read_exr(path) for path in paths])


def tone(linear: Float[np.ndarray, "*shape"]) -> UInt8[np.ndarray, "*shape"]:
    """Light times exposure to sRGB bytes, by the curve of `light.frag.glsl`."""
    x = np.maximum(linear, 0.0)
    x = np.clip((x * (2.51 * x + 0.03)) / (x * (2.43 * x + 0.59) + 0.14), 0.0, 1.0)
    return (255.0 * x ** (1.0 / 2.2) + 0.5).astype(np.uint8)


def _picture(folder: Path, kind: str, frame: int, exposure: float) -> np.ndarray:
    return tone(exposure * _read_exr(folder / f"{kind}_{frame:04d}.exr"))


def _read_exr(path: Path) -> Float[np.ndarray, "height width 3"]:
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # read by OpenCV at the first EXR it opens
    import cv2

    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert picture is not None, f"Blender said it was done, yet {path} is no picture"
    return np.ascontiguousarray(picture[..., ::-1])


def _num_plates(world: World) -> int:
    return 1 if world.camera.kind == "static" else world.spec.num_frames


def _write_job(
    folder: Path, world: World, *, engine: Engine, samples: int, is_truth: bool = False
) -> None:
    """Settings as JSON, arrays beside it; people are posed frame by frame, straight to disk."""
    light = world.environment.lighting
    parts = [
        _write_part(folder, f"still{i:03d}", mesh, 0)
        for i, mesh in enumerate(world.environment.still)
    ]
    for person, actor in enumerate(world.actors):
        for part, mesh in enumerate(actor.surfaces):
            name = f"person{person:02d}_{part:03d}"
            parts.append(_write_part(folder, name, mesh, person + 1))
            shape = (world.spec.num_frames, len(mesh.vertices), 3)
            moving = [
                open_memmap(folder / name / f"{which}.npy", "w+", np.float32, shape)
                for which in ("vertices", "normals")
            ]
            for frame in range(world.spec.num_frames):
                moving[0][frame], moving[1][frame] = actor.posed(part, frame)
    np.save(folder / "panorama.npy", light.panorama.astype(np.float32))
    np.save(folder / "ambient.npy", _ambient_radiance(light.ambient_sh))
    job = {
        "engine": engine,
        "samples": samples,
        "threads": max(2, torch.get_num_threads()),  # with one, Blender's other threads spin
        "parent": os.getpid(),
        "is_truth": is_truth,
        "seed": world.spec.seed % 2**30,
        "width": world.spec.width,
        "height": world.spec.height,
        "num_frames": world.spec.num_frames,
        "num_plates": 0 if is_truth else _num_plates(world),
        "near_m": NEAR_M,
        "far_m": FAR_M,
        "K": world.camera.K.tolist(),
        "T_camera_world": world.camera.T_camera_world.tolist(),
        "sun_direction": light.sun_direction.tolist(),
        "sun_rgb": light.sun_rgb.tolist(),
        "haze_rgb": light.haze_rgb.tolist(),
        "haze_per_m": light.haze_per_m,
        "parts": parts,
    }
    (folder / "job.json").write_text(json.dumps(job))


def _ambient_radiance(ambient_sh: Float[np.ndarray, "9 3"]) -> Float[np.ndarray, "32 64 3"]:
    """A map that lights surfaces as `ambient_sh` says: irradiance without its cosine lobe.

    Ramamoorthi and Hanrahan 2001: the lobe takes 1, 2/3 and 1/4 of the bands.
    """
    x, y, z = np.moveaxis(direction_of_pixels(32, 64), -1, 0)
    ones = np.ones_like(x)
    linear, square = [y, z, x], [x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    basis = np.stack([ones, *(1.5 * a for a in linear), *(4.0 * b for b in square)], axis=-1)
    return np.maximum(basis @ ambient_sh, 0.0).astype(np.float32)


def _write_part(folder: Path, name: str, mesh: SurfaceMesh, person: int) -> dict[str, Any]:
    (folder / name).mkdir()
    np.save(folder / name / "faces.npy", _wound_outwards(mesh))
    for which in ("uv", "texture"):
        np.save(folder / name / f"{which}.npy", getattr(mesh, which))
    tint = np.ones_like(mesh.vertices) if mesh.tint is None else mesh.tint
    np.save(folder / name / "tint.npy", tint)
    for which in ("vertices", "normals"):
        np.save(folder / name / f"{which}.npy", getattr(mesh, which)[None].astype(np.float32))
    return {
        "name": name,
        "person": person,
        "gloss": mesh.gloss,
        "variation": mesh.variation,
        "emission": mesh.emission,
        "casts_shadow": mesh.casts_shadow,
        "is_cutout": mesh.texture.shape[2] == 4 and bool((mesh.texture[..., 3] < 128).any()),
    }


def _wound_outwards(mesh: SurfaceMesh) -> Int[np.ndarray, "faces 3"]:
    """Faces counter-clockwise seen from where their normals point: Blender lights that side."""
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    normals = mesh.normals[mesh.faces].sum(1)
    inwards = np.einsum("fi,fi->f", np.cross(b - a, c - a), normals) < 0
    return np.where(inwards[:, None], mesh.faces[:, ::-1], mesh.faces)


def _run(command: list[str], folder: Path) -> None:
    """Run Blender to its end.

    Raises:
        RuntimeError: If it fails; its log outlives the job.
    """
    log = folder / "blender.log"
    with log.open("wb") as output:
        code = subprocess.run([*command, str(folder)], stdout=output, stderr=output).returncode
    if code == 0:
        return
    with tempfile.NamedTemporaryFile(prefix="isa4d_blender_", suffix=".log", delete=False) as kept:
        kept.write(log.read_bytes())
    lines = log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
    raise RuntimeError(f"Blender ended with code {code} ({lines[-1]}); its log: {kept.name}")
