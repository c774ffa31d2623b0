"""Recordings onto a body: a skeleton's motion as SMPL rotations.

The result is in the project's world: metres, y up, floor at y = 0. Rotations are scipy `Rotation`
stacks over frames.
"""

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d
from scipy.spatial.transform import Rotation, Slerp

from pipelines.synthetic.bvh import Recording, forward_kinematics
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import BodyMotion, assemble
from storage_schemas.conventions import SMPL_PARENTS

ALIASES = {
    "hips": ("hips", "pelvis", "root"),
    "head": ("head",),
    "left_thigh": ("leftupleg", "lefthip", "leftthigh"),
    "left_shin": ("leftleg", "leftknee", "leftshin"),
    "left_foot": ("leftfoot", "leftankle"),
    "left_toe": ("lefttoebase", "lefttoe"),
    "left_collar": ("leftcollar", "leftclavicle", "leftshoulder"),
    "left_arm": ("leftarm", "leftuparm", "leftupperarm", "leftshoulder"),
    "left_forearm": ("leftforearm", "leftelbow", "leftlowarm"),
    "left_hand": ("lefthand", "leftwrist"),
}
"""Role -> names in use, lower case, best first; the right side is the same with right for left."""
LIMBS = {
    1: ("left_thigh", "left_shin"),
    4: ("left_shin", "left_foot"),
    16: ("left_arm", "left_forearm"),
    18: ("left_forearm", "left_hand"),
}
"""SMPL joint of the left side -> the source bone whose direction it takes."""
TOUCHING = {22: 0.02, 23: 0.02, 4: 0.05, 5: 0.05, 18: 0.04, 19: 0.04, 15: 0.1, 0: 0.1}
"""Joints that may touch the floor besides the feet, with the flesh around them in metres."""
STEP_M, JUMP_M = 0.06, 0.13
"""Feet nearer to the floor than the first stand on it, farther than the second are in the air."""


def _roles(recording: Recording) -> dict[str, int]:
    """Role -> joint, by name.

    Raises:
        ValueError: naming the roles for which no joint was found.
    """
    by_name = {name.lower(): k for k, name in enumerate(recording.names)}
    roles: dict[str, int] = {}
    missing: list[str] = []
    for left_role, aliases in ALIASES.items():
        for side in ("left", "right") if left_role.startswith("left") else ("left",):
            role = left_role.replace("left", side)
            found = [by_name[n] for a in aliases if (n := a.replace("left", side)) in by_name]
            if found:
                roles[role] = found[0]
            else:
                missing.append(role)
    if missing:
        raise ValueError(
            f"{recording.source}: no joint found for {', '.join(missing)}; "
            f"it has {', '.join(recording.names)[:300]}"
        )
    return roles


def _chain(recording: Recording, joint: int, root: int) -> list[int]:
    """Joints from below `root` down to `joint`."""
    chain: list[int] = []
    while joint not in (root, -1):
        chain.append(joint)
        joint = recording.parents[joint]
    return chain[::-1]


def _between(a: np.ndarray, b: np.ndarray) -> Rotation:
    """Smallest rotation that takes direction a to direction b."""
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    axis = np.cross(a, b)
    length = np.linalg.norm(axis)
    angle = np.arctan2(length, a @ b)
    return Rotation.from_rotvec(axis / max(float(length), 1e-12) * angle)


def _frame(up: np.ndarray, left: np.ndarray) -> Rotation:
    y = up / np.linalg.norm(up)
    x = left - (left @ y) * y
    x /= np.linalg.norm(x)
    return Rotation.from_matrix(np.stack([x, y, np.cross(x, y)], axis=1))


def _snap(v: np.ndarray) -> np.ndarray:
    axis = int(np.abs(v).argmax())
    return np.eye(3)[axis] * np.sign(v[axis])


def _to_world_axes(recording: Recording, roles: dict[str, int]) -> Rotation:
    """Rotation from the file's axes to y up, left +x, read off the zero pose."""
    _, zero = forward_kinematics(recording, np.zeros((1, recording.values.shape[1])))
    up = _snap(zero[0, roles["head"]] - zero[0, roles["hips"]])
    left = _snap(zero[0, roles["left_thigh"]] - zero[0, roles["right_thigh"]])
    return _frame(up, left).inv()


def _resampled(recording: Recording, times_s: np.ndarray) -> tuple[list[Rotation], np.ndarray]:
    """Global rotations and joint places at any times; held at both ends."""
    rotations, places = forward_kinematics(recording)
    stamps = np.arange(recording.num_frames) / recording.fps
    if len(stamps) == 1:
        count = len(times_s)
        held = [Rotation.from_quat(np.repeat(r.as_quat(), count, axis=0)) for r in rotations]
        return held, np.repeat(places, count, axis=0)
    times = np.clip(times_s, 0.0, stamps[-1])
    low = np.clip(np.searchsorted(stamps, times, side="right") - 1, 0, len(stamps) - 2)
    share = ((times - stamps[low]) * recording.fps)[:, None, None]
    between = places[low] * (1 - share) + places[low + 1] * share
    return [Slerp(stamps, r)(times) for r in rotations], between


