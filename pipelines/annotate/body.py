"""Bodies of all people of a clip: one optimisation over people and frames.

Start: `body_start` (analytic). Energy: `body_energy`. Minimiser: Adam with a cosine schedule,
first evidence, priors and smoothness, then the ground as well. Deterministic.
World frame: the one of the camera track if that is metric; otherwise the fit settles gravity,
floor (y = 0) and scale from the people and returns the camera track moved along.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.body.model import BodyModel
from models.geometry import invert_rigid, project, rigid, so3_exp, so3_log
from models.lifter import WEIGHTS, Lifted, Lifter, Sight, load_lifter, look
from pipelines.annotate.body_doubt import joint_doubt
from pipelines.annotate.body_energy import BodyState, Energy, Sigmas, landmark_error_px
from pipelines.annotate.body_landmarks import (
    KEYPOINT_WEIGHTS,
    LEFT_RIGHT,
    NUM_KEYPOINTS,
    POINT_TRUST,
    map_landmarks,
)
from pipelines.annotate.body_start import (
    LIMBS_AND_TORSO,
    NUM_JOINTS,
    Observation,
    guess_pose,
    swing,
    unswap,
)
from pipelines.annotate.people import PersonTrack
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack

PERSON_HEIGHT_M = 1.7
MIN_LANDMARKS = 5
MIN_CONFIDENCE = 0.3


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How long and with which tolerances to fit."""

    start_iterations: int = 60
    ground_iterations: int = 140
    learning_rate: float = 0.03
    contact_interval: int = 20
    """Iterations between decisions about which feet stand."""
    sigmas: Sigmas = field(default_factory=Sigmas)
    lifter: Path | None = WEIGHTS
    """Weights that turn what the detector says into joints; None takes its landmarks alone."""


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """Bodies, the camera they live with, and how well the fit explains its input."""

    bodies: BodyTracks
    camera: CameraTrack
    """The given track, or the same moved so that y is up, the floor is y = 0, lengths metres."""
    diagnostics: dict[str, float]


def fit_bodies(
    tracks: Sequence[PersonTrack],
    camera: CameraTrack,
    size_px: tuple[int, int],
    fps: float,
    body: BodyModel,
    settings: FitSettings | None = None,
) -> FitResult:
    """Fit one body per person to the landmarks of a clip.

    Args:
        tracks: People, all with the clip's number of frames.
        camera: Camera of every frame. If it is not metric, gravity, floor and scale are fitted.
        size_px: Height and width of the image.
        fps: Frames per second.
        body: Body in SMPL format.
        settings: Defaults suit the landmark detector shipped with the project.

    Returns:
        Bodies in the world of the returned camera. Frames without evidence are interpolated,
        not visible, and have confidence 0.

    Raises:
        ValueError: If a track's length differs from the camera's.
    """
    settings = settings or FitSettings()
    frames = len(camera.K)
    for track in tracks:
        if len(track.visible) != frames:
            raise ValueError(
                f"track of person {track.person_id} must have the camera's {frames} frames, "
                f"got {len(track.visible)}"
            )
    if fps <= 0:
        raise ValueError(f"fps must be positive, got {fps}")
    name = f"{body.name}:{body.digest[:8]}"
    if not tracks:
        return FitResult(bodies=_nobody(frames, name), camera=camera, diagnostics={})
    landmarks = map_landmarks(body)
    rest = landmarks.template[:NUM_KEYPOINTS]
    lifter = None if settings.lifter is None else _lifter(settings.lifter)
    seen = observe(tracks, camera, size_px, rest, settings.sigmas, lifter)
    start = guess_pose(seen, body, landmarks)
    state = BodyState(start, _upright(seen.T_camera_world, camera.is_metric), body, landmarks)
    energy = Energy(seen, fps, settings.sigmas, ground_is_known=camera.is_metric)
    free_scale = not camera.is_metric and camera.kind == "moving"
    last = minimise(state, energy, settings, free_scale)
    T_new_old = torch.eye(4) if camera.is_metric else _settle(state, energy)
    ids, lifted = [track.person_id for track in tracks], lifter is not None
    return _result(state, energy, T_new_old, camera, ids, name, last, lifted)


