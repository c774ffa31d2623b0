"""Feet that stay where they stand: footsteps, foot roll and legs solved from them.

World frame: metres, y up, floor at y = 0. A person faces +z at yaw 0; +x is the person's left.
Pitch of a foot is positive with the heel up. Rotations are scipy `Rotation` stacks over frames.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d, minimum_filter1d
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel

LEGS = ((1, 4, 7, 10), (2, 5, 8, 11))
"""Hip, knee, ankle and foot joint of the left and of the right leg."""
SWING_SHARE = 0.8
"""Part of a step during which its foot is in the air; the rest is double support."""
HEEL_UP_DEG, TOES_UP_DEG = 42.0, -16.0
LIFT_M = 0.05
RUN_HEEL_UP_DEG, RUN_LIFT_M = 75.0, 0.16
"""A runner's heels fly up behind."""
IN_AIR_M = 0.05
"""By so much a foot in the air may fall short of its plan before the pelvis comes down."""
REACH = 0.998
"""Longest hip to ankle distance as a share of the straight leg."""


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """What a motion needs to know of a body: its rest joints and where its feet touch."""

    joints: Float[np.ndarray, "24 3"]
    """Rest joints, body frame, metres."""
    heels: Float[np.ndarray, "2 3"]
    """Rest place of the rear contact of the left and right sole."""
    balls: Float[np.ndarray, "2 3"]
    """Rest place of the front contact, below the foot joint."""

    @staticmethod
    def of(body: BodyModel, betas: Float[np.ndarray, "10"]) -> "Skeleton":
        """Measure a shaped body."""
        shaped = body.shape(torch.as_tensor(betas, dtype=torch.float32))
        vertices, joints = shaped.vertices.numpy().astype(float), shaped.joints.numpy()
        owner = body.weights.argmax(dim=1).numpy()
        heels, balls = np.zeros((2, 3)), np.zeros((2, 3))
        for side, (_, _, ankle, foot) in enumerate(LEGS):
            sole = vertices[(owner == ankle) | (owner == foot)]
            floor, back = sole[:, 1].min(), sole[:, 2].min()
            heels[side] = joints[ankle][0], floor, back + 0.02
            balls[side] = joints[foot][0], floor, joints[foot][2]
        return Skeleton(joints=joints.astype(float), heels=heels, balls=balls)

    @property
    def ankle_height_m(self) -> float:
        """Height of the ankles over the sole of a flat foot."""
        return float(self.joints[[7, 8], 1].mean() - self.heels[:, 1].mean())

    @property
    def leg_m(self) -> float:
        """Length of the straight leg from hip to ankle."""
        j = self.joints
        return float(np.linalg.norm(j[4] - j[1]) + np.linalg.norm(j[7] - j[4]))

    @property
    def standing_m(self) -> float:
        """Height of the pelvis joint when standing straight."""
        return self.leg_m * REACH + self.ankle_height_m + float(self.joints[0, 1] - self.hip_y)

    @property
    def hip_y(self) -> float:
        """Mean height of the hip joints in the body frame."""
        return float(self.joints[[1, 2], 1].mean())


@dataclass(frozen=True, kw_only=True)
class Path:
    """Where the pelvis goes over the floor, sampled finely; times between samples are linear."""

    times_s: Float[np.ndarray, "samples"]
    xz_m: Float[np.ndarray, "samples 2"]
    yaw: Float[np.ndarray, "samples"]
    """Radians, unwrapped."""

    def at(
        self, times_s: Float[np.ndarray, "*any"]
    ) -> tuple[Float[np.ndarray, "*any 2"], Float[np.ndarray, "*any"]]:
        """Place and yaw at the given times."""
        place = [np.interp(times_s, self.times_s, self.xz_m[:, k]) for k in range(2)]
        return np.stack(place, axis=-1), np.interp(times_s, self.times_s, self.yaw)


@dataclass(frozen=True, kw_only=True)
class Feet:
    """Both feet over the frames, world frame."""

    ankles: Float[np.ndarray, "2 frames 3"]
    yaw: Float[np.ndarray, "2 frames"]
    pitch: Float[np.ndarray, "2 frames"]
    toe_bend: Float[np.ndarray, "2 frames"]
    """Rotation of the toes against the foot, so that they stay flat while the heel rises."""
    stance: Float[np.ndarray, "2 frames"]
    """1 while the foot carries the body, 0 in the air."""


def yaw_rotation(yaw: Float[np.ndarray, "*any"]) -> Rotation:
    """Turn about the vertical; positive turns the face (+z) towards +x."""
    return Rotation.from_rotvec(np.stack([0 * yaw, yaw, 0 * yaw], axis=-1))


