"""Any range of frames equals the same range of the whole."""

import numpy as np
import pytest

from models.video import decode_mp4
from pipelines.video_io import encode_mp4


@pytest.fixture(scope="module")
def clip():
    ramp = np.linspace(0, 255, 90, dtype=np.uint8)
    frames = np.zeros((90, 32, 48, 3), np.uint8)
    frames[:, :, :24] = ramp[:, None, None, None]
    frames[:, :, 24:, 1] = ramp[::-1, None, None]
    return frames, encode_mp4(frames, 25.0)


# start, stop, stride: read through, past a seek, and across key frames
@pytest.mark.parametrize(
    ("start", "stop", "stride"), [(0, 90, 1), (3, 9, 2), (47, 48, 1), (33, 80, 3), (70, 90, 1)]
)
def test_range_equals_the_same_range_of_the_whole(clip, start, stop, stride):
    frames, data = clip
    part = decode_mp4(data, start, stop, stride)
    np.testing.assert_array_equal(part, decode_mp4(data)[start:stop:stride])
    assert np.abs(part.astype(int) - frames[start:stop:stride]).mean() < 3


@pytest.mark.parametrize(
    ("data", "stop", "message"),
    [(b"", None, "not a readable"), (b"x" * 99, None, "not a readable"), (None, 91, "90 of 91")],
)
def test_damaged_or_short_video_says_so(clip, data, stop, message):
    with pytest.raises(ValueError, match=message):
        decode_mp4(clip[1] if data is None else data, 0, stop)
