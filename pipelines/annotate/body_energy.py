"""The energy whose minimum is the fit: evidence, body knowledge, time and ground.

Each term is a negative log-likelihood per person-frame in units of its own standard deviation,
so weights are standard deviations with a meaning (pixels of a person 100 px tall, metres,
radians, m/s2). World frame: that of the camera track until `body.py` settles the ground.
"""

import itertools
import math
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor, nn

from models.body.model import BodyModel
from models.geometry import project, so3_exp
from pipelines.annotate.body_landmarks import NUM_KEYPOINTS, SOLES, LandmarkMap
from pipelines.annotate.body_start import Observation, Pose
from storage_schemas.conventions import SMPL_JOINTS, SMPL_PARENTS

_JOINT = {name: index for index, name in enumerate(SMPL_JOINTS)}


@dataclass(frozen=True, kw_only=True)
class Sigmas:
    """Standard deviations of the terms; larger means weaker."""

    pixel: float = 2.5
    """Landmark error in pixels of a person scaled to 100 px, where nothing lifts."""
    landmark_m: float = 0.06
    """3D landmark error relative to the mid hip, where nothing lifts."""
    lifted: float = 1.0
    """Multiplies the standard deviations that the lifter foretells: its points err together."""
    robust: float = 4.0
    """Geman-McClure: beyond this many standard deviations a residual stops pulling."""
    pose: float = 4.0
    """Multiplies the standard deviations of the pose prior."""
    shape: float = 1.0
    """Of each shape coefficient; 1 is the population, whose mean height settles the depth."""
    landmark_scale: float = 0.1
    """Of the log ratio of the detector's metres to ours."""
    acceleration: float = 30.0
    """Of a joint against the pelvis, m/s2; looser than daily motion so that dance is followed."""
    root_acceleration: float = 12.0
    """Of the pelvis, m/s2."""
    contact_m: float = 0.02
    """Height of a standing foot over the ground."""
    slip: float = 0.1
    """Speed of a standing foot, m/s."""
    pitch: float = math.radians(15)
    """Of gravity against the image's vertical, about the image's x axis; unless it is known."""
    roll: float = math.radians(3)
    """The same about the line of sight: people hold cameras level better than straight."""
    upright: float = math.radians(10)
    """Of the line from the ankles to the neck against gravity, in a frame."""
    upright_frames: float = 6.0
    """Independent frames that all the frames of a clip are worth for gravity."""


