"""Trees, shrubs and rocks. Each stands on the origin."""

import numpy as np

from pipelines.synthetic.surroundings.palette import CLOTH, pick
from pipelines.synthetic.surroundings.shape import Number, Shape, Shapes, grid, lathe, tube


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


def green(rng: np.random.Generator) -> np.ndarray:
    """A colour of leaves."""
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
    tint = green(rng) if season is None else season * rng.uniform(0.85, 1.15)
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
    size, colour = float(rng.uniform(0.5, 1.1)), green(rng) if tint is None else tint
    half = np.array([1.0, 0.6, 0.9]) * size
    return (foliage(rng, np.array([0, 0.55 * size, 0]), half, 60, 0.55 * size, colour),)


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
