"""Generation: a Shot (people, camera, pictures, settings) in, a video out.

A shot longer than the clips the model was trained on is made window by window in latent space.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from models.body.model import BodyModel
from models.dit.conditions import (
    CONDITION_NAMES,
    Bodies,
    Conditions,
    ReferenceBodies,
    View,
)
from models.dit.model import ISADiT
from models.flow import SAMPLERS, Velocity, interpolate
from models.shot import ALL, Shot
from models.vae.model import VideoVAE
from storage_schemas.body import BodyTracks


def generate(
    model: ISADiT, vae: VideoVAE, body: BodyModel, shot: Shot
) -> Float[Tensor, "1 3 t h w"]:
    """Make the video of a shot, in [0, 1]; see `generate_chunks`."""
    return torch.cat([*generate_chunks(model, vae, body, shot)], dim=2)


@torch.no_grad()
def generate_chunks(
    model: ISADiT, vae: VideoVAE, body: BodyModel, shot: Shot
) -> Iterator[Float[Tensor, "1 3 _t h w"]]:
    """Make the video of a shot latent by latent: frame 0, then four frames at a time.

    A long shot is made in windows of the length the model was trained on. Each starts at a frame
    that is already made, follows the flow with the latents it shares with the window before held
    on their straight path, and adds new ones; the reference is the same for all. One pass of the
    causal decoder runs over all latents, so nothing is decoded twice, there is no seam in time
    besides what the model makes, and memory does not grow with the length.

    Args:
        model: Trained, with its `latent_std`; pass the averaged weights.
        vae: The autoencoder whose latents the model learned.
        body: The body model of the shot's SMPL parameters.
        shot: What to make.

    Returns:
        Parts of the video in [0, 1].

    Raises:
        ValueError: If the shot does not fit the model.
    """
    settings, std = shot.settings, model.latent_std
    num_latents = 1 + (len(shot.camera.K) - 1) // 4
    longest = 1 + (model.config.max_frames - 1) // 4
    size = min(num_latents, longest)
    if num_latents > size == 1:
        raise ValueError(f"this model makes single pictures, got {len(shot.camera.K)} frames")
    generator = torch.Generator().manual_seed(settings.seed)
    made: deque[Tensor] = deque(maxlen=size)
    ends: deque[Tensor] = deque(maxlen=size)
    waiting: deque[Tensor] = deque()
    decoded = vae.decode_chunks(_take(waiting))
    for start, num_known in windows(num_latents, size, settings.held_latents):
        part = shot.cut(4 * start, 4 * (start + size) - 3)
        noise = torch.randn(latent_shape(model, vae, part), generator=generator).to(std.device)
        velocity = guided_velocity(model, prepare(model, vae, body, part), settings.guidance)
        if num_known:
            first = vae.encode(ends[-num_known]).mean / std
            shared = list(made)[len(made) - num_known + 1 :]
            velocity = hold(velocity, torch.cat([first, *shared], dim=2), noise)
        follow = SAMPLERS[settings.sampler]
        latent = follow(velocity, noise, settings.num_steps, settings.time_shift)
        for k in range(num_known, size):
            made.append(latent[:, :, k : k + 1])
            waiting.append(made[-1] * std)
            video = next(decoded).clamp(-1, 1)
            ends.append(video[:, :, -1:])
            yield (video + 1) / 2


def windows(num_latents: int, size: int, held: int) -> Iterator[tuple[int, int]]:
    """Where each window starts, in latents, and how many of its first latents are known.

    The first latent of a later window stands for one frame alone, the last one of the latent it
    starts at; so a window that starts at latent s shares latents s+1.. with the one before.
    """
    yield 0, 0
    done = size  # latents made so far
    while done < num_latents:
        start = min(done - 1 - min(held, size - 2), num_latents - size)
        yield start, done - start
        done = start + size


def hold(
    velocity: Velocity, known: Float[Tensor, "b c m h w"], noise: Float[Tensor, "b c k h w"]
) -> Velocity:
    """A velocity that keeps the first latents on the straight path from their noise to `known`."""
    first = noise[:, :, : known.shape[2]]
    straight = known - first

    def held(x: Tensor, t: float) -> Tensor:
        path = interpolate(known, first, torch.full((len(x),), t, dtype=x.dtype, device=x.device))
        x = torch.cat([path, x[:, :, known.shape[2] :]], dim=2)
        return torch.cat([straight, velocity(x, t)[:, :, known.shape[2] :]], dim=2)

    return held


def latent_shape(model: ISADiT, vae: VideoVAE, shot: Shot) -> tuple[int, int, int, int, int]:
    """Shape of the latents of a shot."""
    height, width = (side // vae.config.space_factor for side in shot.size_px)
    return 1, model.config.latent_channels, 1 + (len(shot.camera.K) - 1) // 4, height, width


def _take(waiting: deque[Tensor]) -> Iterator[Tensor]:
    while True:  # as long as somebody asks
        yield waiting.popleft()


def prepare(model: ISADiT, vae: VideoVAE, body: BodyModel, shot: Shot) -> Conditions:
    """The shot as the model is told of it: points, view and scaled latents, one clip."""
    device, std = model.latent_std.device, model.latent_std
    num_points = model.config.num_points
    has_camera = shot.settings.tells_camera and shot.camera.kind != "unknown"
    conditions = Conditions(
        view=View(
            K=_tensor(shot.camera.K, device),
            T_camera_world=_tensor(shot.camera.T_camera_world, device),
            size_px=shot.size_px,
        ),
        has_camera=torch.tensor([has_camera], device=device),
    )
    if shot.bodies is not None and len(shot.bodies.person_id):
        points, is_visible = pose_points(body, shot.bodies, num_points, device)
        conditions = replace(conditions, bodies=Bodies(points_world=points, is_visible=is_visible))
    if shot.reference_image is not None:
        latent = encode(vae, shot.reference_image[None], device) / std
        conditions = replace(conditions, reference_latent=latent[:, :, 0])
    if shot.reference_bodies is not None and shot.reference_camera is not None:
        points, is_visible = pose_points(body, shot.reference_bodies, num_points, device)
        reference = ReferenceBodies(
            points_world=points[:, :, 0],
            is_visible=is_visible[:, :, 0],
            K=_tensor(shot.reference_camera.K[0], device),
            T_camera_world=_tensor(shot.reference_camera.T_camera_world[0], device),
        )
        conditions = replace(conditions, reference_bodies=reference)
    if shot.image_embedding is not None:
        embedding = _tensor(shot.image_embedding, device)
        conditions = replace(conditions, image_embedding=embedding)
    if shot.background is not None:
        latent = encode(vae, shot.background, device) / std
        conditions = replace(conditions, background_latent=latent)
    return conditions


def pose_points(
    body: BodyModel, tracks: BodyTracks, num_points: int, device: torch.device
) -> tuple[Float[Tensor, "1 p t n 3"], Tensor]:
    """Surface points of all people in the world, metres, and where they are visible."""
    sampled = body.subset(body.surface_points(num_points)).to(device)
    betas = _tensor(tracks.betas, device)[:, :, None]
    parts = (tracks.global_orient, tracks.body_pose, tracks.transl)
    posed = sampled.pose(betas, *(_tensor(part, device) for part in parts))
    return posed.vertices, torch.as_tensor(tracks.visible.copy(), device=device)[None]


def encode(
    vae: VideoVAE, frames: UInt8[np.ndarray, "t h w 3"], device: torch.device
) -> Float[Tensor, "1 c k hl wl"]:
    """Mean latent of RGB frames."""
    video = torch.as_tensor(frames.copy(), device=device).float() / 127.5 - 1
    return vae.encode(rearrange(video, "t h w c -> 1 c t h w")).mean


def guided_velocity(
    model: ISADiT, conditions: Conditions, guidance: Mapping[str, float]
) -> Velocity:
    """Classifier-free guidance, condition by condition: v + sum (strength - 1) (v - v without).

    For `all` alone this is the usual v_none + strength (v - v_none).
    """
    dropped = {
        name: conditions.without(*(CONDITION_NAMES if name == ALL else (name,)))
        for name, strength in guidance.items()
        if strength != 1
    }

    def velocity(x: Tensor, t: float) -> Tensor:
        time = torch.full((len(x),), t, device=x.device, dtype=x.dtype)
        v = model(x, time, conditions)
        change = torch.zeros_like(v)
        for name, without in dropped.items():
            change = change + (guidance[name] - 1) * (v - model(x, time, without))
        return v + change

    return velocity


def _tensor(array: np.ndarray, device: torch.device) -> Tensor:
    """One clip as a batch, float32."""
    return torch.as_tensor(array.copy(), device=device).float()[None]
