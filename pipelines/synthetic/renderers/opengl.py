"""OpenGL pictures and exact ground truth of one clip, through EGL, also without a GPU.

World frame: right-handed, metres, y up. Camera: OpenCV. Image row 0 is the top row: the
projection matrix maps it to the first row OpenGL writes, so nothing is flipped (and front faces
wind clockwise).
One process owns one OpenGL context: a second standalone context breaks the first.
"""

import contextlib
import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

import moderngl
import numpy as np
from jaxtyping import Float, Int, UInt8

NEAR_M, FAR_M = 0.1, 200.0
EGL_PACKAGES = "libegl1 libgl1-mesa-dri libgles2 libgl1 libegl-mesa0 libgbm1"
PEOPLE_SHADOW_UNIT, PROPS_SHADOW_UNIT = 2, 1


@dataclass(frozen=True, kw_only=True)
class SurfaceMesh:
    """Triangles with a picture on them, in the world frame (rest pose for parts that move)."""

    vertices: Float[np.ndarray, "vertices 3"]
    normals: Float[np.ndarray, "vertices 3"]
    uv: Float[np.ndarray, "vertices 2"]
    """Texture coordinates: (0, 0) is the first row and column of `texture`; values wrap."""
    faces: Int[np.ndarray, "faces 3"]
    texture: UInt8[np.ndarray, "rows columns channels"]
    """sRGB, three channels, or four: where the fourth is below 128 there is no surface."""
    gloss: float = 0.0
    variation: float = 0.0
    """Strength of the slow brightness change that hides the repetition of a tiled texture."""
    tint: Float[np.ndarray, "vertices 3"] | None = None
    """Linear factor on the texture's colour, for shades and baked ambient occlusion; None: 1."""
    emission: float = 0.0
    """Light that the surface gives off itself, as a factor on its colour (lamps, lit windows)."""


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """The light of a scene, linear RGB."""

    sun_direction: Float[np.ndarray, "3"]
    """Unit vector from the scene to the sun, world frame."""
    sun_rgb: Float[np.ndarray, "3"]
    ambient_sh: Float[np.ndarray, "9 3"]
    """Irradiance / pi as polynomial of the normal: 1, y, z, x, xy, yz, 3zz-1, xz, xx-yy."""
    panorama: Float[np.ndarray, "rows columns 3"]
    """Latitude-longitude map: centre column +z, a quarter to its left +x, top row +y."""
    haze_rgb: Float[np.ndarray, "3"]
    haze_per_m: float = 0.035
    """How fast what lies more than 12 m away takes the colour of the haze; 0: clear air."""
    exposure: float = 1.0


@dataclass(frozen=True, kw_only=True)
class FrameBuffers:
    """One frame: the picture and the truth about it. The truth is not anti-aliased."""

    rgb: UInt8[np.ndarray, "height width 3"]
    instance: UInt8[np.ndarray, "height width"]
    """0 background, p+1 person p."""
    depth_m: Float[np.ndarray, "height width"]
    """Camera z; inf where nothing is hit."""
    normal: Float[np.ndarray, "height width 3"]
    """World frame, unit; zero where nothing is hit."""


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


def projection_matrix(
    K: Float[np.ndarray, "3 3"], width: int, height: int
) -> Float[np.ndarray, "4 4"]:
    """Clip matrix of an OpenCV camera: pixel (x, y) to ndc (2x/W-1, 2y/H-1), depth in [-1, 1]."""
    ndc = np.array([[2.0 / width, 0.0, -1.0], [0.0, 2.0 / height, -1.0], [0.0, 0.0, 1.0]]) @ K
    depth = (FAR_M + NEAR_M) / (FAR_M - NEAR_M)
    matrix = np.zeros((4, 4))
    matrix[:2, :3] = ndc[:2]
    matrix[2] = (0.0, 0.0, depth, -2.0 * FAR_M * NEAR_M / (FAR_M - NEAR_M))
    matrix[3, 2] = 1.0
    return matrix


