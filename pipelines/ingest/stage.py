"""The ingest stage: a source becomes `clips/<id>/{video.mp4,clip.json}` and one source record."""

import dataclasses
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipelines.ingest.normalise import ClipPlan, clip_fps, clip_id, plan_clip, split_evenly
from pipelines.ingest.shots import find_shots
from pipelines.ingest.sources import Source, find_sources
from pipelines.run import Accounting, Item, Rejected, Stage, run_stage
from pipelines.video_io import (
    VideoError,
    VideoInfo,
    encode_mp4,
    even_size,
    iterate_frames,
    probe,
)
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

VERSION = "1"
_DETECTION_SHORT_SIDE_PX = 144


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestSettings:
    """How footage is cut and normalised."""

    fps: float = 24.0
    """Rate of the clips; slower sources keep their own."""
    max_short_side_px: int = 720
    min_short_side_px: int = 64
    min_clip_s: float = 0.6
    max_clip_s: float = 10.0
    """Longer shots are split evenly."""
    cut_threshold: float = 3.0
    crf: int = 16
    licence: str = "unknown"
    """For sources whose list states none."""

    def __post_init__(self) -> None:
        """Validate every field."""
        if not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        if not 0 < self.min_clip_s < self.max_clip_s:
            raise ValueError(
                f"0 < min_clip_s < max_clip_s must hold, got {self.min_clip_s}, {self.max_clip_s}"
            )
        if not 2 <= self.min_short_side_px <= self.max_short_side_px:
            raise ValueError(
                f"2 <= min_short_side_px <= max_short_side_px must hold, got "
                f"{self.min_short_side_px}, {self.max_short_side_px}"
            )

    def normalisation(self) -> dict[str, Any]:
        """What, besides the span, decides the pixels of a clip."""
        return {"fps": self.fps, "max_short_side_px": self.max_short_side_px, "crf": self.crf}


def ingest(
    places: Sequence[str | Path],
    store: Store,
    settings: IngestSettings | None = None,
    workers: int = 0,
    allowed: Sequence[str] = (),
) -> Accounting:
    """Turn footage into clips in the store; one outcome per source.

    Args:
        places: See `find_sources`.
        store: Receives clips/, sources/ and results/ingest/.
        settings: Defaults where None.
        workers: 0 for this process, n for Ray actors.
        allowed: See `find_sources`.
    """
    settings = settings or IngestSettings()
    sources = find_sources(places, settings.licence, allowed)
    return ingest_sources(sources, store, settings, workers)


def ingest_sources(
    sources: Iterable[Source], store: Store, settings: IngestSettings, workers: int = 0
) -> Accounting:
    """`ingest` for sources already found."""
    return run_stage(ingest_stage(settings), map(_item, sources), store, workers)


def ingest_stage(settings: IngestSettings) -> Stage:
    """The stage for `run_stage`; its items are sources."""
    return Stage(
        name="ingest",
        version=VERSION,
        parameters=dataclasses.asdict(settings),
        work=IngestSource,
    )


def _item(source: Source) -> Item:
    content = json.dumps(dataclasses.asdict(source), sort_keys=True)
    return Item(key=source.key, content=content, value=source)


