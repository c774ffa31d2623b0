"""What rendering many clips would take, from a few rendered with the very settings.

Nothing is kept. Time is processor time of this process and its children, so that a busy machine
tells the same as a free one; one worker is taken to keep one core busy.
"""

import os
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from pipelines.run import Rejected
from pipelines.synthetic.naming import camera_name
from pipelines.synthetic.produce import RenderSettings, draw_scenes, render
from pipelines.synthetic.scene import SceneSettings, SceneSpec
from storage_schemas.shards import clip_entries

MAX_DRAWN = 2000
DRAWING_S = 5.0
"""Seeds drawn to tell what would be rendered, and for how long at most."""
TOLD_KINDS = 12
"""Most frequent kinds that lines for people name."""
CONFIDENCE = 1.96
"""Standard errors about the mean that hold 95 % of a normal distribution."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean and spread of a measure over sampled clips."""

    mean: float
    std: float
    error: float
    """Half the 95 % interval of the mean."""

    @staticmethod
    def of(values: Sequence[int | float]) -> "Spread":
        """Of at least one value; one alone has no spread."""
        std = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
        error = CONFIDENCE * std / np.sqrt(len(values))
        return Spread(mean=float(np.mean(values)), std=std, error=float(error))


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run over seeds would take and hold."""

    num_clips: int
    num_frames: float
    """Per clip, on average."""
    num_sampled: int
    rejected: Mapping[str, int]
    """Reason -> sampled clips that would be left out."""
    cpu_s: Spread
    """Per clip, one core, labels and encoding included."""
    wall_s: Spread
    """Per clip, as it went here with one worker."""
    size_bytes: Spread
    """Per clip, as it lies in a shard."""
    start_s: float
    """Processor time of the first clip above the mean: what a worker loads once."""
    drawn: Mapping[str, Mapping[str, float]]
    """Shares of what would be rendered: cameras, motions, people."""

    def totals(self, workers: int, price: float) -> dict[str, float]:
        """Of the whole run.

        Args:
            workers: Cores at work, at least one.
            price: Of one core for one hour.
        """
        workers = max(1, workers)
        cpu_h = (self.num_clips * self.cpu_s.mean + workers * self.start_s) / 3600
        return {
            "cpu_hours": cpu_h,
            "wall_hours": cpu_h / workers,
            "cost": cpu_h * price,
            "bytes": self.num_clips * self.size_bytes.mean,
            "frames_per_cpu_s": self.num_frames / self.cpu_s.mean,
            "relative_error": self.cpu_s.error / self.cpu_s.mean,
        }


def estimate(
    seeds: Sequence[int],
    settings: SceneSettings,
    how: RenderSettings | None = None,
    num_samples: int = 8,
) -> Estimate:
    """Render a few scenes, evenly spread over the seeds, and throw them away.

    Raises:
        ValueError: If the settings name a folder that holds nothing usable, or no sampled clip
            could be rendered.
    """
    how = how or RenderSettings()
    chosen = _spread(seeds, num_samples)
    scenes, undrawn = _draw(chosen, settings, how)
    if not scenes:
        raise ValueError(f"no scene could be drawn from {len(chosen)} sampled seeds: {undrawn[0]}")
    first = _measure(scenes[0], how)  # loads the body, compiles the shaders; not counted
    measured = [*(_measure(spec, how) for spec in scenes), *undrawn]
    rows = [row for row in measured if not isinstance(row, Rejected)]
    rejected = Counter(row.reason for row in measured if isinstance(row, Rejected))
    if not rows:
        raise ValueError(f"none of {len(measured)} sampled clips could be rendered: {measured[0]}")
    drawn, _ = _draw(_shuffled(seeds), settings, how, DRAWING_S)
    cpu_s, wall_s, sizes = zip(*rows, strict=True)
    mean = Spread.of(cpu_s)
    return Estimate(
        num_clips=len(seeds) * how.views,
        num_frames=float(np.mean([spec.num_frames for spec in drawn])),
        num_sampled=len(measured),
        rejected=dict(rejected),
        cpu_s=mean,
        wall_s=Spread.of(wall_s),
        size_bytes=Spread.of(sizes),
        start_s=0.0 if isinstance(first, Rejected) else max(0.0, first[0] - mean.mean),
        drawn=_shares(drawn),
    )


def _spread(seeds: Sequence[int], count: int) -> list[int]:
    places = np.linspace(0, len(seeds) - 1, min(count, len(seeds))).round().astype(int)
    return [seeds[int(place)] for place in places]


def _shuffled(seeds: Sequence[int]) -> list[int]:
    """Some seeds in an order that is no trend, the same at every call."""
    chosen = _spread(seeds, MAX_DRAWN)
    return [chosen[int(place)] for place in np.random.default_rng(0).permutation(len(chosen))]


def _draw(
    seeds: Sequence[int], settings: SceneSettings, how: RenderSettings, most_s: float = np.inf
) -> tuple[list[SceneSpec], list[Rejected]]:
    """Scenes of as many seeds as can be drawn in a time, at least of one; and rejections."""
    scenes: list[SceneSpec] = []
    rejected: list[Rejected] = []
    end_s = time.perf_counter() + most_s
    for seed in seeds:
        try:
            scenes += draw_scenes(seed, settings, how)
        except Rejected as rejection:
            rejected.append(rejection)
        if scenes and time.perf_counter() > end_s:
            break
    return scenes, rejected


def _measure(spec: SceneSpec, how: RenderSettings) -> tuple[float, float, int] | Rejected:
    cpu_s, wall_s = _cpu_s(), time.perf_counter()
    try:
        entries = clip_entries(spec.clip_id, render(spec, how))
    except Rejected as rejected:
        return rejected
    return _cpu_s() - cpu_s, time.perf_counter() - wall_s, len(entries)


def _cpu_s() -> float:
    return sum(os.times()[:4])


def _shares(scenes: Sequence[SceneSpec]) -> dict[str, dict[str, float]]:
    people = [person for spec in scenes for person in spec.people]
    return {
        "camera": _share([camera_name(asdict(spec.camera)) for spec in scenes]),
        "motion": _share([person.motion for person in people]),
        "people": _share([str(len(spec.people)) for spec in scenes]),
        "place": _share([spec.environment.kind for spec in scenes]),
    }


def _share(names: Sequence[str]) -> dict[str, float]:
    return {name: count / len(names) for name, count in Counter(names).most_common()}


def tell_estimate(found: Estimate, workers: int, price: float) -> str:
    """The estimate in lines for people."""
    totals = found.totals(workers, price)
    workers = max(1, workers)
    rate = f"{totals['frames_per_cpu_s']:.1f} frames per CPU-second"
    cpu, size = found.cpu_s, found.size_bytes
    lines = [
        f"measured on {found.num_sampled} clips: {cpu.mean:.2f} +- {cpu.std:.2f} CPU-s per clip "
        f"({rate}), {size.mean / 1e6:.2f} +- {size.std / 1e6:.2f} MB per clip"
    ]
    if found.rejected:
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(found.rejected.items()))
        lines.append(f"of the sampled clips left out: {told}")
    lines += [
        f"{found.num_clips} clips: {_hours(totals['cpu_hours'])} of one core "
        f"(+-{totals['relative_error']:.0%}), {_hours(totals['wall_hours'])} with {workers} "
        f"worker{'s' if workers > 1 else ''}, {_size(totals['bytes'])}, "
        f"cost {totals['cost']:.2f} at {price:g} per core-hour",
    ]
    for name, shares in found.drawn.items():
        most = list(shares.items())[:TOLD_KINDS]
        told = ", ".join(f"{kind} {share:.0%}" for kind, share in most)
        others = len(shares) - len(most)
        lines.append(f"{name}: {told}" + (f" and {others} rarer kinds" if others else ""))
    return "\n".join(lines)


def _hours(hours: float) -> str:
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.1f} min"


def _size(size_bytes: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size_bytes < 1000:
            return f"{size_bytes:.3g} {unit}"
        size_bytes /= 1000
    return f"{size_bytes:.3g} TB"
