"""Footage as it comes, and disks as they are: one reason each, no crash, sums that add up."""

import io
import os
import shutil
import subprocess
import tempfile
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import av
import numpy as np
import pytest

from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.stage import ingest
from pipelines.run import read_results
from pipelines.video_io import VideoError, encode_mp4, probe, read_frames
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

SETTINGS = IngestSettings(max_short_side_px=96, min_motion=0.0, max_blur=1.0, max_text_share=1.0)


def scene(num=20, height=96, width=128, seed=0):
    """A coarse texture that drifts, never still and never flat."""
    rng = np.random.default_rng(seed)
    big = rng.integers(
        20, 235, ((height + num) // 4 + 2, (width + num) // 4 + 2, 1), np.uint8
    ).repeat(3, 2)
    big = big.repeat(4, 0).repeat(4, 1)
    return np.stack([big[t : t + height, t : t + width] for t in range(num)])


def write(path, frames, fps=20, codec="libx264", pixel_format="yuv420p", audio=False, video=1):
    """A file as other people's cameras and editors make it."""
    with av.open(str(path), "w") as out:
        sound = out.add_stream("aac", rate=44100) if audio else None
        streams = [out.add_stream(codec, rate=fps) for _ in range(video)]
        for stream in streams:
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pixel_format
        for frame in frames:
            for stream in streams:
                picture = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format=pixel_format)
                out.mux(stream.encode(picture))
        for stream in streams:
            out.mux(stream.encode())
        if sound:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 44100), np.float32), "fltp", "mono")
            tone.rate = 44100
            out.mux(sound.encode(tone))
            out.mux(sound.encode())


def write_two_sizes(path):
    """A transport stream whose second half has another size, as live recordings do."""
    halves = []
    for size in ((96, 128), (64, 96)):
        part = io.BytesIO()
        with av.open(part, "w", format="mpegts") as out:
            stream = out.add_stream("libx264", rate=20)
            stream.height, stream.width = size
            stream.pix_fmt = "yuv420p"
            for frame in scene(15, *size):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
            out.mux(stream.encode())
        halves.append(part.getvalue())
    path.write_bytes(b"".join(halves))


