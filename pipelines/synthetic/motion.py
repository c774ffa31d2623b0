"""Procedural motions in SMPL axis-angle: walk, turn, wave, squat, dance.

Each motion is a pure function of its seed, its times and the body; a person starts at the world
origin facing +z, feet on the floor y = 0. +x is the person's left. Angles inside are degrees for
people to read, radians in the result.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from einops import rearrange
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from pipelines.synthetic.gait import (
    Feet,
    Path,
    Skeleton,
    plan_feet,
    planted_feet,
    reachable_height,
    solve_leg,
)

NUM_JOINTS = 24
SPINE, NECK, HEAD = (3, 6, 9), 12, 15
COLLARS, SHOULDERS, ELBOWS, WRISTS = (13, 14), (16, 17), (18, 19), (20, 21)


@dataclass(frozen=True, kw_only=True)
class BodyMotion:
    """One person's pose over the frames; SMPL axis-angle, world frame, metres."""

    global_orient: Float[np.ndarray, "frames 3"]
    body_pose: Float[np.ndarray, "frames 69"]
    transl: Float[np.ndarray, "frames 3"]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """An arm's pose over the frames, degrees, the same words for both sides."""

    raised: Float[np.ndarray, "frames"]
    """From the body: 0 hangs down, 90 is level, 170 is up."""
    ahead: Float[np.ndarray, "frames"]
    """Plane of the raise: 0 to the side, 90 to the front, negative to the back."""
    twist: Float[np.ndarray, "frames"]
    """About the upper arm; negative turns the bent forearm up."""
    flexed: Float[np.ndarray, "frames"]
    """Elbow: 0 straight, 140 folded."""


def _about(axis: int, degrees: np.ndarray) -> Rotation:
    rotvec = np.zeros((len(degrees), 3))
    rotvec[:, axis] = np.radians(degrees)
    return Rotation.from_rotvec(rotvec)


def _arm_rotations(arm: Arm, side: int) -> dict[int, Rotation]:
    """Local rotations of shoulder and elbow; the right arm is the mirror image of the left."""
    raised, ahead = np.radians(arm.raised), np.radians(arm.ahead)
    direction = np.stack(
        [np.sin(raised) * np.cos(ahead), -np.cos(raised), np.sin(raised) * np.sin(ahead)], 1
    )
    axis = np.cross(np.array([1.0, 0.0, 0.0]), direction)
    length = np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
    angle = np.arccos(np.clip(direction[:, :1], -1.0, 1.0))
    shoulder = Rotation.from_rotvec(axis / length * angle) * _about(0, arm.twist)
    elbow = _about(1, -arm.flexed)
    if side == 1:
        shoulder, elbow = (
            Rotation.from_rotvec(r.as_rotvec() * np.array([1.0, -1.0, -1.0]))
            for r in (shoulder, elbow)
        )
    return {SHOULDERS[side]: shoulder, ELBOWS[side]: elbow}


def assemble(
    skeleton: Skeleton,
    pelvis: Float[np.ndarray, "frames 3"],
    R_pelvis: Rotation,
    local: dict[int, Rotation],
) -> BodyMotion:
    """SMPL parameters from the pelvis joint's place and the joints' local rotations."""
    frames = len(pelvis)
    rotvec = np.zeros((frames, NUM_JOINTS, 3))
    rotvec[:, 0] = R_pelvis.as_rotvec()
    for joint, rotation in local.items():
        rotvec[:, joint] = rotation.as_rotvec()
    return BodyMotion(
        global_orient=rotvec[:, 0].astype(np.float32),
        body_pose=rearrange(rotvec[:, 1:], "t j c -> t (j c)").astype(np.float32),
        transl=(pelvis - skeleton.joints[0]).astype(np.float32),
    )


@dataclass(frozen=True, kw_only=True)
class Trunk:
    """Pelvis and spine over the frames, degrees; +x left, y up."""

    pelvis: Float[np.ndarray, "frames 3"]
    """Pitch (forward lean positive), yaw (left positive), roll, on top of the path's yaw."""
    spine: Float[np.ndarray, "frames 3"]
    """Pitch, yaw, roll, spread evenly over the three spine joints."""
    head: Float[np.ndarray, "frames 3"]


