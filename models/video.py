"""Decode the videos inside shards: constant frame rate, RGB, only the frames that are asked for."""

import io

import av
import numpy as np
from av.error import FFmpegError
from jaxtyping import UInt8

SEEK_FROM_FRAME = 32
"""Before this frame decoding from the start is cheaper than a seek (our GOPs are <= 16)."""


def decode_mp4(
    data: bytes, start: int = 0, stop: int | None = None, stride: int = 1
) -> UInt8[np.ndarray, "frames height width 3"]:
    """Frames `start:stop:stride` of an encoded constant-frame-rate video.

    Args:
        data: The file's bytes.
        start: First frame.
        stop: First frame after the last one; None reads to the end.
        stride: Distance between frames that are kept.

    Returns:
        RGB frames.

    Raises:
        ValueError: If the bytes are no video or hold fewer frames than asked for.
    """
    if start < 0 or stride < 1 or (stop is not None and stop <= start):
        raise ValueError(f"frames must be a forward range, got {start}:{stop}:{stride}")
    try:
        frames = _decode(data, start, stop, stride)
    except (FFmpegError, IndexError) as error:
        raise ValueError(f"not a readable video ({len(data)} bytes): {error}") from error
    expected = 1 if stop is None else len(range(start, stop, stride))
    if len(frames) < expected:
        raise ValueError(
            f"video holds too few frames for {start}:{stop}:{stride}: got {len(frames)} of "
            f"{expected}; ingest the clip again"
        )
    return np.stack(frames)


def _decode(data: bytes, start: int, stop: int | None, stride: int) -> list[np.ndarray]:
    frames: list[np.ndarray] = []
    with av.open(io.BytesIO(data), mode="r") as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        first = stream.start_time or 0
        ticks = None
        if start >= SEEK_FROM_FRAME and stream.average_rate and stream.time_base:
            ticks = 1 / (stream.average_rate * stream.time_base)
            container.seek(first + round(start * ticks), stream=stream)
        for count, frame in enumerate(container.decode(stream)):
            index = count
            if ticks is not None:
                if frame.pts is None:
                    raise ValueError("video frames carry no time stamps; ingest the clip again")
                index = round((frame.pts - first) / ticks)
            if stop is not None and index >= stop:
                break
            if index >= start and (index - start) % stride == 0:
                frames.append(frame.to_ndarray(format="rgb24"))
    return frames
