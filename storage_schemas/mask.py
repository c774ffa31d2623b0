"""MaskTrack: who covers which pixel (`<id>.mask.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import UInt8

from storage_schemas.arrays import check_shape, freeze, read_npz, write_npz


@dataclass(frozen=True, kw_only=True, slots=True)
class MaskTrack:
    """Instance labels: 0 is background, p + 1 is person p of the clip's BodyTracks."""

    instance: UInt8[np.ndarray, "frames height width"]

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "instance", freeze(self.instance, np.uint8))
        check_shape("instance", self.instance, (None, None, None))

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz({"instance": self.instance})

    @classmethod
    def from_npz(cls, data: bytes) -> "MaskTrack":
        """Read what `to_npz` wrote."""
        return cls(instance=read_npz(data)["instance"])
