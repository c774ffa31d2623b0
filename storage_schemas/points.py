"""PointTracks: a few background points followed through the clip (`<id>.points.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32

from storage_schemas.arrays import check_finite, check_shape, freeze, read_npz, write_npz


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTracks:
    """Sparse tracks of the background; people are masked out."""

    xy_px: Float32[np.ndarray, "points frames 2"]
    """Finite everywhere; meaningless where not visible."""
    visible: Bool[np.ndarray, "points frames"]

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "xy_px", freeze(self.xy_px, np.float32))
        object.__setattr__(self, "visible", freeze(self.visible, np.bool_))
        check_shape("xy_px", self.xy_px, (None, None, 2))
        check_shape("visible", self.visible, self.xy_px.shape[:2])
        check_finite("xy_px", self.xy_px)

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz({"xy_px": self.xy_px, "visible": self.visible})

    @classmethod
    def from_npz(cls, data: bytes) -> "PointTracks":
        """Read what `to_npz` wrote."""
        return cls(**read_npz(data))
