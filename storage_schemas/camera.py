"""CameraTrack: intrinsics and pose of every frame (`<id>.camera.npz`)."""

from dataclasses import dataclass
from typing import Literal, cast

import numpy as np
from jaxtyping import Float64

from storage_schemas.arrays import check_finite, check_shape, freeze, read_npz, write_npz

CameraKind = Literal["static", "rotation", "moving", "unknown"]
KINDS = ("static", "rotation", "moving", "unknown")
ORTHOGONALITY_TOLERANCE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraTrack:
    """The camera of a clip, OpenCV axes, world-to-camera."""

    K: Float64[np.ndarray, "frames 3 3"]
    """Intrinsics in pixels; pixel centres at half-integers."""
    T_camera_world: Float64[np.ndarray, "frames 4 4"]
    kind: CameraKind
    """`unknown`: the pose was not found; the poses given are then a stand-in, not a result."""
    is_metric: bool
    """Whether translations are in metres; otherwise their scale is free."""
    source: str
    """Who made it and where the intrinsics come from, for example `ladder, fov 50 deg assumed`."""

    def __post_init__(self) -> None:
        """Validate every field."""
        object.__setattr__(self, "K", freeze(self.K, np.float64))
        object.__setattr__(self, "T_camera_world", freeze(self.T_camera_world, np.float64))
        frames = len(self.K)
        check_shape("K", self.K, (frames, 3, 3))
        check_shape("T_camera_world", self.T_camera_world, (frames, 4, 4))
        check_finite("K", self.K)
        check_finite("T_camera_world", self.T_camera_world)
        if self.kind not in KINDS:
            raise ValueError(f"kind must be one of {KINDS}, got {self.kind!r}")
        focal_px = self.K[:, (0, 1), (0, 1)]
        if np.any(focal_px <= 0):
            raise ValueError(f"focal lengths must be positive, got {focal_px.min()} px")
        R = self.T_camera_world[:, :3, :3]
        error = np.abs(R @ R.transpose(0, 2, 1) - np.eye(3)).max(initial=0.0)
        if error > ORTHOGONALITY_TOLERANCE or np.any(np.linalg.det(R) < 0):
            raise ValueError(f"T_camera_world must hold rotations, off by {error:.2g}")
        if np.any(self.T_camera_world[:, 3] != np.array([0, 0, 0, 1])):
            raise ValueError("the last row of T_camera_world must be 0 0 0 1")

    def to_npz(self) -> bytes:
        """Bytes for the shard."""
        return write_npz(
            {
                "K": self.K,
                "T_camera_world": self.T_camera_world,
                "kind": np.array(self.kind),
                "is_metric": np.array(self.is_metric),
                "source": np.array(self.source),
            }
        )

    @classmethod
    def from_npz(cls, data: bytes) -> "CameraTrack":
        """Read what `to_npz` wrote."""
        arrays = read_npz(data)
        return cls(
            K=arrays["K"],
            T_camera_world=arrays["T_camera_world"],
            kind=cast(CameraKind, str(arrays["kind"])),
            is_metric=bool(arrays["is_metric"]),
            source=str(arrays["source"]),
        )
