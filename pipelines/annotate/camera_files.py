"""Camera paths in other people's files, brought to our conventions, and back.

Ours: OpenCV axes, world-to-camera, pixels. TUM lines hold camera-to-world poses with quaternions
x y z w; RealEstate10K lines hold normalised intrinsics and a 3x4 world-to-camera matrix; OpenSfM
shots hold a world-to-camera axis-angle and translation and a focal length over the longer side.
"""

import json
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64
from scipy.spatial.transform import Rotation

from storage_schemas.camera import CameraTrack

RE10K_COLUMNS = 19
TUM_COLUMNS = 8


def _rows(path: Path, columns: int) -> np.ndarray:
    """Numbers of a text file; comments and lines of another kind (a leading URL) are skipped."""
    rows: list[list[float]] = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        words = line.split()
        if not words or line.startswith("#") or (number == 1 and "://" in line):
            continue
        if len(words) != columns:
            raise ValueError(f"{path}:{number}: expected {columns} numbers, got {len(words)}")
        try:
            rows.append([float(word) for word in words])
        except ValueError as error:
            raise ValueError(f"{path}:{number}: {error}") from error
    if not rows:
        raise ValueError(f"{path}: no camera in this file")
    return np.asarray(rows)


def _poses(R: np.ndarray, t: np.ndarray) -> np.ndarray:
    T = np.tile(np.eye(4), (len(R), 1, 1))
    T[:, :3, :3] = R
    T[:, :3, 3] = t
    return T


def read_tum(
    path: Path,
) -> tuple[Int64[np.ndarray, " frames"], Float64[np.ndarray, "frames 4 4"]]:
    """Times in nanoseconds and T_world_camera of a TUM trajectory.

    Raises:
        ValueError: With file, line and finding, if a line is malformed.
    """
    rows = _rows(path, TUM_COLUMNS)
    R_world_camera = Rotation.from_quat(rows[:, 4:8]).as_matrix()
    times_ns = np.round(rows[:, 0] * 1e9).astype(np.int64)
    return times_ns, _poses(R_world_camera, rows[:, 1:4])


def write_tum(path: Path, times_ns: np.ndarray, T_world_camera: np.ndarray) -> None:
    """Write a TUM trajectory; `read_tum` gives it back to six decimals."""
    quaternion_xyzw = Rotation.from_matrix(T_world_camera[:, :3, :3]).as_quat()
    lines = ["# timestamp tx ty tz qx qy qz qw"]
    for time_ns, T, q in zip(times_ns, T_world_camera, quaternion_xyzw, strict=True):
        numbers = " ".join(f"{value:.9f}" for value in (*T[:3, 3], *q))
        lines.append(f"{time_ns / 1e9:.6f} {numbers}")
    path.write_text("\n".join(lines) + "\n")


def read_re10k(path: Path, width: int, height: int) -> CameraTrack:
    """RealEstate10K camera file for frames of the given size; the scale is free."""
    rows = _rows(path, RE10K_COLUMNS)
    K = np.tile(np.eye(3), (len(rows), 1, 1))
    K[:, 0, 0], K[:, 1, 1] = rows[:, 1] * width, rows[:, 2] * height
    K[:, 0, 2], K[:, 1, 2] = rows[:, 3] * width, rows[:, 4] * height
    R, t = rows[:, 7:].reshape(-1, 3, 4)[..., :3], rows[:, 7:].reshape(-1, 3, 4)[..., 3]
    R = Rotation.from_matrix(R).as_matrix()  # nine printed decimals are not quite orthogonal
    return CameraTrack(
        K=K, T_camera_world=_poses(R, t), kind="moving", is_metric=False, source="re10k file"
    )


def read_opensfm(path: Path) -> tuple[list[str], CameraTrack, Float64[np.ndarray, "points 3"]]:
    """Shot names in order, their cameras (lens distortion left out), and the scene's points."""
    reconstruction = json.loads(path.read_text())[0]
    names = sorted(reconstruction["shots"])
    shots = [reconstruction["shots"][name] for name in names]
    K = np.tile(np.eye(3), (len(shots), 1, 1))
    for index, shot in enumerate(shots):
        camera = reconstruction["cameras"][shot["camera"]]
        focal_px = camera["focal"] * max(camera["width"], camera["height"])
        K[index, :2, :] = [
            [focal_px, 0, camera["width"] / 2],
            [0, focal_px, camera["height"] / 2],
        ]
    R = Rotation.from_rotvec([shot["rotation"] for shot in shots]).as_matrix()
    T_camera_world = _poses(R, np.asarray([shot["translation"] for shot in shots]))
    points = np.asarray([p["coordinates"] for p in reconstruction["points"].values()])
    track = CameraTrack(
        K=K, T_camera_world=T_camera_world, kind="moving", is_metric=False, source="OpenSfM file"
    )
    return names, track, points
