"""What stands on streets and beaches. Its back is at -z, its front at +z."""

import numpy as np

from pipelines.synthetic.surroundings import plants
from pipelines.synthetic.surroundings.palette import CLOTH, METAL, WOOD, pick
from pipelines.synthetic.surroundings.shape import Shapes, box, grid, lathe, tube


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
    """A sunshade and a lounger."""
    angle = np.linspace(0.0, 2.0 * np.pi, 17)
    colours = np.stack([pick(rng, CLOTH * 1.4), np.full(3, 0.9)])
    radius, height = np.array([1.3, 1.25, 0.0])[:, None], np.array([1.95, 2.05, 2.45])[:, None]
    points = np.stack(
        np.broadcast_arrays(radius * np.sin(angle), height, radius * np.cos(angle)), -1
    )
    tint = np.broadcast_to(colours[np.arange(17) // 2 % 2][None], points.shape)
    canopy = grid("cloth", points, points[..., [0, 2]], tint)
    pole = tube(
        "lacquer", np.array([[0, 0, 0], [0, 1.2, 0], [0, 2.4, 0.0]]), 0.025, (0.8, 0.8, 0.8), 6
    )
    lounger = box("cloth", (0.9, 0.25, 0.2), (0.6, 0.1, 1.7), colours[0])
    return (canopy, pole, *lounger)
