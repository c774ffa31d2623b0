"""The catalogue of a version: one row per clip, a Parquet object beside the manifest.

It answers what a version holds and how two versions differ without touching a shard. Digests are
the first 16 bytes of a SHA-256: enough to tell a billion clips apart, and small.
"""

import hashlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq

from storage_schemas.clip import ClipRecord
from storage_schemas.shards import CLIP, MEDIA, read_shard

pc: Any = pyarrow.compute  # its functions are made at import, out of sight of type checkers
DIGEST_BYTES: Final = 16
_DIGEST = pa.binary(DIGEST_BYTES)
MEDIA_SCHEMA: Final = pa.schema(
    [
        ("clip_id", _DIGEST),
        ("media", _DIGEST),  # of the video
        ("media_shard", pa.int32()),  # place in the manifest's shards
    ]
)
LABEL_SCHEMA: Final = pa.schema(
    [
        ("clip_id", _DIGEST),
        ("labels", _DIGEST),  # of everything but the video, the record included
        ("shard", pa.int32()),
        ("split", pa.string()),
        ("source", pa.string()),
        ("licence", pa.string()),
        ("uri", pa.string()),
        ("source_sha256", _DIGEST),
        ("num_frames", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float32()),
        ("made_by", pa.string()),  # the stages with their versions and weights
    ]
)
SCHEMA: Final = pa.unify_schemas([LABEL_SCHEMA, MEDIA_SCHEMA])
_REPEATING = ["split", "source", "licence", "uri", "source_sha256", "made_by"]


class Parts(NamedTuple):
    """What shards tell of clips, labels and media apart, as they may lie in different shards."""

    labels: pa.Table
    media: pa.Table


def scan_shard(path: Path, shard: int) -> Parts:
    """What one shard file holds; `shard` is its place in the manifest.

    Raises:
        ValueError: If it is torn or holds no clips of ours.
    """
    labels: list[dict[str, Any]] = []
    media: list[dict[str, Any]] = []
    for clip_id, members in read_shard(path):
        clip = bytes.fromhex(clip_id)
        video = {name: data for name, data in members.items() if name in MEDIA}
        if video:
            media.append({"clip_id": clip, "media": _digest(video), "media_shard": shard})
        if CLIP in members:
            record = ClipRecord.from_json(members[CLIP])
            rest = {name: data for name, data in members.items() if name not in MEDIA}
            labels.append(
                {"clip_id": clip, "labels": _digest(rest), "shard": shard, **_row(record)}
            )
    return Parts(
        pa.Table.from_pylist(labels, LABEL_SCHEMA), pa.Table.from_pylist(media, MEDIA_SCHEMA)
    )


def _digest(members: Mapping[str, bytes]) -> bytes:
    digest = hashlib.sha256()
    for name, data in members.items():
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    return digest.digest()[:DIGEST_BYTES]


def _row(record: ClipRecord) -> dict[str, Any]:
    stages: list[str] = []
    for stage, facts in sorted(record.provenance.items()):
        said = [facts.get("version", facts.get("code_version")), facts.get("backend")]
        words = [str(word) for word in said if word]
        weights = str(facts.get("weights") or "")
        stages.append(" ".join([stage, *words, *([weights[:12]] if weights else [])]))
    return {
        "split": record.split,
        "source": record.source,
        "licence": record.licence,
        "uri": record.uri,
        "source_sha256": bytes.fromhex(record.source_sha256)[:DIGEST_BYTES],
        "num_frames": record.num_frames,
        "width": record.width,
        "height": record.height,
        "fps": record.fps,
        "made_by": "; ".join(stages),
    }


def known_parts(catalogue: pa.Table, places: Mapping[int, int]) -> Parts:
    """The rows of an earlier catalogue whose shards are used again: old place -> new place."""

    def moved(table: pa.Table, column: str) -> pa.Table:
        # The last entry takes what -1, for no shard, points to.
        moves = np.full(max(places, default=-1) + 2, -1, np.int32)
        moves[list(places.keys())] = list(places.values())
        old = pc.fill_null(table[column], -1).to_numpy()
        new = moves[np.minimum(old, len(moves) - 1)]
        kept = new >= 0
        where = table.column_names.index(column)
        return table.filter(kept).set_column(where, column, pa.array(new[kept], pa.int32()))

    return Parts(
        moved(catalogue.select(LABEL_SCHEMA.names), "shard"),
        moved(catalogue.select(MEDIA_SCHEMA.names), "media_shard"),
    )


