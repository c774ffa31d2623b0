"""The members of clips, wherever they lie: as files under `clips/`, or in packed shards."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from storage_schemas import shards
from storage_schemas.dataset import read_packed
from storage_schemas.shards import MemberSpan, index_shard, read_members
from storage_schemas.store import Store

ReadMember = Callable[[str], bytes]
"""Member name -> bytes; FileNotFoundError where the clip has none of that name."""


def open_clips(store: Store, packed: str | None = None) -> dict[str, ReadMember]:
    """Clip id -> reader of its members, by id, of every clip that has labels.

    Args:
        store: The root.
        packed: Name of packed shards; None for the clips under `clips/`.

    Raises:
        ValueError: If there is no such clip.
    """
    if packed is None:
        keys = [key for key in store.list("clips/") if key.endswith(f"/{shards.BODY}")]
        found = {key.split("/")[1]: clip_reader(store, key.split("/")[1]) for key in keys}
    else:
        paths = [store.local_path(shard.key) for shard in read_packed(store, packed).shards]
        found = {
            clip_id: _span_reader(path, spans)
            for path in paths
            for clip_id, spans in index_shard(path).items()
            if shards.BODY in spans
        }
    if not found:
        raise ValueError(f"no labelled clip in {store.root}; run `isa4d annotate` or `render`")
    return dict(sorted(found.items()))


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


def _span_reader(path: Path, spans: Mapping[str, MemberSpan]) -> ReadMember:
    def read(member: str) -> bytes:
        if member not in spans:
            raise FileNotFoundError(f"{path} holds no {member} of this clip")
        return read_members(path, {member: spans[member]})[member]

    return read
