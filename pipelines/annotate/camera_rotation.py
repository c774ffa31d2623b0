"""The rotation between two views of a resting centre, and what it tells of the focal length."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Float64

from pipelines.annotate.backends.feature_tracks import Matches

NUM_FOCALS = 21


def find_focal(
    matches: Sequence[Matches],
    K: Float64[np.ndarray, "3 3"],
    limits: tuple[float, float],
    min_evidence_px: float,
) -> float | None:
    """The focal length at which rotations explain the matches best, as a multiple of that of K.

    A turn moves the edge of an image farther than its centre, the more so the wider the view:
    displacements differ by (x / f)^2.

    Args:
        matches: Of turns long enough to tell something.
        K: Intrinsics in the pixels of the matches.
        limits: Least and largest multiple; a best one at a limit is not believed.
        min_evidence_px: By how much the error must grow towards both limits.

    Returns:
        None where the error is as good as flat.
    """
    if not matches:
        return None
    factors = np.geomspace(*limits, NUM_FOCALS)

    def error_at(factor: float) -> float:
        zoomed = K @ np.diag([factor, factor, 1.0])
        fits = [fit_rotation(found, zoomed, np.eye(3))[1] for found in matches]
        return float(np.mean([np.median(error) for error in fits]))

    errors = np.array([error_at(factor) for factor in factors])
    best = int(errors.argmin())
    rise = min(errors[0], errors[-1]) - errors[best]
    if best in (0, NUM_FOCALS - 1) or rise < min_evidence_px:
        return None
    # vertex of the parabola through the best and its neighbours, in log focal length
    left, middle, right = errors[best - 1 : best + 2]
    shift = 0.5 * (left - right) / max(left - 2 * middle + right, 1e-9)
    return float(factors[best] * (factors[1] / factors[0]) ** np.clip(shift, -1, 1))


def fit_rotation(
    found: Matches, K: Float64[np.ndarray, "3 3"], R_guess: Float64[np.ndarray, "3 3"]
) -> tuple[Float64[np.ndarray, "3 3"], Float64[np.ndarray, "points"]]:
    """Rotation that carries the view rays of the start to those of the end, robustly.

    Args:
        found: Matches in pixels of K.
        K: Intrinsics.
        R_guess: Rotation of the frame before; decides between the background and a passing car.

    Returns:
        R_end_start, and the error of every match in pixels.
    """
    start, end = (_rays(p, K) for p in (found.start_px, found.end_px))

    def error_of(R: Float64[np.ndarray, "3 3"]) -> Float64[np.ndarray, "points"]:
        seen = start @ R.T @ K.T
        return np.linalg.norm(seen[:, :2] / seen[:, 2:] - found.end_px, axis=1)

    R = R_guess
    for _ in range(10):
        error = error_of(R)
        weight = 1.0 / (1.0 + (error / max(float(np.median(error)), 0.05)) ** 2)
        u, _, vt = np.linalg.svd((end * weight[:, None]).T @ start)
        R = u @ np.diag([1.0, 1.0, np.linalg.det(u @ vt)]) @ vt
    return R, error_of(R)


def _rays(
    points_px: Float[np.ndarray, "points 2"], K: Float64[np.ndarray, "3 3"]
) -> Float64[np.ndarray, "points 3"]:
    rays = np.column_stack([points_px, np.ones(len(points_px))]) @ np.linalg.inv(K).T
    return rays / np.linalg.norm(rays, axis=1, keepdims=True)