def _euler(angles: np.ndarray) -> Rotation:
    return Rotation.from_euler("YXZ", np.radians(angles[:, [1, 0, 2]]))


def _body(
    skeleton: Skeleton,
    times_s: np.ndarray,
    path: Path,
    feet: Feet,
    trunk: Trunk,
    arms: tuple[Arm, Arm],
    lowered_m: np.ndarray,
    shift_m: np.ndarray,
) -> BodyMotion:
    """Put trunk and arms over feet; `shift_m` [frames 2] moves the pelvis (left, ahead)."""
    place, yaw = path.at(times_s)
    turned = np.stack([0 * yaw, np.degrees(yaw), 0 * yaw], 1)
    R_pelvis = _euler(turned) * _euler(trunk.pelvis)
    left, front = np.stack([np.cos(yaw), -np.sin(yaw)], 1), np.stack([np.sin(yaw), np.cos(yaw)], 1)
    xz = place + shift_m[:, :1] * left + shift_m[:, 1:] * front
    rate = 1.0 / max(float(np.median(np.diff(times_s))), 1e-3) if len(times_s) > 1 else 30.0
    height = reachable_height(skeleton, feet, xz, R_pelvis, rate)
    height = np.minimum(height, skeleton.standing_m - lowered_m)
    pelvis = np.stack([xz[:, 0], height, xz[:, 1]], 1)
    local: dict[int, Rotation] = {}
    for side in (0, 1):
        local |= solve_leg(skeleton, side, pelvis, R_pelvis, feet)
        local |= _arm_rotations(arms[side], side)
        local[COLLARS[side]] = _about(
            2, np.clip(arms[side].raised - 60, 0, 90) * (0.18 if side == 0 else -0.18)
        )
    for joint in SPINE:
        local[joint] = _euler(trunk.spine / len(SPINE))
    local[NECK] = local[HEAD] = _euler(trunk.head / 2)
    return assemble(skeleton, pelvis, R_pelvis, local)


def _still_path() -> Path:
    return Path(times_s=np.array([-1e4, 1e4]), xz_m=np.zeros((2, 2)), yaw=np.zeros(2))


def _columns(*columns: np.ndarray | float | int, like: np.ndarray) -> np.ndarray:
    return np.stack([np.broadcast_to(c, like.shape) for c in columns], axis=1).astype(float)


def _drift(
    rng: np.random.Generator, times_s: np.ndarray, scale: float | int, period_s: float = 2.5
) -> np.ndarray:
    """Slow wandering of about +-scale: life in a figure that stands still."""
    phase, rate = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.7, 1.6, 3) / period_s
    waves = np.sin(2 * np.pi * rate[:, None] * times_s + phase[:, None])
    return scale * waves.mean(0)


def _curved_path(rng: np.random.Generator, until_s: float, speed: float, turn_deg_s: float) -> Path:
    times = np.arange(-3.0, until_s + 3.0, 0.02)
    yaw = np.radians(turn_deg_s) * times + np.radians(_drift(rng, times, 5.0, 4.0))
    step = np.stack([np.sin(yaw), np.cos(yaw)], 1) * speed * 0.02
    xz = np.cumsum(step, axis=0)
    return Path(times_s=times, xz_m=xz - xz[np.searchsorted(times, 0.0)], yaw=yaw)


