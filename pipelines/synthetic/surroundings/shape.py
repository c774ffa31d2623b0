"""Shapes of one material each, and how they are placed, tinted and merged into surfaces.

World frame: metres, y up. Texture coordinates are metres along the surface until `merge`, so that
every material keeps its scale whatever it covers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int

from pipelines.synthetic.renderers.opengl import SurfaceMesh
from pipelines.synthetic.surroundings.material import MATERIALS

Number = float | int
Place = Sequence[Number] | np.ndarray
Colour = tuple[Number, Number, Number] | np.ndarray
"""Linear factor on a material's colour."""
WHITE = (1.0, 1.0, 1.0)
FOOT_SHADE = 0.55
"""Ambient light left where an upright surface meets the ground."""
FOOT_M = 0.35
"""Height over which that shade fades."""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Triangles of one material; front faces wind anticlockwise seen from outside."""

    material: str
    vertices: Float[np.ndarray, "vertices 3"]
    normals: Float[np.ndarray, "vertices 3"]
    uv: Float[np.ndarray, "vertices 2"]
    """Metres along the surface."""
    faces: Int[np.ndarray, "faces 3"]
    tint: Float[np.ndarray, "vertices 3"]


Shapes = tuple[Shape, ...]


def rotation(yaw_deg: Number) -> Float[np.ndarray, "3 3"]:
    """Turn about the vertical, from +z towards +x."""
    c, s = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    return np.array([[c, 0.0, s], [0.0, 1.0, 0.0], [-s, 0.0, c]])


def placed(shapes: Iterable[Shape], place: Place, yaw_deg: Number = 0.0) -> Shapes:
    """Turn about the own origin, then move, metres."""
    R = rotation(yaw_deg)
    return tuple(
        replace(s, vertices=s.vertices @ R.T + np.asarray(place), normals=s.normals @ R.T)
        for s in shapes
    )


def merge(shapes: Iterable[Shape], size_px: int) -> tuple[SurfaceMesh, ...]:
    """One surface per material, in the order of first appearance."""
    groups: dict[str, list[Shape]] = {}
    for shape in shapes:
        groups.setdefault(shape.material, []).append(shape)
    return tuple(_merged(name, group, size_px) for name, group in groups.items())


def _merged(name: str, group: Sequence[Shape], size_px: int) -> SurfaceMesh:
    material = MATERIALS[name]
    first = np.cumsum([0] + [len(s.vertices) for s in group])
    return SurfaceMesh(
        vertices=np.concatenate([s.vertices for s in group]),
        normals=np.concatenate([s.normals for s in group]),
        uv=np.concatenate([s.uv for s in group]) / material.span_m,
        faces=np.concatenate([s.faces + k for s, k in zip(group, first, strict=False)]),
        tint=np.concatenate([s.tint for s in group]),
        texture=material.texture(size_px),
        gloss=material.gloss,
        variation=material.variation,
        emission=material.emission,
    )


def grid(
    material: str,
    points: Float[np.ndarray, "rows columns 3"],
    uv: Float[np.ndarray, "rows columns 2"],
    tint: Colour | Float[np.ndarray, "rows columns 3"] = WHITE,
) -> Shape:
    """A smooth sheet through points; seen from its front, columns run right and rows run up."""
    rows, columns = points.shape[:2]
    du, dv = np.gradient(points, axis=1), np.gradient(points, axis=0)
    normals = _unit_normals(np.cross(du, dv))
    low = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    quads = np.stack([low, low + 1, low + columns + 1, low + columns], axis=1)
    return Shape(
        material=material,
        vertices=rearrange(points, "r c xyz -> (r c) xyz"),
        normals=rearrange(normals, "r c xyz -> (r c) xyz"),
        uv=rearrange(uv, "r c uv -> (r c) uv"),
        faces=triangles(quads),
        tint=np.broadcast_to(tint, points.shape).reshape(-1, 3).astype(float),
    )


def _unit_normals(
    normals: Float[np.ndarray, "rows columns 3"],
) -> Float[np.ndarray, "rows columns 3"]:
    """Unit length; where a row has shrunk to a point, the mean of its neighbours', or up."""
    length = np.linalg.norm(normals, axis=-1, keepdims=True)
    unit = normals / np.maximum(length, 1e-12)
    for row in np.flatnonzero((length < 1e-9).any((1, 2))):
        around = unit[[max(row - 1, 0), min(row + 1, len(unit) - 1)]].sum((0, 1))
        size = float(np.linalg.norm(around))
        filled = around / size if size > 1e-6 else np.array([0.0, 1.0, 0.0])
        unit[row] = np.where(length[row] < 1e-9, filled, unit[row])
    return unit


def triangles(quads: Int[np.ndarray, "quads 4"]) -> Int[np.ndarray, "faces 3"]:
    """Two triangles per quad, same winding."""
    return rearrange(quads[:, [0, 1, 2, 0, 2, 3]], "q (two corner) -> (q two) corner", two=2)


