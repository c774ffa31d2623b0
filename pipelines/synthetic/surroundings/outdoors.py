"""Open places: streets, squares, parks, beaches. The ground is y = 0 wherever people may stand."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings import furniture as made
from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.furniture import pick
from pipelines.synthetic.surroundings.material import fractal_noise
from pipelines.synthetic.surroundings.room import BRICK
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    box,
    grid,
    panel,
    placed,
    rotation,
)

OUTDOORS = ("street", "square", "parking lot", "park", "garden", "beach", "desert", "snow field")
EDGE_M = 110.0
STREET_M = 64.0
WALLS = np.array(
    [
        [0.85, 0.78, 0.66],
        [0.8, 0.8, 0.78],
        [0.72, 0.55, 0.44],
        [0.6, 0.6, 0.6],
        [0.9, 0.84, 0.74],
        [0.62, 0.66, 0.64],
        [0.75, 0.66, 0.6],
    ]
)
STONE = np.array([[0.62, 0.6, 0.56], [0.5, 0.5, 0.5], [0.72, 0.64, 0.55], [0.42, 0.42, 0.44]])
LEAVES = np.array(
    [[0.3, 0.4, 0.14], [0.24, 0.36, 0.14], [0.38, 0.42, 0.16], [0.62, 0.4, 0.12], [0.55, 0.26, 0.1]]
)


@dataclass(frozen=True, kw_only=True)
class Outside:
    """An open place."""

    shapes: Shapes
    ground_rgb: Float[np.ndarray, "3"]
    """Mean colour of the ground, linear: it lights things from below."""


@dataclass
class _Plot:
    """What stands where, while a place is being laid out; world frame."""

    clearing: Clearing
    shapes: list[Shape]
    circles: list[tuple[np.ndarray, float]]

    def put(self, thing: Shapes, place: np.ndarray, yaw_deg: Number, radius_m: Number) -> bool:
        """Place a thing unless it stands in the way of sight or, by its radius, of another."""
        if not self.clearing.is_free(place, max(self.clearing.width_of(thing), 0.5 * radius_m)):
            return False
        if any(np.linalg.norm(place - p) < radius_m + r for p, r in self.circles):
            return False
        self.shapes += placed(thing, (place[0], 0.0, place[1]), yaw_deg)
        self.circles.append((np.asarray(place, float), radius_m))
        return True


def make_outside(rng: np.random.Generator, kind: str, clearing: Clearing) -> Outside:
    """A place of one of OUTDOORS around everything that must be free.

    Raises:
        ValueError: for another kind.
    """
    if kind not in OUTDOORS:
        raise ValueError(f"open place must be one of {OUTDOORS}, got {kind!r}")
    plot = _Plot(clearing=clearing, shapes=[], circles=[])
    yaw = float(rng.uniform(-180.0, 180.0))
    if kind in ("street", "square", "parking lot"):
        return _town(rng, kind, plot, yaw)
    return _nature(rng, kind, plot, yaw)


def _ground(
    rng: np.random.Generator,
    material: str,
    tint: np.ndarray,
    circles: Sequence[tuple[np.ndarray, float]],
    relief_m: Number = 0.0,
    flat_m: Number = 0.0,
) -> Shape:
    """Ground to the horizon: fine near the people, coarse far away, shaded below what stands on it.

    Args:
        rng: Draws its stains and hills.
        material: Name of its material.
        tint: Its colour.
        circles: Things that stand on it: (x, z) and radius.
        relief_m: Height of its hills.
        flat_m: Distance from the origin up to which there are none.
    """
    steps = np.sinh(np.linspace(-1.0, 1.0, 53) * 4.2) / np.sinh(4.2) * EDGE_M
    x, z = np.meshgrid(steps, steps[::-1])
    noise = fractal_noise(rng, 64, 4, 4)
    wide = fractal_noise(rng, 64, 3, 3)

    def at(values: np.ndarray, span_m: float) -> np.ndarray:
        """Nearest values of a repeating map, which the coarse mesh blurs."""
        i, k = (np.floor(c / span_m * 64).astype(int) % 64 for c in (x, z))
        return values[k, i]

    distance = np.hypot(x, z)
    hills = (at(wide, 90.0) - 0.35) * relief_m
    rise = np.clip((distance - flat_m - 1.0) / 18.0, 0.0, 1.0) ** 2
    height = np.where(rise > 0, rise * np.maximum(hills, -0.3 * relief_m), 0.0)
    shade = 0.86 + 0.28 * at(noise, 40.0)
    for place, radius in circles:
        gap = np.hypot(x - place[0], z - place[1]) - 0.5 * radius
        shade = shade * (1.0 - 0.35 * np.exp(-np.maximum(gap, 0.0) / (0.4 * radius + 0.1)))
    points = np.stack([x, height, z], axis=-1)
    return grid(material, points, np.stack([x, z], -1), shade[..., None] * np.asarray(tint))


def _ring(
    material: str, radius_m: Number, height_m: Number, tint: np.ndarray, turn_deg: Number
) -> Shape:
    """An upright band all around with a picture of what lies far away."""
    angle = np.linspace(0.0, -2.0 * np.pi, 65) + np.radians(turn_deg)
    ring = radius_m * np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    points = ring + np.array([-1.0, height_m])[:, None, None] * np.array([0.0, 1.0, 0.0])
    turns = round(2.0 * np.pi * radius_m / (5.0 * height_m))
    span = 60.0 if material == "skyline" else 30.0
    u = np.linspace(0.0, turns * span, 65)
    v = np.array([0.999, 0.03]) * span
    shape = grid(material, points, np.stack(np.broadcast_arrays(u[None], v[:, None]), -1), tint)
    return replace(shape, normals=np.tile([0.0, 1.0, 0.0], (len(shape.vertices), 1)))


def _strip(
    material: str, x: tuple[Number, Number], z: tuple[Number, Number], y: Number, tint: np.ndarray
) -> Shape:
    """A level rectangle; long ones are cut, so that their shading stays fine."""
    xs = np.linspace(*x, max(2, int((x[1] - x[0]) / 3.0) + 1))
    zs = np.linspace(z[1], z[0], max(2, int((z[1] - z[0]) / 4.0) + 1))
    gx, gz = np.meshgrid(xs, zs)
    points = np.stack([gx, np.full_like(gx, y), gz], axis=-1)
    return grid(material, points, np.stack([gx, gz], -1), tint)


def _facades(rng: np.random.Generator, length_m: Number) -> Shapes:
    """A row of houses along x, centred, their fronts on z = 0 towards +z."""
    parts: list[Shape] = []
    x = -length_m / 2
    while x < length_m / 2:
        wide, floors = float(rng.choice([9.3, 12.4, 15.5, 18.6])), int(rng.integers(2, 6))
        base, high = float(rng.choice([3.5, 3.9])), 3.1 * floors
        modern = rng.random() < 0.22
        tint = pick(rng, WALLS)
        front = panel(
            "office" if modern else "facade", (x, base, 0), (wide, 0, 0), (0, high, 0), tint
        )
        ground = panel(
            "shops" if rng.random() < 0.6 else "bricks",
            (x, 0, 0),
            (wide, 0, 0),
            (0, base, 0),
            tint * 0.9,
            grounded=True,
        )
        if ground.material == "shops":
            bays = max(1, round(wide / 7.0)) * 7.0
            ground = replace(ground, uv=ground.uv * [bays / wide, 7.0 / base])
        else:
            ground = replace(ground, tint=ground.tint * pick(rng, BRICK) / tint)
        set_back = float(rng.uniform(-0.5, 0.5)) * (rng.random() < 0.5)
        sides = [
            panel(
                "mottled",
                (x + k * wide, 0, -8.0 if k == 0 else 0.0),
                (0, 0, 8.0 if k == 0 else -8.0),
                (0, base + high, 0),
                tint * 0.8,
                grounded=True,
            )
            for k in (0, 1)
        ]
        ledge = box("plaster", (x + wide / 2, base, 0.08), (wide, 0.22, 0.3), tint * 0.85)
        eaves = box(
            "plaster", (x + wide / 2, base + high + 0.15, 0.1), (wide, 0.4, 0.6), tint * 0.9
        )
        roof = panel(
            "bricks", (x, base + high + 0.3, 0.3), (wide, 0, 0), (0, 2.2, -3.5), (0.35, 0.2, 0.16)
        )
        house = (front, ground, *sides, *ledge, *eaves, *(() if modern else (roof,)))
        parts += placed(house, (0.0, 0.0, set_back))
        x += wide
    return tuple(parts)


def _town(rng: np.random.Generator, kind: str, plot: _Plot, yaw: Number) -> Outside:
    R = rotation(yaw)
    flat = R[np.ix_([0, 2], [0, 2])]
    clearing, local = plot.clearing, []
    reach = [
        clearing.reach(flat @ np.array(d))
        for d in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    ]
    if kind == "street":
        least = [max(clearing.radius_m + 3.0, r + 1.5, rng.uniform(6.0, 10.0)) for r in reach[:2]]
        material, tint = str(rng.choice(["asphalt", "pavers", "asphalt"])), pick(rng, STONE)
        tint = np.full(3, rng.uniform(0.28, 0.42)) if material == "asphalt" else tint
        local += _street(rng, least, tint)
        _line_street(rng, plot, least, R)
    else:
        least = [max(r + 6.0, rng.uniform(16.0, 34.0)) for r in reach]
        material = "pavers" if kind == "square" else "asphalt"
        tint = pick(rng, STONE) if kind == "square" else np.full(3, rng.uniform(0.26, 0.4))
        houses = _facades(rng, 2.2 * STREET_M)
        for k, (side, turn) in enumerate(((1, -90.0), (-1, 90.0), (1, 180.0), (-1, 0.0))):
            if kind == "square" or k in (1, 3):
                away = side * (least[k] + (0 if kind == "square" else 6.0))
                local += placed(houses, (away, 0, 0) if k < 2 else (0, 0, away), turn)
        if kind == "parking lot":
            local += _bays(rng, plot, R)
        _dress_square(rng, plot, R, least, kind)
    plot.shapes += placed(local, (0.0, 0.0, 0.0), yaw)
    ground = _ground(rng, material, tint, plot.circles)
    plot.shapes.append(ground)
    plot.shapes.append(_ring("skyline", 95.0, 26.0, np.array([0.52, 0.56, 0.62]), yaw))
    return Outside(shapes=tuple(plot.shapes), ground_rgb=0.5 * np.asarray(tint))


def _street(rng: np.random.Generator, least: Sequence[Number], tint: np.ndarray) -> list[Shape]:
    """Houses, raised pavements with kerbs and lane marks along z."""
    parts: list[Shape] = []
    stone = pick(rng, STONE)
    for side, away in zip((1.0, -1.0), least, strict=True):
        parts += placed(_facades(rng, 2 * STREET_M), (side * away, 0, 0), -90.0 * side)
        kerb = away - 2.4
        x = (kerb, away) if side > 0 else (-away, -kerb)
        parts.append(_strip("pavers", x, (-STREET_M, STREET_M), 0.12, stone))
        edge = box("mottled", (side * kerb, 0.065, 0), (0.16, 0.13, 2 * STREET_M), stone * 1.1)
        parts += edge
    parts += placed(_facades(rng, 60.0), (0, 0, -STREET_M), 0.0)
    parts += placed(_facades(rng, 60.0), (0, 0, STREET_M), 180.0)
    middle = 0.5 * (least[0] - least[1])
    white = np.full(3, 0.8)
    if rng.random() < 0.7:
        for z in np.arange(-STREET_M, STREET_M, 5.0):
            parts.append(
                _strip("mottled", (middle - 0.06, middle + 0.06), (z, z + 2.2), 0.004, white)
            )
    if rng.random() < 0.4:
        z = float(rng.uniform(4.0, 12.0)) * rng.choice([-1.0, 1.0])
        for x in np.arange(-least[1] + 2.8, least[0] - 2.8, 1.0):
            parts.append(_strip("mottled", (x, x + 0.5), (z, z + 3.0), 0.004, white))
    return parts


def _line_street(
    rng: np.random.Generator, plot: _Plot, least: Sequence[Number], R: np.ndarray
) -> None:
    """Cars at the kerb, lamps and trees on the pavement."""

    def world(x: float, z: float) -> np.ndarray:
        return (R @ np.array([x, 0.0, z]))[[0, 2]]

    yaw = float(np.degrees(np.arctan2(R[0, 2], R[2, 2])))
    cars, has_trees = [made.car(rng) for _ in range(3)], rng.random() < 0.6
    trees, lamp = [made.tree(rng, pick(rng, LEAVES)) for _ in range(2)], made.street_lamp(rng)
    for side, away in zip((1.0, -1.0), least, strict=True):
        for z in np.arange(-34.0, 34.0, 5.6):
            if rng.random() < 0.5:
                turn = yaw + (0.0 if side < 0 else 180.0) + rng.normal(0, 1.0)
                car = cars[int(rng.integers(len(cars)))]
                plot.put(car, world(side * (away - 3.5), z + rng.uniform(-0.5, 0.5)), turn, 1.7)
        for k, z in enumerate(np.arange(-40.0, 40.0, 10.0)):
            place = world(side * (away - 2.0), float(z))
            if has_trees and k % 2:
                plot.put(trees[int(rng.integers(2))], place, float(rng.uniform(0, 360)), 0.9)
            else:
                plot.put(lamp, place, yaw - 90.0 * side, 0.4)


def _bays(rng: np.random.Generator, plot: _Plot, R: np.ndarray) -> list[Shape]:
    """Rows of marked bays with cars."""
    parts: list[Shape] = []
    yaw = float(np.degrees(np.arctan2(R[0, 2], R[2, 2])))
    cars = [made.car(rng) for _ in range(4)]
    for row in (-16.0, -4.6, 6.8, 18.2):
        for x in np.arange(-26.0, 26.0, 2.6):
            parts.append(
                _strip("mottled", (x, x + 0.1), (row - 2.5, row + 2.5), 0.004, np.full(3, 0.75))
            )
            if rng.random() < 0.55:
                place = (R @ np.array([x + 1.3, 0.0, row + rng.normal(0, 0.15)]))[[0, 2]]
                turn = yaw + float(rng.choice([0.0, 180.0])) + rng.normal(0, 1.5)
                plot.put(cars[int(rng.integers(len(cars)))], place, turn, 1.25)
    return parts


def _dress_square(
    rng: np.random.Generator, plot: _Plot, R: np.ndarray, least: Sequence[Number], kind: str
) -> None:
    """Trees, lamps, benches, planters."""
    tint = pick(rng, LEAVES)
    stock = [
        (made.tree(rng, tint), 1.1),
        (made.tree(rng, tint), 1.1),
        (made.street_lamp(rng), 0.5),
        (made.bench(rng), 1.0),
        (made.planter(rng), 0.8),
        (made.bollard(rng), 0.3),
    ]
    if kind == "parking lot":
        stock = stock[:3]
    for _ in range(34 if kind == "square" else 14):
        thing, radius = stock[int(rng.integers(len(stock)))]
        x, z = rng.uniform(-least[1] + 3, least[0] - 3), rng.uniform(-least[3] + 3, least[2] - 3)
        place = (R @ np.array([x, 0.0, z]))[[0, 2]]
        plot.put(thing, place, float(rng.uniform(0, 360)), radius)


def _nature(rng: np.random.Generator, kind: str, plot: _Plot, yaw: Number) -> Outside:
    clearing = plot.clearing
    material, tint, relief = {
        "park": ("grass", np.array([0.95, 0.95, 0.85]), 3.0),
        "garden": ("grass", np.array([0.9, 0.95, 0.8]), 1.0),
        "beach": ("sand", np.array([0.82, 0.7, 0.52]), 1.2),
        "desert": ("sand", np.array([0.8, 0.56, 0.36]), 9.0),
        "snow field": ("snow", np.array([0.98, 1.0, 1.02]), 6.0),
    }[kind]
    tint = tint * rng.uniform(0.85, 1.12) * rng.uniform(0.95, 1.05, 3)
    tint = np.minimum(tint, 1.05)
    _plant(rng, kind, plot)
    if kind == "garden":
        plot.shapes += _fence(rng, plot, yaw)
    flat = clearing.reach_m + 2.0
    plot.shapes.append(_ground(rng, material, tint, plot.circles, relief, flat))
    if kind == "park" and rng.random() < 0.7:
        plot.shapes.append(_path(rng, yaw))
    if kind == "beach":
        away = max(clearing.reach_m + 4.0, float(rng.uniform(10.0, 18.0)))
        plot.shapes += placed(_sea(rng, away), (0, 0, 0), yaw)
    far = {
        "park": ("treeline", 60.0, 9.0, np.array([0.22, 0.28, 0.15])),
        "garden": ("treeline", 50.0, 11.0, np.array([0.2, 0.27, 0.14])),
        "snow field": ("treeline", 75.0, 13.0, np.array([0.2, 0.25, 0.24])),
    }.get(kind)
    if far is not None:
        plot.shapes.append(_ring(*far, turn_deg=yaw))
    return Outside(
        shapes=tuple(plot.shapes), ground_rgb=0.6 * tint * (0.25 if material == "grass" else 1.0)
    )


def _plant(rng: np.random.Generator, kind: str, plot: _Plot) -> None:
    leaf, sandy = pick(rng, LEAVES), np.array([0.6, 0.48, 0.38])
    stock: list[tuple[Shapes, float]]
    match kind:
        case "park":
            stock = [(made.tree(rng, leaf), 1.2) for _ in range(4)]
            stock += [(made.conifer(rng), 1.2), (made.bush(rng), 0.9)]
            stock += [(made.bench(rng), 1.0), (made.street_lamp(rng), 0.5)]
        case "garden":
            stock = [(made.bush(rng), 0.8) for _ in range(3)]
            stock += [(made.tree(rng, leaf), 1.2), (made.planter(rng), 0.8)]
            stock += [(made.bench(rng), 1.0), (made.plant(rng), 0.4)]
        case "beach":
            stock = [(made.rock(rng, sandy), 1.0) for _ in range(2)]
            stock += [(_parasol(rng), 1.3) for _ in range(3)]
        case "desert":
            stock = [(made.rock(rng, sandy), 1.0) for _ in range(4)]
            stock.append((made.bush(rng, np.array([0.36, 0.32, 0.2])), 0.9))
        case _:
            stock = [(made.conifer(rng, True), 1.3) for _ in range(4)]
            stock.append((made.rock(rng, np.full(3, 0.5)), 1.0))
    count = {"park": 34, "garden": 26, "beach": 16, "desert": 18, "snow field": 30}[kind]
    reach = plot.clearing.reach_m
    most = {"garden": reach + 9.0, "beach": reach + 3.0}.get(kind, 42.0)
    for _ in range(count):
        thing, radius = stock[int(rng.integers(len(stock)))]
        angle = rng.uniform(0, 2 * np.pi)
        distance = (
            plot.clearing.radius_m + 1.5 + (most - plot.clearing.radius_m) * rng.random() ** 1.3
        )
        place = distance * np.array([np.sin(angle), np.cos(angle)])
        plot.put(thing, place, float(rng.uniform(0, 360)), radius)


def _fence(rng: np.random.Generator, plot: _Plot, yaw: Number) -> Shapes:
    """A wooden fence or a hedge around a garden."""
    parts: list[Shape] = []
    flat = rotation(yaw)[np.ix_([0, 2], [0, 2])]
    reach = [
        plot.clearing.reach(flat @ np.array(d)) + rng.uniform(4.0, 9.0)
        for d in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    ]
    x1, x0, z1, z0 = reach[0], -reach[1], reach[2], -reach[3]
    height, is_brick = float(rng.uniform(1.3, 2.0)), rng.random() < 0.35
    tint = pick(rng, BRICK) if is_brick else pick(rng, made.WOOD) * 0.8
    corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
        start, along = np.array([a[0], 0, a[1]]), np.array([b[0] - a[0], 0, b[1] - a[1]])
        parts.append(
            panel(
                "bricks" if is_brick else "planks",
                start,
                along,
                (0, height, 0),
                tint,
                grounded=True,
            )
        )
        outside = np.cross((0.0, 1.0, 0.0), along) / np.linalg.norm(along) * 0.15
        parts.append(
            panel("mottled", start + np.array([0.0, height, 0.0]), along, outside, tint * 1.1)
        )
    return placed(parts, (0.0, 0.0, 0.0), yaw)


def _path(rng: np.random.Generator, yaw: Number) -> Shape:
    """A gravel path that winds by."""
    z = np.linspace(-34.0, 34.0, 50)
    x = rng.uniform(-2.0, 2.0) + 1.5 * np.sin(z / rng.uniform(5.0, 9.0) + rng.uniform(0, 6))
    wide = float(rng.uniform(0.8, 1.5))
    edges = np.stack([x - wide, x + wide], axis=1)
    fade = np.where(abs(z) > 17.0, 0.03, 0.008)  # hills begin beyond: it must not sink into them
    points = np.stack([edges, np.repeat(fade[:, None], 2, 1), np.repeat(z[::1, None], 2, 1)], -1)[
        ::-1
    ]
    tint = pick(rng, np.array([[0.8, 0.7, 0.55], [0.6, 0.56, 0.5]]))
    sheet = grid("gravel", points, points[..., [0, 2]], tint)
    return placed((sheet,), (0.0, 0.0, 0.0), yaw)[0]


def _sea(rng: np.random.Generator, away: Number) -> Shapes:
    """Water beyond a strip of wet sand and foam, towards +x."""
    z = np.linspace(EDGE_M, -EDGE_M, 81)
    bend = 0.8 * np.sin(z / 9.0 + rng.uniform(0, 6)) + 0.3 * np.sin(z / 3.1)
    rows = ((-2.0, 0.012, (0.5, 0.42, 0.32), "sand"), (0.0, 0.014, (0.42, 0.36, 0.28), "sand"))
    x = np.array([0.0, 0.25, 1.5, 6.0, 30.0, 170.0])
    deep = np.array(
        [
            [0.9, 0.92, 0.92],
            [0.7, 0.78, 0.78],
            [0.25, 0.4, 0.42],
            [0.1, 0.22, 0.28],
            [0.05, 0.13, 0.2],
            [0.05, 0.12, 0.19],
        ]
    )
    water = np.stack(
        [away + bend[:, None] + x[None], np.full((81, 6), 0.02), np.repeat(z[:, None], 6, 1)], -1
    )
    shape = grid("sand", water, water[..., [2, 0]] * 0.6, np.broadcast_to(deep[None], (81, 6, 3)))
    wet = np.stack([np.stack([away + bend + dx, np.full(81, y), z], -1) for dx, y, _, _ in rows], 1)
    tints = np.broadcast_to(np.array([r[2] for r in rows])[None], (81, 2, 3))
    return (grid("sand", wet, wet[..., [0, 2]], tints), shape)


def _parasol(rng: np.random.Generator) -> Shapes:
    """A sunshade and a lounger."""
    angle = np.linspace(0.0, 2.0 * np.pi, 17)
    colours = np.stack([pick(rng, made.CLOTH * 1.4), np.full(3, 0.9)])
    radius, height = np.array([1.3, 1.25, 0.0])[:, None], np.array([1.95, 2.05, 2.45])[:, None]
    points = np.stack(
        np.broadcast_arrays(radius * np.sin(angle), height, radius * np.cos(angle)), -1
    )
    tint = np.broadcast_to(colours[np.arange(17) // 2 % 2][None], points.shape)
    canopy = grid("cloth", points, points[..., [0, 2]], tint)
    pole = made.tube(
        "lacquer", np.array([[0, 0, 0], [0, 1.2, 0], [0, 2.4, 0.0]]), 0.025, (0.8, 0.8, 0.8), 6
    )
    lounger = box("cloth", (0.9, 0.25, 0.2), (0.6, 0.1, 1.7), colours[0])
    return (canopy, pole, *lounger)
