"""NormalTrack: directions of surfaces in rendered clips (`<id>.normal.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Int8

from storage_schemas.arrays import (
    check_shape,
    freeze,
    read_npz,
    restore_image,
    thin_image,
    write_npz,
)

NORMAL_STEPS = 127


@dataclass(frozen=True, kw_only=True, slots=True)
class NormalTrack:
    """Smooth surface normals in the world frame, in steps of 1 / 127 (within 0.4 degrees)."""

    normal: Int8[np.ndarray, "frames height width 3"]
    """Unit vectors times 127; zero where nothing was hit."""

    def __post_init__(self) -> None:
        """Validate."""
        object.__setattr__(self, "normal", freeze(self.normal, np.int8))
        check_shape("normal", self.normal, (None, None, None, 3))

    @property
    def unit(self) -> Float32[np.ndarray, "frames height width 3"]:
        """Unit vectors, zero where nothing was hit."""
        vectors = self.normal.astype(np.float32)
        length = np.linalg.norm(vectors, axis=-1, keepdims=True)
        return vectors / np.maximum(length, 1.0)

    def to_npz(self) -> bytes:
        """Bytes for the shard: differences of neighbours."""
        return write_npz({"normal_thinned": thin_image(self.normal)})

    @classmethod
    def from_npz(cls, data: bytes) -> "NormalTrack":
        """Read what `to_npz` wrote."""
        return cls(normal=restore_image(read_npz(data)["normal_thinned"]))
