"""Textures of what things are made of: stone, wood, cloth, ground. They repeat at borders."""

import numpy as np

from pipelines.synthetic.surroundings.noise import (
    Picture,
    coloured,
    coordinates,
    fractal_noise,
    grey,
    joints,
    stretched_noise,
)


def plain(rng: np.random.Generator, size: int) -> Picture:
    """Paint, plaster, lacquer: hardly any pattern."""
    return grey(
        0.9 + 0.05 * (fractal_noise(rng, size) - 0.5) + 0.03 * rng.standard_normal((size, size))
    )


def mottled(rng: np.random.Generator, size: int) -> Picture:
    """Concrete, stone, old render."""
    noise, fine = fractal_noise(rng, size), fractal_noise(rng, size, 3, 32)
    grain = 0.03 * rng.standard_normal((size, size))
    return grey(0.76 + 0.07 * (noise - 0.5) + 0.07 * (fine - 0.5) + grain)


def screed(rng: np.random.Generator, size: int) -> Picture:
    """Smooth concrete in square fields with thin joints."""
    rows, columns = coordinates(size)
    inside = np.minimum(joints(rows * 2 % 1.0, 0.008), joints(columns * 2 % 1.0, 0.008))
    tone = rng.uniform(-0.02, 0.02, (2, 2))[(rows * 2).astype(int), (columns * 2).astype(int)]
    return (mottled(rng, size) + tone[..., None]) * (0.7 + 0.3 * inside)[..., None]


def carpet(rng: np.random.Generator, size: int) -> Picture:
    """Four by four carpet tiles, their pile laid in turn along and across."""
    rows, columns = coordinates(size)
    r, c = (rows * 4).astype(int), (columns * 4).astype(int)
    along, across = stretched_noise(rng, size, 4, 64, 2), stretched_noise(rng, size, 64, 4, 2)
    pile = np.where((r + c) % 2 == 0, along, across)
    tone = rng.uniform(0.74, 0.84, (4, 4))[r, c]
    return grey(tone + 0.12 * (pile - 0.5) + 0.04 * rng.standard_normal((size, size)))


def ribs(rng: np.random.Generator, size: int) -> Picture:
    """Upright ribs with pale spines."""
    _, columns = coordinates(size)
    wave = 0.5 + 0.5 * np.cos(2 * np.pi * columns * 12)
    spines = (rng.random((size, size)) < 0.05) * (wave > 0.8)
    return grey(0.5 + 0.35 * wave + 0.25 * spines)


def asphalt(rng: np.random.Generator, size: int) -> Picture:
    """Fine grains with faint stains."""
    grain = rng.standard_normal((size, size)) * 0.055
    return grey(0.72 + 0.12 * (fractal_noise(rng, size) - 0.5) + grain)


def bricks(rng: np.random.Generator, size: int) -> Picture:
    """Twelve courses of bricks with pale mortar."""
    rows, columns = coordinates(size)
    course = (rows * 12).astype(int)
    across = columns * 4 + 0.5 * (course % 2)
    tone = rng.uniform(0.0, 1.0, (12, 5))[course, across.astype(int) % 4]
    inside = np.minimum(joints(rows * 12 % 1.0, 0.12), joints(across % 1.0, 0.045))
    noise = fractal_noise(rng, size, 4, 16)
    brick = coloured(0.6 * tone + 0.4 * noise, (0.62, 0.52, 0.48), (0.9, 0.82, 0.78))
    mortar = np.full(3, 0.82)
    return mortar + (brick - mortar) * np.clip(inside * 1.6, 0, 1)[..., None]


def planks(rng: np.random.Generator, size: int) -> Picture:
    """Ten boards with grain along the columns."""
    rows, columns = coordinates(size)
    board = (columns * 10).astype(int)
    shift = rng.random(10)[board]
    piece = ((rows + shift) * 2).astype(int) % 2
    tone = rng.uniform(0.0, 1.0, (10, 2))[board, piece]
    grain = stretched_noise(rng, size, 4, 60, 3)
    level = 0.45 * tone + 0.55 * grain
    gap = np.minimum(joints(columns * 10 % 1.0, 0.035), joints((rows + shift) * 2 % 1.0, 0.006))
    return coloured(level, (0.66, 0.6, 0.54), (0.92, 0.88, 0.82)) * (0.6 + 0.4 * gap)[..., None]


