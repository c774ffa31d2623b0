"""A figure over planned feet: pelvis, spine, head and arms as SMPL rotations.

A person starts at the world origin facing +z, feet on the floor y = 0. +x is the person's left.
Angles inside are degrees for people to read, radians in the result.
"""

from dataclasses import dataclass

import numpy as np
from einops import rearrange
from jaxtyping import Float
from scipy.interpolate import PchipInterpolator
from scipy.spatial.transform import Rotation

from pipelines.synthetic.gait import Feet, Path, Skeleton, reachable_height, solve_leg

NUM_JOINTS = 24
MIRRORED = (0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22)
"""Joint on the other side of each."""
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

    def rotations(self, skeleton: Skeleton, side: int) -> dict[int, Rotation]:
        """Local rotations of shoulder and elbow; the right arm is the mirror image of the left."""
        del skeleton
        raised, ahead = np.radians(self.raised), np.radians(self.ahead)
        direction = np.stack(
            [np.sin(raised) * np.cos(ahead), -np.cos(raised), np.sin(raised) * np.sin(ahead)], 1
        )
        axis = np.cross(np.array([1.0, 0.0, 0.0]), direction)
        length = np.maximum(np.linalg.norm(axis, axis=1, keepdims=True), 1e-9)
        angle = np.arccos(np.clip(direction[:, :1], -1.0, 1.0))
        shoulder = Rotation.from_rotvec(axis / length * angle) * _about(0, self.twist)
        lifted = np.clip(self.raised - 60, 0, 90) * 0.18
        return _of_side(
            {
                SHOULDERS[0]: shoulder,
                ELBOWS[0]: _about(1, -self.flexed),
                COLLARS[0]: _about(2, lifted),
            },
            side,
        )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """An arm by the place of its wrist over the frames, the same words for both sides."""

    wrist: Float[np.ndarray, "frames 3"]
    """From the middle between the shoulders, along the chest's axes: outwards, up, ahead; in
    lengths of the straight arm to the wrist."""
    elbow: Float[np.ndarray, "frames 3"]
    """Direction in which the elbow points, same axes."""
    bent: Float[np.ndarray, "frames"]
    """Wrist: degrees, positive towards the back of the hand."""

    def rotations(self, skeleton: Skeleton, side: int) -> dict[int, Rotation]:
        """Local rotations of shoulder, elbow and wrist by two-bone inverse kinematics."""
        j = skeleton.joints
        upper, lower = j[18] - j[16], j[20] - j[18]
        a, b = float(np.linalg.norm(upper)), float(np.linalg.norm(lower))
        lift = _about(2, 18.0 * np.clip(self.wrist[:, 1], 0.0, 1.0))  # collarbones go along
        shoulder = j[13] + lift.apply(j[16] - j[13])
        away = 0.5 * (j[16] + j[17]) + (a + b) * self.wrist - shoulder
        distance = np.linalg.norm(away, axis=1, keepdims=True)
        along = away / np.maximum(distance, 1e-9)
        reached = np.clip(distance, 0.32 * (a + b), 0.995 * (a + b))
        pole = self.elbow - (self.elbow * along).sum(1, keepdims=True) * along
        pole /= np.maximum(np.linalg.norm(pole, axis=1, keepdims=True), 1e-9)
        cosine = np.clip((a * a + reached**2 - b * b) / (2 * a * reached), -1.0, 1.0)
        to_elbow = cosine * along + np.sqrt(1 - cosine**2) * pole
        to_wrist = reached * along - a * to_elbow
        hinge = np.cross(to_elbow, to_wrist)
        rest_hinge = np.array([0.0, -1.0, 0.0])
        R_upper = _limb(to_elbow, hinge) * _limb(upper, rest_hinge).inv()
        R_lower = _limb(to_wrist, hinge) * _limb(lower, rest_hinge).inv()
        turned = {
            COLLARS[0]: lift,
            SHOULDERS[0]: lift.inv() * R_upper,
            ELBOWS[0]: R_upper.inv() * R_lower,
            WRISTS[0]: _about(2, self.bent),
        }
        return _of_side(turned, side)


def _limb(along: np.ndarray, hinge: np.ndarray) -> Rotation:
    x = along / np.linalg.norm(along, axis=-1, keepdims=True)
    y = hinge - (hinge * x).sum(-1, keepdims=True) * x
    y = y / np.maximum(np.linalg.norm(y, axis=-1, keepdims=True), 1e-9)
    return Rotation.from_matrix(np.stack([x, y, np.cross(x, y)], axis=-1))


def _of_side(left: dict[int, Rotation], side: int) -> dict[int, Rotation]:
    """The left arm's rotations, or their mirror images for the right arm."""
    if side == 0:
        return left
    flip = np.array([1.0, -1.0, -1.0])
    return {k + 1: Rotation.from_rotvec(r.as_rotvec() * flip) for k, r in left.items()}


