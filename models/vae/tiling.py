"""Videos of any size: padded and cut back, or coded tile by tile in bounded memory.

Norms and attention of the autoencoder look at a whole frame, so tiles do not give the bits of the
whole; where they overlap they are blended. How far apart the two are is measured in the README.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.vae.model import Posterior, VideoVAE


@dataclass(frozen=True, kw_only=True)
class Tiling:
    """Squares that a frame is coded in; pixels, multiples of the autoencoder's `space_factor`."""

    tile_px: int = 256
    overlap_px: int = 64

    def __post_init__(self) -> None:
        if not 0 <= self.overlap_px <= self.tile_px // 2:
            raise ValueError(
                f"overlap_px must be in 0 .. tile_px / 2 = {self.tile_px // 2}, "
                f"got {self.overlap_px}"
            )


def pad_to_fit(
    video: Float[Tensor, "b c t h w"], time_factor: int, space_factor: int
) -> Float[Tensor, "b c t2 h2 w2"]:
    """Repeat the last row, column and frame until the autoencoder takes the video.

    Cut what it decodes back with `[:, :, :t, :h, :w]`.
    """
    b, _, t, h, w = video.shape
    frames = rearrange(video, "b c t h w -> (b t) c h w")
    frames = F.pad(frames, (0, -w % space_factor, 0, -h % space_factor), mode="replicate")
    video = rearrange(frames, "(b t) c h w -> b c t h w", b=b)
    more = (1 - t) % time_factor
    return torch.cat([video, video[:, :, -1:].expand(-1, -1, more, -1, -1)], dim=2)


def encode_tiled(vae: VideoVAE, video: Float[Tensor, "b 3 t h w"], tiling: Tiling) -> Posterior:
    """`vae.encode`, tile by tile."""
    factor = vae.config.space_factor
    _check(tiling, factor)

    def encode(tile: Tensor) -> Tensor:
        posterior = vae.encode(tile)
        return torch.cat([posterior.mean, posterior.logvar], dim=1)

    joined = _by_tiles(video, encode, tiling.tile_px, tiling.overlap_px, 1 / factor)
    mean, logvar = joined.chunk(2, dim=1)
    return Posterior(mean, logvar)


def decode_tiled(
    vae: VideoVAE, latent: Float[Tensor, "b c k y x"], tiling: Tiling
) -> Float[Tensor, "b 3 t h w"]:
    """`vae.decode`, tile by tile."""
    factor = vae.config.space_factor
    _check(tiling, factor)
    sizes = (tiling.tile_px // factor, tiling.overlap_px // factor)
    return _by_tiles(latent, vae.decode, *sizes, float(factor))


def _check(tiling: Tiling, factor: int) -> None:
    if tiling.tile_px % factor or tiling.overlap_px % factor:
        raise ValueError(
            f"tile_px and overlap_px must be multiples of {factor}, "
            f"got {tiling.tile_px} and {tiling.overlap_px}"
        )


def _by_tiles(
    x: Tensor, code: Callable[[Tensor], Tensor], tile: int, overlap: int, scale: float
) -> Tensor:
    """Code squares of the last two axes and blend them; weights fall linearly in the overlap."""
    total, weight = torch.zeros(0), torch.zeros(0)
    rows, columns = (list(_spans(side, tile, overlap)) for side in x.shape[3:])
    for top, bottom in rows:
        for left, right in columns:
            part = code(x[..., top:bottom, left:right])
            if not total.numel():
                height, width = (round(side * scale) for side in x.shape[3:])
                total = part.new_zeros((*part.shape[:3], height, width))
                weight = part.new_zeros((height, width))
            share = torch.outer(
                _ramp(top, bottom, x.shape[3], overlap, scale),
                _ramp(left, right, x.shape[4], overlap, scale),
            ).to(part)
            place = (
                slice(round(top * scale), round(bottom * scale)),
                slice(round(left * scale), round(right * scale)),
            )
            total[..., place[0], place[1]] += part * share
            weight[place] += share
    return total / weight


def _spans(side: int, tile: int, overlap: int) -> Iterator[tuple[int, int]]:
    """Where tiles begin and end; the last one is moved back to be as large as the others."""
    start = 0
    while True:
        end = min(start + tile, side)
        yield max(0, end - tile), end
        if end == side:
            return
        start += tile - overlap


def _ramp(start: int, end: int, side: int, overlap: int, scale: float) -> Float[Tensor, " n"]:
    """Weight along one side of a tile: 1 inside, falling to 0 where a neighbour takes over."""
    size, width = round((end - start) * scale), max(round(overlap * scale), 1)
    place = torch.arange(size) + 0.5
    ramp = torch.ones(size)
    if start > 0:
        ramp = torch.minimum(ramp, place / width)
    if end < side:
        ramp = torch.minimum(ramp, (size - place) / width)
    return ramp
