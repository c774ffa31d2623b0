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
    depth = np.clip(0.72 + 0.42 * out[:, 1:2], 0.5, 1.1) * rng.uniform(0.8, 1.15, (count, 1))
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
    """A broad-leaved tree of 4 to 9 m: a trunk that forks into limbs, each with its own leaves."""
    height, lean = float(rng.uniform(4.5, 9.0)), rng.normal(0.0, 0.25, 2)
    t = np.linspace(0.0, 1.0, 6)[:, None]
    fork = np.array([lean[0], 0.42 * height, lean[1]])
    wood = np.array([0.34, 0.28, 0.22])
    path = t * fork + np.sin(3 * t) * 0.1 * rng.normal(size=(1, 3)) * [1, 0, 1]
    parts = [tube("bark", path, 0.028 * height * (1.15 - 0.45 * t[:, 0]), wood, 7)]
    tint = green(rng) if season is None else season * rng.uniform(0.85, 1.15)
    spread, turn = 0.27 * height * rng.uniform(0.85, 1.2), rng.uniform(0.0, 2 * np.pi)
    for k in range(6):
        around, out = turn + 2.4 * k, spread * (0.25 if k == 0 else rng.uniform(0.6, 1.0))
        rise = 0.42 * height if k == 0 else rng.uniform(0.16, 0.36) * height
        end = path[-1] + [out * np.sin(around), rise, out * np.cos(around)]
        middle = 0.5 * (path[-1] + end) + [0.0, -0.05 * height, 0.0]
        limb = np.stack([path[-1] - [0.0, 0.1, 0.0], middle, end])
        parts.append(tube("bark", limb, 0.014 * height * np.array([1.2, 0.7, 0.3]), wood, 5))
        half = spread * rng.uniform(0.5, 0.68) * np.array([1.0, 0.72, 1.0])
        colour = tint * rng.uniform(0.88, 1.12, 3)
        parts.append(foliage(rng, end, half, 34, 0.48 * spread, colour))
    return tuple(parts)


def conifer(rng: np.random.Generator, snowy: bool = False) -> Shapes:
    """A spruce: whorls of drooping boughs about a dark heart, with snow on the boughs at times."""
    height = float(rng.uniform(3.5, 10.0))
    needle = np.array([0.2, 0.3, 0.15]) * rng.uniform(0.8, 1.2) * rng.uniform(0.92, 1.08, 3)
    widest = height * rng.uniform(0.19, 0.26)
    low = rng.uniform(0.05, 0.14)
    level = np.linspace(low, 0.97, round(7 + 0.9 * height))
    reach = widest * (1.0 - level) ** 0.85 / (1.0 - low) ** 0.85 + 0.1
    count = np.clip((reach * 11.0).astype(int), 5, 11)
    height_m, out_m = np.repeat(level * height, count), np.repeat(reach, count)
    out_m = out_m * rng.uniform(0.8, 1.12, len(out_m))
    height_m = height_m + rng.normal(0.0, 0.012 * height, len(out_m))
    angle = 2.4 * np.arange(len(out_m)) + rng.normal(0.0, 0.2, len(out_m))
    heart = 0.45 * reach[0]
    dark = [(0.0, low * height), (heart, low * height), (0.02, 0.93 * height)]
    trunk = [(0.022 * height, 0.0), (0.016 * height, low * height + 0.2)]
    return (
        lathe("bark", trunk, tint=(0.3, 0.24, 0.19), sides=7),
        lathe("bark", dark, tint=0.28 * needle, sides=8),
        _boughs(rng, height_m, out_m, angle, needle, snowy),
    )


