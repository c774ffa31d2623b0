"""Points of the background followed through a clip with pyramidal Lucas-Kanade."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Bool, Float, UInt8

WINDOW = (15, 15)
ROUND_TRIP_PX = 0.7
BORDER_PX = 3.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Matches:
    """Where points of one frame lie in another one, at the scale of the frames given."""

    start_px: Float[np.ndarray, "points 2"]
    end_px: Float[np.ndarray, "points 2"]
    num_lost: int
    """Points that could not be followed though no person stood before them."""

    @property
    def motion_px(self) -> float:
        """Median motion; infinite when nothing could be followed."""
        if len(self.start_px) == 0:
            return np.inf
        return float(np.median(np.linalg.norm(self.end_px - self.start_px, axis=1)))

    @property
    def lost_share(self) -> float:
        """Lost points among those no person stood before."""
        return self.num_lost / max(self.num_lost + len(self.start_px), 1)


def find_corners(
    gray: UInt8[np.ndarray, "height width"],
    people: Bool[np.ndarray, "height width"],
    count: int,
) -> Float[np.ndarray, "points 2"]:
    """Strong corners outside people, spread over the image; pixel centres at half-integers."""
    allowed = (~people).astype(np.uint8) * 255
    distance = max(4.0, np.sqrt(gray.size / count) * 0.5)
    corners = cv2.goodFeaturesToTrack(gray, count, 0.01, distance, mask=allowed, blockSize=5)
    if corners is None:
        return np.zeros((0, 2))
    return corners.reshape(-1, 2).astype(np.float64) + 0.5


def follow_points(
    before: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
    points_px: Float[np.ndarray, "points 2"],
) -> tuple[Float[np.ndarray, "points 2"], Bool[np.ndarray, "points"]]:
    """Move points from one frame to another; good ones return to their start when sent back."""
    if len(points_px) == 0:
        return np.zeros((0, 2)), np.zeros(0, bool)
    start = (points_px - 0.5).astype(np.float32)[:, None]
    end, ok, _ = cv2.calcOpticalFlowPyrLK(
        before, after, start, start.copy(), winSize=WINDOW, maxLevel=4
    )
    back, ok_back, _ = cv2.calcOpticalFlowPyrLK(
        after, before, end, end.copy(), winSize=WINDOW, maxLevel=4
    )
    end_px = end[:, 0].astype(np.float64) + 0.5
    height, width = after.shape
    inside = (end_px > BORDER_PX).all(axis=1)
    inside &= (end_px < np.array([width, height]) - BORDER_PX).all(axis=1)
    returned = np.linalg.norm(back[:, 0] - start[:, 0], axis=1) < ROUND_TRIP_PX
    good = (ok[:, 0] == 1) & (ok_back[:, 0] == 1) & inside & returned
    return np.where(good[:, None], end_px, points_px), good


def match(
    before: UInt8[np.ndarray, "height width"],
    after: UInt8[np.ndarray, "height width"],
    points_px: Float[np.ndarray, "points 2"],
    people_after: Bool[np.ndarray, "height width"],
) -> Matches:
    """Direct matches of background points between two frames, however far apart in time."""
    end_px, good = follow_points(before, after, points_px)
    height, width = after.shape
    cells = np.clip(
        np.where(good[:, None], end_px, points_px).astype(int), 0, [width - 1, height - 1]
    )
    hidden = people_after[cells[:, 1], cells[:, 0]]
    kept = good & ~hidden
    return Matches(
        start_px=points_px[kept], end_px=end_px[kept], num_lost=int((~good & ~hidden).sum())
    )
