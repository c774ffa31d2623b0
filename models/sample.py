"""One clip's bytes to tensors: records read, window drawn, pictures cropped, bodies posed."""

from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int64, UInt8
from torch import Tensor

from models.clip_index import ClipEntry
from models.video import decode_mp4
from models.window import ClipSettings, Window, choose_window, crop_camera, crop_labels, crop_video
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.latent import LatentRecord
from storage_schemas.mask import MaskTrack
from storage_schemas.shards import BACKGROUND, BODY, CAMERA, CLIP, LATENT, MASK, VIDEO

STAND_IN_FOV_DEG = 50.0
"""Field of view along the longer side where no camera is known."""
LICENSED = "smpl:"
"""How labels name bodies of a user's SMPL file; the points here are of the free body."""
OTHER_PERSON = 255
"""Mask label of people beyond `max_people`."""
PEOPLE_FIELDS = (
    "betas", "global_orient", "body_pose", "transl", "person_visible", "points_world",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One clip as the batch wants it; pictures stay uint8 until they are stacked."""

    clip_id: str
    video: UInt8[Tensor, "3 t h w"] | None
    background: UInt8[Tensor, "3 t h w"] | None
    mask: UInt8[Tensor, "t h w"] | None
    K: Float[Tensor, "t 3 3"]
    T_camera_world: Float[Tensor, "t 4 4"]
    has_camera: Bool[Tensor, ""]
    betas: Float[Tensor, "p 10"]
    global_orient: Float[Tensor, "p t 3"]
    body_pose: Float[Tensor, "p t 69"]
    transl: Float[Tensor, "p t 3"]
    person_visible: Bool[Tensor, "p t"]
    points_world: Float[Tensor, "p t n 3"]
    has_background: Bool[Tensor, ""]
    latent_mean: Float[Tensor, "c k hl wl"] | None = None
    latent_logvar: Float[Tensor, "c k hl wl"] | None = None
    background_latent: Float[Tensor, "c k hl wl"] | None = None
    reference_latent: Float[Tensor, "c hl wl"] | None = None
    reference_frame: Int64[Tensor, ""] | None = None
    image_embedding: Float[Tensor, " e"] | None = None

    @property
    def num_bytes(self) -> int:
        """Memory of all tensors."""
        values = [getattr(self, f.name) for f in fields(self)]
        return sum(value.nbytes for value in values if isinstance(value, Tensor))


@dataclass(frozen=True, kw_only=True)
class Labels:
    """The records of one clip that are not pictures."""

    clip: ClipRecord
    body: BodyTracks | None
    camera: CameraTrack | None
    latent: LatentRecord | None

    @property
    def num_bytes(self) -> int:
        """Memory of all arrays."""
        records = [self.clip, self.body, self.camera, self.latent]
        values = [getattr(r, f.name) for r in records if r is not None for f in fields(r)]
        return sum(value.nbytes for value in values if isinstance(value, np.ndarray))


class SampleReader:
    """Reads samples of one kind; holds the surface points of the body model."""

    def __init__(self, settings: ClipSettings) -> None:
        self.settings = settings
        self._surface = None
        if settings.num_points:
            from models.body.model import BodyModel

            body = BodyModel.load()
            self._surface = body.subset(body.surface_points(settings.num_points))

    def read_labels(self, entry: ClipEntry) -> Labels:
        """Records of the clip.

        Raises:
            ValueError: If one is damaged or they disagree on the number of frames.
        """
        data = entry.read([CLIP, BODY, CAMERA, *([LATENT] if self.settings.with_latents else [])])
        clip = ClipRecord.from_json(data[CLIP])
        body = BodyTracks.from_npz(data[BODY]) if BODY in data else None
        camera = CameraTrack.from_npz(data[CAMERA]) if CAMERA in data else None
        latent = LatentRecord.from_npz(data[LATENT]) if LATENT in data else None
        if body is not None and body.transl.shape[1] != clip.num_frames:
            raise ValueError(f"body has {body.transl.shape[1]} frames, the clip {clip.num_frames}")
        if camera is not None and len(camera.K) != clip.num_frames:
            raise ValueError(f"camera has {len(camera.K)} frames, the clip {clip.num_frames}")
        if self._surface is not None and body is not None and body.body_model.startswith(LICENSED):
            raise ValueError(
                f"the people are bodies of a licensed file ({body.body_model[:13]}), whose surface "
                "training does not have; train on clips rendered without --body"
            )
        return Labels(clip=clip, body=body, camera=camera, latent=latent)

    def window(self, labels: Labels, rng: np.random.Generator) -> Window:
        """The window that the latents were made with, or a fresh draw."""
        if labels.latent is None:
            return choose_window(labels.clip, labels.body, self.settings, rng)
        window = Window.from_json(labels.latent.window)
        if window.num_frames != self.settings.num_frames:
            raise ValueError(
                f"latents hold {window.num_frames} frames, the recipe wants "
                f"{self.settings.num_frames}; encode again with the recipe's window"
            )
        return window

    def read_sample(self, entry: ClipEntry, labels: Labels, window: Window) -> Sample:
        """Everything of the sample but the drawn reference."""
        people = self._choose_people(labels, window)
        pictures = self._pictures(entry, labels, window, people)
        K, T_camera_world, has_camera = _camera(labels, window)
        return Sample(
            clip_id=entry.clip_id,
            **pictures,
            K=K,
            T_camera_world=T_camera_world,
            has_camera=torch.tensor(has_camera),
            **self._people(labels, window, people),
        )

    def draw_reference(self, sample: Sample, labels: Labels, rng: np.random.Generator) -> Sample:
        """The sample with one of its reference frames."""
        latent = labels.latent
        if latent is None:
            frame = int(rng.integers(self.settings.num_frames))
            return replace(sample, reference_frame=torch.tensor(frame))
        choice = int(rng.integers(len(latent.reference_frames)))
        return replace(
            sample,
            latent_mean=_tensor(latent.mean),
            latent_logvar=_tensor(latent.logvar),
            background_latent=_tensor(latent.background),
            reference_latent=_tensor(latent.reference[choice]),
            reference_frame=torch.tensor(int(latent.reference_frames[choice])),
            image_embedding=_tensor(latent.image_embedding[choice]),
        )

    def _choose_people(self, labels: Labels, window: Window) -> Int64[np.ndarray, " people"]:
        """Those seen longest in the window, in their order on disk."""
        if labels.body is None:
            return np.zeros(0, np.int64)
        seen = labels.body.visible[:, window.frames].sum(1)
        return np.sort(np.argsort(-seen, kind="stable")[: self.settings.max_people])

    def _pictures(
        self,
        entry: ClipEntry,
        labels: Labels,
        window: Window,
        people: Int64[np.ndarray, " people"],
    ) -> dict[str, Tensor | None]:
        is_latent = labels.latent is not None
        wants_plate = self.settings.with_background and not is_latent
        names = [MASK, *([] if is_latent else [VIDEO]), *([BACKGROUND] if wants_plate else [])]
        data = entry.read(names)

        def video(name: str) -> Tensor | None:
            if name not in data:
                return None
            frames = decode_mp4(data[name], window.start, window.stop, window.stride)
            return crop_video(frames, window)

        mask = None
        if MASK in data:
            number = np.full(256, OTHER_PERSON, np.uint8)
            number[0] = 0
            number[people + 1] = np.arange(1, len(people) + 1)
            instance = number[MaskTrack.from_npz(data[MASK]).instance[window.frames]]
            mask = crop_labels(instance, window)
        plate = video(BACKGROUND)
        has_plate = bool(np.any(labels.latent.background)) if labels.latent else plate is not None
        return {
            "video": video(VIDEO),
            "background": plate,
            "mask": mask,
            "has_background": torch.tensor(has_plate),
        }

    def _people(
        self, labels: Labels, window: Window, keep: Int64[np.ndarray, " people"]
    ) -> dict[str, Tensor]:
        frames, body = window.frames, labels.body
        if body is None or not len(keep):
            return _nobody(window.num_frames, self.settings.num_points)
        people = {
            "betas": _tensor(body.betas[keep]),
            "global_orient": _tensor(body.global_orient[keep][:, frames]),
            "body_pose": _tensor(body.body_pose[keep][:, frames]),
            "transl": _tensor(body.transl[keep][:, frames]),
        }
        visible = torch.from_numpy(body.visible[keep][:, frames].copy())
        return people | {"person_visible": visible, "points_world": self._points(people)}

    def _points(self, people: dict[str, Tensor]) -> Float[Tensor, "p t n 3"]:
        if self._surface is None:
            return people["transl"].new_zeros(*people["transl"].shape[:2], 0, 3)
        frames = people["transl"].shape[1]
        betas = people["betas"][:, None].expand(-1, frames, -1)
        with torch.no_grad():
            posed = self._surface.pose(
                betas, people["global_orient"], people["body_pose"], people["transl"]
            )
        return posed.vertices


def _nobody(num_frames: int, num_points: int) -> dict[str, Tensor]:
    return {
        "betas": torch.zeros(1, 10),
        "global_orient": torch.zeros(1, num_frames, 3),
        "body_pose": torch.zeros(1, num_frames, 69),
        "transl": torch.zeros(1, num_frames, 3),
        "person_visible": torch.zeros(1, num_frames, dtype=torch.bool),
        "points_world": torch.zeros(1, num_frames, num_points, 3),
    }


def _camera(
    labels: Labels, window: Window
) -> tuple[Float[Tensor, "t 3 3"], Float[Tensor, "t 4 4"], bool]:
    camera, clip = labels.camera, labels.clip
    if camera is None:
        focal_px = max(clip.width, clip.height) / 2 / np.tan(np.radians(STAND_IN_FOV_DEG) / 2)
        K = torch.tensor(
            [[focal_px, 0, clip.width / 2], [0, focal_px, clip.height / 2], [0, 0, 1]],
            dtype=torch.float64,
        ).repeat(window.num_frames, 1, 1)
        T_camera_world = torch.eye(4).repeat(window.num_frames, 1, 1)
        return crop_camera(K, window).float(), T_camera_world, False
    K = torch.from_numpy(camera.K[window.frames].copy())
    T_camera_world = torch.from_numpy(camera.T_camera_world[window.frames].copy())
    return crop_camera(K, window).float(), T_camera_world.float(), camera.kind != "unknown"


def _tensor(array: Float32[np.ndarray, "..."]) -> Float[Tensor, "..."]:
    return torch.from_numpy(array.copy())
