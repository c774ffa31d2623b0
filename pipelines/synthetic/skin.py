"""Paints skin, faces, eyes and hair."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.synthetic.texture import (
    Atlas,
    Colours,
    Points,
    Values,
    blend,
    edge,
    strands,
    to_image,
    waves,
)

EYE_X_M, EYE_Y_M = 0.030, 0.397
HEAD_AXIS_Z_M = 0.075
"""Landmarks of the neutral body, body frame."""
SKIN_TONES = np.array(
    [
        (0.84, 0.68, 0.60), (0.82, 0.64, 0.54), (0.79, 0.60, 0.48), (0.74, 0.55, 0.42),
        (0.67, 0.48, 0.36), (0.58, 0.40, 0.29), (0.49, 0.33, 0.235), (0.40, 0.265, 0.19),
        (0.32, 0.21, 0.155), (0.25, 0.165, 0.125),
    ]
)  # fmt: skip
HAIR_COLOURS = np.array(
    [
        (0.105, 0.092, 0.088), (0.145, 0.11, 0.092), (0.20, 0.14, 0.105), (0.28, 0.19, 0.13),
        (0.36, 0.19, 0.115), (0.46, 0.35, 0.22), (0.62, 0.51, 0.35), (0.40, 0.12, 0.13),
        (0.20, 0.26, 0.40),
    ]
)  # fmt: skip
"""Black to blond, auburn in between; two dyes last."""
GREY_HAIR = np.array([(0.36, 0.35, 0.34), (0.50, 0.49, 0.48), (0.70, 0.69, 0.67)])
IRIS_COLOURS = np.array(
    [
        (0.24, 0.13, 0.06), (0.35, 0.21, 0.09), (0.30, 0.36, 0.18), (0.25, 0.42, 0.60),
        (0.40, 0.45, 0.48),
    ]
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Face:
    """What makes one person's skin and face look like theirs."""

    tone: Float[np.ndarray, "3"]
    hair: Float[np.ndarray, "3"]
    iris: Float[np.ndarray, "3"]
    lips: Float[np.ndarray, "3"]
    blush: float
    brow_thickness_m: float
    beard: float
    """0 none, 0.3 stubble, 1 full."""
    makeup: float
    age: float
    """0 young to 1 old: wrinkles and bags."""
    sock_top_m: float
    """Height above the ground up to which socks are painted; 0 for none."""
    sock: Float[np.ndarray, "3"]


def hairline(points: Points, recession_m: float = 0.0) -> Values:
    """Metres from the edge of the scalp of the neutral body, positive inside.

    `recession_m` moves it back at the temples.
    """
    x, y, z = points.T
    angle = np.abs(np.arctan2(x, z - HEAD_AXIS_Z_M))
    height = np.interp(
        angle,
        [0.0, 0.45, 0.8, 1.05, 1.25, 1.5, 1.75, 2.1, 2.6, np.pi],
        [0.068, 0.066, 0.045, 0.005, -0.01, 0.005, 0.0, -0.045, -0.085, -0.09],
    )
    temple = recession_m * np.exp(-np.square((angle - 0.5) / 0.3))
    return (y - EYE_Y_M - height - temple).astype(np.float32)


def _spot(points: Points, centre: tuple[float, float, float], radius_m: float) -> Values:
    """A soft spot on both sides of the body."""
    x = np.abs(points[:, 0])
    near = np.flatnonzero(np.abs(points[:, 1] - centre[1]) < 3 * radius_m)
    mirrored = np.column_stack([x[near], points[near, 1:]])
    spot = np.zeros(len(points), np.float32)
    spot[near] = np.exp(-np.square(mirrored - np.array(centre)).sum(1) / radius_m**2)
    return spot


def _brows(points: Points, face: Face) -> Values:
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    curve = np.interp(x, [0.010, 0.022, 0.038, 0.052], [0.017, 0.0225, 0.025, 0.015]) + EYE_Y_M
    thickness = face.brow_thickness_m * np.interp(x, [0.010, 0.03, 0.052], [1.0, 1.0, 0.45])
    span = edge(x - 0.0085, 0.005) * edge(0.054 - x, 0.006)
    return edge(thickness - np.abs(y - curve), 0.0022) * span * (z > 0.12)


def _wrinkles(points: Points, face: Face) -> Values:
    """Folds beside the nose, bags under the eyes, crow's feet, lines on the forehead."""
    near = np.flatnonzero((points[:, 2] > 0.09) & (points[:, 1] > EYE_Y_M - 0.09))
    x, y = np.abs(points[near, 0]), points[near, 1] - EYE_Y_M
    fold = np.interp(y, [-0.075, -0.058, -0.036], [0.036, 0.030, 0.018])
    lines = edge(0.0026 - np.abs(x - fold), 0.002) * edge(y + 0.075, 0.01) * edge(-0.036 - y, 0.006)
    bag = np.hypot((x - EYE_X_M) / 0.020, (y - 0.002) / 0.017)
    lines = lines + 0.7 * edge(0.10 - np.abs(bag - 1), 0.08) * (y < -0.006)
    feet = edge(0.0013 - np.abs((y + 0.3 * (x - 0.056)) % 0.008 - 0.004), 0.001)
    lines = lines + 0.6 * feet * edge(x - 0.054, 0.003) * edge(0.066 - x, 0.004) * (
        np.abs(y) < 0.012
    )
    brow = edge(0.0016 - np.abs(y % 0.011 - 0.0055), 0.0016)
    lines = lines + 0.7 * brow * edge(y - 0.034, 0.004) * edge(0.062 - y, 0.006) * edge(
        0.05 - x, 0.02
    )
    wrinkles = np.zeros(len(points), np.float32)
    wrinkles[near] = np.clip(lines, 0, 1) * min(max((face.age - 0.25) / 0.6, 0.0), 1.0)
    return wrinkles


