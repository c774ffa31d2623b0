"""Finished clips to shards: merge what the stages found, check it, write deterministic tars.

    shards/<name>/shard-000000.tar ...   and, last, shards/<name>/index.json

Shards are items of a stage, so packing stops and goes on like every other work.
"""

import dataclasses
import hashlib
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, cast

from pipelines.run import Accounting, Item, Rejected, Stage, StageStopped, read_results, run_stage
from storage_schemas import shards as layout
from storage_schemas.arrays import read_npz
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import Manifest, ShardEntry, check_name, index_key
from storage_schemas.shards import write_shard
from storage_schemas.store import Store

VERSION = "2"
CAPTION = "caption.json"
"""{"caption": text}, written by the captioner."""
QUALITY = "quality.json"
"""{name: number}, written by the quality stage."""
REQUIRED = (layout.CLIP, layout.VIDEO)
_READERS = 16
_OF_A_SEED = "synthetic:seed="
Clip = tuple[str, tuple[str, ...]]
"""A clip id and the store keys of what goes into its shard."""
# The axis of each array that counts the frames of the clip.
_FRAME_AXES: dict[str, dict[str, int]] = {
    layout.BODY: {"body_pose": 1, "visible": 1},
    layout.CAMERA: {"K": 0, "T_camera_world": 0},
    layout.MASK: {"instance": 0},
    layout.BACKGROUND_VALID: {"valid": 0},
    layout.POINTS: {"xy_px": 1},
    layout.DEPTH: {"depth_bits": 1},
}


