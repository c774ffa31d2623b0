import itertools
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.ingest.normalise import clip_fps, clip_id, plan_clip, split_evenly
from pipelines.video_io import VideoInfo


def video(times_ns):
    times = np.asarray(times_ns, np.int64)
    return VideoInfo(
        path=Path("x.mp4"),
        width=64,
        height=64,
        num_frames=len(times),
        fps=(len(times) - 1) * 1e9 / float(times[-1]),
        timestamps_ns=times,
        stream_index=0,
        rotation_deg=0,
        codec="h264",
        pixel_format="yuv420p",
        can_seek=True,
    )


@pytest.mark.parametrize("rate", [10.0, 24000 / 1001, 25.0, 30000 / 1001, 60.0])
def test_a_constant_rate_kept_keeps_every_frame(rate):
    info = video(np.round(np.arange(100) * 1e9 / rate))
    plan = plan_clip(info, 10, 90, clip_fps(info.fps, rate))
    assert plan.indices.tolist() == list(range(10, 90))
    assert (plan.start_ns, plan.end_ns) == tuple(info.timestamps_ns[[10, 90]])


def test_halving_the_rate_takes_every_second_frame():
    info = video(np.arange(60) * 20_000_000)
    assert plan_clip(info, 0, 60, 25.0).indices.tolist() == list(range(0, 60, 2))


def test_slow_sources_are_not_padded_with_repeats():
    assert clip_fps(10.0, 24.0) == 10.0
    assert clip_fps(60.0, 24.0) == 24.0
    assert clip_fps(29.97002997, 30.0) == 30000 / 1001


@given(st.lists(st.integers(1, 200), min_size=2, max_size=60), st.floats(5, 60))
def test_each_instant_shows_the_nearest_frame(gaps_ms, wanted):
    info = video(np.concatenate([[0], np.cumsum(gaps_ms)]) * 1_000_000)
    fps = clip_fps(info.fps, wanted)
    plan = plan_clip(info, 0, info.num_frames, fps)
    grid = np.round(np.arange(len(plan.indices)) * 1e9 / fps)
    distance = np.abs(info.timestamps_ns[None] - grid[:, None])
    chosen = distance[np.arange(len(grid)), plan.indices]
    assert (chosen <= distance.min(1) + 1).all()
    assert (np.diff(plan.indices) >= 0).all()
    assert plan.start_ns <= info.timestamps_ns[plan.indices].min()
    assert info.timestamps_ns[plan.indices].max() < plan.end_ns


@given(st.integers(0, 1000), st.integers(1, 5000), st.integers(1, 300))
def test_splitting_tiles_the_shot_with_near_equal_pieces(start, length, longest):
    pieces = split_evenly(start, start + length, longest)
    assert pieces[0][0] == start
    assert pieces[-1][1] == start + length
    assert all(a[1] == b[0] for a, b in itertools.pairwise(pieces))
    sizes = [end - begin for begin, end in pieces]
    assert max(sizes) <= longest
    assert max(sizes) - min(sizes) <= 1


def test_the_id_names_content_span_and_parameters():
    info = video(np.arange(60) * 40_000_000)
    plan = plan_clip(info, 0, 60, 25.0)
    name = clip_id("ab", plan, {"fps": 25.0})
    assert len(name) == 32
    assert name == clip_id("ab", plan_clip(info, 0, 60, 25.0), {"fps": 25.0})
    others = [
        clip_id("ac", plan, {"fps": 25.0}),
        clip_id("ab", plan_clip(info, 1, 60, 25.0), {"fps": 25.0}),
        clip_id("ab", plan, {"fps": 24.0}),
    ]
    assert len({name, *others}) == 4
