"""Generation: a Shot (people, camera, pictures, settings) in, a video out.

A Shot holds everything the picture depends on besides the weights, and goes to JSON and back
without loss: the same JSON and weights give the same video.
"""

import base64
import json
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Float32, UInt8
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
from models.flow import SAMPLERS, Velocity
from models.vae.model import VideoVAE
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack

SHOT_VERSION = 1
Record = TypeVar("Record", CameraTrack, BodyTracks)
ALL = "all"
"""Guidance name for every condition at once."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How the flow is followed."""

    seed: int = 0
    num_steps: int = 30
    guidance: dict[str, float] = field(default_factory=lambda: {ALL: 2.0})
    """Strength per condition, or for `all` at once: v + sum of (strength - 1) (v - v without it).
    1 is plain conditional sampling; each other entry costs one more evaluation per step."""
    sampler: str = "euler"
    time_shift: float = 1.0
    tells_camera: bool = True
    """Whether the camera enters as rays; bodies are projected by it in any case."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        unknown = sorted(set(self.guidance) - {*CONDITION_NAMES, ALL})
        if unknown:
            raise ValueError(f"guidance must name {ALL} or {CONDITION_NAMES}, got {unknown}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {sorted(SAMPLERS)}, got {self.sampler!r}")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One video to generate."""

    size_px: tuple[int, int]
    """Height and width."""
    camera: CameraTrack
    """Its number of frames, 1 + 4k, is the length of the video."""
    bodies: BodyTracks | None = None
    reference_image: UInt8[np.ndarray, "h w 3"] | None = None
    """Who is to be seen; RGB, of the size of the video."""
    reference_bodies: BodyTracks | None = None
    """The people of `bodies`, in the same order, as they stand in the reference: one frame."""
    reference_camera: CameraTrack | None = None
    """One frame."""
    image_embedding: Float32[np.ndarray, "e"] | None = None
    background: UInt8[np.ndarray, "t h w 3"] | None = None
    """The scene without people; None lets the model invent it."""
    settings: SampleSettings = field(default_factory=SampleSettings)
    weights: dict[str, str] = field(default_factory=dict)
    """Digests of the weights it was made with, for the record."""

    def __post_init__(self) -> None:
        frames = len(self.camera.K)
        if frames % 4 != 1:
            raise ValueError(
                f"a shot must have 1 + 4k frames, got {frames}; cut the tracks to "
                f"{frames - (frames - 1) % 4}"
            )
        _check("reference_image", self.reference_image, (*self.size_px, 3))
        _check("background", self.background, (frames, *self.size_px, 3))
        if self.bodies is not None:
            _check("bodies.visible", self.bodies.visible, (len(self.bodies.person_id), frames))
        if (self.reference_bodies is None) != (self.reference_camera is None):
            raise ValueError("reference_bodies and reference_camera must be given together")
        if self.reference_bodies is not None:
            people = 0 if self.bodies is None else len(self.bodies.person_id)
            _check("reference_bodies.visible", self.reference_bodies.visible, (people, 1))

    def to_json(self) -> str:
        """All of it, arrays compressed, so that `from_json` gives an equal shot."""
        return json.dumps(
            {
                "version": SHOT_VERSION,
                "size_px": list(self.size_px),
                "settings": asdict(self.settings),
                "weights": self.weights,
                **{name: _pack(getattr(self, name)) for name in RECORDS},
                **{name: _pack_array(getattr(self, name)) for name in ARRAYS},
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Shot":
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the version is unknown or a value is not what a shot allows.
        """
        values = json.loads(text)
        if values.get("version") != SHOT_VERSION:
            raise ValueError(f"shot version must be {SHOT_VERSION}, got {values.get('version')}")
        height, width = values["size_px"]
        camera = _unpack(values["camera"], CameraTrack)
        if camera is None:
            raise ValueError("a shot must have a camera, got null")
        return cls(
            size_px=(height, width),
            settings=SampleSettings(**values["settings"]),
            weights=values["weights"],
            camera=camera,
            bodies=_unpack(values["bodies"], BodyTracks),
            reference_bodies=_unpack(values["reference_bodies"], BodyTracks),
            reference_camera=_unpack(values["reference_camera"], CameraTrack),
            reference_image=_unpack_array(values["reference_image"]),
            image_embedding=_unpack_array(values["image_embedding"]),
            background=_unpack_array(values["background"]),
        )


RECORDS = ("camera", "bodies", "reference_bodies", "reference_camera")
ARRAYS = ("reference_image", "image_embedding", "background")


@torch.no_grad()
def generate(
    model: ISADiT, vae: VideoVAE, body: BodyModel, shot: Shot
) -> Float[Tensor, "1 3 t h w"]:
    """Make the video of a shot.

    Args:
        model: Trained, with its `latent_std`; pass the averaged weights.
        vae: The autoencoder whose latents the model learned.
        body: The body model of the shot's SMPL parameters.
        shot: What to make.

    Returns:
        Video in [0, 1].

    Raises:
        ValueError: If the shot does not fit the model.
    """
    frames, longest = len(shot.camera.K), model.config.max_frames
    if frames > longest:
        raise ValueError(
            f"this model makes at most {longest} frames, got {frames}; make several shots, each "
            "with the last frame of the one before as reference_image"
        )
    conditions = prepare(model, vae, body, shot)
    factor = vae.config.space_factor
    height, width = shot.size_px
    shape = (1, model.config.latent_channels, 1 + (frames - 1) // 4, height // factor, -1)
    shape = (*shape[:-1], width // factor)
    generator = torch.Generator().manual_seed(shot.settings.seed)
    noise = torch.randn(shape, generator=generator).to(model.latent_std.device)
    settings = shot.settings
    velocity = guided_velocity(model, conditions, settings.guidance)
    latent = SAMPLERS[settings.sampler](velocity, noise, settings.num_steps, settings.time_shift)
    video = vae.decode(latent * model.latent_std)
    return ((video + 1) / 2).clamp(0, 1)


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


def _check(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if array is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _pack(record: CameraTrack | BodyTracks | None) -> str | None:
    return None if record is None else base64.b64encode(record.to_npz()).decode()


def _unpack(text: str | None, kind: type[Record]) -> Record | None:
    return None if text is None else kind.from_npz(base64.b64decode(text, validate=True))


def _pack_array(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "zlib_base64": data}


def _unpack_array(packed: dict[str, Any] | None) -> np.ndarray | None:
    if packed is None:
        return None
    if packed["dtype"] not in ("uint8", "float32"):
        raise ValueError(f"array dtype must be uint8 or float32, got {packed['dtype']}")
    data = zlib.decompress(base64.b64decode(packed["zlib_base64"], validate=True))
    return np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"])
