"""Textures painted as functions of the neutral rest body, so that no UV seam can show.

Every texel of the body's atlas knows the point of the neutral T-pose (body frame, metres) that it
covers; a painter is a function of these points. Colours are linear blends of sRGB values in [0, 1].
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from einops import rearrange, repeat
from jaxtyping import Float, Int, UInt8
from scipy.ndimage import distance_transform_edt

from models.body.model import BodyModel

STRAND_STEPS = 8192
"""Samples once around an axis: many per strand."""
Points = Float[np.ndarray, "texels 3"]
Values = Float[np.ndarray, "texels"]
Colours = Float[np.ndarray, "texels 3"]


@dataclass(frozen=True, kw_only=True)
class Atlas:
    """The body's texture atlas: what each texel covers; gutters repeat the nearest chart."""

    size: int
    position: Float[np.ndarray, "texels 3"]
    """Neutral rest position, body frame, metres; texels in row-major order."""
    masks: dict[str, Float[np.ndarray, "texels"]]
    """Soft membership in lips, ears, eyelids, fingernails, toenails, each in [0, 1]; and the
    values given to `make_atlas`."""
    region: UInt8[np.ndarray, "texels"]
    """Number of the body region (`region_names` of the body)."""


def _cover(
    corners_px: Float[np.ndarray, "faces 3 2"], size: int
) -> tuple[Int[np.ndarray, "size size"], Float[np.ndarray, "size size 3"]]:
    """Triangle (-1: none) and barycentric coordinates at each texel centre."""
    face_of = np.full((size, size), -1)
    weight_of = np.zeros((size, size, 3), np.float32)
    low = np.floor(corners_px.min(1)).astype(int)
    extent = (np.ceil(corners_px.max(1)).astype(int) - low).max(1)
    a, b, c = corners_px[:, 0], corners_px[:, 1], corners_px[:, 2]
    area = np.cross(b - a, c - a)
    for step in (4, 8, 16, 32, 64, 128):
        rows = np.flatnonzero((extent <= step) & (extent > step // 2 * (step > 4)) & (area != 0))
        if not len(rows):
            continue
        offset = rearrange(np.indices((step, step)), "xy h w -> (h w) xy")
        pixel = low[rows, None] + offset
        p = pixel + 0.5
        wa = np.cross(b[rows, None] - p, c[rows, None] - p) / area[rows, None]
        wb = np.cross(c[rows, None] - p, a[rows, None] - p) / area[rows, None]
        weights = np.stack([wa, wb, 1 - wa - wb], -1)
        inside = (weights > -1e-3).all(-1) & (pixel >= 0).all(-1) & (pixel < size).all(-1)
        x, y = pixel[inside].T
        face_of[y, x] = repeat(rows, "f -> f n", n=step * step)[inside]
        weight_of[y, x] = weights[inside]
    return face_of, weight_of


def make_atlas(
    body: BodyModel, size: int, values: Mapping[str, Float[np.ndarray, "verts"]]
) -> Atlas:
    """Rasterise the neutral body into its own texture atlas.

    Args:
        body: A body with UVs.
        size: Side of the atlas, texels.
        values: Numbers of each body vertex to keep per texel beside the masks of the body.

    Raises:
        ValueError: If the body brings no UVs (licensed files do not).
    """
    if "uv" not in body.appearance:
        raise ValueError(f"body {body.name} brings no UVs; characters need the shipped free body")
    look = body.appearance
    uv_faces = look["uv_faces"].astype(int)
    face_of, weight_of = _cover(look["uv"][uv_faces] * size, size)
    nearest = distance_transform_edt(face_of < 0, return_distances=False, return_indices=True)
    rows, columns = np.asarray(nearest).reshape(2, -1)
    weights = weight_of[rows, columns]
    vertices = look["uv_vertex"].astype(int)[uv_faces[face_of[rows, columns]]]

    def at_texels(values: np.ndarray) -> np.ndarray:
        return np.einsum("nk,nk...->n...", weights, values[vertices]).astype(np.float32)

    masks = {
        name.removeprefix("mask_"): at_texels(values / 255.0)
        for name, values in look.items()
        if name.startswith("mask_")
    }
    masks |= {name: at_texels(each) for name, each in values.items()}
    dominant = np.take_along_axis(vertices, weights.argmax(1)[:, None], axis=1)[:, 0]
    return Atlas(
        size=size,
        position=at_texels(body.v_template.numpy()),
        masks=masks,
        region=look["region"][dominant],
    )


def waves(
    points: Points, rng: np.random.Generator, wavelength_m: float, num_waves: int = 6
) -> Values:
    """Smooth noise of unit variance: plane waves of random direction and phase."""
    directions = rng.normal(size=(num_waves, 3))
    directions *= rng.uniform(0.7, 1.5, (num_waves, 1)) / np.linalg.norm(
        directions, axis=1, keepdims=True
    )
    phase = points @ (directions.T * (2 * np.pi / wavelength_m)).astype(np.float32)
    phase += rng.uniform(0, 2 * np.pi, num_waves).astype(np.float32)
    return np.cos(phase) @ np.full(num_waves, np.sqrt(2 / num_waves), np.float32)


def strands(angle: Values, rng: np.random.Generator, count: int = 60) -> Values:
    """Noise of about unit variance around an axis; periodic, so there is no seam."""
    number = rng.integers(count // 3, count, 8)
    phase = rng.uniform(0, 2 * np.pi, 8)
    turn = np.linspace(0, 2 * np.pi, STRAND_STEPS, endpoint=False)
    table = np.cos(turn[:, None] * number + phase).sum(1).astype(np.float32) / 2
    return table[(angle * (STRAND_STEPS / (2 * np.pi))).astype(np.int64) % STRAND_STEPS]


def edge(value: Values, width: float) -> Values:
    """0 below zero, 1 above `width`, smooth between."""
    t = np.clip(value / width, 0, 1)
    return t * t * (3 - 2 * t)


def blend(
    base: Colours, over: Float[np.ndarray, "*texels 3"], amount: Float[np.ndarray, "texels"]
) -> Colours:
    """Lay a colour (one or one per texel) over others."""
    rows = np.flatnonzero(amount)  # most layers cover little of the body
    mixed = base.copy()
    mixed[rows] += (np.broadcast_to(over, base.shape)[rows] - base[rows]) * amount[rows, None]
    return mixed


def to_image(
    colours: Colours, size: int, inside: Float[np.ndarray, "texels"] | None = None
) -> UInt8[np.ndarray, "size size 4"]:
    """RGBA image of texels in row-major order.

    Args:
        colours: sRGB in [0, 1].
        size: Side of the image.
        inside: Signed distance from the cut, 1 per texel or so; the alpha passes 128 at zero with
            a ramp, so that filtered lookups cut a smooth line. None: opaque.
    """
    rgb = np.clip(colours * 255 + 0.5, 0, 255).astype(np.uint8)
    ramp = np.full(len(rgb), 1.0) if inside is None else np.clip(inside, -1, 1)
    alpha = (127.5 + 127.5 * ramp).astype(np.uint8)
    return rearrange(np.column_stack([rgb, alpha]), "(h w) c -> h w c", h=size)
