"""Where MediaPipe's 33 landmarks, and the four soles, sit on a body of SMPL's skeleton.

A landmark is a point of the rest body (metres, rest frame) that moves rigidly with one joint.
Points of the skin are found by their geometry (the nose is the foremost point of the head), so
any body with SMPL's 24 joints serves, whatever its vertex order.
"""

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from models.body.model import BodyModel
from storage_schemas.conventions import SMPL_JOINTS

NUM_KEYPOINTS = 33
LEFT_RIGHT = (
    0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23,
    26, 25, 28, 27, 30, 29, 32, 31,
)  # fmt: skip
"""MediaPipe's landmark order after a left-right swap."""

SOLES = (33, 34, 35, 36)
"""Left heel, right heel, left toe, right toe: the points that touch the ground."""

KEYPOINT_WEIGHTS = (
    0.5, 0.1, 0.2, 0.1, 0.1, 0.2, 0.1, 0.4, 0.4, 0.2, 0.2, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0,
    0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 0.5,
)  # fmt: skip
"""How much each landmark counts: limbs and torso full, the many points of face and hands little."""

POINT_TRUST = (
    0.5, 0.5, 0.5, 0.2, 0.5, 0.5, 0.2, 0.5, 0.5, 0.2, 0.3, 0.3, 0.5, 0.2, 0.2, 0.5, 0.5, 0.5, 0.5,
    0.5, 0.5, 0.5, 0.2, 0.2, *(0.3 * weight for weight in KEYPOINT_WEIGHTS),
)  # fmt: skip
"""How much each of the lifter's points counts: SMPL's joints, then the landmarks."""

_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}
# Offsets in metres, left side, rest axes. Started from anatomy, then moved by the mean residual of
# the detector on seven people rendered with known bodies (48 frames each, 256 px).
# (landmark, joint it is attached to, joint it starts from, offset)
_FROM_JOINTS = (
    (11, "left_shoulder", "left_shoulder", (-0.015, 0.015, -0.005)),
    (13, "left_elbow", "left_elbow", (-0.005, 0.0, 0.01)),
    (15, "left_wrist", "left_wrist", (0.0, -0.005, 0.0)),
    (17, "left_wrist", "left_hand", (-0.025, -0.005, -0.015)),
    (19, "left_wrist", "left_hand", (-0.02, -0.01, 0.01)),
    (21, "left_wrist", "left_hand", (-0.045, -0.015, 0.02)),
    (23, "pelvis", "left_hip", (-0.02, 0.0, 0.025)),
    (25, "left_knee", "left_knee", (-0.005, 0.01, -0.015)),
    (27, "left_ankle", "left_ankle", (0.0, 0.02, 0.023)),
)
# (landmark, offset from the tip of the nose)
_FROM_NOSE = (
    (0, (0.0, 0.015, -0.015)),
    (1, (0.015, 0.046, -0.038)),
    (2, (0.025, 0.046, -0.043)),
    (3, (0.035, 0.046, -0.048)),
    (9, (0.02, -0.018, -0.033)),
)
_FROM_EAR = (-0.033, 0.0, 0.04)
_FROM_HEEL = (-0.01, 0.0, 0.033)
_FROM_TOE = (0.025, 0.013, -0.027)


@dataclass(frozen=True, kw_only=True)
class LandmarkMap:
    """37 points of the rest body: the 33 landmarks, then the four soles."""

    joint: Int[Tensor, "37"]
    """Joint each point moves with."""
    template: Float[Tensor, "37 3"]
    """Position on the mean body in its rest pose, metres."""
    shapedirs: Float[Tensor, "37 3 10"]
    """Change of the position with the shape coefficients, metres."""

    def place(
        self,
        betas: Float[Tensor, "*#batch 10"],
        rest_joints: Float[Tensor, "*#batch 24 3"],
        joints: Float[Tensor, "*batch 24 3"],
        R_world_joint: Float[Tensor, "*batch 24 3 3"],
    ) -> Float[Tensor, "*batch 37 3"]:
        """World positions of the points on a shaped and posed body, metres.

        Args:
            betas: Shape coefficients.
            rest_joints: Joints of the shaped body in its rest pose.
            joints: Joints of the posed body in the world.
            R_world_joint: World rotation of every joint relative to rest.
        """
        shaped = self.template + einsum(self.shapedirs, betas, "n i k, ... k -> ... n i")
        offset = shaped - rest_joints[..., self.joint, :]
        turned = (R_world_joint[..., self.joint, :, :] @ offset[..., None])[..., 0]
        return joints[..., self.joint, :] + turned


