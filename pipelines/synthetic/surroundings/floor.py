"""Floors and ceilings of rooms, and what lies on and hangs from them."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.palette import CLOTH, METAL, WOOD, pick
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    grid,
    lathe,
    panel,
    placed,
    rotation,
)


def draw_floor_tint(rng: np.random.Generator, kind: str) -> np.ndarray:
    """A colour that suits the floor of a kind of room."""
    wood = WOOD[[0, 2, 3, 4]] * 0.85
    greys = np.array([[0.5, 0.48, 0.45], [0.3, 0.32, 0.34], [0.7, 0.68, 0.64]])
    if kind == "gym":
        return pick(rng, WOOD[[0, 2]] * 0.85)
    return pick(rng, greys if kind in ("office", "corridor", "loft") else wood)


def make_floor(
    material: str,
    low: np.ndarray,
    high: np.ndarray,
    footprints: Sequence[tuple[np.ndarray, np.ndarray, float]],
    tint: np.ndarray,
) -> Shape:
    """A floor with the shade that walls and furniture leave on it."""
    axes = []
    for a, b in zip(low, high, strict=True):
        inner = np.linspace(a, b, int(np.clip((b - a) / 0.22, 8, 48)))
        axes.append(np.unique(np.concatenate([inner, [a + 0.06, a + 0.2, b - 0.2, b - 0.06]])))
    x, z = np.meshgrid(axes[0], axes[1][::-1])
    edge = np.minimum.reduce([x - low[0], high[0] - x, z - low[1], high[1] - z])
    shade = 1.0 - 0.45 * np.exp(-edge / 0.3)
    for place, half, yaw in footprints:
        local = np.stack([x - place[0], z - place[1]], -1) @ rotation(yaw)[np.ix_([0, 2], [0, 2])]
        gap = np.linalg.norm(np.maximum(abs(local) - half, 0.0), axis=-1)
        shade *= 1.0 - 0.55 * np.exp(-gap / 0.18)
    points = np.stack([x, np.zeros_like(x), z], axis=-1)
    return grid(material, points, np.stack([x, z], -1), shade[..., None] * np.asarray(tint, float))


def rug(rng: np.random.Generator, kind: str, clearing: Clearing) -> Shapes:
    """A flat rug below the people, at times."""
    if kind not in ("living room", "bedroom", "loft") or rng.random() < 0.45:
        return ()
    wide, deep = rng.uniform(1.6, 3.0), rng.uniform(1.3, 2.2)
    x, z = rng.uniform(-0.6, 0.6, 2) * clearing.radius_m
    tint = pick(rng, CLOTH * 1.5)
    if rng.random() < 0.3:
        rings = [(0.0, 0.9), (0.75, 0.9), (0.76, 0.55), (0.88, 0.55), (0.89, 1.0), (1.0, 1.0)]
        profile = [(r * deep / 2, 0.006) for r, _ in rings[::-1]]
        disc = lathe("cloth", profile, (x, 0.0, z), tint, 28)
        shade = np.repeat([level for _, level in rings[::-1]], 29)[:, None]
        return (replace(disc, uv=disc.vertices[:, [0, 2]], tint=shade * tint),)
    sheet = panel("rug", (-wide / 2, 0, deep / 2), (wide, 0, 0), (0, 0, -deep), tint, stretch=True)
    pattern = np.array([0.25, 1.0]), [0.25 * rng.integers(4), 0.0]
    sheet = replace(sheet, uv=sheet.uv * pattern[0] + pattern[1])
    return placed((sheet,), (x, 0.006, z), float(rng.choice([0.0, 90.0, rng.uniform(0, 360)])))


def make_ceiling(
    low: np.ndarray, high: np.ndarray, height: Number, lowest: Number, has_panels: bool
) -> Shapes:
    """A ceiling with bright panels, or with a lamp that hangs no lower than `lowest`."""
    size = high - low
    parts: list[Shape] = [
        panel(
            "plaster", (low[0], height, low[1]), (size[0], 0, 0), (0, 0, size[1]), np.full(3, 0.92)
        )
    ]
    if not has_panels:
        x, z = 0.5 * (low + high)
        drop = float(np.clip(height - lowest - 0.2, 0.04, 0.7))
        deep = min(0.2, max(height - drop - lowest, 0.06))
        cord = lathe("lacquer", [(0.008, height - drop), (0.008, height)], (x, 0, z), METAL, 5)
        shade = lathe(
            "lamp",
            [(0.24, height - drop - deep), (0.1, height - drop)],
            (x, 0, z),
            (0.6, 0.52, 0.4),
        )
        return (*parts, cord, shade)
    count = np.clip((size / 2.6).astype(int), 1, 7)
    for i in range(count[0]):
        for k in range(count[1]):
            x, z = low + (np.array([i, k]) + 0.5) * size / count
            corner = (x - 0.5, height - 0.02, z - 0.3)
            parts.append(panel("lamp", corner, (1.0, 0, 0), (0, 0, 0.6), np.full(3, 0.8)))
    return tuple(parts)


def court_lines(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Shapes:
    """Painted rectangles, one within the other."""
    parts: list[Shape] = []
    for inset, tint in ((0.7, (0.9, 0.9, 0.9)), (rng.uniform(2.0, 3.0), (0.12, 0.2, 0.45))):
        (x0, z0), (x1, z1) = low + inset, high - inset
        wide, deep = np.array([x1 - x0, 0, 0]), np.array([0, 0, z0 - z1])
        for z in (z0, z1, 0.5 * (z0 + z1)):
            parts.append(panel("plaster", (x0, 0.004, z + 0.025), wide, (0, 0, -0.05), tint))
        for x in (x0, x1):
            parts.append(panel("plaster", (x - 0.025, 0.004, z1), (0.05, 0, 0), deep, tint))
    return tuple(parts)
