"""Textures that are pictures of things: leaves, house fronts, doors, books, skylines."""

import numpy as np

from pipelines.synthetic.surroundings.matter import plain
from pipelines.synthetic.surroundings.noise import Picture, coordinates, fractal_noise, grey, joints


def stripes(rng: np.random.Generator, size: int) -> Picture:
    """Wallpaper with pale stripes."""
    _, columns = coordinates(size)
    level = 0.5 + 0.5 * np.tanh(6 * np.sin(2 * np.pi * columns * 4))
    return grey(0.82 + 0.08 * level + 0.02 * rng.standard_normal((size, size)))


def motifs(rng: np.random.Generator, size: int) -> Picture:
    """Wallpaper with small flowers in a quincunx."""
    rows, columns = coordinates(size)
    level = np.zeros((size, size))
    for shift in (0.0, 0.5):
        x, y = (columns * 3 + shift) % 1.0 - 0.5, (rows * 3 + shift) % 1.0 - 0.5
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        level += np.clip((0.13 + 0.06 * np.cos(5 * angle) - radius) * 20, 0, 1)
    return grey(0.9 - 0.1 * level + 0.01 * rng.standard_normal((size, size)))


def leaves(rng: np.random.Generator, size: int) -> Picture:
    """A cluster of leaves; the fourth channel cuts them out."""
    import cv2

    picture = np.zeros((size, size, 4), np.float32)
    picture[..., :3] = 0.4
    count = 150
    radius = 0.4 * size * np.sqrt(rng.random(count))
    angle = rng.uniform(0, 2 * np.pi, count)
    order = np.linspace(0.0, 1.0, count)
    for r, a, level in zip(radius, angle, order, strict=True):
        centre = (int(size / 2 + r * np.cos(a)), int(size / 2 + r * np.sin(a)))
        shade = 0.42 + 0.45 * level + float(rng.normal(0, 0.05))
        axes = (int(size * rng.uniform(0.05, 0.075)), int(size * rng.uniform(0.022, 0.035)))
        turn = float(np.degrees(a) + rng.normal(0, 50))
        cv2.ellipse(picture, centre, axes, turn, 0, 360, (shade, shade, 0.9 * shade, 1.0), -1)
    return picture