def map_landmarks(body: BodyModel) -> LandmarkMap:
    """The landmark points of a body model (template and shape space in its own rest frame)."""
    points = {**_joint_points(body), **_skin_points(body)}
    order = [points[index] for index in range(NUM_KEYPOINTS + len(SOLES))]
    return LandmarkMap(
        joint=torch.tensor([joint for joint, _, _ in order]),
        template=torch.stack([position for _, position, _ in order]),
        shapedirs=torch.stack([directions for _, _, directions in order]),
    )


_Point = tuple[int, Tensor, Tensor]


def _joint_points(body: BodyModel) -> dict[int, _Point]:
    points: dict[int, _Point] = {}
    for landmark, parent, start, left_offset in _FROM_JOINTS:
        for mirrored in (False, True):
            names = [n.replace("left", "right") if mirrored else n for n in (parent, start)]
            offset = _mirror(body.J_template, left_offset, -1.0 if mirrored else 1.0)
            index = LEFT_RIGHT[landmark] if mirrored else landmark
            start_joint = _JOINT[names[1]]
            position = body.J_template[start_joint] + offset
            points[index] = (_JOINT[names[0]], position, body.J_shapedirs[start_joint])
    return points


def _skin_points(body: BodyModel) -> dict[int, _Point]:
    """Face, ears, heels, toes and soles, found on the rest skin (x left, y up, z front)."""
    v, owner = body.v_template, body.weights.argmax(-1)
    head = _JOINT["head"]
    nose = _extreme(v[:, 2], (owner == head) & (v[:, 0].abs() < 0.02))
    points: dict[int, _Point] = {}
    for landmark, offset in _FROM_NOSE:
        for index, sign in {landmark: 1.0, LEFT_RIGHT[landmark]: -1.0}.items():
            change = _mirror(v, offset, sign)
            points[index] = (head, v[nose] + change, body.shapedirs[nose])
    ear_band = (owner == head) & ((v[:, 1] - v[nose, 1] - 0.02).abs() < 0.04)
    for index, sign in ((7, 1.0), (8, -1.0)):
        ear = _extreme(sign * v[:, 0], ear_band)
        points[index] = (head, v[ear] + _mirror(v, _FROM_EAR, sign), body.shapedirs[ear])
    for side, name in enumerate(("left", "right")):
        ankle, foot = _JOINT[f"{name}_ankle"], _JOINT[f"{name}_foot"]
        on_foot = ((owner == ankle) | (owner == foot)) & (v[:, 1] < body.J_template[ankle, 1])
        heel, toe = _extreme(-v[:, 2], on_foot), _extreme(v[:, 2], on_foot)
        sole_y = v[on_foot, 1].min()
        heel_offset, toe_offset = (
            _mirror(v, offset, 1.0 - 2.0 * side) for offset in (_FROM_HEEL, _FROM_TOE)
        )
        points[29 + side] = (ankle, v[heel] + heel_offset, body.shapedirs[heel])
        points[31 + side] = (foot, v[toe] + toe_offset, body.shapedirs[toe])
        for index, joint, vertex in ((SOLES[side], ankle, heel), (SOLES[2 + side], foot, toe)):
            on_ground = torch.stack([v[vertex, 0], sole_y, v[vertex, 2]])
            points[index] = (joint, on_ground, body.shapedirs[vertex])
    return points


def _mirror(like: Tensor, offset: tuple[float, float, float], side: float) -> Tensor:
    """An offset of the left side (side 1) or its mirror image (side -1)."""
    return like.new_tensor([side * offset[0], offset[1], offset[2]])


def _extreme(score: Tensor, allowed: Tensor) -> int:
    """Index of the largest score among the allowed vertices."""
    if not bool(allowed.any()):
        raise ValueError(
            "the body model must have skin on head and feet in SMPL's rest pose (x left, y up, "
            "z front), got no such vertices; check its weights and axes"
        )
    return int(torch.where(allowed, score, -torch.inf).argmax())