@cache
def _lifter(folder: Path) -> Lifter:
    return load_lifter(folder)


def observe(
    tracks: Sequence[PersonTrack],
    camera: CameraTrack,
    size_px: tuple[int, int],
    rest_landmarks: Float[Tensor, "33 3"],
    sigmas: Sigmas,
    lifter: Lifter | None = None,
) -> Observation:
    """Evidence of all tracks as tensors: axes of the world, our metres, swaps undone."""
    keypoints = _stack([t.keypoints_px for t in tracks])
    world = _stack([t.world_keypoints_m for t in tracks])
    weight = _stack([t.keypoint_confidence for t in tracks]).clamp(0, 1)
    visible = torch.tensor(np.stack([t.visible for t in tracks]))
    visible = visible & ((weight > MIN_CONFIDENCE).sum(-1) >= MIN_LANDMARKS)
    size = _size_px(keypoints, world, weight)
    order = torch.tensor(LEFT_RIGHT)
    for p in range(len(tracks)):
        swapped = unswap(keypoints[p], world[p], visible[p], size[p])
        for values in (keypoints, world, weight):
            values[p, swapped] = values[p, swapped][:, order]
    height, width = size_px
    limit = keypoints.new_tensor([width, height])
    inside = ((keypoints > -0.02 * limit) & (keypoints < 1.02 * limit)).all(-1)
    K, T = (torch.tensor(a, dtype=torch.float32) for a in (camera.K, camera.T_camera_world))
    # The detector sees each person through a crop, as if its camera looked straight at them.
    sight = look(keypoints, world, weight, K)
    weight = weight * torch.where(inside, 1.0, 0.2) * visible[..., None]
    R_crop_world = sight.R_camera_crop.mT @ T[:, :3, :3]
    if lifter is None:
        world = sight.points[..., 2:5] @ R_crop_world
        world = world * _body_scale(world, weight, rest_landmarks)[:, None, None, None]
        points = _only_landmarks(keypoints, world, weight, size, sigmas)
    else:
        points = _lifted(lifter.lift(sight), sight, R_crop_world, K, visible, sigmas.lifted)
    return Observation(
        **points, weight=weight, visible=visible, size_px=size, K=K, T_camera_world=T
    )


def _only_landmarks(
    keypoints_px: Tensor, world_m: Tensor, weight: Tensor, size_px: Tensor, sigmas: Sigmas
) -> dict[str, Tensor]:
    """The detector's word for it: nothing is known of the joints but the landmarks."""
    joints = weight.new_zeros(*weight.shape[:2], NUM_JOINTS)
    trust = torch.cat([joints, weight * torch.tensor(KEYPOINT_WEIGHTS)], 2)
    nowhere = joints[..., None]
    return {
        "points_px": torch.cat([nowhere.expand(-1, -1, -1, 2), keypoints_px], 2),
        "points_m": torch.cat([nowhere.expand(-1, -1, -1, 3), world_m], 2),
        "sigma_px": (sigmas.pixel * size_px / 100)[..., None].expand_as(trust),
        "sigma_m": torch.full_like(trust, sigmas.landmark_m),
        "trust": trust,
    }


def _lifted(
    lifted: Lifted, sight: Sight, R_crop_world: Tensor, K: Tensor, visible: Tensor, factor: float
) -> dict[str, Tensor]:
    """The lifter's points in the world's axes and in the image."""
    plane = lifted.image * sight.scale[..., None, None]
    rays = torch.cat([plane, torch.ones_like(plane[..., :1])], -1) @ sight.R_camera_crop.mT
    pixels = rays @ K.mT
    focal = (K[:, 0, 0] * K[:, 1, 1]).sqrt()[:, None]
    trust = torch.tensor(POINT_TRUST) * visible[..., None]
    return {
        "points_px": pixels[..., :2] / pixels[..., 2:].clamp_min(0.1),
        "points_m": lifted.points_m @ R_crop_world,
        "sigma_px": factor * 3**0.5 * lifted.log_scale_image.exp() * sight.scale[..., None] * focal,
        "sigma_m": factor * 2 * lifted.log_scale_m.exp(),
        "trust": trust,
    }


