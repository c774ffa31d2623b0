"""Furniture and street furniture. Each stands on the origin; its back is at -z, its front at +z."""

import numpy as np

from pipelines.synthetic.surroundings.palette import CLOTH, METAL, WOOD, pick
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    box,
    grid,
    lathe,
    panel,
    placed,
)


def cushion(
    centre: tuple[Number, Number, Number], size_m: tuple[Number, Number, Number], tint: np.ndarray
) -> Shape:
    """A box with rounded edges, as one smooth sheet."""
    angle = np.linspace(0.0, 2.0 * np.pi, 17)[None, :]
    tilt = np.linspace(-np.pi / 2, np.pi / 2, 9)[:, None]

    def bulge(v: np.ndarray) -> np.ndarray:
        return np.sign(v) * abs(v) ** 0.35

    x, z = bulge(np.cos(tilt)) * bulge(np.sin(angle)), bulge(np.cos(tilt)) * bulge(np.cos(angle))
    y = np.broadcast_to(bulge(np.sin(tilt)), x.shape)
    points = 0.5 * np.stack([x, y, z], axis=-1) * np.array(size_m) + np.array(centre)
    shade = 0.55 + 0.45 * np.clip((points[..., 1:2] - (centre[1] - size_m[1] / 2)) / 0.2, 0.0, 1.0)
    uv = np.stack([points[..., 0] + points[..., 2], -points[..., 1]], axis=-1)
    return grid("cloth", points, uv, tint * shade)


def legs(
    width: Number, depth: Number, height: Number, tint: np.ndarray, thick: Number = 0.05
) -> Shapes:
    """Four legs below a top."""
    x, z = width / 2 - thick, depth / 2 - thick
    size = (thick, height, thick)
    places = [(s * x, height / 2, t * z) for s in (-1, 1) for t in (-1, 1)]
    return tuple(side for place in places for side in box("grain", place, size, tint))


def table(
    rng: np.random.Generator, width: Number = 1.5, depth: Number = 0.8, height: Number = 0.74
) -> Shapes:
    """A top on four legs."""
    tint = pick(rng, WOOD)
    top = box("grain", (0, height - 0.02, 0), (width, 0.04, depth), tint)
    return top + legs(width, depth, height - 0.04, tint)


def chair(rng: np.random.Generator) -> Shapes:
    """Seat, back, legs."""
    tint = pick(rng, WOOD)
    seat = box("grain", (0, 0.45, 0), (0.44, 0.04, 0.44), tint)
    back = box("grain", (0, 0.75, -0.2), (0.42, 0.3, 0.03), tint)
    posts = tuple(
        s for x in (-0.19, 0.19) for s in box("grain", (x, 0.62, -0.2), (0.04, 0.5, 0.04), tint)
    )
    return seat + back + posts + legs(0.44, 0.44, 0.43, tint, 0.04)


def sofa(rng: np.random.Generator) -> Shapes:
    """Seat cushions between arms before a back."""
    tint, width = pick(rng, CLOTH), float(rng.uniform(1.7, 2.4))
    seats = round(width / 0.8)
    wide = (width - 0.4) / seats
    parts = [
        cushion((0, 0.2, 0.02), (width, 0.34, 0.86), tint * 0.9),
        cushion((0, 0.55, -0.36), (width, 0.62, 0.24), tint),
        *(cushion((s * (width / 2 - 0.1), 0.42, 0.0), (0.22, 0.46, 0.9), tint) for s in (-1, 1)),
    ]
    for k in range(seats):
        x = (k + 0.5) * wide - (width - 0.4) / 2
        parts.append(cushion((x, 0.43, 0.08), (wide - 0.01, 0.18, 0.72), tint * 1.06))
        parts.append(cushion((x, 0.66, -0.22), (wide - 0.03, 0.42, 0.18), tint * 1.06))
    if rng.random() < 0.7:
        parts.append(cushion((-width / 3, 0.66, -0.05), (0.42, 0.36, 0.14), pick(rng, CLOTH)))
    return tuple(parts)


def bed(rng: np.random.Generator) -> Shapes:
    """Frame, mattress, cover and pillows; the head is at -z."""
    wood, cover, width = pick(rng, WOOD), pick(rng, CLOTH), float(rng.choice([1.0, 1.6]))
    pillows = [
        cushion((x, 0.62, -0.72), (0.6, 0.16, 0.4), np.full(3, 0.9))
        for x in ((0.0,) if width < 1.2 else (-0.4, 0.4))
    ]
    return (
        *box("grain", (0, 0.5, -1.06), (width + 0.1, 1.0, 0.06), wood),
        *box("grain", (0, 0.15, 0), (width + 0.06, 0.3, 2.08), wood),
        cushion((0, 0.42, 0), (width, 0.3, 2.02), np.full(3, 0.85)),
        cushion((0, 0.46, 0.3), (width + 0.08, 0.27, 1.45), cover),
        *pillows,
    )