def _stepping(
    rng: np.random.Generator, times_s: np.ndarray, skeleton: Skeleton, path: Path, speed: float
) -> BodyMotion:
    """Steps along a path with the swing of arms, pelvis and spine that goes with them."""
    step_s = float(rng.uniform(0.48, 0.58)) * (1.25 - 0.2 * min(speed, 1.6))
    times = times_s + rng.uniform(0.0, 2 * step_s)
    path = Path(times_s=path.times_s + (times - times_s)[0], xz_m=path.xz_m, yaw=path.yaw)
    feet = plan_feet(skeleton, path, times, step_s, float(rng.uniform(0.14, 0.2)))
    beat = np.cos(np.pi * (times / step_s - 0.9))  # +1 when the left foot is ahead
    vigour = min(1.0, 0.35 + 0.5 * speed)
    lean = rng.uniform(1.0, 4.0)
    pelvis = _columns(lean, -5.0 * vigour * beat, 2.0 * np.roll(beat, 0), like=times)
    spine = _columns(lean * 0.5 - 2.0, 9.0 * vigour * beat, -2.0 * beat, like=times)
    head = _columns(_drift(rng, times, 4.0), _drift(rng, times, 12.0), 0.0, like=times)
    reach, elbow = rng.uniform(16.0, 28.0) * vigour, rng.uniform(12.0, 35.0)
    arms = []
    for sign in (-1.0, 1.0):  # the left arm goes back as the left leg goes ahead
        swing = sign * beat * reach + 4.0
        side = rng.uniform(6.0, 12.0)
        arms.append(
            Arm(
                raised=np.hypot(swing, side),
                ahead=np.degrees(np.arctan2(swing, side)),
                twist=np.zeros_like(times),
                flexed=elbow + 0.5 * np.maximum(swing, 0.0),
            )
        )
    sway = np.cos(np.pi * (times / step_s - 0.4)) * -0.02
    shift = _columns(sway, 0.0, like=times)
    lowered = np.full_like(times, 0.015)
    trunk = Trunk(pelvis=pelvis, spine=spine, head=head)
    return _body(skeleton, times, path, feet, trunk, (arms[0], arms[1]), lowered, shift)


def walk(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Walk ahead at 0.6 to 1.5 m/s, straight or on a wide curve."""
    rng = np.random.default_rng(seed)
    speed = float(rng.uniform(0.6, 1.5)) * skeleton.leg_m / 0.82
    turn = float(rng.choice([0.0, rng.uniform(-25, 25)]))
    return _stepping(
        rng, times_s, skeleton, _curved_path(rng, float(times_s.max()), speed, turn), speed
    )


def turn(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Turn about on the spot with small steps, 40 to 110 degrees per second."""
    rng = np.random.default_rng(seed)
    rate = float(rng.uniform(40.0, 110.0)) * float(rng.choice([-1.0, 1.0]))
    return _stepping(
        rng, times_s, skeleton, _curved_path(rng, float(times_s.max()), 0.05, rate), 0.2
    )


def _hanging_arm(rng: np.random.Generator, times_s: np.ndarray) -> Arm:
    return Arm(
        raised=rng.uniform(8.0, 16.0) + _drift(rng, times_s, 3.0),
        ahead=rng.uniform(0.0, 50.0) + _drift(rng, times_s, 20.0),
        twist=np.zeros_like(times_s),
        flexed=rng.uniform(10.0, 30.0) + _drift(rng, times_s, 6.0),
    )


def _idle_trunk(rng: np.random.Generator, times_s: np.ndarray) -> Trunk:
    def angles(pitch: float | int, yaw: float | int, roll: float | int) -> np.ndarray:
        waves = (_drift(rng, times_s, scale) for scale in (pitch, yaw, roll))
        return _columns(*waves, like=times_s)

    return Trunk(pelvis=angles(2, 6, 2), spine=angles(4, 8, 4), head=angles(8, 22, 4))


def wave(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Stand and wave one raised hand."""
    rng = np.random.default_rng(seed)
    side = int(rng.integers(2))
    rate = rng.uniform(1.2, 2.2)
    arm = Arm(
        raised=rng.uniform(70.0, 105.0) + _drift(rng, times_s, 6.0),
        ahead=rng.uniform(0.0, 35.0) + _drift(rng, times_s, 5.0),
        twist=np.full_like(times_s, -rng.uniform(70.0, 90.0)),
        flexed=rng.uniform(60.0, 85.0) + 28.0 * np.sin(2 * np.pi * rate * times_s),
    )
    arms = [_hanging_arm(rng, times_s), _hanging_arm(rng, times_s)]
    arms[side] = arm
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.2, 0.34)), 8.0)
    shift = _columns(_drift(rng, times_s, 0.04), _drift(rng, times_s, 0.02), like=times_s)
    trunk, lowered = _idle_trunk(rng, times_s), np.full_like(times_s, 0.01)
    return _body(skeleton, times_s, _still_path(), feet, trunk, (arms[0], arms[1]), lowered, shift)


def squat(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Squat down and up again and again, arms coming to the front."""
    rng = np.random.default_rng(seed)
    period, phase = rng.uniform(1.6, 2.8), rng.uniform(0, 2 * np.pi)
    depth = 0.5 - 0.5 * np.cos(2 * np.pi * times_s / period + phase)
    far = float(rng.uniform(0.25, 0.5)) * skeleton.leg_m
    arm = Arm(
        raised=15.0 + 70.0 * depth,
        ahead=30.0 + 52.0 * depth,
        twist=np.zeros_like(times_s),
        flexed=15.0 + rng.uniform(0.0, 50.0) * depth,
    )
    trunk = Trunk(
        pelvis=_columns(38.0 * depth, 0.0, 0.0, like=times_s),
        spine=_columns(-8.0 * depth, _drift(rng, times_s, 3.0), 0.0, like=times_s),
        head=_columns(-14.0 * depth, _drift(rng, times_s, 10.0), 0.0, like=times_s),
    )
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.3, 0.45)), 14.0)
    shift = _columns(0.0, -0.22 * depth * far, like=times_s)
    lowered = 0.01 + far * depth
    return _body(skeleton, times_s, _still_path(), feet, trunk, (arm, arm), lowered, shift)


