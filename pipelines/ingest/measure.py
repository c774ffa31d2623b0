"""What a clip looks like, in numbers that the filters of ingest compare with thresholds.

Every measure is taken on the clip's own rectangle, shrunk to a fixed short side, so that it does
not depend on the resolution of the source.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int64, UInt8

from pipelines.ingest.crop import Crop
from pipelines.video_io import VideoInfo, even_size, iterate_frames

MEASURES_PER_S = 4
"""Instants per second at which motion and fingerprint are taken."""
LOOK_PERIOD = 4
"""Blur and text are taken at every fourth."""
FLOW_SHORT_SIDE_PX = 144
LOOK_SHORT_SIDE_PX = 360
BLUR_REACH_PX = 9
NOISE_LEVELS = 1.0
"""Steps between neighbours up to here say nothing: rounding makes them, in blurred pictures too."""
GLYPH_CONTRAST = 45
"""Grey levels by which letters stand out from what is right beside them."""
GLYPH_HEIGHTS = (0.015, 0.12)
"""Of letters, as shares of the frame's height."""
MIN_GLYPHS = 5
"""In a row, of like height and close to each other: fewer are no line of text."""
THUMBNAIL_PX = 8
FLAT_LEVELS = 4.0
"""A frame that varies less has no hash that means anything."""

Grey = UInt8[np.ndarray, "_ _"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Measures:
    """Of one clip."""

    motion: float
    """How fast the fastest fiftieth of the picture moves from instant to instant on average, short
    sides per second. (From frame to frame, coding noise moves as fast as a person who stands.)"""
    sweep: float
    """How fast half of the picture moves for half of the time, short sides per second."""
    blur: float
    """0 sharp to 1: what further blurring would not take away (Crete and others 2007)."""
    text_share: float
    """Share of the picture that lines of text cover for a second or more, the median over time:
    letters laid over a moving picture stay, things that look like letters move on."""
    fingerprint: tuple[str, ...]
    """Four times a second a 64-bit perceptual hash and 8 x 8 grey levels, as 16 and 128 hex digits;
    empty for a frame without detail."""


@dataclass(kw_only=True, slots=True)
class _Meter:
    flow: cv2.DISOpticalFlow = field(
        default_factory=lambda: cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST)
    )
    before: tuple[Grey, float] | None = None
    """The instant before, and when it was."""
    motions: list[float] = field(default_factory=list[float])
    sweeps: list[float] = field(default_factory=list[float])
    blurs: list[float] = field(default_factory=list[float])
    texts: list[np.ndarray] = field(default_factory=list[np.ndarray])
    """Where letters are in the last look."""
    text_shares: list[float] = field(default_factory=list[float])
    hashes: list[str] = field(default_factory=list[str])

    def add(self, number: int, frames: tuple[Grey, Grey], times_s: tuple[float, float]) -> None:
        """Two neighbouring frames of the numbered instant, and when they were."""
        first = frames[0]
        now, soon = (_shrink(grey, FLOW_SHORT_SIDE_PX) for grey in frames)
        if times_s[1] > times_s[0]:
            self.sweeps.append(float(np.median(self._speed(now, soon, times_s[1] - times_s[0]))))
        if self.before and times_s[0] > self.before[1]:
            speed = self._speed(self.before[0], now, times_s[0] - self.before[1])
            self.motions.append(float(np.percentile(speed, 98)))
        self.before = (now, times_s[0])
        self.hashes.append(fingerprint(first))
        if number % LOOK_PERIOD == 0:
            self.blurs.append(blur(first))
            self._add_text(find_text(first))

    def _add_text(self, covered: np.ndarray) -> None:
        if self.texts:
            self.text_shares.append(float((covered & self.texts.pop()).mean()))
        self.texts.append(covered)

    def _speed(self, a: Grey, b: Grey, gap_s: float) -> Float[np.ndarray, "_ _"]:
        move_px = self.flow.calc(a, b, np.zeros((*a.shape, 2), np.float32))
        return np.linalg.norm(move_px, axis=-1) / min(a.shape) / gap_s

    def read(self) -> Measures:
        return Measures(
            motion=round(float(np.mean(self.motions or [0.0])), 4),
            sweep=round(float(np.median(self.sweeps or [0.0])), 4),
            blur=round(float(np.median(self.blurs)), 4),
            text_share=round(float(np.median(self.text_shares or [self.texts[0].mean()])), 4),
            fingerprint=tuple(self.hashes),
        )