def needles(rng: np.random.Generator, size: int) -> Picture:
    """A bough of a fir, cut out: root below, tip above, twigs full of needles on both sides."""
    import cv2

    picture = np.zeros((size, size, 4), np.float32)
    picture[..., :3] = 0.45
    thin = max(1, size // 110)
    for along in np.linspace(0.02, 0.97, 30):
        start = np.array([0.5, 1.0 - along])
        for sign in (-1.0, 1.0):
            long = 0.5 * (1.0 - 0.75 * along**1.5) * rng.uniform(0.8, 1.05)
            long *= min(1.0, 3.0 * along + 0.5)
            twig = long * np.array([sign * 0.9, -0.55 + rng.normal(0, 0.08)])
            for share in np.linspace(0.0, 1.0, 26):
                at = (start + share * twig) * size
                turn = np.arctan2(twig[1], twig[0]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.0)
                end = at + 0.045 * size * np.array([np.cos(turn), np.sin(turn)])
                level = 0.45 + 0.45 * share + float(rng.normal(0, 0.07))
                colour = (level, level, level, 1.0)
                a, b = at.astype(int).tolist(), end.astype(int).tolist()
                cv2.line(picture, a, b, colour, thin)
    return picture


def blades(rng: np.random.Generator, size: int) -> Picture:
    """Blades of high grass, cut out."""
    import cv2

    picture = np.zeros((size, size, 4), np.float32)
    picture[..., :3] = 0.6
    for level in np.linspace(0.45, 0.95, 26):
        foot = np.array([rng.uniform(0.25, 0.75), 1.0])
        tip = foot + np.array([rng.normal(0.0, 0.2), -rng.uniform(0.5, 0.98)])
        side = np.array([0.018, 0.0])
        bend = 0.5 * (foot + tip) + [0.3 * (foot - tip)[0], 0.0]
        corners = np.stack([foot - side, bend - side, tip, bend + side, foot + side]) * size
        cv2.fillPoly(picture, [corners.astype(np.int32)], (level, level, 0.95 * level, 1.0))
    return picture


def facade(rng: np.random.Generator, size: int) -> Picture:
    """Two by two bays of a wall with windows; colour is the tint's, glass stays dark."""
    picture = plain(rng, size) * 0.95
    for row in range(2):
        for column in range(2):
            _window(picture, rng, (row + 0.22) / 2, (column + 0.3) / 2, 0.29, 0.2)
    return picture


def _window(
    picture: Picture, rng: np.random.Generator, top: float, left: float, high: float, wide: float
) -> None:
    """Paint a window into a picture: reveal, frame, panes that mirror the sky, a sill."""
    size = len(picture)
    t, b, c0, c1 = (int(v * size) for v in (top, top + high, left, left + wide))
    edge = max(1, size // 90)
    picture[t - edge : b + edge, c0 - edge : c1 + edge] = 0.98
    glass = np.linspace(0.62, 0.24, b - t)[:, None] * (1 + 0.15 * rng.standard_normal())
    picture[t:b, c0:c1] = (glass[..., None] * np.array([0.86, 0.95, 1.0])).clip(0.1, 0.75)
    drawn = int((b - t) * rng.uniform(0.0, 0.5))
    picture[t : t + drawn, c0:c1] = 0.72 if rng.random() < 0.5 else picture[t : t + drawn, c0:c1]
    picture[t : t + 2 * edge, c0:c1] *= 0.45
    middle = (c0 + c1) // 2
    picture[t:b, middle : middle + edge] = 0.92
    picture[t + (b - t) // 3 : t + (b - t) // 3 + edge, c0:c1] = 0.92
    picture[b + edge : b + 3 * edge, c0 - 2 * edge : c1 + 2 * edge] = 1.0
    picture[b + 3 * edge : b + 6 * edge, c0 - edge : c1 + edge] *= 0.72


def office(rng: np.random.Generator, size: int) -> Picture:
    """Bands of glass between pale slabs."""
    rows, columns = coordinates(size)
    glass = 0.32 + 0.2 * rng.random((4, 8))[(rows * 4).astype(int), (columns * 8).astype(int)]
    picture = (
        glass[..., None] * np.array([0.85, 0.95, 1.05]) + 0.12 * (1 - (rows * 4 % 1.0))[..., None]
    )
    picture[joints(columns * 8 % 1.0, 0.04) < 1] = 0.66
    picture[rows * 4 % 1.0 > 0.72] = 0.86
    return picture


def shops(rng: np.random.Generator, size: int) -> Picture:
    """A ground floor of two shop windows and two doors under an awning board."""
    picture = plain(rng, size) * 0.8
    for k in range(2):
        left = k / 2
        _pane(picture, 0.3, left + 0.03, 0.55, 0.26, rng)
        _pane(picture, 0.3, left + 0.34, 0.68, 0.12, rng)
        board = picture[
            int(0.12 * size) : int(0.25 * size),
            int((left + 0.02) * size) : int((left + 0.48) * size),
        ]
        board[:] = rng.uniform(0.25, 0.75, 3) * 0.5 + 0.2
    return picture


def _pane(
    picture: Picture, top: float, left: float, high: float, wide: float, rng: np.random.Generator
) -> None:
    size = len(picture)
    t, b, c0, c1 = (int(v * size) for v in (top, min(top + high, 1.0), left, left + wide))
    picture[t:b, c0:c1] = 0.85
    edge = max(1, size // 100)
    inner = picture[t + edge : b - edge, c0 + edge : c1 - edge]
    shape = inner.shape[:2]
    inner[:] = np.linspace(0.45, 0.16, shape[0])[:, None, None] * np.array([0.95, 1.0, 1.02])
    for _ in range(5):  # things on display
        r, c = int(shape[0] * rng.uniform(0.35, 0.8)), int(shape[1] * rng.uniform(0, 0.8))
        goods = rng.uniform(0.15, 0.4) + rng.uniform(-0.05, 0.05, 3)
        inner[r:, c : c + max(2, shape[1] // 8)] = goods


def door(rng: np.random.Generator, size: int) -> Picture:
    """A door leaf with two panels and a handle."""
    picture = plain(rng, size)
    rows, columns = coordinates(size)
    for top, bottom in ((0.07, 0.45), (0.53, 0.93)):
        inside = np.minimum.reduce([rows - top, bottom - rows, columns - 0.15, 0.85 - columns])
        picture[(inside > 0) & (inside < 0.02)] *= 0.72
        picture[inside >= 0.02] *= 0.95
    picture[(abs(rows - 0.52) < 0.012) & (abs(columns - 0.9) < 0.05)] = 0.35
    return picture


def books(rng: np.random.Generator, size: int) -> Picture:
    """Three shelves of book backs."""
    picture = np.full((size, size, 3), 0.16)
    for shelf in range(3):
        top, bottom, column = shelf * size // 3, (shelf + 1) * size // 3, 0
        while column < size:
            wide, high = int(size * rng.uniform(0.02, 0.06)) + 1, rng.uniform(0.6, 0.88)
            warmth = rng.uniform(-0.25, 0.3)  # bindings are brown to blue grey, never purple
            colour = rng.uniform(0.15, 0.7) * np.array([1 + warmth, 1.0, 1 - 0.8 * warmth])
            if rng.random() < 0.88:
                start = bottom - int((bottom - top) * high)
                picture[start:bottom, column : column + wide - 1] = colour
                picture[start + size // 40 : start + size // 28, column : column + wide - 1] *= 1.3
            column += wide
        picture[bottom - size // 40 : bottom] = 0.8
    return picture


def painting(rng: np.random.Generator, size: int) -> Picture:
    """Four abstract landscapes side by side, one per quarter of the width."""
    strips = []
    for _ in range(4):
        rows, _ = coordinates(size)
        bend = fractal_noise(rng, size, 4, 3)
        level = np.clip(rows + 0.6 * (bend - 0.5), 0, 1)
        hues = rng.uniform(0.2, 0.9, (4, 3)) * 0.5 + rng.uniform(0.15, 0.45, (4, 1))
        picture = hues[np.clip((level * 4).astype(int), 0, 3)]
        strips.append(picture[:, : size // 4] * (0.85 + 0.3 * bend[:, : size // 4])[..., None])
    return np.concatenate(strips, axis=1)


def rug(rng: np.random.Generator, size: int) -> Picture:
    """Four rugs, one per quarter of the width: lozenge, stripes, medallion, plain with a border."""
    rows, columns = np.broadcast_arrays(coordinates(size)[0], (coordinates(size)[1] * 4.0) % 1.0)
    which = (coordinates(size)[1] * 4.0).astype(int)
    edge = np.minimum.reduce([rows, 1 - rows, columns, 1 - columns])
    diamond, radius = abs(rows - 0.5) + abs(columns - 0.5), np.hypot(rows - 0.5, columns - 0.5)
    around = np.arctan2(rows - 0.5, columns - 0.5)
    lozenge = np.where(diamond < 0.3, 0.66, 0.76) + 0.16 * (abs(diamond - 0.22) < 0.03)
    stripes = 0.72 + 0.16 * (np.sin(2 * np.pi * 9 * rows) > 0.3) - 0.2 * (rows * 6 % 1.0 < 0.1)
    petals = 0.22 + 0.05 * np.cos(8 * around)
    medal = 0.7 + 0.18 * (abs(radius - petals) < 0.025) - 0.12 * (radius < 0.1)
    medal = medal + 0.1 * (abs(np.sin(14 * rows) * np.sin(14 * columns)) > 0.8)
    level = np.choose(which, [lozenge, stripes, medal, np.full_like(rows, 0.8)])
    border = np.where(edge < 0.06, 0.6, 0.9)
    level = np.where((edge < 0.09) & (which != 1), border, level)
    return grey(level + 0.12 * (fractal_noise(rng, size, 2, 64) - 0.5))


def treeline(rng: np.random.Generator, size: int) -> Picture:
    """A far row of trees; the fourth channel cuts their outline."""
    _, columns = coordinates(size)
    noise = fractal_noise(rng, size, 5, 5)
    outline = 0.25 + 0.35 * noise[0] + 0.12 * fractal_noise(rng, size, 4, 24)[1]
    height = 1.0 - (np.arange(size)[:, None] + 0.5) / size
    texture = fractal_noise(rng, size, 4, 16)
    level = 0.5 + 0.3 * (texture - 0.5) + 0.35 * np.clip(height / outline[None], 0, 1)
    alpha = np.clip((outline[None] - height) * size / 2 + 0.5 + 0.8 * (texture - 0.5), 0, 1)
    del columns
    return np.dstack([grey(level), alpha])


def skyline(rng: np.random.Generator, size: int) -> Picture:
    """A far row of houses with rows of windows, cut out."""
    height = 1.0 - (np.arange(size)[:, None] + 0.5) / size
    outline, tone = np.zeros(size), np.zeros(size)
    column = 0
    while column < size:
        wide = int(size * rng.uniform(0.03, 0.1)) + 1
        outline[column : column + wide] = rng.uniform(0.2, 0.55) + 0.35 * (rng.random() < 0.15)
        tone[column : column + wide] = rng.uniform(0.62, 0.88)
        column += wide
    rows, columns = coordinates(size)
    windows = (rows * 40 % 1.0 > 0.5) & (columns * 80 % 1.0 > 0.5)
    level = np.broadcast_to(tone[None], (size, size)) * np.where(windows, 0.78, 1.0)
    alpha = np.clip((outline[None] - height) * size / 2 + 0.5, 0, 1)
    return np.dstack([grey(level), alpha])