def _pose_prior() -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each joint's rotation vector, rad.

    Stated: the moments of our procedural motions, made symmetric and rounded, spreads widened to
    what joints can do. No recording goes in, so that recordings can test the fit.
    """
    left = {
        "left_hip": ((-0.4, 0.0, 0.0), (0.55, 0.3, 0.25)),
        "left_knee": ((0.5, 0.0, 0.0), (0.5, 0.12, 0.12)),
        "left_ankle": ((0.0, 0.0, 0.0), (0.35, 0.25, 0.25)),
        "left_foot": ((0.0, 0.0, 0.0), (0.2, 0.05, 0.05)),
        "left_collar": ((0.0, 0.0, 0.0), (0.1, 0.12, 0.12)),
        "left_shoulder": ((0.0, -0.3, -0.9), (0.55, 0.5, 0.65)),
        "left_elbow": ((0.0, -0.8, 0.0), (0.3, 0.6, 0.3)),
        "left_wrist": ((0.0, 0.0, 0.0), (0.3, 0.25, 0.3)),
        "left_hand": ((0.0, 0.0, 0.0), (0.02, 0.02, 0.02)),
    }
    centre = {
        "spine1": ((0.05, 0.0, 0.0), (0.2, 0.1, 0.1)),
        "spine2": ((0.05, 0.0, 0.0), (0.12, 0.1, 0.08)),
        "spine3": ((0.0, 0.0, 0.0), (0.1, 0.08, 0.08)),
        "neck": ((0.0, 0.0, 0.0), (0.25, 0.2, 0.15)),
        "head": ((0.0, 0.0, 0.0), (0.25, 0.2, 0.15)),
    }
    mirrored = {
        name.replace("left", "right"): ((m[0], -m[1], -m[2]), s) for name, (m, s) in left.items()
    }
    table = {**left, **centre, **mirrored}
    rows = [table[name] for name in SMPL_JOINTS[1:]]
    return torch.tensor([m for m, _ in rows]), torch.tensor([s for _, s in rows])


POSE_MEAN, POSE_STD = _pose_prior()
# joint, sign of its rotation vector that bends it, axis of the hinge
_HINGES = (
    ("left_knee", 1.0, 0), ("right_knee", 1.0, 0), ("left_elbow", -1.0, 1), ("right_elbow", 1.0, 1),
)  # fmt: skip
HINGE_RANGE = (-0.05, 2.6)
HINGE_STD = 0.05


def robust(residual2: Tensor, limit: float) -> Tensor:
    """Geman-McClure of a squared residual: quadratic near 0, at most `limit` squared."""
    return residual2 / (1 + residual2 / limit**2)


@dataclass(frozen=True, kw_only=True)
class Posed:
    """Bodies in the world, metres."""

    joints: Float[Tensor, "people frames 24 3"]
    points: Float[Tensor, "people frames 37 3"]
    R_world_joint: Float[Tensor, "people frames 24 3 3"]


class BodyState(nn.Module):
    """All unknowns of one clip: poses, shapes, the camera track's scale and the ground plane."""

    def __init__(
        self,
        start: Pose,
        up_right: tuple[Float[Tensor, "3"], Float[Tensor, "3"]],
        body: BodyModel,
        landmarks: LandmarkMap,
    ):
        super().__init__()
        people, frames = start.root_m.shape[:2]
        self.body, self.landmarks = body, landmarks
        self.R_start = start.R_world_root
        self.up, self.right = up_right
        self.turn = nn.Parameter(torch.zeros(people, frames, 3))
        self.body_pose = nn.Parameter(start.body_pose.clone())
        self.root_m = nn.Parameter(start.root_m.clone())
        self.betas = nn.Parameter(torch.zeros(people, 10))
        self.log_landmark_scale = nn.Parameter(torch.zeros(people))
        self.log_camera_scale = nn.Parameter(torch.zeros(()))
        self.tilt = nn.Parameter(torch.zeros(2))
        self.ground_m = nn.Parameter(torch.zeros(()))

    def ground_up(self) -> Float[Tensor, "3"]:
        """Unit normal of the ground, against gravity."""
        forward = torch.linalg.cross(self.up, self.right)
        normal = self.up + self.tilt[0] * forward + self.tilt[1] * self.right
        return normal / normal.norm()

    def height(self, points: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch"]:
        """Metres above the ground plane."""
        return points @ self.ground_up() - self.ground_m

    def rest_joints(self) -> Float[Tensor, "people 24 3"]:
        """Joints of the shaped bodies in the rest pose."""
        change = einsum(self.body.J_shapedirs, self.betas, "j i k, p k -> p j i")
        return self.body.J_template + change

    def root_rotation(self) -> Float[Tensor, "people frames 3 3"]:
        """World rotation of the pelvis."""
        return so3_exp(self.turn) @ self.R_start

    def place(self) -> Posed:
        """Joints and landmark points in the world (joints only, no skin: this runs 200 times)."""
        rest = self.rest_joints()[:, None]
        R_local = torch.cat([self.root_rotation()[:, :, None], so3_exp(self.body_pose)], 2)
        rotations, joints = chain(R_local, rest, self.root_m)
        betas = self.betas[:, None]
        points = self.landmarks.place(betas, rest, joints, rotations)
        return Posed(joints=joints, points=points, R_world_joint=rotations)


_LEVELS: list[list[int]] = []
for _joint, _parent in enumerate(SMPL_PARENTS):
    _depth = 0 if _parent < 0 else 1 + next(i for i, row in enumerate(_LEVELS) if _parent in row)
    if _depth == len(_LEVELS):
        _LEVELS.append([])
    _LEVELS[_depth].append(_joint)
_ORDER = [joint for level in _LEVELS for joint in level]


def chain(
    R_local: Float[Tensor, "*batch 24 3 3"],
    rest_joints: Float[Tensor, "*#batch 24 3"],
    root_m: Float[Tensor, "*batch 3"],
) -> tuple[Float[Tensor, "*batch 24 3 3"], Float[Tensor, "*batch 24 3"]]:
    """World rotations and positions of the joints, one depth of SMPL's tree at a time."""
    rotations, joints = [R_local[..., :1, :, :]], [root_m[..., None, :]]
    for above, level in itertools.pairwise(_LEVELS):
        parents = [SMPL_PARENTS[joint] for joint in level]
        slots = [above.index(parent) for parent in parents]
        R_parent = rotations[-1][..., slots, :, :]
        bone = rest_joints[..., level, :] - rest_joints[..., parents, :]
        joints.append(joints[-1][..., slots, :] + (R_parent @ bone[..., None])[..., 0])
        rotations.append(R_parent @ R_local[..., level, :, :])
    back = [_ORDER.index(joint) for joint in range(len(_ORDER))]
    return torch.cat(rotations, -3)[..., back, :, :], torch.cat(joints, -2)[..., back, :]


class Energy:
    """Sum of all terms, averaged over the person-frames with evidence."""

    def __init__(self, seen: Observation, fps: float, sigmas: Sigmas, ground_is_known: bool):
        self.seen, self.fps, self.sigmas = seen, fps, sigmas
        self.ground_is_known = ground_is_known
        self.count = seen.visible.sum().clamp_min(1)
        self.contact = torch.zeros(*seen.visible.shape, len(SOLES))

    def __call__(self, state: BodyState, with_ground: bool) -> Float[Tensor, ""]:
        """Energy of a state; the ground terms join in the second stage."""
        posed = state.place()
        total = self.evidence(state, posed) + self.knowledge(state) + self.time(posed)
        if with_ground:
            total = total + self.ground(state, posed)
        return total

    def camera(self, state: BodyState) -> Float[Tensor, "frames 4 4"]:
        """The camera track with its translation in our metres."""
        T = self.seen.T_camera_world
        scaled = T[:, :3, 3:] * state.log_camera_scale.exp()
        return torch.cat([torch.cat([T[:, :3, :3], scaled], -1), T[:, 3:]], -2)

    def evidence(self, state: BodyState, posed: Posed) -> Tensor:
        """Pixels, and points relative to the mid hip up to the detector's own scale."""
        s, seen = self.sigmas, self.seen
        landmarks = posed.points[..., :NUM_KEYPOINTS, :]
        points = torch.cat([posed.joints, landmarks], -2)
        xy_px, depth_m = project(points, seen.K, self.camera(state))
        residual = (xy_px - seen.points_px) / seen.sigma_px[..., None]
        behind = nn.functional.relu(0.3 - depth_m).square() * 1e4
        image = seen.trust * robust(residual.square().sum(-1), s.robust) + behind
        offset = points - landmarks[..., [23, 24], :].mean(-2, keepdim=True)
        target = seen.points_m * state.log_landmark_scale.exp()[:, None, None, None]
        residual2 = (offset - target).square().sum(-1) / seen.sigma_m.square()
        space = seen.trust * robust(residual2, s.robust)
        return (image + space).sum() / self.count

    def knowledge(self, state: BodyState) -> Tensor:
        """How people are built and how they hold themselves."""
        s, pose = self.sigmas, state.body_pose
        deviation = (pose - POSE_MEAN) / (POSE_STD * s.pose)
        energy = deviation.square().sum((-1, -2)).mean() * pose.shape[0]
        for name, sign, axis in _HINGES:
            angle = sign * pose[:, :, _JOINT[name] - 1, axis]
            over = nn.functional.relu(angle - HINGE_RANGE[1]) + nn.functional.relu(
                HINGE_RANGE[0] - angle
            )
            energy = energy + (over / HINGE_STD).square().sum() / self.count
        shape = (state.betas / s.shape).square().sum()
        return energy + shape + (state.log_landmark_scale / s.landmark_scale).square().sum()

    def time(self, posed: Posed) -> Tensor:
        """Joints seldom accelerate much, in the world."""
        if posed.joints.shape[1] < 3:
            return posed.joints.new_zeros(())
        points = torch.cat([posed.joints[:, :, 1:], posed.points[:, :, (0, 31, 32)]], 2)
        centre = posed.joints[:, :, :1]
        rate = self.fps**2
        limbs = _second_difference(points - centre) * rate / self.sigmas.acceleration
        root = _second_difference(centre) * rate / self.sigmas.root_acceleration
        return (_linear_tail(limbs).sum() + 4 * _linear_tail(root).sum()) / self.count

    def ground(self, state: BodyState, posed: Posed) -> Tensor:
        """Standing feet lie on one plane and do not slip; nothing is under it; trunks stand up."""
        s, soles = self.sigmas, posed.points[..., SOLES, :]
        height = state.height(soles)
        energy = (self.contact * robust((height / s.contact_m).square(), 5.0)).sum()
        energy = energy + robust((nn.functional.relu(-height) / 0.03).square(), 5.0).sum()
        if soles.shape[1] > 1:
            speed2 = (soles[:, 1:] - soles[:, :-1]).square().sum(-1) * self.fps**2
            both = torch.minimum(self.contact[:, 1:], self.contact[:, :-1])
            energy = energy + (both * robust(speed2 / s.slip**2, 5.0)).sum()
        energy = energy / self.count
        if self.ground_is_known:
            return energy
        ankles = posed.joints[:, :, [_JOINT["left_ankle"], _JOINT["right_ankle"]]].mean(2)
        stance = nn.functional.normalize(posed.joints[:, :, _JOINT["neck"]] - ankles, dim=-1)
        sine = torch.linalg.cross(stance, state.ground_up().expand_as(stance))
        lean = robust(sine.square().sum(-1) / s.upright**2, 2.0) * self.seen.visible
        energy = energy + s.upright_frames * lean.sum() / self.count
        return energy + (state.tilt[0] / s.pitch) ** 2 + (state.tilt[1] / s.roll) ** 2

    @torch.no_grad()
    def find_contacts(self, state: BodyState) -> None:
        """Which soles stand: slow, and low against the plane (soft, 0..1)."""
        soles = state.place().points[..., SOLES, :]
        speed = torch.zeros(soles.shape[:-1])
        if soles.shape[1] > 1:
            step = (soles[:, 1:] - soles[:, :-1]).norm(dim=-1) * self.fps
            speed[:, 0], speed[:, -1] = step[:, 0], step[:, -1]
            speed[:, 1:-1] = torch.minimum(step[:, 1:], step[:, :-1])
        height = state.height(soles)
        still = torch.exp(-((speed / 0.3) ** 2))
        low = torch.exp(-((height / 0.12) ** 2))
        self.contact = still * low * self.seen.visible[..., None]

    @torch.no_grad()
    def find_camera_scale(self, state: BodyState) -> None:
        """Metres per unit of a free camera track: the scale at which the feet slip least.

        The bodies keep their place before the camera, so the world positions move along.
        """
        T = self.seen.T_camera_world
        centre = -torch.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3])
        path = centre.diff(dim=0).norm(dim=-1).sum()
        if float(path) < 1e-6:
            return
        old = state.log_camera_scale.exp()
        soles = state.place().points[..., SOLES, :] - old * centre[:, None]
        # Paths from a hand's breadth to a long walk, in metres.
        scales = torch.logspace(-1.5, 1.5, 121) / path
        step = soles.diff(dim=1) + scales[:, None, None, None, None] * centre.diff(dim=0)[:, None]
        speed2 = step.square().sum(-1).min(-1).values * self.fps**2
        both = self.seen.visible[:, 1:] & self.seen.visible[:, :-1]
        slip = (robust(speed2 / 0.3**2, 3.0) * both).sum((1, 2))
        new = scales[slip.argmin()]
        state.log_camera_scale.copy_(new.log())
        state.root_m.add_((new - old) * centre[None])

    @torch.no_grad()
    def find_ground(self, state: BodyState) -> None:
        """Start the plane at the usual height of the lower foot."""
        soles = state.place().points[..., SOLES, :]
        lowest = (soles @ state.ground_up()).min(-1).values[self.seen.visible]
        if len(lowest):
            state.ground_m.fill_(float(lowest.median()))


def _linear_tail(vector: Tensor) -> Tensor:
    """Squared length near 0, then linear: quick starts and stops are rare, not impossible."""
    return 2 * ((1 + vector.square().sum(-1)).sqrt() - 1)


def _second_difference(values: Tensor) -> Tensor:
    return values[:, 2:] - 2 * values[:, 1:-1] + values[:, :-2]


def landmark_error_px(
    points: Float[Tensor, "people frames 37 3"],
    seen: Observation,
    T_camera_world: Float[Tensor, "frames 4 4"],
) -> Float[Tensor, "people frames 33"]:
    """Distance in pixels between each landmark's projection and its keypoint."""
    xy_px, _ = project(points[..., :NUM_KEYPOINTS, :], seen.K, T_camera_world)
    return (xy_px - seen.keypoints_px).norm(dim=-1)
