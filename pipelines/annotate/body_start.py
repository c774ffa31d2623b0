"""First guess of every person's pose, frame by frame, straight from the landmarks.

Torso by Procrustes, limbs by analytic two-bone inverse kinematics, position by linear least
squares on the pixels. No iteration and no randomness; the energy in `body_energy` refines it.
World frame: that of the camera track. Landmark numbers are MediaPipe's.
"""

from dataclasses import dataclass

import torch
from einops import einsum, rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from models.body.model import BodyModel
from models.geometry import so3_exp, so3_log
from pipelines.annotate.body_landmarks import LEFT_RIGHT, LandmarkMap
from storage_schemas.conventions import SMPL_JOINTS

TORSO = (11, 12, 23, 24)
HEAD = (0, 2, 5, 7, 8, 9, 10)
LIMBS_AND_TORSO = (11, 12, 13, 14, 15, 16, 23, 24, 25, 26, 27, 28)
FLIP_COST_M = 0.03
"""Cost of calling a frame's left and right swapped, as metres of mean landmark motion."""

NUM_JOINTS = len(SMPL_JOINTS)
_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}
# (joints of the chain, landmarks of the chain, rest hinge axis): three points each
_LIMBS = (
    (("left_shoulder", "left_elbow", "left_wrist"), (11, 13, 15), (0.0, -1.0, 0.0)),
    (("right_shoulder", "right_elbow", "right_wrist"), (12, 14, 16), (0.0, 1.0, 0.0)),
    (("left_hip", "left_knee", "left_ankle"), (23, 25, 27), (1.0, 0.0, 0.0)),
    (("right_hip", "right_knee", "right_ankle"), (24, 26, 28), (1.0, 0.0, 0.0)),
)
# end of the chain -> landmark(s) its bone points from and to
_ENDS = {
    "left_wrist": ((15,), (17, 19)),
    "right_wrist": ((16,), (18, 20)),
    "left_ankle": ((29,), (31,)),
    "right_ankle": ((30,), (32,)),
}


