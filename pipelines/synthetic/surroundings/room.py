"""Closed rooms that hold the people and all cameras: walls, windows, furniture and their light.

Local frame of a room: x to the right, z to the front, turned about the vertical by its yaw.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings import furniture as made
from pipelines.synthetic.surroundings import plants
from pipelines.synthetic.surroundings.clearing import SIGHT_M, Clearing
from pipelines.synthetic.surroundings.floor import (
    court_lines,
    draw_floor_tint,
    make_ceiling,
    make_floor,
    rug,
)
from pipelines.synthetic.surroundings.palette import BRICK, pick
from pipelines.synthetic.surroundings.shape import (
    Shape,
    Shapes,
    placed,
    rotation,
)
from pipelines.synthetic.surroundings.street_things import bench
from pipelines.synthetic.surroundings.wall import (
    Side,
    draw_windows,
    dress_wall,
    make_wall,
    skirting,
    window_frame,
)

Maker = Callable[[np.random.Generator], Shapes]


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
            plants.plant,
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
            plants.plant,
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
        items=(made.kitchenette, made.kitchenette, made.dining, made.cupboard, plants.plant),
    ),
    "office": RoomStyle(
        beyond=(1.2, 3.5),
        height=(2.6, 3.2),
        floors=("carpet", "carpet", "planks", "cloth"),
        walls=("plaster", "plaster", "bricks"),
        num_items=12,
        has_panels=True,
        items=(made.desk, made.desk, made.desk, made.shelf, plants.plant, made.cupboard),
    ),
    "gym": RoomStyle(
        beyond=(2.5, 6.0),
        height=(5.0, 7.0),
        floors=("court", "court", "cloth"),
        walls=("plaster", "bricks", "mottled"),
        num_items=8,
        sill=(2.8, 3.2),
        has_panels=True,
        items=(made.wall_bars, made.wall_bars, bench),
    ),
    "corridor": RoomStyle(
        beyond=(0.25, 0.8),
        height=(2.4, 3.0),
        floors=("tiles", "screed", "carpet"),
        walls=("plaster", "plaster", "mottled"),
        num_items=3,
        has_panels=True,
        items=(plants.plant, bench),
    ),
    "loft": RoomStyle(
        beyond=(2.0, 4.5),
        height=(3.4, 4.6),
        floors=("screed", "planks", "planks"),
        walls=("bricks", "mottled"),
        num_items=10,
        sill=(0.5, 0.9),
        items=(made.sofa, made.shelf, plants.plant, made.dining, made.floor_lamp, made.desk),
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
    doorways: list[np.ndarray] = []
    for k, side in enumerate(walls):
        has_window = k == main or rng.random() < 0.25
        has_window = has_window and kind != "corridor"
        windows = draw_windows(rng, side, style.sill, height) if has_window else []
        shade = feature if k == (main + 2) % 4 else tint
        shell.append(make_wall(material, side, height, shade, windows))
        shell += skirting(side, pick(rng, PAINTS[:2]) if k == 0 else PAINTS[0])
        for window in windows:
            things += window_frame(rng, side, window, style.sill[0] < 1.2)
        fixed, before_doors = dress_wall(rng, side, height, windows, kind)
        things += fixed
        doorways += before_doors
    footprints, placed_things = _furnish(rng, style, walls, clearing, R, doorways)
    things += placed_things
    things += rug(rng, kind, clearing)
    floor_tint = draw_floor_tint(rng, kind)
    shell.append(make_floor(str(rng.choice(style.floors)), low, high, footprints, floor_tint))
    lowest = max(SIGHT_M, clearing.highest_m) + 0.1
    shell += make_ceiling(low, high, height, lowest, style.has_panels)
    if kind == "gym":
        shell += court_lines(rng, low, high)
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


def _sides(low: np.ndarray, high: np.ndarray) -> list[Side]:
    x0, z0, x1, z1 = *low, *high
    corners = [(x0, z0), (x1, z0), (x1, z1), (x0, z1)]
    sides = []
    for k, yaw in enumerate((0.0, -90.0, 180.0, 90.0)):
        a, b = (np.array([c[0], 0.0, c[1]]) for c in (corners[k], corners[(k + 1) % 4]))
        length = float(np.linalg.norm(b - a))
        right = (b - a) / length
        inward = np.cross(right, (0.0, 1.0, 0.0))
        sides.append(Side(start=a, right=right, inward=inward, length=length, yaw_deg=yaw))
    return sides


def _furnish(
    rng: np.random.Generator,
    style: RoomStyle,
    walls: Sequence[Side],
    clearing: Clearing,
    R: np.ndarray,
    doorways: Sequence[np.ndarray],
) -> tuple[list[tuple[np.ndarray, np.ndarray, float]], Shapes]:
    """Things along the walls that stand in nobody's way; footprints are (x, z), half size, yaw."""
    footprints: list[tuple[np.ndarray, np.ndarray, float]] = []
    circles: list[tuple[np.ndarray, float]] = [(door[[0, 2]], 0.5) for door in doorways]
    parts: list[Shape] = []
    around = sum(side.length for side in walls)
    for _ in range(round(style.num_items * max(1.0, around / 22.0))):  # large rooms hold more
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
