"""Parked cars, seen from some metres away."""

import numpy as np

from pipelines.synthetic.surroundings.palette import pick
from pipelines.synthetic.surroundings.shape import (
    Number,
    Shape,
    Shapes,
    box,
    grid,
    lathe,
    panel,
    tube,
)

CAR_PAINT = np.array(
    [
        [0.75, 0.75, 0.75],
        [0.03, 0.03, 0.035],
        [0.25, 0.26, 0.28],
        [0.9, 0.9, 0.9],
        [0.3, 0.04, 0.04],
        [0.05, 0.1, 0.22],
        [0.12, 0.16, 0.13],
        [0.4, 0.36, 0.3],
    ]
)


def make_car(rng: np.random.Generator) -> Shapes:
    """A parked car, nose towards +z: body, windows between pillars, doors, wheels, lights."""
    paint, long, high = (
        pick(rng, CAR_PAINT),
        float(rng.uniform(3.9, 4.7)),
        float(rng.uniform(1.42, 1.6)),
    )
    z = np.array([-0.5, -0.495, -0.46, -0.3, 0.0, 0.25, 0.42, 0.48, 0.5]) * long
    deck = np.array([0.55, 0.85, 0.92, 0.95, 0.95, 0.9, 0.78, 0.68, 0.5])
    half = np.array([0.7, 0.82, 0.87, 0.9, 0.9, 0.9, 0.86, 0.8, 0.7])
    body = _hull("lacquer", z, half, np.full(9, 0.26), deck, paint)
    shade = panel(
        "plaster",
        (-0.95, 0.012, long / 2 + 0.05),
        (1.9, 0, 0),
        (0, 0, -long - 0.1),
        (0.025, 0.025, 0.025),
    )
    wheels = [
        s for side in (-1, 1) for end in (-0.3, 0.31) for s in _wheel(side * 0.84, 0.32, end * long)
    ]
    cabin_z = np.array([-0.47, -0.36, -0.2, 0.04, 0.24]) * long
    roof = np.array([0.93, high - 0.06, high, high - 0.02, 0.92])
    cabin = _cabin(cabin_z, roof, paint)
    return (body, *cabin, *wheels, *_trim(long, paint), shade)


def _cabin(z: np.ndarray, roof: np.ndarray, paint: np.ndarray) -> Shapes:
    """Glass all around, painted pillars and roof over it."""
    half, base = np.array([0.72, 0.7, 0.69, 0.69, 0.76]), np.full(5, 0.88)
    glass = np.array([0.03, 0.036, 0.042])
    parts = [_hull("lacquer", z, half, base, roof, glass, 0.82)]
    lid = np.full(3, 0.575)
    parts.append(
        _hull("lacquer", z[1:4] * 0.98, lid, roof[1:4] - 0.05, roof[1:4] + 0.012, paint, 0.97)
    )
    for at, lean in ((z[1] + 0.05, 0.0), (0.45 * z[1] + 0.55 * z[3], 0.0), (z[3], 1.0)):
        for side in (-1.0, 1.0):
            top = float(np.interp(at, z, roof))
            low = np.array([side * 0.735, 0.88, at + lean * (z[4] - z[3])])
            bend = np.array([side * 0.705, 0.88 + 0.75 * (top - 0.88), at + 0.3 * lean * z[3]])
            up = np.array([side * 0.575, top + 0.005, at])
            parts.append(tube("lacquer", np.stack([low, bend, up]), 0.035, paint, 5))
    return tuple(parts)


def _trim(long: Number, paint: np.ndarray) -> Shapes:
    """Lights, plates, seams and handles of the doors, mirrors, sills."""
    dark = np.full(3, 0.02)
    parts: list[Shape] = []
    for side in (-1.0, 1.0):
        x = 0.62 * side
        parts += box("lacquer", (x, 0.66, long / 2 - 0.03), (0.3, 0.1, 0.06), (0.9, 0.9, 0.85))
        parts += box("lacquer", (x, 0.76, -long / 2 + 0.02), (0.24, 0.14, 0.05), (0.4, 0.02, 0.02))
        parts += box("lacquer", (side * 0.96, 0.98, 0.19 * long), (0.14, 0.1, 0.1), paint)
        parts += box("plaster", (side * 0.9, 0.3, 0.0), (0.02, 0.1, 0.4 * long), dark)
        for seam in (-0.2, 0.0, 0.17):
            parts += box("plaster", (side * 0.898, 0.61, seam * long), (0.012, 0.5, 0.012), dark)
        for handle in (-0.16, 0.04):
            parts += box("lacquer", (side * 0.905, 0.8, handle * long), (0.03, 0.025, 0.14), dark)
    for end in (-1.0, 1.0):
        plate = (0, 0.48 if end < 0 else 0.4, end * (long / 2 + 0.01))
        parts += box("plaster", plate, (0.5, 0.11, 0.02), np.full(3, 0.85))
        parts += box("plaster", (0, 0.3, end * (long / 2 - 0.01)), (1.3, 0.14, 0.06), dark)
    parts += box("plaster", (0, 0.62, long / 2 - 0.02), (0.7, 0.1, 0.03), dark)
    return tuple(parts)


def _hull(
    material: str,
    z: np.ndarray,
    half: np.ndarray,
    low: np.ndarray,
    high: np.ndarray,
    tint: np.ndarray,
    top: Number = 0.92,
) -> Shape:
    """A tube of rounded rectangles along z with closed ends."""
    x = np.array([-0.96, -1.0, -1.0, -top, 0.0, top, 1.0, 1.0, 0.96])
    y = np.array([0.0, 0.15, 0.75, 1.0, 1.03, 1.0, 0.75, 0.15, 0.0])
    points = np.stack(
        [
            x[None] * half[:, None],
            low[:, None] + y[None] * (high - low)[:, None],
            np.broadcast_to(z[:, None], (len(z), 9)),
        ],
        -1,
    )
    ends = [points[:1] * [0.0, 1.0, 1.0], points[-1:] * [0.0, 1.0, 1.0]]
    points = np.concatenate([ends[0], points, ends[1]])[:, ::-1]  # right to left, towards +z
    return grid(material, points, points[..., [2, 1]], np.asarray(tint))


def _wheel(x: Number, radius: Number, z: Number) -> Shapes:
    disc = lathe(
        "plaster",
        [(0.0, -0.1), (radius, -0.1), (radius, 0.1), (radius * 0.62, 0.102), (0.0, 0.09)],
        tint=(0.03, 0.03, 0.03),
        sides=10,
    )
    flat = disc.vertices[:, [1, 0, 2]] * np.array([np.sign(x), 1.0, 1.0])
    normals = disc.normals[:, [1, 0, 2]] * np.array([np.sign(x), 1.0, 1.0])
    rim = (np.linalg.norm(flat[:, 1:], axis=1) < radius * 0.63) & (abs(flat[:, 0]) < 0.1)
    tint = np.where(rim[:, None], 0.45, 0.03) * np.ones(3)
    faces = disc.faces[:, ::-1] if x > 0 else disc.faces
    return (
        Shape(
            material="plaster",
            vertices=flat + np.array([x, radius, z]),
            normals=normals,
            uv=disc.uv,
            faces=faces,
            tint=tint,
        ),
    )
