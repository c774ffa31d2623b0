"""A mesh on the device: places and normals may change, the rest is uploaded once."""

from functools import cache
from typing import Any

import cv2
import moderngl
import numpy as np
from jaxtyping import Float, UInt8

from pipelines.synthetic.renderers.device import opengl_context, shader_program
from pipelines.synthetic.renderers.mesh import SurfaceMesh

GROUND_M2 = 0.02
"""Mean area of the triangles of grounds, walls and the like."""


class Part:
    """One mesh with its texture, as the passes draw it.

    Args:
        mesh: What to draw.
        instance: 0 for what is still, p + 1 for person p.
    """

    def __init__(self, mesh: SurfaceMesh, instance: int) -> None:
        context = opengl_context()
        self.mesh, self.instance = mesh, instance
        rows, columns, channels = mesh.texture.shape
        self.is_cutout = channels == 4 and bool((mesh.texture[..., 3] < 128).any())
        pixels = _root_of_linear(mesh.texture).tobytes()
        self.texture = context.texture((columns, rows), channels, pixels, alignment=1)
        self.texture.build_mipmaps()
        self.moving = context.buffer(
            interleave(mesh.vertices, mesh.normals, mesh.vertices, mesh.vertices)
        )
        self.low, self.high = mesh.vertices.min(0), mesh.vertices.max(0)
        tint = np.ones((len(mesh.uv), 3)) if mesh.tint is None else mesh.tint
        self.look = context.buffer(interleave(mesh.uv, np.sqrt(np.maximum(tint, 0.0))))
        self.faces = context.buffer(mesh.faces.astype("i4").tobytes())
        look = (self.look, "2f 3f", "in_uv", "in_root_tint")
        uv_if_cutout = [(self.look, "2f 12x", "in_uv")] if self.is_cutout else []
        shaded = (self.moving, "3f 3f 24x", "in_position", "in_normal")
        names = ("in_position", "in_normal", "in_after", "in_before")
        self.look_name = _look_name(mesh, instance)
        self.surface = self._array(self.look_name, [shaded, look])
        self.truth = self._array("truth", [(self.moving, "3f 3f 3f 3f", *names), *uv_if_cutout])
        self.depth = self._array("depth", [(self.moving, "3f 36x", "in_position"), *uv_if_cutout])

    def _array(self, name: str, layout: list[Any]) -> moderngl.VertexArray:
        program = shader_program(name, self.is_cutout)
        return opengl_context().vertex_array(program, layout, self.faces)

    def pose(
        self,
        vertices: Float[np.ndarray, "vertices 3"],
        normals: Float[np.ndarray, "vertices 3"],
        after: Float[np.ndarray, "vertices 3"],
        before: Float[np.ndarray, "vertices 3"],
    ) -> None:
        """Move it for the next frame; `after` and `before` are the places beside that frame."""
        self.low, self.high = vertices.min(0), vertices.max(0)
        self.moving.write(interleave(vertices, normals, after, before))

    def draw(self, array: moderngl.VertexArray) -> None:
        """Draw with the part's own texture on unit 0."""
        self.texture.use(0)
        set_culling = (
            opengl_context().disable if self.mesh.is_two_sided else opengl_context().enable
        )
        set_culling(moderngl.CULL_FACE)
        array.render()

    def release(self) -> None:
        """Free what it put on the device."""
        for item in (self.surface, self.truth, self.depth):
            item.release()
        for item in (self.moving, self.look, self.faces, self.texture):
            item.release()


def _look_name(mesh: SurfaceMesh, instance: int) -> str:
    """The program that draws its colours: large triangles of the still world get more care."""
    if instance > 0:
        return "people"
    a, b, c = (mesh.vertices[mesh.faces[:, corner]] for corner in range(3))
    area_m2 = 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1).mean()
    return "ground" if area_m2 > GROUND_M2 or mesh.variation > 0.0 else "still"


def interleave(*per_vertex: np.ndarray) -> bytes:
    """Float32 columns of a vertex buffer."""
    return np.concatenate(per_vertex, axis=1, dtype=np.float32).tobytes()


def _root_of_linear(
    texture: UInt8[np.ndarray, "rows columns channels"],
) -> UInt8[np.ndarray, "rows columns channels"]:
    """Square roots of linear colours: their squares, unlike powers of sRGB, cost nothing."""
    return cv2.LUT(texture, _root_table()[..., : texture.shape[2]])


@cache
def _root_table() -> UInt8[np.ndarray, "1 256 4"]:
    levels = np.arange(256)
    roots = np.round(255.0 * (levels / 255.0) ** 1.1)
    return np.stack([roots, roots, roots, levels], axis=-1)[None].astype(np.uint8)