def rolled_ankle(
    skeleton: Skeleton, side: int, foothold: np.ndarray, yaw: np.ndarray, pitch: np.ndarray
) -> np.ndarray:
    """Ankle of a foot standing on `foothold` (its flat ankle) and rolled about heel or toe joint.

    About the toe joint, so that toes bent by as much lie still on the floor.
    """
    _, _, ankle_id, foot_id = LEGS[side]
    ankle, toes = skeleton.joints[ankle_id], skeleton.joints[foot_id]
    contact = np.where((pitch > 0)[:, None], toes, skeleton.heels[side]) - ankle
    turn = yaw_rotation(yaw)
    roll = Rotation.from_rotvec(np.stack([pitch, 0 * pitch, 0 * pitch], axis=-1))
    return foothold + turn.apply(contact) - (turn * roll).apply(contact)


def _smooth(s: np.ndarray) -> np.ndarray:
    return s * s * (3.0 - 2.0 * s)


def plan_feet(
    skeleton: Skeleton,
    path: Path,
    times_s: Float[np.ndarray, "frames"],
    step_s: float,
    width_m: float,
    swing_share: float = SWING_SHARE,
) -> Feet:
    """Alternate steps along a path: every foothold lies beside the pelvis at its mid-stance.

    Args:
        skeleton: The walker.
        path: Must cover `times_s` and one cycle before and after.
        times_s: Moments to evaluate.
        step_s: Time from one heel strike to that of the other foot.
        width_m: Distance between the tracks of the two feet.
        swing_share: Part of a step during which a foot is in the air; above 1 it is a run, with
            both feet in the air for a while.
    """
    cycle = 2.0 * step_s
    swing = swing_share * step_s
    parts: list[list[np.ndarray]] = []
    for side in (0, 1):
        local = times_s - side * step_s
        index = np.floor(local / cycle)
        since = local - index * cycle  # the foot is in the air for since < swing
        middle = side * step_s + (index + 1) * cycle - (cycle - swing) / 2.0
        here, there = (
            _foothold(skeleton, side, path, middle + shift, width_m) for shift in (-cycle, 0.0)
        )
        parts.append(_one_foot(skeleton, side, since, swing, cycle, (here, there)))
    ankles, yaw, pitch, toe_bend, stance = (np.stack(values) for values in zip(*parts, strict=True))
    return Feet(ankles=ankles, yaw=yaw, pitch=pitch, toe_bend=toe_bend, stance=stance)


def _foothold(
    skeleton: Skeleton, side: int, path: Path, middle_s: np.ndarray, width_m: float
) -> tuple[np.ndarray, np.ndarray]:
    place, yaw = path.at(middle_s)
    lateral = np.array([width_m / 2 * (1.0 if side == 0 else -1.0), 0.0, 0.0])
    ankle = yaw_rotation(yaw).apply(lateral) + np.stack([place[:, 0], 0 * yaw, place[:, 1]], 1)
    ankle[:, 1] = skeleton.ankle_height_m
    return ankle, yaw


def _one_foot(
    skeleton: Skeleton,
    side: int,
    since: np.ndarray,
    swing: float,
    cycle: float,
    footholds: tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]],
) -> list[np.ndarray]:
    """One foot: in the air between footholds while since < swing, then standing on the second."""
    here, there = footholds
    is_run = swing > cycle / 2
    length = np.linalg.norm(there[0] - here[0], axis=1)
    stride = np.clip(length / 1.2, 0.15, 1.0)  # short steps roll less
    up, down = np.radians(HEEL_UP_DEG) * stride, np.radians(TOES_UP_DEG) * stride
    s = np.clip(since / swing, 0.0, 1.0)
    standing = np.clip((since - swing) / (cycle - swing), 0.0, 1.0)
    early, late = _smooth(np.clip(standing / 0.22, 0, 1)), np.clip((standing - 0.55) / 0.45, 0, 1)
    roll = down * (1.0 - early) + up * late**2
    in_air = since < swing
    pitch = np.where(in_air, up + (down - up) * _smooth(np.clip(s / 0.9, 0.0, 1.0)), roll)
    lift = LIFT_M * (0.4 + 0.6 * stride) * np.sin(np.pi * s**0.6)  # early: toes clear
    if is_run:
        flung = np.radians(RUN_HEEL_UP_DEG) * stride * np.sin(np.pi * s**0.7) ** 2
        pitch = pitch + np.where(in_air, flung, 0.0)
        lift = lift + RUN_LIFT_M * stride * np.sin(np.pi * s**0.8) ** 2
    start = rolled_ankle(skeleton, side, here[0], here[1], up)
    end = rolled_ankle(skeleton, side, there[0], there[1], down)
    ahead = (s - 0.8 * np.sin(2 * np.pi * s) / (2 * np.pi))[:, None]
    moving = start + (end - start) * ahead
    moving[:, 1] += lift
    stood = rolled_ankle(skeleton, side, there[0], there[1], roll)
    yaw = here[1] + (there[1] - here[1]) * _smooth(s)
    toe_bend = np.where(in_air, -up * np.clip(1.0 - 1.8 * s, 0, 1), -np.maximum(roll, 0.0))
    ankles = np.where(in_air[:, None], moving, stood)
    return [ankles, yaw, pitch, toe_bend, (~in_air).astype(float)]


