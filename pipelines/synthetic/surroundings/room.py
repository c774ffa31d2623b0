"""Closed rooms that hold the people and all cameras: walls, windows, furniture and their light.

Local frame of a room: x to the right, z to the front, turned about the vertical by its yaw.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings import furniture as made
from pipelines.synthetic.surroundings.clearing import SIGHT_M, Clearing
from pipelines.synthetic.surroundings.furniture import pick
from pipelines.synthetic.surroundings.shape import (
    FOOT_M,
    Number,
    Shape,
    Shapes,
    box,
    foot_shade,
    grid,
    lathe,
    panel,
    placed,
    rotation,
)

Maker = Callable[[np.random.Generator], Shapes]
Opening = tuple[float, float, float, float]
"""Left, right, bottom, top of a window in its wall, metres."""
CORNER_SHADE = 0.72
PAINTS = np.array(
    [
        [0.95, 0.92, 0.86],
        [0.9, 0.9, 0.9],
        [0.72, 0.76, 0.72],
        [0.66, 0.72, 0.78],
        [0.85, 0.74, 0.62],
        [0.8, 0.7, 0.68],
        [0.5, 0.54, 0.55],
        [0.9, 0.86, 0.74],
    ]
)
CONCRETE = np.array([[0.85, 0.85, 0.84], [0.6, 0.6, 0.61], [0.8, 0.76, 0.7]])
BRICK = np.array([[0.75, 0.4, 0.3], [0.62, 0.5, 0.42], [0.95, 0.9, 0.86]])


@dataclass(frozen=True, kw_only=True)
class RoomStyle:
    """What rooms of a kind may hold; lengths in metres."""

    beyond: tuple[float, float]
    """Distance from what must be free to a wall."""
    height: tuple[float, float]
    floors: tuple[str, ...]
    walls: tuple[str, ...]
    items: tuple[Maker, ...]
    num_items: int
    sill: tuple[float, float] = (0.8, 1.0)
    has_panels: bool = False
    """Bright panels in the ceiling instead of a lamp."""


ROOMS: dict[str, RoomStyle] = {
    "living room": RoomStyle(
        beyond=(1.0, 2.2),
        height=(2.5, 3.0),
        floors=("planks", "cloth"),
        walls=("plaster", "plaster", "stripes", "motifs", "bricks"),
        num_items=9,
        items=(
            made.sofa,
            made.sofa,
            made.media_unit,
            made.shelf,
            made.plant,
            made.floor_lamp,
            made.cupboard,
            made.dining,
        ),
    ),
    "bedroom": RoomStyle(
        beyond=(0.9, 1.8),
        height=(2.4, 2.8),
        floors=("planks", "cloth"),
        walls=("plaster", "stripes", "motifs"),
        num_items=8,
        items=(
            made.bed,
            made.bed,
            made.cupboard,
            made.shelf,
            made.plant,
            made.floor_lamp,
            made.desk,
        ),
    ),
    "kitchen": RoomStyle(
        beyond=(1.0, 2.0),
        height=(2.4, 2.9),
        floors=("tiles", "planks"),
        walls=("plaster", "tiles"),
        num_items=8,
        items=(made.kitchenette, made.kitchenette, made.dining, made.cupboard, made.plant),
    ),
    "office": RoomStyle(
        beyond=(1.2, 3.5),
        height=(2.6, 3.2),
        floors=("cloth", "mottled", "planks"),
        walls=("plaster", "plaster", "bricks"),
        num_items=12,
        has_panels=True,
        items=(made.desk, made.desk, made.desk, made.shelf, made.plant, made.cupboard),
    ),
    "gym": RoomStyle(
        beyond=(2.5, 6.0),
        height=(5.0, 7.0),
        floors=("court", "court", "cloth"),
        walls=("plaster", "bricks", "mottled"),
        num_items=8,
        sill=(2.8, 3.2),
        has_panels=True,
        items=(made.wall_bars, made.wall_bars, made.bench),
    ),
    "corridor": RoomStyle(
        beyond=(0.25, 0.8),
        height=(2.4, 3.0),
        floors=("tiles", "mottled", "cloth"),
        walls=("plaster", "plaster", "mottled"),
        num_items=3,
        has_panels=True,
        items=(made.plant, made.bench),
    ),
    "loft": RoomStyle(
        beyond=(2.0, 4.5),
        height=(3.4, 4.6),
        floors=("mottled", "planks"),
        walls=("bricks", "mottled"),
        num_items=10,
        sill=(0.5, 0.9),
        items=(made.sofa, made.shelf, made.plant, made.dining, made.floor_lamp, made.desk),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Interior:
    """A room: what casts shadows, what is only its shell, and where its light comes from."""

    shell: Shapes
    things: Shapes
    window_direction: Float[np.ndarray, "3"]
    """Unit vector from inside to the main window, world frame."""
    wall_rgb: Float[np.ndarray, "3"]


@dataclass(frozen=True, kw_only=True)
class _Side:
    """One wall seen from inside."""

    start: Float[np.ndarray, "3"]
    right: Float[np.ndarray, "3"]
    """Unit vector along the wall."""
    inward: Float[np.ndarray, "3"]
    length: float
    yaw_deg: float
    """Turns +z to the inside of the room."""

    def at(self, along: Number, out: Number = 0.0, height: Number = 0.0) -> Float[np.ndarray, "3"]:
        return self.start + along * self.right + out * self.inward + np.array([0.0, height, 0.0])


def make_room(rng: np.random.Generator, kind: str, clearing: Clearing) -> Interior:
    """A furnished room of one of ROOMS around everything that must be free."""
    style, yaw = ROOMS[kind], float(rng.uniform(-180.0, 180.0))
    R = rotation(yaw)
    low, high = _extent(rng, kind, style, clearing, R)
    height = max(
        float(rng.uniform(*style.height)), 2.75, clearing.highest_m + 0.5, 0.16 * max(high - low)
    )
    walls = _sides(low, high)
    paint = pick(rng, PAINTS)
    material = str(rng.choice(style.walls))
    tint = pick(rng, BRICK) if material == "bricks" else paint
    if material == "mottled":
        tint = pick(rng, CONCRETE)
    feature = pick(rng, PAINTS) if rng.random() < 0.3 else tint
    main = int(rng.integers(4))
    shell: list[Shape] = []
    things: list[Shape] = []
    for k, side in enumerate(walls):
        has_window = k == main or rng.random() < 0.25
        windows = _windows(rng, side, style, height) if has_window and kind != "corridor" else []
        shade = feature if k == (main + 2) % 4 else tint
        shell.append(wall(material, side, height, shade, windows))
        shell += _skirting(side, pick(rng, PAINTS[:2]) if k == 0 else PAINTS[0])
        for window in windows:
            things += _window_frame(rng, side, window, style.sill[0] < 1.2)
        things += _on_wall(rng, side, height, windows, kind)
    footprints, placed_things = _furnish(rng, style, walls, clearing, R)
    things += placed_things
    things += _rug(rng, kind, clearing)
    floor_tint = _floor_tint(rng, kind)
    shell.append(_floor(str(rng.choice(style.floors)), low, high, footprints, floor_tint))
    lowest = max(SIGHT_M, clearing.highest_m) + 0.1
    shell += _ceiling(low, high, height, lowest, style.has_panels)
    if kind == "gym":
        shell += _court_lines(rng, low, high)
    window_direction = R @ (-walls[main].inward)
    return Interior(
        shell=placed(shell, (0.0, 0.0, 0.0), yaw),
        things=placed(things, (0.0, 0.0, 0.0), yaw),
        window_direction=window_direction,
        wall_rgb=0.6 * np.asarray(tint, float),
    )


def _extent(
    rng: np.random.Generator, kind: str, style: RoomStyle, clearing: Clearing, R: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest (x, z) of the room in its own frame."""
    flat = R[np.ix_([0, 2], [0, 2])]
    sides = [flat @ np.array(d) for d in ((1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0))]
    far = np.array([clearing.reach(d) + 0.5 + rng.uniform(*style.beyond) for d in sides])
    if kind == "corridor":  # long one way
        far[[1, 3]] += rng.uniform(4.0, 10.0, 2)
    return -far[2:], far[:2]


