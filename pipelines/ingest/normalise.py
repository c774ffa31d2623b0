"""From a shot to clips: an even grid in time, an even size in space, a stable name."""

import hashlib
import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
from jaxtyping import Int64

from pipelines.video_io import VideoInfo


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipPlan:
    """Which source frames make one clip."""

    start_ns: int
    end_ns: int
    """First instant after the clip, half-open."""
    indices: Int64[np.ndarray, " frames"]
    """Source frame shown at each instant of the grid; repeats where the source has a gap."""


def clip_fps(source_fps: float, wanted_fps: float) -> float:
    """The clip's constant rate: the wanted one, but never above the source's (no made-up frames).

    The rate is a fraction that mp4 can state exactly, such as 30000/1001.
    """
    return float(Fraction(min(source_fps, wanted_fps)).limit_denominator(1001))


def split_evenly(start: int, end: int, max_frames: int) -> list[tuple[int, int]]:
    """Cut [start, end) into the fewest near-equal spans of at most max_frames source frames."""
    pieces = max(1, math.ceil((end - start) / max_frames))
    edges = [start + round(piece * (end - start) / pieces) for piece in range(pieces + 1)]
    return list(itertools.pairwise(edges))


def plan_clip(info: VideoInfo, start: int, end: int, fps: float) -> ClipPlan:
    """Resample source frames [start, end) to a constant rate by the nearest real timestamp."""
    times = info.timestamps_ns[start:end]
    after_last = int(times[-1]) + round(1e9 / info.fps)
    end_ns = int(info.timestamps_ns[end]) if end < info.num_frames else after_last
    # The small slack keeps the last frame when rounding to nanoseconds took it away.
    num = math.floor(float(times[-1] - times[0]) * fps / 1e9 + 1e-3) + 1
    grid = times[0] + np.round(np.arange(num) * (1e9 / fps)).astype(np.int64)
    middles = (times[:-1] + times[1:]) // 2
    indices = start + np.searchsorted(middles, grid, side="left")
    return ClipPlan(start_ns=int(times[0]), end_ns=end_ns, indices=indices.astype(np.int64))


def clip_id(source_sha256: str, plan: ClipPlan, parameters: Mapping[str, Any]) -> str:
    """32 hex digits over source content, span and normalisation: same input, same id."""
    parts = [source_sha256, plan.start_ns, plan.end_ns, dict(parameters)]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]
