"""What a person looks like and wears, drawn from a seed, and where each garment ends.

Cuts are functions of the neutral rest body (body frame, metres): positive inside the garment.
"""

import colorsys
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.fabric import LEGS_BELOW_Y_M
from pipelines.synthetic.skin import HAIR_COLOURS, SKIN_TONES, Face
from pipelines.synthetic.texture import Points, Values, edge

NECK_M = np.array([0.0, 0.285, 0.058])
ARMS_ABOVE_Y_M = 0.05
HAIR_STYLES = ("bald", "buzz", "short", "tousled", "afro", "bob", "long", "bun", "ponytail")
TOP_PATTERNS = (
    "plain", "plain", "plain", "stripes_across", "stripes_across", "stripes_along", "plaid",
    "dots", "blocks", "print", "print", "camouflage",
)  # fmt: skip
LEG_PATTERNS = (
    "plain",
    "plain",
    "plain",
    "plain",
    "denim",
    "denim",
    "denim",
    "denim",
    "plaid",
    "camouflage",
)


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """One garment that follows the body; its cut in neutral rest coordinates, metres."""

    name: str
    """top, bottom, jacket or hat."""
    pattern: str
    colours: Float[np.ndarray, "3 3"]
    thickness_m: float
    collar_m: float = 0.09
    """Radius of the hole for the neck."""
    sleeve_x_m: float = 0.30
    """Where sleeves end; less than the shoulder (0.17) for a tank top."""
    hem_y_m: float = -0.30
    waist_y_m: float = -0.17
    cuff_y_m: float = -1.15
    flare_m: float = 0.0
    """Extra width where cloth hangs free: at cuffs, sleeve ends and the hem."""


@dataclass(frozen=True, kw_only=True)
class Skirt:
    """A skirt that hangs from the waist."""

    pattern: str
    colours: Float[np.ndarray, "3 3"]
    hem_y_m: float


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """Everything about a person that is decided before meshes and textures are made."""

    name: str
    betas: Float[np.ndarray, "10"]
    face: Face
    hair_style: str
    hair_length_m: float
    cloths: tuple[Cloth, ...]
    skirt: Skirt | None
    shoe_colours: Float[np.ndarray, "3 3"]
    shoe_top_m: float


def inside_top(points: Points, cloth: Cloth) -> Values:
    """T-shirts, long sleeves, tank tops."""
    x, y, _ = points.T
    below_neck = np.linalg.norm((points - NECK_M) * (1, 0.72, 1), axis=1) - cloth.collar_m
    below_neck = np.where(y > 0.275, -np.abs(below_neck), below_neck)
    if cloth.sleeve_x_m < 0.18:
        hole = cloth.sleeve_x_m + 0.9 * np.clip(0.09 - y, 0, 0.1)
        sleeve = hole - np.abs(x)
    else:
        sleeve = cloth.sleeve_x_m - np.abs(x)
    return np.minimum(np.minimum(below_neck, sleeve), y - cloth.hem_y_m)


def inside_jacket(points: Points, cloth: Cloth) -> Values:
    """A long-sleeved top open at the front."""
    x, y, z = points.T
    opening = np.where(z > 0.03, np.abs(x) - 0.035 - 0.10 * np.clip(y - 0.02, 0, 1), 0.1)
    return np.minimum(inside_top(points, cloth), opening)


def inside_bottom(points: Points, cloth: Cloth) -> Values:
    """Trousers and shorts."""
    x, y, _ = points.T
    is_hand = (np.abs(x) > 0.3) & (y > ARMS_ABOVE_Y_M)
    inside = np.minimum(cloth.waist_y_m - y, y - cloth.cuff_y_m)
    return np.where(is_hand, -1.0, inside)


def inside_hat(points: Points, cloth: Cloth) -> Values:
    """A beanie: lower at the back, above the eyes in front."""
    _, y, z = points.T
    return np.where(y > 0.27, y - 0.437 - 0.22 * (z - 0.15), -1.0)


