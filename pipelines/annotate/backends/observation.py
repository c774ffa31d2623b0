"""What a person detector says about one person in one frame; every people backend returns these."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8

MASK_SIZE = 256
"""Side of the stored person mask, in cells: the native output size of the pose network."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Roi:
    """A square window on the image, turned by `rotation_rad` (clockwise as seen, y down)."""

    x_px: float
    y_px: float
    size_px: float
    rotation_rad: float = 0.0

    def affine_image_from_roi(self, cells: int = MASK_SIZE) -> Float[np.ndarray, "2 3"]:
        """Map from window cells [0, cells] to image pixels [0, W] x [0, H]."""
        scale = self.size_px / cells
        cos, sin = np.cos(self.rotation_rad) * scale, np.sin(self.rotation_rad) * scale
        linear = np.array([[cos, -sin], [sin, cos]])
        centre = np.array([self.x_px, self.y_px])
        return np.column_stack([linear, centre - linear @ np.full(2, cells / 2)])


@dataclass(frozen=True, kw_only=True, slots=True)
class Observation:
    """One person in one frame."""

    keypoints_px: Float[np.ndarray, "33 2"]
    """MediaPipe's 33 landmarks in image pixels, also outside the image."""
    keypoint_confidence: Float[np.ndarray, "33"]
    """Visibility times presence, in [0, 1]."""
    world_keypoints_m: Float[np.ndarray, "33 3"]
    """Metres about the hip centre, axes as the camera's (x right, y down, z forward)."""
    mask: UInt8[np.ndarray, "256 256"]
    """Probability of the person in the window `roi`, 255 = certain."""
    roi: Roi
    """Window that the network looked at, and that `mask` covers."""
    next_roi: Roi
    """Where the network expects the same person in the next frame."""

    @property
    def size_px(self) -> float:
        """Size of the body, without regard to the pose: side of the window the network asks for."""
        return self.next_roi.size_px


@runtime_checkable
class PeopleBackend(Protocol):
    """Finds people in single frames; `people.py` gives them identities over time."""

    def propose(
        self,
        frame: UInt8[np.ndarray, "height width 3"],
        scales: Sequence[float],
        near: Sequence[Roi],
    ) -> list[Roi]:
        """Windows that may hold people, found in tiles of `scales` and tiles about `near`."""
        ...

    def follow(self, frame: UInt8[np.ndarray, "height width 3"], roi: Roi) -> Observation | None:
        """Look for the one person expected in a window."""
        ...