def sun_matrix(
    sun_direction: Float[np.ndarray, "3"], centre: Float[np.ndarray, "3"], radius_m: float
) -> Float[np.ndarray, "4 4"]:
    """Clip matrix of parallel light that sees a ball: x, y over the ball, depth along the rays."""
    forward = -sun_direction
    side = np.cross(forward, (0.0, 0.0, 1.0) if abs(forward[1]) > 0.9 else (0.0, 1.0, 0.0))
    side /= np.linalg.norm(side)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([side, np.cross(forward, side), forward]) / radius_m
    matrix[:3, 3] = -matrix[:3, :3] @ centre
    matrix[2] /= np.array([3.0, 3.0, 3.0, 3.0])  # objects up to three radii before the ball count
    return matrix


SHADERS = {
    "surface": ("surface.vert.glsl", "surface.frag.glsl"),
    "truth": ("surface.vert.glsl", "truth.frag.glsl"),
    "shadow": ("shadow.vert.glsl", "shadow.frag.glsl"),
    "sky": ("sky.vert.glsl", "sky.frag.glsl"),
}


@cache
def _program(name: str, is_cutout: bool) -> moderngl.Program:
    """Compiled shaders, one object per arguments; the cut-out variant drops low alpha."""
    texts = [(Path(__file__).parent / "shaders" / file).read_text() for file in SHADERS[name]]
    if is_cutout:
        texts = [text.replace("#version 330", "#version 330\n#define CUTOUT") for text in texts]
    return opengl_context().program(vertex_shader=texts[0], fragment_shader=texts[1])


def _write(program: moderngl.Program, name: str, values: np.ndarray) -> None:
    """Set a float uniform; matrices go column by column, as GLSL reads them."""
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform)
    uniform.write(np.asarray(values, np.float32).T.tobytes())


def _assign(program: moderngl.Program, name: str, value: int | bool) -> None:
    uniform = program[name]
    assert isinstance(uniform, moderngl.Uniform)
    uniform.value = value


class _Part:
    """A mesh on the device: positions and normals may change, the rest is uploaded once."""

    def __init__(self, mesh: SurfaceMesh, instance: int) -> None:
        context = opengl_context()
        self.instance, self.gloss, self.variation = instance, mesh.gloss, mesh.variation
        self.emission = mesh.emission
        rows, columns, channels = mesh.texture.shape
        self.is_cutout = channels == 4 and bool((mesh.texture[..., 3] < 128).any())
        pixels = np.ascontiguousarray(mesh.texture).tobytes()
        self.texture = context.texture((columns, rows), channels, pixels, alignment=1)
        self.texture.build_mipmaps()
        self.moving = context.buffer(_interleave(mesh.vertices, mesh.normals))
        tint = np.ones((len(mesh.uv), 3)) if mesh.tint is None else mesh.tint
        self.look = context.buffer(_interleave(mesh.uv, tint))
        self.faces = context.buffer(mesh.faces.astype("i4").tobytes())
        look = [(self.look, "2f 3f", "in_uv", "in_tint")]
        uv_if_cutout = [(self.look, "2f 12x", "in_uv")] if self.is_cutout else []
        shaded = (self.moving, "3f 3f", "in_position", "in_normal")
        self.surface = self._array("surface", [shaded, *look])
        self.truth = self._array("truth", [shaded, *uv_if_cutout])
        self.shadow = self._array("shadow", [(self.moving, "3f 12x", "in_position"), *uv_if_cutout])

    def _array(self, name: str, layout: list[Any]) -> moderngl.VertexArray:
        program = _program(name, self.is_cutout)
        return opengl_context().vertex_array(program, layout, self.faces)

    def draw(self, array: moderngl.VertexArray) -> None:
        """Draw with the part's own texture on unit 0."""
        self.texture.use(0)
        array.render()

    def release(self) -> None:
        for item in (self.surface, self.truth, self.shadow):
            item.release()
        for item in (self.moving, self.look, self.faces, self.texture):
            item.release()


def _interleave(*per_vertex: np.ndarray) -> bytes:
    return np.concatenate(per_vertex, axis=1, dtype=np.float32).tobytes()


