"""Cameras that frame people: a program of moves about them becomes K and poses per frame.

World: metres, y up; azimuth from +z towards +x. Cameras are OpenCV, `T_camera_world` maps world to
camera, K is in pixels of an image spanning [0, W] x [0, H]. Left and right are the camera's own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, Float64
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation

from models.geometry import look_at, project
from storage_schemas.camera import CameraKind, CameraTrack

MOVES: Mapping[str, str] = {
    "pan": "degrees to the right",
    "tilt": "degrees up",
    "zoom": "octaves of focal length, positive enlarges",
    "dolly": "octaves of distance to the people, positive comes nearer",
    "truck": "metres to the right, without turning",
    "orbit": "degrees to the right about the people, who stay in the middle",
    "crane": "metres up, the people stay in the middle",
}
"""Kinds of move and the unit of their amount; a dolly zoom is dolly a with zoom -a."""
Follow = Literal["none", "turn", "travel"]
FOLLOW_S = 0.3
"""Smoothing time of a camera that follows people."""
LOWEST_EYE_M = 0.25
NEAREST_M = 0.2
"""Nothing of a person comes nearer to the plane of the camera than this."""
DISTANCE_M = (0.3, 80.0)
STILL = 1e-7
"""Metres and sines below which a camera rests."""
SHAKE_HZ = (0.5, 6.0)
SHAKE_WAVES = 7
SHAKE_M_PER_DEG = 0.015
SHAKE_ROLL = 0.4


class OutOfFrame(ValueError):
    """No camera place shows all people as asked."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """One component of a camera program: how far, and in which part of the clip."""

    kind: str
    """One of MOVES."""
    amount: float
    """Signed; its unit stands in MOVES."""
    start: float = 0.0
    """Share of the clip."""
    end: float = 1.0

    def __post_init__(self) -> None:
        """Validate."""
        if self.kind not in MOVES:
            raise ValueError(f"move must be one of {sorted(MOVES)}, got {self.kind!r}")
        if not np.isfinite(self.amount):
            raise ValueError(f"amount of {self.kind} must be finite, got {self.amount}")
        if not 0.0 <= self.start < self.end <= 1.0:
            raise ValueError(
                f"{self.kind} must have 0 <= start < end <= 1, got {self.start}, {self.end}"
            )


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera program about the people; the distance follows from how they shall be framed.

    Moves add up, and each is centred: in the middle of a single move the camera stands at
    `azimuth_deg`, `elevation_deg`, aimed at the people.
    """

    fov_deg: float
    """Vertical field of view."""
    azimuth_deg: float
    elevation_deg: float
    fill: float
    """Share of the frame height or width, whichever binds, that the people take over the clip."""
    moves: tuple[Move, ...] = ()
    eases: bool = True
    """Whether moves start and stop softly or are under way already, at constant speed."""
    follow: Follow = "none"
    """How the camera keeps up with people who walk: by turning, or by travelling along."""
    shake_deg: float = 0.0
    """Root mean square of hand-held rotation about each axis; place shakes in proportion."""
    shake_seed: int = 0

    def __post_init__(self) -> None:
        """Validate."""
        if not 5.0 <= self.fov_deg <= 120.0:
            raise ValueError(f"fov_deg must lie in [5, 120], got {self.fov_deg}")
        if not -60.0 <= self.elevation_deg <= 80.0:
            raise ValueError(f"elevation_deg must lie in [-60, 80], got {self.elevation_deg}")
        if not 0.05 <= self.fill <= 1.0:
            raise ValueError(f"fill must lie in [0.05, 1], got {self.fill}")
        if self.follow not in ("none", "turn", "travel"):
            raise ValueError(f"follow must be none, turn or travel, got {self.follow!r}")
        if not 0.0 <= self.shake_deg <= 5.0:
            raise ValueError(f"shake_deg must lie in [0, 5], got {self.shake_deg}")


def intrinsics(fov_deg: float, width: int, height: int) -> Float[np.ndarray, "3 3"]:
    """K of a centred pinhole with the given vertical field of view."""
    focal_px = height / (2.0 * np.tan(np.radians(fov_deg) / 2.0))
    return np.array([[focal_px, 0.0, width / 2], [0.0, focal_px, height / 2], [0.0, 0.0, 1.0]])


