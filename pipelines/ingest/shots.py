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
    """Half-open frame spans of the shots, by PySceneDetect's adaptive detector.

    It asks whether a change stands out from its neighbours. The plain content detector (threshold
    27) finds the same true cuts in our six-shot clip, but also five that are no cuts: people
    running close past the camera and a sheet of paper held before it.

    Args:
        frames: All frames, RGB, one size; small ones (short side 144) are enough.
        fps: Mean frame rate.
        threshold: How many times the mean change around it a cut must be; 3 is customary.
    """
    from scenedetect import AdaptiveDetector, FrameTimecode

    shortest = max(2, round(MIN_SHOT_S * fps))
    detector = AdaptiveDetector(adaptive_threshold=threshold, min_scene_len=shortest)
    rate = Fraction(fps).limit_denominator(1001)
    cuts: list[FrameTimecode] = []
    num_frames = 0
    for index, frame in enumerate(frames):
        # The detector wants BGR as OpenCV gives it.
        bgr = np.ascontiguousarray(frame[..., ::-1])
        cuts.extend(detector.process_frame(FrameTimecode(index, rate), bgr))
        num_frames = index + 1
    starts = [0, *sorted({cut.frame_num for cut in cuts if 0 < cut.frame_num < num_frames})]
    return list(zip(starts, [*starts[1:], num_frames], strict=True)) if num_frames else []
