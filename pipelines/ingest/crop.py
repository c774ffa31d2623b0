"""Which rectangle of a shot is the picture, where bars, a template or a blurred copy surround it.

A surround is a run of whole lines at a side of the frame that are, over the whole shot,

- one colour (letterbox, pillarbox), or
- still, beside a picture that moves along most of the border (a screen in a designed frame), or
- blurred, on two opposite sides alike (the usual filling around an upright phone video).

In each case a straight step must run along most of the border. That is what a wall, a white
studio, a night sky, or a resting camera lacks. Of the 18 real videos in our tests only the
pillarboxed one is cropped.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Float, UInt8

NUM_SAMPLES = 16
"""Frames of a shot that are looked at."""
MIN_STILL_SAMPLES = 8
"""In fewer frames anything may stand still."""
SAME_LEVELS = 6
"""Pixels within so many grey levels count as the same; coding noise stays below."""
LINE_SHARE = 0.99
"""Of a line of the surround so many pixels are as they must be."""
STEP_LEVELS = 12
BORDER_SHARE = 0.5
"""Share of the border that must show a step, and motion where the surround is not one colour."""
MIN_BAR_SHARE = 0.01
"""Thinner bars are left: coding makes such lines at the edge of good pictures too."""
MIN_BLUR_BAR_SHARE = 0.05
BLUR_RATIO = 0.35
"""Fine detail of a blurred surround over that of the picture."""
SOFT_PX = 2
"""Lines between bar and picture that scaling mixed; they go with the bar."""

Samples = UInt8[np.ndarray, "_ _ _"]


class Crop(NamedTuple):
    """A rectangle of an upright source frame, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def cut(self, frame: UInt8[np.ndarray, "_ _ 3"]) -> UInt8[np.ndarray, "_ _ 3"]:
        """The rectangle's pixels."""
        return frame[self.top : self.top + self.height, self.left : self.left + self.width]


def find_crop(samples: Samples) -> Crop:
    """The picture's rectangle; the whole frame where nothing surrounds it.

    Args:
        samples: Grey frames from all over one shot.
    """
    window = _Window(0, samples.shape[1], 0, samples.shape[2])
    for lines in (_one_colour, _still, _blurred):
        for _ in range(2):  # once the sides are gone, the bars above and below are whole lines
            window = _peel(samples, window, lines)
    return Crop(
        window.top, window.left, window.bottom - window.top, window.right - window.left
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class _Surround:
    """How many lines at the start and at the end of an axis belong to the surround."""

    start: int
    end: int


class _Window(NamedTuple):
    top: int
    bottom: int
    left: int
    right: int


def _peel(samples: Samples, window: _Window, lines: Callable[[Samples], _Surround]) -> _Window:
    """Take the surround from all four sides of the window."""
    top, bottom, left, right = window
    inner = samples[:, top:bottom, left:right]
    rows = lines(inner)
    columns = lines(inner.transpose(0, 2, 1))
    if rows.start + rows.end >= bottom - top or columns.start + columns.end >= right - left:
        return window
    return _Window(top + rows.start, bottom - rows.end, left + columns.start, right - columns.end)


def _one_colour(samples: Samples) -> _Surround:
    return _Surround(start=_colour_bar(samples), end=_colour_bar(samples[:, ::-1]))


def _colour_bar(samples: Samples) -> int:
    """Lines of one colour from the first on."""
    colour = float(np.median(samples[:, 0]))
    low, high = max(0.0, colour - SAME_LEVELS), colour + SAME_LEVELS
    share = ((samples >= low) & (samples <= high)).mean((0, 2))
    bar = _run(share >= LINE_SHARE)
    return _checked(bar, samples, MIN_BAR_SHARE)


def _still(samples: Samples) -> _Surround:
    if len(samples) < MIN_STILL_SAMPLES:
        return _Surround(start=0, end=0)
    moves = np.ptp(samples, axis=0) > SAME_LEVELS
    return _Surround(
        start=_still_bar(samples, moves), end=_still_bar(samples[:, ::-1], moves[::-1])
    )


def _still_bar(samples: Samples, moves: np.ndarray) -> int:
    bar = _run(moves.mean(1) <= 1 - LINE_SHARE)
    band = moves[bar + SOFT_PX : bar + SOFT_PX + max(2, round(0.02 * len(moves)))]
    is_screen = len(band) > 0 and band.any(0).mean() >= BORDER_SHARE
    return _checked(bar, samples, MIN_BAR_SHARE) if is_screen else 0


def _blurred(samples: Samples) -> _Surround:
    detail = _detail(samples)
    quarter = len(detail) // 4
    picture = float(np.median(detail[quarter : len(detail) - quarter]))
    is_blurred = detail <= BLUR_RATIO * picture
    start = _checked(_run(is_blurred), samples, MIN_BLUR_BAR_SHARE)
    end = _checked(_run(is_blurred[::-1]), samples[:, ::-1], MIN_BLUR_BAR_SHARE)
    is_even = abs(start - end) <= 0.1 * max(start, end)
    return _Surround(start=start, end=end) if is_even else _Surround(start=0, end=0)


def _detail(samples: Samples) -> Float[np.ndarray, " lines"]:
    """Strength of the finest detail of each line, as the sharpest tenth of its pixels has it."""
    edges = [np.abs(cv2.Laplacian(np.ascontiguousarray(s), cv2.CV_16S)) for s in samples]
    return np.mean([np.percentile(edge, 90, axis=1) for edge in edges], axis=0)


def _checked(bar: int, samples: Samples, least_share: float) -> int:
    """The bar with its soft border, or 0 where it is thin, or has no straight border."""
    inside = bar + 2 * SOFT_PX
    if bar < max(1, least_share * samples.shape[1]) or inside >= samples.shape[1]:
        return 0
    outside = max(0, bar - SOFT_PX)
    step = np.abs(samples[:, inside].astype(np.int16) - samples[:, outside]).max(0)
    return bar + SOFT_PX if (step > STEP_LEVELS).mean() >= BORDER_SHARE else 0


def _run(is_bar: np.ndarray) -> int:
    """How many at the start hold without a gap."""
    return len(is_bar) if is_bar.all() else int(np.argmin(is_bar))
