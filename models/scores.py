"""Scores of made videos against true ones, and how they are summed up. Videos are in [0, 1]."""

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from models.data import ClipDataset
from models.window import ClipSettings

LOG = logging.getLogger(__name__)
Scores = dict[str, list[float]]
"""Values of each clip by the name of the metric."""


def psnr_db(
    made: Float[Tensor, "b 3 t h w"],
    truth: Float[Tensor, "b 3 t h w"],
    where: Bool[Tensor, "b 1 t h w"] | None = None,
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio of each clip, at most 100; NaN where a clip has no such pixel."""
    error = (made - truth).square()
    if where is None:
        mean = error.flatten(1).mean(1)
    else:
        chosen = where.expand_as(error)
        mean = (error * chosen).flatten(1).sum(1) / chosen.flatten(1).sum(1)
    return -10 * torch.log10(mean.clamp_min(1e-10))


def ssim(
    made: Float[Tensor, "b 3 t h w"], truth: Float[Tensor, "b 3 t h w"]
) -> Float[Tensor, " b"]:
    """Structural similarity (Gaussian 11 x 11 on RGB), mean over the frames of each clip."""
    from torchmetrics.functional.image import structural_similarity_index_measure

    first, second = (rearrange(video, "b c t h w -> (b t) c h w") for video in (made, truth))
    values = structural_similarity_index_measure(first, second, reduction="none", data_range=1.0)
    if not isinstance(values, Tensor):
        raise TypeError(f"expected one value per frame, got {type(values).__name__}")
    return rearrange(values, "(b t) -> b t", b=len(made)).mean(1)


def held_out(shards: Sequence[Path], clips: ClipSettings) -> tuple[ClipDataset, str]:
    """Validation clips, else test clips, else training clips; and which of them they are."""
    for split in ("validation", "test"):
        try:
            return ClipDataset(shards, clips, split, 0), split
        except ValueError as error:
            LOG.warning("%s", error)
    return ClipDataset(shards, clips, "train", 0), "train (nothing was held out)"


def add_scores(scores: Scores, name: str, values: Float[Tensor, " b"]) -> None:
    """Take the values of some clips; clips that have none (NaN) are left out."""
    scores.setdefault(name, []).extend(v for v in values.tolist() if not np.isnan(v))


def summarise(scores: Scores) -> dict[str, dict[str, float]]:
    """Mean, standard deviation over clips and number of the values of each metric."""
    return {
        name: {"mean": float(np.mean(values)), "std": float(np.std(values)), "n": len(values)}
        for name, values in scores.items()
        if values
    }


def pick_device() -> torch.device:
    """The accelerator, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
