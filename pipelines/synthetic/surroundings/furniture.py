"""Furniture and street furniture. Each stands on the origin; its back is at -z, its front at +z."""

import numpy as np

from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    box,
    grid,
    lathe,
    panel,
    placed,
    tube,
)

WOOD = np.array(
    [[0.75, 0.5, 0.3], [0.45, 0.27, 0.15], [0.95, 0.8, 0.6], [0.25, 0.16, 0.1], [1.1, 1.08, 1.02]]
)
CLOTH = np.array(
    [
        [0.5, 0.48, 0.45],
        [0.18, 0.22, 0.3],
        [0.55, 0.42, 0.3],
        [0.22, 0.3, 0.24],
        [0.42, 0.2, 0.16],
        [0.12, 0.12, 0.13],
        [0.75, 0.7, 0.6],
    ]
)
METAL = (0.09, 0.09, 0.1)


def pick(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """A colour of a palette, slightly changed."""
    return (
        palette[int(rng.integers(len(palette)))]
        * rng.uniform(0.8, 1.15, 1)
        * rng.uniform(0.95, 1.05, 3)
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


def plant(rng: np.random.Generator) -> Shapes:
    """A pot with a leafy plant."""
    pot = lathe(
        "plaster",
        [(0.0, 0.0), (0.15, 0.0), (0.2, 0.38), (0.17, 0.38), (0.16, 0.33), (0, 0.33)],
        tint=pick(rng, CLOTH * 1.3),
    )
    crown = foliage(
        rng,
        np.array([0.0, 0.85, 0.0]),
        np.array([0.38, 0.5, 0.38]),
        34,
        0.34,
        np.array([0.26, 0.42, 0.16]),
    )
    return (
        pot,
        crown,
        tube(
            "bark",
            np.array([[0, 0.3, 0], [0.03, 0.6, 0.02], [0, 0.9, 0]]),
            0.02,
            (0.4, 0.3, 0.2),
            5,
        ),
    )


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


def bench(rng: np.random.Generator) -> Shapes:
    """Slats on two feet, with a back."""
    wood = pick(rng, WOOD[:3])
    slats = [box("grain", (0, 0.45, z), (1.7, 0.04, 0.12), wood) for z in (-0.15, 0.0, 0.15)]
    slats += [box("grain", (0, y, -0.27), (1.7, 0.11, 0.03), wood) for y in (0.65, 0.8)]
    feet = [box("lacquer", (x, 0.22, 0), (0.06, 0.44, 0.42), METAL) for x in (-0.65, 0.65)]
    feet += [box("lacquer", (x, 0.64, -0.25), (0.05, 0.42, 0.04), METAL) for x in (-0.65, 0.65)]
    return tuple(s for part in slats + feet for s in part)


def street_lamp(rng: np.random.Generator) -> Shapes:
    """A post with an arm."""
    height = float(rng.uniform(4.5, 7.0))
    post = lathe(
        "lacquer", [(0.09, 0.0), (0.09, 0.5), (0.05, 0.6), (0.04, height)], tint=METAL, sides=8
    )
    arm = tube(
        "lacquer",
        np.array([[0, height - 0.02, 0], [0, height + 0.12, 0.5], [0, height + 0.1, 1.1]]),
        0.03,
        METAL,
        6,
    )
    return (post, arm, *box("lacquer", (0, height + 0.08, 1.3), (0.2, 0.08, 0.5), METAL))


def bollard(rng: np.random.Generator) -> Shapes:
    """A short post."""
    return (
        lathe(
            "lacquer", [(0.07, 0.0), (0.07, 0.85), (0.05, 0.92), (0.0, 0.94)], tint=METAL, sides=10
        ),
    )


def planter(rng: np.random.Generator) -> Shapes:
    """A stone box with a bush."""
    tint = np.full(3, rng.uniform(0.5, 0.9))
    bush = foliage(rng, np.array([0, 0.8, 0]), np.array([0.5, 0.4, 0.5]), 40, 0.4, _green(rng))
    return (*box("mottled", (0, 0.28, 0), (1.0, 0.56, 1.0), tint), bush)


def foliage(
    rng: np.random.Generator,
    centre: np.ndarray,
    half_m: np.ndarray,
    count: int,
    leaf_m: Number,
    tint: np.ndarray,
    material: str = "leaves",
) -> Shape:
    """Clusters of leaves in an ellipsoid; they are lit as the ellipsoid would be."""
    out = rng.normal(size=(count, 3))
    out /= np.linalg.norm(out, axis=1, keepdims=True)
    middle = centre + out * half_m * rng.uniform(0.45, 1.0, (count, 1)) ** 0.5
    a = rng.normal(size=(count, 3))
    a -= 0.7 * out * (a * out).sum(1, keepdims=True)
    a /= np.linalg.norm(a, axis=1, keepdims=True)
    b = np.cross(out + 0.6 * rng.normal(size=(count, 3)), a)
    b /= np.linalg.norm(b, axis=1, keepdims=True)
    size = 0.5 * leaf_m * rng.uniform(0.8, 1.3, (count, 1))
    corners = np.stack([-a - b, a - b, a + b, -a + b], axis=1) * size[:, None]
    depth = np.clip(0.6 + 0.55 * out[:, 1:2], 0.35, 1.1) * rng.uniform(0.8, 1.15, (count, 1))
    colour = np.asarray(tint) * depth * (1 + rng.uniform(-0.08, 0.08, (count, 3)))
    normal = out + np.array([0.0, 0.35, 0.0])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    first = 4 * np.arange(count)[:, None]
    return Shape(
        material=material,
        vertices=(middle[:, None] + corners).reshape(-1, 3),
        normals=np.repeat(normal, 4, axis=0),
        uv=np.tile([[0.02, 0.02], [0.98, 0.02], [0.98, 0.98], [0.02, 0.98]], (count, 1)),
        faces=np.concatenate([first + np.array(corner) for corner in ((0, 1, 2), (0, 2, 3))]),
        tint=np.repeat(colour, 4, axis=0),
    )


def _green(rng: np.random.Generator) -> np.ndarray:
    return np.array([0.3, 0.4, 0.14]) * rng.uniform(0.7, 1.15) * rng.uniform(0.88, 1.12, 3)


def tree(rng: np.random.Generator, season: np.ndarray | None = None) -> Shapes:
    """A broad-leaved tree of 4 to 9 m."""
    height, lean = float(rng.uniform(4.0, 9.0)), rng.normal(0.0, 0.25, 2)
    t = np.linspace(0.0, 0.75, 6)[:, None]
    path = (
        t * np.array([[lean[0], height, lean[1]]])
        + np.sin(3 * t) * 0.1 * rng.normal(size=(1, 3)) * t
    )
    trunk = tube("bark", path, 0.03 * height * (1.1 - t[:, 0]), (0.34, 0.28, 0.22), 7)
    tint = _green(rng) if season is None else season * rng.uniform(0.85, 1.15)
    top, spread = path[-1], 0.24 * height * rng.uniform(0.85, 1.25)
    crowns = []
    for _ in range(4):
        away = rng.normal(0.0, 0.45, 3) * spread * np.array([1.0, 0.7, 1.0])
        half = spread * rng.uniform(0.65, 0.95) * np.array([1.0, 0.85, 1.0])
        crowns.append(foliage(rng, top + away, half, 46, 0.5 * spread, tint))
    return (trunk, *crowns)


def conifer(rng: np.random.Generator, snowy: bool = False) -> Shapes:
    """A spruce: tiers of drooping branches."""
    height = float(rng.uniform(4.0, 10.0))
    tint = np.array([0.16, 0.25, 0.12]) * rng.uniform(0.8, 1.2)
    tint = 0.5 * tint + 0.35 if snowy else tint
    tiers = []
    for t in np.linspace(0.12, 0.95, 9):
        half = np.array([1.0, 0.35, 1.0]) * (0.24 * height * (1.02 - t) + 0.08)
        tiers.append(
            foliage(rng, np.array([0, height * t, 0]), half, 30, 0.9 * half[0], tint, "needles")
        )
    trunk = lathe(
        "bark", [(0.022 * height, 0.0), (0.01, 0.9 * height)], tint=(0.3, 0.24, 0.19), sides=7
    )
    return (trunk, *tiers)


def bush(rng: np.random.Generator, tint: np.ndarray | None = None) -> Shapes:
    """A low shrub."""
    size, colour = float(rng.uniform(0.5, 1.1)), _green(rng) if tint is None else tint
    half = np.array([1.0, 0.6, 0.9]) * size
    return (foliage(rng, np.array([0, 0.55 * size, 0]), half, 60, 0.55 * size, colour),)


def rock(rng: np.random.Generator, tint: np.ndarray) -> Shapes:
    """A rounded boulder, half sunk."""
    size = float(rng.uniform(0.3, 1.4))
    angle, height = np.linspace(0, 2 * np.pi, 15), np.linspace(-0.2, 1.0, 7)
    bumps = (
        1
        + 0.16 * np.sin(3 * angle + rng.uniform(0, 6))
        + 0.1 * np.sin(5 * angle + rng.uniform(0, 6))
    )
    radius = size * np.sqrt(np.clip(1 - (height[:, None] * 0.98) ** 2, 0, 1)) * bumps
    radius *= 1 + 0.06 * np.sin(7 * height[:, None] + 4 * np.round(np.sin(angle), 6))
    y = np.broadcast_to(0.6 * size * height[:, None], radius.shape)
    points = np.stack([radius * np.sin(angle), y, 0.8 * radius * np.cos(angle)], axis=-1)
    uv = np.stack([np.broadcast_to(angle * size, radius.shape), -y], axis=-1)
    shade = 0.6 + 0.4 * np.clip(points[..., 1:2] / (0.3 * size), 0, 1)
    return (grid("mottled", points, uv, np.asarray(tint) * shade),)


CAR_PAINT = np.array(
    [
        [0.75, 0.75, 0.75],
        [0.03, 0.03, 0.035],
        [0.25, 0.26, 0.28],
        [0.9, 0.9, 0.9],
        [0.3, 0.04, 0.04],
        [0.05, 0.1, 0.22],
        [0.12, 0.16, 0.13],
        [0.4, 0.36, 0.3],
    ]
)


def car(rng: np.random.Generator) -> Shapes:
    """A parked car, nose towards +z: body, glass, wheels, lights; seen from some metres away."""
    paint, long, high = (
        pick(rng, CAR_PAINT),
        float(rng.uniform(3.9, 4.7)),
        float(rng.uniform(1.42, 1.6)),
    )
    z = np.array([-0.5, -0.495, -0.46, -0.3, 0.0, 0.25, 0.42, 0.48, 0.5]) * long
    deck = np.array([0.55, 0.85, 0.92, 0.95, 0.95, 0.9, 0.78, 0.68, 0.5])
    half = np.array([0.7, 0.82, 0.87, 0.9, 0.9, 0.9, 0.86, 0.8, 0.7])
    body = _hull("lacquer", z, half, np.full(9, 0.26), deck, paint)
    cabin_z = np.array([-0.47, -0.36, -0.2, 0.04, 0.24]) * long
    roof = np.array([0.93, high - 0.06, high, high - 0.02, 0.92])
    glass = _hull(
        "lacquer",
        cabin_z,
        np.array([0.72, 0.7, 0.69, 0.69, 0.76]),
        np.full(5, 0.88),
        roof,
        np.array([0.025, 0.03, 0.035]),
        0.82,
    )
    lid = _hull(
        "lacquer",
        cabin_z[1:4] * 0.98,
        np.full(3, 0.575),
        roof[1:4] - 0.05,
        roof[1:4] + 0.012,
        paint,
        0.97,
    )
    wheels = [
        s for side in (-1, 1) for end in (-0.3, 0.31) for s in _wheel(side * 0.84, 0.32, end * long)
    ]
    lights = [
        s
        for x in (-0.62, 0.62)
        for s in (
            *box("lacquer", (x, 0.66, long / 2 - 0.03), (0.3, 0.1, 0.06), (0.9, 0.9, 0.85)),
            *box("lacquer", (x, 0.76, -long / 2 + 0.02), (0.24, 0.14, 0.05), (0.4, 0.02, 0.02)),
        )
    ]
    shade = panel(
        "plaster",
        (-0.95, 0.012, long / 2 + 0.05),
        (1.9, 0, 0),
        (0, 0, -long - 0.1),
        (0.025, 0.025, 0.025),
    )
    return (body, glass, lid, *wheels, *lights, shade)


def _hull(
    material: str,
    z: np.ndarray,
    half: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    tint: np.ndarray,
    top: Number = 0.92,
) -> Shape:
    """A tube of rounded rectangles along z with closed ends."""
    x = np.array([-0.96, -1.0, -1.0, -top, 0.0, top, 1.0, 1.0, 0.96])
    y = np.array([0.0, 0.15, 0.75, 1.0, 1.03, 1.0, 0.75, 0.15, 0.0])
    points = np.stack(
        [
            x[None] * half[:, None],
            low[:, None] + y[None] * (high - low)[:, None],
            np.broadcast_to(z[:, None], (len(z), 9)),
        ],
        -1,
    )
    ends = [points[:1] * [0.0, 1.0, 1.0], points[-1:] * [0.0, 1.0, 1.0]]
    points = np.concatenate([ends[0], points, ends[1]])[:, ::-1]  # right to left, towards +z
    return grid(material, points, points[..., [2, 1]], np.asarray(tint))


def _wheel(x: Number, radius: Number, z: Number) -> Shapes:
    disc = lathe(
        "plaster",
        [(0.0, -0.1), (radius, -0.1), (radius, 0.1), (radius * 0.62, 0.102), (0.0, 0.09)],
        tint=(0.03, 0.03, 0.03),
        sides=10,
    )
    flat = disc.vertices[:, [1, 0, 2]] * np.array([np.sign(x), 1.0, 1.0])
    normals = disc.normals[:, [1, 0, 2]] * np.array([np.sign(x), 1.0, 1.0])
    rim = (np.linalg.norm(flat[:, 1:], axis=1) < radius * 0.63) & (abs(flat[:, 0]) < 0.1)
    tint = np.where(rim[:, None], 0.45, 0.03) * np.ones(3)
    faces = disc.faces[:, ::-1] if x > 0 else disc.faces
    return (
        Shape(
            material="plaster",
            vertices=flat + np.array([x, radius, z]),
            normals=normals,
            uv=disc.uv,
            faces=faces,
            tint=tint,
        ),
    )
