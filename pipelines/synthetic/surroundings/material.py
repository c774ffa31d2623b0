"""Materials of the surroundings: repeating textures drawn once per process.

Textures are sRGB uint8. Most are pale and neutral: the colour of a thing is its tint, so that one
texture serves every world. Patterns repeat at their borders.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float, UInt8

Picture = Float[np.ndarray, "rows columns channels"]
Painter = Callable[[np.random.Generator, int], Picture]


@dataclass(frozen=True, kw_only=True)
class Material:
    """How a kind of surface looks."""

    name: str
    paint: Painter
    span_m: float
    """World length that one repetition of the texture covers, metres."""
    gloss: float = 0.0
    variation: float = 0.0
    emission: float = 0.0

    def texture(self, size_px: int) -> UInt8[np.ndarray, "rows columns channels"]:
        """The picture, made at the first call."""
        return _texture(self.name, size_px)


@cache
def _texture(name: str, size_px: int) -> np.ndarray:
    rng = np.random.default_rng([ord(letter) for letter in name])
    return np.clip(MATERIALS[name].paint(rng, size_px) * 255.0 + 0.5, 0, 255).astype(np.uint8)


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


def _grey(level: np.ndarray) -> Picture:
    return np.repeat(level[..., None], 3, axis=2)


def _coordinates(size: int) -> tuple[np.ndarray, np.ndarray]:
    rows, columns = np.mgrid[0:size, 0:size]
    return (rows + 0.5) / size, (columns + 0.5) / size


def _coloured(level: np.ndarray, dark: tuple[float, ...], light: tuple[float, ...]) -> Picture:
    return np.asarray(dark) + (np.asarray(light) - np.asarray(dark)) * level[..., None]


def _joints(fraction: np.ndarray, width: float) -> np.ndarray:
    """1 inside a cell, falling to 0 at its borders over `width` of the cell."""
    edge = np.minimum(fraction, 1.0 - fraction)
    return np.clip(edge / width, 0.0, 1.0)


def plain(rng: np.random.Generator, size: int) -> Picture:
    """Paint, plaster, lacquer: hardly any pattern."""
    return _grey(
        0.9 + 0.05 * (fractal_noise(rng, size) - 0.5) + 0.03 * rng.standard_normal((size, size))
    )


def mottled(rng: np.random.Generator, size: int) -> Picture:
    """Concrete, stone, old render."""
    noise, fine = fractal_noise(rng, size), fractal_noise(rng, size, 3, 32)
    return _grey(0.76 + 0.16 * (noise - 0.5) + 0.1 * (fine - 0.5))


def asphalt(rng: np.random.Generator, size: int) -> Picture:
    """Fine grains with faint stains."""
    grain = rng.standard_normal((size, size)) * 0.055
    return _grey(0.72 + 0.12 * (fractal_noise(rng, size) - 0.5) + grain)


def bricks(rng: np.random.Generator, size: int) -> Picture:
    """Twelve courses of bricks with pale mortar."""
    rows, columns = _coordinates(size)
    course = (rows * 12).astype(int)
    across = columns * 4 + 0.5 * (course % 2)
    tone = rng.uniform(0.0, 1.0, (12, 5))[course, across.astype(int) % 4]
    inside = np.minimum(_joints(rows * 12 % 1.0, 0.12), _joints(across % 1.0, 0.045))
    noise = fractal_noise(rng, size, 4, 16)
    brick = _coloured(0.6 * tone + 0.4 * noise, (0.62, 0.52, 0.48), (0.9, 0.82, 0.78))
    mortar = np.full(3, 0.82)
    return mortar + (brick - mortar) * np.clip(inside * 1.6, 0, 1)[..., None]


def planks(rng: np.random.Generator, size: int) -> Picture:
    """Ten boards with grain along the columns."""
    rows, columns = _coordinates(size)
    board = (columns * 10).astype(int)
    shift = rng.random(10)[board]
    piece = ((rows + shift) * 2).astype(int) % 2
    tone = rng.uniform(0.0, 1.0, (10, 2))[board, piece]
    grain = stretched_noise(rng, size, 4, 60, 3)
    level = 0.45 * tone + 0.55 * grain
    gap = np.minimum(_joints(columns * 10 % 1.0, 0.035), _joints((rows + shift) * 2 % 1.0, 0.006))
    return _coloured(level, (0.66, 0.6, 0.54), (0.92, 0.88, 0.82)) * (0.6 + 0.4 * gap)[..., None]


def grain(rng: np.random.Generator, size: int) -> Picture:
    """Wood without joints."""
    level = stretched_noise(rng, size, 2, 24, 5)
    return _coloured(level, (0.72, 0.66, 0.6), (0.92, 0.88, 0.84))


def bark(rng: np.random.Generator, size: int) -> Picture:
    """Furrows along the rows."""
    return _coloured(stretched_noise(rng, size, 4, 20, 4), (0.4, 0.36, 0.32), (0.9, 0.86, 0.8))


def tiles(rng: np.random.Generator, size: int) -> Picture:
    """Four by four square tiles."""
    rows, columns = _coordinates(size)
    r, c = (rows * 4).astype(int), (columns * 4).astype(int)
    tone = rng.uniform(0.84, 0.94, (4, 4))[r, c]
    inside = np.minimum(_joints(rows * 4 % 1.0, 0.02), _joints(columns * 4 % 1.0, 0.02))
    return _grey((tone + 0.06 * (fractal_noise(rng, size) - 0.5)) * (0.72 + 0.28 * inside))


def pavers(rng: np.random.Generator, size: int) -> Picture:
    """Paving slabs in rows, every second row shifted."""
    rows, columns = _coordinates(size)
    row = (rows * 6).astype(int)
    across = columns * 4 + 0.5 * (row % 2)
    tone = rng.uniform(0.66, 0.84, (6, 4))[row, across.astype(int) % 4]
    inside = np.minimum(_joints(rows * 6 % 1.0, 0.05), _joints(across % 1.0, 0.035))
    fine = fractal_noise(rng, size, 4, 16)
    return _grey((tone + 0.14 * (fine - 0.5)) * (0.6 + 0.4 * inside))


def cloth(rng: np.random.Generator, size: int) -> Picture:
    """Woven or tufted: fine grain."""
    fine = fractal_noise(rng, size, 2, 64)
    return _grey(0.8 + 0.12 * (fine - 0.5) + 0.08 * (fractal_noise(rng, size) - 0.5))


def stripes(rng: np.random.Generator, size: int) -> Picture:
    """Wallpaper with pale stripes."""
    _, columns = _coordinates(size)
    level = 0.5 + 0.5 * np.tanh(6 * np.sin(2 * np.pi * columns * 4))
    return _grey(0.82 + 0.08 * level + 0.02 * rng.standard_normal((size, size)))


def motifs(rng: np.random.Generator, size: int) -> Picture:
    """Wallpaper with small flowers in a quincunx."""
    rows, columns = _coordinates(size)
    level = np.zeros((size, size))
    for shift in (0.0, 0.5):
        x, y = (columns * 3 + shift) % 1.0 - 0.5, (rows * 3 + shift) % 1.0 - 0.5
        radius, angle = np.hypot(x, y), np.arctan2(y, x)
        level += np.clip((0.13 + 0.06 * np.cos(5 * angle) - radius) * 20, 0, 1)
    return _grey(0.9 - 0.1 * level + 0.01 * rng.standard_normal((size, size)))


def grass(rng: np.random.Generator, size: int) -> Picture:
    """Blades: short bright strokes over a dark base."""
    import cv2

    picture = np.full((size, size, 3), (0.3, 0.33, 0.17), np.float32)
    count, reach = 26 * size, 0.035 * size
    at = rng.uniform(0, size, (count, 2))
    tip = at + rng.normal(0.0, reach, (count, 2))
    colours = _coloured(rng.random(count)[:, None], (0.32, 0.37, 0.18), (0.58, 0.59, 0.36))[:, 0]
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
    rows, _ = _coordinates(size)
    ripple = np.sin(2 * np.pi * (7 * rows + 1.6 * warp))
    grains = rng.standard_normal((size, size)) * 0.02
    return _grey(0.82 + 0.035 * ripple * fractal_noise(rng, size, 2) + grains)


def snow(rng: np.random.Generator, size: int) -> Picture:
    """Soft hollows."""
    return _grey(0.92 + 0.06 * (fractal_noise(rng, size, 4) - 0.5))


def gravel(rng: np.random.Generator, size: int) -> Picture:
    """Small stones."""
    stones = fractal_noise(rng, size, 2, 48)
    return _grey(0.62 + 0.3 * stones) * np.array([1.0, 0.97, 0.92])


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
    """A spray of twigs with needles, cut out."""
    import cv2

    picture = np.zeros((size, size, 4), np.float32)
    picture[..., :3] = 0.5
    for level in np.linspace(0.0, 1.0, 420):
        r, a = 0.46 * size * np.sqrt(rng.random()), rng.uniform(0, 2 * np.pi)
        start = np.array([size / 2 + r * np.cos(a), size / 2 + r * np.sin(a)])
        turn = a + rng.normal(0.0, 0.6)
        end = start + 0.09 * size * np.array([np.cos(turn), np.sin(turn)])
        shade = 0.4 + 0.5 * level + float(rng.normal(0, 0.05))
        colour = (shade, shade, shade, 1.0)
        cv2.line(
            picture,
            start.astype(int).tolist(),
            end.astype(int).tolist(),
            colour,
            max(1, size // 85),
        )
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
    rows, columns = _coordinates(size)
    glass = 0.32 + 0.2 * rng.random((4, 8))[(rows * 4).astype(int), (columns * 8).astype(int)]
    picture = (
        glass[..., None] * np.array([0.85, 0.95, 1.05]) + 0.12 * (1 - (rows * 4 % 1.0))[..., None]
    )
    picture[_joints(columns * 8 % 1.0, 0.04) < 1] = 0.66
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
        inner[r:, c : c + max(2, shape[1] // 8)] = rng.uniform(0.15, 0.55, 3)


def door(rng: np.random.Generator, size: int) -> Picture:
    """A door leaf with two panels and a handle."""
    picture = plain(rng, size)
    rows, columns = _coordinates(size)
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
            colour = rng.uniform(0.15, 0.75) * (1 + rng.uniform(-0.3, 0.3, 3))
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
        rows, _ = _coordinates(size)
        bend = fractal_noise(rng, size, 4, 3)
        level = np.clip(rows + 0.6 * (bend - 0.5), 0, 1)
        hues = rng.uniform(0.2, 0.9, (4, 3)) * 0.5 + rng.uniform(0.15, 0.45, (4, 1))
        picture = hues[np.clip((level * 4).astype(int), 0, 3)]
        strips.append(picture[:, : size // 4] * (0.85 + 0.3 * bend[:, : size // 4])[..., None])
    return np.concatenate(strips, axis=1)


def rug(rng: np.random.Generator, size: int) -> Picture:
    """A border, a field and a lozenge."""
    rows, columns = _coordinates(size)
    edge = np.minimum.reduce([rows, 1 - rows, columns, 1 - columns])
    lozenge = abs(rows - 0.5) + abs(columns - 0.5)
    level = np.where(edge < 0.06, 0.62, np.where(edge < 0.09, 0.92, 0.76))
    level = np.where((edge > 0.09) & (lozenge < 0.3), 0.66, level)
    level = np.where((edge > 0.09) & (abs(lozenge - 0.22) < 0.03), 0.9, level)
    return _grey(level + 0.1 * (fractal_noise(rng, size, 2, 64) - 0.5))


def court(rng: np.random.Generator, size: int) -> Picture:
    """A sprung floor of narrow lacquered boards."""
    rows, columns = _coordinates(size)
    board = (columns * 24).astype(int)
    piece = ((rows + rng.random(24)[board]) * 2).astype(int) % 2
    tone = rng.random((24, 2))[board, piece]
    level = 0.6 * tone + 0.4 * stretched_noise(rng, size, 4, 60, 2)
    return _coloured(level, (0.78, 0.74, 0.68), (0.9, 0.87, 0.82))


def treeline(rng: np.random.Generator, size: int) -> Picture:
    """A far row of trees; the fourth channel cuts their outline."""
    _, columns = _coordinates(size)
    noise = fractal_noise(rng, size, 5, 5)
    outline = 0.25 + 0.35 * noise[0] + 0.12 * fractal_noise(rng, size, 4, 24)[1]
    height = 1.0 - (np.arange(size)[:, None] + 0.5) / size
    texture = fractal_noise(rng, size, 4, 16)
    level = 0.5 + 0.3 * (texture - 0.5) + 0.35 * np.clip(height / outline[None], 0, 1)
    alpha = np.clip((outline[None] - height) * size / 2 + 0.5 + 0.8 * (texture - 0.5), 0, 1)
    del columns
    return np.dstack([_grey(level), alpha])


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
    rows, columns = _coordinates(size)
    windows = (rows * 40 % 1.0 > 0.5) & (columns * 80 % 1.0 > 0.5)
    level = np.broadcast_to(tone[None], (size, size)) * np.where(windows, 0.78, 1.0)
    alpha = np.clip((outline[None] - height) * size / 2 + 0.5, 0, 1)
    return np.dstack([_grey(level), alpha])


_ALL = (
    Material(name="plaster", paint=plain, span_m=2.0),
    Material(name="lacquer", paint=plain, span_m=2.0, gloss=0.25),
    Material(name="lamp", paint=plain, span_m=1.0, emission=3.0),
    Material(name="mottled", paint=mottled, span_m=3.0, variation=0.08),
    Material(name="asphalt", paint=asphalt, span_m=2.2, variation=0.3),
    Material(name="bricks", paint=bricks, span_m=0.95),
    Material(name="planks", paint=planks, span_m=1.5, gloss=0.12),
    Material(name="court", paint=court, span_m=1.6, gloss=0.3),
    Material(name="grain", paint=grain, span_m=1.0, gloss=0.08),
    Material(name="bark", paint=bark, span_m=0.8),
    Material(name="tiles", paint=tiles, span_m=1.8, gloss=0.2),
    Material(name="pavers", paint=pavers, span_m=2.0, variation=0.15),
    Material(name="cloth", paint=cloth, span_m=0.7),
    Material(name="stripes", paint=stripes, span_m=0.8),
    Material(name="motifs", paint=motifs, span_m=0.9),
    Material(name="grass", paint=grass, span_m=1.6, variation=0.35),
    Material(name="sand", paint=sand, span_m=2.5, variation=0.3),
    Material(name="snow", paint=snow, span_m=5.0, variation=0.2),
    Material(name="gravel", paint=gravel, span_m=1.2, variation=0.3),
    Material(name="leaves", paint=leaves, span_m=1.0),
    Material(name="needles", paint=needles, span_m=1.0),
    Material(name="facade", paint=facade, span_m=6.2),
    Material(name="office", paint=office, span_m=12.0, gloss=0.1),
    Material(name="shops", paint=shops, span_m=7.0),
    Material(name="door", paint=door, span_m=1.0),
    Material(name="books", paint=books, span_m=1.0),
    Material(name="painting", paint=painting, span_m=1.0),
    Material(name="rug", paint=rug, span_m=1.0),
    Material(name="treeline", paint=treeline, span_m=30.0),
    Material(name="skyline", paint=skyline, span_m=60.0),
)
MATERIALS = {material.name: material for material in _ALL}
