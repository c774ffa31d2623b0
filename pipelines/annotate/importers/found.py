"""What a tracker found, whatever its files look like: SMPL bodies in the coordinates of the camera.

Frames count from 0 in the footage. Pixels are those of the footage at its own size. Rotations are
axis-angle, metres, OpenCV axes. A person's root is the pelvis joint itself, so that it does not
matter whose body has which model origin (SMPL adds its translation to a pelvis that lies 0.22 m
below that origin).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int64
from scipy.spatial.transform import Rotation

SMPL_PELVIS_M = np.array([-0.0018, -0.2233, 0.0282])
"""The pelvis of SMPL's neutral rest body; shapes move it by up to 2 cm."""
SMPLX_PELVIS_M = np.array([0.0031, -0.3514, 0.0120])
NUM_JOINTS = 24


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundPerson:
    """One person, in the frames that show them."""

    frames: Int64[np.ndarray, " n"]
    rotvec: Float[np.ndarray, "n 24 3"]
    """Of the pelvis in the camera, of the other joints relative to their parents."""
    pelvis_m: Float[np.ndarray, "n 3"]
    """Pelvis joint in the camera."""
    betas: Float[np.ndarray, "10"]

    def __post_init__(self) -> None:
        """Check what no converter can repair."""
        n = len(self.frames)
        for name, shape in (("rotvec", (n, NUM_JOINTS, 3)), ("pelvis_m", (n, 3)), ("betas", (10,))):
            value = getattr(self, name)
            if value.shape != shape:
                raise ValueError(f"{name} must have the shape {shape}, got {value.shape}")
            if not np.isfinite(value).all():
                raise ValueError(f"{name} must be finite; run the tracker again")
        if n == 0 or (self.frames < 0).any() or len(set(self.frames.tolist())) != n:
            raise ValueError("frames must be distinct and count from 0")


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundBodies:
    """Everybody in one piece of footage."""

    tracker: str
    people: tuple[FoundPerson, ...]
    focal: float
    """Focal length the bodies were placed with, over the footage's `focal_side`."""
    focal_side: str
    """`longer`, or `diagonal`."""
    T_camera_world: dict[int, Float[np.ndarray, "4 4"]]
    """The tracker's own camera path by frame, of any world; empty where it has none."""

    def focal_px(self, height: int, width: int) -> float:
        """For frames of another size, of the same picture."""
        return self.focal * (
            np.hypot(height, width) if self.focal_side == "diagonal" else max(height, width)
        )


def rotvec_of(poses: np.ndarray, name: str = "pose") -> Float[np.ndarray, "n 24 3"]:
    """Axis-angle of 24 joints from rows of axis-angle or of matrices; missing hands are straight.

    Raises:
        ValueError: If the rows are neither, or the matrices are no rotations.
    """
    poses = np.asarray(poses, float)
    if poses.ndim >= 3 and poses.shape[-2:] == (3, 3):
        matrices = poses.reshape(len(poses), -1, 3, 3)
        error = np.abs(matrices @ matrices.swapaxes(-1, -2) - np.eye(3)).max(initial=0)
        if error > 1e-2:
            raise ValueError(f"{name} must hold rotation matrices, off by {error:.2g}")
        flat = Rotation.from_matrix(matrices.reshape(-1, 3, 3)).as_rotvec()
        rows = flat.reshape(len(poses), -1, 3)
    else:
        rows = poses.reshape(len(poses), -1, 3)
        if np.abs(rows).max(initial=0) > 4 * np.pi:
            raise ValueError(f"{name} must be radians, got up to {np.abs(rows).max():.0f}")
    if rows.shape[1] < 22:
        raise ValueError(f"{name} must hold 22 joints or more, got {rows.shape[1]}")
    result = np.zeros((len(rows), NUM_JOINTS, 3))
    count = NUM_JOINTS if rows.shape[1] == NUM_JOINTS else 22
    result[:, :count] = rows[:, :count]
    return result


def mean_betas(betas: np.ndarray) -> Float[np.ndarray, "10"]:
    """One shape for a person: the median over the frames, ten numbers."""
    rows = np.asarray(betas, float)
    rows = rows.reshape(-1, rows.shape[-1])[:, :10]
    result = np.zeros(10)
    result[: rows.shape[1]] = np.median(rows, axis=0)
    return result


def camera_from_roots(
    camera: FoundPerson, R_world_root: Float[np.ndarray, "n 3 3"], pelvis_world_m: np.ndarray
) -> dict[int, Float[np.ndarray, "4 4"]]:
    """The camera path that a body known in the camera and in the world implies."""
    R_camera_root = Rotation.from_rotvec(camera.rotvec[:, 0]).as_matrix()
    path: dict[int, np.ndarray] = {}
    for i, frame in enumerate(camera.frames.tolist()):
        T = np.eye(4)
        T[:3, :3] = R_camera_root[i] @ R_world_root[i].T
        T[:3, 3] = camera.pelvis_m[i] - T[:3, :3] @ pelvis_world_m[i]
        path[frame] = T
    return path