def looseness(points: Points, cloth: Cloth) -> Values:
    """0 where a cloth lies on the skin (around the neck), 1 where it spans hollows."""
    from_neck = np.linalg.norm((points - NECK_M) * (1, 0.72, 1), axis=1) - cloth.collar_m
    is_near_neck = (points[:, 1] > ARMS_ABOVE_Y_M) & (cloth.name in ("top", "jacket"))
    return np.where(is_near_neck, edge(from_neck + 0.01, 0.05), 1.0)


def thickness_m(points: Points, cloth: Cloth) -> Values:
    """Distance of a cloth from the skin: thin at the collar, wide where it hangs free."""
    x, y, _ = points.T
    if cloth.name == "hat":
        return np.full(len(points), cloth.thickness_m)
    if cloth.name == "bottom":
        return cloth.thickness_m + cloth.flare_m * np.clip((-0.5 - y) / 0.5, 0, 1)
    hangs = np.maximum(np.clip((np.abs(x) - 0.2) / 0.12, 0, 1), np.clip((0.02 - y) / 0.3, 0, 1))
    return cloth.thickness_m * (0.45 + 0.55 * looseness(points, cloth)) + cloth.flare_m * hangs


CUTS = {"top": inside_top, "jacket": inside_jacket, "bottom": inside_bottom, "hat": inside_hat}


def _colours(rng: np.random.Generator, cloth: str) -> Float[np.ndarray, "3 3"]:
    """Main, second, third colour: muted more often than bright, the second in contrast."""
    hue, kind = rng.random(), rng.random()
    value = rng.uniform(0.12, 0.95) if cloth != "bottom" else rng.uniform(0.08, 0.7)
    saturation = rng.uniform(0.0, 0.12) if kind < 0.35 else rng.uniform(0.25, 0.85)
    main = colorsys.hsv_to_rgb(hue, saturation, value)
    far = value - 0.5 if value > 0.55 else value + 0.45
    second = colorsys.hsv_to_rgb(
        (hue + rng.choice([0, 0.08, 0.5, 0.33])) % 1, rng.uniform(0, 0.7), far
    )
    third = colorsys.hsv_to_rgb(rng.random(), rng.uniform(0, 0.6), rng.uniform(0.1, 0.95))
    return np.array([main, second, third])


def _draw_top(rng: np.random.Generator) -> Cloth:
    sleeve_x_m = (
        rng.uniform(0.27, 0.37),  # t-shirt
        rng.uniform(0.60, 0.665),  # long sleeve
        rng.uniform(0.115, 0.135),  # tank top
    )[rng.choice(3, p=(0.5, 0.32, 0.18))]
    return Cloth(
        name="top",
        pattern=str(rng.choice(TOP_PATTERNS)),
        colours=_colours(rng, "top"),
        thickness_m=float(rng.uniform(0.0145, 0.016)),
        collar_m=float(rng.uniform(0.088, 0.11 if sleeve_x_m > 0.2 else 0.13)),
        sleeve_x_m=float(sleeve_x_m),
        hem_y_m=float(rng.uniform(-0.36, -0.27)),
        flare_m=float(rng.uniform(0.0, 0.014)) if sleeve_x_m < 0.5 else 0.0,
    )


def _draw_jacket(rng: np.random.Generator) -> Cloth:
    return Cloth(
        name="jacket",
        pattern=str(rng.choice(["plain", "plain", "denim", "plaid", "camouflage"])),
        colours=_colours(rng, "bottom"),
        thickness_m=0.025,
        collar_m=0.092,
        flare_m=0.006,
        sleeve_x_m=float(rng.uniform(0.63, 0.67)),
        hem_y_m=float(rng.uniform(-0.40, -0.25)),
    )


def _draw_bottom(rng: np.random.Generator) -> Cloth:
    is_long = rng.random() < 0.72
    return Cloth(
        name="bottom",
        pattern=str(rng.choice(LEG_PATTERNS)),
        colours=_colours(rng, "bottom"),
        thickness_m=float(rng.uniform(0.010, 0.013)),
        waist_y_m=-0.16,
        cuff_y_m=float(rng.uniform(-1.16, -1.12) if is_long else rng.uniform(-0.72, -0.56)),
        flare_m=float(rng.choice([0.0, 0.01, 0.02, 0.03]) if is_long else 0.05),
    )


