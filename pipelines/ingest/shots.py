"""Where a video cuts from one shot to the next."""

from collections.abc import Iterable
from fractions import Fraction

import numpy as np
from jaxtyping import UInt8

MIN_SHOT_S = 0.4
"""Flashes and cuts closer than this count as one."""


def find_shots(
    frames: Iterable[UInt8[np.ndarray, "h w 3"]], fps: float, threshold: float
) -> list[tuple[int, int]]:
    """Half-open frame spans of the shots, by PySceneDetect's content detector.

    Args:
        frames: All frames, RGB, one size; small ones (short side 144) are enough.
        fps: Mean frame rate.
        threshold: Mean HSV change between neighbours that makes a cut; 27 is customary.
    """
    from scenedetect import ContentDetector, FrameTimecode

    detector = ContentDetector(threshold=threshold, min_scene_len=max(2, round(MIN_SHOT_S * fps)))
    rate = Fraction(fps).limit_denominator(1001)
    cuts: list[int] = []
    num_frames = 0
    for index, frame in enumerate(frames):
        # The detector wants BGR as OpenCV gives it.
        bgr = np.ascontiguousarray(frame[..., ::-1])
        found = detector.process_frame(FrameTimecode(index, rate), bgr)
        cuts.extend(cut.frame_num for cut in found)
        num_frames = index + 1
    starts = [0, *sorted({cut for cut in cuts if 0 < cut < num_frames})]
    return list(zip(starts, [*starts[1:], num_frames], strict=True)) if num_frames else []