def join_parts(parts: Sequence[Parts]) -> pa.Table:
    """One row per clip, in the order of the ids.

    Raises:
        ValueError: If a clip comes twice, or media have no record.
    """
    labels = pa.concat_tables([LABEL_SCHEMA.empty_table(), *(part.labels for part in parts)])
    media = pa.concat_tables([MEDIA_SCHEMA.empty_table(), *(part.media for part in parts)])
    for what, ids in (("record", labels["clip_id"]), ("video", media["clip_id"])):
        if pc.count_distinct(ids).as_py() != len(ids):
            counted = pc.value_counts(ids)
            twice = counted.filter(pc.greater(counted.field("counts"), 1)).field("values")
            raise ValueError(f"clips with more than one {what}: {_names(twice)}; pack again")
    has_record = pc.is_in(media["clip_id"], value_set=_flat(labels["clip_id"]))
    if not pc.all(has_record).as_py():
        alone = media["clip_id"].filter(pc.invert(has_record))
        raise ValueError(f"video without a record: {_names(alone)}; pack again")
    labels = labels.sort_by("clip_id")
    places = pc.index_in(labels["clip_id"], value_set=_flat(media["clip_id"]))
    for name in MEDIA_SCHEMA.names[1:]:
        labels = labels.append_column(name, media[name].take(places))
    return labels.combine_chunks()


def to_parquet(catalogue: pa.Table) -> bytes:
    """The same rows give the same bytes."""
    buffer = io.BytesIO()
    repeating: Any = _REPEATING
    pq.write_table(
        catalogue.cast(SCHEMA), buffer, compression="zstd", use_dictionary=repeating,
        write_statistics=False,
    )  # fmt: skip
    return buffer.getvalue()


def from_parquet(data: bytes) -> pa.Table:
    """Read a catalogue.

    Raises:
        ValueError: If the bytes are none.
    """
    try:
        return pq.read_table(pa.BufferReader(data)).cast(SCHEMA)
    except (pa.ArrowException, KeyError) as error:
        raise ValueError(f"not a catalogue of clips: {error}") from error


def count(catalogue: pa.Table, column: str) -> dict[str, int]:
    """Clips per value of a column, by value."""
    counted = pc.value_counts(catalogue[column])
    values, counts = (counted.field(name).to_pylist() for name in ("values", "counts"))
    return dict(sorted(zip(values, counts, strict=True)))


def num_sources(catalogue: pa.Table) -> int:
    """Files that the clips were cut from, or scenes that they show."""
    return int(pc.count_distinct(catalogue["source_sha256"]).as_py())


def clip_ids(catalogue: pa.Table) -> list[str]:
    """Ids of all clips, sorted."""
    return [clip.hex() for clip in catalogue["clip_id"].to_pylist()]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """Clips that differ between two versions, sorted ids."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    relabelled: tuple[str, ...]
    """The video is the same, the labels or the record are not."""
    remade: tuple[str, ...]
    """Another video under the same id."""
    num_same: int

    def summary(self) -> str:
        """One line whose counts add up to the clips of the second version, and those removed."""
        return (
            f"{self.num_same} same + {len(self.relabelled)} relabelled + {len(self.remade)} remade "
            f"+ {len(self.added)} added; {len(self.removed)} removed"
        )


def compare(before: pa.Table, after: pa.Table) -> Difference:
    """What became of the clips from one catalogue to another."""
    place = pc.index_in(after["clip_id"], value_set=_flat(before["clip_id"]))
    is_new = pc.is_null(place)
    stays = pc.is_in(before["clip_id"], value_set=_flat(after["clip_id"]))
    both = after.filter(pc.invert(is_new))
    old = before.select(["media", "labels"]).take(place.drop_null())
    remade = _differ(both["media"], old["media"])
    relabelled = pc.and_(pc.invert(remade), _differ(both["labels"], old["labels"]))
    changed = [_ids(both.filter(mask)) for mask in (relabelled, remade)]
    return Difference(
        added=_ids(after.filter(is_new)),
        removed=_ids(before.filter(pc.invert(stays))),
        relabelled=changed[0],
        remade=changed[1],
        num_same=len(both) - len(changed[0]) - len(changed[1]),
    )


def _differ(a: pa.ChunkedArray, b: pa.ChunkedArray) -> pa.ChunkedArray:
    none = pa.scalar(bytes(DIGEST_BYTES), _DIGEST)
    return pc.not_equal(pc.fill_null(a, none), pc.fill_null(b, none))


def _ids(table: pa.Table) -> tuple[str, ...]:
    return tuple(sorted(clip_ids(table)))


def _flat(column: pa.ChunkedArray) -> pa.Array:
    return pa.concat_arrays(column.chunks) if column.chunks else pa.array([], column.type)


def _names(ids: Any) -> str:
    shown = [clip.hex() for clip in ids.slice(0, 5).to_pylist()]
    return ", ".join(shown) + (f" and {len(ids) - 5} more" if len(ids) > 5 else "")
