import io
import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import av
import numpy as np
import pytest
import torch

import pipelines.video_io
from pipelines.video_io import (
    VideoError,
    decode_mp4,
    encode_mp4,
    even_size,
    iterate_frames,
    probe,
    read_frames,
    resize_area,
)

BROKEN = {
    "broken_80_bytes.png": "not_a_video",
    "clusterfuzz_56_bytes.mp4": "not_a_video",
    "damaged_heap_oob_1.exr": "not_a_video",
    "damaged_truncated_header.exr": "not_a_video",
    "decompression_bomb.gif": "not_a_video",
    "ftyp_mdat_only_no_moov.mp4": "broken_header",
    "h264_damaged_mid_stream.mp4": "damaged_stream",
    "header_only_13_bytes.flv": "broken_header",
    "text_named.mp4": "broken_header",  # 48 bytes: an mp4 signature and nothing behind it
    "truncated_jpeg.jpg": "not_a_video",
    "zero_bytes.webm": "empty_file",
    "zero_length_mdat.m4a": "no_video_stream",
}
READABLE = {  # (width, height, frames, can_seek)
    "-starts-with-dash-.mp4": (1, 1, 5, False),
    "no_duration.webm": (1280, 720, 74, False),  # decord refuses files without a duration
    "unordered_pts.mov": (50, 50, 4, True),
}


def moving_frames(num=20, height=48, width=66):
    y, x = np.mgrid[:height, :width].astype(np.float64)
    phase = np.arange(num)[:, None, None]
    waves = [np.sin((x + 2 * phase) / 9), np.cos((y + phase) / 7), np.sin((x + y - phase) / 13)]
    return np.stack([127.5 + 110 * wave + 0 * phase for wave in waves], -1).astype(np.uint8)


def psnr_db(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b.astype(float)) ** 2))


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_broken_file_gives_one_reason(shared_data, name):
    with pytest.raises(VideoError) as error:
        probe(shared_data / "broken" / name)
    assert error.value.reason == BROKEN[name]
    assert name in error.value.detail


def test_damage_says_how_many_frames_are_good(shared_data):
    with pytest.raises(VideoError, match="28 of 50"):
        probe(shared_data / "broken/h264_damaged_mid_stream.mp4")


@pytest.mark.parametrize("name", sorted(READABLE))
def test_odd_but_valid_files_are_read_whole(shared_data, name):
    path = shared_data / "broken" / name
    info = probe(path)
    assert (info.width, info.height, info.num_frames, info.can_seek) == READABLE[name]
    frames, times = read_frames(path)
    assert frames.shape == (info.num_frames, info.height, info.width, 3)
    assert (np.diff(times) > 0).all()


def test_every_video_of_the_broken_folder_is_covered(shared_data):
    names = {path.name for path in (shared_data / "broken").iterdir() if path.suffix != ".md"}
    # Later additions to the folder need a row above, not silence.
    assert names == BROKEN.keys() | READABLE.keys()


@pytest.mark.parametrize("turn", [0, 90, 180, 270])
def test_phone_rotation_is_undone_the_same_way_by_both_decoders(shared_data, monkeypatch, turn):
    info = probe(shared_data / f"real_videos/rot_meta_{turn}.mov")
    assert info.rotation_deg == turn
    assert (info.width, info.height) == ((568, 320) if turn % 180 == 0 else (320, 568))
    upright = list(iterate_frames(info))
    monkeypatch.setattr(pipelines.video_io, "SPARSE_SHARE", 2)
    np.testing.assert_array_equal(upright, list(iterate_frames(info)))


def test_sideways_phone_clip_is_upright(shared_data):
    info = probe(shared_data / "real_videos/phone_sideways_rot90_vfr.mov")
    assert (info.width, info.height, info.num_frames) == (480, 640, 25)


def test_the_best_of_several_streams_is_read_to_the_exact_pixel(shared_data):
    path = shared_data / "real_videos/nasa_multistream.mp4"
    golden = shared_data / "golden/decode"
    frames, times = read_frames(path, [0, 389])
    assert frames.shape == (2, 270, 480, 3)
    for frame, number in zip(frames, (0, 389), strict=True):
        truth = torch.load(golden / f"nasa_stream3.frame{number:06d}.pt", weights_only=True)
        np.testing.assert_array_equal(frame, truth.numpy())
    rows = json.loads((golden / "nasa_stream3_frames.json").read_text())
    info = probe(path)
    truth_s = np.array([float(row["pts_time"]) for row in rows])
    assert info.num_frames == 390 == len(rows)
    np.testing.assert_allclose(info.timestamps_ns / 1e9, truth_s - truth_s[0], atol=1e-6)
    assert times.tolist() == info.timestamps_ns[[0, 389]].tolist()


def test_the_frame_shown_at_a_time_is_the_one_with_the_nearest_earlier_stamp(shared_data):
    path = shared_data / "real_videos/nasa_multistream.mp4"
    info = probe(path)
    index = int(np.searchsorted(info.timestamps_ns, 12_979_634_000, side="right")) - 1
    truth = torch.load(shared_data / "golden/decode/nasa_time12.979633.pt", weights_only=True)
    np.testing.assert_array_equal(next(iterate_frames(info, [index])), truth.numpy())


def test_variable_frame_rate_keeps_its_gaps(shared_data):
    info = probe(shared_data / "real_videos/webcam_vfr.mov")
    gaps_ms = np.diff(info.timestamps_ns) / 1e6
    assert info.num_frames == 123
    assert gaps_ms.min() == pytest.approx(50, abs=0.01)
    assert gaps_ms.max() == pytest.approx(133.33, abs=0.01)


