"""Parked cars, seen from some metres away."""

import numpy as np

from pipelines.synthetic.surroundings.palette import pick
from pipelines.synthetic.surroundings.shape import Number, Shape, Shapes, box, grid, lathe, panel

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
    """A parked car, nose towards +z: body, glass, wheels, lights; seen from some metres away."""
    paint, long, high = (
        pick(rng, CAR_PAINT),
        float(rng.uniform(3.9, 4.7)),
        float(rng.uniform(1.42, 1.6)),
    )
    z = np.array([-0.5, -0.495, -0.46, -0.3, 0.0, 0.25, 0.42, 0.48, 0.5]) * long
    deck = np.array([0.55, 0.85, 0.92, 0.95, 0.95, 0.9, 0.78, 0.68, 0.5])
    half = np.array([0.7, 0.82, 0.87, 0.9, 0.9, 0.9, 0.86, 0.8, 0.7])
    body = _hull("lacquer", z, half, np.full(9, 0.26), deck, paint)
    cabin_z = np.array([-0.47, -0.36, -0.2, 0.04, 0.24]) * long
    roof = np.array([0.93, high - 0.06, high, high - 0.02, 0.92])
    glass = _hull(
        "lacquer",
        cabin_z,
        np.array([0.72, 0.7, 0.69, 0.69, 0.76]),
        np.full(5, 0.88),
        roof,
        np.array([0.025, 0.03, 0.035]),
        0.82,
    )
    lid = _hull(
        "lacquer",
        cabin_z[1:4] * 0.98,
        np.full(3, 0.575),
        roof[1:4] - 0.05,
        roof[1:4] + 0.012,
        paint,
        0.97,
    )
    wheels = [
        s for side in (-1, 1) for end in (-0.3, 0.31) for s in _wheel(side * 0.84, 0.32, end * long)
    ]
    lights = [
        s
        for x in (-0.62, 0.62)
        for s in (
            *box("lacquer", (x, 0.66, long / 2 - 0.03), (0.3, 0.1, 0.06), (0.9, 0.9, 0.85)),
            *box("lacquer", (x, 0.76, -long / 2 + 0.02), (0.24, 0.14, 0.05), (0.4, 0.02, 0.02)),
        )
    ]
    shade = panel(
        "plaster",
        (-0.95, 0.012, long / 2 + 0.05),
        (1.9, 0, 0),
        (0, 0, -long - 0.1),
        (0.025, 0.025, 0.025),
    )
    return (body, glass, lid, *wheels, *lights, shade)


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