class IngestSource:
    """Makes the clips of one source; rejects what holds no usable footage."""

    def __init__(self, **parameters: Any):
        self.settings = IngestSettings(**parameters)

    def __call__(self, item: Item, store: Store) -> Iterator[tuple[str, bytes]]:
        """Yield the clips one after the other, then what was found in the source."""
        source: Source = item.value
        if source.refused:
            raise Rejected("outside_list", f"{source.uri}: {source.refused}")
        if source.duplicate_of:
            raise Rejected("duplicate", f"{source.uri} has the bytes of {source.duplicate_of}")
        try:
            yield from self._make_clips(source)
        except VideoError as error:
            raise Rejected(error.reason, error.detail) from error

    def _make_clips(self, source: Source) -> Iterator[tuple[str, bytes]]:
        settings = self.settings
        info = probe(source.local_path())
        short = min(info.width, info.height)
        if short < settings.min_short_side_px:
            raise Rejected(
                "too_small",
                f"{info.path.name}: {info.width}x{info.height} px, the short side must be at least "
                f"{settings.min_short_side_px}",
            )
        shots = self._find_shots(info)
        fps = clip_fps(info.fps, settings.fps)
        plans, dropped = self._plan(info, shots, fps)
        if not plans:
            raise Rejected(
                "too_short",
                f"{info.path.name}: {info.num_frames} frames at {info.fps:.2f} fps in "
                f"{len(shots)} shots, none lasts {settings.min_clip_s} s",
            )
        # One pass over the source for all clips: their frames come in order.
        size = even_size(info.height, info.width, settings.max_short_side_px)
        frames = iterate_frames(info, [i for plan in plans for i in plan.indices.tolist()], size)
        ids: list[str] = []
        for plan in plans:
            record = self._record(source, info, plan, fps, size)
            video = encode_mp4(itertools.islice(frames, len(plan.indices)), fps, settings.crf)
            yield f"clips/{record.clip_id}/video.mp4", video
            yield f"clips/{record.clip_id}/clip.json", record.to_json()
            ids.append(record.clip_id)
        yield f"sources/{source.key}.json", self._source_record(source, info, shots, ids, dropped)

    def _find_shots(self, info: VideoInfo) -> list[tuple[int, int]]:
        size = even_size(info.height, info.width, _DETECTION_SHORT_SIDE_PX)
        return find_shots(iterate_frames(info, size_px=size), info.fps, self.settings.cut_threshold)

    def _plan(
        self, info: VideoInfo, shots: Sequence[tuple[int, int]], fps: float
    ) -> tuple[list[ClipPlan], list[tuple[int, int]]]:
        max_frames = max(1, int(self.settings.max_clip_s * info.fps))
        plans: list[ClipPlan] = []
        dropped: list[tuple[int, int]] = []
        for shot in shots:
            for start, end in split_evenly(*shot, max_frames):
                plan = plan_clip(info, start, end, fps)
                if len(plan.indices) / fps >= self.settings.min_clip_s:
                    plans.append(plan)
                else:
                    dropped.append((start, end))
        return plans, dropped

    def _record(
        self, source: Source, info: VideoInfo, plan: ClipPlan, fps: float, size: tuple[int, int]
    ) -> ClipRecord:
        identity = self.settings.normalisation()
        return ClipRecord(
            clip_id=clip_id(source.sha256, plan, {**identity, "version": VERSION}),
            source="real",
            uri=source.uri,
            source_sha256=source.sha256,
            licence=source.licence,
            caption=source.caption,
            start_ns=plan.start_ns,
            end_ns=plan.end_ns,
            fps=fps,
            num_frames=len(plan.indices),
            height=size[0],
            width=size[1],
            timestamps_ns=info.timestamps_ns[plan.indices],
            provenance={"ingest": {**ingest_stage(self.settings).provenance(), **_facts(info)}},
        )

    def _source_record(
        self,
        source: Source,
        info: VideoInfo,
        shots: Sequence[tuple[int, int]],
        ids: Sequence[str],
        dropped: Sequence[tuple[int, int]],
    ) -> bytes:
        content = {
            **dataclasses.asdict(source),
            **_facts(info),
            "shots": shots,
            "clips": ids,
            "too_short": dropped,
        }
        return json.dumps(content, sort_keys=True).encode()


def _facts(info: VideoInfo) -> dict[str, Any]:
    return {
        "codec": info.codec,
        "pixel_format": info.pixel_format,
        "source_fps": info.fps,
        "source_frames": info.num_frames,
        "source_size_px": [info.height, info.width],
        "rotation_deg": info.rotation_deg,
        "stream_index": info.stream_index,
    }
