"""Who encodes our H.264: x264, the same bytes everywhere, or the graphics card where one can."""

import io
from fractions import Fraction
from functools import cache
from typing import Any

import av
from av.error import FFmpegError
from av.video.reformatter import ColorRange

GOP_FRAMES = 16
"""Longest distance between key frames of what we encode: bounds the cost of a random read."""
X264, NVENC, AUTO = "x264", "nvenc", "auto"
ENCODERS = (X264, NVENC, AUTO)
_BT709 = 1  # ITU-T H.273 code of primaries, transfer and matrix
_TRIAL_PX = (256, 256)  # the smallest picture of older cards is 145 x 49


def choose_encoder(name: str) -> str:
    """What a name means on this machine: x264 or nvenc.

    Raises:
        ValueError: If there is no such encoder, or no card that runs it.
    """
    if name not in ENCODERS:
        raise ValueError(f"encoder must be one of {ENCODERS}, got {name!r}")
    trouble = _nvenc_trouble() if name != X264 else ""
    if name == NVENC and trouble:
        raise ValueError(
            f"encoder nvenc does not open here ({trouble}): it needs an NVIDIA card with an "
            "encoder and its driver; take x264, or auto"
        )
    return X264 if name == X264 or trouble else NVENC


@cache
def _nvenc_trouble() -> str:
    try:
        with av.open(io.BytesIO(), "w", format="mp4") as container:
            stream: Any = open_h264(container, _TRIAL_PX, 24, 16, "medium", NVENC)
            stream.codec_context.open()
    except (FFmpegError, ValueError) as error:  # no card; an FFmpeg without it
        return str(error)
    return ""


def open_h264(
    container: Any, size: tuple[int, int], fps: float | int, crf: int, preset: str, encoder: str
) -> Any:
    """A BT.709 yuv420p stream of pictures of one (height, width)."""
    if encoder == NVENC:
        codec, options = "h264_nvenc", {"rc": "vbr", "cq": str(crf), "bf": "0"}
    else:
        # One thread: x264 splits work by thread count, which would change the bytes between
        # machines. Without macroblock tree: its AVX-512 code gave 14 different results in 302
        # equal runs on a busy machine (x264 core in PyAV 18); without it, or held to AVX2, all of
        # 221 and 268 agree.
        codec, options = "libx264", {"crf": str(crf), "preset": preset, "threads": "1"}
        options["x264-params"] = "mbtree=0"
    rate = Fraction(fps).limit_denominator(1001)
    stream = container.add_stream(codec, rate=rate, options={"g": str(GOP_FRAMES), **options})
    stream.height, stream.width = size
    stream.pix_fmt = "yuv420p"
    context = stream.codec_context
    context.thread_count = 1
    context.color_primaries = context.color_trc = context.colorspace = _BT709
    context.color_range = ColorRange.MPEG.value
    return stream