def _about(axis: int, degrees: np.ndarray) -> Rotation:
    rotvec = np.zeros((len(degrees), 3))
    rotvec[:, axis] = np.radians(degrees)
    return Rotation.from_rotvec(rotvec)


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


def mirror(motion: BodyMotion, skeleton: Skeleton) -> BodyMotion:
    """Left and right exchanged, about the plane x = 0."""
    rotvec = rearrange(motion.body_pose, "t (j c) -> t j c", c=3)
    flip = np.array([1.0, -1.0, -1.0], np.float32)
    swapped = (rotvec * flip)[:, [joint - 1 for joint in MIRRORED[1:]]]
    root = skeleton.joints[0].astype(np.float32)
    return BodyMotion(
        global_orient=motion.global_orient * flip,
        body_pose=rearrange(swapped, "t j c -> t (j c)"),
        transl=(motion.transl + root) * np.array([-1.0, 1.0, 1.0], np.float32) - root,
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


def build_body(
    skeleton: Skeleton,
    times_s: np.ndarray,
    path: Path,
    feet: Feet,
    trunk: Trunk,
    arms: tuple[Arm | Reach, Arm | Reach],
    lowered_m: np.ndarray,
    shift_m: np.ndarray,
) -> BodyMotion:
    """Put trunk and arms over feet.

    Args:
        skeleton: The figure.
        times_s: Of the frames.
        path: Where the pelvis goes.
        feet: Are reached: the pelvis comes down where it must.
        trunk: Its angles.
        arms: Left and right.
        lowered_m: How far the pelvis is below where it stands straight; negative in the air.
        shift_m: [frames 2], moves the pelvis off the path, left and ahead.
    """
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
        local |= arms[side].rotations(skeleton, side)
    for joint in SPINE:
        local[joint] = _euler(trunk.spine / len(SPINE))
    local[NECK] = local[HEAD] = _euler(trunk.head / 2)
    return assemble(skeleton, pelvis, R_pelvis, local)


def from_chest(
    skeleton: Skeleton, pitch_deg: tuple[float, float], place_m: tuple[float, float, float]
) -> Float[np.ndarray, "3"]:
    """A place given from the pelvis joint (outwards, up, ahead), as the wrist of a `Reach` is.

    Args:
        skeleton: The figure.
        pitch_deg: Of the pelvis, and of the spine as `Trunk` says.
        place_m: Along the world's axes for someone who faces +z.
    """
    j = skeleton.joints
    turn, at = _about(0, np.array([pitch_deg[0]]))[0], np.zeros(3)
    step = _about(0, np.array([pitch_deg[1] / len(SPINE)]))[0]
    for joint, parent in zip(SPINE, (0, *SPINE), strict=False):
        at = at + turn.apply(j[joint] - j[parent])
        turn = turn * step
    shoulders = at + turn.apply(0.5 * (j[16] + j[17]) - j[SPINE[-1]])
    arm_m = np.linalg.norm(j[18] - j[16]) + np.linalg.norm(j[20] - j[18])
    return turn.inv().apply(np.array(place_m) - shoulders) / arm_m


def still_path() -> Path:
    """Of someone who stays at the origin and faces +z."""
    return Path(times_s=np.array([-1e4, 1e4]), xz_m=np.zeros((2, 2)), yaw=np.zeros(2))


def columns(*columns: np.ndarray | float | int, like: np.ndarray) -> np.ndarray:
    """Values or curves side by side, [frames, columns]."""
    return np.stack([np.broadcast_to(c, like.shape) for c in columns], axis=1).astype(float)


def drift(
    rng: np.random.Generator, times_s: np.ndarray, scale: float | int, period_s: float = 2.5
) -> np.ndarray:
    """Slow wandering of about +-scale: life in a figure that stands still."""
    phase, rate = rng.uniform(0, 2 * np.pi, 3), rng.uniform(0.7, 1.6, 3) / period_s
    waves = np.sin(2 * np.pi * rate[:, None] * times_s + phase[:, None])
    return scale * waves.mean(0)


def hanging_arm(rng: np.random.Generator, times_s: np.ndarray) -> Arm:
    """An arm that hangs at ease and moves a little."""
    return Arm(
        raised=rng.uniform(8.0, 16.0) + drift(rng, times_s, 3.0),
        ahead=rng.uniform(0.0, 50.0) + drift(rng, times_s, 20.0),
        twist=np.zeros_like(times_s),
        flexed=rng.uniform(10.0, 30.0) + drift(rng, times_s, 6.0),
    )


def idle_trunk(rng: np.random.Generator, times_s: np.ndarray) -> Trunk:
    """The trunk of someone who stands and looks about."""

    def angles(pitch: float | int, yaw: float | int, roll: float | int) -> np.ndarray:
        waves = (drift(rng, times_s, scale) for scale in (pitch, yaw, roll))
        return columns(*waves, like=times_s)

    return Trunk(pelvis=angles(2, 6, 2), spine=angles(4, 8, 4), head=angles(8, 22, 4))


def keyframed(
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
