"""FlowTrack: where every pixel comes from and goes to in rendered clips (`<id>.flow.npz`)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int16

from storage_schemas.arrays import (
    check_shape,
    freeze,
    read_npz,
    restore_image,
    thin_image,
    write_npz,
)

FLOW_STEPS_PER_PX = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class FlowTrack:
    """Optical flow of the surface points at pixel centres, in steps of 1 / 64 pixel.

    Exact to half a step (0.0078 px); the range ends at 511.98 px, beyond which a point counts as
    occluded. Where nothing is hit (sky) the flow is that of infinitely far points.
    """

    forward: Int16[np.ndarray, "frames height width 2"]
    """x, y from this frame to the next; zero in the last frame."""
    backward: Int16[np.ndarray, "frames height width 2"]
    """x, y from this frame to the previous one; zero in the first."""
    forward_occluded: Bool[np.ndarray, "frames height width"]
    """The point is outside of the next picture or hidden there; all of the last frame."""
    backward_occluded: Bool[np.ndarray, "frames height width"]
    """The same in the previous frame; all of the first frame."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("forward", "backward"):
            object.__setattr__(self, name, freeze(getattr(self, name), np.int16))
        for name in ("forward_occluded", "backward_occluded"):
            object.__setattr__(self, name, freeze(getattr(self, name), np.bool_))
        check_shape("forward", self.forward, (None, None, None, 2))
        check_shape("backward", self.backward, self.forward.shape)
        check_shape("forward_occluded", self.forward_occluded, self.forward.shape[:3])
        check_shape("backward_occluded", self.backward_occluded, self.forward.shape[:3])

    @property
    def forward_px(self) -> Float32[np.ndarray, "frames height width 2"]:
        """`forward` in pixels."""
        return self.forward.astype(np.float32) / FLOW_STEPS_PER_PX

    @property
    def backward_px(self) -> Float32[np.ndarray, "frames height width 2"]:
        """`backward` in pixels."""
        return self.backward.astype(np.float32) / FLOW_STEPS_PER_PX

    def to_npz(self) -> bytes:
        """Bytes for the shard: flow as differences of neighbours, masks as bits."""
        occluded = np.stack([self.forward_occluded, self.backward_occluded])
        return write_npz(
            {
                "forward_thinned": thin_image(self.forward),
                "backward_thinned": thin_image(self.backward),
                "occluded_bits": np.packbits(occluded),
                "shape": np.array(self.forward.shape, np.int64),
            }
        )

    @classmethod
    def from_npz(cls, data: bytes) -> "FlowTrack":
        """Read what `to_npz` wrote."""
        arrays = read_npz(data)
        shape = (2, *arrays["shape"][:3].tolist())
        bits = np.unpackbits(arrays["occluded_bits"], count=int(np.prod(shape)))
        occluded = bits.reshape(shape).astype(np.bool_)
        return cls(
            forward=restore_image(arrays["forward_thinned"]),
            backward=restore_image(arrays["backward_thinned"]),
            forward_occluded=occluded[0],
            backward_occluded=occluded[1],
        )
