"""PointTracks: a few surface points followed through the clip (`<id>.points.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from storage_schemas.arrays import check_finite, check_shape, freeze, read_npz, write_npz


@dataclass(frozen=True, kw_only=True, slots=True)
class PointTracks:
    """Sparse tracks of the background, and of people where the truth is known."""

    xy_px: Float32[np.ndarray, "points frames 2"]
    """Finite everywhere; meaningless where not visible."""
    visible: Bool[np.ndarray, "points frames"]
    instance: UInt8[np.ndarray, " points"]
    """As in the mask: 0 background, p + 1 on person p."""

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "xy_px", freeze(self.xy_px, np.float32))
        object.__setattr__(self, "visible", freeze(self.visible, np.bool_))
        object.__setattr__(self, "instance", freeze(self.instance, np.uint8))
        check_shape("xy_px", self.xy_px, (None, None, 2))
        check_shape("visible", self.visible, self.xy_px.shape[:2])
        check_shape("instance", self.instance, self.xy_px.shape[:1])
        check_finite("xy_px", self.xy_px)

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz({"xy_px": self.xy_px, "visible": self.visible, "instance": self.instance})

    @classmethod
    def from_npz(cls, data: bytes) -> "PointTracks":
        """Read what `to_npz` wrote; without instances (older files) all are background."""
        arrays = read_npz(data)
        arrays.setdefault("instance", np.zeros(len(arrays["xy_px"]), np.uint8))
        return cls(**arrays)
