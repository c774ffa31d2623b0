"""DepthTrack: metric depth of rendered clips (`<id>.depth.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32

from storage_schemas.arrays import (
    check_shape,
    freeze,
    read_npz,
    restore_image,
    thin_image,
    write_npz,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DepthTrack:
    """Depth along the optical axis."""

    depth_m: Float32[np.ndarray, "frames height width"]
    """Metres; infinite where nothing was hit."""

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "depth_m", freeze(self.depth_m, np.float32))
        check_shape("depth_m", self.depth_m, (None, None, None))
        if np.any(np.isnan(self.depth_m)) or np.any(self.depth_m <= 0):
            raise ValueError("depth_m must be positive metres, infinite where nothing was hit")

    def to_npz(self) -> bytes:
        """Bytes for the shard: the floats' own bits as differences, which deflate to half."""
        bits = self.depth_m.view(np.int32)
        return write_npz({"depth_bits": thin_image(bits[..., None])})

    @classmethod
    def from_npz(cls, data: bytes) -> "DepthTrack":
        """Read what `to_npz` wrote, or plain floats, as it once did."""
        arrays = read_npz(data)
        if "depth_m" in arrays:
            return cls(depth_m=arrays["depth_m"])
        return cls(depth_m=restore_image(arrays["depth_bits"])[..., 0].view(np.float32))
