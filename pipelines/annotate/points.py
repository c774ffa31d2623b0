"""Sparse tracks of background points: they show how the camera moves, with no people on them."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

from pipelines.annotate.backends.feature_tracks import find_corners, follow_points
from storage_schemas.points import PointTracks

WORK_SIDE = 360
FEWEST = 5
CLOSE_PX = 8.0


def track_points(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    count: int = 32,
) -> PointTracks:
    """Follow corners of the background through the clip.

    Points end where they are lost or a person covers them; new ones begin when half are gone.

    Args:
        frames: RGB.
        people: Pixels of people, a few pixels wider than they are.
        count: How many tracks to keep, the longest ones; fewer where there is little to follow.

    Returns:
        Positions in pixels of `frames`, held where not visible.
    """
    height, width = frames.shape[1:3]
    scale = max(1.0, min(height, width) / WORK_SIDE)
    size = (round(width / scale), round(height / scale))
    gray = [
        cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for f in frames
    ]
    hidden = [cv2.resize(p.astype(np.uint8), size) > 0 for p in people]
    xy = np.zeros((0, len(frames), 2))
    visible = np.zeros((0, len(frames)), bool)
    for t in range(len(frames)):
        if t > 0:
            _step(xy, visible, t, gray, hidden[t])
        if visible[:, t].sum() <= count // 2:
            corners = find_corners(gray[t], hidden[t], count)
            corners = _away_from(corners, xy[visible[:, t], t])
            new = np.repeat(corners[:, None], len(frames), axis=1)
            shown = np.zeros(new.shape[:2], bool)
            shown[:, t] = True
            xy, visible = np.concatenate([xy, new]), np.concatenate([visible, shown])
    order = np.argsort(-visible.sum(axis=1), kind="stable")
    least = min(FEWEST, len(frames))
    kept = np.sort(order[: min(count, int((visible.sum(axis=1) >= least).sum()))])
    return PointTracks(
        xy_px=(xy[kept] * scale).astype(np.float32),
        visible=visible[kept],
        instance=np.zeros(len(kept), np.uint8),
    )


def _step(
    xy: Float[np.ndarray, "points frames 2"],
    visible: Bool[np.ndarray, "points frames"],
    t: int,
    gray: list[UInt8[np.ndarray, "height width"]],
    hidden: Bool[np.ndarray, "height width"],
) -> None:
    active = np.flatnonzero(visible[:, t - 1])
    end, good = follow_points(gray[t - 1], gray[t], xy[active, t - 1])
    cells = np.clip(end.astype(int), 0, [gray[t].shape[1] - 1, gray[t].shape[0] - 1])
    good &= ~hidden[cells[:, 1], cells[:, 0]]
    visible[active, t] = good
    xy[active, t:] = np.where(good[:, None], end, xy[active, t - 1])[:, None]


def _away_from(
    new: Float[np.ndarray, "new 2"], old: Float[np.ndarray, "old 2"]
) -> Float[np.ndarray, "far 2"]:
    if len(new) == 0 or len(old) == 0:
        return new
    distance = np.linalg.norm(new[:, None] - old[None], axis=2).min(axis=1)
    return new[distance > CLOSE_PX]
