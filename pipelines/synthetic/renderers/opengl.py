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
from jaxtyping import Float, Float32, Int8, Int16, UInt8

from pipelines.synthetic.renderers.device import (
    assign_uniform,
    opengl_context,
    shader_program,
    write_uniform,
)
from pipelines.synthetic.renderers.mesh import Lighting, SurfaceMesh
from pipelines.synthetic.renderers.part import Part
from pipelines.synthetic.renderers.projection import NEAR_M, projection_matrix, sun_matrix

PEOPLE_SHADOW_UNIT, PROPS_SHADOW_UNIT = 2, 1
PROPS_SHADOW_RADIUS_M = 12.0
STILL_UNIT, PEOPLE_UNIT, PANORAMA_UNIT = 3, 4, 5
SHADOW_MARGIN_M = 0.06
"""Shadows are blurred by less than this."""
SAMPLES = 4
MAX_MATERIALS = 128
"""As in light.frag.glsl."""


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
        self._still = [Part(mesh, 0) for mesh in still]
        self._people = [[Part(mesh, p + 1) for mesh in parts] for p, parts in enumerate(people)]
        pairs = [(part.mesh.gloss, part.mesh.emission) for part in [*self._still, *self._moving]]
        self._materials = list(dict.fromkeys(pairs))
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
    def _moving(self) -> list[Part]:
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
        self._people[person][part].pose(vertices, normals, *places)

    def render(
        self, view: View, *, after: View | None = None, before: View | None = None
    ) -> FrameBuffers:
        """The frame with everybody in it, its plate and its truth.

        `after` and `before` are the cameras a frame later and earlier; None: the camera rests.
        """
        self._place_people_shadow()
        self._draw_shadows(PEOPLE_SHADOW_UNIT, self._moving)
        self._draw_still(view)
        self._light(self._plate, view, has_people=False)
        if self._people:
            box = self._shaded_box_px(view)
            self._draw_people(box)
            self._light_box(view, box)
        self._draw_truth(view, after or view, before or view)
        return FrameBuffers(
            rgb=self._read(self._picture if self._people else self._plate, 3, np.uint8, 0),
            plate=self._read(self._plate, 3, np.uint8, 0),
            normal_instance=self._read(self._truth_target, 4, np.int8, 0),
            flow=self._read(self._truth_target, 4, np.int16, 1),
            depth=self._read(self._truth_target, 4, np.float32, 2),
        )

    def _make_targets(self) -> None:
        """Still: four samples a pixel. People: 2 x 2 pixels, as their triangles are so small that
        the software driver takes twice as long for samples. Truth: the pixel's centre.
        """
        context, size = self._context, (self.width, self.height)
        still = context.texture(size, 2, samples=SAMPLES, dtype="u4")
        still_depth = context.depth_renderbuffer(size, samples=SAMPLES)
        people = context.texture((2 * self.width, 2 * self.height), 2, dtype="u4")
        people.filter = (moderngl.NEAREST, moderngl.NEAREST)
        people_depth = context.depth_renderbuffer(people.size)
        self._samples = {STILL_UNIT: still, PEOPLE_UNIT: people}
        self._still_target = context.framebuffer([still], still_depth)
        self._people_target = context.framebuffer([people], people_depth)
        means = [context.renderbuffer(size, 4) for _ in range(2)]
        self._picture, self._plate = (context.framebuffer([item]) for item in means)
        truth = [context.renderbuffer(size, 4, dtype=dtype) for dtype in ("i1", "i2", "f4")]
        truth_depth = context.depth_renderbuffer(size)
        self._truth_target = context.framebuffer(truth, truth_depth)
        self._owned += [still, still_depth, people, people_depth, *means, *truth, truth_depth]
        self._owned += [self._still_target, self._people_target, self._truth_target]
        self._owned += [self._picture, self._plate]

    def _make_sky(self, panorama: np.ndarray) -> None:
        context = self._context
        rows, columns = panorama.shape[:2]
        pixels = np.clip(panorama, 0.0, 6.0e4).astype("f2")
        self._panorama = context.texture((columns, rows), 3, pixels.tobytes(), dtype="f2")
        self._panorama.filter = (moderngl.LINEAR, moderngl.LINEAR)
        self._panorama.repeat_y = False
        corners = context.buffer(np.array([-1, -1, 3, -1, -1, 3], "f4").tobytes())
        layout = [(corners, "2f", "in_ndc")]
        self._lit = context.vertex_array(shader_program("light", False), layout)
        self._sky_truth = context.vertex_array(shader_program("sky_truth", False), layout)
        self._owned += [self._panorama, corners, self._lit, self._sky_truth]

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
        light, program = self.lighting, shader_program("light", False)
        for name in ("sun_direction", "sun_rgb", "haze_rgb"):
            write_uniform(program, name, getattr(light, name))
        for name in ("haze_per_m", "exposure"):
            write_uniform(program, name, np.array(getattr(light, name)))
        write_uniform(program, "ambient_sh", light.ambient_sh.T)
        materials = np.zeros((MAX_MATERIALS, 2))
        materials[: len(self._materials)] = np.reshape(self._materials, (-1, 2))
        write_uniform(program, "gloss_emission", materials.T)
        for thrower, unit in (("props", PROPS_SHADOW_UNIT), ("people", PEOPLE_SHADOW_UNIT)):
            matrix = self._shadow_matrices[unit]
            write_uniform(program, f"T_{thrower}_shadow_world", matrix)
            assign_uniform(program, f"{thrower}_shadow", unit)
        assign_uniform(program, "still_samples", STILL_UNIT)
        assign_uniform(program, "people_samples", PEOPLE_UNIT)
        assign_uniform(program, "panorama", PANORAMA_UNIT)

    def _begin(self, target: moderngl.Framebuffer) -> None:
        target.use()
        target.clear(depth=1.0)
        self._context.enable_only(moderngl.DEPTH_TEST)

    def _draw_shadows(self, unit: int, parts: Sequence[Part]) -> None:
        self._begin(self._shadow_maps[unit][1])
        self._draw_depth(self._shadow_matrices[unit], parts)

    def _draw_depth(self, T_clip_world: np.ndarray, parts: Sequence[Part]) -> None:
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

    def _draw_still(self, view: View) -> None:
        """What is still, near things first: what they hide is not worked out."""
        self._begin(self._still_target)
        self._set_view(view)
        R, t = view.T_camera_world[:3, :3], view.T_camera_world[:3, 3]
        eye = -R.T @ t
        away_m = [np.linalg.norm(eye - np.clip(eye, p.low, p.high)) for p in self._still]
        self._draw_surfaces([self._still[i] for i in np.argsort(away_m, kind="stable")])

    def _draw_people(self, box: tuple[int, int, int, int]) -> None:
        x, y, width, height = box
        self._people_target.scissor = (2 * x, 2 * y, 2 * width, 2 * height)
        self._begin(self._people_target)
        self._draw_surfaces(self._moving)

    def _light_box(self, view: View, box: tuple[int, int, int, int]) -> None:
        """The picture is the plate but for people and their shadows."""
        self._picture.use()  # with its scissor, which copying obeys
        self._context.copy_framebuffer(self._picture, self._plate)
        self._picture.scissor = box
        self._light(self._picture, view, has_people=True)
        self._picture.scissor = (0, 0, self.width, self.height)

    def _light(self, target: moderngl.Framebuffer, view: View, *, has_people: bool) -> None:
        """Light on the surfaces that were drawn, and the sky behind them."""
        target.use()
        self._context.enable_only(moderngl.NOTHING)
        self._set_lighting()
        program = shader_program("light", False)
        for unit, texture in self._samples.items():
            texture.use(unit)
        for unit, (texture, _) in self._shadow_maps.items():
            texture.use(unit)
        self._panorama.use(PANORAMA_UNIT)
        write_uniform(program, "R_world_ndc", self._world_from_ndc(view))
        write_uniform(program, "eye", _eye(view))
        assign_uniform(program, "has_people", has_people)
        self._lit.render(moderngl.TRIANGLES)

    def _shaded_box_px(self, view: View) -> tuple[int, int, int, int]:
        """Left, top, width and height of what holds everybody and all their shadows."""
        low = np.min([part.low for part in self._moving], axis=0) - SHADOW_MARGIN_M
        high = np.max([part.high for part in self._moving], axis=0) + SHADOW_MARGIN_M
        corners = np.array(list(itertools.product(*zip(low, high, strict=True))))
        # a shadow ends where its map does, or below everything
        sun = self.lighting.sun_direction
        lowest_m = min([float(part.low[1]) for part in self._still], default=-np.inf)
        fall_m = np.full(len(corners), 5.0 * self._shadow_radius_m)
        if sun[1] > 0.0:
            fall_m = np.minimum(fall_m, np.maximum(corners[:, 1] - lowest_m, 0.0) / sun[1])
        ends = np.concatenate([corners, corners - fall_m[:, None] * sun])
        clip = np.insert(ends, 3, 1.0, axis=1) @ self._clip_matrix(view).T
        size = np.array([self.width, self.height])
        if clip[:, 3].min() < NEAR_M:
            return 0, 0, self.width, self.height
        xy_px = (clip[:, :2] / clip[:, 3:] * 0.5 + 0.5) * size
        x, y = np.clip(np.floor(xy_px.min(0)) - 1, 0, size - 1).astype(int).tolist()
        right, bottom = np.clip(np.ceil(xy_px.max(0)) + 1, 1, size).astype(int).tolist()
        return x, y, max(right - x, 1), max(bottom - y, 1)

    def _set_view(self, view: View) -> None:
        for name, is_cutout in itertools.product(("still", "ground", "people"), (False, True)):
            program = shader_program(name, is_cutout)
            write_uniform(program, "T_clip_world", self._clip_matrix(view))
            write_uniform(program, "eye", _eye(view))
            assign_uniform(program, "albedo_map", 0)

    def _draw_surfaces(self, parts: Sequence[Part]) -> None:
        for part in parts:
            program = shader_program(part.look_name, part.is_cutout)
            material = self._materials.index((part.mesh.gloss, part.mesh.emission))
            assign_uniform(program, "material", material)
            if part.look_name == "ground":
                write_uniform(program, "variation", np.array(part.mesh.variation))
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


def _eye(view: View) -> Float[np.ndarray, "3"]:
    return -view.T_camera_world[:3, :3].T @ view.T_camera_world[:3, 3]
