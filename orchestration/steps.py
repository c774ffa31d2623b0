"""Steps that the command, the demo and the Dagster assets share: store in, result out."""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from models.body.model import BodyModel
from models.published import PublishedData
from models.shot import SampleSettings, Shot
from pipelines.direct import (
    Motion,
    Reference,
    motion_from_clip,
    motion_from_name,
    reference_from_clip,
    reference_from_picture,
)
from pipelines.evaluate_labels import ClipLabels, evaluate_labels
from pipelines.film import CLIP_FPS, Studio, compose, write_film
from pipelines.synthetic.scene import SceneSettings
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import CLIP_ID_PATTERN
from storage_schemas.mask import MaskTrack
from storage_schemas.store import Store

TRAINING_CAMERAS = ("static", "orbit", "truck", "dolly", "crane", "pan", "follow", "hand_held")
Wish = tuple[str, str, str, bool]
"""Reference, motion, camera, whether the motion's background is given."""


def training_scenes(size_px: int, num_frames: int, most_people: int) -> SceneSettings:
    """Scenes to train on: figures that fill the frame, under cameras that keep them large."""
    return SceneSettings(
        width=size_px, height=size_px, num_frames=num_frames, num_people=(1, most_people),
        framing="fill", camera_kinds=TRAINING_CAMERAS,
    )  # fmt: skip


def training_shards(store: Store, reference: str) -> list[Path]:
    """Local shards of a published version and, where they were made, of its latents."""
    return PublishedData.pin(store.root, reference).shards()


def read_labels(store: Store, clip_id: str) -> ClipLabels:
    """What is known about a clip, found or rendered."""

    def read(member: str) -> bytes:
        return store.read(f"clips/{clip_id}/{member}")

    return ClipLabels(
        bodies=BodyTracks.from_npz(read(shards.BODY)),
        camera=CameraTrack.from_npz(read(shards.CAMERA)),
        masks=MaskTrack.from_npz(read(shards.MASK)),
        plate=decode_mp4(read(shards.BACKGROUND)),
        plate_valid=BackgroundValid.from_npz(read(shards.BACKGROUND_VALID)).valid,
    )


def evaluate_pairs(store: Store, pairs: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Errors of annotated clips against the rendered clips that were their footage."""
    labels = ((read_labels(store, found), read_labels(store, true)) for found, true in pairs)
    return evaluate_labels(labels, BodyModel.load())


def find_reference(studio: Studio, store: Store, name: str) -> Reference:
    """A clip of the store, or a picture file."""
    if CLIP_ID_PATTERN.fullmatch(name):
        return reference_from_clip(store, name, studio.recipe.clips)
    if not Path(name).is_file():
        raise ValueError(f"reference {name!r} is neither a clip id nor a picture file")
    return reference_from_picture(Path(name), studio.recipe.clips, studio.body)


def find_motion(
    studio: Studio, store: Store, name: str, betas: np.ndarray, length: int | None = None
) -> Motion:
    """A clip of the store, a motion file, or a procedural motion; `length` frames of it.

    None: as many as the clips the model was trained on.
    """
    settings = studio.recipe.clips
    if length is not None:
        settings = replace(settings, num_frames=length)
    if re.fullmatch(CLIP_ID_PATTERN, name):
        return motion_from_clip(store, name, settings)
    return motion_from_name(name, betas, studio.body, settings.num_frames, CLIP_FPS)


def make_film(
    studio: Studio,
    store: Store,
    wish: Wish,
    settings: SampleSettings,
    out: Path,
    length: int | None = None,
) -> list[Path]:
    """Generate what was wished for and write it; returns the files."""
    who, does, camera, with_background = wish
    reference = find_reference(studio, store, who)
    motion = find_motion(studio, store, does, reference.bodies.betas[0], length)
    shot = compose(studio, reference, motion, camera, with_background, settings)
    return write_film(out, studio, shot, motion.truth if camera == "clip" else None)


def remake_film(studio: Studio, record: Path, out: Path) -> list[Path]:
    """Film the shot that a json beside a film holds; returns the files.

    Raises:
        ValueError: If the file is no such json, or was made with other weights.
    """
    try:
        shot = Shot.from_json(record.read_text())
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{record} is not the json of a film: {error}") from error
    return write_film(out, studio, shot)