def planted_feet(skeleton: Skeleton, num_frames: int, width_m: float, turnout_deg: float) -> Feet:
    """Both feet flat beside the origin for all frames."""
    side = np.array([1.0, -1.0])[:, None]
    ankles = np.zeros((2, num_frames, 3))
    ankles[..., 0] = side * width_m / 2
    ankles[..., 1] = skeleton.ankle_height_m
    flat = np.zeros((2, num_frames))
    yaw = flat + side * np.radians(turnout_deg)
    return Feet(ankles=ankles, yaw=yaw, pitch=flat, toe_bend=flat, stance=flat + 1.0)


def reachable_height(
    skeleton: Skeleton,
    feet: Feet,
    pelvis_xz: Float[np.ndarray, "frames 2"],
    R_pelvis: Rotation,
    frames_per_s: float,
) -> Float[np.ndarray, "frames"]:
    """Highest smooth pelvis height at which both legs reach their feet."""
    limits = []
    for side, (hip, _, _, _) in enumerate(LEGS):
        offset = R_pelvis.apply(skeleton.joints[hip] - skeleton.joints[0])
        away = feet.ankles[side][:, [0, 2]] - (pelvis_xz + offset[:, [0, 2]])
        reach = (REACH * skeleton.leg_m) ** 2 - (away**2).sum(1)
        limit = feet.ankles[side][:, 1] + np.sqrt(np.maximum(reach, 0.01)) - offset[:, 1]
        limits.append(limit + IN_AIR_M * (1.0 - feet.stance[side]))
    lowest = np.min(limits, axis=0)
    width = max(1, round(0.06 * frames_per_s))
    low = minimum_filter1d(lowest, 2 * width + 1, mode="nearest")
    return gaussian_filter1d(low, width / 3.0, mode="nearest", truncate=3.0)


def _leg_frame(along: np.ndarray, hinge: np.ndarray) -> Rotation:
    """Axes of a limb: x the hinge, y against the limb's direction."""
    y = -along / np.linalg.norm(along, axis=-1, keepdims=True)
    x = hinge - (hinge * y).sum(-1, keepdims=True) * y
    x = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return Rotation.from_matrix(np.stack([x, y, np.cross(x, y)], axis=-1))


def solve_leg(
    skeleton: Skeleton,
    side: int,
    pelvis: Float[np.ndarray, "frames 3"],
    R_pelvis: Rotation,
    feet: Feet,
) -> dict[int, Rotation]:
    """Rotations of hip, knee, ankle and foot joints that bring one ankle to its place.

    Two-bone inverse kinematics; the knee points halfway between pelvis and foot heading.
    """
    hip_id, knee_id, ankle_id, foot_id = LEGS[side]
    j = skeleton.joints
    hip = pelvis + R_pelvis.apply(j[hip_id] - j[0])
    thigh, shin = j[knee_id] - j[hip_id], j[ankle_id] - j[knee_id]
    a, b = np.linalg.norm(thigh), np.linalg.norm(shin)
    to_ankle = feet.ankles[side] - hip
    distance = np.linalg.norm(to_ankle, axis=1, keepdims=True)
    along = to_ankle / distance
    reached = np.clip(distance, abs(a - b) + 0.01, (a + b) * 0.9999)
    R_foot_flat = yaw_rotation(feet.yaw[side])
    to_left = R_pelvis.apply([1.0, 0.0, 0.0]) + R_foot_flat.apply([1.0, 0.0, 0.0])
    pole = np.cross(along, to_left)  # ahead of a hanging leg, above one that lies ahead
    pole /= np.linalg.norm(pole, axis=1, keepdims=True)
    cosine = np.clip((a * a + reached**2 - b * b) / (2 * a * reached), -1.0, 1.0)
    to_knee = cosine * along + np.sqrt(1 - cosine**2) * pole
    knee_to_ankle = reached * along - a * to_knee
    hinge = np.cross(-along, pole)
    left = np.array([1.0, 0.0, 0.0])
    R_thigh = _leg_frame(to_knee, hinge) * _leg_frame(thigh, left).inv()
    R_shin = _leg_frame(knee_to_ankle, hinge) * _leg_frame(shin, left).inv()
    pitch, bend = feet.pitch[side], feet.toe_bend[side]
    R_foot = R_foot_flat * Rotation.from_rotvec(np.stack([pitch, 0 * pitch, 0 * pitch], 1))
    return {
        hip_id: R_pelvis.inv() * R_thigh,
        knee_id: R_thigh.inv() * R_shin,
        ankle_id: R_shin.inv() * R_foot,
        foot_id: Rotation.from_rotvec(np.stack([bend, 0 * bend, 0 * bend], 1)),
    }
