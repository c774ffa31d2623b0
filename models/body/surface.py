"""Points spread evenly over a body surface."""

import numpy as np
from jaxtyping import Float, Int


def farthest_points(points: Float[np.ndarray, "points 3"], count: int) -> Int[np.ndarray, "count"]:
    """Indices in farthest-point order: each next point is the farthest from all before it.

    Deterministic: starts at the point farthest from the mean, ties go to the lower index.
    A prefix of the result is the answer for a smaller count.

    Raises:
        ValueError: If there are fewer points than asked for.
    """
    if not 0 < count <= len(points):
        raise ValueError(f"count must lie in 1..{len(points)} (number of points), got {count}")
    points = points.astype(np.float64)
    chosen = np.zeros(count, dtype=np.int64)
    chosen[0] = np.argmax(np.linalg.norm(points - points.mean(0), axis=1))
    distance = np.full(len(points), np.inf)
    for i in range(1, count):
        distance = np.minimum(distance, np.square(points - points[chosen[i - 1]]).sum(1))
        chosen[i] = np.argmax(distance)
    return chosen