def _keyframed(
    rng: np.random.Generator,
    times_s: np.ndarray,
    low: float | int,
    high: float | int,
    beat_s: float,
) -> np.ndarray:
    """Smooth curve through random values in [low, high], one per beat, without overshoot."""
    first, last = np.floor(times_s.min() / beat_s) - 1, np.ceil(times_s.max() / beat_s) + 1
    knots = np.arange(first, last + 1)
    # drawn by beat number, so that a later start of the same motion shows the same dance
    key = int(rng.integers(2**31))
    values = [np.random.default_rng((key, int(k) + 10**6)).uniform(low, high) for k in knots]
    return np.asarray(PchipInterpolator(knots * beat_s, np.array(values))(times_s))


def dance(seed: int, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton) -> BodyMotion:
    """Free movement to a beat: both arms anywhere, swaying hips, turning trunk, bent knees."""
    rng = np.random.default_rng(seed)
    beat = float(rng.uniform(0.45, 0.85))

    def curve(low: float | int, high: float | int) -> np.ndarray:
        return _keyframed(rng, times_s, low, high, beat)

    arms = [
        Arm(
            raised=curve(15, 160),
            ahead=curve(-15, 85),
            twist=curve(-80, 20),
            flexed=curve(5, 115),
        )
        for _ in range(2)
    ]
    trunk = Trunk(
        pelvis=_columns(curve(-4, 14), curve(-18, 18), curve(-7, 7), like=times_s),
        spine=_columns(curve(-10, 16), curve(-25, 25), curve(-14, 14), like=times_s),
        head=_columns(curve(-12, 18), curve(-35, 35), curve(-10, 10), like=times_s),
    )
    feet = planted_feet(skeleton, len(times_s), float(rng.uniform(0.24, 0.5)), 12.0)
    shift = _columns(curve(-0.09, 0.09), curve(-0.04, 0.05), like=times_s)
    lowered = curve(0.01, 0.17)
    return _body(skeleton, times_s, _still_path(), feet, trunk, (arms[0], arms[1]), lowered, shift)


MOTIONS: dict[str, Callable[[int, np.ndarray, Skeleton], BodyMotion]] = {
    "walk": walk,
    "turn": turn,
    "wave": wave,
    "squat": squat,
    "dance": dance,
}
