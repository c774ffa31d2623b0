"""Photo studios: a seamless backdrop and soft boxes."""

from dataclasses import replace

import numpy as np

from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.palette import METAL, pick
from pipelines.synthetic.surroundings.room import Interior
from pipelines.synthetic.surroundings.shape import Shape, Shapes, box, lathe, panel, placed


def make_studio(rng: np.random.Generator, clearing: Clearing) -> Interior:
    """A seamless backdrop all around, with soft boxes where they are in nobody's way."""
    radius = clearing.reach_m + float(rng.uniform(1.0, 2.5))
    height = max(float(rng.uniform(3.5, 5.0)), clearing.highest_m + 1.0)
    palette = np.array(
        [
            [0.9, 0.9, 0.9],
            [0.5, 0.5, 0.51],
            [0.2, 0.2, 0.22],
            [0.62, 0.68, 0.74],
            [0.78, 0.68, 0.58],
            [0.6, 0.68, 0.6],
        ]
    )
    tint = pick(rng, palette)
    bend = np.radians(np.linspace(0.0, 90.0, 8))
    sweep = [(radius - 1.0 + np.sin(a), 1.0 - np.cos(a)) for a in bend]
    profile = [
        (0.0, 0.0),
        (1.5, 0.0),
        (3.0, 0.0),
        *[(r, 0.0) for r in np.arange(4.0, radius - 1.0, 1.0)],
        *sweep,
        (radius, height),
    ]
    wall_ = lathe("plaster", profile, (0, 0, 0), tint, 48)
    distance = np.linalg.norm(wall_.vertices[:, [0, 2]], axis=1)
    fall = 1.0 - 0.35 * np.clip(distance / radius, 0, 1) ** 2 - 0.2 * wall_.vertices[:, 1] / height
    uv = wall_.vertices[:, [0, 2]] + wall_.vertices[:, 1:2]
    wall_ = replace(
        wall_, uv=uv, tint=fall[:, None] * tint, faces=wall_.faces[:, ::-1], normals=-wall_.normals
    )
    angle = float(rng.uniform(0, 2 * np.pi))
    things: list[Shape] = []
    for k in range(6):
        a = angle + k * 2.2
        place = np.array([np.sin(a), np.cos(a)]) * (radius - 1.2)
        if len(things) < 9 and clearing.is_free(place, 0.6):
            things += placed(_soft_box(rng), (place[0], 0, place[1]), np.degrees(a) + 180.0)
    top = lathe("plaster", [(radius, height), (0.0, height)], (0, 0, 0), 0.5 * tint, 48)
    return Interior(
        shell=(wall_, top),
        things=tuple(things),
        window_direction=np.array([np.sin(angle), 0.6, np.cos(angle)]) / np.hypot(1.0, 0.6),
        wall_rgb=0.7 * tint,
    )


def _soft_box(rng: np.random.Generator) -> Shapes:
    high = float(rng.uniform(1.7, 2.3))
    stand = lathe("lacquer", [(0.03, 0.0), (0.02, high)], tint=METAL, sides=6)
    legs = tuple(
        s
        for a in (0, 120, 240)
        for s in placed(box("lacquer", (0.0, 0.03, 0.3), (0.03, 0.03, 0.6), METAL), (0, 0, 0), a)
    )
    case = box("cloth", (0, high, 0.1), (0.9, 1.1, 0.2), (0.03, 0.03, 0.03))
    front = panel("lamp", (-0.42, high - 0.52, 0.205), (0.84, 0, 0), (0, 1.04, 0), np.full(3, 0.9))
    return (stand, *legs, *case, front)