def foot_shade(height_m: np.ndarray) -> np.ndarray:
    """Ambient occlusion of an upright surface above the ground, by height, in [FOOT_SHADE, 1]."""
    t = np.clip(height_m / FOOT_M, 0.0, 1.0)
    return FOOT_SHADE + (1.0 - FOOT_SHADE) * np.sqrt(t)


def panel(
    material: str,
    corner: Place,
    right: Place,
    up: Place,
    tint: Colour = WHITE,
    *,
    grounded: bool = False,
    stretch: bool = False,
) -> Shape:
    """A flat rectangle; `corner` is its lower left seen from the front.

    Args:
        material: Name of its material.
        corner: Lower left corner, metres.
        right: Lower edge, metres.
        up: Left edge, metres.
        tint: Colour factor.
        grounded: It rises from the ground: darker at the foot.
        stretch: One repetition of the texture covers it, instead of keeping the scale.
    """
    corner, right, up = (np.asarray(v, float) for v in (corner, right, up))
    width, height = float(np.linalg.norm(right)), float(np.linalg.norm(up))
    steps = [0.0, *(h / height for h in (0.06, 0.15, FOOT_M) if grounded and h < height), 1.0]
    v = np.array(steps)
    points = corner + v[:, None, None] * up + np.array([0.0, 1.0])[None, :, None] * right
    span = MATERIALS[material].span_m
    across, along = (span, span) if stretch else (width, height)
    uv = np.stack(
        [np.broadcast_to([0.0, across], (len(v), 2)), np.repeat((1 - v)[:, None], 2, 1) * along], -1
    )
    shade = foot_shade(v * height) if grounded else np.ones_like(v)
    tints = shade[:, None, None] * np.broadcast_to(np.asarray(tint, float), (len(v), 2, 3))
    return grid(material, points, uv, tints)


def box(
    material: str,
    centre: Place,
    size_m: Place,
    tint: Colour = WHITE,
) -> Shapes:
    """Five faces of an upright box (six when it floats); darker at the foot when on the ground."""
    centre, size = np.asarray(centre, float), np.asarray(size_m, float)
    low, high = centre - size / 2, centre + size / 2
    x, y, z = np.diag(size)
    grounded = bool(low[1] < 0.05)
    sides = [
        panel(material, (low[0], low[1], high[2]), x, y, tint, grounded=grounded),
        panel(material, (high[0], low[1], high[2]), -z, y, tint, grounded=grounded),
        panel(material, (high[0], low[1], low[2]), -x, y, tint, grounded=grounded),
        panel(material, (low[0], low[1], low[2]), z, y, tint, grounded=grounded),
        panel(material, (low[0], high[1], high[2]), x, -z, tint),
    ]
    if not grounded:
        dark = 0.6 * np.asarray(tint, float)
        sides.append(panel(material, (low[0], low[1], low[2]), x, z, dark))
    return tuple(sides)


def lathe(
    material: str,
    profile_m: Sequence[tuple[Number, Number]],
    place: Place = (0.0, 0.0, 0.0),
    tint: Colour = WHITE,
    sides: int = 12,
) -> Shape:
    """A body of revolution about the vertical through (radius, height) points, bottom to top."""
    profile = np.array(profile_m, float)
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    ring = np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    points = profile[:, :1, None] * ring + profile[:, 1:, None] * np.array([0.0, 1.0, 0.0])
    steps = np.linalg.norm(np.diff(profile, axis=0), axis=1)
    along = np.concatenate([[0.0], np.cumsum(steps)])
    around = angle * max(float(profile[:, 0].max()), 1e-3)
    uv = np.stack(np.broadcast_arrays(around[None], -along[:, None]), axis=-1)
    shade = np.ones(len(profile))
    if profile[0, 1] + np.asarray(place)[1] < 0.05:
        shade = foot_shade(profile[:, 1])
    tints = shade[:, None, None] * np.broadcast_to(np.asarray(tint, float), points.shape)
    return grid(material, points + np.asarray(place), uv, tints)


def tube(
    material: str,
    path_m: Float[np.ndarray, "points 3"],
    radius_m: Number | np.ndarray,
    tint: Colour = WHITE,
    sides: int = 8,
) -> Shape:
    """A round bar along a path that mostly does not run along (1, 0, 0.3)."""
    path = np.asarray(path_m, float)
    forward = np.gradient(path, axis=0)
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    a = np.cross(forward, np.array([1.0, 0.0, 0.3]))
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(forward, a)
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    radius = np.broadcast_to(radius_m, (len(path),))[:, None, None]
    ring = a[:, None] * np.cos(angle)[:, None] + b[:, None] * np.sin(angle)[:, None]
    along = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
    uv = np.stack(np.broadcast_arrays((angle * radius.max())[None], -along[:, None]), axis=-1)
    return grid(material, path[:, None] + radius * ring, uv, tint)