def only_record(store):
    (key,) = [key for key in store.list("clips/") if key.endswith("clip.json")]
    return ClipRecord.from_json(store.read(key))


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("ten_bit.mp4", {"codec": "libx265", "pixel_format": "yuv420p10le"}, (96, 128)),
        ("ten_bit_422.mkv", {"codec": "libx264", "pixel_format": "yuv422p10le"}, (96, 128)),
        ("full_chroma.mkv", {"pixel_format": "yuv444p"}, (96, 128)),
        ("with_sound.mp4", {"audio": True}, (96, 128)),
        ("two_streams.mkv", {"video": 2}, (96, 128)),
        ("container.avi", {"codec": "mpeg4"}, (96, 128)),
        ("web.webm", {"codec": "libvpx-vp9"}, (96, 128)),
        ("odd.mkv", {"pixel_format": "yuv444p", "odd": True}, (94, 126)),
    ],
)
def test_containers_codecs_depths_and_odd_sizes_become_plain_clips(tmp_path, name, options, size):
    options = dict(options)
    frames = scene(20, 95, 127) if options.pop("odd", False) else scene()
    write(tmp_path / name, frames, **options)
    store = Store(tmp_path / "root")
    account, *_ = ingest([tmp_path / name], store, SETTINGS)
    assert (account.inputs, account.kept) == (1, 1), [
        r.detail for r in read_results(store, "ingest")
    ]
    record = only_record(store)
    assert (record.height, record.width, record.num_frames) == (*size, 20)
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(store.read(f"clips/{record.clip_id}/video.mp4"))
    with av.open(str(clip)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        assert container.streams.video[0].codec_context.pix_fmt == "yuv420p"
    shown, _ = read_frames(clip)
    error = np.abs(shown.astype(int) - frames[:, : size[0], : size[1]])
    assert error.mean() < 8


def test_a_video_that_changes_size_is_refused_with_both_sizes(tmp_path):
    write_two_sizes(tmp_path / "live.ts")
    with pytest.raises(VideoError, match="size_changes") as found:
        probe(tmp_path / "live.ts")
    assert "(128, 96)" in found.value.detail
    assert "(96, 64)" in found.value.detail


def test_a_folder_of_odd_things_gives_each_its_reason(tmp_path):
    folder = tmp_path / "footage"
    folder.mkdir()
    write_two_sizes(folder / "live.ts")
    with zipfile.ZipFile(folder / "archive.mp4", "w") as archive:
        archive.writestr("video.mp4", encode_mp4(scene(), 20))
    (folder / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    whole = encode_mp4(scene(60), 20)
    (folder / "cut_off.mp4").write_bytes(whole[: len(whole) // 2])
    (folder / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    (folder / "good.mp4").write_bytes(whole)
    store = Store(tmp_path / "root")
    account, *_ = ingest([folder], store, SETTINGS)
    assert (account.inputs, account.kept, account.failed) == (6, 1, {})
    found = {Path(r.detail.split(":")[0].split(" ")[0]).name: r.reason
             for r in read_results(store, "ingest") if r.status == "filtered"}  # fmt: skip
    assert found == {
        "live.ts": "size_changes", "archive.mp4": "not_a_video", "noise.mp4": "not_a_video",
        "cut_off.mp4": "broken_header", "list.m3u8": "not_a_video",
    }  # fmt: skip


@contextmanager
def without_rights():
    """Root reads everything, so for a while we are nobody."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_an_unreadable_file_fails_by_name_and_the_rest_goes_on(tmp_path):
    for name in ("good", "locked"):
        (tmp_path / f"{name}.mp4").write_bytes(encode_mp4(scene(seed=len(name)), 20))
    places = [tmp_path / "good.mp4", tmp_path / "locked.mp4"]
    ingest(places, Store(tmp_path / "warm"), SETTINGS)  # imports what nobody may not read
    with tempfile.TemporaryDirectory() as folder:  # pytest's own is closed to others
        for path in places:
            shutil.copy(path, folder)
        Path(folder).chmod(0o777)
        (Path(folder) / "locked.mp4").chmod(0)
        with without_rights():
            account, *_ = ingest([folder], Store(Path(folder) / "root"), SETTINGS)
        assert account.summary().startswith(
            "ingest: 2 inputs = 1 kept + 0 filtered + 1 failed (PermissionError 1)"
        )
        results = list(read_results(Store(Path(folder) / "root"), "ingest"))
        assert any("locked.mp4" in result.detail for result in results)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk takes root")
def test_a_full_disk_is_told_and_once_there_is_room_nothing_is_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda _: None)  # between the retries
    footage, disk = tmp_path / "footage", tmp_path / "disk"
    footage.mkdir()
    disk.mkdir()
    for number in range(3):
        noise = np.random.default_rng(number).integers(0, 255, (20, 128, 128, 3), np.uint8)
        (footage / f"{number}.mp4").write_bytes(encode_mp4(noise, 20))
    whole = Store(tmp_path / "whole")
    ingest([footage], whole, SETTINGS)
    needed = sum(len(whole.read(key)) for key in whole.list("clips/"))
    small = ["mount", "-t", "tmpfs", "-o", f"size={needed * 2 // 3}", "tmpfs", str(disk)]
    if subprocess.run(small, capture_output=True).returncode:
        pytest.skip("no right to mount here")
    try:
        store = Store(disk / "root")
        account, *_ = ingest([footage], store, SETTINGS)
        assert account.inputs == 3
        assert account.failed["OSError"] >= 1
        for result in read_results(store, "ingest"):
            assert all(store.exists(key) for key in result.outputs)  # what stands is whole
            assert result.status == "kept" or "No space left on device" in result.detail
        subprocess.run(["mount", "-o", "remount,size=64m", str(disk)], check=True)
        account, *_ = ingest([footage], store, SETTINGS)
        assert (account.kept, account.failed) == (3, {})
        assert store.list("clips/") == whole.list("clips/")
        assert all(store.read(key) == whole.read(key) for key in whole.list("clips/"))
    finally:
        subprocess.run(["umount", str(disk)], check=True)
