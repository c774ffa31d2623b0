"""The camera of a clip: the simplest of static, turning and moving that explains the background.

World: y up, right-handed; the first camera stands upright at the origin and looks along -z.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float64, Int, UInt8
from scipy.spatial.transform import Rotation, Slerp

from pipelines.annotate.backends.colmap_sfm import reconstruct
from pipelines.annotate.backends.feature_tracks import Matches, find_corners, match
from pipelines.annotate.camera_rotation import find_focal, fit_rotation
from storage_schemas.camera import CameraKind, CameraTrack

R_CAMERA_WORLD_UPRIGHT = np.diag([1.0, -1.0, -1.0])
WORK_SIDE = 360


@dataclass(frozen=True, kw_only=True, slots=True)
class CameraSettings:
    """Thresholds of the ladder; lengths as parts of the image diagonal."""

    fov_deg: float = 50.0
    """Assumed field of view of the long side where nobody knows better and nothing tells it."""
    fov_range_deg: tuple[float, float] = (22.0, 95.0)
    """Fields of view that a clip may be found to have; beyond lies degenerate motion."""
    min_focal_evidence_px: float = 0.08
    """By how much the error of a pure rotation must grow towards both ends of that range
    (mean of median errors, working pixels) before its best focal length is believed."""
    max_static_motion: float = 0.003
    """Median background motion up to which a camera stands still."""
    max_static_lost: float = 0.9
    """Share of lost background points (median over time) above which a camera moved away."""
    key_motion: float = 0.06
    """Background motion after which a turning camera gets a new key frame."""
    max_rotation_error: float = 0.003
    """Median error up to which a pure rotation explains a key step."""
    min_rotation_inliers: float = 0.8
    """Share of background points within three times that error."""
    num_corners: int = 300
    min_corners: int = 12
    key_stride: int = 3
    """Frames between key frames of structure from motion."""
    max_key_frames: int = 24
    min_registered: float = 0.8
    """Share of key frames that a reconstruction must place."""
    min_sfm_points: int = 150
    """Scene points below which a reconstruction is a guess: one of 50 was wrong by 13 degrees."""
    timeout_s: float = 60.0
    """Structure from motion that takes longer is ended, and the camera is unknown."""


def estimate_camera(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    K: Float64[np.ndarray, "3 3"] | None = None,
    settings: CameraSettings | None = None,
) -> tuple[CameraTrack, dict[str, float]]:
    """Find intrinsics and pose of every frame.

    Args:
        frames: RGB.
        people: Pixels of people, which say nothing about the camera.
        K: Known intrinsics in pixels; None assumes a field of view.
        settings: Thresholds.

    Returns:
        The track, and what was measured: median motion, lost share, rotation error and inliers,
        registered share, `focal_known` (1 = given or found, 0 = assumed), and `camera_quality` in
        [0, 1] (0 = unknown).
    """
    settings = settings or CameraSettings()
    if frames.shape[:3] != people.shape:
        raise ValueError(f"people must have shape {frames.shape[:3]}, got {people.shape}")
    view = _View.of(frames, people, K, settings)
    motion_px, lost = measure_motion(view, settings)
    diagonal = view.diagonal_px
    facts = {
        "motion_px": motion_px * view.scale,
        "lost_share": lost,
        "focal_known": float(view.knows_focal),
    }
    if not np.isfinite(motion_px):
        return _unknown(view, "too little texture to see its motion", facts)
    if motion_px < settings.max_static_motion * diagonal and lost < settings.max_static_lost:
        facts["camera_quality"] = 1.0 - motion_px / (settings.max_static_motion * diagonal)
        return _track(view, np.tile(np.eye(4), (len(frames), 1, 1)), "static", ""), facts
    steps = _match_chain(view, settings)
    turn = _chain_rotations(steps, view, settings)
    if K is None and (focal := _focal_of_rotation(steps, view, settings)) is not None:
        turning = view.with_focal(focal, "focal length from the rotation")
        better = _chain_rotations(steps, turning, settings)
        if better.is_pure(view.diagonal_px, settings):
            view, turn = turning, better
    facts |= {"rotation_error_px": turn.error_px * view.scale, "rotation_inliers": turn.inliers}
    if turn.is_pure(diagonal, settings):
        poses = np.tile(np.eye(4), (len(frames), 1, 1))
        poses[:, :3, :3] = turn.R_camera_first
        facts |= {"camera_quality": turn.inliers, "focal_known": float(view.knows_focal)}
        return _track(view, poses, "rotation", ""), facts
    return _estimate_moving(frames, people, view, settings, facts)


@dataclass(frozen=True, kw_only=True, slots=True)
class _View:
    """The clip at working size, grey, with people grown by a margin."""

    gray: UInt8[np.ndarray, "frames height width"]
    people: Bool[np.ndarray, "frames height width"]
    K: Float64[np.ndarray, "3 3"]
    """Full size pixels."""
    scale: float
    """Full size pixels per working pixel."""
    intrinsics_source: str

    @classmethod
    def of(
        cls,
        frames: UInt8[np.ndarray, "frames height width 3"],
        people: Bool[np.ndarray, "frames height width"],
        K: Float64[np.ndarray, "3 3"] | None,
        settings: CameraSettings,
    ) -> "_View":
        height, width = frames.shape[1:3]
        scale = max(1.0, min(height, width) / WORK_SIDE)
        size = (round(width / scale), round(height / scale))
        gray = np.stack([_local_contrast(f, size) for f in frames])
        grow = np.ones((11, 11), np.uint8)
        hidden = np.stack(
            [
                cv2.dilate(cv2.resize(p.astype(np.uint8), size, interpolation=cv2.INTER_AREA), grow)
                for p in people
            ]
        )
        source = "intrinsics given"
        if K is None:
            K = assumed_intrinsics(height, width, settings.fov_deg)
            source = f"fov {settings.fov_deg:g} deg assumed"
        return cls(gray=gray, people=hidden > 0, K=K, scale=scale, intrinsics_source=source)

    @property
    def knows_focal(self) -> bool:
        """Whether the focal length is more than an assumption."""
        return "assumed" not in self.intrinsics_source

    def with_focal(self, factor: float, source: str) -> "_View":
        """The view with another focal length, as a multiple of the present one."""
        return replace(self, K=self.K @ np.diag([factor, factor, 1.0]), intrinsics_source=source)

    @property
    def diagonal_px(self) -> float:
        """Working pixels."""
        height, width = self.gray.shape[1:]
        return float(np.hypot(height, width))

    @property
    def K_work(self) -> Float64[np.ndarray, "3 3"]:
        return np.diag([1 / self.scale, 1 / self.scale, 1.0]) @ self.K


def assumed_intrinsics(height: int, width: int, fov_deg: float) -> Float64[np.ndarray, "3 3"]:
    """Square pixels, centre of the image, field of view over the long side."""
    focal = max(height, width) / (2 * np.tan(np.radians(fov_deg) / 2))
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]], np.float64)


def measure_motion(view: "_View", settings: CameraSettings) -> tuple[float, float]:
    """Largest median background motion against the first frame (working px), and points lost.

    Frames are matched directly to the first one, so that drift cannot add up; nine frames spread
    over the clip are enough to catch every motion that lasts. Infinite motion: nothing to follow.
    """
    corners = find_corners(view.gray[0], view.people[0], settings.num_corners)
    if len(corners) < settings.min_corners:
        return np.inf, 1.0
    later = np.unique(np.linspace(0, len(view.gray) - 1, 10).astype(int))[1:]
    found = [match(view.gray[0], view.gray[t], corners, view.people[t]) for t in later]
    lost = float(np.median([m.lost_share for m in found]))
    motions = [m.motion_px for m in found if len(m.start_px) >= settings.min_corners // 2]
    if 2 * len(motions) < len(found):  # gone from sight: the camera has looked elsewhere
        return view.diagonal_px, lost
    return float(max(motions)), lost


@dataclass(frozen=True, kw_only=True, slots=True)
class _Turn:
    R_camera_first: Float64[np.ndarray, "frames 3 3"]
    error_px: float
    inliers: float
    mean_error_px: float

    def is_pure(self, diagonal_px: float, settings: CameraSettings) -> bool:
        """Whether turning about a resting centre explains what was seen."""
        is_near = self.error_px < settings.max_rotation_error * diagonal_px
        return is_near and self.inliers > settings.min_rotation_inliers


@dataclass(frozen=True, kw_only=True, slots=True)
class _Step:
    """A frame matched to its key frame."""

    key: int
    frame: int
    found: Matches
    is_measured: bool
    """Whether the step is long enough, or the last, so that its error tells something."""


def _match_chain(view: _View, settings: CameraSettings) -> list[_Step] | None:
    """Every frame matched to the latest key frame; None where too little is left to match."""
    steps: list[_Step] = []
    key, corners = 0, find_corners(view.gray[0], view.people[0], settings.num_corners)
    for t in range(1, len(view.gray)):
        found = match(view.gray[key], view.gray[t], corners, view.people[t])
        if (found.lost_share > 0.7 or len(found.start_px) < settings.min_corners) and key != t - 1:
            key = t - 1
            corners = find_corners(view.gray[key], view.people[key], settings.num_corners)
            found = match(view.gray[key], view.gray[t], corners, view.people[t])
        if len(found.start_px) < settings.min_corners:
            return None
        is_key_step = found.motion_px > settings.key_motion * view.diagonal_px
        is_last = t == len(view.gray) - 1
        steps.append(_Step(key=key, frame=t, found=found, is_measured=is_key_step or is_last))
        if is_key_step:
            key = t
            corners = find_corners(view.gray[key], view.people[key], settings.num_corners)
    return steps


def _chain_rotations(steps: list[_Step] | None, view: _View, settings: CameraSettings) -> _Turn:
    """Chain rotations from key frame to key frame."""
    tolerance = 3 * settings.max_rotation_error * view.diagonal_px
    rotations = np.tile(np.eye(3), (len(view.gray), 1, 1))
    errors, inliers = [], []
    for step in steps or ():
        guess = rotations[step.frame - 1] @ rotations[step.key].T
        R, error = fit_rotation(step.found, view.K_work, guess)
        rotations[step.frame] = R @ rotations[step.key]
        if step.is_measured:
            errors.append(float(np.median(error)))
            inliers.append(float((error < tolerance).mean()))
    if not errors:
        return _Turn(R_camera_first=rotations, error_px=np.inf, inliers=0.0, mean_error_px=np.inf)
    return _Turn(
        R_camera_first=rotations,
        error_px=max(errors),
        inliers=float(np.median(inliers)),
        mean_error_px=float(np.mean(errors)),
    )


def _focal_of_rotation(
    steps: list[_Step] | None, view: _View, settings: CameraSettings
) -> float | None:
    """The focal length of a turn as a multiple of the view's; None where nothing tells it."""
    measured = [step.found for step in steps or () if step.is_measured]
    least, most = (px / view.K[0, 0] for px in _focal_range_px(view, settings))
    return find_focal(measured, view.K_work, (least, most), settings.min_focal_evidence_px)


