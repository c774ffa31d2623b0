"""Cameras that frame people: static, orbit, dolly, pan.

World: metres, y up; azimuth from +z towards +x. Cameras are OpenCV, `T_camera_world` maps world to
camera, K is in pixels of an image spanning [0, W] x [0, H].
"""

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from models.geometry import look_at, project
from pipelines.synthetic.scene import CameraSpec
from storage_schemas.camera import CameraKind, CameraTrack

RECORDED_KIND: dict[str, CameraKind] = {
    "static": "static",
    "orbit": "moving",
    "dolly": "moving",
    "pan": "rotation",
}
FOLLOW_S = 0.3
"""Smoothing time of a camera that follows people."""
LOWEST_EYE_M = 0.25


def intrinsics(fov_deg: float, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """K of a centred pinhole with the given vertical field of view."""
    focal_px = height / (2.0 * np.tan(np.radians(fov_deg) / 2.0))
    return np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])


def _direction(azimuth_deg: np.ndarray, elevation_deg: float) -> np.ndarray:
    azimuth, elevation = np.radians(azimuth_deg), np.radians(elevation_deg)
    level = np.cos(elevation)
    return np.stack(
        [
            level * np.sin(azimuth),
            np.full_like(azimuth, np.sin(elevation)),
            level * np.cos(azimuth),
        ],
        axis=-1,
    )


def _poses(
    spec: CameraSpec, middle: np.ndarray, distance_m: float
) -> Float[np.ndarray, "frames 4 4"]:
    """Poses for people whose (smoothed) middle is given per frame."""
    frames = len(middle)
    progress = np.linspace(-0.5, 0.5, frames) if frames > 1 else np.zeros(1)
    fixed = np.repeat(middle.mean(0, keepdims=True), frames, axis=0)
    azimuth = spec.azimuth_deg + spec.arc_deg * progress
    target = middle if spec.kind in ("orbit", "pan") else fixed
    eye = (target if spec.kind == "orbit" else fixed) + distance_m * _direction(
        azimuth, spec.elevation_deg
    )
    if spec.kind == "dolly":
        side = np.radians(spec.azimuth_deg + 90.0)
        track = spec.travel_m * progress[:, None] * np.array([np.sin(side), 0.0, np.cos(side)])
        eye, target = eye + track, target + 0.5 * track
    eye[:, 1] = np.maximum(eye[:, 1], LOWEST_EYE_M)
    return look_at(torch.as_tensor(eye), torch.as_tensor(target)).numpy()


def camera_path(
    spec: CameraSpec,
    points_world: Float[np.ndarray, "frames points 3"],
    width: int,
    height: int,
    fps: float,
) -> CameraTrack:
    """The camera of a clip, as near as keeps every given point within `spec.fill` of the frame.

    Args:
        spec: The program.
        points_world: Points on the people over the clip, metres; one point will do without people.
        width: Image width, pixels.
        height: Image height, pixels.
        fps: Frame rate, for the smoothness of a following camera.
    """
    frames = len(points_world)
    middle = 0.5 * (points_world.min(1) + points_world.max(1))
    if spec.kind in ("static", "dolly"):
        low, high = points_world.min((0, 1)), points_world.max((0, 1))
        middle = np.repeat(0.5 * (low + high)[None], frames, axis=0)
    else:
        middle = gaussian_filter1d(middle, FOLLOW_S * fps, axis=0, mode="nearest")
    K = np.repeat(intrinsics(spec.fov_deg, width, height)[None], frames, axis=0)
    points, K_torch = torch.as_tensor(points_world).double(), torch.as_tensor(K)
    half_size = torch.tensor([width / 2, height / 2], dtype=torch.float64)

    def fits(distance_m: float) -> bool:
        poses = torch.as_tensor(_poses(spec, middle, distance_m))
        xy_px, depth_m = project(points, K_torch, poses)
        inside = ((xy_px - half_size) / half_size).abs() <= spec.fill
        return bool((depth_m > 0.2).all() and inside.all())

    near, far = 0.3, 80.0
    for _ in range(24):
        between = np.sqrt(near * far)
        near, far = (near, between) if fits(float(between)) else (between, far)
    return CameraTrack(
        K=K,
        T_camera_world=_poses(spec, middle, float(far)),
        kind=RECORDED_KIND[spec.kind],
        is_metric=True,
        source=f"synthetic, {spec.kind}, exact",
    )
