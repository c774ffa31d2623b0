"""How well an autoencoder gives clips back, beside a linear codec and its peers, on equal terms.

A result is `{"settings": {...}, "metrics": {name: {"mean", "std", "n"}}}`; std is over clips. What
could not be measured is named under `settings.absent` with the reason.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from models.data import Batch, ClipDataset
from models.perceptual import I3D_SIZE_PX, LearnedMetrics
from models.scores import Scores, add_scores, held_out, pick_device, psnr_db, ssim, summarise
from models.trained import load_vae
from models.vae.augment import random_path, translate
from models.vae.linear import LinearCodec, fit_linear_codec
from models.vae.model import VideoVAE
from models.vae.peers import Codec, load_peer

PCA_CLIPS = 64
FAST_MOTION_PX = 4.0
"""Fastest translation, pixels per frame, of the clips that `psnr_fast_db` is measured on."""
MOVING = 0.05
"""Pixels that change by more than this (of [0, 1]) to the frame before or after count as moving."""
RIDGE = 1e-3
BIASED_BELOW = 400
"""FVD has 400 features: with fewer clips its covariance is short of rank and it reads too high."""
Probed = tuple[Float[Tensor, "_b c _k _y _x"], Float[Tensor, "_b 3 _t _h _w"]]


def evaluate_vae(
    run: Path,
    shards: Sequence[Path],
    num_clips: int = 64,
    batch_size: int = 4,
    metric_weights: Path | None = None,
    peers: Sequence[Path] = (),
    videos: Iterable[Float[Tensor, "b 3 t h w"]] | None = None,
) -> dict[str, Any]:
    """Judge an autoencoder by posterior means on clips it was not trained on.

    Metrics: `psnr_db` and, of the same, `psnr_first_db`, `psnr_window_0_db`.. by the place in a
    latent's window, `psnr_moving_db` and `psnr_still_db` by pixel, `psnr_fast_db` with the clips
    moved along random paths; `ssim`; LPIPS and FVD where weights are given;
    `window_r2_0`.., how much a linear probe of a latent knows of each frame of its window (the
    paper's last-frame bias), and `window_r2_min_over_max`; `latent_mean` and `latent_std`. The
    same names with `_pca` are those of a linear codec of the same latent shape fitted to training
    clips, with the name of a peer's folder those of the peer.

    Args:
        run: Folder of a finished VAE run.
        shards: Tar files with clips.
        num_clips: At most so many.
        batch_size: Clips at once.
        metric_weights: Folder with the files of `models.perceptual`.
        peers: Folders of other autoencoders, in the layout of diffusers.
        videos: Clips in [0, 1] to judge on instead of the held-out ones of the shards.

    Raises:
        ValueError: If there is no run or no clip, or a folder is not what it should be.
    """
    device = pick_device()
    learned = {"": LearnedMetrics(metric_weights, device)}
    codecs = {f"_{folder.name}": load_peer(folder, device) for folder in peers}
    vae, recipe, digest = load_vae(run, device)
    clips = replace(recipe.clips, with_background=False)
    linear = fit_pca(vae, ClipDataset(shards, clips, "train", 0), batch_size).to(device)
    codecs["_pca"] = as_codec(linear)
    learned |= {tag: LearnedMetrics(metric_weights, device) for tag in codecs}
    split = "videos"
    if videos is None:
        dataset, split = held_out(shards, clips)
        videos = map(read_video, dataset.batches(batch_size, num_clips))
    scores, probed = measure(vae, codecs, learned, (video.to(device) for video in videos))
    absent = dict(learned[""].absent)
    probes = window_r2(probed, vae.config.time_factor, vae.config.space_factor)
    if probes is None:
        absent["window_r2"] = "needs two clips of several frames"
    else:
        scores |= {f"window_r2_{i}": [value] for i, value in enumerate(probes)}
        scores["window_r2_min_over_max"] = [min(probes) / max(probes)]
    count = len(scores["psnr_db"])
    settings = {
        "recipe": recipe.name, "vae_digest": digest, "split": split, "clips": asdict(clips),
        "num_clips": count, "fast_motion_px": FAST_MOTION_PX, "moving": MOVING,
        "peers": [str(folder) for folder in peers], "fvd": _fvd_settings(count), "absent": absent,
    }  # fmt: skip
    return {"settings": settings, "metrics": summarise(scores)}


def measure(
    vae: VideoVAE,
    codecs: Mapping[str, Codec],
    learned: Mapping[str, LearnedMetrics],
    videos: Iterable[Float[Tensor, "b 3 t h w"]],
) -> tuple[Scores, list[Probed]]:
    """Scores of the autoencoder and of the codecs on clips in [0, 1], and what a probe needs."""
    generator = torch.Generator().manual_seed(0)
    scores: Scores = {}
    probed: list[Probed] = []
    for video in videos:
        path = random_path(len(video), video.shape[2], FAST_MOTION_PX, generator)
        fast = translate(video, path)
        mean, made = reconstruct(vae, video)
        results = {"": (made, reconstruct(vae, fast)[1])}
        results |= {tag: (code(video), code(fast)) for tag, code in codecs.items()}
        for tag, (made, made_fast) in results.items():
            _judge(scores, tag, made, video, vae.config.time_factor)
            add_scores(scores, f"psnr_fast{tag}_db", psnr_db(made_fast, fast))
            for name, values in learned[tag].add(made, video).items():
                add_scores(scores, name + tag, values)
        add_scores(scores, "latent_mean", mean.flatten(1).mean(1))
        add_scores(scores, "latent_std", mean.flatten(1).std(1))
        probed.append((mean.cpu(), video.cpu()))
    if not probed:
        raise ValueError("an autoencoder is judged on clips, got none")
    for tag, metrics in learned.items():
        scores |= {name + tag: [value] for name, value in metrics.distances().items()}
    return scores, probed


def _judge(scores: Scores, tag: str, made: Tensor, video: Tensor, time_factor: int) -> None:
    add_scores(scores, f"psnr{tag}_db", psnr_db(made, video))
    add_scores(scores, f"ssim{tag}", ssim(made, video))
    add_scores(scores, f"psnr_first{tag}_db", psnr_db(made[:, :, :1], video[:, :, :1]))
    if video.shape[2] == 1:
        return
    moving = is_moving(video)
    add_scores(scores, f"psnr_moving{tag}_db", psnr_db(made, video, moving))
    add_scores(scores, f"psnr_still{tag}_db", psnr_db(made, video, ~moving))
    for i in range(time_factor):
        place = slice(1 + i, None, time_factor)
        values = psnr_db(made[:, :, place], video[:, :, place])
        add_scores(scores, f"psnr_window_{i}{tag}_db", values)


def is_moving(video: Float[Tensor, "b 3 t h w"]) -> Bool[Tensor, "b 1 t h w"]:
    """Pixels that differ by more than `MOVING` from the frame before or the frame after."""
    step = (video[:, :, 1:] - video[:, :, :-1]).abs().amax(dim=1, keepdim=True) > MOVING
    rest = torch.zeros_like(step[:, :, :1])
    return torch.cat([rest, step], dim=2) | torch.cat([step, rest], dim=2)


def window_r2(probed: Sequence[Probed], time_factor: int, space_factor: int) -> list[float] | None:
    """How much a latent knows of each frame of its window: R2 of a linear probe per frame.

    Every second clip fits a ridge regression from a latent cell to the pixels it covers; the
    others score it. None without two clips of several latents.
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
    return scores


def fit_pca(vae: VideoVAE, dataset: ClipDataset, batch_size: int) -> LinearCodec:
    """The linear codec of the autoencoder's latent shape, fitted to `PCA_CLIPS` clips."""
    config = vae.config
    sizes = (config.time_factor, config.space_factor, config.latent_channels)
    batches = dataset.batches(batch_size, PCA_CLIPS)
    codec = LinearCodec(*sizes)
    codec.load(fit_linear_codec([read_video(batch) * 2 - 1 for batch in batches], *sizes))
    return codec.requires_grad_(False)


def as_codec(linear: LinearCodec) -> Codec:
    """The linear codec on videos in [0, 1]."""
    return lambda video: (linear.decode(linear.encode(video * 2 - 1)) / 2 + 0.5).clamp(0, 1)


@torch.no_grad()
def reconstruct(
    vae: VideoVAE, video: Float[Tensor, "b 3 t h w"]
) -> tuple[Float[Tensor, "b c k y x"], Float[Tensor, "b 3 t h w"]]:
    """Posterior means of a video in [0, 1], and the video they give back."""
    mean = vae.encode(video * 2 - 1).mean
    return mean, (vae.decode(mean) / 2 + 0.5).clamp(0, 1)


def read_video(batch: Batch) -> Float[Tensor, "b 3 t h w"]:
    """The clips of a batch, [0, 1]."""
    if batch.video is None:
        raise ValueError("the autoencoder is judged on video, got latents only")
    return batch.video


def _fvd_settings(count: int) -> dict[str, Any]:
    note = "biased upwards: fewer clips than features" if count < BIASED_BELOW else "unbiased"
    return {"num_clips": count, "size_px": I3D_SIZE_PX, "crop": "centre, bilinear", "note": note}