def _estimate_moving(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    view: _View,
    settings: CameraSettings,
    facts: dict[str, float],
) -> tuple[CameraTrack, dict[str, float]]:
    stride = max(settings.key_stride, int(np.ceil(len(frames) / settings.max_key_frames)))
    keys = np.unique(np.append(np.arange(0, len(frames), stride), len(frames) - 1))
    focal_px = float(view.K[0, 0])
    around = None if view.knows_focal else _focal_range_px(view, settings)
    found = reconstruct(frames[keys], people[keys], focal_px, settings.timeout_s, around)
    share = 0.0 if found is None else len(found["index"]) / len(keys)
    facts["registered_share"] = share
    if found is None or share < settings.min_registered:
        return _unknown(view, f"structure from motion placed {share:.0%} of the frames", facts)
    points = float(found["num_points"])
    facts |= {"sfm_error_px": float(found["error_px"]), "sfm_points": points}
    if points < settings.min_sfm_points:
        return _unknown(view, f"structure from motion found only {points:.0f} points", facts)
    facts["camera_quality"] = share
    if bool(found["is_refined"]):
        factor = float(found["focal_px"]) / focal_px
        view = view.with_focal(factor, "focal length from structure from motion")
        facts["focal_known"] = 1.0
    poses = interpolate_poses(keys[found["index"]], found["T_camera_world"], len(frames))
    poses = poses @ np.linalg.inv(poses[0])
    return _track(view, poses, "moving", ", scale free"), facts


