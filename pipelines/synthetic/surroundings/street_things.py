"""What stands on streets and beaches. Its back is at -z, its front at +z."""

from dataclasses import replace

import numpy as np

from pipelines.synthetic.surroundings import plants
from pipelines.synthetic.surroundings.palette import CLOTH, METAL, WOOD, pick
from pipelines.synthetic.surroundings.shape import Shapes, box, grid, lathe, panel, tube


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
    bush = plants.foliage(
        rng, np.array([0, 0.8, 0]), np.array([0.5, 0.4, 0.5]), 40, 0.4, plants.green(rng)
    )
    return (*box("mottled", (0, 0.28, 0), (1.0, 0.56, 1.0), tint), bush)


def parasol(rng: np.random.Generator) -> Shapes:
    """A sunshade of two colours and a lounger."""
    colours = pick(rng, CLOTH * 1.4), np.full(3, rng.uniform(0.7, 0.95))
    radius = np.array([1.32, 1.3, 0.7, 0.0])[:, None]
    height = np.array([1.86, 2.02, 2.33, 2.45])[:, None]
    canopy = []
    for gore in range(8):
        angle = np.radians(45.0 * gore + np.array([0.0, 22.5, 45.0]))[None]
        flat = 1.0 - 0.04 * np.array([[0.0, 1.0, 0.0]])  # cloth hangs in between the ribs
        points = [radius * flat * np.sin(angle), height * (1.0 + 0.0 * angle)]
        points = np.stack([*points, radius * flat * np.cos(angle)], -1)
        canopy.append(grid("cloth", points, points[..., [0, 2]], colours[gore % 2]))
    pole = tube(
        "lacquer", np.array([[0, 0, 0], [0, 1.2, 0], [0, 2.5, 0.0]]), 0.025, (0.8, 0.8, 0.8), 6
    )
    bed = box("cloth", (0.95, 0.3, 0.35), (0.6, 0.07, 1.3), colours[0])
    back = box("cloth", (0.0, 0.0, 0.0), (0.6, 0.07, 0.7), colours[0])
    c, s = np.cos(np.radians(38.0)), np.sin(np.radians(38.0))
    R = np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]])
    raised = [
        replace(p, vertices=p.vertices @ R.T + [0.95, 0.5, -0.55], normals=p.normals @ R.T)
        for p in back
    ]
    feet = [
        side
        for x in (0.72, 1.18)
        for z in (-0.2, 0.9)
        for side in box("lacquer", (x, 0.14, z), (0.04, 0.28, 0.04), (0.8, 0.8, 0.8))
    ]
    return (*canopy, pole, *bed, *raised, *feet)


def towel(rng: np.random.Generator) -> Shapes:
    """A striped towel on the sand, and a bag at times."""
    colours = pick(rng, CLOTH * 1.6), np.full(3, 0.9)
    stripes = [
        panel("cloth", (-0.4, 0.012, z + 0.3), (0.8, 0, 0), (0, 0, -0.3), colours[k % 2])
        for k, z in enumerate(np.arange(-0.9, 0.9, 0.3))
    ]
    bag = box("cloth", (0.65, 0.15, -0.5), (0.2, 0.3, 0.36), pick(rng, CLOTH))
    return (*stripes, *(bag if rng.random() < 0.6 else ()))


def beach_hut(rng: np.random.Generator) -> Shapes:
    """A painted wooden cabin with a gable roof; its door looks towards +z."""
    tint, white = pick(rng, CLOTH * 1.5), np.full(3, 0.92)
    wide, deep, eaves, ridge = 1.9, 2.2, 2.0, 2.9
    x, z = wide / 2, deep / 2
    walls = box("planks", (0, eaves / 2, 0), (wide, eaves, deep), tint)
    gables = []
    for sign in (1.0, -1.0):
        corners = [[-sign * x, eaves, sign * z], [sign * x, eaves, sign * z]]
        points = np.array([corners, [[0, ridge, sign * z], [0, ridge, sign * z]]])
        gables.append(grid("planks", points, points[..., [0, 1]], tint))
    over, rise = 0.15, (ridge - eaves) / x
    slope = np.array([x + over, (x + over) * rise, 0.0])
    length = np.array([0.0, 0.0, deep + 2 * over])
    low = ridge - (x + over) * rise + 0.03
    roof = [
        panel("planks", (x + over, low, z + over), -length, slope * [-1, 1, 1], white * 0.5),
        panel("planks", (-x - over, low, -z - over), length, slope, white * 0.5),
    ]
    door = panel("door", (-0.42, 0.05, z + 0.01), (0.84, 0, 0), (0, 1.8, 0), white, stretch=True)
    return (*walls, *gables, *roof, door)
