"""Numbers of trained models on clips they were not trained on, with the settings that made them.

A result is `{"settings": {...}, "metrics": {name: {"mean", "std", "n"}}}`; std is over clips. What
could not be measured is named under `settings.absent` with the reason.
"""

import argparse
import json
import logging
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.clip_index import find_shards
from models.data import Batch, ClipDataset, collate
from models.dit.model import ISADiT
from models.dit.task import DiTTask, read_conditions
from models.flow import SAMPLERS
from models.generate import SampleSettings, guided_velocity
from models.recipes.dit import DiTRecipe
from models.sample import SampleReader
from models.trained import load_dit, load_vae
from models.vae.augment import random_path, translate
from models.vae.linear import LinearCodec, fit_linear_codec
from models.vae.model import VideoVAE
from models.window import ClipSettings

LOG = logging.getLogger(__name__)
PCA_CLIPS = 64
FAST_MOTION_PX = 4.0
"""Fastest translation, pixels per frame, of the clips that `psnr_fast_db` is measured on."""
RIDGE = 1e-3
NO_PERCEPTUAL = {
    "lpips": "needs downloaded LPIPS weights",
    "fvd": "needs downloaded I3D weights",
}
Scores = dict[str, list[float]]


def evaluate_vae(
    run: Path, shards: Sequence[Path], num_clips: int = 64, batch_size: int = 4
) -> dict[str, Any]:
    """Judge an autoencoder by posterior means on held-out clips.

    Metrics: `psnr_db`, `ssim`; `psnr_pca_db` of a linear codec of the same latent shape, fitted to
    training clips; `psnr_fast_db` on the same clips moved along random paths;
    `window_r2_min_over_max`, how evenly a latent knows its frames (R2 of a linear probe, the worst
    position of the window over the best).

    Args:
        run: Folder of a finished VAE run.
        shards: Tar files with validation clips.
        num_clips: At most so many.
        batch_size: Clips at once.

    Raises:
        ValueError: If there is no run or no clip.
    """
    device = _device()
    vae, recipe, digest = load_vae(run, device)
    clips = replace(recipe.clips, with_background=False)
    dataset, split = held_out(shards, clips)
    codec = _fit_pca(vae, ClipDataset(shards, clips, "train", 0), batch_size).to(device)
    generator = torch.Generator().manual_seed(0)
    scores: Scores = {}
    probed: list[tuple[Tensor, Tensor]] = []
    for batch in dataset.batches(batch_size, num_clips):
        video = _video(batch).to(device)
        mean, decoded = _reconstruct(vae, video)
        _add(scores, "psnr_db", psnr_db(decoded, video))
        _add(scores, "ssim", ssim(decoded, video))
        linear = (codec.decode(codec.encode(video * 2 - 1)) / 2 + 0.5).clamp(0, 1)
        _add(scores, "psnr_pca_db", psnr_db(linear, video))
        path = random_path(len(video), video.shape[2], FAST_MOTION_PX, generator)
        fast = translate(video, path)
        _add(scores, "psnr_fast_db", psnr_db(_reconstruct(vae, fast)[1], fast))
        probed.append((mean.cpu(), video.cpu()))
    absent = dict(NO_PERCEPTUAL)
    ratio = window_r2_min_over_max(probed, vae.config.time_factor, vae.config.space_factor)
    if ratio is None:
        absent["window_r2_min_over_max"] = "needs two clips of several frames"
    else:
        scores["window_r2_min_over_max"] = [ratio]
    settings = {
        "recipe": recipe.name, "vae_digest": digest, "split": split, "clips": asdict(clips),
        "num_clips": len(scores["psnr_db"]), "fast_motion_px": FAST_MOTION_PX, "absent": absent,
    }  # fmt: skip
    return {"settings": settings, "metrics": summarise(scores)}