def _focal_range_px(view: _View, settings: CameraSettings) -> tuple[float, float]:
    height, width = np.array(view.gray.shape[1:]) * view.scale
    wide, narrow = (np.tan(np.radians(a) / 2) for a in reversed(settings.fov_range_deg))
    return max(height, width) / (2 * wide), max(height, width) / (2 * narrow)


def interpolate_poses(
    index: Int[np.ndarray, "known"], poses: Float[np.ndarray, "known 4 4"], num_frames: int
) -> Float64[np.ndarray, "frames 4 4"]:
    """World-to-camera poses of all frames: slerp and straight lines of the centre, ends held."""
    R_world_camera = poses[:, :3, :3].transpose(0, 2, 1)
    centres = -np.einsum("tij,tj->ti", R_world_camera, poses[:, :3, 3])
    times = np.clip(np.arange(num_frames), index[0], index[-1])
    if len(index) == 1:
        return np.tile(poses.astype(np.float64), (num_frames, 1, 1))
    turned = Slerp(index, Rotation.from_matrix(R_world_camera))(times).as_matrix()
    centre = np.stack([np.interp(times, index, centres[:, i]) for i in range(3)], axis=1)
    result = np.tile(np.eye(4), (num_frames, 1, 1))
    result[:, :3, :3] = turned.transpose(0, 2, 1)
    result[:, :3, 3] = -np.einsum("tij,tj->ti", result[:, :3, :3], centre)
    return result