def minimise(state: BodyState, energy: Energy, settings: FitSettings, free_scale: bool) -> float:
    """Move the state to a minimum of the energy; returns the last value."""
    state.log_camera_scale.requires_grad_(free_scale)
    state.tilt.requires_grad_(not energy.ground_is_known)
    value = 0.0
    for with_ground, steps in (
        (False, settings.start_iterations),
        (True, settings.ground_iterations),
    ):
        if steps == 0:
            continue
        if free_scale:
            energy.find_camera_scale(state)
        if with_ground:
            energy.find_ground(state)
        free = [p for p in state.parameters() if p.requires_grad]
        adam = torch.optim.Adam(free, lr=settings.learning_rate, betas=(0.9, 0.95))
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(adam, steps)
        for step in range(steps):
            if with_ground and step % settings.contact_interval == 0:
                energy.find_contacts(state)
            adam.zero_grad()
            loss = energy(state, with_ground)
            loss.backward()
            adam.step()
            schedule.step()
            value = float(loss.detach())
    return value


@torch.no_grad()
def _settle(state: BodyState, energy: Energy) -> Float[Tensor, "4 4"]:
    """Rigid motion to the world with gravity along -y, floor y = 0, first camera at x = z = 0."""
    R = swing(state.ground_up(), torch.tensor([0.0, 1.0, 0.0]))
    centre = invert_rigid(energy.camera(state)[0])[:3, 3]
    moved = R @ centre
    return rigid(R, torch.stack([-moved[0], -state.ground_m, -moved[2]]))


@torch.no_grad()
def _result(
    state: BodyState,
    energy: Energy,
    T_new_old: Float[Tensor, "4 4"],
    camera: CameraTrack,
    person_id: list[int],
    body_model: str,
    last_energy: float,
    lifted: bool,
) -> FitResult:
    posed, seen = state.place(), energy.seen
    T_camera_old = energy.camera(state)
    error = landmark_error_px(posed.points, seen, T_camera_old)
    joints = posed.joints @ T_new_old[:3, :3].mT + T_new_old[:3, 3]
    R_root = T_new_old[:3, :3] @ state.root_rotation()
    T_camera_new = T_camera_old @ invert_rigid(T_new_old)
    joints_px, _ = project(joints, seen.K, T_camera_new)
    confidence = _confidence(error, seen)
    doubt = None
    if lifted:
        hips = posed.points[..., [23, 24], :].mean(-2)
        doubt = joint_doubt(posed.joints, hips, state.rest_joints(), seen, energy.fps).numpy()
    # An angle beyond pi is the same rotation: keep the short form.
    body_pose = so3_log(so3_exp(state.body_pose))
    bodies = BodyTracks(
        person_id=np.array(person_id, np.int64),
        betas=state.betas.numpy(),
        global_orient=so3_log(R_root).numpy(),
        body_pose=rearrange(body_pose, "p t j c -> p t (j c)").numpy(),
        transl=(joints[:, :, 0] - state.rest_joints()[:, None, 0]).numpy(),
        visible=seen.visible.numpy(),
        confidence=confidence.numpy(),
        joints_px=joints_px.numpy(),
        body_model=body_model,
        joint_sigma_m=doubt,
    )
    used = (seen.weight > MIN_CONFIDENCE) & torch.isin(
        torch.arange(33), torch.tensor(LIMBS_AND_TORSO)
    )
    diagnostics = {
        "energy": last_energy,
        "reprojection_px": _mean(error, used),
        "reprojection_relative": _mean(error / seen.size_px[..., None], used),
        "standing_fraction": _mean((energy.contact.amax(-1) > 0.5).float(), seen.visible),
        "ground_tilt_deg": float(state.tilt.norm().rad2deg()),
        "camera_scale": float(state.log_camera_scale.exp()),
        "landmark_scale": float(state.log_landmark_scale.exp().mean()),
    }
    if camera.is_metric:
        return FitResult(bodies=bodies, camera=camera, diagnostics=diagnostics)
    return FitResult(bodies=bodies, camera=_move(camera, state, T_new_old), diagnostics=diagnostics)


