"""OpenGL pictures and exact ground truth of one clip, through EGL, also without a GPU.

World frame: right-handed, metres, y up. Camera: OpenCV. Image row 0 is the top row: the
projection matrix maps it to the first row OpenGL writes, so nothing is flipped (and front faces
wind clockwise).
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import moderngl
import numpy as np
from jaxtyping import Float, Float32, Int, Int8, Int16, UInt8

from pipelines.synthetic.renderers.device import (
    assign_uniform,
    opengl_context,
    shader_program,
    write_uniform,
)

NEAR_M, FAR_M = 0.1, 200.0
PEOPLE_SHADOW_UNIT, PROPS_SHADOW_UNIT = 2, 1
PROPS_SHADOW_RADIUS_M = 12.0
SAMPLES = 4


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
    is_two_sided: bool = True
    """False where nobody can see the inside of the surface: that is then not drawn."""
    casts_shadow: bool = True
    """False for the walls of rooms, whose light comes from everywhere inside."""


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
class View:
    """A camera at one moment."""

    K: Float[np.ndarray, "3 3"]
    T_camera_world: Float[np.ndarray, "4 4"]


@dataclass(frozen=True, kw_only=True)
class FrameBuffers:
    """One frame: the picture and the truth about it. The truth is that of the pixel's centre."""

    rgb: UInt8[np.ndarray, "height width 3"]
    plate: UInt8[np.ndarray, "height width 3"]
    """The same without people and without their shadows."""
    normal_instance: Int8[np.ndarray, "height width 4"]
    """Unit normal in the world frame times 127, zero where nothing is hit; the instance: 0
    background, p+1 person p."""
    flow: Int16[np.ndarray, "height width 4"]
    """Where the same surface point is in the next and in the previous frame, x y x y, relative to
    the pixel, in steps of 1 / FLOW_STEPS_PER_PX; it stops at the ends of its range."""
    depth: Float32[np.ndarray, "height width 4"]
    """Camera z in metres (0: nothing hit); 1 / z of the same surface point in the next and in the
    previous frame, negative behind the camera; 0."""


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


