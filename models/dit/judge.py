"""How well a generator films held-out clips again from their own conditions.

A result is `{"settings": {...}, "metrics": {name: {"mean", "std", "n"}}}`; std is over clips. What
could not be measured is named under `settings.absent` with the reason.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.data import Batch, ClipDataset, collate
from models.dit.model import ISADiT
from models.dit.task import DiTTask, read_conditions
from models.flow import SAMPLERS
from models.generate import guided_velocity
from models.perceptual import LearnedMetrics
from models.recipes.dit import DiTRecipe
from models.sample import Sample, SampleReader
from models.scores import Scores, add_scores, held_out, pick_device, psnr_db, ssim, summarise
from models.shot import SampleSettings
from models.trained import load_dit, load_vae
from models.vae.judge import reconstruct
from models.vae.model import VideoVAE
from models.window import ClipSettings

TO_COME = ("pose_error_mm", "annotator_error_mm", "identity", "camera_rotation_deg")


def evaluate_dit(
    run: Path,
    vae_run: Path,
    shards: Sequence[Path],
    num_clips: int = 16,
    batch_size: int = 4,
    sampling: SampleSettings | None = None,
    metric_weights: Path | None = None,
) -> dict[str, Any]:
    """Judge a generator: held-out clips made again from their own conditions.

    Metrics: `psnr_db` and `ssim` against the clips themselves, `psnr_vae_db` what the autoencoder
    alone reaches (the ceiling), `figure_psnr_db` on people and `background_psnr_db` beside them,
    `drift_db` how much worse the last quarter of the frames is than the first, `wrong_pose_gap`
    how much the loss on people grows with the bodies of another clip (0: the pose is ignored);
    LPIPS and FVD where weights are given.

    Args:
        run: Folder of a finished ISA-DiT run.
        vae_run: Folder of the VAE whose latents it learned.
        shards: Tar files of the clips and of their latents.
        num_clips: At most so many.
        batch_size: Clips at once.
        sampling: How the flow is followed.
        metric_weights: Folder with the files of `models.perceptual`.

    Raises:
        ValueError: If a run or the clips are missing, or the latents are of another VAE.
    """
    device = pick_device()
    learned = LearnedMetrics(metric_weights, device)
    sampling = sampling or SampleSettings()
    dit, recipe, digest = load_dit(run, device)
    vae, _, vae_digest = load_vae(vae_run, device)
    dataset, split = held_out(shards, recipe.clips)
    task = DiTTask(recipe, device)
    task.average.load_state_dict(dit.state_dict())
    scores: Scores = {}
    for batch, samples in _with_pixels(dataset, recipe.clips, batch_size, num_clips, vae_digest):
        made = resample(dit, vae, recipe, batch.to(device), sampling)
        video = torch.stack([_pixels(sample) for sample in samples]).to(device)
        _judge(scores, made, video, samples)
        add_scores(scores, "psnr_vae_db", psnr_db(reconstruct(vae, video)[1], video))
        for name, values in learned.add(made, video).items():
            add_scores(scores, name, values)
        gap = task.evaluate(batch.to(device)).get("wrong_pose_gap")
        if gap is not None:
            scores.setdefault("wrong_pose_gap", []).append(gap)
    scores |= {name: [value] for name, value in learned.distances().items()}
    absent = learned.absent | dict.fromkeys(TO_COME, "not measured by this program yet")
    if "wrong_pose_gap" not in scores:
        absent["wrong_pose_gap"] = "needs masks with people and two clips"
    settings = {
        "recipe": recipe.name, "dit_digest": digest, "vae_digest": vae_digest, "split": split,
        "clips": asdict(recipe.clips), "num_clips": len(scores["psnr_db"]),
        "sampling": asdict(sampling), "absent": absent,
    }  # fmt: skip
    return {"settings": settings, "metrics": summarise(scores)}


def _judge(scores: Scores, made: Tensor, video: Tensor, samples: Sequence[Sample]) -> None:
    add_scores(scores, "psnr_db", psnr_db(made, video))
    add_scores(scores, "ssim", ssim(made, video))
    quarter = max(1, video.shape[2] // 4)
    first, last = slice(None, quarter), slice(-quarter, None)
    fall = psnr_db(made[:, :, first], video[:, :, first])
    add_scores(scores, "drift_db", fall - psnr_db(made[:, :, last], video[:, :, last]))
    for i, sample in enumerate(samples):
        if sample.mask is not None:
            figure = rearrange(sample.mask > 0, "t h w -> 1 1 t h w").to(video.device)
            one = slice(i, i + 1)
            values = psnr_db(made[one], video[one], figure)
            add_scores(scores, "figure_psnr_db", values)
            values = psnr_db(made[one], video[one], ~figure)
            add_scores(scores, "background_psnr_db", values)


def _pixels(sample: Sample) -> Float[Tensor, "3 t h w"]:
    if sample.video is None:
        raise ValueError(f"{sample.clip_id} has no video to be judged against; pack it with one")
    return sample.video.float() / 255


@torch.no_grad()
def resample(
    dit: ISADiT, vae: VideoVAE, recipe: DiTRecipe, batch: Batch, sampling: SampleSettings
) -> Float[Tensor, "b 3 t h w"]:
    """Make each clip of a batch again from noise and its own conditions; in [0, 1]."""
    if batch.latent_mean is None:
        raise ValueError("generation wants a batch with latents, got one without; encode first")
    conditions = read_conditions(batch, recipe, dit.latent_std)
    generator = torch.Generator().manual_seed(sampling.seed)
    noise = torch.randn(batch.latent_mean.shape, generator=generator).to(batch.latent_mean.device)
    velocity = guided_velocity(dit, conditions, sampling.guidance)
    follow = SAMPLERS[sampling.sampler]
    latent = follow(velocity, noise, sampling.num_steps, sampling.time_shift)
    return (vae.decode(latent * dit.latent_std) / 2 + 0.5).clamp(0, 1)


def _with_pixels(
    dataset: ClipDataset, clips: ClipSettings, batch_size: int, limit: int, vae_digest: str
) -> Iterator[tuple[Batch, list[Sample]]]:
    """Batches of latents and the pictures and masks they were encoded from."""
    latents = SampleReader(clips)
    pixels = SampleReader(replace(clips, with_latents=False, num_points=0, with_background=False))
    entries = dataset.entries[:limit]
    for first in range(0, len(entries), batch_size):
        samples: list[Sample] = []
        shown: list[Sample] = []
        for index, entry in enumerate(entries[first : first + batch_size], start=first):
            labels = latents.read_labels(entry)
            if labels.latent is not None and labels.latent.vae_digest != vae_digest:
                raise ValueError(
                    f"latents of {entry.clip_id} are of VAE {labels.latent.vae_digest[:12]}, "
                    f"got {vae_digest[:12]}; name the VAE they were encoded with"
                )
            rng = np.random.default_rng(index)
            window = latents.window(labels, rng)
            sample = latents.read_sample(entry, labels, window)
            samples.append(latents.draw_reference(sample, labels, rng))
            shown.append(pixels.read_sample(entry, replace(labels, latent=None), window))
        yield collate(samples), shown