def court(rng: np.random.Generator, size: int) -> Picture:
    """A sprung floor of narrow lacquered boards."""
    rows, columns = coordinates(size)
    board = (columns * 24).astype(int)
    piece = ((rows + rng.random(24)[board]) * 2).astype(int) % 2
    tone = rng.random((24, 2))[board, piece]
    level = 0.6 * tone + 0.4 * stretched_noise(rng, size, 4, 60, 2)
    return coloured(level, (0.78, 0.74, 0.68), (0.9, 0.87, 0.82))


def grain(rng: np.random.Generator, size: int) -> Picture:
    """Wood without joints."""
    level = stretched_noise(rng, size, 2, 24, 5)
    return coloured(level, (0.72, 0.66, 0.6), (0.92, 0.88, 0.84))


def bark(rng: np.random.Generator, size: int) -> Picture:
    """Furrows along the rows."""
    return coloured(stretched_noise(rng, size, 4, 20, 4), (0.4, 0.36, 0.32), (0.9, 0.86, 0.8))


def tiles(rng: np.random.Generator, size: int) -> Picture:
    """Four by four square tiles."""
    rows, columns = coordinates(size)
    r, c = (rows * 4).astype(int), (columns * 4).astype(int)
    tone = rng.uniform(0.84, 0.94, (4, 4))[r, c]
    inside = np.minimum(joints(rows * 4 % 1.0, 0.02), joints(columns * 4 % 1.0, 0.02))
    return grey((tone + 0.06 * (fractal_noise(rng, size) - 0.5)) * (0.72 + 0.28 * inside))


def pavers(rng: np.random.Generator, size: int) -> Picture:
    """Paving slabs in rows, every second row shifted."""
    rows, columns = coordinates(size)
    row = (rows * 6).astype(int)
    across = columns * 4 + 0.5 * (row % 2)
    tone = rng.uniform(0.66, 0.84, (6, 4))[row, across.astype(int) % 4]
    inside = np.minimum(joints(rows * 6 % 1.0, 0.05), joints(across % 1.0, 0.035))
    fine = fractal_noise(rng, size, 4, 16)
    return grey((tone + 0.14 * (fine - 0.5)) * (0.6 + 0.4 * inside))


def cloth(rng: np.random.Generator, size: int) -> Picture:
    """Woven or tufted: fine grain."""
    fine = fractal_noise(rng, size, 2, 64)
    return grey(0.8 + 0.12 * (fine - 0.5) + 0.08 * (fractal_noise(rng, size) - 0.5))


def grass(rng: np.random.Generator, size: int) -> Picture:
    """Blades: short bright strokes over a dark base."""
    import cv2

    picture = np.full((size, size, 3), (0.3, 0.32, 0.2), np.float32)
    count, reach = 26 * size, 0.035 * size
    at = rng.uniform(0, size, (count, 2))
    tip = at + rng.normal(0.0, reach, (count, 2))
    colours = coloured(rng.random(count)[:, None], (0.32, 0.35, 0.2), (0.58, 0.57, 0.4))[:, 0]
    for a, b, colour in zip(at.astype(int), tip.astype(int), colours.tolist(), strict=True):
        for shift in {(0, 0), *(_wraps(b, size))}:
            move = np.array(shift)
            cv2.line(picture, (a + move).tolist(), (b + move).tolist(), colour, 1, cv2.LINE_AA)
    return picture * (0.86 + 0.28 * fractal_noise(rng, size))[..., None]


def _wraps(tip: np.ndarray, size: int) -> list[tuple[int, int]]:
    """Shifts that continue a stroke on the other side."""
    x = size if tip[0] < 0 else -size if tip[0] >= size else 0
    y = size if tip[1] < 0 else -size if tip[1] >= size else 0
    return [(x, y)]


def sand(rng: np.random.Generator, size: int) -> Picture:
    """Ripples and grains."""
    warp = fractal_noise(rng, size, 3)
    rows, _ = coordinates(size)
    ripple = np.sin(2 * np.pi * (7 * rows + 1.6 * warp))
    grains = rng.standard_normal((size, size)) * 0.02
    return grey(0.82 + 0.035 * ripple * fractal_noise(rng, size, 2) + grains)


def snow(rng: np.random.Generator, size: int) -> Picture:
    """Soft hollows."""
    return grey(0.92 + 0.06 * (fractal_noise(rng, size, 4) - 0.5))


def gravel(rng: np.random.Generator, size: int) -> Picture:
    """Small stones."""
    stones = fractal_noise(rng, size, 2, 48)
    return grey(0.62 + 0.3 * stones) * np.array([1.0, 0.97, 0.92])
