"""Clips of videos are the frames and the square they say they are."""

from pathlib import Path

import numpy as np
import pytest
import torch

from pipelines.video_clips import all_videos, video_clips
from pipelines.video_io import encode_mp4


def movie(path: Path, count: int) -> Path:
    """A grey wide movie: its middle square is as bright as the number of the frame."""
    frames = np.zeros((count, 32, 64, 3), np.uint8)
    frames[:, :, 16:48] = (np.arange(count) * 8)[:, None, None, None]
    path.write_bytes(encode_mp4(frames, 24, crf=4))
    return path


def test_windows_spread_over_the_video_and_show_its_middle(tmp_path: Path):
    clips = [*video_clips([movie(tmp_path / "a.mp4", 21)], 5, 16, per_video=3)]
    assert [clip.shape for clip in clips] == [(1, 3, 5, 16, 16)] * 3
    for clip, start in zip(clips, (0, 8, 16), strict=True):
        expected = torch.arange(start, start + 5) * 8 / 255
        torch.testing.assert_close(clip.mean((0, 1, 3, 4)), expected, atol=0.02, rtol=0)
        assert clip[..., 2:-2, 2:-2].std((3, 4)).max() < 0.02


def test_short_and_missing_videos_are_named(tmp_path: Path):
    short = movie(tmp_path / "a.mp4", 4)
    with pytest.raises(ValueError, match=r"a\.mp4 has 4 frames, a clip needs 5"):
        next(video_clips([short], 5, 16))
    with pytest.raises(ValueError, match="no such video"):
        all_videos([tmp_path / "b.mp4"])
    (tmp_path / "notes.md").write_text("about the videos")
    assert all_videos([tmp_path, short]) == [short, short]