def _align(
    recording: Recording, roles: dict[str, int], skeleton: Skeleton, W: Rotation
) -> dict[int, tuple[int, Rotation]]:
    """SMPL joint -> source joint and the rotation that aligns their zero-pose directions."""
    bone: dict[int, tuple[int, Rotation]] = {}
    children = {1: 4, 4: 7, 16: 18, 18: 20}
    for left_joint, (begin, end) in LIMBS.items():
        for shift, side in ((0, "left"), (1, "right")):
            joint, child = left_joint + shift, children[left_joint] + shift
            source, tip = (roles[role.replace("left", side)] for role in (begin, end))
            direction = np.zeros(3)
            for k in _chain(recording, tip, source):
                direction = direction + recording.offsets[k]
            own = skeleton.joints[child] - skeleton.joints[joint]
            bone[joint] = (source, _between(own, W.apply(direction)))
    for shift, side in ((0, "left"), (1, "right")):
        # a sole is flat when it is square to the shin, in both skeletons: the shin's alignment
        bone[7 + shift] = (roles[f"{side}_foot"], bone[4 + shift][1])
        bone[10 + shift] = (roles[f"{side}_toe"], bone[4 + shift][1])
        bone[20 + shift] = (roles[f"{side}_hand"], bone[18 + shift][1])
        bone[13 + shift] = (roles[f"{side}_collar"], Rotation.identity())
    trunk = _chain(recording, recording.parents[roles["left_collar"]], roles["hips"])
    neck = [k for k in _chain(recording, roles["head"], roles["hips"]) if k not in trunk]
    trunk = trunk or [roles["hips"]]
    for joint, source in ((3, trunk[0]), (6, trunk[len(trunk) // 2]), (9, trunk[-1])):
        bone[joint] = (source, Rotation.identity())
    bone[12] = (neck[-2] if len(neck) > 1 else neck[-1], Rotation.identity())
    bone[15] = (roles["head"], Rotation.identity())
    bone[0] = (roles["hips"], Rotation.identity())
    return bone


def retarget(
    recording: Recording, times_s: Float[np.ndarray, "frames"], skeleton: Skeleton
) -> BodyMotion:
    """A recording on a body: limb directions are kept, the way is scaled by the leg length.

    The floor is found from the whole recording, so that a jump stays in the air; what is within a
    few centimetres of the floor, above or below, is put onto it.

    Args:
        recording: Must name hips, legs, arms and head in a known way.
        times_s: Seconds from the recording's first row; held beyond its ends.
        skeleton: The body that shall move.

    Raises:
        ValueError: naming the joints that were not found.
    """
    roles = _roles(recording)
    W = _to_world_axes(recording, roles)
    bone = _align(recording, roles, skeleton, W)
    every = np.linspace(0.0, (recording.num_frames - 1) / recording.fps, 90)
    _, _, whole = _pose(recording, every, skeleton, roles, W, bone)
    floor = float(np.percentile(whole, 8.0))
    R_global, pelvis, lowest = _pose(recording, times_s, skeleton, roles, W, bone)
    gap = lowest - floor
    is_contact = np.clip((JUMP_M - gap) / (JUMP_M - STEP_M), 0.0, 1.0)
    rate = 1.0 / max(float(np.median(np.abs(np.diff(times_s)))), 1e-3) if len(times_s) > 1 else 1.0
    shift = gaussian_filter1d(-gap * is_contact, 0.03 * rate, mode="nearest") - floor
    pelvis = pelvis + np.stack([0 * shift, shift, 0 * shift], axis=1)
    local = {
        joint: R_global[parent].inv() * R_global[joint]
        for joint, parent in enumerate(SMPL_PARENTS)
        if parent >= 0
    }
    return assemble(skeleton, pelvis, R_global[0], local)


def _pose(
    recording: Recording,
    times_s: np.ndarray,
    skeleton: Skeleton,
    roles: dict[str, int],
    W: Rotation,
    bone: dict[int, tuple[int, Rotation]],
) -> tuple[list[Rotation], np.ndarray, np.ndarray]:
    """Global rotations, pelvis places and the lowest body height, before the floor is known."""
    source_R, places = _resampled(recording, times_s)
    R_global: list[Rotation] = []
    for joint, parent in enumerate(SMPL_PARENTS):
        if joint in bone:
            source, align = bone[joint]
            R_global.append(W * source_R[source] * W.inv() * align)
        else:
            R_global.append(R_global[parent])
    j = skeleton.joints
    leg = [roles[f"left_{part}"] for part in ("shin", "foot")]
    length = sum(float(np.linalg.norm(recording.offsets[k])) for k in leg)
    middle = 0.5 * (places[:, roles["left_thigh"]] + places[:, roles["right_thigh"]])
    hips = W.apply(middle) * (skeleton.leg_m / length)
    pelvis = hips - R_global[0].apply(0.5 * (j[1] + j[2]) - j[0])
    placed = np.zeros((len(times_s), len(SMPL_PARENTS), 3))
    for joint, parent in enumerate(SMPL_PARENTS):
        step = R_global[parent].apply(j[joint] - j[parent]) if parent >= 0 else 0.0
        placed[:, joint] = placed[:, parent] + step if parent >= 0 else pelvis
    heights = [placed[:, joint, 1] - flesh for joint, flesh in TOUCHING.items()]
    for side, (ankle, foot) in enumerate(((7, 10), (8, 11))):
        heel, ball = skeleton.heels[side] - j[ankle], skeleton.balls[side] - j[foot]
        heights.append(placed[:, ankle, 1] + R_global[ankle].apply(heel)[:, 1])
        heights.append(placed[:, foot, 1] + R_global[foot].apply(ball)[:, 1])
        toe = ball + np.array([0.0, 0.0, 0.06])
        heights.append(placed[:, foot, 1] + R_global[foot].apply(toe)[:, 1])
        hand, fingertip = 22 + side, np.array([0.08 if side == 0 else -0.08, 0.0, 0.0])
        heights.append(placed[:, hand, 1] + R_global[hand].apply(fingertip)[:, 1] - 0.01)
    return R_global, pelvis, np.min(heights, axis=0)