def _draw_face(rng: np.random.Generator, is_masculine: bool, has_bare_legs: bool) -> Face:
    place = rng.uniform(0, len(SKIN_TONES) - 1)
    tone = np.array([np.interp(place, range(len(SKIN_TONES)), c) for c in SKIN_TONES.T])
    tone = np.clip(tone * rng.normal(1, 0.015, 3), 0.05, 1)
    dark_share = np.clip(place / 6, 0, 1)
    chances = np.array([0.2, 0.2, 0.18, 0.12, 0.06, 0.08, 0.06, 0.04, 0.03, 0.015, 0.015])
    chances[4:7] *= 1 - dark_share
    hair = HAIR_COLOURS[rng.choice(len(HAIR_COLOURS), p=chances / chances.sum())]
    makeup = 0.0 if is_masculine else float(rng.random() < 0.5) * rng.uniform(0.3, 1)
    natural = tone * np.array([0.86, 0.58, 0.58])
    paint = np.array(colorsys.hsv_to_rgb(rng.uniform(0.94, 1.0), 0.7, rng.uniform(0.45, 0.8)))
    beard = rng.choice([0.0, 0.35, 1.0], p=(0.5, 0.25, 0.25)) if is_masculine else 0.0
    return Face(
        tone=tone,
        hair=hair,
        lips=natural + (paint - natural) * 0.7 * makeup,
        blush=float(rng.uniform(0.1, 0.4)),
        brow_thickness_m=float(rng.uniform(0.0026, 0.0042 if is_masculine else 0.0034)),
        beard=float(beard),
        makeup=makeup,
        sock_top_m=float(rng.uniform(0.10, 0.3)) if has_bare_legs and rng.random() < 0.6 else 0.0,
        sock=np.full(3, rng.choice([0.93, 0.9, 0.12])),
    )


def _draw_betas(rng: np.random.Generator) -> Float[np.ndarray, "10"]:
    spread = np.array([0.65, 1.1, 1, 1, 1, 0.9, 0.9, 0.8, 0.8, 0.8])
    return np.clip(rng.normal(size=10), -2.2, 2.2) * spread


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """A person and their clothes; consumes the generator."""
    betas = _draw_betas(rng)
    is_masculine = bool(betas[1] < rng.normal(0, 0.25))
    top = _draw_top(rng)
    bottom = _draw_bottom(rng)
    skirt = None
    if not is_masculine and rng.random() < 0.35:
        is_dress = rng.random() < 0.5
        skirt = Skirt(
            pattern=top.pattern if is_dress and top.pattern != "print" else "plain",
            colours=top.colours if is_dress else bottom.colours,
            hem_y_m=float(rng.uniform(-0.95, -0.6)),
        )
    cloths = [] if skirt else [bottom]
    cloths.append(top)
    if skirt is None and rng.random() < 0.22:
        cloths[-1] = replace(top, flare_m=0.0)
        cloths.append(_draw_jacket(rng))
    if rng.random() < 0.1:
        cloths.append(Cloth(name="hat", pattern=str(rng.choice(["plain", "stripes_across"])),
                            colours=_colours(rng, "hat"), thickness_m=0.011))  # fmt: skip
    chances = np.array(
        [0.08, 0.18, 0.32, 0.2, 0.08, 0.0, 0.08, 0.02, 0.04]
        if is_masculine
        else [0.0, 0.03, 0.08, 0.07, 0.1, 0.2, 0.27, 0.12, 0.13]
    )
    style = HAIR_STYLES[rng.choice(len(HAIR_STYLES), p=chances)]
    has_bare_legs = skirt is not None or bottom.cuff_y_m > LEGS_BELOW_Y_M - 0.4
    return Outfit(
        name=f"{style}-{top.pattern}-{'skirt' if skirt else bottom.pattern}",
        betas=betas,
        face=_draw_face(rng, is_masculine, has_bare_legs),
        hair_style=style,
        hair_length_m=float(
            rng.uniform(0.24, 0.42) if style == "long" else rng.uniform(0.06, 0.11)
        ),
        cloths=tuple(cloths),
        skirt=skirt,
        shoe_colours=_colours(rng, "shoes"),
        shoe_top_m=float(rng.choice([0.075, 0.085, 0.13])),
    )
