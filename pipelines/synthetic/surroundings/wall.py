"""Walls of rooms, seen from inside: windows with curtains, doors, pictures, skirting."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings.palette import CLOTH, WOOD, pick
from pipelines.synthetic.surroundings.shape import (
    FOOT_M,
    Number,
    Shape,
    Shapes,
    box,
    foot_shade,
    grid,
    panel,
    placed,
)

Opening = tuple[float, float, float, float]
"""Left, right, bottom, top of a window in its wall, metres."""


CORNER_SHADE = 0.72


@dataclass(frozen=True, kw_only=True)
class Side:
    """One wall seen from inside."""

    start: Float[np.ndarray, "3"]
    right: Float[np.ndarray, "3"]
    """Unit vector along the wall."""
    inward: Float[np.ndarray, "3"]
    length: float
    yaw_deg: float
    """Turns +z to the inside of the room."""

    def at(self, along: Number, out: Number = 0.0, height: Number = 0.0) -> Float[np.ndarray, "3"]:
        """A place by its distance along the wall, from the wall and from the floor."""
        return self.start + along * self.right + out * self.inward + np.array([0.0, height, 0.0])


def _knots(length: Number, more: Sequence[Number], ends: Sequence[Number]) -> np.ndarray:
    """Where a wall is cut so that its shading and its openings have vertices."""
    steps = [0.0, length, *ends, *(length - e for e in ends), *more]
    return np.unique(np.round([s for s in steps if 0.0 <= s <= length], 4))


def _corner(distance: np.ndarray) -> np.ndarray:
    return 1.0 - (1.0 - CORNER_SHADE) * np.exp(-distance / 0.35)


def make_wall(
    material: str, side: Side, height: Number, tint: np.ndarray, windows: Sequence[Opening]
) -> Shape:
    """A wall with openings, darker at its foot, its top and its ends."""
    across = _knots(side.length, [x for w in windows for x in w[:2]], (0.12, 0.4, 1.0))
    up = _knots(
        height, [0.06, 0.15, FOOT_M, *(y for w in windows for y in w[2:])], (0.0, 0.12, 0.4)
    )
    points = (
        side.start + across[None, :, None] * side.right + up[:, None, None] * np.array([0, 1.0, 0])
    )
    ends = _corner(across) * _corner(side.length - across)
    shade = ends[None] * (foot_shade(up) * _corner(height - up))[:, None]
    uv = np.stack(np.broadcast_arrays(across[None], -up[:, None]), axis=-1)
    shape = grid(material, points, uv, shade[..., None] * np.asarray(tint, float))
    middle = points.reshape(-1, 3)[shape.faces].mean(1) - side.start
    x, y = middle @ side.right, middle[:, 1]
    keep = np.ones(len(x), bool)
    for left, right, bottom, top in windows:
        keep &= ~((x > left) & (x < right) & (y > bottom) & (y < top))
    return replace(shape, faces=shape.faces[keep])


def draw_windows(
    rng: np.random.Generator, side: Side, sill: tuple[float, float], height: Number
) -> list[Opening]:
    """A row of equal windows; none where they do not fit."""
    count = max(1, int(side.length / rng.uniform(2.4, 4.0)))
    wide = min(side.length / count - 0.7, float(rng.uniform(1.0, 2.0)))
    bottom = float(rng.uniform(*sill))
    top = min(height - 0.3, bottom + float(rng.uniform(1.2, 1.7)) + 0.3 * (height > 3.2))
    if wide < 0.5 or top - bottom < 0.4:
        return []
    centres = (np.arange(count) + 0.5) * side.length / count
    return [(float(c - wide / 2), float(c + wide / 2), bottom, top) for c in centres]


def window_frame(rng: np.random.Generator, side: Side, window: Opening, curtained: bool) -> Shapes:
    """Frame, bars, sill, and curtains at times."""
    left, right, bottom, top = window
    white, wide, high = np.full(3, 0.95), right - left, top - bottom
    bars: list[Shape] = []
    for along, height, w, h in (
        (left, bottom, wide, 0.06),
        (left, top - 0.06, wide, 0.06),
        (left, bottom, 0.06, high),
        (right - 0.06, bottom, 0.06, high),
        (left + wide / 2 - 0.025, bottom, 0.05, high),
        (left, bottom + 0.68 * high, wide, 0.04),
    ):
        bars.append(
            panel("plaster", side.at(along, -0.06, height), w * side.right, (0, h, 0), white)
        )
    reveal = 0.1 * side.inward
    bars += [
        panel("plaster", side.at(left, -0.1, bottom), reveal, (0, high, 0), 0.75 * white),
        panel("plaster", side.at(right, 0.0, bottom), -reveal, (0, high, 0), 0.75 * white),
        panel(
            "plaster", side.at(left, 0.1, bottom), (wide) * side.right, -0.2 * side.inward, white
        ),
    ]
    if curtained and rng.random() < 0.6:
        bars += _curtains(rng, side, window)
    return tuple(bars)


def _curtains(rng: np.random.Generator, side: Side, window: Opening) -> Shapes:
    left, right, bottom, top = window
    tint, wide = pick(rng, CLOTH * 1.3), 0.25 * (right - left) + 0.15
    sheets = []
    for start in (left - wide + 0.1, right - 0.1):
        across = np.linspace(0.0, wide, 19)
        fold = 0.09 + 0.035 * np.sin(across / 0.1 * 2 * np.pi * 0.55 + rng.uniform(0, 6))
        foot = 0.03 if bottom < 1.0 else bottom - 0.2
        up = np.array([foot, top + 0.12])
        points = (
            side.start
            + (start + across)[None, :, None] * side.right
            + fold[None, :, None] * side.inward
        )
        points = points + up[:, None, None] * np.array([0.0, 1.0, 0.0])
        uv = np.stack(np.broadcast_arrays(across[None], -up[:, None]), axis=-1)
        shade = (0.6 + 0.4 * (fold - fold.min()) / np.ptp(fold))[None, :, None]
        sheets.append(grid("cloth", points, uv, tint * shade * np.ones((2, 1, 1))))
    return tuple(sheets)


def skirting(side: Side, tint: np.ndarray) -> Shapes:
    """A board along the foot."""
    front = panel(
        "lacquer",
        side.at(0, 0.015),
        side.length * side.right,
        (0, 0.09, 0),
        0.85 * np.asarray(tint),
    )
    top = panel(
        "lacquer", side.at(0, 0.015, 0.09), side.length * side.right, -0.015 * side.inward, tint
    )
    return (front, top)


def dress_wall(
    rng: np.random.Generator, side: Side, height: Number, windows: Sequence[Opening], kind: str
) -> tuple[Shapes, list[Float[np.ndarray, "3"]]]:
    """Doors and pictures, never over a window, and the places before the doors."""
    taken = [(w[0] - 0.4, w[1] + 0.4) for w in windows]
    parts: list[Shape] = []
    doorways: list[np.ndarray] = []

    def free(at: float, half: float) -> bool:
        inside = half < at < side.length - half
        return inside and all(at + half < a or at - half > b for a, b in taken)

    doors = int(side.length / 3.0) if kind == "corridor" else int(rng.random() < 0.55)
    wood = pick(rng, WOOD) if rng.random() < 0.5 else np.full(3, 0.95)
    for _ in range(doors):
        at = float(rng.uniform(0.7, max(side.length - 0.7, 0.8)))
        if free(at, 0.6):
            taken.append((at - 0.6, at + 0.6))
            doorways.append(side.at(at, 0.5))
            parts += _box_on(side, "lacquer", at, 1.05, 1.04, 2.1, 0.03, 0.9 * wood)
            parts.append(
                panel(
                    "door",
                    side.at(at - 0.45, 0.032),
                    0.9 * side.right,
                    (0, 2.03, 0),
                    wood,
                    stretch=True,
                )
            )
    most = 0 if kind in ("gym", "kitchen") else 2 + int(side.length / 3.0)
    for _ in range(int(rng.integers(most + 1))):
        wide, high = rng.uniform(0.4, 1.1), rng.uniform(0.4, 0.8)
        at, middle = float(rng.uniform(0.6, max(side.length - 0.6, 0.7))), min(1.62, height - 0.8)
        if free(at, wide / 2 + 0.1):
            taken.append((at - wide / 2 - 0.1, at + wide / 2 + 0.1))
            parts += _box_on(side, "grain", at, middle, wide, high, 0.03, pick(rng, WOOD))
            corner = side.at(at - wide / 2 + 0.04, 0.033, middle - high / 2 + 0.04)
            sheet = panel(
                "painting", corner, (wide - 0.08) * side.right, (0, high - 0.08, 0), stretch=True
            )
            quarter = np.array([0.25, 1.0])
            parts.append(replace(sheet, uv=sheet.uv * quarter + [0.25 * rng.integers(4), 0.0]))
    return tuple(parts), doorways


def _box_on(
    side: Side,
    material: str,
    along: Number,
    middle: Number,
    wide: Number,
    high: Number,
    thick: Number,
    tint: np.ndarray,
) -> Shapes:
    """A box fixed to a wall."""
    flat = box(material, (0.0, 0.0, thick / 2), (wide, high, thick), tint)
    return placed(flat, side.at(along, 0.0, middle), side.yaw_deg)
