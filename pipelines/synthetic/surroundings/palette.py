"""Colours that things of the surroundings are made in; linear factors on a material."""

import numpy as np

WOOD = np.array(
    [[0.75, 0.5, 0.3], [0.45, 0.27, 0.15], [0.95, 0.8, 0.6], [0.25, 0.16, 0.1], [1.1, 1.08, 1.02]]
)


CLOTH = np.array(
    [
        [0.5, 0.48, 0.45],
        [0.18, 0.22, 0.3],
        [0.55, 0.42, 0.3],
        [0.22, 0.3, 0.24],
        [0.42, 0.2, 0.16],
        [0.12, 0.12, 0.13],
        [0.75, 0.7, 0.6],
    ]
)


METAL = (0.09, 0.09, 0.1)


BRICK = np.array([[0.75, 0.4, 0.3], [0.62, 0.5, 0.42], [0.95, 0.9, 0.86]])


LEAVES = np.array(
    [[0.3, 0.4, 0.14], [0.24, 0.36, 0.14], [0.38, 0.42, 0.16], [0.62, 0.4, 0.12], [0.55, 0.26, 0.1]]
)


def pick(rng: np.random.Generator, palette: np.ndarray) -> np.ndarray:
    """A colour of a palette, slightly changed."""
    return (
        palette[int(rng.integers(len(palette)))]
        * rng.uniform(0.8, 1.15, 1)
        * rng.uniform(0.95, 1.05, 3)
    )
