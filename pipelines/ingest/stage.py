"""The ingest stage: a source becomes `clips/<id>/{video.mp4,clip.json}` and one source record."""

import dataclasses
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from jaxtyping import UInt8

from pipelines.ingest.crop import NUM_SAMPLES, Crop, find_crop
from pipelines.ingest.duplicates import drop_duplicates
from pipelines.ingest.measure import Measures, measure_clip
from pipelines.ingest.normalise import ClipPlan, clip_fps, clip_id, plan_clip, split_evenly
from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.shots import find_shots
from pipelines.ingest.sources import Source, find_sources
from pipelines.run import Accounting, Item, Rejected, Stage, read_results, run_stage, sha256_file
from pipelines.video_io import (
    VideoError,
    VideoInfo,
    encode_mp4,
    even_size,
    iterate_frames,
    probe,
    resize_area,
)
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

VERSION = "2"
_DETECTION_SHORT_SIDE_PX = 144


@dataclass(frozen=True, kw_only=True, slots=True)
class Piece:
    """A part of one shot that becomes a clip, or the reason why it does not."""

    plan: ClipPlan
    span: tuple[int, int]
    """Source frames, half-open."""
    crop: Crop
    measures: Measures | None = None
    reason: str = ""
    detail: str = ""


def ingest(
    places: Sequence[str | Path],
    store: Store,
    settings: IngestSettings | None = None,
    workers: int = 0,
    allowed: Sequence[str] = (),
) -> list[Accounting]:
    """Turn footage into clips in the store; one outcome per source, per piece, and per clip.

    Args:
        places: See `find_sources`.
        store: Receives clips/, sources/ and results/ingest/.
        settings: Defaults where None.
        workers: 0 for this process, n for Ray actors.
        allowed: See `find_sources`.

    Returns:
        Accounts of the sources, of the pieces that their shots were cut into, and of all clips of
        the store compared with each other.
    """
    settings = settings or IngestSettings()
    sources = find_sources(places, settings.licence, allowed, settings.max_source_bytes)
    return ingest_sources(sources, store, settings, workers)


def ingest_sources(
    sources: Iterable[Source], store: Store, settings: IngestSettings, workers: int = 0
) -> list[Accounting]:
    """`ingest` for sources already found."""
    items = [_item(source) for source in sources]
    account = run_stage(ingest_stage(settings), items, store, workers)
    pieces = _account_pieces(store, {item.key for item in items}, account)
    return [account, pieces, drop_duplicates(store, workers)]