def _unknown(
    view: _View, reason: str, facts: dict[str, float]
) -> tuple[CameraTrack, dict[str, float]]:
    finite = {name: value for name, value in facts.items() if np.isfinite(value)}
    poses = np.tile(np.eye(4), (len(view.gray), 1, 1))
    return _track(view, poses, "unknown", f", {reason}"), finite | {"camera_quality": 0.0}


def _track(
    view: _View,
    T_camera_first: Float[np.ndarray, "frames 4 4"],
    kind: CameraKind,
    remark: str,
) -> CameraTrack:
    upright = np.eye(4)
    upright[:3, :3] = R_CAMERA_WORLD_UPRIGHT
    return CameraTrack(
        K=np.tile(view.K, (len(view.gray), 1, 1)),
        T_camera_world=T_camera_first @ upright,
        kind=kind,
        is_metric=False,  # where the floor is and how large things are, the bodies will tell
        source=f"ladder {kind}, {view.intrinsics_source}{remark}",
    )


def _local_contrast(
    frame: UInt8[np.ndarray, "height width 3"], size: tuple[int, int]
) -> UInt8[np.ndarray, "h w"]:
    """Grey image without slow changes of light: exposure jumps otherwise lose every point."""
    gray = cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY)
    gray = cv2.resize(gray, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    rest = gray - cv2.GaussianBlur(gray, (0, 0), 12)
    spread = np.sqrt(cv2.GaussianBlur(rest * rest, (0, 0), 24)) + 4.0
    return np.clip(128 + 40 * rest / spread, 0, 255).astype(np.uint8)