def _sides(low: np.ndarray, high: np.ndarray) -> list[_Side]:
    x0, z0, x1, z1 = *low, *high
    corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    sides = []
    for k, yaw in enumerate((0.0, -90.0, 180.0, 90.0)):
        a, b = (np.array([c[0], 0.0, c[1]]) for c in (corners[k], corners[(k + 1) % 4]))
        length = float(np.linalg.norm(b - a))
        right = (b - a) / length
        inward = np.cross(right, (0.0, 1.0, 0.0))
        sides.append(_Side(start=a, right=right, inward=inward, length=length, yaw_deg=yaw))
    return sides


def _knots(length: Number, more: Sequence[Number], ends: Sequence[Number]) -> np.ndarray:
    """Where a wall is cut so that its shading and its openings have vertices."""
    steps = [0.0, length, *ends, *(length - e for e in ends), *more]
    return np.unique(np.round([s for s in steps if 0.0 <= s <= length], 4))


def _corner(distance: np.ndarray) -> np.ndarray:
    return 1.0 - (1.0 - CORNER_SHADE) * np.exp(-distance / 0.35)


def wall(
    material: str, side: _Side, height: Number, tint: np.ndarray, windows: Sequence[Opening]
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


def _windows(
    rng: np.random.Generator, side: _Side, style: RoomStyle, height: Number
) -> list[Opening]:
    count = max(1, int(side.length / rng.uniform(2.4, 4.0)))
    wide = min(side.length / count - 0.7, float(rng.uniform(1.0, 2.0)))
    bottom = float(rng.uniform(*style.sill))
    top = min(height - 0.3, bottom + float(rng.uniform(1.2, 1.7)) + 0.3 * (height > 3.2))
    if wide < 0.5 or top - bottom < 0.4:
        return []
    centres = (np.arange(count) + 0.5) * side.length / count
    return [(float(c - wide / 2), float(c + wide / 2), bottom, top) for c in centres]


def _window_frame(
    rng: np.random.Generator, side: _Side, window: Opening, curtained: bool
) -> Shapes:
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


def _curtains(rng: np.random.Generator, side: _Side, window: Opening) -> Shapes:
    left, right, bottom, top = window
    tint, wide = pick(rng, made.CLOTH * 1.3), 0.25 * (right - left) + 0.15
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


def _skirting(side: _Side, tint: np.ndarray) -> Shapes:
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


def _on_wall(
    rng: np.random.Generator, side: _Side, height: Number, windows: Sequence[Opening], kind: str
) -> Shapes:
    """A door, pictures, sockets; nothing over a window."""
    taken = [(w[0] - 0.4, w[1] + 0.4) for w in windows]
    parts: list[Shape] = []

    def free(at: float, half: float) -> bool:
        inside = half < at < side.length - half
        return inside and all(at + half < a or at - half > b for a, b in taken)

    doors = int(side.length / 3.0) if kind == "corridor" else int(rng.random() < 0.55)
    wood = pick(rng, made.WOOD) if rng.random() < 0.5 else np.full(3, 0.95)
    for _ in range(doors):
        at = float(rng.uniform(0.7, max(side.length - 0.7, 0.8)))
        if free(at, 0.6):
            taken.append((at - 0.6, at + 0.6))
            parts += box_on(side, "lacquer", at, 1.05, 1.04, 2.1, 0.03, 0.9 * wood)
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
    most = 0 if kind in ("gym", "kitchen") else 3
    for _ in range(int(rng.integers(most + 1))):
        wide, high = rng.uniform(0.4, 1.1), rng.uniform(0.4, 0.8)
        at, middle = float(rng.uniform(0.6, max(side.length - 0.6, 0.7))), min(1.62, height - 0.8)
        if free(at, wide / 2 + 0.1):
            taken.append((at - wide / 2 - 0.1, at + wide / 2 + 0.1))
            parts += box_on(side, "grain", at, middle, wide, high, 0.03, pick(rng, made.WOOD))
            corner = side.at(at - wide / 2 + 0.04, 0.033, middle - high / 2 + 0.04)
            sheet = panel(
                "painting", corner, (wide - 0.08) * side.right, (0, high - 0.08, 0), stretch=True
            )
            quarter = np.array([0.25, 1.0])
            parts.append(replace(sheet, uv=sheet.uv * quarter + [0.25 * rng.integers(4), 0.0]))
    return tuple(parts)


def box_on(
    side: _Side,
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


def _furnish(
    rng: np.random.Generator,
    style: RoomStyle,
    walls: Sequence[_Side],
    clearing: Clearing,
    R: np.ndarray,
) -> tuple[list[tuple[np.ndarray, np.ndarray, float]], Shapes]:
    """Things along the walls that stand in nobody's way; footprints are (x, z), half size, yaw."""
    footprints: list[tuple[np.ndarray, np.ndarray, float]] = []
    circles: list[tuple[np.ndarray, float]] = []
    parts: list[Shape] = []
    for _ in range(style.num_items):
        thing = style.items[int(rng.integers(len(style.items)))](rng)
        vertices = np.concatenate([s.vertices for s in thing])
        low, high = vertices.min(0), vertices.max(0)
        half = 0.5 * (high - low)[[0, 2]]
        for _ in range(5):
            side = walls[int(rng.integers(4))]
            along = rng.uniform(half[0] + 0.1, max(side.length - half[0] - 0.1, half[0] + 0.2))
            at = side.at(float(along), float(0.06 - low[2]))
            centre = at + rotation(side.yaw_deg) @ np.array([0.0, 0.0, 0.5 * (low + high)[2]])
            place, radius = centre[[0, 2]], float(np.linalg.norm(half))
            if any(np.linalg.norm(place - p) < radius + r for p, r in circles):
                continue
            if clearing.is_free((R @ centre)[[0, 2]], radius):
                circles.append((place, radius))
                footprints.append((place, half, side.yaw_deg))
                parts += placed(thing, at, side.yaw_deg)
                break
    return footprints, tuple(parts)


def _floor_tint(rng: np.random.Generator, kind: str) -> np.ndarray:
    wood = made.WOOD[[0, 2, 3, 4]] * 0.85
    greys = np.array([[0.5, 0.48, 0.45], [0.3, 0.32, 0.34], [0.7, 0.68, 0.64]])
    if kind == "gym":
        return pick(rng, made.WOOD[[0, 2]] * 0.85)
    return pick(rng, greys if kind in ("office", "corridor", "loft") else wood)


def _floor(
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


def _rug(rng: np.random.Generator, kind: str, clearing: Clearing) -> Shapes:
    """A flat rug below the people, at times."""
    if kind not in ("living room", "bedroom", "loft") or rng.random() < 0.45:
        return ()
    wide, deep = rng.uniform(1.6, 3.0), rng.uniform(1.3, 2.2)
    x, z = rng.uniform(-0.6, 0.6, 2) * clearing.radius_m
    return (
        panel(
            "rug",
            (x - wide / 2, 0.006, z + deep / 2),
            (wide, 0, 0),
            (0, 0, -deep),
            pick(rng, made.CLOTH * 1.5),
            stretch=True,
        ),
    )


def _ceiling(
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
        cord = lathe("lacquer", [(0.008, height - drop), (0.008, height)], (x, 0, z), made.METAL, 5)
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


def _court_lines(rng: np.random.Generator, low: np.ndarray, high: np.ndarray) -> Shapes:
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


def make_studio(rng: np.random.Generator, clearing: Clearing) -> Interior:
    """A seamless backdrop all around, with soft boxes where they are in nobody's way."""
    radius = clearing.reach_m + float(rng.uniform(1.0, 2.5))
    height = max(float(rng.uniform(3.5, 5.0)), clearing.highest_m + 1.0)
    palette = np.array(
        [
            [0.9, 0.9, 0.9],
            [0.5, 0.5, 0.51],
            [0.2, 0.2, 0.22],
            [0.62, 0.68, 0.74],
            [0.78, 0.68, 0.58],
            [0.6, 0.68, 0.6],
        ]
    )
    tint = pick(rng, palette)
    bend = np.radians(np.linspace(0.0, 90.0, 8))
    sweep = [(radius - 1.0 + np.sin(a), 1.0 - np.cos(a)) for a in bend]
    profile = [
        (0.0, 0.0),
        (1.5, 0.0),
        (3.0, 0.0),
        *[(r, 0.0) for r in np.arange(4.0, radius - 1.0, 1.0)],
        *sweep,
        (radius, height),
    ]
    wall_ = lathe("plaster", profile, (0, 0, 0), tint, 48)
    distance = np.linalg.norm(wall_.vertices[:, [0, 2]], axis=1)
    fall = 1.0 - 0.35 * np.clip(distance / radius, 0, 1) ** 2 - 0.2 * wall_.vertices[:, 1] / height
    uv = wall_.vertices[:, [0, 2]] + wall_.vertices[:, 1:2]
    wall_ = replace(
        wall_, uv=uv, tint=fall[:, None] * tint, faces=wall_.faces[:, ::-1], normals=-wall_.normals
    )
    angle = float(rng.uniform(0, 2 * np.pi))
    things: list[Shape] = []
    for k in range(6):
        a = angle + k * 2.2
        place = np.array([np.sin(a), np.cos(a)]) * (radius - 1.2)
        if len(things) < 9 and clearing.is_free(place, 0.6):
            things += placed(_soft_box(rng), (place[0], 0, place[1]), np.degrees(a) + 180.0)
    top = lathe("plaster", [(radius, height), (0.0, height)], (0, 0, 0), 0.5 * tint, 48)
    return Interior(
        shell=(wall_, top),
        things=tuple(things),
        window_direction=np.array([np.sin(angle), 0.6, np.cos(angle)]) / np.hypot(1.0, 0.6),
        wall_rgb=0.7 * tint,
    )


def _soft_box(rng: np.random.Generator) -> Shapes:
    high = float(rng.uniform(1.7, 2.3))
    stand = lathe("lacquer", [(0.03, 0.0), (0.02, high)], tint=made.METAL, sides=6)
    legs = tuple(
        s
        for a in (0, 120, 240)
        for s in placed(
            box("lacquer", (0.0, 0.03, 0.3), (0.03, 0.03, 0.6), made.METAL), (0, 0, 0), a
        )
    )
    case = box("cloth", (0, high, 0.1), (0.9, 1.1, 0.2), (0.03, 0.03, 0.03))
    front = panel("lamp", (-0.42, high - 0.52, 0.205), (0.84, 0, 0), (0, 1.04, 0), np.full(3, 0.9))
    return (stand, *legs, *case, front)
