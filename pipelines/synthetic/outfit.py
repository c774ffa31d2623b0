"""What a person looks like and wears, drawn from a seed, and where each garment ends.

Cuts are functions of the neutral rest body (body frame, metres): positive inside the garment.
"""

import colorsys
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.fabric import LEGS_BELOW_Y_M
from pipelines.synthetic.haircut import HairCut, draw_cut
from pipelines.synthetic.skin import GREY_HAIR, HAIR_COLOURS, IRIS_COLOURS, SKIN_TONES, Face
from pipelines.synthetic.texture import Points, Values, edge

NECK_M = np.array([0.0, 0.285, 0.058])
ARMS_ABOVE_Y_M = 0.05
TOP_PATTERNS = {
    "plain": 0.46, "heather": 0.14, "stripes_across": 0.11, "stripes_along": 0.03, "plaid": 0.07,
    "dots": 0.02, "floral": 0.03, "blocks": 0.05, "print": 0.09,
}  # fmt: skip
BLOUSE_PATTERNS = {"plain": 0.5, "heather": 0.1, "stripes_across": 0.1, "dots": 0.1, "floral": 0.2}
NEUTRALS = np.array(
    [
        (0.07, 0.07, 0.08), (0.19, 0.19, 0.20), (0.42, 0.42, 0.43), (0.64, 0.64, 0.64),
        (0.86, 0.86, 0.85), (0.83, 0.80, 0.73), (0.10, 0.13, 0.22), (0.23, 0.31, 0.44),
        (0.57, 0.66, 0.75), (0.69, 0.61, 0.49), (0.52, 0.40, 0.28), (0.28, 0.19, 0.14),
        (0.30, 0.31, 0.21), (0.33, 0.11, 0.14),
    ]
)  # fmt: skip
"""Black, charcoal, greys, white, cream, navy, blue, light blue, sand, camel, brown, olive, wine."""
NEUTRAL_SHARES = np.array(
    [0.14, 0.09, 0.09, 0.07, 0.14, 0.06, 0.10, 0.06, 0.07, 0.05, 0.03, 0.03, 0.04, 0.03]
)
ACCENTS = np.array(
    [
        (0.50, 0.15, 0.15), (0.64, 0.49, 0.24), (0.15, 0.25, 0.19), (0.17, 0.32, 0.34),
        (0.68, 0.54, 0.53), (0.52, 0.49, 0.60), (0.58, 0.34, 0.22), (0.20, 0.28, 0.46),
        (0.72, 0.67, 0.49), (0.55, 0.63, 0.58), (0.50, 0.27, 0.32),
    ]
)  # fmt: skip
"""Red, mustard, forest, teal, rose, lavender, rust, royal blue, pale yellow, sage, raspberry."""
DENIMS = np.array(
    [(0.10, 0.13, 0.20), (0.16, 0.22, 0.33), (0.24, 0.33, 0.46), (0.40, 0.50, 0.61),
     (0.14, 0.14, 0.15)]
)  # fmt: skip
LEG_SHARES = np.array(
    [0.22, 0.15, 0.09, 0.01, 0.02, 0.03, 0.16, 0.02, 0, 0.12, 0.07, 0.05, 0.07, 0.01]
)
SHOE_COLOURS = np.array(
    [(0.86, 0.86, 0.85), (0.09, 0.09, 0.10), (0.33, 0.33, 0.34), (0.26, 0.17, 0.11),
     (0.13, 0.16, 0.25), (0.58, 0.50, 0.40), (0.52, 0.14, 0.14)]
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Cloth:
    """One garment that follows the body; its cut in neutral rest coordinates, metres."""

    name: str
    """top, bottom, jacket or hat."""
    pattern: str
    colours: Float[np.ndarray, "3 3"]
    thickness_m: float
    detail: str = "plain"
    """How it is sewn, see `paint_cloth`."""
    hang_slope: float | None = None
    """How it hangs below the chest, see `garment.layer`."""
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
    """Cloth that hangs from the waist around both legs."""

    pattern: str
    colours: Float[np.ndarray, "3 3"]
    hem_y_m: float
    flare: float
    folds_m: float
    margin_m: float = 0.019
    is_open: bool = False
    """The lower part of a coat: open in front, worn over trousers."""


@dataclass(frozen=True, kw_only=True)
class Outfit:
    """Everything about a person that is decided before meshes and textures are made."""

    name: str
    betas: Float[np.ndarray, "10"]
    face: Face
    hair: HairCut
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
        brim = edge(0.042 - inside_hat(points, cloth), 0.005)
        return cloth.thickness_m + 0.005 * brim
    if cloth.name == "bottom":
        return cloth.thickness_m + cloth.flare_m * np.clip((-0.5 - y) / 0.5, 0, 1)
    hangs = np.maximum(np.clip((np.abs(x) - 0.2) / 0.12, 0, 1), np.clip((0.02 - y) / 0.3, 0, 1))
    # less over the shoulder, where it would stand up when the arms come down from the T-pose
    shoulder = 1 - 0.45 * np.exp(-np.square((np.abs(x) - 0.18) / 0.07)) * edge(y - 0.1, 0.06)
    loose = 0.45 + 0.55 * looseness(points, cloth)
    return cloth.thickness_m * loose * shoulder + cloth.flare_m * hangs * shoulder


CUTS = {"top": inside_top, "jacket": inside_jacket, "bottom": inside_bottom, "hat": inside_hat}


def _shade(rng: np.random.Generator, colour: np.ndarray) -> np.ndarray:
    """The same cloth from another maker."""
    return np.clip(colour * rng.uniform(0.85, 1.12) * rng.normal(1, 0.025, 3), 0.03, 0.93)


def _pick(rng: np.random.Generator, colours: np.ndarray, shares: np.ndarray) -> np.ndarray:
    return _shade(rng, colours[rng.choice(len(colours), p=shares / shares.sum())])


def _colours(rng: np.random.Generator, accent_share: float) -> Float[np.ndarray, "3 3"]:
    """Main, second, third colour: neutrals mostly, the second in contrast to the first."""
    if rng.random() < accent_share:
        main = _shade(rng, ACCENTS[rng.integers(len(ACCENTS))])
    else:
        main = _pick(rng, NEUTRALS, NEUTRAL_SHARES)
    is_far = np.abs(NEUTRALS.mean(1) - main.mean()) > 0.28
    second = _pick(rng, NEUTRALS, NEUTRAL_SHARES * is_far)
    third = _shade(rng, ACCENTS[rng.integers(len(ACCENTS))])
    return np.array([main, second, third])


def _leg_colours(rng: np.random.Generator) -> Float[np.ndarray, "3 3"]:
    return np.array([_pick(rng, NEUTRALS, LEG_SHARES), NEUTRALS[4], NEUTRALS[0]])


def _named(rng: np.random.Generator, shares: Mapping[str, float | int]) -> str:
    """A name drawn by its share."""
    total = sum(shares.values())
    return str(rng.choice(list(shares), p=[share / total for share in shares.values()]))


def _draw_top(rng: np.random.Generator, is_masculine: bool) -> Cloth:
    kinds = {"tee": 0.42, "long": 0.16, "shirt": 0.18, "hoodie": 0.14, "tank": 0.1}
    kind = _named(rng, kinds)
    pattern = _named(rng, TOP_PATTERNS if is_masculine or kind == "hoodie" else BLOUSE_PATTERNS)
    if kind == "shirt":
        pattern = _named(rng, {"plain": 0.5, "plaid": 0.3, "stripes_along": 0.15, "floral": 0.05})
    if kind == "hoodie":
        pattern = _named(rng, {"plain": 0.5, "heather": 0.3, "print": 0.1, "blocks": 0.1})
    sleeve_x_m = {
        "tee": rng.uniform(0.30, 0.37),
        "long": rng.uniform(0.62, 0.665),
        "shirt": rng.choice([rng.uniform(0.63, 0.665), 0.36, 0.42]),
        "hoodie": rng.uniform(0.64, 0.665),
        "tank": rng.uniform(0.115, 0.135),
    }[kind]
    return Cloth(
        name="top",
        pattern=pattern,
        colours=_colours(rng, 0.3),
        thickness_m=0.019 if kind == "hoodie" else float(rng.uniform(0.0145, 0.016)),
        detail={"long": "tee", "tank": "plain"}.get(kind, kind),
        hang_slope=float(rng.uniform(-0.35, -0.05)) if kind != "tank" else None,
        collar_m=float(
            rng.uniform(0.085, 0.105 if is_masculine else 0.12)
            if kind not in ("shirt", "hoodie")
            else 0.078
        ),
        sleeve_x_m=float(sleeve_x_m),
        hem_y_m=float(rng.uniform(-0.38, -0.29)),
        flare_m=0.012 if sleeve_x_m < 0.5 else 0.004,
    )


def _draw_jacket(rng: np.random.Generator, is_coat: bool) -> Cloth:
    pattern = _named(rng, {"plain": 0.75, "denim": 0.2, "heather": 0.05})
    colours = _leg_colours(rng)
    if pattern == "denim" and not is_coat:
        colours[0] = _shade(rng, DENIMS[rng.integers(len(DENIMS))])
    return Cloth(
        name="jacket",
        pattern="plain" if is_coat else pattern,
        colours=colours,
        thickness_m=0.026,
        detail="jacket",
        hang_slope=-0.04,
        collar_m=0.088,
        flare_m=0.006,
        sleeve_x_m=float(rng.uniform(0.64, 0.67)),
        hem_y_m=-0.26 if is_coat else float(rng.uniform(-0.42, -0.30)),
    )


def _draw_bottom(rng: np.random.Generator) -> Cloth:
    is_long = rng.random() < 0.8
    detail = _named(rng, {"jeans": 0.48, "chinos": 0.38, "joggers": 0.14})
    colours = _leg_colours(rng)
    if detail == "jeans":
        colours[0] = _pick(rng, DENIMS, np.array([0.25, 0.28, 0.25, 0.14, 0.08]))
    flare_m = float(rng.choice([0.0, 0.006, 0.014, 0.024, 0.036], p=(0.2, 0.3, 0.25, 0.15, 0.1)))
    return Cloth(
        name="bottom",
        pattern={"jeans": "denim", "chinos": "plain"}.get(detail, "heather"),
        colours=colours,
        thickness_m=float(rng.uniform(0.010, 0.013)),
        detail=detail,
        waist_y_m=-0.16,
        cuff_y_m=float(rng.uniform(-1.175, -1.145) if is_long else rng.uniform(-0.72, -0.58)),
        flare_m=flare_m if is_long else 0.05,
    )


def _draw_face(rng: np.random.Generator, is_masculine: bool, has_bare_legs: bool) -> Face:
    place = rng.uniform(0, len(SKIN_TONES) - 1)
    tone = np.array([np.interp(place, range(len(SKIN_TONES)), c) for c in SKIN_TONES.T])
    tone = np.clip(tone * rng.normal(1, 0.015, 3), 0.05, 1)
    dark_share = float(np.clip(place / 6, 0, 1))
    chances = np.array([0.24, 0.22, 0.18, 0.13, 0.06, 0.09, 0.07, 0.006, 0.004])
    chances[4:7] *= 1 - dark_share
    hair = _pick(rng, HAIR_COLOURS, chances)
    age = float(rng.beta(1.0, 1.6))
    if rng.random() < edge(np.array([age - 0.4]), 0.5)[0]:
        hair = _shade(rng, GREY_HAIR[rng.integers(len(GREY_HAIR))])
    shares = np.array([0.4, 0.25, 0.1, 0.15, 0.1])
    shares[2:] *= max(0.0, 1 - 2 * dark_share)
    iris = IRIS_COLOURS[rng.choice(len(IRIS_COLOURS), p=shares / shares.sum())]
    makeup = 0.0 if is_masculine else float(rng.random() < 0.5) * rng.uniform(0.3, 1)
    natural = tone * np.array([0.86, 0.58, 0.58])
    paint = np.array(colorsys.hsv_to_rgb(rng.uniform(0.94, 1.0), 0.7, rng.uniform(0.45, 0.8)))
    beard = rng.choice([0.0, 0.35, 1.0], p=(0.5, 0.25, 0.25)) if is_masculine else 0.0
    return Face(
        tone=tone,
        hair=hair,
        lips=natural + (paint - natural) * 0.45 * makeup,
        blush=float(rng.uniform(0.1, 0.4)),
        brow_thickness_m=float(rng.uniform(0.0026, 0.0042 if is_masculine else 0.0034)),
        beard=float(beard),
        makeup=makeup,
        age=age,
        iris=iris,
        sock_top_m=float(rng.uniform(0.10, 0.3)) if has_bare_legs and rng.random() < 0.6 else 0.0,
        sock=np.full(3, rng.choice([0.93, 0.9, 0.12])),
    )


def _draw_betas(rng: np.random.Generator) -> Float[np.ndarray, "10"]:
    spread = np.array([0.65, 1.1, 1, 1, 1, 0.9, 0.9, 0.8, 0.8, 0.8])
    return np.clip(rng.normal(size=10), -2.2, 2.2) * spread


def _draw_hair(rng: np.random.Generator, is_masculine: bool, has_tight_curls: bool) -> HairCut:
    shares = (
        {
            "bald": 7,
            "buzz": 14,
            "crop": 26,
            "short": 28,
            "tousled": 12,
            "curly": 6,
            "long": 4,
            "ponytail": 1,
            "bun": 2,
        }
        if is_masculine
        else {
            "buzz": 1,
            "crop": 2,
            "short": 5,
            "tousled": 5,
            "curly": 6,
            "bob": 20,
            "long": 30,
            "ponytail": 14,
            "bun": 11,
            "braids": 6,
        }
    )
    if has_tight_curls:
        tight = (
            {"afro": 16, "buzz": 22, "braids": 10} if not is_masculine else {"afro": 14, "buzz": 34}
        )
        shares = {k: 0.5 * v for k, v in shares.items()} | tight
    return draw_cut(_named(rng, shares), rng)


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """A person and their clothes; consumes the generator."""
    betas = _draw_betas(rng)
    is_masculine = bool(betas[1] < rng.normal(0, 0.25))
    top = _draw_top(rng, is_masculine)
    bottom = _draw_bottom(rng)
    while np.abs(top.colours[0] - bottom.colours[0]).max() < 0.1:
        bottom = _draw_bottom(rng)
    skirt = None
    cloths = [bottom, top]
    if not is_masculine and rng.random() < 0.36:
        is_dress = rng.random() < 0.5
        colours = top.colours if is_dress else _colours(rng, 0.15)
        pattern = (
            top.pattern if is_dress else _named(rng, {"plain": 0.75, "plaid": 0.1, "floral": 0.15})
        )
        top = replace(top, hang_slope=None, hem_y_m=-0.215, thickness_m=0.0145, flare_m=0.0)
        skirt = Skirt(
            pattern="plain" if pattern in ("print", "blocks") else pattern,
            colours=colours,
            hem_y_m=float(rng.uniform(-1.0, -0.58)),
            flare=float(rng.uniform(0.02, 0.22)),
            folds_m=float(rng.uniform(0.002, 0.016)),
        )
        cloths = [top]
    elif rng.random() < 0.24:
        is_coat = rng.random() < 0.35
        jacket = _draw_jacket(rng, is_coat)
        top = replace(top, flare_m=0.0, hang_slope=-0.3, thickness_m=0.0145)
        cloths = [bottom, top, jacket]
        if is_coat:
            skirt = Skirt(pattern=jacket.pattern, colours=jacket.colours, is_open=True,
                          hem_y_m=float(rng.uniform(-0.78, -0.52)), flare=0.1, folds_m=0.004,
                          margin_m=0.042)  # fmt: skip
    if rng.random() < 0.05:
        cloths.append(Cloth(name="hat", pattern="heather", colours=_colours(rng, 0.2),
                            thickness_m=0.013, detail="joggers"))  # fmt: skip
    has_bare_legs = bottom not in cloths or bottom.cuff_y_m > LEGS_BELOW_Y_M - 0.4
    face = _draw_face(rng, is_masculine, has_bare_legs)
    hair = _draw_hair(rng, is_masculine, bool(face.tone.mean() < 0.42))
    shoe = _pick(rng, SHOE_COLOURS, np.array([0.28, 0.27, 0.13, 0.16, 0.06, 0.07, 0.03]))
    lower = skirt.pattern if skirt else bottom.detail
    return Outfit(
        name=f"{hair.name}-{top.detail}-{top.pattern}-{lower}",
        betas=betas,
        face=face,
        hair=hair,
        cloths=tuple(cloths),
        skirt=skirt,
        shoe_colours=np.array(
            [shoe, _shade(rng, shoe * 0.7), _shade(rng, NEUTRALS[rng.integers(14)])]
        ),
        shoe_top_m=float(rng.choice([0.075, 0.085, 0.13])),
    )
