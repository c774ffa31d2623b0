"""A shard that grows clip by clip: whatever moment the process dies, it ends in the same bytes."""

import io
import os

import pytest

from pipelines.synthetic.growing_shard import GrowingShard, ShardLog, last_failures, read_entries
from storage_schemas.shards import clip_entries, write_shard

IDS = [f"{index:032x}" for index in range(4)]
ADDRESS = "a" * 64


def members(index):
    return {"clip.json": b'{"n": %d}' % index, "video.mp4": bytes([index]) * (700 + index)}


def grow(path, ids=IDS, address=ADDRESS):
    """Add what is missing; returns the finished log and how many were there already."""
    with GrowingShard(path, address) as shard:
        found = len(shard.outcomes)
        for clip_id in ids[found:]:
            shard.add(clip_id, "train", clip_entries(clip_id, members(IDS.index(clip_id))))
        return ShardLog.parse(shard.finish())[0], found


@pytest.fixture
def whole():
    buffer = io.BytesIO()
    write_shard(((clip_id, members(i)) for i, clip_id in enumerate(IDS)), buffer)
    return buffer.getvalue()


def test_it_ends_as_a_shard_written_at_once(tmp_path, whole):
    log, _ = grow(tmp_path / "a.tar")
    assert (tmp_path / "a.tar").read_bytes() == whole
    assert log.size_bytes == len(whole)
    assert [outcome.clip_id for outcome in log.kept] == IDS


def test_cut_anywhere_it_goes_on_to_the_same_bytes(tmp_path, whole):
    path = tmp_path / "a.tar"
    grow(path)
    complete = path.with_suffix(".jsonl").read_bytes()
    ends = [outcome.end for outcome in ShardLog.parse(complete)[0].outcomes]
    for log_size in range(0, len(complete), 37):
        told = complete[:log_size]
        clips = max(0, told.count(b"\n") - 1)
        # the bytes of a clip lie on the disk before its line does; more may lie there
        for extra in (0, 100, 3000):
            path.write_bytes(whole[: ([0, *ends][min(clips, 4)]) + extra])
            path.with_suffix(".jsonl").write_bytes(told)
            log, found = grow(path)
            assert found == min(clips, 4)
            assert path.read_bytes() == whole
            assert path.with_suffix(".jsonl").read_bytes() == complete
            assert log.sha256


def test_a_tar_shorter_than_its_log_is_begun_anew(tmp_path, whole):
    path = tmp_path / "a.tar"
    grow(path)
    os.truncate(path, 100)
    assert grow(path)[1] == 0
    assert path.read_bytes() == whole


def test_what_was_begun_for_another_address_is_dropped(tmp_path, whole):
    path = tmp_path / "a.tar"
    with GrowingShard(path, "other") as shard:
        shard.add(IDS[3], "train", clip_entries(IDS[3], members(3)))
    assert grow(path)[1] == 0
    assert path.read_bytes() == whole


def test_two_processes_do_not_mix_their_clips(tmp_path):
    with (
        GrowingShard(tmp_path / "a.tar", ADDRESS),
        pytest.raises(RuntimeError, match="another process"),
    ):
        GrowingShard(tmp_path / "a.tar", ADDRESS)
    GrowingShard(tmp_path / "a.tar", ADDRESS).__exit__(None, None, None)


def test_only_failures_at_the_end_are_tried_again(tmp_path):
    path = tmp_path / "a.tar"
    with GrowingShard(path, ADDRESS) as shard:
        shard.leave_out(IDS[0], "failed", "ValueError", "trace")
        shard.add(IDS[1], "train", clip_entries(IDS[1], members(1)))
        shard.leave_out(IDS[2], "filtered", "bad_file", "cut")
        shard.leave_out(IDS[3], "failed", "ValueError", "trace")
        assert [outcome.clip_id for outcome in last_failures(shard.outcomes)] == [IDS[3]]
    with GrowingShard(path, ADDRESS) as shard:
        assert [outcome.clip_id for outcome in shard.outcomes] == IDS[:3]


def test_the_clips_of_a_finished_shard_are_told_from_those_of_another(tmp_path):
    log, _ = grow(tmp_path / "a.tar")
    entries = read_entries(tmp_path / "a.tar", log)
    assert entries == {c: clip_entries(c, members(i)) for i, c in enumerate(IDS)}
    grow(tmp_path / "b.tar", IDS[:2])
    with pytest.raises(ValueError, match="not the shard"):
        read_entries(tmp_path / "b.tar", log)
