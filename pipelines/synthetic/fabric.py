"""Cloth colours: plain, striped, checked, printed; with folds, seams, pockets and buttons."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.texture import Colours, Points, Values, blend, edge, waves

ARM_X_M, ARM_Y_M = 0.2, 0.03
LEG_X_M, LEG_Z_M = 0.139, 0.045
LEGS_BELOW_Y_M = -0.42
AXIS_Z_M = 0.03
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


def _heather(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    """Mixed yarn: plain from afar."""
    fleck = waves(points, rng, 0.013, 12) + rng.normal(size=len(points))
    return _plain(points, rng, colours) * (1 + 0.028 * fleck)[:, None]


def _bands(value: Values, period_m: float, share: float) -> Values:
    phase = value / period_m % 1
    return edge(share / 2 - np.abs(phase - 0.5), 0.06)


def _stripes_across(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, _ = cloth_coordinates(points)
    bands = _bands(along, rng.uniform(0.022, 0.055), rng.uniform(0.25, 0.5))
    return blend(_plain(points, rng, colours), colours[1], bands)


def _stripes_along(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    _, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(30, 46)
    return blend(_plain(points, rng, colours), colours[1], 0.6 * _bands(around, period_m, 0.3))


def _plaid(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(12, 22)
    cloth = _plain(points, rng, colours)
    for value in (along, around):
        cloth = blend(cloth, colours[1], 0.55 * _bands(value, period_m, 0.42))
        cloth = blend(cloth, colours[2], 0.7 * _bands(value + period_m / 2, period_m, 0.1))
    return cloth


def _dots(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    along, around = cloth_coordinates(points)
    period_m = 0.28 * np.pi / rng.integers(24, 36)
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


def _floral(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    """Scattered blossoms of two colours."""
    cloth = _plain(points, rng, colours)
    for colour, size_m in ((colours[2], 0.045), (colours[1], 0.04)):
        cloth = blend(cloth, colour, 0.7 * edge(waves(points, rng, size_m, 7) - 1.1, 0.25))
    return cloth


def _print(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    """A sign on the chest: disc, ring, lettering or a badge at the heart."""
    x, y, z = points.T
    size_m = rng.uniform(0.04, 0.07)
    u, v = x / size_m, (y - 0.045) / size_m
    kind = rng.integers(4)
    length = rng.uniform(0.5, 1.4, 3)
    if kind == 0:
        shape = edge(0.9 - np.hypot(u, v), 0.1)
    elif kind == 1:
        shape = edge(0.16 - np.abs(np.hypot(u, v) - 0.75), 0.08)
    elif kind == 2:
        row = np.clip(np.floor(1.5 - 1.6 * v), 0, 2).astype(int)
        letters = edge(np.abs((u * 2.3 + 0.4 * row) % 1 - 0.5) - 0.1, 0.1)
        inside = edge(length[row] - np.abs(u), 0.05) * (np.abs(v) < 0.9)
        shape = letters * inside * _bands(1.6 * v, 1.0, 0.6)
    else:
        shape = edge(0.018 - np.hypot(x - 0.075, y - 0.06), 0.004)
    return blend(_plain(points, rng, colours), colours[1], 0.9 * shape * (z > 0.06))


def _denim(points: Points, rng: np.random.Generator, colours: np.ndarray) -> Colours:
    """The first colour, worn pale on the thighs."""
    twill = 0.05 * waves(points, rng, 0.012) + 0.04 * rng.normal(size=len(points))
    cloth = _plain(points, rng, colours) * (1 + twill)[:, None]
    _, y, z = points.T
    worn = edge(z - 0.04, 0.08) * edge(0.95 + y, 0.3) * edge(-0.3 - y, 0.15)
    pale = colours[0] * 0.55 + np.array([0.30, 0.33, 0.37])
    return blend(cloth, pale, worn * rng.uniform(0.1, 0.7))


PATTERNS: dict[str, Callable[[Points, np.random.Generator, np.ndarray], Colours]] = {
    "plain": _plain,
    "heather": _heather,
    "stripes_across": _stripes_across,
    "stripes_along": _stripes_along,
    "plaid": _plaid,
    "dots": _dots,
    "floral": _floral,
    "blocks": _blocks,
    "print": _print,
    "denim": _denim,
}


def _line(value_m: Values, width_m: float = 0.004) -> Values:
    """A thin line where the value is zero."""
    return edge(width_m - np.abs(value_m), 0.003)


def _seams(points: Points, inside_m: Values, detail: str) -> Values:
    """Where a garment is sewn, 0 to 1: shoulder, side and leg seams, pockets, plackets."""
    x, y, z = points.T
    side, front = np.abs(x), z > AXIS_Z_M
    on_leg = y < LEGS_BELOW_Y_M
    if detail in ("jeans", "chinos", "joggers"):
        seam = _line(z - LEG_Z_M) * on_leg
        seam = np.maximum(seam, _line(x) * (y > LEGS_BELOW_Y_M))
        pocket = _line(y + 0.20 + 0.9 * np.clip(side - 0.07, 0, 0.09)) * (side > 0.05) * front
        seam = np.maximum(seam, pocket * (side < 0.16) * (y > -0.30))
        box = np.maximum(np.abs(side - 0.085) / 0.05, np.abs(y + 0.315) / 0.065)
        back = _line((box - 1) * 0.05) * ~front
        return np.maximum(seam, back if detail != "joggers" else 0 * back)
    arm = _line(side - 0.185, 0.004) * (y > 0.02)
    seam = np.maximum(arm, _line(z - AXIS_Z_M) * (y < 0.05) * (side > 0.05))
    if detail in ("shirt", "jacket"):
        seam = np.maximum(seam, _line(side - 0.016) * front * (side < ARM_X_M))
        pocket = np.maximum(np.abs(x - 0.085) / 0.04, np.abs(y - 0.045) / 0.045)
        seam = np.maximum(seam, _line((pocket - 1) * 0.04) * front)
    if detail == "hoodie":
        slant = 0.11 - 0.35 * np.clip(y + 0.22, 0, 0.2)
        pocket = np.maximum(_line(side - slant), _line(y + 0.06) * (side < slant))
        seam = np.maximum(seam, pocket * front * (y < -0.05) * (y > -0.22))
    if detail in ("shirt", "hoodie", "jacket"):
        seam = np.maximum(seam, _line(inside_m - 0.032) * (y > 0.1))
    return seam


def _fastened(points: Points, cloth: Colours, colours: np.ndarray, detail: str) -> Colours:
    """Buttons, draw strings and zips."""
    x, y, z = points.T
    light = colours[0] * 0.5 + 0.45
    front = (z > 0.05) & (np.abs(x) < 0.1)
    if detail == "shirt":
        dots = edge(0.0065 - np.hypot(x, (y + 0.045) % 0.085 - 0.0425), 0.002)
        return blend(cloth, light, 0.8 * dots * front)
    if detail == "hoodie":
        strings = _line(np.abs(x) - 0.035, 0.004) * (y > 0.06) * (y < 0.22)
        return blend(cloth, light, 0.8 * strings * front)
    if detail == "jeans":
        button = edge(0.008 - np.hypot(x, y + 0.185), 0.002)
        return blend(cloth, np.array([0.65, 0.55, 0.38]), button * front)
    return cloth


def _creases(points: Points, rng: np.random.Generator) -> Values:
    """Light and dark of folds: across the limbs at bends, hanging elsewhere."""
    x, y, _z = points.T
    side = np.abs(x)
    across_arm = waves(points * np.array([1, 0.35, 0.35], np.float32), rng, 0.05)
    across_leg = waves(points * np.array([0.4, 1, 0.4], np.float32), rng, 0.055)
    hanging = waves(points * np.array([1, 0.22, 1], np.float32), rng, 0.085)
    is_arm = (side > ARM_X_M) & (y > ARM_Y_M)
    bend = np.exp(-np.square((side - 0.44) / 0.06)) * is_arm
    bend = bend + np.exp(-np.square((y + 0.72) / 0.07)) + edge(-0.98 - y, 0.1)
    bend = bend + np.exp(-np.square((y + 0.40) / 0.06)) + 0.8 * edge(-0.02 - y, 0.1) * (y > -0.3)
    bend = np.clip(bend + 0.25, 0, 1)

    def folded(wave: Values) -> Values:
        # a sharp shadow along each fold with a soft light beside it
        return 0.55 * np.exp(-np.square((wave - 0.5) / 0.5)) - np.exp(-np.square(wave / 0.28))

    sharp = folded(np.where(is_arm, across_arm, across_leg)) * bend
    return 0.10 * sharp + 0.055 * folded(hanging) * (1 - 0.5 * bend) * ~is_arm


def paint_cloth(
    points: Points,
    inside_m: Values,
    pattern: str,
    colours: Float[np.ndarray, "3 3"],
    detail: str,
    rng: np.random.Generator,
) -> Colours:
    """Colour of a garment at rest points of the neutral body.

    Args:
        points: Neutral rest positions, body frame, metres.
        inside_m: Distance from the garment's edge, positive inside; draws hem and stitching.
        pattern: A key of `PATTERNS`.
        colours: Main, second and third colour, sRGB in [0, 1].
        detail: How it is sewn: tee, shirt, hoodie, jacket, jeans, chinos, joggers or plain.
        rng: Source of the pattern's numbers; consumed.
    """
    cloth = PATTERNS[pattern](points, rng, colours)
    cloth = cloth * (1 + _creases(points, rng) + 0.02 * waves(points, rng, 0.2))[:, None]
    hem = 0.10 * edge(0.011 - inside_m, 0.003) + 0.14 * _line(inside_m - 0.020)
    seams = np.zeros(len(points)) if detail == "plain" else _seams(points, inside_m, detail)
    stitch = np.array([0.62, 0.48, 0.30]) if detail == "jeans" else colours[0] * 0.45
    cloth = blend(cloth, stitch, 0.5 * seams) * (1 - hem)[:, None]
    if detail in ("hoodie", "joggers", "tee"):  # ribbed cuffs
        _, around = cloth_coordinates(points)
        rib = 0.08 * np.cos(around * (2 * np.pi / 0.012)) - 0.03
        cloth = cloth * (1 + rib * edge(0.035 - inside_m, 0.004) * (detail != "tee"))[:, None]
    return _fastened(points, cloth, colours, detail)
