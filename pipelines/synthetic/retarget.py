"""Recordings onto a body: a skeleton's motion as SMPL rotations.

The result is in the project's world: metres, y up, floor at y = 0. Rotations are scipy `Rotation`
stacks over frames.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from pipelines.synthetic.amass import R_Y_UP, SmplRecording, read_amass
from pipelines.synthetic.amc import read_amc
from pipelines.synthetic.bvh import Recording, read_bvh
from pipelines.synthetic.figure import BodyMotion, assemble
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.ground import Pose, floor_m, ground
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
RATE = 60.0
"""Samples per second at which a motion is put on the floor."""
FLOOR_SAMPLES, APART_S = 240, 0.02
"""Moments at which the floor and flat feet are looked for, and how far apart speeds are taken."""
FLAT_FOOT_M_S, MAX_FLAT_DEG = 0.25, 50.0
MARGIN_S = 1.0
"""What is looked at before and after the wanted times, so that slices agree."""
READERS: dict[str, Callable[[Path], Recording | SmplRecording]] = {
    ".bvh": read_bvh,
    ".amc": read_amc,
    ".npz": read_amass,
}
"""Reader of each kind of motion file, by suffix."""


def read_motion(path: Path) -> Recording | SmplRecording:
    """Read a motion file of any known kind; an .amc needs its .asf beside it.

    Raises:
        ValueError: naming the file and the finding.
        FileNotFoundError: If there is no such file.
    """
    suffix = path.suffix.lower()
    if suffix not in READERS:
        raise ValueError(f"{path}: a motion file ends in {', '.join(READERS)}, not {suffix!r}")
    return READERS[suffix](path)


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
    zero = recording.rest
    up = _snap(zero[roles["head"]] - zero[roles["hips"]])
    left = _snap(zero[roles["left_thigh"]] - zero[roles["right_thigh"]])
    return _frame(up, left).inv()


def _resampled(recording: Recording, times_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Global rotation matrices and joint places at any times; held at both ends."""
    last = recording.num_frames - 1
    index = np.clip(times_s * recording.fps, 0.0, last)
    low = np.floor(index).astype(int)
    high, share = np.minimum(low + 1, last), (index - low)[:, None, None]
    first, second = recording.quaternions[low], recording.quaternions[high]
    second = second * np.where((first * second).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    blended = first * (1 - share) + second * share
    R = Rotation.from_quat(rearrange(blended, "t j q -> (t j) q")).as_matrix()
    places = recording.places[low] * (1 - share) + recording.places[high] * share
    return rearrange(R, "(t j) a b -> t j a b", t=len(times_s)), places


def _offset(recording: Recording, joint: int) -> np.ndarray:
    return recording.rest[joint] - recording.rest[recording.parents[joint]]


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
                direction = direction + _offset(recording, k)
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
    recording: Recording | SmplRecording,
    times_s: Float[np.ndarray, "frames"],
    skeleton: Skeleton,
) -> BodyMotion:
    """A recording on a body: limb directions are kept, the way is scaled by the leg length.

    The floor is found from the whole recording; feet and hands that rest on it are held, flights
    stay flights (`pipelines.synthetic.ground`).

    Args:
        recording: Must name hips, legs, arms and head in a known way, or be a SMPL motion.
        times_s: Seconds from the recording's first row; held beyond its ends.
        skeleton: The body that shall move.

    Raises:
        ValueError: naming the joints that were not found.
    """
    every = np.linspace(0.0, (recording.num_frames - 1) / recording.fps, FLOOR_SAMPLES)
    before, after = (_poses(recording, every + d, skeleton) for d in (0.0, APART_S))
    floor = floor_m(before, after, APART_S, skeleton)
    begin, end = float(times_s.min()) - MARGIN_S, float(times_s.max()) + MARGIN_S
    # at whole multiples of the step, so that slices of a recording agree where they overlap
    fine_s = np.arange(np.floor(begin * RATE), np.ceil(end * RATE) + 1) / RATE
    raw = _poses(recording, fine_s, skeleton)
    raised = Pose(R_world_joint=raw.R_world_joint, pelvis=raw.pelvis - np.array([0.0, floor, 0.0]))
    pose = ground(raised, RATE, skeleton)
    local = pose.R_world_joint.copy()
    parents = list(SMPL_PARENTS[1:])
    local[:, 1:] = np.swapaxes(pose.R_world_joint[:, parents], -1, -2) @ local[:, 1:]
    return _at_times(local, pose.pelvis, (times_s - fine_s[0]) * RATE, skeleton)