@dataclass(frozen=True, kw_only=True, slots=True)
class PackSettings:
    """How clips are grouped and split."""

    samples_per_shard: int = 64
    """One shard is held in memory while it is written."""
    validation_share: float = 0.05
    test_share: float = 0.05
    """Shares of sources, by hash: clips of one source never fall into two splits."""
    required: tuple[str, ...] = ()
    """Members beyond clip and video that a clip must have."""
    rendered_px: int = 0
    """Width of the rendered clips to take; 0 takes all."""
    labels_apart: bool = False
    """Videos go to shards of their own, which new labels leave as they are."""

    def __post_init__(self) -> None:
        """Validate every field."""
        if self.samples_per_shard < 1:
            raise ValueError(f"samples_per_shard must be at least 1, got {self.samples_per_shard}")
        if self.rendered_px < 0:
            raise ValueError(f"rendered_px must be 0 or more, got {self.rendered_px}")
        if min(self.validation_share, self.test_share) < 0 or self.held_out_share > 1:
            raise ValueError(
                f"validation_share and test_share must be shares, got {self.validation_share} "
                f"and {self.test_share}"
            )
        unknown = sorted(set(self.required) - set(layout.MEMBERS))
        if unknown:
            raise ValueError(f"required must be members of a clip, got {unknown}")

    @property
    def held_out_share(self) -> float:
        """Share of sources that are not for training."""
        return self.validation_share + self.test_share

    def takes(self, record: ClipRecord) -> bool:
        """Whether a clip is of the size that is asked for."""
        is_any = not self.rendered_px or record.source != "synthetic"
        return is_any or record.width == self.rendered_px

    def split(self, source_sha256: str) -> Literal["train", "validation", "test"]:
        """Where clips of a source belong; the same for ever, whatever else is packed."""
        digest = hashlib.sha256(f"split {source_sha256}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        if draw < self.test_share:
            return "test"
        return "validation" if draw < self.held_out_share else "train"


@dataclass(frozen=True, kw_only=True, slots=True)
class PackReport:
    """What was packed."""

    index: Manifest
    accounting: Accounting
    """Counts clips; those of shards that did not change count as reused."""

    def summary(self) -> str:
        """One line whose counts add up."""
        size_mb = sum(shard.size_bytes for shard in self.index.shards) / 1e6
        splits = ", ".join(f"{name} {count}" for name, count in sorted(self.index.splits.items()))
        return f"{self.accounting.summary()}; {len(self.index.shards)} shards, {size_mb:.1f} MB" + (
            f" ({splits})" if splits else ""
        )


def pack(
    store: Store,
    name: str,
    clip_ids: Sequence[str] | None = None,
    settings: PackSettings | None = None,
    workers: int = 0,
) -> PackReport:
    """Write shards/<name>/ from the work area; the same clips give the same bytes.

    A clip that any stage filtered or failed is left out and counted with that stage's reason.

    Args:
        store: Holds clips/ and results/; receives shards/.
        name: Of the packed set.
        clip_ids: Which clips; None means all.
        settings: Defaults where None.
        workers: 0 for this process, n for Ray actors.

    Raises:
        ValueError: There is no clip to pack, or one seed was rendered in several ways.
    """
    settings = settings or PackSettings()
    check_name(name)
    members = _list_members(store)
    wanted = sorted(members if clip_ids is None else set(clip_ids))
    outcomes, stages = _read_outcomes(store)
    _check_clips(store, [clip_id for clip_id in wanted if clip_id not in outcomes], members)
    checked = {result.key: result for result in read_results(store, "check")}
    kept: list[str] = []
    reasons: dict[str, Counter[str]] = {"filtered": Counter(), "failed": Counter()}
    for clip_id in wanted:
        missing = [m for m in (*REQUIRED, *settings.required) if m not in members.get(clip_id, ())]
        if clip_id in outcomes:
            status, reason = outcomes[clip_id]
            reasons[status][reason] += 1
        elif missing:
            reasons["filtered"][f"without {missing[0]}"] += 1
        elif checked[clip_id].status != "kept":
            reasons[checked[clip_id].status][f"check: {checked[clip_id].reason}"] += 1
        else:
            kept.append(clip_id)
    records = _read_records(store, kept)
    kept = [clip_id for clip_id in kept if settings.takes(records[clip_id])]
    if len(kept) < len(records):
        reasons["filtered"]["another size"] = len(records) - len(kept)
    if not kept:
        why = {**reasons["filtered"], **reasons["failed"]} or "there are no clips"
        raise ValueError(f"nothing to pack as {name!r}: {why}; ingest or render first")
    _check_renderings([records[clip_id] for clip_id in kept])
    # While there is no index nobody reads half-replaced shards.
    store.delete(index_key(name))
    items = _plan_shards(name, kept, members, stages, settings)
    stage = Stage(
        name="pack", version=VERSION, parameters=dataclasses.asdict(settings), work=PackShard
    )
    shard_run = run_stage(stage, items, store, workers)
    if shard_run.kept != len(items):
        raise StageStopped(f"{shard_run.summary()}; see results/pack/{name}-*.json")
    splits = Counter(settings.split(records[clip_id].source_sha256) for clip_id in kept)
    index = _index(store, name, splits, items, settings)
    _remove_older(store, name, items)
    store.write(index_key(name), index.to_json())
    accounting = Accounting(
        stage="pack",
        inputs=len(wanted),
        kept=len(kept),
        filtered=dict(reasons["filtered"]),
        failed=dict(reasons["failed"]),
        reused=len(kept) if shard_run.reused == len(items) else 0,
    )
    return PackReport(index=index, accounting=accounting)


class PackShard:
    """Writes one shard; the item's value is (shard key, clip id -> store keys)."""

    def __init__(self, **parameters: Any):
        self.settings = PackSettings(**{**parameters, "required": tuple(parameters["required"])})

    def __call__(self, item: Item, store: Store) -> Mapping[str, bytes]:
        """Merge, check and write the clips of a shard."""
        key, clips = item.value
        buffer = io.BytesIO()
        write_shard(((name, self._sample(store, parts)) for name, parts in clips), buffer)
        return {key: buffer.getvalue()}

    def _sample(self, store: Store, keys: Sequence[str]) -> dict[str, bytes]:
        parts = {key.rpartition("/")[2]: store.read(key) for key in keys if "results/" not in key}
        if layout.CLIP not in parts:
            return parts
        record = ClipRecord.from_json(parts.pop(layout.CLIP))
        provenance = dict(record.provenance)
        for key in keys:
            if key.startswith("results/"):
                content = json.loads(store.read(key))
                # What a record says of its own making is richer: a rendered clip names its scene.
                provenance.setdefault(key.split("/")[1], content["provenance"])
        record = dataclasses.replace(
            record,
            caption=_load(parts.pop(CAPTION, b"{}")).get("caption", record.caption),
            quality={**record.quality, **_load(parts.pop(QUALITY, b"{}"))},
            provenance=provenance,
            split=self.settings.split(record.source_sha256),
        )
        return {layout.CLIP: record.to_json(), **parts}


def _load(data: bytes) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(data))


def _check_clips(
    store: Store, clip_ids: Sequence[str], members: Mapping[str, Mapping[str, str]]
) -> None:
    """Run the stage that compares the labels of each clip with its record."""
    items: list[Item] = []
    for clip_id in clip_ids:
        parts = members.get(clip_id, {})
        if all(name in parts for name in REQUIRED):
            names = (layout.CLIP, *sorted(parts.keys() & _FRAME_AXES.keys()))
            items.append(Item(key=clip_id, inputs=tuple(parts[name] for name in names)))
    run_stage(Stage(name="check", version=VERSION, work=check_clip), items, store)


def check_clip(item: Item, store: Store) -> Mapping[str, bytes]:
    """Reject a clip whose labels were made for another clip or another length."""
    parts = {str(key).rpartition("/")[2]: store.read(str(key)) for key in item.inputs}
    record = ClipRecord.from_json(parts.pop(layout.CLIP))
    if record.clip_id != item.key:
        raise Rejected("inconsistent", f"the record names clip {record.clip_id}")
    for member, data in parts.items():
        arrays = read_npz(data)
        for name, axis in _FRAME_AXES[member].items():
            frames = arrays[name].shape[axis] if name in arrays else 0
            if frames != record.num_frames:
                raise Rejected(
                    "inconsistent",
                    f"{member}: {name} must have {record.num_frames} frames, got {frames}; "
                    "annotate the clip again",
                )
    return {}


