"""Augmentation of clips for the autoencoder (ISA4D section 4.2); values are only moved, not mixed.

Every function is a pure function of its generator, which lives on the CPU. Paths and frame numbers
are drawn apart from being applied, so that a mask or a background can follow the same draw.
"""

from typing import Literal

import torch
from einops import rearrange
from jaxtyping import Float, Int64, Shaped
from torch import Tensor


def random_path(
    batch: int, num_frames: int, max_speed_px: float, generator: torch.Generator
) -> Int64[Tensor, "b t 2"]:
    """Random structured motion: offsets (y, x) of each frame in pixels, 0 at frame 0.

    Each clip draws how fast it is, and with a chance of its own every frame takes a new direction
    and speed: from one steady pan to a shake.

    Args:
        batch: Number of clips.
        num_frames: Frames per clip.
        max_speed_px: Largest step between frames, pixels.
        generator: Source of every draw.
    """
    shape = (batch, num_frames)
    clip_speed = torch.rand(batch, 1, generator=generator) * max_speed_px
    speed = clip_speed * torch.rand(shape, generator=generator)
    angle = 2 * torch.pi * torch.rand(shape, generator=generator)
    turns = torch.rand(shape, generator=generator) < torch.rand(batch, 1, generator=generator)
    turns[:, 0] = True
    frame = torch.arange(num_frames).expand(shape)
    latest_turn = torch.where(turns, frame, 0).cummax(dim=1).values
    velocity = torch.stack([torch.sin(angle) * speed, torch.cos(angle) * speed], dim=-1)
    velocity = velocity.gather(1, latest_turn[..., None].expand(-1, -1, 2))
    path = velocity.cumsum(dim=1) - velocity[:, :1]
    return path.round().long()


def translate(
    video: Shaped[Tensor, "b c t h w"],
    offset_px: Int64[Tensor, "b t 2"],
    border: Literal["wrap", "reflect"] = "reflect",
) -> Shaped[Tensor, "b c t h w"]:
    """Move each frame by its whole-pixel offset (y down, x right).

    Args:
        video: Frames, masks, anything on the pixels.
        offset_px: (y, x) per frame.
        border: What comes in at the edges: the other side, or the mirror image.
    """
    b, _, t, height, width = video.shape
    offset_px = offset_px.to(video.device)
    rows = _source(height, offset_px[..., 0], border)
    columns = _source(width, offset_px[..., 1], border)
    clip = torch.arange(b, device=video.device)[:, None, None, None]
    frame = torch.arange(t, device=video.device)[None, :, None, None]
    frames = rearrange(video, "b c t h w -> b t h w c")
    moved = frames[clip, frame, rows[..., :, None], columns[..., None, :]]
    return rearrange(moved, "b t h w c -> b c t h w")


def _source(size: int, offset_px: Tensor, border: str) -> Tensor:
    """Pixel that each place shows; [..., size]."""
    place = torch.arange(size, device=offset_px.device) - offset_px[..., None]
    if border == "wrap":
        return place % size
    place = place % (2 * size)
    return torch.minimum(place, 2 * size - 1 - place)


def random_frames(
    batch: int,
    num_source: int,
    num_frames: int,
    rate: tuple[float, float],
    generator: torch.Generator,
) -> Int64[Tensor, "b t"]:
    """Dynamic speed: which source frame to show at each frame.

    The rate is drawn evenly on a log scale. A clip that is too short for its rate runs back from
    its end, so that motion is fast even then.

    Args:
        batch: Number of clips.
        num_source: Frames there are.
        num_frames: Frames to show.
        rate: Slowest and fastest, source frames per shown frame; (1, 1) is plain cropping in time.
        generator: Source of every draw.
    """
    low, high = torch.tensor(rate).log()
    drawn = torch.exp(low + (high - low) * torch.rand(batch, 1, generator=generator))
    room = (num_source - 1 - drawn * (num_frames - 1)).clamp_min(0)
    start = (torch.rand(batch, 1, generator=generator) * (room + 1)).floor().minimum(room.floor())
    place = (start + drawn * torch.arange(num_frames)).round().long()
    period = max(2 * (num_source - 1), 1)
    place = place % period
    return torch.minimum(place, period - place).clamp_max(num_source - 1)


def take_frames(
    video: Shaped[Tensor, "b c t h w"], frames: Int64[Tensor, "b n"]
) -> Shaped[Tensor, "b c n h w"]:
    """Show the given frames of each clip."""
    clip = torch.arange(len(video), device=video.device)[:, None]
    taken = rearrange(video, "b c t h w -> b t c h w")[clip, frames.to(video.device)]
    return rearrange(taken, "b t c h w -> b c t h w")


def random_crop(
    video: Shaped[Tensor, "b c t h w"], size_px: tuple[int, int], generator: torch.Generator
) -> Shaped[Tensor, "b c t h2 w2"]:
    """Cut the same random (height, width) box from all frames of a clip, another for each clip.

    Raises:
        ValueError: The clip is smaller than the box.
    """
    *_, height, width = video.shape
    if size_px[0] > height or size_px[1] > width:
        raise ValueError(f"a crop of {size_px} px needs larger clips, got {height} x {width}")
    crops = []
    for clip in video:
        y = int(torch.randint(height - size_px[0] + 1, (), generator=generator))
        x = int(torch.randint(width - size_px[1] + 1, (), generator=generator))
        crops.append(clip[:, :, y : y + size_px[0], x : x + size_px[1]])
    return torch.stack(crops)


def random_flip(
    video: Shaped[Tensor, "b c t h w"], probability: float, generator: torch.Generator
) -> Shaped[Tensor, "b c t h w"]:
    """Mirror some clips left to right."""
    flips = torch.rand(len(video), generator=generator) < probability
    return torch.where(flips.to(video.device)[:, None, None, None, None], video.flip(-1), video)


def random_colours(
    video: Float[Tensor, "b 3 t h w"], probability: float, generator: torch.Generator
) -> Float[Tensor, "b 3 t h w"]:
    """Shuffle red, green and blue of some clips: free colours."""
    shuffles = torch.rand(len(video), generator=generator) < probability
    order = torch.rand(len(video), 3, generator=generator).argsort(dim=1)
    order = torch.where(shuffles[:, None], order, torch.arange(3)).to(video.device)
    return video[torch.arange(len(video), device=video.device)[:, None], order]
