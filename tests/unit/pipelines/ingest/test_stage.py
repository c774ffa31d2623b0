import json
from dataclasses import replace

import numpy as np
import pytest

from pipelines.ingest.measure import Measures
from pipelines.ingest.settings import IngestSettings, change_settings
from pipelines.ingest.sources import find_sources
from pipelines.ingest.stage import ingest, ingest_sources
from pipelines.run import read_results
from pipelines.video_io import decode_mp4, encode_mp4, probe, read_frames
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

SMALL = IngestSettings(max_short_side_px=96, min_motion=0.0, max_blur=1.0, max_text_share=1.0)
"""Made frames are still and plain; the filters have tests of their own."""
BROKEN = {
    "-starts-with-dash-.mp4": "too_small",
    "PROVENANCE.md": "not_a_video",
    "broken_80_bytes.png": "not_a_video",
    "clusterfuzz_56_bytes.mp4": "not_a_video",
    "damaged_heap_oob_1.exr": "not_a_video",
    "damaged_truncated_header.exr": "not_a_video",
    "decompression_bomb.gif": "not_a_video",
    "ftyp_mdat_only_no_moov.mp4": "broken_header",
    "h264_damaged_mid_stream.mp4": "damaged_stream",
    "header_only_13_bytes.flv": "broken_header",
    "no_duration.webm": "",
    "text_named.mp4": "broken_header",
    "truncated_jpeg.jpg": "not_a_video",
    "unordered_pts.mov": "too_small",
    "zero_bytes.webm": "empty_file",
    "zero_length_mdat.m4a": "no_video_stream",
}


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "root")


def records(store):
    keys = [key for key in store.list("clips/") if key.endswith("clip.json")]
    return [ClipRecord.from_json(store.read(key)) for key in keys]


def video(store, record):
    return decode_mp4(store.read(f"clips/{record.clip_id}/video.mp4"))


def test_every_broken_file_has_one_outcome_and_the_others_go_on(shared_data, store):
    accounting, *_ = ingest([shared_data / "broken"], store, SMALL)
    assert (accounting.inputs, accounting.kept, accounting.failed) == (len(BROKEN), 1, {})
    by_uri = {}
    for result in read_results(store, "ingest"):
        names = [name for name in BROKEN if name in result.detail]
        by_uri[names[0] if names else "no_duration.webm"] = result.reason
    assert by_uri == BROKEN
    assert [record.num_frames for record in records(store)] == [74]


def test_variable_rate_footage_becomes_an_even_grid_that_knows_its_real_times(shared_data, store):
    path = shared_data / "real_videos/webcam_vfr.mov"
    ingest([path], store, replace(SMALL, licence="MIT"))
    info = probe(path)
    for record in records(store):
        assert record.fps == pytest.approx(info.fps, abs=1e-3)
        assert np.isin(record.timestamps_ns, info.timestamps_ns).all()
        grid = record.start_ns + np.arange(record.num_frames) * 1e9 / record.fps
        # Half the largest real gap (133 ms) bounds how far a frame is from its instant.
        assert np.abs(record.timestamps_ns - grid).max() <= 67e6
        assert record.start_ns <= record.timestamps_ns[0]
        assert record.timestamps_ns[-1] < record.end_ns
        assert record.licence == "MIT"
        assert video(store, record).shape == (record.num_frames, 96, 128, 3)


def test_a_sideways_phone_clip_comes_out_upright(shared_data, store):
    path = shared_data / "real_videos/phone_sideways_rot90_vfr.mov"
    ingest([path], store, SMALL)
    (record,) = records(store)
    assert (record.width, record.height) == (96, 128)
    truth, _ = read_frames(path, [0], (128, 96))
    error = np.abs(video(store, record)[0].astype(float) - truth[0])
    assert error.mean() < 4