def _read_records(store: Store, clip_ids: Sequence[str]) -> dict[str, ClipRecord]:
    keys = [f"clips/{clip_id}/{layout.CLIP}" for clip_id in clip_ids]
    with ThreadPoolExecutor(_READERS if store.is_remote else 1) as pool:
        read = pool.map(store.read, keys)
        return {i: ClipRecord.from_json(data) for i, data in zip(clip_ids, read, strict=True)}


def _check_renderings(records: Sequence[ClipRecord]) -> None:
    """Refuse a seed that was rendered twice: its clips would be of one world in two splits."""
    first: dict[str, ClipRecord] = {}
    for record in records:
        other = first.setdefault(record.uri, record)
        is_rendered = record.uri.startswith(_OF_A_SEED)
        if is_rendered and other.source_sha256 != record.source_sha256:
            raise ValueError(
                f"{record.uri} was rendered in two ways, clip {other.clip_id} ({_tell(other)}) and "
                f"{record.clip_id} ({_tell(record)}); take one size (rendered_px), delete clips of "
                "one, or render other seeds"
            )


def _tell(record: ClipRecord) -> str:
    return f"{record.width} x {record.height} x {record.num_frames} frames"


def _list_members(store: Store) -> dict[str, dict[str, str]]:
    """Clip id -> file name -> store key, of what goes into a shard."""
    members: dict[str, dict[str, str]] = {}
    for key in store.list("clips/"):
        _, clip_id, name = key.split("/", 2)
        if name in layout.MEMBERS or name in (CAPTION, QUALITY):
            members.setdefault(clip_id, {})[name] = key
    return members


def _read_outcomes(store: Store) -> tuple[dict[str, tuple[str, str]], dict[str, list[str]]]:
    """What stages said of each clip: the worst outcome, and the results that name it."""
    outcomes: dict[str, tuple[str, str]] = {}
    results: dict[str, list[str]] = {}
    for stage in sorted({key.split("/")[1] for key in store.list("results/")} - {"pack", "check"}):
        for result in read_results(store, stage):
            results.setdefault(result.key, []).append(f"results/{stage}/{result.key}.json")
            if result.status != "kept":
                outcomes.setdefault(result.key, (result.status, f"{stage}: {result.reason}"))
    return outcomes, results


def _plan_shards(
    name: str,
    clip_ids: Sequence[str],
    members: Mapping[str, Mapping[str, str]],
    results: Mapping[str, Sequence[str]],
    settings: PackSettings,
) -> list[Item]:
    items: list[Item] = []
    for first in range(0, len(clip_ids), settings.samples_per_shard):
        number = f"{first // settings.samples_per_shard:06d}"
        media: list[Clip] = []
        labels: list[Clip] = []
        for clip_id in clip_ids[first : first + settings.samples_per_shard]:
            files = members[clip_id]
            apart = settings.labels_apart
            videos = tuple(files[m] for m in files if apart and m in layout.MEDIA)
            rest = tuple(files[m] for m in files if not (apart and m in layout.MEDIA))
            media.append((clip_id, videos))
            labels.append((clip_id, (*rest, *results.get(clip_id, ()))))
        if settings.labels_apart:
            items.append(_shard_item(name, number, media))
            number += ".labels"
        items.append(_shard_item(name, number, labels))
    return items


def _shard_item(name: str, number: str, clips: Sequence[Clip]) -> Item:
    key = f"shards/{name}/shard-{number}.tar"
    return Item(
        key=f"{name}-{number}",
        inputs=tuple(part for _, parts in clips for part in parts),
        content=json.dumps([key, [clip_id for clip_id, _ in clips]]),
        value=(key, clips),
    )


def _index(
    store: Store,
    name: str,
    splits: Mapping[str, int],
    items: Sequence[Item],
    settings: PackSettings,
) -> Manifest:
    entries: list[ShardEntry] = []
    for item in items:
        key, clips = item.value
        path = store.local_path(key)
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        is_labels = settings.labels_apart and key.endswith(".labels.tar")
        entries.append(
            ShardEntry(
                key=key,
                sha256=digest,
                size_bytes=path.stat().st_size,
                clip_ids=tuple(clip_id for clip_id, _ in clips),
                media=entries[-1].sha256 if is_labels else "",
            )
        )
    return Manifest(
        name=name, version=0, parent="", created="", splits=dict(splits), shards=tuple(entries)
    )


def _remove_older(store: Store, name: str, items: Sequence[Item]) -> None:
    """Shards of an earlier, larger packing under the same name."""
    keys = {item.value[0] for item in items}
    for key in store.list(f"shards/{name}/shard-"):
        if key not in keys:
            store.delete(key)
            number = key.rpartition("-")[2].removesuffix(".tar")
            store.delete(f"results/pack/{name}-{number}.json")
