"""Smooth repeating noise, and small helpers to paint textures with. Colours in [0, 1]."""

import numpy as np
from jaxtyping import Float

Picture = Float[np.ndarray, "rows columns channels"]


def fractal_noise(
    rng: np.random.Generator, size: int, octaves: int = 5, first: int = 4
) -> Float[np.ndarray, "size size"]:
    """Smooth noise in [0, 1] that repeats at its borders, made of `octaves` doubled frequencies."""
    return stretched_noise(rng, size, first, first, octaves)


def stretched_noise(
    rng: np.random.Generator, size: int, rows: int, columns: int, octaves: int = 5
) -> Float[np.ndarray, "size size"]:
    """The same with another number of first cells down than across."""
    import cv2

    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = (min(rows * 2**octave, size), min(columns * 2**octave, size))
        lattice = np.pad(rng.random(cells, np.float32), 2, mode="wrap")
        scale = np.array([size / cells[1], size / cells[0]])
        wide = np.array(cells[::-1]) + 4
        # the resized picture is cut where the padding ends, so both borders see the same cells
        large = cv2.resize(lattice, None, fx=scale[0], fy=scale[1], interpolation=cv2.INTER_CUBIC)
        top, left = (2 * np.array(large.shape) // wide[::-1]).astype(int)
        total += large[top : top + size, left : left + size] * 0.5**octave
    low, high = np.percentile(total, (0.5, 99.5))
    return np.clip((total - low) / (high - low), 0.0, 1.0)


def grey(level: np.ndarray) -> Picture:
    """The same level in three channels."""
    return np.repeat(level[..., None], 3, axis=2)


def coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pixels, as shares of the side."""
    rows, columns = np.mgrid[0:size, 0:size]
    return (rows + 0.5) / size, (columns + 0.5) / size


def coloured(level: np.ndarray, dark: tuple[float, ...], light: tuple[float, ...]) -> Picture:
    """From a dark to a light colour."""
    return np.asarray(dark) + (np.asarray(light) - np.asarray(dark)) * level[..., None]


def joints(fraction: np.ndarray, width: float) -> np.ndarray:
    """1 inside a cell, falling to 0 at its borders over `width` of the cell."""
    edge = np.minimum(fraction, 1.0 - fraction)
    return np.clip(edge / width, 0.0, 1.0)
