"""Cloth colours: plain, striped, checked, printed; with folds, hems and seams."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.texture import Colours, Points, Values, blend, edge, waves

ARM_X_M, ARM_Y_M = 0.2, 0.03
LEG_X_M, LEG_Z_M = 0.139, 0.045
LEGS_BELOW_Y_M = -0.42
Colour = Float[np.ndarray, "3"]


def cloth_coordinates(points: Points) -> tuple[Values, Values]:
    """Along the limb or the torso, and around it, in metres of cloth."""
    x, y, z = points.T
    is_arm = (np.abs(x) > ARM_X_M) & (y > ARM_Y_M)
    side = np.sign(x)
    around_torso = np.arctan2(x, z - 0.03) * 0.14
    around_leg = np.arctan2(x - side * LEG_X_M, z - LEG_Z_M) * 0.07
    around_arm = np.arctan2(y - 0.159, z - 0.048) * 0.05
    around = np.where(is_arm, around_arm, np.where(y < LEGS_BELOW_Y_M, around_leg, around_torso))
    return np.where(is_arm, np.abs(x), y), around


def _plain(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    return np.tile(colours[0], (len(points), 1))


def _bands(value: Values, period_m: float, share: float) -> Values:
    phase = value / period_m % 1
    return edge(share / 2 - np.abs(phase - 0.5), 0.06)


def _stripes_across(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, _ = cloth_coordinates(points)
    bands = _bands(along, rng.uniform(0.03, 0.11), rng.uniform(0.25, 0.6))
    return blend(_plain(points, rng, colours), colours[1], bands)


def _stripes_along(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    _, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(14, 36)
    return blend(_plain(points, rng, colours), colours[1], _bands(around, period_m, 0.3))


def _plaid(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(8, 16)
    cloth = _plain(points, rng, colours)
    for value in (along, around):
        cloth = blend(cloth, colours[1], 0.55 * _bands(value, period_m, 0.42))
        cloth = blend(cloth, colours[2], 0.7 * _bands(value + period_m / 2, period_m, 0.1))
    return cloth


def _dots(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(14, 26)
    row = np.floor(along / period_m)
    u = (around / period_m + 0.5 * (row % 2)) % 1 - 0.5
    v = along / period_m % 1 - 0.5
    dots = edge(rng.uniform(0.2, 0.34) - np.hypot(u, v), 0.08)
    return blend(_plain(points, rng, colours), colours[1], dots)


def _blocks(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, _ = cloth_coordinates(points)
    is_arm = np.abs(points[:, 0]) > ARM_X_M
    split = rng.uniform(-0.1, 0.1)
    lower = edge(split - along, 0.004) * ~is_arm
    sleeves = is_arm * float(rng.random() < 0.5)
    return blend(blend(_plain(points, rng, colours), colours[1], lower), colours[2], sleeves)


def _print(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    """A sign on the chest: disc, ring, bars or a random badge of cells."""
    x, y, z = points.T
    u, v = x / 0.075, (y - 0.035) / 0.075
    kind = rng.integers(4)
    cells = (rng.random((6, 4)) < 0.5).astype(float)
    if kind == 0:
        shape = edge(1 - np.hypot(u, v), 0.08)
    elif kind == 1:
        shape = edge(0.25 - np.abs(np.hypot(u, v) - 0.75), 0.08)
    elif kind == 2:
        shape = edge(1.2 - np.abs(u), 0.05) * _bands(v, 0.5, 0.5) * edge(1 - np.abs(v), 0.05)
    else:
        row = np.clip((v + 1) * 3, 0, 5.99).astype(int)
        column = np.clip(np.abs(u) * 4, 0, 3.99).astype(int)
        shape = cells[row, column] * (np.maximum(np.abs(u), np.abs(v)) < 1)
    return blend(_plain(points, rng, colours), colours[1], shape * (z > 0.06))


def _denim(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    dark = np.array([0.10, 0.15, 0.28]) * rng.uniform(0.6, 2.2)
    cloth = np.tile(dark, (len(points), 1)) * (1 + 0.12 * waves(points, rng, 0.012)[:, None])
    _, y, z = points.T
    worn = edge(z - 0.05, 0.06) * edge(0.75 + y, 0.2) * rng.uniform(0, 0.5)
    _, around = cloth_coordinates(points)
    seam = edge(0.004 - np.abs(np.abs(around) - 0.11), 0.003) * (y < LEGS_BELOW_Y_M)
    return blend(blend(cloth, np.array([0.6, 0.68, 0.8]), worn), 0.5 * dark, 0.7 * seam)


def _camouflage(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    cloth = _plain(points, rng, colours)
    for colour in colours[1:]:
        cloth = blend(cloth, colour, edge(waves(points, rng, 0.12) - 0.5, 0.1))
    return cloth


PATTERNS: dict[str, Callable[[Points, np.random.Generator, np.ndarray], Colours]] = {
    "plain": _plain,
    "stripes_across": _stripes_across,
    "stripes_along": _stripes_along,
    "plaid": _plaid,
    "dots": _dots,
    "blocks": _blocks,
    "print": _print,
    "denim": _denim,
    "camouflage": _camouflage,
}


def paint_cloth(
    points: Points,
    inside_m: Values,
    pattern: str,
    colours: Float[np.ndarray, "3 3"],
    rng: np.random.Generator,
) -> Colours:
    """Colour of a garment at rest points of the neutral body.

    Args:
        points: Neutral rest positions, body frame, metres.
        inside_m: Distance from the garment's edge, positive inside; draws hem and stitching.
        pattern: A key of `PATTERNS`.
        colours: Main, second and third colour, sRGB in [0, 1].
        rng: Source of the pattern's numbers; consumed.
    """
    cloth = PATTERNS[pattern](points, rng, colours)
    stretched = points * np.array([1, 0.55, 1], np.float32)
    folds = 0.03 * waves(stretched, rng, 0.14) + 0.02 * waves(stretched, rng, 0.05)
    weave = 0.02 * waves(points, rng, 0.006, 4)
    crease = edge(0.02 - np.abs(np.hypot(np.abs(points[:, 0]) - 0.17, points[:, 1] - 0.09)), 0.05)
    hem = 0.16 * edge(0.014 - inside_m, 0.003) + 0.2 * edge(
        0.0025 - np.abs(inside_m - 0.015), 0.002
    )
    return cloth * (1 + folds + weave - 0.25 * crease - hem)[:, None]