def _boughs(
    rng: np.random.Generator,
    height_m: np.ndarray,
    out_m: np.ndarray,
    angle: np.ndarray,
    needle: np.ndarray,
    snowy: bool,
) -> Shape:
    """Boughs from the trunk outwards and down, each a sheet with a ridge along its middle."""
    count = len(out_m)
    away = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1)
    side = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], 1)
    up = np.array([0.0, 1.0, 0.0])
    droop = out_m * rng.uniform(0.3, 0.6, count)
    wide = 0.42 * out_m + 0.08
    root = height_m[:, None] * up
    tip = root + out_m[:, None] * away - droop[:, None] * up
    across = np.array([-1.0, 0.0, 1.0])[None, :, None]
    sag = np.array([0.35, 0.0, 0.35])[None, :, None] * wide[:, None, None] * up
    flank = across * (wide[:, None] * side)[:, None]
    rows = [root[:, None] + 0.5 * (flank - sag), tip[:, None] + flank - sag]
    normal = 0.55 * away[:, None] + 0.75 * up + 0.35 * across * side[:, None]
    normal = normal / np.linalg.norm(normal, axis=-1, keepdims=True)
    shade = np.stack([np.full((count, 3), 0.4), np.full((count, 3), 1.0)], 1)[..., None]
    shade = shade * rng.uniform(0.75, 1.2, (count, 1, 1, 1))
    tint = shade * needle
    if snowy:
        load = rng.uniform(0.1, 0.85, (count, 1, 1)) * np.array([[[0.8], [0.9]]])
        load = (load * np.array([0.45, 1.0, 0.45]))[..., None]
        tint = tint + (np.array([0.95, 0.98, 1.05]) - tint) * load
    first = 6 * np.arange(count)[:, None]
    corners = ((0, 1, 4), (0, 4, 3), (1, 2, 5), (1, 5, 4))
    return Shape(
        material="needles",
        vertices=np.stack(rows, 1).reshape(-1, 3),
        normals=np.repeat(normal[:, None], 2, 1).reshape(-1, 3),
        uv=np.tile([[0, 1], [0.5, 1], [1, 1], [0, 0], [0.5, 0], [1, 0]], (count, 1)) * 0.98 + 0.01,
        faces=np.concatenate([first + np.array(corner) for corner in corners]),
        tint=tint.reshape(-1, 3),
    )


def cactus(rng: np.random.Generator) -> Shapes:
    """A saguaro with up to three arms."""
    height, tint = float(rng.uniform(1.8, 4.5)), np.array([0.3, 0.38, 0.22])
    tint = tint * rng.uniform(0.8, 1.15)
    thick = 0.05 * height + 0.06
    dome = np.array([1.0, 1.05, 1.0, 0.85, 0.5, 0.05])
    stem = np.array([0.0, 0.5, 0.86, 0.95, 0.99, 1.0]) * height
    parts = [lathe("ribs", [(thick * r, y) for r, y in zip(dome, stem, strict=True)], tint=tint)]
    for k in range(int(rng.integers(4))):
        a, low = 2.1 * k + rng.uniform(0.0, 0.6), height * rng.uniform(0.3, 0.55)
        out = thick * np.array([0.6, 2.2, 2.7, 2.75, 2.75, 2.75])
        rise = np.array([0.0, 0.03, 0.1, 0.2, 0.3, 0.33]) * height * rng.uniform(0.7, 1.2)
        path = np.stack([out * np.sin(a), low + rise, out * np.cos(a)], 1)
        parts.append(tube("ribs", path, 0.62 * thick * dome, tint, 9))
    return tuple(parts)


def tuft(rng: np.random.Generator, tint: np.ndarray) -> Shapes:
    """High grass that grows in a clump."""
    count = 14
    angle, high = rng.uniform(0, 2 * np.pi, count), rng.uniform(0.35, 0.75, count)
    root = rng.normal(0.0, 0.12, (count, 3)) * [1, 0, 1]
    lean = np.stack([np.sin(angle), 0 * angle, np.cos(angle)], 1) * (0.5 * high)[:, None]
    side = np.stack([np.cos(angle), 0 * angle, -np.sin(angle)], 1) * 0.12
    top = root + lean + high[:, None] * [0, 1, 0]
    colour = tint * rng.uniform(0.75, 1.2, (count, 1))
    first = 4 * np.arange(count)[:, None]
    return (
        Shape(
            material="blades",
            vertices=np.stack([root - side, root + side, top + side, top - side], 1).reshape(-1, 3),
            normals=np.tile([0.0, 1.0, 0.0], (4 * count, 1)),
            uv=np.tile([[0.02, 0.98], [0.98, 0.98], [0.98, 0.02], [0.02, 0.02]], (count, 1)),
            faces=np.concatenate([first + np.array(corner) for corner in ((0, 1, 2), (0, 2, 3))]),
            tint=np.repeat(colour, 4, axis=0) * np.tile([[0.5], [0.5], [1.0], [1.0]], (count, 1)),
        ),
    )


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