def evaluate_dit(
    run: Path,
    vae_run: Path,
    shards: Sequence[Path],
    num_clips: int = 16,
    batch_size: int = 4,
    sampling: SampleSettings | None = None,
) -> dict[str, Any]:
    """Judge a generator: held-out clips made again from their own conditions.

    Metrics: `psnr_db` and `ssim` against the clips themselves, `psnr_vae_db` what the autoencoder
    alone reaches (the ceiling), `wrong_pose_gap` how much the loss on people grows with the bodies
    of another clip (0: the pose is ignored).

    Args:
        run: Folder of a finished ISA-DiT run.
        vae_run: Folder of the VAE whose latents it learned.
        shards: Tar files of the clips and of their latents.
        num_clips: At most so many.
        batch_size: Clips at once.
        sampling: How the flow is followed.

    Raises:
        ValueError: If a run or the clips are missing, or the latents are of another VAE.
    """
    device = _device()
    sampling = sampling or SampleSettings()
    dit, recipe, digest = load_dit(run, device)
    vae, _, vae_digest = load_vae(vae_run, device)
    dataset, split = held_out(shards, recipe.clips)
    task = DiTTask(recipe, device)
    task.average.load_state_dict(dit.state_dict())
    scores: Scores = {}
    for batch, truth in _with_videos(dataset, recipe.clips, batch_size, num_clips, vae_digest):
        batch, video = batch.to(device), truth.to(device)
        made = resample(dit, vae, recipe, batch, sampling)
        _add(scores, "psnr_db", psnr_db(made, video))
        _add(scores, "ssim", ssim(made, video))
        _add(scores, "psnr_vae_db", psnr_db(_reconstruct(vae, video)[1], video))
        gap = task.evaluate(batch).get("wrong_pose_gap")
        if gap is not None:
            scores.setdefault("wrong_pose_gap", []).append(gap)
    absent = NO_PERCEPTUAL | dict.fromkeys(
        ("pose_error_mm", "annotator_error_mm", "identity", "camera_rotation_deg",
         "background_psnr_db", "drift_db"),
        "not measured by this program yet",
    )  # fmt: skip
    if "wrong_pose_gap" not in scores:
        absent["wrong_pose_gap"] = "needs masks with people and two clips"
    settings = {
        "recipe": recipe.name, "dit_digest": digest, "vae_digest": vae_digest, "split": split,
        "clips": asdict(recipe.clips), "num_clips": len(scores["psnr_db"]),
        "sampling": asdict(sampling), "absent": absent,
    }  # fmt: skip
    return {"settings": settings, "metrics": summarise(scores)}


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


def held_out(shards: Sequence[Path], clips: ClipSettings) -> tuple[ClipDataset, str]:
    """Validation clips, else test clips, else training clips; and which of them they are."""
    for split in ("validation", "test"):
        try:
            return ClipDataset(shards, clips, split, 0), split
        except ValueError as error:
            LOG.warning("%s", error)
    return ClipDataset(shards, clips, "train", 0), "train (nothing was held out)"