def _beard(points: Points, face: Face, lips: Values) -> Values:
    x, y, z = np.abs(points[:, 0]), points[:, 1], points[:, 2]
    upper = np.interp(
        x, [0.0, 0.026, 0.034, 0.06, 0.072, 0.08], [0.345, 0.343, 0.322, 0.335, 0.365, 0.395]
    )
    below = edge(upper - y, 0.008) * edge(y - 0.272, 0.02) * edge(z - 0.075, 0.02)
    return below * (1 - edge(lips, 0.4)) * edge(0.083 - x, 0.004)


def _body_tint(points: Points, face: Face, atlas: Atlas, rng: np.random.Generator) -> Colours:
    tone = np.tile(face.tone.astype(np.float32), (len(points), 1))
    mottle = 0.022 * waves(points, rng, 0.09) + 0.016 * waves(points, rng, 0.02)
    tone = tone * (1 + mottle)[:, None]
    red = face.tone * np.array([1.02, 0.74, 0.70])
    warm = [
        ((0.045, 0.352, 0.155), 0.020, face.blush),
        ((0.0, 0.362, 0.195), 0.013, 0.35),
        ((0.44, 0.15, 0.02), 0.035, 0.3),
        ((0.143, -0.718, 0.12), 0.05, 0.3),
        ((0.80, 0.165, 0.05), 0.04, 0.25),
    ]
    for centre, radius_m, amount in warm:
        tone = blend(tone, red, amount * _spot(points, centre, radius_m))
    tone = blend(tone, red, 0.35 * atlas.masks["ears"])
    nails = np.maximum(atlas.masks["fingernails"], atlas.masks["toenails"])
    tone = blend(tone, face.tone * 0.6 + np.array([0.4, 0.33, 0.32]), 0.6 * edge(nails, 1.0))
    shade = 0.28 * edge(atlas.masks["hollow_4"], 0.0025)
    shade = shade + 0.16 * edge(atlas.masks["hollow_40"], 0.025)
    return tone * (1 - shade[:, None] * np.array([0.8, 1.0, 1.05]))


def paint_skin(
    atlas: Atlas, face: Face, recession_m: float | None, rng: np.random.Generator
) -> UInt8[np.ndarray, "size size 4"]:
    """Skin of the whole body: tone, blush, lips, brows, beard, scalp, socks, mouth.

    `recession_m` is that of the hairline; None for a bald head.
    """
    points = atlas.position
    colours = _body_tint(points, face, atlas, rng)
    lips = edge(atlas.masks["lips"], 0.9)
    socket = _spot(points, (EYE_X_M, EYE_Y_M + 0.002, 0.165), 0.019)
    colours = blend(colours, face.tone * np.array([0.62, 0.5, 0.48]), 0.42 * socket)
    lids = edge(atlas.masks["eyelids"], 1.0)
    colours = blend(colours, np.array([0.12, 0.07, 0.07]), (0.3 + 0.45 * face.makeup) * lids)
    colours = blend(
        colours, face.tone * np.array([0.66, 0.55, 0.52]), 0.6 * _wrinkles(points, face)
    )
    colours = blend(colours, face.lips, 0.85 * lips)
    nostril = _spot(points, (0.008, 0.3535, 0.180), 0.0055)
    mouth = edge(0.0016 - np.abs(points[:, 1] - 0.3255), 0.0016) * lips
    colours = blend(colours, face.tone * 0.25, 0.55 * nostril + 0.45 * mouth)
    grain = 0.75 + 0.25 * np.clip(waves(points, rng, 0.004, 16), -1, 1)
    colours = blend(colours, face.hair * 0.9, 0.9 * _brows(points, face) * grain)
    colours = blend(colours, face.hair, face.beard * 0.85 * _beard(points, face, lips) * grain)
    if recession_m is not None:
        scalp = edge(hairline(points, recession_m) + 0.001, 0.012) * (
            1 - edge(atlas.masks["ears"], 0.5)
        )
        colours = blend(colours, face.hair * 0.8, 0.85 * scalp * (points[:, 1] > 0.25))
    inner = np.isin(atlas.region, (10, 11, 12))
    colours = blend(colours, np.array([0.30, 0.09, 0.09]), inner.astype(np.float32))
    ground = points[:, 1].min()
    sock = edge(ground + face.sock_top_m - points[:, 1], 0.004) * (face.sock_top_m > 0)
    return to_image(blend(colours, face.sock, sock), atlas.size)


def paint_eye(
    face: Face, rng: np.random.Generator, size: int = 64
) -> UInt8[np.ndarray, "size size 4"]:
    """An eyeball seen from the front: white, iris, pupil, a highlight."""
    y, x = (np.indices((size, size)) + 0.5) / size * 0.032 - 0.016
    radius, angle = np.hypot(x, y).ravel(), np.arctan2(y, x).ravel()
    white = np.tile([0.80, 0.78, 0.76], (size * size, 1))
    white = blend(white, np.array([0.62, 0.42, 0.38]), 0.5 * edge(radius - 0.009, 0.006))
    iris = face.iris * (1 + 0.2 * strands(angle, rng, 40))[:, None]
    eye = blend(white, iris * 0.35, edge(0.0068 - radius, 0.0006))
    eye = blend(eye, iris, edge(0.0060 - radius, 0.0006))
    eye = blend(eye, np.array([0.02, 0.02, 0.02]), edge(0.0027 - radius, 0.0005))
    highlight = edge(0.0013 - np.hypot(x.ravel() + 0.0022, y.ravel() + 0.0022), 0.0005)
    return to_image(blend(eye, np.ones(3), 0.9 * highlight), size)
