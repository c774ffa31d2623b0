"""The linear codec: principal components of 4 x s x s pixel blocks.

It is the baseline every trained autoencoder has to beat, and the start of the tiny one's skip path.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from models.vae.layers import Stream, fold, is_first, unfold


class LinearCodec(nn.Module):
    """Two 1x1 convolutions on folded pixels: blocks to latents and back."""

    def __init__(self, time_factor: int, space_factor: int, latent_channels: int):
        super().__init__()
        self.block = (time_factor, space_factor)
        block_size = 3 * time_factor * space_factor**2
        self.project = nn.Conv3d(block_size, latent_channels, 1)
        self.restore = nn.Conv3d(latent_channels, block_size, 1)

    def encode(
        self, video: Float[Tensor, "b 3 t h w"], stream: Stream | None = None
    ) -> Float[Tensor, "b c k y x"]:
        """Latent means."""
        return self.project(fold(video, *self.block, first=is_first(stream))).float()

    def decode(
        self, latent: Float[Tensor, "b c k y x"], stream: Stream | None = None
    ) -> Float[Tensor, "b 3 t h w"]:
        """Video."""
        return unfold(self.restore(latent).float(), *self.block, first=is_first(stream))

    @torch.no_grad()
    def load(self, components: dict[str, Tensor]) -> None:
        """Take the weights of `fit_linear_codec`."""
        for name in ("project", "restore"):
            conv = getattr(self, name)
            conv.weight.copy_(components[f"{name}.weight"])
            conv.bias.copy_(components[f"{name}.bias"])


@torch.no_grad()
def fit_linear_codec(
    videos: list[Float[Tensor, "_b 3 _t _h _w"]],
    time_factor: int,
    space_factor: int,
    latent_channels: int,
) -> dict[str, Tensor]:
    """Principal components of the clips' blocks, whitened: every latent channel has variance 1.

    The double-float covariance is summed clip by clip, so memory does not grow with their number.

    Args:
        videos: Clips, [-1, 1], 1 + time_factor * k frames.
        time_factor: Frames per latent.
        space_factor: Pixels per latent cell side.
        latent_channels: Components kept.

    Returns:
        State of a `LinearCodec`.
    """
    size = 3 * time_factor * space_factor**2
    total, products, count = torch.zeros(size).double(), torch.zeros(size, size).double(), 0
    for video in videos:
        blocks = fold(video.detach().cpu(), time_factor, space_factor, first=True)
        blocks = rearrange(blocks, "b c k h w -> (b k h w) c").double()
        total += blocks.sum(dim=0)
        products += blocks.T @ blocks
        count += len(blocks)
    if count <= latent_channels:
        raise ValueError(
            f"{latent_channels} components need more blocks than that, got {count}; give more clips"
        )
    mean = total / count
    values, vectors = torch.linalg.eigh(products / count - torch.outer(mean, mean))
    # eigh sorts upwards; the floor keeps constant clips (no variance at all) finite.
    std = values[-latent_channels:].flip(0).clamp_min(1e-6).sqrt()
    axes = vectors[:, -latent_channels:].flip(1)
    project, restore = (axes / std).T, axes * std
    return {
        "project.weight": rearrange(project, "c d -> c d 1 1 1").float(),
        "project.bias": -(project @ mean).float(),
        "restore.weight": rearrange(restore, "d c -> d c 1 1 1").float(),
        "restore.bias": mean.float(),
    }