def shelf(rng: np.random.Generator) -> Shapes:
    """A bookcase."""
    tint, width, height = (
        pick(rng, WOOD),
        float(rng.uniform(0.8, 1.6)),
        float(rng.uniform(1.2, 2.1)),
    )
    body = box("grain", (0, height / 2, 0), (width, height, 0.34), tint)
    front = panel(
        "books",
        (-width / 2 + 0.03, 0.08, 0.173),
        (width - 0.06, 0, 0),
        (0, height - 0.12, 0),
        stretch=True,
    )
    return (*body, front)


def cupboard(rng: np.random.Generator) -> Shapes:
    """A cupboard or wardrobe with two doors."""
    tint, width, height = (
        pick(rng, WOOD),
        float(rng.uniform(1.0, 1.8)),
        float(rng.choice([0.85, 2.0])),
    )
    body = box("grain", (0, height / 2, 0), (width, height, 0.5), tint * 0.85)
    doors = [
        panel(
            "grain", (x + 0.01, 0.08, 0.254), (width / 2 - 0.02, 0, 0), (0, height - 0.1, 0), tint
        )
        for x in (-width / 2, 0.0)
    ]
    knobs = [
        s
        for x in (-0.05, 0.05)
        for s in box("lacquer", (x, height * 0.55, 0.265), (0.02, 0.12, 0.02), METAL)
    ]
    return (*body, *doors, *knobs)


def media_unit(rng: np.random.Generator) -> Shapes:
    """A low board with a screen."""
    body = box("grain", (0, 0.25, 0), (1.7, 0.5, 0.42), pick(rng, WOOD))
    screen = box("lacquer", (0, 0.92, 0), (1.25, 0.72, 0.05), (0.02, 0.02, 0.025))
    return body + screen + box("lacquer", (0, 0.53, 0), (0.3, 0.06, 0.2), METAL)


def floor_lamp(rng: np.random.Generator) -> Shapes:
    """A stand with a shade that glows."""
    stand = lathe("lacquer", [(0.14, 0.0), (0.14, 0.02), (0.015, 0.04), (0.015, 1.45)], tint=METAL)
    shade = lathe("lamp", [(0.2, 1.4), (0.14, 1.68)], tint=(0.75, 0.62, 0.42))
    return (stand, shade)


def desk(rng: np.random.Generator) -> Shapes:
    """A desk with a screen, and its chair."""
    screen = box("lacquer", (0, 1.0, -0.15), (0.6, 0.36, 0.03), (0.03, 0.03, 0.035))
    foot = box("lacquer", (0, 0.79, -0.15), (0.2, 0.1, 0.12), METAL)
    return table(rng, 1.5, 0.75) + screen + foot + placed(chair(rng), (0.1, 0, 0.62), 170.0)


def dining(rng: np.random.Generator) -> Shapes:
    """A table with four chairs."""
    seats = [
        placed(chair(rng), (x, 0, z), 0.0 if z < 0 else 180.0)
        for x in (-0.4, 0.4)
        for z in (-0.5, 0.5)
    ]
    return table(rng, 1.6, 0.9) + tuple(s for seat in seats for s in seat)


def kitchenette(rng: np.random.Generator) -> Shapes:
    """Cupboards below a worktop, cupboards above."""
    tint, width = pick(rng, WOOD), 2.4
    parts = [
        *box("grain", (0, 0.43, 0), (width, 0.86, 0.58), tint),
        *box("lacquer", (0, 0.88, 0.01), (width, 0.04, 0.62), (0.16, 0.15, 0.14)),
    ]
    parts += box("grain", (0, 1.75, -0.12), (width, 0.7, 0.34), tint)
    for k in range(5):
        parts += box("lacquer", (k * 0.6 - width / 2, 0.45, 0.293), (0.012, 0.8, 0.004), METAL)
    return tuple(parts)


def wall_bars(rng: np.random.Generator) -> Shapes:
    """Gymnastics bars."""
    tint = WOOD[2]
    rails = [
        s for x in (-0.9, 0.0, 0.9) for s in box("grain", (x, 1.25, 0), (0.06, 2.5, 0.1), tint)
    ]
    bars = [box("grain", (0, y, 0.03), (1.8, 0.04, 0.04), tint) for y in np.arange(0.25, 2.5, 0.2)]
    return tuple(rails) + tuple(s for bar in bars for s in bar)
