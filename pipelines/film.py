"""Filming: a Shot through the trained models into an mp4, with its conditions beside it.

Written are `NAME.mp4`, `NAME.conditions.mp4` (reference, driving body, background, result with
and without the body drawn over it) and `NAME.json`, which makes the same video again.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, UInt8
from rich.console import Console
from rich.progress import track

from models.body.model import BodyModel
from models.dit.model import ISADiT
from models.embedding import ImageEmbedder
from models.generate import generate_chunks
from models.recipes.dit import DiTRecipe
from models.shot import SampleSettings, Shot, cut_bodies, cut_camera
from models.trained import load_dit, load_vae
from models.vae.model import VideoVAE
from pipelines.direct import (
    CAMERAS,
    Motion,
    Reference,
    keep_floor,
    make_camera,
    pair_people,
    with_joints,
)
from pipelines.review import draw_bodies, draw_skeletons, side_by_side
from pipelines.video_io import encode_mp4, iterate_frames, probe

GREY = 110
CLIP_FPS = 24.0
FRAMES_AT_ONCE = 16


@dataclass(frozen=True, kw_only=True)
class Studio:
    """Trained models, loaded once."""

    dit: ISADiT
    vae: VideoVAE
    body: BodyModel
    recipe: DiTRecipe
    weights: dict[str, str]
    embed: ImageEmbedder | None

    @staticmethod
    def open(dit_run: Path, vae_run: Path) -> "Studio":
        """Load the generator and the autoencoder whose latents it learned.

        Raises:
            ValueError: If a folder holds no such run.
        """
        dit, recipe, dit_digest = load_dit(dit_run)
        vae, _, vae_digest = load_vae(vae_run)
        embed = ImageEmbedder() if recipe.model.embedding_width else None
        weights = {"dit": dit_digest, "vae": vae_digest}
        if embed is not None:
            weights["image embedding"] = embed.source
        return Studio(
            dit=dit, vae=vae, body=BodyModel.load(), recipe=recipe, weights=weights, embed=embed
        )


def compose(
    studio: Studio,
    reference: Reference,
    motion: Motion,
    camera: str,
    with_background: bool,
    settings: SampleSettings,
) -> Shot:
    """The shot of a wish.

    Args:
        studio: The models it is for.
        reference: Who.
        motion: Does what; its people take the reference's shapes.
        camera: `clip` (the motion's own) or one of CAMERA_KINDS.
        with_background: Whether the motion's background is given to the model.
        settings: Seed, steps, guidance.

    Raises:
        ValueError: If the motion has no camera or background of its own but one is wanted.
    """
    if camera not in CAMERAS:
        raise ValueError(f"camera must be one of {CAMERAS}, got {camera!r}")
    bodies, still = pair_people(reference, motion.bodies)
    bodies = keep_floor(motion.bodies, bodies, studio.body)
    track = motion.camera
    if camera != "clip":
        track = make_camera(camera, bodies, studio.body, studio.recipe.clips, CLIP_FPS)
    if track is None:
        raise ValueError(f"this motion has no camera of its own; choose one of {CAMERAS[1:]}")
    if with_background and (motion.background is None or camera != "clip"):
        raise ValueError("a background belongs to its own camera; use a clip and camera=clip")
    embedding = None
    if studio.embed is not None:
        picture = torch.from_numpy(reference.image.copy()).permute(2, 0, 1)[None].float() / 255
        embedding = studio.embed(picture)[0].numpy()
    size = studio.recipe.clips.size_px
    return Shot(
        size_px=(size, size),
        camera=track,
        bodies=with_joints(bodies, track, studio.body),
        reference_image=reference.image,
        reference_bodies=still,
        reference_camera=reference.camera,
        image_embedding=embedding,
        background=motion.background if with_background else None,
        settings=settings,
        weights=studio.weights,
    )


def shoot(studio: Studio, shot: Shot) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    """Generate frame by frame; the same shot and weights give the same pixels.

    Raises:
        ValueError: If the shot was made with other weights.
    """
    if shot.weights and shot.weights != studio.weights:
        raise ValueError(
            "the shot was made with other weights; open the studio on the runs it names: "
            f"{shot.weights}"
        )
    for chunk in generate_chunks(studio.dit, studio.vae, studio.body, shot):
        yield from _pixels(chunk[0])


def reconstruct(
    vae: VideoVAE, frames: UInt8[np.ndarray, "frames height width 3"]
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Frames through the autoencoder and back."""
    video = rearrange(torch.from_numpy(frames.copy()), "t h w c -> 1 c t h w").float()
    with torch.no_grad():
        decoded = vae.decode(vae.encode(video / 127.5 - 1).mean)
    return _pixels(((decoded + 1) / 2).clamp(0, 1)[0])


def _pixels(video: Float[torch.Tensor, "3 t h w"]) -> np.ndarray:
    frames = rearrange((video * 255).round().to(torch.uint8), "c t h w -> t h w c")
    return np.ascontiguousarray(frames.numpy())


def show_conditions(
    shot: Shot, result: np.ndarray, start: int, body: BodyModel, truth: np.ndarray | None = None
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Reference, driving bodies, background, result, result under its bodies, footage.

    Args:
        shot: What was asked for.
        result: Some frames of the video.
        start: Number of the first of them.
        body: The body model of the shot.
        truth: The footage from its first frame, if there is any.
    """
    frames = slice(start, start + len(result))
    empty = np.full_like(result, GREY)
    videos = []
    if shot.reference_image is not None:
        videos.append(("reference", shot.reference_image[None]))
    bodies = None if shot.bodies is None else cut_bodies(shot.bodies, frames)
    if bodies is not None:
        camera = cut_camera(shot.camera, frames)
        videos.append(("motion", draw_bodies(empty, bodies, camera, body, opacity=1.0)))
    if shot.background is not None:
        videos.append(("background", shot.background[frames]))
    videos.append(("generated", result))
    if bodies is not None:
        big = result.repeat(3, 1).repeat(3, 2)
        scaled = replace(bodies, joints_px=bodies.joints_px * 3)
        videos.append(("+ joints", draw_skeletons(big, scaled)))
    if truth is not None:
        videos.append(("footage", truth[frames]))
    return side_by_side(videos)


def write_film(
    out: Path, studio: Studio, shot: Shot, truth: np.ndarray | None = None
) -> list[Path]:
    """Film a shot: the video, its conditions and its JSON beside each other; returns the paths.

    Frames are written as they are made, so memory does not grow with the length.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    conditions = out.with_suffix(".conditions.mp4")
    record = out.with_suffix(".json")
    record.write_text(shot.to_json())
    frames = track(
        shoot(studio, shot), f"filming {out.name}", total=len(shot.camera.K),
        console=Console(stderr=True), disable=not sys.stderr.isatty(),
    )  # fmt: skip
    out.write_bytes(encode_mp4(frames, CLIP_FPS))
    conditions.write_bytes(encode_mp4(_conditions_of(out, studio, shot, truth), CLIP_FPS))
    return [out, conditions, record]


def _conditions_of(
    film: Path, studio: Studio, shot: Shot, truth: np.ndarray | None
) -> Iterator[UInt8[np.ndarray, "height width 3"]]:
    frames = iterate_frames(probe(film))
    start = 0
    while part := list(islice(frames, FRAMES_AT_ONCE)):
        yield from show_conditions(shot, np.stack(part), start, studio.body, truth)
        start += len(part)