class OpenGLRenderer:
    """Draws the frames of one clip; textures and still parts are uploaded once.

    Args:
        width: Image width, pixels.
        height: Image height, pixels.
        still: Ground and props, instance 0.
        people: The parts of each person in the rest pose; move them with `pose`.
        lighting: Sun, ambient light and sky.
        shadow_centre: Middle of the ball in which people throw shadows, world metres.
        shadow_radius_m: Its radius.
    """

    def __init__(
        self,
        *,
        width: int,
        height: int,
        still: Sequence[SurfaceMesh],
        people: Sequence[Sequence[SurfaceMesh]],
        lighting: Lighting,
        shadow_centre: Float[np.ndarray, "3"],
        shadow_radius_m: float,
    ) -> None:
        self._context = opengl_context()
        self.width, self.height, self.lighting = width, height, lighting
        self._still = [_Part(mesh, 0) for mesh in still]
        self._people = [[_Part(mesh, p + 1) for mesh in parts] for p, parts in enumerate(people)]
        self._owned: list[Any] = []
        self._make_targets()
        self._make_sky(lighting.panorama)
        self._shadow_matrices = {
            PROPS_SHADOW_UNIT: sun_matrix(lighting.sun_direction, shadow_centre, 12.0),
            PEOPLE_SHADOW_UNIT: sun_matrix(lighting.sun_direction, shadow_centre, shadow_radius_m),
        }
        side = 512 if max(width, height) <= 160 else 1024
        self._shadow_maps = {
            PROPS_SHADOW_UNIT: self._make_shadow_map(1024),
            PEOPLE_SHADOW_UNIT: self._make_shadow_map(side),
        }
        self._set_lighting()
        self._draw_shadows(PROPS_SHADOW_UNIT, self._still)

    def __enter__(self) -> "OpenGLRenderer":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def release(self) -> None:
        """Free what this clip put on the device (the context stays)."""
        for part in [*self._still, *(part for parts in self._people for part in parts)]:
            part.release()
        for item in reversed(self._owned):
            item.release()

    def pose(
        self,
        person: int,
        part: int,
        vertices: Float[np.ndarray, "vertices 3"],
        normals: Float[np.ndarray, "vertices 3"],
    ) -> None:
        """Move one part of a person for the next frame, world metres."""
        self._people[person][part].moving.write(_interleave(vertices, normals))

    def render(
        self, K: Float[np.ndarray, "3 3"], T_camera_world: Float[np.ndarray, "4 4"]
    ) -> FrameBuffers:
        """The frame with everybody in it, and its truth."""
        moving = [part for parts in self._people for part in parts]
        self._draw_shadows(PEOPLE_SHADOW_UNIT, moving)
        rgb = self._draw_colour(K, T_camera_world, [*moving, *self._still], bool(moving))
        self._draw_truth(K, T_camera_world, [*moving, *self._still])
        shape = (self.height, self.width)
        packed = np.frombuffer(self._truth_target.read(components=4, dtype="f4"), np.float32)
        packed = packed.reshape(*shape, 4)
        ids = self._truth_target.read(components=1, attachment=1, alignment=1)
        return FrameBuffers(
            rgb=rgb,
            instance=np.frombuffer(ids, np.uint8).reshape(shape),
            depth_m=np.where(packed[..., 3] > 0.0, packed[..., 3], np.float32(np.inf)),
            normal=packed[..., :3],
        )

    def render_plate(
        self, K: Float[np.ndarray, "3 3"], T_camera_world: Float[np.ndarray, "4 4"]
    ) -> UInt8[np.ndarray, "height width 3"]:
        """The same picture without people and without their shadows."""
        return self._draw_colour(K, T_camera_world, self._still, False)

    def _make_targets(self) -> None:
        context, size = self._context, (self.width, self.height)
        self._colour = context.texture((2 * self.width, 2 * self.height), 4)
        colour_depth = context.depth_renderbuffer(self._colour.size)
        self._colour_target = context.framebuffer([self._colour], colour_depth)
        truth = [
            context.renderbuffer(size, 4, dtype="f4"),
            context.renderbuffer(size, 1),
            context.depth_renderbuffer(size),
        ]
        self._truth_target = context.framebuffer(truth[:2], truth[2])
        self._owned += [self._colour, colour_depth, self._colour_target]
        self._owned += [*truth, self._truth_target]

    def _make_sky(self, panorama: np.ndarray) -> None:
        context = self._context
        rows, columns = panorama.shape[:2]
        pixels = np.clip(panorama, 0.0, 6.0e4).astype("f2")
        self._panorama = context.texture((columns, rows), 3, pixels.tobytes(), dtype="f2")
        self._panorama.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._panorama.repeat_y = False
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], "f4").tobytes())
        self._sky = context.vertex_array(_program("sky", False), [(corners, "2f", "in_ndc")])
        self._owned += [self._panorama, corners, self._sky]

    def _make_shadow_map(self, side: int) -> tuple[moderngl.Texture, moderngl.Framebuffer]:
        texture = self._context.depth_texture((side, side))
        texture.compare_func = "<="
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        target = self._context.framebuffer(depth_attachment=texture)
        target.clear(depth=1.0)
        self._owned += [texture, target]
        return texture, target

    def _set_lighting(self) -> None:
        light = self.lighting
        for program in (_program("surface", False), _program("surface", True)):
            _write(program, "sun_direction", light.sun_direction)
            _write(program, "sun_rgb", light.sun_rgb)
            _write(program, "ambient_sh", light.ambient_sh.T)
            _write(program, "haze_rgb", light.haze_rgb)
            _write(program, "haze_per_m", np.array(light.haze_per_m))
            _write(program, "T_props_shadow_world", self._shadow_matrices[PROPS_SHADOW_UNIT])
            _write(program, "T_people_shadow_world", self._shadow_matrices[PEOPLE_SHADOW_UNIT])
            _write(program, "exposure", np.array(light.exposure))
            _assign(program, "albedo_map", 0)
            _assign(program, "props_shadow", PROPS_SHADOW_UNIT)
            _assign(program, "people_shadow", PEOPLE_SHADOW_UNIT)
        _write(_program("sky", False), "exposure", np.array(light.exposure))
        _assign(_program("sky", False), "panorama", 0)

    def _begin(self, target: moderngl.Framebuffer) -> None:
        target.use()
        target.clear(depth=1.0)
        self._context.enable_only(moderngl.DEPTH_TEST)

    def _draw_shadows(self, unit: int, parts: Sequence[_Part]) -> None:
        self._begin(self._shadow_maps[unit][1])
        for is_cutout in (False, True):
            program = _program("shadow", is_cutout)
            _write(program, "T_clip_world", self._shadow_matrices[unit])
        for part in parts:
            part.draw(part.shadow)

    def _draw_truth(
        self, K: np.ndarray, T_camera_world: np.ndarray, parts: Sequence[_Part]
    ) -> None:
        self._begin(self._truth_target)
        for part in parts:
            program = _program("truth", part.is_cutout)
            _write(program, "T_clip_world", self._clip_matrix(K, T_camera_world))
            _write(program, "instance", np.array(part.instance / 255.0))
            part.draw(part.truth)

    def _draw_colour(
        self, K: np.ndarray, T_camera_world: np.ndarray, parts: Sequence[_Part], has_people: bool
    ) -> np.ndarray:
        """Near things first: what they hide is not shaded."""
        self._set_lighting()
        self._begin(self._colour_target)
        R, t = T_camera_world[:3, :3], T_camera_world[:3, 3]
        for unit, (texture, _) in self._shadow_maps.items():
            texture.use(unit)
        for part in parts:
            program = _program("surface", part.is_cutout)
            _write(program, "T_clip_world", self._clip_matrix(K, T_camera_world))
            _write(program, "eye", -R.T @ t)
            _write(program, "gloss", np.array(part.gloss))
            _write(program, "variation", np.array(part.variation))
            _write(program, "emission", np.array(part.emission))
            _assign(program, "has_people_shadow", has_people)
            part.draw(part.surface)
        half = np.array([self.width / 2, self.height / 2, 1.0])
        T_pixel_ndc = np.diag(half) + np.outer((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)) * half[:, None]
        _write(_program("sky", False), "R_world_ndc", R.T @ np.linalg.inv(K) @ T_pixel_ndc)
        self._panorama.use(0)
        self._sky.render(moderngl.TRIANGLES)
        self._colour.build_mipmaps(0, 1)  # the next smaller level is the mean of 2 x 2
        pixels = np.frombuffer(self._colour.read(level=1), np.uint8)
        return pixels.reshape(self.height, self.width, 4)[..., :3]

    def _clip_matrix(self, K: np.ndarray, T_camera_world: np.ndarray) -> np.ndarray:
        return projection_matrix(K, self.width, self.height) @ T_camera_world
