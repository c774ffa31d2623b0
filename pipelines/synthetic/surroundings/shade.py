"""How much of the sun reaches the people past all that stands around them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings.shape import Shape

HEIGHTS_M = (0.4, 1.0, 1.6)


def sunlit_share(shapes: Sequence[Shape], sun: Float[np.ndarray, "3"], radius_m: float) -> float:
    """Share of the sun's light that reaches people within a radius of the origin, in [0, 1]."""
    corners = np.concatenate([shape.vertices[shape.faces] for shape in shapes])
    tall = corners[corners[..., 1].max(1) > HEIGHTS_M[0]]
    angle = np.arange(6) * np.pi / 3
    level = np.stack([np.sin(angle), np.cos(angle)], 1) * 0.6 * radius_m
    places = np.concatenate([np.zeros((1, 2)), level])
    starts = np.array([[x, y, z] for x, z in places for y in HEIGHTS_M])
    return 1.0 - float(np.mean([_is_hit(tall, start, sun) for start in starts]))


def _is_hit(
    corners: Float[np.ndarray, "faces 3 3"],
    start: Float[np.ndarray, "3"],
    direction: Float[np.ndarray, "3"],
) -> bool:
    """Whether a ray meets a triangle (Moeller and Trumbore 1997)."""
    a, b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    p = np.cross(direction, b)
    area = (a * p).sum(1)
    inverse = 1.0 / np.where(abs(area) > 1e-12, area, np.inf)  # 0 where it runs along the face
    s = start - corners[:, 0]
    q = np.cross(s, a)
    u, v, far = (s * p).sum(1) * inverse, (q @ direction) * inverse, (b * q).sum(1) * inverse
    meets = (u >= 0.0) & (v >= 0.0) & (u + v <= 1.0) & (far > 1e-3)
    return bool(meets.any())