def test_each_shot_is_a_clip_and_what_is_dropped_is_said(shared_data, store):
    path = shared_data / "real_videos/cuts_bikes.mp4"
    ingest([path], store, replace(SMALL, fps=25.0))
    spans = sorted((r.start_ns // 40_000_000, r.end_ns // 40_000_000) for r in records(store))
    assert spans == [(0, 30), (30, 76), (76, 137), (137, 187), (187, 242)]
    (key,) = store.list("sources/")
    source = json.loads(store.read(key))
    dropped = [(p["start"], p["end"], p["reason"]) for p in source["pieces"] if p["reason"]]
    assert dropped == [(242, 250, "too_short")]
    assert sorted(source["clips"]) == [record.clip_id for record in records(store)]


def test_long_shots_are_split_and_joined_again_they_are_the_shot(tmp_path, store):
    frames = np.random.default_rng(0).integers(0, 255, (1, 64, 64, 3), np.uint8).repeat(50, 0)
    (tmp_path / "long.mp4").write_bytes(encode_mp4(frames, 10))
    ingest([tmp_path / "long.mp4"], store, replace(SMALL, max_clip_s=2.0))
    spans = sorted((r.start_ns, r.end_ns, r.num_frames) for r in records(store))
    assert sum(num for _, _, num in spans) == 50
    assert [end for _, end, _ in spans[:-1]] == [start for start, _, _ in spans[1:]]
    assert len(spans) == 3


def test_ids_depend_on_content_and_normalisation_alone(tmp_path, store):
    frames = np.random.default_rng(1).integers(0, 255, (1, 80, 90, 3), np.uint8).repeat(20, 0)
    (tmp_path / "a.mp4").write_bytes(encode_mp4(frames, 20))
    (tmp_path / "renamed.mp4").write_bytes(encode_mp4(frames, 20))
    ids = []
    for name, settings in [
        ("a.mp4", SMALL),
        ("renamed.mp4", SMALL),
        ("a.mp4", replace(SMALL, licence="MIT")),
        ("a.mp4", replace(SMALL, max_short_side_px=64)),
    ]:
        other = Store(tmp_path / f"{name}-{settings.licence}-{settings.max_short_side_px}")
        ingest([tmp_path / name], other, settings)
        ids.append(records(other)[0].clip_id)
    assert ids[0] == ids[1] == ids[2] != ids[3]
    both, *_ = ingest([tmp_path / "a.mp4", tmp_path / "renamed.mp4"], store, SMALL)
    assert (both.kept, both.filtered) == (1, {"duplicate": 1})


def test_a_second_run_reuses_and_a_changed_file_does_not(tmp_path, store):
    path = tmp_path / "a.mp4"
    frames = np.full((20, 64, 64, 3), 90, np.uint8)
    path.write_bytes(encode_mp4(frames, 20))
    ingest([path], store, SMALL)
    (first,) = records(store)
    assert ingest([path], store, SMALL)[0].reused == 1
    path.write_bytes(encode_mp4(frames + 50, 20))
    assert ingest([path], store, SMALL)[0].reused == 0
    (second,) = records(store)  # the clip of the old content is gone
    assert first.clip_id != second.clip_id


def test_a_missing_file_fails_by_name_and_the_rest_is_kept(tmp_path, store):
    (tmp_path / "a.mp4").write_bytes(encode_mp4(np.full((20, 64, 64, 3), 9, np.uint8), 20))
    accounting, *_ = ingest([tmp_path / "a.mp4", tmp_path / "gone.mp4"], store, SMALL)
    assert (accounting.kept, accounting.failed) == (1, {"FileNotFoundError": 1})


@pytest.mark.parametrize(
    "change", [{"fps": 0.0}, {"min_clip_s": 20.0}, {"min_short_side_px": 2000}]
)
def test_impossible_settings_are_refused(change):
    with pytest.raises(ValueError, match="must"):
        replace(SMALL, **change)


def moving(num=30, size=(96, 128), seed=0):
    """A sharp texture that drifts."""
    big = np.random.default_rng(seed).integers(0, 255, (40, 60, 3), np.uint8)
    big = big.repeat(5, 0).repeat(5, 1)
    return np.stack([big[t : t + size[0], t : t + size[1]] for t in range(num)])


def test_bars_are_cut_off_and_the_record_says_where_the_picture_was(tmp_path, store):
    frames = np.full((30, 136, 160, 3), 16, np.uint8)
    frames[:, 20:116, 16:144] = moving()
    (tmp_path / "a.mp4").write_bytes(encode_mp4(frames, 20))
    ingest([tmp_path / "a.mp4"], store, SMALL)
    (record,) = records(store)
    top, left, height, width = record.provenance["ingest"]["crop_px"]
    assert 20 <= top <= 24
    assert 16 <= left <= 20
    assert 116 - 4 <= top + height <= 116
    assert 144 - 4 <= left + width <= 144
    assert (record.height, record.width) == (height // 2 * 2, width // 2 * 2)
    assert video(store, record).mean(0)[0].mean() > 60  # the first row is picture, not bar


@pytest.mark.parametrize(
    ("reason", "make"),
    [
        ("still", lambda: moving()[:1].repeat(30, 0)),
        ("too_fast", lambda: moving(90)[::3]),
    ],
)
def test_each_filter_names_its_reason(tmp_path, store, reason, make):
    (tmp_path / "a.mp4").write_bytes(encode_mp4(make(), 20))
    changed = IngestSettings(max_sweep=0.5, max_blur=0.6)
    account, pieces, _ = ingest([tmp_path / "a.mp4"], store, changed)
    assert (account.kept, account.filtered) == (0, {reason: 1})
    assert pieces.inputs == 0  # those of kept sources only
    (result,) = read_results(store, "ingest")
    assert "1 pieces = 0 kept + 1 filtered" in result.detail


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [("motion", 0.001, "still"), ("sweep", 4.0, "too_fast"), ("blur", 0.97, "blurry"),
     ("text_share", 0.05, "text_overlay"), ("motion", 0.5, "")],
)  # fmt: skip
def test_each_measure_beyond_its_threshold_is_the_fault(name, value, reason):
    fine = Measures(motion=0.2, sweep=0.1, blur=0.4, text_share=0.0, fingerprint=())
    found, detail = IngestSettings().find_fault(replace(fine, **{name: value}))
    assert found == reason
    assert not reason or str(value) in detail


def test_pieces_of_kept_sources_add_up(shared_data, store):
    account, pieces, apart = ingest([shared_data / "real_videos/cuts_bikes.mp4"], store)
    assert (account.inputs, account.kept) == (1, 1)
    assert (pieces.inputs, pieces.kept, pieces.filtered) == (6, 5, {"too_short": 1})
    assert (apart.inputs, apart.kept) == (5, 5)


def test_a_source_that_could_not_be_hashed_at_first_gets_its_own_ids(tmp_path, store):
    path = tmp_path / "a.mp4"
    path.write_bytes(encode_mp4(moving(), 20))
    (source,) = find_sources([path])
    ingest_sources([replace(source, sha256="")], store, SMALL)
    (record,) = records(store)
    assert record.source_sha256 == source.sha256


def test_settings_change_by_name_and_wrong_ones_are_refused():
    assert change_settings(SMALL, ["max_clip_s=5", "crf=20"]).max_clip_s == 5.0
    for wrong in ("max_clip_s", "colour=1", "crf=x", "fps=0"):
        with pytest.raises(ValueError, match=wrong.partition("=")[0]):
            change_settings(SMALL, [wrong])