def _account_pieces(store: Store, keys: set[str], sources: Accounting) -> Accounting:
    """Where the pieces of the sources that were kept went."""
    reasons: Counter[str] = Counter()
    for result in read_results(store, "ingest"):
        if result.key in keys and result.status == "kept":
            record = json.loads(store.read(f"sources/{result.key}.json"))
            reasons.update(piece["reason"] for piece in record["pieces"])
    kept = reasons.pop("", 0)
    total = kept + reasons.total()
    is_reused = sources.inputs == sources.reused
    return Accounting(
        stage="pieces",
        inputs=total,
        kept=kept,
        filtered=dict(reasons),
        failed={},
        reused=total if is_reused else 0,
    )


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
            raise Rejected(source.refused, f"{source.uri}: {source.why}")
        if source.duplicate_of:
            raise Rejected("duplicate", f"{source.uri} has the bytes of {source.duplicate_of}")
        path = source.local_path(self.settings.max_source_bytes)
        if path.stat().st_size > self.settings.max_source_bytes:
            raise Rejected(
                "too_many_bytes",
                f"{source.uri} has {path.stat().st_size} bytes, at most "
                f"{self.settings.max_source_bytes} are taken",
            )
        # The listing may have met a moment of bad luck; without a hash clips would share ids.
        source = replace(source, sha256=source.sha256 or sha256_file(path))
        try:
            info = probe(path)
            yield from self._make_clips(source, info)
        except VideoError as error:
            raise Rejected(error.reason, error.detail) from error

    def _make_clips(self, source: Source, info: VideoInfo) -> Iterator[tuple[str, bytes]]:
        least = self.settings.min_short_side_px
        if min(info.width, info.height) < least:
            size = f"{info.width}x{info.height} px"
            raise Rejected(
                "too_small", f"{info.path.name}: {size}, the short side is below {least}"
            )
        shots = self._find_shots(info)
        fps = clip_fps(info.fps, self.settings.fps)
        pieces = [piece for shot in shots for piece in self._cut(info, shot, fps)]
        wanted = [piece for piece in pieces if not piece.reason]
        if not wanted:
            raise _none_left(info, pieces)
        ids: dict[tuple[int, int], str] = {}
        # One pass over the source for all clips: their frames come in order.
        frames = iterate_frames(info, [i for p in wanted for i in p.plan.indices.tolist()])
        for piece in wanted:
            size = self._clip_size(piece.crop)
            record = self._record(source, info, piece, fps, size)
            shown = (
                resize_area(piece.crop.cut(frame), size)
                for frame in itertools.islice(frames, record.num_frames)
            )
            yield f"clips/{record.clip_id}/video.mp4", encode_mp4(shown, fps, self.settings.crf)
            yield f"clips/{record.clip_id}/clip.json", record.to_json()
            ids[piece.span] = record.clip_id
        yield f"sources/{source.key}.json", _source_record(source, info, shots, pieces, ids)

    def _find_shots(self, info: VideoInfo) -> list[tuple[int, int]]:
        size = even_size(info.height, info.width, _DETECTION_SHORT_SIDE_PX)
        return find_shots(iterate_frames(info, size_px=size), info.fps, self.settings.cut_threshold)

    def _cut(self, info: VideoInfo, shot: tuple[int, int], fps: float) -> Iterator[Piece]:
        """The pieces of a shot, measured and judged."""
        settings = self.settings
        crop = find_crop(_sample(info, shot))
        for start, end in split_evenly(*shot, max(1, int(settings.max_clip_s * info.fps))):
            plan = plan_clip(info, start, end, fps)
            piece = Piece(plan=plan, span=(start, end), crop=crop)
            if min(crop.height, crop.width) < settings.min_short_side_px:
                reason = "too_small"
                detail = f"{crop.width}x{crop.height} px is below {settings.min_short_side_px}"
            elif len(plan.indices) / fps < settings.min_clip_s:
                reason = "too_short"
                detail = f"{len(plan.indices) / fps:.2f} s is below {settings.min_clip_s}"
            else:
                measures = measure_clip(info, plan.indices, fps, crop)
                reason, detail = settings.find_fault(measures)
                piece = replace(piece, measures=measures)
            yield replace(piece, reason=reason, detail=detail)

    def _clip_size(self, crop: Crop) -> tuple[int, int]:
        return even_size(crop.height, crop.width, self.settings.max_short_side_px)

    def _record(
        self, source: Source, info: VideoInfo, piece: Piece, fps: float, size: tuple[int, int]
    ) -> ClipRecord:
        plan, identity = piece.plan, self.settings.normalisation()
        facts = {**_facts(info), "crop_px": piece.crop}
        return ClipRecord(
            clip_id=clip_id(
                source.sha256, plan, {**identity, "crop": piece.crop, "version": VERSION}
            ),
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
            provenance={"ingest": {**ingest_stage(self.settings).provenance(), **facts}},
        )


def _sample(info: VideoInfo, shot: tuple[int, int]) -> UInt8[np.ndarray, "samples height width"]:
    """Grey frames from all over a shot."""
    start, end = shot
    indices = np.unique(np.linspace(start, end - 1, NUM_SAMPLES).round().astype(np.int64))
    frames = iterate_frames(info, indices.tolist())
    return np.stack([cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in frames])


def _none_left(info: VideoInfo, pieces: Sequence[Piece]) -> Rejected:
    """The commonest reason speaks for the source; the counts of all are in the detail."""
    counts = Counter(piece.reason for piece in pieces)
    reason = counts.most_common(1)[0][0]
    listed = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()))
    first = next(piece.detail for piece in pieces if piece.reason == reason)
    return Rejected(
        reason,
        f"{info.path.name}: {len(pieces)} pieces = 0 kept + {len(pieces)} filtered ({listed}); "
        f"{first}; {info.num_frames} frames of {info.width}x{info.height} px at {info.fps:.2f} fps",
    )


def _source_record(
    source: Source,
    info: VideoInfo,
    shots: Sequence[tuple[int, int]],
    pieces: Sequence[Piece],
    ids: Mapping[tuple[int, int], str],
) -> bytes:
    content = {
        **dataclasses.asdict(source),
        **_facts(info),
        "shots": shots,
        "clips": list(ids.values()),
        "pieces": [
            {
                "start": piece.span[0],
                "end": piece.span[1],
                "crop": piece.crop,
                "measures": dataclasses.asdict(piece.measures) if piece.measures else None,
                "reason": piece.reason,
                "detail": piece.detail,
                "clip_id": ids.get(piece.span, ""),
            }
            for piece in pieces
        ],
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
