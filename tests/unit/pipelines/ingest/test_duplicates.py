"""The same footage twice is found, and different footage never is."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from pipelines.annotate.clip import ingested
from pipelines.ingest.duplicates import Clip, find_duplicates, is_same
from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.stage import ingest
from pipelines.run import read_results
from pipelines.video_io import encode_mp4, iterate_frames, probe
from storage_schemas.store import Store

SETTINGS = IngestSettings(max_short_side_px=96)


def recoded(path, out, scale, first=0, crf=32):
    info = probe(path)
    size = (round(info.height * scale) // 2 * 2, round(info.width * scale) // 2 * 2)
    frames = iterate_frames(info, range(first, info.num_frames), size)
    out.write_bytes(encode_mp4(frames, info.fps, crf, "veryfast"))


def test_the_smaller_worse_and_later_cut_copy_is_filtered_and_names_the_first(
    shared_data, tmp_path
):
    path = shared_data / "real_videos/bedroom_two_kids.mp4"
    recoded(path, tmp_path / "a_small.mp4", 0.4)
    recoded(path, tmp_path / "b_cut.mp4", 0.6, first=22)
    store = Store(tmp_path / "root")
    places = [path, tmp_path / "a_small.mp4", tmp_path / "b_cut.mp4"]
    sources, pieces, apart = ingest(places, store, replace(SETTINGS, max_short_side_px=540))
    assert (sources.kept, pieces.kept) == (3, 3)
    assert (apart.kept, apart.filtered) == (1, {"duplicate": 2})
    (first,) = ingested(store)  # what annotate takes
    for result in read_results(store, "duplicate"):
        assert result.status == "kept" or f"shows what clip {first} shows" in result.detail


def test_the_same_shot_at_two_sizes_in_the_real_videos_is_one(shared_data, tmp_path):
    places = sorted((shared_data / "real_videos").glob("crossing_chase_*.mp4"))
    *_, apart = ingest(places, Store(tmp_path), SETTINGS)
    assert (apart.kept, apart.filtered) == (1, {"duplicate": 1})


@pytest.mark.slow
def test_one_room_with_other_people_in_it_is_not_the_same(shared_data, tmp_path):
    path = shared_data / "real_videos/one_by_one_enter_leave.mp4"
    *_, apart = ingest([path], Store(tmp_path), SETTINGS)
    assert apart.inputs >= 13
    assert apart.filtered == {}


def fingerprint(seed, length=8):
    rng = np.random.default_rng(seed)
    return tuple(rng.bytes(72).hex() for _ in range(length))


@pytest.mark.parametrize("shift", [-4, -1, 0, 3])
def test_a_shift_in_time_does_not_hide_a_copy(shift):
    whole = fingerprint(1, 20)
    a, b = whole[5:13], whole[5 + shift : 13 + shift]
    assert is_same(a, b)
    assert is_same(b, a)


def test_what_has_nothing_in_common_or_no_hashes_differs():
    assert not is_same(fingerprint(1), fingerprint(2))
    assert not is_same(("",) * 8, ("",) * 8)
    assert not is_same((), ())
    assert not is_same(fingerprint(1)[:1], fingerprint(1)[:1])  # one instant may be chance


def test_the_first_of_a_group_stays_whatever_its_size():
    clips = [
        Clip(clip_id=f"{n}", uri=f"{n}", start=n, num_pixels=1, fingerprint=fingerprint(n // 3))
        for n in range(9)
    ]
    assert find_duplicates(clips) == {
        f"{n}": "" if n % 3 == 0 else f"{n - n % 3}" for n in range(9)
    }


def test_a_larger_copy_that_comes_later_does_not_push_out_what_stands(shared_data, tmp_path):
    path = shared_data / "real_videos/crossing_chase_384x288.mp4"
    store = Store(tmp_path / "root")
    ingest([path], store, SETTINGS)
    (first,) = ingested(store)
    ingest([path.with_name("crossing_chase_720x480.mp4")], store, SETTINGS)
    assert ingested(store) == [first]


def test_flat_pictures_have_no_hash_and_match_nothing():
    from pipelines.ingest.measure import fingerprint as hash_of

    assert hash_of(np.zeros((90, 160), np.uint8)) == ""
    noise = cv2.resize(np.random.default_rng(0).integers(0, 255, (9, 16), np.uint8), (160, 90))
    assert len(hash_of(noise)) == 2 * (8 + 64)
