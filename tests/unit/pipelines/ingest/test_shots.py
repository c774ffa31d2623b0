import json

import numpy as np
import pytest

from pipelines.ingest.shots import find_shots
from pipelines.video_io import even_size, iterate_frames, probe


def shots_of(path):
    info = probe(path)
    size = even_size(info.height, info.width, 144)
    return find_shots(iterate_frames(info, size_px=size), info.fps, 3.0)


def test_the_golden_cuts_are_found(shared_data):
    golden = json.loads((shared_data / "golden/reference_values.json").read_text())["cuts"]
    truth = golden["real_videos/cuts_bikes.mp4"]["first_frames_of_shots"]
    shots = shots_of(shared_data / "real_videos/cuts_bikes.mp4")
    assert [start for start, _ in shots] == truth
    assert shots[-1][1] == 250


@pytest.mark.parametrize("name", ["crossing_chase_384x288.mp4", "phone_sideways_rot90_vfr.mov"])
def test_people_crossing_close_by_are_no_cut(shared_data, name):
    assert len(shots_of(shared_data / "real_videos" / name)) == 1


def test_shots_tile_the_video(shared_data):
    shots = shots_of(shared_data / "real_videos/nasa_multistream.mp4")
    assert shots == [(0, 240), (240, 390)]


def test_few_frames_are_one_shot_and_none_are_none():
    frame = np.zeros((16, 16, 3), np.uint8)
    assert find_shots([frame] * 3, 25.0, 3.0) == [(0, 3)]
    assert find_shots([], 25.0, 3.0) == []
