"""The members of clips, wherever they lie: as files under `clips/`, or in packed shards."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from storage_schemas import shards
from storage_schemas.dataset import read_manifest, read_packed
from storage_schemas.shards import MemberSpan, index_shard, read_members
from storage_schemas.store import Store

ReadMember = Callable[[str], bytes]
"""Member name -> bytes; FileNotFoundError where the clip has none of that name."""


def open_clips(store: Store, packed: str | None = None) -> dict[str, ReadMember]:
    """Clip id -> reader of its members, by id, of every clip that has labels.

    Args:
        store: The root.
        packed: Name of packed shards, or NAME@VERSION of a published data set; None for the clips
            under `clips/`.

    Raises:
        ValueError: If there is no such clip.
    """
    if packed is None:
        keys = [key for key in store.list("clips/") if key.endswith(f"/{shards.BODY}")]
        found = {key.split("/")[1]: clip_reader(store, key.split("/")[1]) for key in keys}
    else:
        manifest = (read_manifest if "@" in packed else read_packed)(store, packed)
        found = {
            clip_id: _span_reader(parts)
            for group in manifest.clip_shards
            for clip_id, parts in _find_parts([store.local_path(key) for key in group]).items()
        }
    if not found:
        raise ValueError(f"no labelled clip in {store.root}; run `isa4d annotate` or `render`")
    return dict(sorted(found.items()))


def find_clip(clips: Mapping[str, ReadMember], beginning: str) -> ReadMember:
    """The one clip whose id begins so.

    Raises:
        ValueError: There is none, or more than one.
    """
    found = [clip_id for clip_id in clips if clip_id.startswith(beginning)]
    if len(found) != 1:
        listed = ", ".join(list(found or clips)[:5])
        raise ValueError(f"{len(found)} clips begin with {beginning!r}; give one of {listed} ...")
    return clips[found[0]]


def list_members(read: ReadMember) -> list[str]:
    """Names of what a clip holds besides its record, without their endings."""
    found = []
    for member in shards.MEMBERS:
        with suppress(FileNotFoundError):
            read(member)
            found.append(member.partition(".")[0].replace("_", " "))
    return found[1:]


def clip_reader(store: Store, clip_id: str) -> ReadMember:
    """Reader of one clip under `clips/`."""
    return lambda member: store.read(f"clips/{clip_id}/{member}")


Parts = Mapping[str, tuple[Path, MemberSpan]]
"""Member name -> the shard that holds it, and where; labels and media may lie apart."""


def _find_parts(paths: Sequence[Path]) -> dict[str, Parts]:
    """Clip id -> its members, of the clips that have labels."""
    clips: dict[str, dict[str, tuple[Path, MemberSpan]]] = {}
    for path in paths:
        for clip_id, spans in index_shard(path).items():
            parts = {name: (path, span) for name, span in spans.items()}
            clips.setdefault(clip_id, {}).update(parts)
    return {clip_id: parts for clip_id, parts in clips.items() if shards.BODY in parts}


def _span_reader(parts: Parts) -> ReadMember:
    def read(member: str) -> bytes:
        if member not in parts:
            raise FileNotFoundError(f"this clip has no {member}")
        path, span = parts[member]
        return read_members(path, {member: span})[member]

    return read
