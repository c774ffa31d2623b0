"""Single poses that cover what joints can do, for models that must know more than our motions.

Half by the ranges of each joint, half from the procedural motions with limbs exchanged, and
everything between. No motion capture goes in.
"""

from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from models.geometry import so3_exp, so3_log
from pipelines.synthetic.figure import Arm
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import MOTIONS

LIMBS = {
    "trunk": (3, 6, 9, 12, 15),
    "left_arm": (13, 16, 18, 20, 22),
    "right_arm": (14, 17, 19, 21, 23),
    "legs": (1, 2, 4, 5, 7, 8, 10, 11),
}
"""Joints that keep each other's company when poses are mixed."""
TIMES_PER_MOTION = 12
NOISE_RAD = 0.06


@dataclass(frozen=True, kw_only=True)
class Poses:
    """Poses of one person each, without order; SMPL axis-angle, y up."""

    global_orient: Float[np.ndarray, "poses 3"]
    body_pose: Float[np.ndarray, "poses 69"]


def pose_library(seed: int, skeleton: Skeleton, motions_per_kind: int) -> Poses:
    """Moments of the procedural motions, each turned to face +z."""
    rng = np.random.default_rng(seed)
    orient, body = [], []
    for kind in MOTIONS.values():
        for _ in range(motions_per_kind):
            times_s = np.sort(rng.uniform(0.0, 8.0, TIMES_PER_MOTION))
            motion = kind(int(rng.integers(2**31)), times_s, skeleton)
            orient.append(_without_heading(motion.global_orient))
            body.append(motion.body_pose)
    return Poses(global_orient=np.concatenate(orient), body_pose=np.concatenate(body))


def sample_poses(rng: np.random.Generator, library: Poses, count: int, skeleton: Skeleton) -> Poses:
    """Draw poses; headings are uniform, one in eight people lies, falls or stands on the hands."""
    size = len(library.body_pose)
    taken = rng.integers(size, size=(len(LIMBS), count))
    keeps_whole = rng.random(count) < 0.4
    taken[:, keeps_whole] = taken[0, keeps_whole]
    known = rearrange(library.body_pose, "n (j c) -> n j c", c=3)
    free = random_joints(rng, count, skeleton)
    body = np.empty((count, 23, 3))
    for row, joints in zip(taken, LIMBS.values(), strict=True):
        share = rng.choice([0.0, 1.0, 0.5], p=[0.35, 0.35, 0.3], size=count)
        share = np.where(share == 0.5, rng.random(count), share)
        share = np.where(keeps_whole, 0.15 * rng.random(count), share)[:, None, None]
        index = np.array(joints) - 1
        body[:, index] = _between(known[row][:, index], free[:, index], share)
    body += rng.normal(0.0, NOISE_RAD, body.shape) * rng.random((count, 1, 1))
    tilt = np.where(rng.random(count) < 0.78, 0.1, 0.55)
    lean = Rotation.from_rotvec(rng.normal(0.0, 1.0, (count, 3)) * tilt[:, None])
    orient = lean * Rotation.from_rotvec(library.global_orient[taken[0]])
    anyhow = rng.random(count) < 0.06
    turned = Rotation.from_quat(rng.normal(size=(count, 4))).as_rotvec()
    orient = Rotation.from_rotvec(np.where(anyhow[:, None], turned, orient.as_rotvec()))
    heading = np.zeros((count, 3))
    heading[:, 1] = rng.uniform(-np.pi, np.pi, count)
    orient = Rotation.from_rotvec(heading) * orient
    return Poses(
        global_orient=orient.as_rotvec().astype(np.float32),
        body_pose=rearrange(body, "n j c -> n (j c)").astype(np.float32),
    )


def random_joints(
    rng: np.random.Generator, count: int, skeleton: Skeleton
) -> Float[np.ndarray, "poses 23 3"]:
    """Every joint anywhere in its range; the ranges are stated, from anatomy tables, rounded."""
    pose = np.zeros((count, 24, 3))
    spine = np.radians(rng.normal(0.0, 1.0, (count, 3))) * (12.0, 10.0, 8.0)
    spine[:, 0] += np.radians(np.abs(rng.normal(0.0, 10.0, count)))
    for joint in (3, 6, 9):
        pose[:, joint] = spine + rng.normal(0.0, 0.04, (count, 3))
    for joint in (12, 15):
        pose[:, joint] = np.radians(rng.normal(0.0, 1.0, (count, 3))) * (16.0, 20.0, 11.0)
    for side in (0, 1):
        arm = Arm(
            raised=np.degrees(np.arccos(rng.uniform(-1.0, 1.0, count))) * 0.97,
            ahead=rng.uniform(-45.0, 140.0, count),
            twist=rng.normal(-20.0, 45.0, count),
            flexed=rng.uniform(0.0, 145.0, count) * (rng.random(count) < 0.85),
        )
        for joint, rotation in arm.rotations(skeleton, side).items():
            pose[:, joint] = rotation.as_rotvec()
        pose[:, 20 + side] = np.radians(rng.normal(0.0, 1.0, (count, 3))) * (14.0, 12.0, 20.0)
        mirror = np.array([1.0, -1.0, -1.0]) if side else np.ones(3)
        is_bent = rng.random(count) < 0.6
        flexed = np.where(is_bent, rng.uniform(-30.0, 120.0, count), rng.normal(5.0, 12.0, count))
        hip = [-flexed, rng.normal(5.0, 20.0, count), rng.normal(10.0, 15.0, count)]
        pose[:, 1 + side] = Rotation.from_euler("YZX", np.stack(hip, 1)[:, [1, 2, 0]], degrees=True
        ).as_rotvec() * mirror  # fmt: skip
        knee = np.where(is_bent, rng.uniform(0.0, 140.0, count), np.abs(rng.normal(0, 10, count)))
        pose[:, 4 + side, 0] = np.radians(knee)
        ankle = np.radians(rng.normal(0.0, 1.0, (count, 3))) * (18.0, 12.0, 10.0)
        pose[:, 7 + side] = ankle
    return pose[:, 1:]


def _between(a: np.ndarray, b: np.ndarray, share: np.ndarray) -> np.ndarray:
    """Rotation vectors on the way from a to b, by the shortest turn."""
    R_a, R_b = (so3_exp(torch.tensor(rotvec, dtype=torch.float64)) for rotvec in (a, b))
    step = so3_log(R_a.mT @ R_b) * torch.tensor(share)
    return so3_log(R_a @ so3_exp(step)).numpy()


def _without_heading(global_orient: Float[np.ndarray, "poses 3"]) -> Float[np.ndarray, "poses 3"]:
    R = Rotation.from_rotvec(global_orient)
    ahead = R.apply(np.array([0.0, 0.0, 1.0]))
    heading = np.zeros((len(global_orient), 3))
    heading[:, 1] = np.arctan2(ahead[:, 0], ahead[:, 2])
    return (Rotation.from_rotvec(heading).inv() * R).as_rotvec()
