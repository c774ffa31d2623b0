"""Clips of whole videos for judging a model on: windows spread over the time, centre squares."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.window import Window, crop_video
from pipelines.video_io import iterate_frames, probe

CLIPS_PER_VIDEO = 4


def video_clips(
    paths: Sequence[Path], num_frames: int, size_px: int, per_video: int = CLIPS_PER_VIDEO
) -> Iterator[Float[Tensor, "1 3 t h w"]]:
    """Clips in [0, 1], every frame of a window, evenly spread over each video.

    Raises:
        VideoError: A file gives no usable video.
        ValueError: A video is shorter than a clip.
    """
    for path in paths:
        info = probe(path)
        if info.num_frames < num_frames:
            raise ValueError(f"{path} has {info.num_frames} frames, a clip needs {num_frames}")
        side = min(info.width, info.height)
        window = Window(
            start=0, stride=1, num_frames=num_frames, size_px=size_px, side_px=side,
            x0_px=(info.width - side) // 2, y0_px=(info.height - side) // 2,
        )  # fmt: skip
        for start in np.linspace(0, info.num_frames - num_frames, per_video).astype(int):
            frames = np.stack([*iterate_frames(info, range(start, start + num_frames))])
            yield rearrange(crop_video(frames, window), "c t h w -> 1 c t h w").float() / 255


def all_videos(places: Sequence[Path]) -> list[Path]:
    """Files as they are named, and every file of a folder that is named, in order of names."""
    found: list[Path] = []
    for place in places:
        if not place.exists():
            raise ValueError(f"no such video: {place}")
        found += sorted(f for f in place.iterdir() if f.is_file()) if place.is_dir() else [place]
    return [file for file in found if file.suffix.lower() != ".md"]