def _at_times(
    local: np.ndarray, pelvis: np.ndarray, index: np.ndarray, skeleton: Skeleton
) -> BodyMotion:
    """SMPL parameters between fine samples; neighbours are so near that blending is exact."""
    frames = len(pelvis)
    quaternions = rearrange(
        Rotation.from_matrix(rearrange(local, "t j a b -> (t j) a b")).as_quat(),
        "(t j) q -> t j q",
        t=frames,
    )
    low = np.clip(np.floor(index).astype(int), 0, frames - 2)
    share = (index - low)[:, None, None]
    first, second = quaternions[low], quaternions[low + 1]
    second = second * np.where((first * second).sum(-1, keepdims=True) < 0, -1.0, 1.0)
    blended = first * (1 - share) + second * share
    place = pelvis[low] * (1 - share[:, 0]) + pelvis[low + 1] * share[:, 0]
    turns = {joint: Rotation.from_quat(blended[:, joint]) for joint in range(24)}
    return assemble(skeleton, place, turns.pop(0), turns)


def _with_flat_feet(
    recording: Recording,
    roles: dict[str, int],
    skeleton: Skeleton,
    W: Rotation,
    bone: dict[int, tuple[int, Rotation]],
) -> dict[int, tuple[int, Rotation]]:
    """Alignments by which feet and toes are level where they rest lowest.

    The zero pose does not tell how a sole lies: markers and shoes differ between people.
    """
    every = np.linspace(0.0, (recording.num_frames - 1) / recording.fps, FLOOR_SAMPLES)
    R, places = _resampled(recording, every)
    leg = _offset(recording, roles["left_shin"]), _offset(recording, roles["left_foot"])
    scale = skeleton.leg_m / sum(float(np.linalg.norm(v)) for v in leg)
    moved = _resampled(recording, every + APART_S)[1] - places
    speed = np.linalg.norm(moved, axis=-1) * scale / APART_S
    up = W.inv().apply([0.0, 1.0, 0.0])
    result = dict(bone)
    for side, ankle, toes in (("left", 7, 10), ("right", 8, 11)):
        foot, toe = roles[f"{side}_foot"], roles[f"{side}_toe"]
        rests = np.flatnonzero((speed[:, [foot, toe]] < FLAT_FOOT_M_S).all(1))
        if len(rests) == 0:
            continue
        height = places[rests, foot] @ up
        lowest = rests[height <= np.percentile(height, 25.0)]
        for joint in (ankle, toes):
            source, align = bone[joint]
            normal = (np.swapaxes(R[lowest, source], -1, -2) @ up).mean(0)
            own_up = align.inv().apply(W.apply(normal))
            turn = _between(np.array([0.0, 1.0, 0.0]), own_up)
            if np.degrees(turn.magnitude()) < MAX_FLAT_DEG:
                result[joint] = (source, align * turn)
    return result


def _poses(recording: Recording | SmplRecording, times_s: np.ndarray, skeleton: Skeleton) -> Pose:
    """The body as recorded, before it is put on the floor."""
    if isinstance(recording, SmplRecording):
        return _smpl_poses(recording, times_s, skeleton)
    return _skeleton_poses(recording, times_s, skeleton)


def _smpl_poses(recording: SmplRecording, times_s: np.ndarray, skeleton: Skeleton) -> Pose:
    """SMPL rotations are taken as they are."""
    index = np.clip(times_s * recording.fps, 0.0, recording.num_frames - 1)
    low = np.floor(index).astype(int)
    high = np.minimum(low + 1, recording.num_frames - 1)
    share = (index - low)[:, None]
    root = skeleton.joints[0]
    transl = recording.transl[low] * (1 - share) + recording.transl[high] * share
    R = np.zeros((len(times_s), 24, 3, 3))
    for joint, parent in enumerate(SMPL_PARENTS):
        first, second = (Rotation.from_rotvec(recording.rotvec[k, joint]) for k in (low, high))
        turn = first * Rotation.from_rotvec((first.inv() * second).as_rotvec() * share)
        R[:, joint] = turn.as_matrix() if parent < 0 else R[:, parent] @ turn.as_matrix()
    return Pose(R_world_joint=R, pelvis=transl + R_Y_UP.apply(root))


def _skeleton_poses(recording: Recording, times_s: np.ndarray, skeleton: Skeleton) -> Pose:
    """Global rotations by the recording's bones, its way scaled by the leg length."""
    roles = _roles(recording)
    W = _to_world_axes(recording, roles)
    bone = _align(recording, roles, skeleton, W)
    bone = _with_flat_feet(recording, roles, skeleton, W, bone)
    source_R, places = _resampled(recording, times_s)
    R = np.zeros((len(times_s), 24, 3, 3))
    for joint, parent in enumerate(SMPL_PARENTS):
        if joint in bone:
            source, align = bone[joint]
            R[:, joint] = W.as_matrix() @ source_R[:, source] @ (W.inv() * align).as_matrix()
        else:
            R[:, joint] = R[:, parent]
    j = skeleton.joints
    leg = [roles[f"left_{part}"] for part in ("shin", "foot")]
    length = sum(float(np.linalg.norm(_offset(recording, k))) for k in leg)
    middle = 0.5 * (places[:, roles["left_thigh"]] + places[:, roles["right_thigh"]])
    hips = W.apply(middle) * (skeleton.leg_m / length)
    return Pose(R_world_joint=R, pelvis=hips - R[:, 0] @ (0.5 * (j[1] + j[2]) - j[0]))
