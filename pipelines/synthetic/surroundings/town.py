"""Streets, squares and parking lots between houses."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.synthetic.surroundings import plants
from pipelines.synthetic.surroundings import street_things as made
from pipelines.synthetic.surroundings.car import make_car
from pipelines.synthetic.surroundings.palette import BRICK, LEAVES, pick
from pipelines.synthetic.surroundings.plot import Outside, Plot, far_ring, level_strip, make_ground
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    box,
    panel,
    placed,
    rotation,
)

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


def make_town(rng: np.random.Generator, kind: str, plot: Plot, yaw: Number) -> Outside:
    """A place between houses; its street runs along z before it is turned by `yaw`."""
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
    ground = make_ground(rng, material, tint, plot.circles)
    plot.shapes.append(ground)
    plot.shapes.append(far_ring("skyline", 95.0, 26.0, np.array([0.52, 0.56, 0.62]), yaw))
    return Outside(shapes=tuple(plot.shapes), ground_rgb=0.5 * np.asarray(tint))


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


def _street(rng: np.random.Generator, least: Sequence[Number], tint: np.ndarray) -> list[Shape]:
    """Houses, raised pavements with kerbs and lane marks along z."""
    parts: list[Shape] = []
    stone = pick(rng, STONE)
    for side, away in zip((1.0, -1.0), least, strict=True):
        parts += placed(_facades(rng, 2 * STREET_M), (side * away, 0, 0), -90.0 * side)
        kerb = away - 2.4
        x = (kerb, away) if side > 0 else (-away, -kerb)
        parts.append(level_strip("pavers", x, (-STREET_M, STREET_M), 0.12, stone))
        edge = box("mottled", (side * kerb, 0.065, 0), (0.16, 0.13, 2 * STREET_M), stone * 1.1)
        parts += edge
    parts += placed(_facades(rng, 60.0), (0, 0, -STREET_M), 0.0)
    parts += placed(_facades(rng, 60.0), (0, 0, STREET_M), 180.0)
    middle = 0.5 * (least[0] - least[1])
    white = np.full(3, 0.8)
    if rng.random() < 0.7:
        for z in np.arange(-STREET_M, STREET_M, 5.0):
            parts.append(
                level_strip("mottled", (middle - 0.06, middle + 0.06), (z, z + 2.2), 0.004, white)
            )
    if rng.random() < 0.4:
        z = float(rng.uniform(4.0, 12.0)) * rng.choice([-1.0, 1.0])
        for x in np.arange(-least[1] + 2.8, least[0] - 2.8, 1.0):
            parts.append(level_strip("mottled", (x, x + 0.5), (z, z + 3.0), 0.004, white))
    return parts


def _line_street(
    rng: np.random.Generator, plot: Plot, least: Sequence[Number], R: np.ndarray
) -> None:
    """Cars at the kerb, lamps and trees on the pavement."""

    def world(x: float, z: float) -> np.ndarray:
        return (R @ np.array([x, 0.0, z]))[[0, 2]]

    yaw = float(np.degrees(np.arctan2(R[0, 2], R[2, 2])))
    cars, has_trees = [make_car(rng) for _ in range(3)], rng.random() < 0.6
    trees, lamp = [plants.tree(rng, pick(rng, LEAVES)) for _ in range(2)], made.street_lamp(rng)
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


def _bays(rng: np.random.Generator, plot: Plot, R: np.ndarray) -> list[Shape]:
    """Rows of marked bays with cars."""
    parts: list[Shape] = []
    yaw = float(np.degrees(np.arctan2(R[0, 2], R[2, 2])))
    cars = [make_car(rng) for _ in range(4)]
    for row in (-16.0, -4.6, 6.8, 18.2):
        for x in np.arange(-26.0, 26.0, 2.6):
            parts.append(
                level_strip(
                    "mottled", (x, x + 0.1), (row - 2.5, row + 2.5), 0.004, np.full(3, 0.75)
                )
            )
            if rng.random() < 0.55:
                place = (R @ np.array([x + 1.3, 0.0, row + rng.normal(0, 0.15)]))[[0, 2]]
                turn = yaw + float(rng.choice([0.0, 180.0])) + rng.normal(0, 1.5)
                plot.put(cars[int(rng.integers(len(cars)))], place, turn, 1.25)
    return parts


def _dress_square(
    rng: np.random.Generator, plot: Plot, R: np.ndarray, least: Sequence[Number], kind: str
) -> None:
    """Trees, lamps, benches, planters."""
    tint = pick(rng, LEAVES)
    stock = [
        (plants.tree(rng, tint), 1.1),
        (plants.tree(rng, tint), 1.1),
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