class _Part:
    """A mesh on the device: places and normals may change, the rest is uploaded once."""

    def __init__(self, mesh: SurfaceMesh, instance: int) -> None:
        context = opengl_context()
        self.mesh, self.instance = mesh, instance
        rows, columns, channels = mesh.texture.shape
        self.is_cutout = channels == 4 and bool((mesh.texture[..., 3] < 128).any())
        pixels = np.ascontiguousarray(mesh.texture).tobytes()
        self.texture = context.texture((columns, rows), channels, pixels, alignment=1)
        self.texture.build_mipmaps()
        places = [mesh.vertices, mesh.normals, mesh.vertices, mesh.vertices]
        self.moving = context.buffer(_interleave(*places))
        self.low, self.high = mesh.vertices.min(0), mesh.vertices.max(0)
        tint = np.ones((len(mesh.uv), 3)) if mesh.tint is None else mesh.tint
        self.look = context.buffer(_interleave(mesh.uv, tint))
        self.faces = context.buffer(mesh.faces.astype("i4").tobytes())
        look = (self.look, "2f 3f", "in_uv", "in_tint")
        uv_if_cutout = [(self.look, "2f 12x", "in_uv")] if self.is_cutout else []
        shaded = (self.moving, "3f 3f 24x", "in_position", "in_normal")
        names = ("in_position", "in_normal", "in_after", "in_before")
        self.surface = self._array("still" if instance == 0 else "people", [shaded, look])
        self.truth = self._array("truth", [(self.moving, "3f 3f 3f 3f", *names), *uv_if_cutout])
        self.depth = self._array("depth", [(self.moving, "3f 36x", "in_position"), *uv_if_cutout])

    def _array(self, name: str, layout: list[Any]) -> moderngl.VertexArray:
        program = shader_program(name, self.is_cutout)
        return opengl_context().vertex_array(program, layout, self.faces)

    def draw(self, array: moderngl.VertexArray) -> None:
        """Draw with the part's own texture on unit 0."""
        self.texture.use(0)
        set_culling = (
            opengl_context().disable if self.mesh.is_two_sided else opengl_context().enable
        )
        set_culling(moderngl.CULL_FACE)
        array.render()

    def release(self) -> None:
        for item in (self.surface, self.truth, self.depth):
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
        shadow_centre: Middle of the scene, about which props throw shadows, world metres.
        shadow_radius_m: Radius of a ball that holds the people of any one frame.
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
        self._shadow_radius_m = shadow_radius_m
        still_matrix = sun_matrix(lighting.sun_direction, shadow_centre, PROPS_SHADOW_RADIUS_M)
        self._shadow_matrices = {PROPS_SHADOW_UNIT: still_matrix, PEOPLE_SHADOW_UNIT: still_matrix}
        # a texel of the people's map is about as wide as what a pixel sees of them
        self._shadow_maps = {
            PROPS_SHADOW_UNIT: self._make_shadow_map(1024),
            PEOPLE_SHADOW_UNIT: self._make_shadow_map(512 if max(width, height) <= 256 else 1024),
        }
        shading = [part for part in self._still if part.mesh.casts_shadow]
        self._draw_shadows(PROPS_SHADOW_UNIT, shading)

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
        for part in [*self._still, *self._moving]:
            part.release()
        for item in reversed(self._owned):
            item.release()

    @property
    def _moving(self) -> list[_Part]:
        return [part for parts in self._people for part in parts]

    def pose(
        self,
        person: int,
        part: int,
        vertices: Float[np.ndarray, "vertices 3"],
        normals: Float[np.ndarray, "vertices 3"],
        after: Float[np.ndarray, "vertices 3"] | None = None,
        before: Float[np.ndarray, "vertices 3"] | None = None,
    ) -> None:
        """Move one part of a person for the next frame, world metres.

        `after` and `before` are the places of its vertices a frame later and a frame earlier;
        None stands for a part that rests.
        """
        places = [vertices if place is None else place for place in (after, before)]
        item = self._people[person][part]
        item.low, item.high = vertices.min(0), vertices.max(0)
        item.moving.write(_interleave(vertices, normals, *places))

    def render(
        self, view: View, *, after: View | None = None, before: View | None = None
    ) -> FrameBuffers:
        """The frame with everybody in it, its plate and its truth.

        `after` and `before` are the cameras a frame later and earlier; None: the camera rests.
        """
        self._place_people_shadow()
        self._draw_shadows(PEOPLE_SHADOW_UNIT, self._moving)
        self._draw_still(view, bool(self._people))
        if self._people:
            self._draw_people(view)
        self._draw_truth(view, after or view, before or view)
        return FrameBuffers(
            rgb=self._read(self._picture, 3, np.uint8, 0),
            plate=self._read(self._plate, 3, np.uint8, 0),
            normal_instance=self._read(self._truth_target, 4, np.int8, 0),
            flow=self._read(self._truth_target, 4, np.int16, 1),
            depth=self._read(self._truth_target, 4, np.float32, 2),
        )

    def _make_targets(self) -> None:
        """Still parts: four samples a pixel, shaded once. People: 2 x 2 pixels, as their triangles
        are so small that the software driver takes 4 times as long for samples. Truth: the centre.
        """
        context, size = self._context, (self.width, self.height)
        samples = [context.renderbuffer(size, 4, samples=SAMPLES) for _ in range(2)]
        sample_depth = context.depth_renderbuffer(size, samples=SAMPLES)
        means = [context.renderbuffer(size, 4) for _ in range(2)]
        self._still_target = context.framebuffer(samples, sample_depth)
        self._still_samples = [context.framebuffer([item]) for item in samples]
        self._picture, self._plate = (context.framebuffer([item]) for item in means)
        self._layer = context.texture((2 * self.width, 2 * self.height), 4)
        layer_depth = context.depth_renderbuffer(self._layer.size)
        self._layer_target = context.framebuffer([self._layer], layer_depth)
        self._layer_depth_target = context.framebuffer(depth_attachment=layer_depth)
        truth = [context.renderbuffer(size, 4, dtype=dtype) for dtype in ("i1", "i2", "f4")]
        truth_depth = context.depth_renderbuffer(size)
        self._truth_target = context.framebuffer(truth, truth_depth)
        self._owned += [*samples, sample_depth, *means, self._layer, layer_depth]
        self._owned += [*truth, truth_depth, self._still_target, *self._still_samples]
        self._owned += [self._picture, self._plate, self._layer_target]
        self._owned += [self._layer_depth_target, self._truth_target]

    def _make_sky(self, panorama: np.ndarray) -> None:
        context = self._context
        rows, columns = panorama.shape[:2]
        pixels = np.clip(panorama, 0.0, 6.0e4).astype("f2")
        self._panorama = context.texture((columns, rows), 3, pixels.tobytes(), dtype="f2")
        self._panorama.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._panorama.repeat_y = False
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], "f4").tobytes())
        layout = [(corners, "2f", "in_ndc")]
        self._sky = context.vertex_array(shader_program("sky", False), layout)
        self._sky_truth = context.vertex_array(shader_program("sky_truth", False), layout)
        self._over = context.vertex_array(shader_program("layer", False), layout)
        self._owned += [self._panorama, corners, self._sky, self._sky_truth, self._over]

    def _make_shadow_map(self, side: int) -> tuple[moderngl.Texture, moderngl.Framebuffer]:
        texture = self._context.depth_texture((side, side))
        texture.compare_func = "<="
        texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
        target = self._context.framebuffer(depth_attachment=texture)
        target.clear(depth=1.0)
        self._owned += [texture, target]
        return texture, target

    def _place_people_shadow(self) -> None:
        """Move the people's shadow map with them, by whole texels lest its edges flicker."""
        if not self._moving:
            return
        low = np.min([part.low for part in self._moving], axis=0)
        high = np.max([part.high for part in self._moving], axis=0)
        centre = 0.5 * (low + high).astype(np.float64)
        matrix = sun_matrix(self.lighting.sun_direction, centre, self._shadow_radius_m)
        half_side = 0.5 * self._shadow_maps[PEOPLE_SHADOW_UNIT][0].width
        matrix[:2, 3] = np.round(matrix[:2, 3] * half_side) / half_side
        self._shadow_matrices[PEOPLE_SHADOW_UNIT] = matrix

    def _set_lighting(self) -> None:
        light = self.lighting
        for name, is_cutout in itertools.product(("still", "people"), (False, True)):
            program = shader_program(name, is_cutout)
            write_uniform(program, "sun_direction", light.sun_direction)
            write_uniform(program, "sun_rgb", light.sun_rgb)
            write_uniform(program, "ambient_sh", light.ambient_sh.T)
            write_uniform(program, "haze_rgb", light.haze_rgb)
            write_uniform(program, "haze_per_m", np.array(light.haze_per_m))
            for thrower, unit in (("props", PROPS_SHADOW_UNIT), ("people", PEOPLE_SHADOW_UNIT)):
                matrix = self._shadow_matrices[unit]
                write_uniform(program, f"T_{thrower}_shadow_world", matrix)
                assign_uniform(program, f"{thrower}_shadow", unit)
            write_uniform(program, "exposure", np.array(light.exposure))
            assign_uniform(program, "albedo_map", 0)
        write_uniform(shader_program("sky", False), "exposure", np.array(light.exposure))
        assign_uniform(shader_program("sky", False), "panorama", 0)

    def _begin(self, target: moderngl.Framebuffer) -> None:
        target.use()
        target.clear(depth=1.0)
        self._context.enable_only(moderngl.DEPTH_TEST)

    def _draw_shadows(self, unit: int, parts: Sequence[_Part]) -> None:
        self._begin(self._shadow_maps[unit][1])
        self._draw_depth(self._shadow_matrices[unit], parts)

    def _draw_depth(self, T_clip_world: np.ndarray, parts: Sequence[_Part]) -> None:
        for is_cutout in (False, True):
            write_uniform(shader_program("depth", is_cutout), "T_clip_world", T_clip_world)
        for part in parts:
            part.draw(part.depth)

    def _draw_truth(self, view: View, after: View, before: View) -> None:
        self._begin(self._truth_target)
        views = {"T_clip_world": view, "T_after_world": after, "T_before_world": before}
        size_px = np.array([self.width, self.height])
        for is_cutout in (False, True):
            program = shader_program("truth", is_cutout)
            for name, moment in views.items():
                write_uniform(program, name, self._clip_matrix(moment))
            write_uniform(program, "size_px", size_px)
        for part in [*self._moving, *self._still]:
            program = shader_program("truth", part.is_cutout)
            assign_uniform(program, "instance", part.instance)
            part.draw(part.truth)
        if after is view and before is view:
            return  # the sky rests
        self._context.disable(moderngl.CULL_FACE)
        sky = shader_program("sky_truth", False)
        write_uniform(sky, "R_world_ndc", self._world_from_ndc(view))
        write_uniform(sky, "R_after_world", self._clip_matrix(after)[[0, 1, 3], :3])
        write_uniform(sky, "R_before_world", self._clip_matrix(before)[[0, 1, 3], :3])
        write_uniform(sky, "size_px", size_px)
        self._sky_truth.render(moderngl.TRIANGLES)

    def _draw_still(self, view: View, has_people: bool) -> None:
        """The still world into the picture and, without the people's shadow, into the plate.

        So the two are equal wherever neither people nor their shadows are.
        """
        self._set_lighting()
        self._begin(self._still_target)
        self._set_view("still", view, has_people)
        # near things first: what they hide is not shaded
        R, t = view.T_camera_world[:3, :3], view.T_camera_world[:3, 3]
        eye = -R.T @ t
        away_m = [np.linalg.norm(eye - np.clip(eye, p.low, p.high)) for p in self._still]
        self._draw_surfaces([self._still[i] for i in np.argsort(away_m, kind="stable")])
        write_uniform(shader_program("sky", False), "R_world_ndc", self._world_from_ndc(view))
        self._panorama.use(0)
        self._context.disable(moderngl.CULL_FACE)
        self._sky.render(moderngl.TRIANGLES)
        for target, samples in zip((self._picture, self._plate), self._still_samples, strict=True):
            self._context.copy_framebuffer(target, samples)

    def _draw_people(self, view: View) -> None:
        """People in front of what is still, on a layer of their own, then over the picture."""
        x, y, width, height = box = self._people_box_px(view)
        twice = (2 * x, 2 * y, 2 * width, 2 * height)
        self._layer_target.scissor = self._layer_depth_target.scissor = twice
        self._begin(self._layer_target)
        self._layer_depth_target.use()
        self._draw_depth(self._clip_matrix(view), self._still)
        self._layer_target.use()
        self._set_view("people", view, True)
        self._draw_surfaces(self._moving)
        self._layer.build_mipmaps(0, 1)  # the next smaller level is the mean of 2 x 2
        self._picture.scissor = box
        self._picture.use()
        self._layer.use(0)
        self._context.enable_only(moderngl.BLEND)
        self._context.blend_func = moderngl.ONE, moderngl.ONE_MINUS_SRC_ALPHA
        self._over.render(moderngl.TRIANGLES)
        self._picture.scissor = (0, 0, self.width, self.height)

    def _people_box_px(self, view: View) -> tuple[int, int, int, int]:
        """Left, top, width and height of a part of the picture that holds everybody."""
        boxes = [zip(part.low, part.high, strict=True) for part in self._moving]
        corners = [(*corner, 1.0) for box in boxes for corner in itertools.product(*box)]
        clip = np.array(corners) @ self._clip_matrix(view).T
        size = np.array([self.width, self.height])
        if clip[:, 3].min() < NEAR_M:
            return 0, 0, self.width, self.height
        xy_px = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * size
        x, y = np.clip(np.floor(xy_px.min(0)) - 1, 0, size - 1).astype(int).tolist()
        right, bottom = np.clip(np.ceil(xy_px.max(0)) + 1, 1, size).astype(int).tolist()
        return x, y, max(right - x, 1), max(bottom - y, 1)

    def _set_view(self, name: str, view: View, has_people: bool) -> None:
        for unit, (texture, _) in self._shadow_maps.items():
            texture.use(unit)
        R, t = view.T_camera_world[:3, :3], view.T_camera_world[:3, 3]
        for is_cutout in (False, True):
            program = shader_program(name, is_cutout)
            write_uniform(program, "T_clip_world", self._clip_matrix(view))
            write_uniform(program, "eye", -R.T @ t)
            assign_uniform(program, "has_people_shadow", has_people)

    def _draw_surfaces(self, parts: Sequence[_Part]) -> None:
        for part in parts:
            program = shader_program("people" if part.instance else "still", part.is_cutout)
            for name in ("gloss", "variation", "emission"):
                write_uniform(program, name, np.array(getattr(part.mesh, name)))
            part.draw(part.surface)

    def _read(
        self, target: moderngl.Framebuffer, channels: int, dtype: type[np.generic], index: int
    ) -> np.ndarray:
        name = {np.uint8: "f1", np.int8: "i1", np.int16: "i2", np.float32: "f4"}[dtype]
        data = target.read(components=channels, attachment=index, dtype=name, alignment=1)
        return np.frombuffer(data, dtype).reshape(self.height, self.width, channels)

    def _world_from_ndc(self, view: View) -> np.ndarray:
        """Directions of pixels: (x, y, 1) of ndc to the world."""
        half = np.array([self.width / 2, self.height / 2, 1.0])
        T_pixel_ndc = np.diag(half) + np.outer((1.0, 1.0, 0.0), (0.0, 0.0, 1.0)) * half[:, None]
        return view.T_camera_world[:3, :3].T @ np.linalg.inv(view.K) @ T_pixel_ndc

    def _clip_matrix(self, view: View) -> np.ndarray:
        return projection_matrix(view.K, self.width, self.height) @ view.T_camera_world
