"""BackgroundValid: where the plate without people was really seen (`<id>.background_valid.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from storage_schemas.arrays import check_shape, freeze, read_npz, write_npz


@dataclass(frozen=True, kw_only=True, slots=True)
class BackgroundValid:
    """True where the background video shows what was rendered or seen, False where it is filled."""

    valid: Bool[np.ndarray, "frames height width"]

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "valid", freeze(self.valid, np.bool_))
        check_shape("valid", self.valid, (None, None, None))

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz({"valid": self.valid})

    @classmethod
    def from_npz(cls, data: bytes) -> "BackgroundValid":
        """Read what `to_npz` wrote."""
        return cls(valid=read_npz(data)["valid"])
