"""Cameras that frame people: static, orbit, dolly, pan.

World: metres, y up; azimuth from +z towards +x. Cameras are OpenCV, `T_camera_world` maps world to
camera, K is in pixels of an image spanning [0, W] x [0, H].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from models.geometry import look_at, project
from pipelines.synthetic.asset import round_
from storage_schemas.camera import CameraKind, CameraTrack

CAMERA_KINDS = ("static", "orbit", "dolly", "pan")
RECORDED_KIND: dict[str, CameraKind] = {
    "static": "static",
    "orbit": "moving",
    "dolly": "moving",
    "pan": "rotation",
}
FOLLOW_S = 0.3
"""Smoothing time of a camera that follows people."""
LOWEST_EYE_M = 0.25


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera program about the people; the distance follows from how they shall be framed."""

    kind: str
    """static; orbit: about the people by `arc_deg`; dolly: sideways by `travel_m`; pan: fixed
    place, follows the people by turning."""
    fov_deg: float
    """Vertical field of view."""
    azimuth_deg: float
    elevation_deg: float
    fill: float
    """Share of the frame height or width, whichever binds, that the people take over the clip."""
    arc_deg: float = 0.0
    travel_m: float = 0.0

    def __post_init__(self) -> None:
        """Validate."""
        if self.kind not in CAMERA_KINDS:
            raise ValueError(f"camera kind must be one of {CAMERA_KINDS}, got {self.kind!r}")
        if not 5.0 <= self.fov_deg <= 120.0:
            raise ValueError(f"fov_deg must lie in [5, 120], got {self.fov_deg}")
        if not 0.05 <= self.fill <= 1.0:
            raise ValueError(f"fill must lie in [0.05, 1], got {self.fill}")


def sample_camera(rng: np.random.Generator, kinds: Sequence[str], fills: bool) -> CameraSpec:
    """Draw a program of one of `kinds`; `fills`: the people fill the frame."""
    kind = str(rng.choice(list(kinds)))
    fill = 0.97 if fills else round_(rng.uniform(0.45, 0.95))
    arc = rng.uniform(25.0, 90.0) * rng.choice([-1.0, 1.0]) if kind == "orbit" else 0.0
    travel = rng.uniform(0.4, 1.4) * rng.choice([-1.0, 1.0]) if kind == "dolly" else 0.0
    return CameraSpec(
        kind=kind,
        fov_deg=round_(rng.uniform(30.0, 55.0)),
        azimuth_deg=round_(rng.uniform(-180.0, 180.0)),
        elevation_deg=round_(rng.uniform(-2.0, 22.0)),
        fill=fill,
        arc_deg=round_(arc),
        travel_m=round_(travel),
    )


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
