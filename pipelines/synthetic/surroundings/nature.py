"""Parks, gardens, beaches, deserts and snow fields."""

import numpy as np

from pipelines.synthetic.surroundings import plants
from pipelines.synthetic.surroundings import street_things as made
from pipelines.synthetic.surroundings.palette import BRICK, LEAVES, WOOD, pick
from pipelines.synthetic.surroundings.plot import EDGE_M, Outside, Plot, far_ring, make_ground
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    grid,
    panel,
    placed,
    rotation,
)


def make_nature(rng: np.random.Generator, kind: str, plot: Plot, yaw: Number) -> Outside:
    """A place where hardly anything is built."""
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
    flat, has_path = clearing.reach_m + 2.0, kind == "park" and rng.random() < 0.7
    way = yaw if has_path else None
    plot.shapes.append(make_ground(rng, material, tint, plot.circles, relief, flat, way))
    if has_path:
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
        plot.shapes.append(far_ring(*far, turn_deg=yaw))
    return Outside(
        shapes=tuple(plot.shapes), ground_rgb=0.6 * tint * (0.25 if material == "grass" else 1.0)
    )


def _plant(rng: np.random.Generator, kind: str, plot: Plot) -> None:
    leaf, sandy = pick(rng, LEAVES), np.array([0.6, 0.48, 0.38])
    stock: list[tuple[Shapes, float]]
    match kind:
        case "park":
            stock = [(plants.tree(rng, leaf), 1.2) for _ in range(4)]
            stock += [(plants.conifer(rng), 1.2), (plants.bush(rng), 0.9)]
            stock += [(made.bench(rng), 1.0), (made.street_lamp(rng), 0.5)]
        case "garden":
            stock = [(plants.bush(rng), 0.8) for _ in range(3)]
            stock += [(plants.tree(rng, leaf), 1.2), (made.planter(rng), 0.8)]
            stock += [(made.bench(rng), 1.0), (plants.plant(rng), 0.4)]
        case "beach":
            stock = [(plants.rock(rng, sandy), 1.0) for _ in range(2)]
            stock += [(made.parasol(rng), 1.3) for _ in range(3)]
            stock += [(made.towel(rng), 1.0) for _ in range(2)] + [(made.beach_hut(rng), 1.8)]
            marram = np.array([0.5, 0.5, 0.3])
            stock += [(plants.tuft(rng, marram), 0.4) for _ in range(4)]
        case "desert":
            stock = [(plants.rock(rng, sandy), 1.0) for _ in range(4)]
            stock += [(plants.cactus(rng), 0.8) for _ in range(2)]
            stock += [(plants.tuft(rng, np.array([0.5, 0.42, 0.26])), 0.4) for _ in range(3)]
            stock.append((plants.bush(rng, np.array([0.36, 0.32, 0.2])), 0.9))
        case _:
            stock = [(plants.conifer(rng, True), 1.3) for _ in range(4)]
            stock.append((plants.rock(rng, np.full(3, 0.5)), 1.0))
            stock.append((plants.tuft(rng, np.array([0.55, 0.5, 0.4])), 0.4))
    count = {"park": 34, "garden": 26, "beach": 34, "desert": 34, "snow field": 34}[kind]
    reach = plot.clearing.reach_m
    most = {"garden": reach + 9.0, "beach": reach + 14.0}.get(kind, 42.0)
    for _ in range(count):
        thing, radius = stock[int(rng.integers(len(stock)))]
        angle = rng.uniform(0, 2 * np.pi)
        distance = (
            plot.clearing.radius_m + 1.5 + (most - plot.clearing.radius_m) * rng.random() ** 1.3
        )
        place = distance * np.array([np.sin(angle), np.cos(angle)])
        plot.put(thing, place, float(rng.uniform(0, 360)), radius)


def _fence(rng: np.random.Generator, plot: Plot, yaw: Number) -> Shapes:
    """A wooden fence or a hedge around a garden."""
    parts: list[Shape] = []
    flat = rotation(yaw)[np.ix_([0, 2], [0, 2])]
    reach = [
        plot.clearing.reach(flat @ np.array(d)) + rng.uniform(4.0, 9.0)
        for d in ((1.0, 0.0), (-1.0, 0.0), (0.0, 1.0), (0.0, -1.0))
    ]
    x1, x0, z1, z0 = reach[0], -reach[1], reach[2], -reach[3]
    height, is_brick = float(rng.uniform(1.3, 2.0)), rng.random() < 0.35
    tint = pick(rng, BRICK) if is_brick else pick(rng, WOOD) * 0.8
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
    """A gravel path that winds through the flat ground left for it."""
    z = np.linspace(45.0, -45.0, 61)
    bend = 1.2 * np.sin(z / rng.uniform(5.0, 9.0) + rng.uniform(0, 6))
    x, wide = rng.uniform(-2.0, 2.0) + bend * (1.0 + abs(z) / 30.0), float(rng.uniform(0.8, 1.5))
    edges = x[:, None] + wide * np.array([-1.0, -0.93, 0.93, 1.0])
    points = np.stack([edges, *np.broadcast_arrays(0.008 + abs(z[:, None]) / 900.0, 0 * edges)], -1)
    points[..., 2] = z[:, None]
    tint = pick(rng, np.array([[0.8, 0.7, 0.55], [0.6, 0.56, 0.5]]))
    worn = np.array([0.6, 1.0, 1.0, 0.6])[:, None]  # grass grows in from both sides
    sheet = grid("gravel", points, points[..., [0, 2]], tint * worn * np.ones((61, 4, 1)))
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