def psnr_db(
    made: Float[Tensor, "b 3 t h w"], truth: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each clip of values in [0, 1]; at most 100."""
    error = (made - truth).square().flatten(1).mean(1)
    return -10 * torch.log10(error.clamp_min(1e-10))


def ssim(
    made: Float[Tensor, "b 3 t h w"], truth: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, " b"]:
    """Structural similarity, mean over the frames of each clip."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    first, second = (rearrange(video, "b c t h w -> (b t) c h w") for video in (made, truth))
    values = structural_similarity_index_measure(first, second, reduction="none", data_range=1.0)
    if not isinstance(values, Tensor):
        raise TypeError(f"expected one value per frame, got {type(values).__name__}")
    return rearrange(values, "(b t) -> b t", b=len(made)).mean(1)


def window_r2_min_over_max(
    probed: Sequence[tuple[Float[Tensor, "_b c _k _y _x"], Float[Tensor, "_b 3 _t _h _w"]]],
    time_factor: int,
    space_factor: int,
) -> float | None:
    """How evenly a latent knows the frames of its window: worst over best R2 of a linear probe.

    Every second clip fits a ridge regression from a latent cell to the pixels it covers, one per
    frame of the window; the others score it. None without two clips of several latents.
    """
    means = torch.cat([mean for mean, _ in probed])[:, :, 1:]
    videos = torch.cat([video for _, video in probed])[:, :, 1:]
    if len(means) < 2 or not means.shape[2]:
        return None
    scores: list[float] = []
    for place in range(time_factor):
        pixels = rearrange(
            videos[:, :, place::time_factor], "b c k (y i) (x j) -> b (k y x) (c i j)",
            i=space_factor, j=space_factor,
        ).double()  # fmt: skip
        cells = rearrange(means, "b c k y x -> b (k y x) c").double()
        cells = torch.cat([cells, torch.ones_like(cells[..., :1])], -1)
        x, y = cells[::2].flatten(0, 1), pixels[::2].flatten(0, 1)
        identity = RIDGE * len(x) * torch.eye(x.shape[1], dtype=x.dtype)
        weights = torch.linalg.solve(x.mT @ x + identity, x.mT @ y)
        x, y = cells[1::2].flatten(0, 1), pixels[1::2].flatten(0, 1)
        residual = (y - x @ weights).square().sum()
        scores.append(1 - float(residual / (y - y.mean(0)).square().sum()))
    return min(scores) / max(scores)


def summarise(scores: Scores) -> dict[str, dict[str, float]]:
    """Mean, standard deviation and number of the values of each metric."""
    return {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values)), "n": len(values)}
        for name, values in scores.items()
    }


def _with_videos(
    dataset: ClipDataset, clips: ClipSettings, batch_size: int, limit: int, vae_digest: str
) -> Iterator[tuple[Batch, Tensor]]:
    """Batches of latents and the videos they were encoded from."""
    latents = SampleReader(clips)
    pixels = SampleReader(replace(clips, with_latents=False, num_points=0, with_background=False))
    entries = dataset.entries[:limit]
    for first in range(0, len(entries), batch_size):
        samples, videos = [], []
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
            videos.append(pixels.read_sample(entry, replace(labels, latent=None), window).video)
        yield collate(samples), torch.stack(videos).float() / 255


def _fit_pca(vae: VideoVAE, dataset: ClipDataset, batch_size: int) -> LinearCodec:
    config = vae.config
    sizes = (config.time_factor, config.space_factor, config.latent_channels)
    batches = dataset.batches(batch_size, PCA_CLIPS)
    codec = LinearCodec(*sizes)
    codec.load(fit_linear_codec([_video(batch) * 2 - 1 for batch in batches], *sizes))
    return codec.requires_grad_(False)


@torch.no_grad()
def _reconstruct(vae: VideoVAE, video: Tensor) -> tuple[Tensor, Tensor]:
    mean = vae.encode(video * 2 - 1).mean
    return mean, (vae.decode(mean) / 2 + 0.5).clamp(0, 1)


def _video(batch: Batch) -> Tensor:
    if batch.video is None:
        raise ValueError("the autoencoder is judged on video, got latents only")
    return batch.video


def _add(scores: Scores, name: str, values: Float[Tensor, " b"]) -> None:
    scores.setdefault(name, []).extend(values.tolist())


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m models.evaluate", description="Judge trained models on held-out clips.",
        epilog="example: python -m models.evaluate vae --run runs/vae --data data/shards",
    )  # fmt: skip
    parser.add_argument("what", choices=("vae", "dit"))
    parser.add_argument("--run", type=Path, required=True, help="folder of the run")
    parser.add_argument("--vae", type=Path, help="folder of the VAE run, for a generator")
    parser.add_argument("--data", nargs="+", type=Path, required=True, help="shards or folders")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    options = parser.parse_args(arguments)
    shards = find_shards(*options.data)
    if options.what == "vae":
        result = evaluate_vae(options.run, shards)
    elif options.vae is None:
        parser.error("a generator needs --vae")
    else:
        result = evaluate_dit(options.run, options.vae, shards)
    options.out.write_text(json.dumps(result, indent=1))
    sys.stdout.write(json.dumps(result["metrics"], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