def _move(camera: CameraTrack, state: BodyState, T_new_old: Tensor) -> CameraTrack:
    """The same camera in the settled world, in double precision, rotations exact."""
    scaled = camera.T_camera_world.copy()
    scaled[:, :3, 3] *= float(state.log_camera_scale.exp())
    R, t = (part.double().numpy() for part in (T_new_old[:3, :3], T_new_old[:3, 3]))
    u, _, vh = np.linalg.svd(R)
    T = np.eye(4)
    T[:3, :3] = u @ vh
    T[:3, 3] = t
    moved = scaled @ np.linalg.inv(T)
    moved[:, 3] = (0, 0, 0, 1)
    return replace(
        camera,
        T_camera_world=moved,
        is_metric=True,
        source=f"{camera.source}; floor and scale from the bodies",
    )


def _confidence(error_px: Tensor, seen: Observation) -> Tensor:
    """Per person-frame, 0..1: seen landmarks, each trusted by its error on a 100 px person."""
    weight = torch.tensor(KEYPOINT_WEIGHTS)
    relative = error_px * 100 / seen.size_px[..., None]
    agreement = torch.exp(-0.5 * (relative / 10) ** 2)
    value = (seen.weight * agreement * weight).sum(-1) / weight.sum()
    return torch.where(seen.visible, value.clamp(0, 1), 0.0)


def _upright(T_camera_world: Float[Tensor, "frames 4 4"], is_known: bool) -> tuple[Tensor, Tensor]:
    """First guess of up (y if known, else up in the mean image), and a level direction across."""
    right = T_camera_world[:, 0, :3].mean(0)
    up = torch.tensor([0.0, 1.0, 0.0]) if is_known else -T_camera_world[:, 1, :3].mean(0)
    up = up / up.norm()
    level = right - (right @ up) * up
    return up, level / level.norm().clamp_min(1e-6)


def _size_px(keypoints: Tensor, world: Tensor, weight: Tensor) -> Tensor:
    """Height in pixels of a standing person at the landmarks' scale (weak perspective)."""
    w = weight[..., None].clamp_min(1e-3)
    spread = []
    for values in (keypoints, world[..., :2]):
        centred = values - (values * w).sum(2, keepdim=True) / w.sum(2, keepdim=True)
        spread.append((w * centred.square()).sum((2, 3)))
    ratio = (spread[0] / spread[1].clamp_min(1e-6)).sqrt()
    return (PERSON_HEIGHT_M * ratio).clamp_min(8.0)


def _body_scale(world: Tensor, weight: Tensor, rest: Tensor) -> Tensor:
    """Per person, our bone lengths over the detector's (median over frames)."""
    bones = torch.tensor(
        [
            (11, 13),
            (13, 15),
            (12, 14),
            (14, 16),
            (23, 25),
            (25, 27),
            (24, 26),
            (26, 28),
            (11, 23),
            (12, 24),
        ]
    )
    length = (world[..., bones[:, 0], :] - world[..., bones[:, 1], :]).norm(dim=-1)
    trust = torch.minimum(weight[..., bones[:, 0]], weight[..., bones[:, 1]])
    ours = (rest[bones[:, 0]] - rest[bones[:, 1]]).norm(dim=-1)
    ratio = (trust * ours).sum(-1) / (trust * length).sum(-1).clamp_min(1e-6)
    scales = []
    for values, known in zip(ratio, trust.sum(-1) > 1, strict=True):
        scales.append(values[known].median() if bool(known.any()) else values.new_ones(()))
    return torch.stack(scales).clamp(0.5, 2.0)


def _stack(arrays: list[np.ndarray]) -> Tensor:
    return torch.tensor(np.nan_to_num(np.stack(arrays)), dtype=torch.float32)


def _mean(values: Tensor, mask: Tensor) -> float:
    return float(values[mask].mean()) if bool(mask.any()) else 0.0


def _nobody(frames: int, body_model: str) -> BodyTracks:
    def empty(*shape: int) -> np.ndarray:
        return np.zeros((0, *shape), np.float32)

    return BodyTracks(
        person_id=np.zeros(0, np.int64),
        betas=empty(10),
        global_orient=empty(frames, 3),
        body_pose=empty(frames, 69),
        transl=empty(frames, 3),
        visible=np.zeros((0, frames), bool),
        confidence=empty(frames),
        joints_px=empty(frames, 24, 2),
        body_model=body_model,
    )