def camera_path(
    spec: CameraSpec,
    points_world: Float[np.ndarray, "frames points 3"],
    width: int,
    height: int,
    fps: float,
) -> CameraTrack:
    """The camera of a clip, as near as keeps every given point within `spec.fill` of the frame.

    The path is a function of time: another frame rate samples the same path, as far as the points
    are the same.

    Args:
        spec: The program.
        points_world: Points on the people over the clip, metres; one point will do without people.
        width: Image width, pixels.
        height: Image height, pixels.
        fps: Frame rate.

    Raises:
        OutOfFrame: If no distance keeps the points in the frame.
    """
    program = _Program(spec, points_world, fps)
    K = np.repeat(intrinsics(spec.fov_deg, width, height)[None], len(points_world), axis=0)
    K[:, (0, 1), (0, 1)] *= 2.0 ** program.amounts["zoom"][:, None]
    points, K_torch = torch.as_tensor(points_world).double(), torch.as_tensor(K)
    half_size = torch.tensor([width / 2, height / 2], dtype=torch.float64)

    def fits(distance_m: float) -> bool:
        xy_px, depth_m = project(points, K_torch, torch.as_tensor(program.poses(distance_m)))
        inside = ((xy_px - half_size) / half_size).abs() <= spec.fill
        return bool((depth_m > NEAREST_M).all() and inside.all())

    near, far = DISTANCE_M
    if not fits(far):
        raise OutOfFrame(
            f"no distance up to {far:g} m keeps the people within {spec.fill:g} of the frame; "
            "pan, tilt or shake less, or let them fill less of the frame at a wider fov_deg"
        )
    for _ in range(24):
        between = float(np.sqrt(near * far))
        near, far = (near, between) if fits(between) else (between, far)
    T_camera_world = program.poses(far)
    return CameraTrack(
        K=K,
        T_camera_world=T_camera_world,
        kind=path_kind(K, T_camera_world),
        is_metric=True,
        source="synthetic, exact",
    )


def path_kind(
    K: Float64[np.ndarray, "frames 3 3"], T_camera_world: Float64[np.ndarray, "frames 4 4"]
) -> CameraKind:
    """The recorded kind of a known path.

    `static`: nothing changes, one picture of the background serves all frames. `rotation`: the
    centre rests, so homographies map the background from frame to frame; a zoom counts here.
    """
    if np.ptp(camera_centres(T_camera_world), axis=0).max() > STILL:
        return "moving"
    turns = np.ptp(T_camera_world[:, :3, :3], axis=0).max() > STILL
    zooms = np.ptp(K, axis=0).max() > STILL * K[0, 0, 0]
    return "rotation" if turns or zooms else "static"


def camera_centres(
    T_camera_world: Float64[np.ndarray, "frames 4 4"],
) -> Float64[np.ndarray, "frames 3"]:
    """World places of the camera, metres where the poses are metric."""
    return -np.einsum("tji,tj->ti", T_camera_world[:, :3, :3], T_camera_world[:, :3, 3])