def test_a_file_cut_short_is_named_truncated(tmp_path):
    whole, path = encode_mp4(moving_frames(48), 25), tmp_path / "cut.mp4"
    with (
        av.open(io.BytesIO(whole)) as source,
        av.open(str(path), "w", "mp4", {"movflags": "faststart"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    assert probe(path).num_frames == 48
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with pytest.raises(VideoError, match="of 48") as error:
        probe(path)
    assert error.value.reason in {"damaged_stream", "truncated"}


def test_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        probe(tmp_path / "none.mp4")


@pytest.mark.parametrize("size", [(34, 50), (48, 66), (16, 16), (270, 130), (64, 48)])
def test_encode_then_decode_keeps_the_picture(tmp_path, size):
    """Grey detail survives almost whole; colour loses what 4:2:0 takes."""
    frames = moving_frames(20, *size)
    grey = frames[..., :1].repeat(3, -1)
    data = encode_mp4(frames, 24, crf=10)
    path = tmp_path / "clip.mp4"
    path.write_bytes(data)
    assert psnr_db(grey, decode_mp4(encode_mp4(grey, 24, crf=10))) > 42
    assert psnr_db(frames, decode_mp4(data)) > 30
    np.testing.assert_array_equal(read_frames(path)[0], decode_mp4(data))


def test_saturated_colours_survive_the_round_trip(tmp_path):
    """A BT.601 / BT.709 mix-up shifts pure green by some 40 levels."""
    colours = np.array(
        [[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0], [0, 255, 255], [255, 0, 255],
         [255, 255, 255], [0, 0, 0], [128, 64, 200]], np.uint8,
    )  # fmt: skip
    patches = colours.reshape(3, 3, 3).repeat(32, 0).repeat(32, 1)
    data = encode_mp4(np.stack([patches] * 5), 25, crf=8)
    path = tmp_path / "colours.mp4"
    path.write_bytes(data)
    info = probe(path)
    readers = [
        decode_mp4(data)[2],
        next(iterate_frames(info, [2])),
        next(iterate_frames(replace(info, can_seek=False), [2])),
    ]
    for decoded in readers:
        centres = decoded[16::32, 16::32].astype(int)
        assert np.abs(centres - patches[16::32, 16::32]).max() <= 3


def test_same_frames_give_the_same_bytes_with_short_gop_and_no_audio():
    frames = moving_frames(40)
    data = encode_mp4(frames, 30000 / 1001)
    assert data == encode_mp4(iter(frames), 30000 / 1001)
    with av.open(io.BytesIO(data)) as container:
        assert [stream.type for stream in container.streams] == ["video"]
        stream = container.streams.video[0]
        assert stream.pix_fmt == "yuv420p"
        assert float(stream.average_rate) == pytest.approx(30000 / 1001)
        keys = [i for i, frame in enumerate(container.decode(stream)) if frame.key_frame]
    assert max(np.diff([*keys, 40])) <= 16


def test_the_bytes_are_the_same_on_a_busy_machine():
    """The encoder's macroblock tree is not: some 40 % of runs differed before it was off."""
    frames = moving_frames(16, 96, 96)
    with ThreadPoolExecutor(4) as pool:
        encoded = set(pool.map(lambda _: encode_mp4(frames, 25), range(24)))
    assert len(encoded) == 1


def test_a_span_decodes_to_the_same_frames_as_the_whole():
    data = encode_mp4(moving_frames(40), 25)
    np.testing.assert_array_equal(decode_mp4(data, 17, 30), decode_mp4(data)[17:30])


@pytest.mark.parametrize("indices", [[3, 3, 17, 38], [0, 1, 2, 2], [149], [5, 140]])
@pytest.mark.parametrize("name", ["crossing_chase_384x288.mp4", "webcam_vfr.mov"])
def test_chosen_frames_equal_those_of_the_whole_and_may_repeat(shared_data, name, indices):
    path = shared_data / "real_videos" / name
    info = probe(path)
    indices = [min(index, info.num_frames - 1) for index in indices]
    whole, _ = read_frames(path)
    chosen, times = read_frames(path, indices)
    np.testing.assert_array_equal(chosen, whole[indices])
    assert times.tolist() == info.timestamps_ns[indices].tolist()
    with pytest.raises(ValueError, match="non-decreasing"):
        read_frames(path, [5, 4])


@pytest.mark.parametrize(
    ("frames", "fps", "problem"),
    [
        (np.zeros((2, 3, 4, 3), np.uint8), 25, "even height and width"),
        (np.zeros((0, 4, 4, 3), np.uint8), 25, "at least one frame"),
        (np.zeros((2, 4, 4, 3), np.uint8), 0, "fps must be positive"),
    ],
)
def test_encoding_refuses_what_it_cannot_write(frames, fps, problem):
    with pytest.raises(ValueError, match=problem):
        encode_mp4(frames, fps)


def test_rubbish_bytes_do_not_decode():
    with pytest.raises(VideoError):
        decode_mp4(b"not a video at all")


@pytest.mark.parametrize(
    ("size", "limit", "wanted"),
    [
        ((1080, 1920), 480, (480, 852)),
        ((1088, 1920), 544, (544, 960)),
        ((271, 481), None, (270, 480)),
        ((320, 240), 480, (320, 240)),  # never enlarged
    ],
)
def test_even_size_limits_the_short_side(size, limit, wanted):
    assert even_size(*size, limit) == wanted


def test_shrinking_averages_areas_and_an_odd_edge_is_cropped():
    frame = np.random.default_rng(0).integers(0, 256, (65, 97, 3), np.uint8)
    np.testing.assert_array_equal(resize_area(frame, (64, 96)), frame[:64, :96])
    even = frame[:64, :96]
    blocks = even.reshape(32, 2, 48, 2, 3).mean((1, 3))
    assert np.abs(resize_area(even, (32, 48)) - blocks).max() <= 0.5