@dataclass(frozen=True, kw_only=True)
class Observation:
    """What was seen of all people of a clip; weights are 0 where nothing was."""

    points_px: Float[Tensor, "people frames 57 2"]
    """SMPL's 24 joints, then the 33 landmarks."""
    points_m: Float[Tensor, "people frames 57 3"]
    """The same in metres about the middle of the hip landmarks, along the world's axes."""
    sigma_px: Float[Tensor, "people frames 57"]
    """Standard deviation of `points_px` along each axis."""
    sigma_m: Float[Tensor, "people frames 57"]
    trust: Float[Tensor, "people frames 57"]
    """How much each point counts: 0 what is not known, as the joints are where nothing lifts."""
    weight: Float[Tensor, "people frames 33"]
    """Confidence of each landmark, 0..1, before the landmarks' own importance."""
    visible: Bool[Tensor, "people frames"]
    size_px: Float[Tensor, "people frames"]
    """Height of the person in the image."""
    K: Float[Tensor, "frames 3 3"]
    T_camera_world: Float[Tensor, "frames 4 4"]

    @property
    def keypoints_px(self) -> Float[Tensor, "people frames 33 2"]:
        """The landmarks in the image."""
        return self.points_px[:, :, NUM_JOINTS:]

    @property
    def world_m(self) -> Float[Tensor, "people frames 33 3"]:
        """The landmarks about the mid hip, along the axes of the world."""
        return self.points_m[:, :, NUM_JOINTS:]


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Pose of all people in the world frame: rotations relative to the parent, metres."""

    R_world_root: Float[Tensor, "people frames 3 3"]
    body_pose: Float[Tensor, "people frames 23 3"]
    root_m: Float[Tensor, "people frames 3"]
    """Position of the pelvis joint."""


def unswap(
    keypoints: Float[Tensor, "frames 33 2"],
    world_m: Float[Tensor, "frames 33 3"],
    visible: Bool[Tensor, "frames"],
    size_px: Float[Tensor, "frames"],
) -> Bool[Tensor, "frames"]:
    """Frames where the detector took left for right (two-state Viterbi over the visible frames).

    A person who turns moves landmarks little from one frame to the next; a swap moves them by
    the width of the body at once, in the image, in depth or in both.
    """
    seen = torch.nonzero(visible)[:, 0]
    swapped = torch.zeros_like(visible)
    if len(seen) < 2:
        return swapped
    metres = keypoints[seen] * (1.7 / size_px[seen])[:, None, None]
    points = torch.cat([metres, world_m[seen]], -1)
    both = torch.stack([points, points[:, LEFT_RIGHT]], 1)[:, :, list(LIMBS_AND_TORSO)]
    change = both[1:, :, None] - both[:-1, None]
    change = change - change.mean(3, keepdim=True)
    motion = change.norm(dim=-1).mean(-1)
    cost = torch.tensor([0.0, FLIP_COST_M], dtype=points.dtype)
    total, back = cost, []
    for step in motion:
        best, origin = (total[None] + step).min(-1)
        back.append(origin)
        total = best + cost
    state = int(total.argmin())
    path = [state]
    for origin in reversed(back):
        state = int(origin[state])
        path.append(state)
    swapped[seen] = torch.tensor(path[::-1], dtype=torch.bool)
    return swapped


def guess_pose(seen: Observation, body: BodyModel, landmarks: LandmarkMap) -> Pose:
    """Pose of the mean body that follows the landmarks of each frame; gaps are interpolated."""
    rest, rest_joints = landmarks.template[:33], body.J_template
    world = seen.world_m
    R_torso = align(rest[list(TORSO)], world[..., list(TORSO), :])
    local = torch.zeros(*world.shape[:2], 24, 3, dtype=world.dtype)
    R_head = align(rest[list(HEAD)], world[..., list(HEAD), :])
    half = _shorten(so3_log(R_torso.mT @ R_head), 1.0) / 2
    local[..., _JOINT["neck"], :] = half
    local[..., _JOINT["head"], :] = half
    for names, points, hinge in _LIMBS:
        upper, middle, end = (_JOINT[name] for name in names)
        bones = rest_joints[middle] - rest_joints[upper], rest_joints[end] - rest_joints[middle]
        a, b, c = (world[..., point, :] for point in points)
        R_upper = _upper_bone(R_torso, bones[0], (b - a, c - b), rest_joints.new_tensor(hinge))
        R_bend = swing(bones[1], (R_upper.mT @ (c - b)[..., None])[..., 0])
        local[..., upper, :] = so3_log(R_torso.mT @ R_upper)
        local[..., middle, :] = so3_log(R_bend)
        start, stop = (list(side) for side in _ENDS[names[2]])
        aim = world[..., stop, :].mean(-2) - world[..., start, :].mean(-2)
        aim_local = ((R_upper @ R_bend).mT @ aim[..., None])[..., 0]
        R_end = swing(rest[stop].mean(0) - rest[start].mean(0), aim_local)
        local[..., end, :] = _shorten(so3_log(R_end), 0.8)
    offsets = world[..., :33, :] - world[..., [23, 24], :].mean(-2, keepdim=True)
    hips_m = locate(offsets, seen)
    rest_hips = rest[[23, 24]].mean(0) - rest_joints[0]
    root_m = hips_m - einsum(R_torso, rest_hips, "p t i j, j -> p t i")
    return Pose(
        R_world_root=_nearest_rotation(_fill_gaps(R_torso.flatten(-2), seen.visible)),
        body_pose=rearrange(
            _fill_gaps(local[..., 1:, :].flatten(-2), seen.visible), "p t (j c) -> p t j c", c=3
        ),
        root_m=_fill_gaps(root_m, seen.visible),
    )


def align(
    rest: Float[Tensor, "points 3"], observed: Float[Tensor, "*batch points 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """Rotation that best turns the rest points onto the observed ones (Kabsch, centred)."""
    rest = rest - rest.mean(-2, keepdim=True)
    observed = observed - observed.mean(-2, keepdim=True)
    return _polar(observed.mT @ rest)


def swing(
    start: Float[Tensor, "*#batch 3"], goal: Float[Tensor, "*#batch 3"]
) -> Float[Tensor, "*batch 3 3"]:
    """Smallest rotation that turns direction `start` to direction `goal`."""
    a = torch.nn.functional.normalize(start, dim=-1).expand_as(goal)
    b = torch.nn.functional.normalize(goal, dim=-1)
    axis = torch.linalg.cross(a, b)
    sine, cosine = axis.norm(dim=-1, keepdim=True), (a * b).sum(-1, keepdim=True)
    other = torch.linalg.cross(a, torch.roll(a, 1, -1))
    axis = torch.where(
        sine > 1e-6,
        axis / sine.clamp_min(1e-6),
        other / other.norm(dim=-1, keepdim=True).clamp_min(1e-6),
    )
    return so3_exp(axis * torch.atan2(sine, cosine))


def locate(
    offsets: Float[Tensor, "people frames 33 3"], seen: Observation
) -> Float[Tensor, "people frames 3"]:
    """World position p that makes p + offsets project onto the keypoints (linear in p).

    From u (Z + t_z) = f (X + t_x) + c (Z + t_z) per coordinate, solved by weighted least squares.
    """
    R, t = seen.T_camera_world[:, :3, :3], seen.T_camera_world[:, :3, 3]
    X = einsum(R, offsets, "t i j, p t n j -> p t n i")
    ray = seen.keypoints_px - seen.K[:, None, :2, 2]
    focal = torch.stack([seen.K[:, 0, 0], seen.K[:, 1, 1]], -1)[:, None]
    zeros = torch.zeros_like(ray[..., 0])
    fx, fy = (focal[..., i].expand_as(zeros) for i in (0, 1))
    A = torch.stack(
        [
            torch.stack([fx, zeros, -ray[..., 0]], -1),
            torch.stack([zeros, fy, -ray[..., 1]], -1),
        ],
        -2,
    )
    b = ray * X[..., 2:] - focal * X[..., :2]
    weight = seen.weight[..., None, None] / focal.square().mean()
    A_flat = rearrange(A * weight, "p t n r c -> p t (n r) c")
    normal = rearrange(A, "p t n r c -> p t (n r) c").mT @ A_flat
    right = A_flat.mT @ rearrange(b, "p t n r -> p t (n r) 1")
    normal = normal + 1e-9 * torch.eye(3, dtype=normal.dtype)
    p_camera = torch.linalg.solve(normal, right)[..., 0]
    # A handful of bad points can put the person behind the camera; 0.5 m is the nearest we allow.
    p_camera = torch.cat([p_camera[..., :2], p_camera[..., 2:].clamp_min(0.5)], -1)
    return einsum(R, p_camera - t, "t j i, p t j -> p t i")


def _upper_bone(
    R_torso: Tensor, rest_bone: Tensor, observed: tuple[Tensor, Tensor], rest_hinge: Tensor
) -> Tensor:
    """World rotation of the upper bone: along the limb, twisted so that the hinge bends it."""
    upper, lower = (torch.nn.functional.normalize(bone, dim=-1) for bone in observed)
    R_default = R_torso @ swing(rest_bone, (R_torso.mT @ upper[..., None])[..., 0])
    normal = torch.linalg.cross(upper, lower)
    bend = normal.norm(dim=-1, keepdim=True)
    trust = ((bend - 0.15) / 0.35).clamp(0, 1)
    hinge = trust * normal / bend.clamp_min(1e-6) + (1 - trust) * (R_default @ rest_hinge)
    return _frame(upper, hinge) @ _frame(rest_bone, rest_hinge).mT


def _frame(first: Tensor, second: Tensor) -> Tensor:
    x = torch.nn.functional.normalize(first, dim=-1)
    y = second - (second * x).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], -1)


def _polar(matrix: Tensor) -> Tensor:
    """Rotation nearest to a matrix."""
    U, _, Vh = torch.linalg.svd(matrix)
    sign = torch.linalg.det(U @ Vh)
    U = torch.cat([U[..., :2], U[..., 2:] * sign[..., None, None]], -1)
    return U @ Vh


def _nearest_rotation(flat: Tensor) -> Tensor:
    return _polar(rearrange(flat, "... (i j) -> ... i j", i=3))


def _shorten(rotvec: Tensor, limit: float) -> Tensor:
    angle = rotvec.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return rotvec * (limit / angle).clamp_max(1)


def _fill_gaps(values: Tensor, visible: Tensor) -> Tensor:
    """Linear interpolation over the frames that were not seen; ends are held."""
    filled = values.clone()
    frames = torch.arange(values.shape[1], dtype=values.dtype)
    for person, mask in enumerate(visible):
        known = torch.nonzero(mask)[:, 0]
        if len(known) in (0, len(frames)):
            continue
        right = torch.searchsorted(known, frames.long()).clamp(0, len(known) - 1)
        left = (right - (known[right] > frames).long()).clamp_min(0)
        span = (known[right] - known[left]).clamp_min(1).to(values.dtype)
        part = ((frames - known[left]) / span).clamp(0, 1)[:, None]
        filled[person] = torch.lerp(values[person, known[left]], values[person, known[right]], part)
    return filled