def measure_clip(
    info: VideoInfo, indices: Int64[np.ndarray, " frames"], fps: float, crop: Crop
) -> Measures:
    """Measure a clip by reading a few of its frames; memory does not grow with its length.

    Args:
        info: The source.
        indices: Source frames of the clip.
        fps: Rate of the clip.
        crop: Rectangle of the source that the clip shows.
    """
    step = max(1, round(fps / MEASURES_PER_S))
    starts = range(0, max(1, len(indices) - 1), step)
    pairs = [(int(indices[i]), int(indices[min(i + 1, len(indices) - 1)])) for i in starts]
    times_s = info.timestamps_ns / 1e9
    # Pairs may share a frame or come close to each other, but never out of order.
    frames = iterate_frames(info, [index for pair in pairs for index in pair])
    meter = _Meter()
    for number, (a, b) in enumerate(pairs):
        looks = (_look(next(frames), crop), _look(next(frames), crop))
        meter.add(number, looks, (float(times_s[a]), float(times_s[b])))
    return meter.read()


def _look(frame: UInt8[np.ndarray, "_ _ 3"], crop: Crop) -> Grey:
    return _shrink(
        cv2.cvtColor(np.ascontiguousarray(crop.cut(frame)), cv2.COLOR_RGB2GRAY), LOOK_SHORT_SIDE_PX
    )


def _shrink(grey: Grey, short_side_px: int) -> Grey:
    height, width = even_size(grey.shape[0], grey.shape[1], short_side_px)
    return cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA)


def blur(grey: Grey) -> float:
    """How little a further blur changes the steps between neighbours, in the worse direction."""
    picture = grey.astype(np.float32)
    found: list[float] = []
    for axis, kernel in ((0, (1, BLUR_REACH_PX)), (1, (BLUR_REACH_PX, 1))):
        steps = np.maximum(np.abs(np.diff(picture, axis=axis)) - NOISE_LEVELS, 0)
        blurred = np.abs(np.diff(cv2.blur(picture, kernel), axis=axis))
        blurred = np.maximum(blurred - NOISE_LEVELS / BLUR_REACH_PX, 0)
        lost = np.maximum(0, steps - blurred).sum()
        found.append(float(1 - lost / max(float(steps.sum()), 1e-6)))
    return max(found)


def fingerprint(grey: Grey) -> str:
    """Equal or near for the same picture at another size or quality; empty where it is flat."""
    if grey.std() < FLAT_LEVELS:
        return ""
    levels = cv2.resize(grey, (THUMBNAIL_PX, THUMBNAIL_PX), interpolation=cv2.INTER_AREA)
    # The coarse half of a cosine transform, each term above or below the middle one.
    coarse = cv2.dct(cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32))
    bits = np.packbits(coarse[:8, :8] > np.median(coarse[:8, :8]))
    return bits.tobytes().hex() + levels.tobytes().hex()


def find_text(grey: Grey) -> Bool[np.ndarray, "_ _"]:
    """Boxes around lines of letters.

    Letters are thin marks that stand out from their surroundings, of like height, side by side.
    """
    reach = max(3, round(grey.shape[0] * 0.03)) | 1
    kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (reach, reach))
    covered = np.zeros(grey.shape, bool)
    for kind in (cv2.MORPH_TOPHAT, cv2.MORPH_BLACKHAT):  # light letters, dark letters
        marks = cv2.morphologyEx(grey, kind, kernel) > GLYPH_CONTRAST
        for top, left, bottom, right in _text_lines(marks.astype(np.uint8), grey.shape[0]):
            covered[top:bottom, left:right] = True
    return covered


def _text_lines(marks: Grey, height: int) -> list[tuple[int, int, int, int]]:
    """Boxes (top, left, bottom, right) of rows of letters."""
    _, _, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    low, high = (share * height for share in GLYPH_HEIGHTS)
    _, _, w, h, area = stats[1:].T
    is_glyph = (h >= max(5, low)) & (h <= high) & (w <= 3 * h) & (area >= 0.15 * w * h) & (w >= 2)
    boxes = stats[1:][is_glyph][:, :4]
    rest = [tuple(int(v) for v in box) for box in boxes[np.argsort(boxes[:, 0])]]
    lines: list[tuple[int, int, int, int]] = []
    while rest:
        line = _take_line(rest)
        if len(line) >= MIN_GLYPHS:
            left, top = min(b[0] for b in line), min(b[1] for b in line)
            right, bottom = max(b[0] + b[2] for b in line), max(b[1] + b[3] for b in line)
            lines.append((top, left, bottom, right))
    return lines


def _take_line(rest: list[tuple[int, ...]]) -> Sequence[tuple[int, ...]]:
    """Remove from the boxes, ordered from left to right, one row that begins with the first."""
    line = [rest.pop(0)]
    for box in list(rest):
        last = line[-1]
        gap = box[0] - (last[0] + last[2])
        tallest = max(last[3], box[3])
        if gap > 1.6 * tallest:
            break
        overlap = min(last[1] + last[3], box[1] + box[3]) - max(last[1], box[1])
        if gap >= -0.3 * tallest and overlap >= 0.6 * min(last[3], box[3]) and (
            min(last[3], box[3]) >= 0.5 * tallest
        ):  # fmt: skip
            line.append(box)
            rest.remove(box)
    return line