class _Program:
    """A program about given people; only the distance is open."""

    def __init__(self, spec: CameraSpec, points_world: np.ndarray, fps: float) -> None:
        frames = len(points_world)
        time_s, duration_s = np.arange(frames) / fps, frames / fps
        self.spec = spec
        self.amounts = {kind: np.zeros(frames) for kind in MOVES}
        for move in spec.moves:
            done = np.clip((time_s / duration_s - move.start) / (move.end - move.start), 0.0, 1.0)
            eased = done**2 * (3.0 - 2.0 * done) if spec.eases else done
            self.amounts[move.kind] += move.amount * (eased - 0.5)
        self.shake = _shake(spec, time_s, duration_s)
        still = 0.5 * (points_world.min((0, 1)) + points_world.max((0, 1)))
        self.place = self.target = np.repeat(still[None].astype(float), frames, axis=0)
        if spec.follow != "none":
            middle = 0.5 * (points_world.min(1) + points_world.max(1)).astype(float)
            self.target = _smooth(middle, FOLLOW_S * fps)
        if spec.follow == "travel":
            # along the floor only: a camera does not squat with people
            self.place = np.where([True, False, True], self.target, self.place)

    def poses(self, distance_m: float) -> Float[np.ndarray, "frames 4 4"]:
        """T_camera_world with the camera `distance_m` from the people in the middle of a dolly."""
        azimuth = np.radians(self.spec.azimuth_deg + self.amounts["orbit"])
        elevation = np.radians(self.spec.elevation_deg)
        towards = np.stack(
            [
                np.cos(elevation) * np.sin(azimuth),
                np.full_like(azimuth, np.sin(elevation)),
                np.cos(elevation) * np.cos(azimuth),
            ],
            axis=-1,
        )
        eye = self.place + (distance_m * 2.0 ** -self.amounts["dolly"])[:, None] * towards
        eye[:, 1] += self.amounts["crane"]
        # the whole path is lifted: clipping it would bend it
        eye[:, 1] += max(0.0, LOWEST_EYE_M - float(eye[:, 1].min()))
        T = look_at(torch.as_tensor(eye), torch.as_tensor(self.target)).numpy().copy()
        right = T[:, 0, :3].copy()
        shake_deg, shake_m = self.shake[:, :3], self.shake[:, 3:]
        pan = Rotation.from_rotvec(_axis(1, np.radians(-self.amounts["pan"]))).as_matrix()
        tilt = Rotation.from_rotvec(_axis(0, np.radians(-self.amounts["tilt"]))).as_matrix()
        trembling = Rotation.from_rotvec(np.radians(shake_deg)).as_matrix()
        T[:, :3, :3] = trembling @ tilt @ T[:, :3, :3] @ pan.transpose(0, 2, 1)
        centre = eye + right * self.amounts["truck"][:, None]
        centre += np.einsum("tji,tj->ti", T[:, :3, :3], shake_m)
        T[:, :3, 3] = -np.einsum("tij,tj->ti", T[:, :3, :3], centre)
        if not self.spec.moves and self.spec.follow == "none" and self.spec.shake_deg == 0:
            return np.repeat(T[:1], len(T), axis=0)  # equal to the last bit
        return T


def _smooth(way: np.ndarray, sigma_frames: float) -> np.ndarray:
    """A way without its trembling; a steady walk is kept to its very ends."""
    margin = int(np.ceil(4 * sigma_frames))
    # mirrored about its ends, a straight way goes straight on
    wide = np.pad(way, ((margin, margin), (0, 0)), mode="reflect", reflect_type="odd")
    return gaussian_filter1d(wide, sigma_frames, axis=0)[margin : margin + len(way)]


def _axis(axis: int, angle: np.ndarray) -> np.ndarray:
    vectors = np.zeros((len(angle), 3))
    vectors[:, axis] = angle
    return vectors


def _shake(spec: CameraSpec, time_s: np.ndarray, duration_s: float) -> np.ndarray:
    """Rotation (degrees) and place (metres) in camera axes, [frame, 6]; mean 0 over the clip.

    A sum of sines between 0.5 and 6 Hz, the slower the stronger, as hands and steps move a camera.
    """
    rng = np.random.default_rng((spec.shake_seed, 0x5A4E))
    low, high = np.log(SHAKE_HZ)
    omega = 2.0 * np.pi * np.exp(rng.uniform(low, high, (6, SHAKE_WAVES)))
    phase = rng.uniform(0.0, 2.0 * np.pi, (6, SHAKE_WAVES))
    weight = np.sqrt(2.0 / omega) / np.sqrt((1.0 / omega).sum(1, keepdims=True))
    waves = np.sin(omega * time_s[:, None, None] + phase)
    mean = (np.cos(phase) - np.cos(omega * duration_s + phase)) / (omega * duration_s)
    metres = SHAKE_M_PER_DEG
    scale = spec.shake_deg * np.array([1.0, 1.0, SHAKE_ROLL, metres, metres, metres])
    return (weight * (waves - mean)).sum(-1) * scale
