"""Shards: deterministic bytes, plain WebDataset reads them, torn ones are refused."""

import io
import os
import tarfile

import numpy as np
import pytest

from storage_schemas.mask import MaskTrack
from storage_schemas.shards import (
    clip_entries,
    end_of_shard,
    index_shard,
    read_members,
    read_shard,
    write_shard,
)

IDS = [f"{index:032x}" for index in range(3)]


def sample(index):
    mask = MaskTrack(instance=np.full((2, 3, 4), index, np.uint8))
    return {"mask.npz": mask.to_npz(), "clip.json": b'{"n": %d}' % index, "video.mp4": b"v" * 700}


def write(path, ids=IDS):
    with path.open("wb") as file:
        write_shard(((clip_id, sample(i)) for i, clip_id in enumerate(ids)), file)
    return path


def test_the_round_trip_keeps_order_and_bytes(tmp_path):
    path = write(tmp_path / "a.tar")
    for index, (clip_id, members) in enumerate(read_shard(path)):
        assert clip_id == IDS[index]
        assert members == sample(index)
        assert list(members) == ["clip.json", "video.mp4", "mask.npz"]


def test_the_same_clips_give_the_same_bytes_whatever_the_member_order(tmp_path):
    first = write(tmp_path / "a.tar").read_bytes()
    with (tmp_path / "b.tar").open("wb") as file:
        write_shard(((c, dict(reversed(sample(i).items()))) for i, c in enumerate(IDS)), file)
    assert (tmp_path / "b.tar").read_bytes() == first


@pytest.mark.parametrize("count", [0, 1, 3])
def test_our_bytes_are_those_of_tarfile_and_of_a_shard_grown_clip_by_clip(tmp_path, count):
    by_tarfile = io.BytesIO()
    with tarfile.open(fileobj=by_tarfile, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for i, clip_id in enumerate(IDS[:count]):
            for name in ("clip.json", "video.mp4", "mask.npz"):
                entry = tarfile.TarInfo(f"{clip_id}.{name}")
                entry.size, entry.mode = len(sample(i)[name]), 0o644
                archive.addfile(entry, io.BytesIO(sample(i)[name]))
    grown = b"".join(clip_entries(clip_id, sample(i)) for i, clip_id in enumerate(IDS[:count]))
    assert write(tmp_path / "a.tar", IDS[:count]).read_bytes() == by_tarfile.getvalue()
    assert grown + end_of_shard(len(grown)) == by_tarfile.getvalue()


def test_a_member_is_found_by_its_span_alone(tmp_path):
    path = write(tmp_path / "a.tar")
    spans = index_shard(path)[IDS[1]]
    assert read_members(path, {"mask.npz": spans["mask.npz"]}) == {
        "mask.npz": sample(1)["mask.npz"]
    }


@pytest.mark.filterwarnings(
    "ignore::ResourceWarning"
)  # webdataset leaves its file to the collector
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_plain_webdataset_reads_a_shard_of_ours(tmp_path):
    import webdataset as wds

    path = write(tmp_path / "a.tar")
    dataset = wds.WebDataset(str(path), shardshuffle=False, empty_check=False)
    samples = list(dataset)
    assert [s["__key__"] for s in samples] == IDS
    assert samples[2]["mask.npz"] == sample(2)["mask.npz"]


def test_the_golden_webdataset_shard_is_not_taken_for_ours(shared_data):
    with pytest.raises(ValueError, match="unexpected entry"):
        index_shard(shared_data / "golden/webdataset/mpdata.tar")


@pytest.mark.parametrize("keep", [0.999, 0.5, 0.3, 0.01])
def test_a_torn_shard_is_refused(tmp_path, keep):
    path = write(tmp_path / "a.tar")
    end = max(
        span.offset + span.size for spans in index_shard(path).values() for span in spans.values()
    )
    os.truncate(path, int(end * keep))
    with pytest.raises(ValueError, match=r"torn|no end-of-archive|has neither"):
        index_shard(path)


def test_a_shard_cut_between_two_members_is_refused(tmp_path):
    path = write(tmp_path / "a.tar")
    spans = index_shard(path)[IDS[2]]
    os.truncate(path, spans["video.mp4"].offset - tarfile.BLOCKSIZE)
    with pytest.raises(ValueError, match=r"torn|no end-of-archive"):
        index_shard(path)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../../etc/passwd", tarfile.REGTYPE),
        (f"{IDS[0]}.clip.json", tarfile.SYMTYPE),
        (f"{IDS[0]}.payload.pkl", tarfile.REGTYPE),
        ("XYZ.clip.json", tarfile.REGTYPE),
    ],
)
def test_entries_outside_the_contract_are_refused(tmp_path, name, kind):
    path = tmp_path / "evil.tar"
    with tarfile.open(path, "w") as archive:
        entry = tarfile.TarInfo(name)
        entry.type = kind
        entry.linkname = "/etc/passwd"
        archive.addfile(entry, io.BytesIO(b""))
    with pytest.raises(ValueError, match=r"unexpected entry|has no clip id"):
        index_shard(path)


@pytest.mark.parametrize(
    ("samples", "finding"),
    [
        ([("abc", {"clip.json": b""})], "32 lower-case hex"),
        ([(IDS[0], {"notes.txt": b""})], "unknown members"),
        ([(IDS[0], sample(0)), (IDS[0], sample(0))], "comes twice"),
    ],
)
def test_bad_samples_are_refused_before_they_are_written(samples, finding):
    with pytest.raises(ValueError, match=finding):
        write_shard(samples, io.BytesIO())
