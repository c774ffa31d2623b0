"""Where the bytes of every clip lie: made once from the shards, then read by offset."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from storage_schemas.shards import MemberSpan, index_shard, read_members


@dataclass(frozen=True)
class ClipEntry:
    """Where the members of one clip lie."""

    clip_id: str
    members: Mapping[str, tuple[Path, MemberSpan]]

    def read(self, names: Sequence[str]) -> dict[str, bytes]:
        """Bytes of those of the named members that the clip has."""
        content: dict[str, bytes] = {}
        for name in names:
            if name in self.members:
                path, span = self.members[name]
                content |= read_members(path, {name: span})
                if len(content[name]) != span.size:
                    raise ValueError(f"{path}: {self.clip_id}.{name} is cut; re-pack the shard")
        return content


def find_shards(*places: Path) -> list[Path]:
    """Tar files named directly or lying anywhere under the named folders, sorted.

    Raises:
        ValueError: If there is none.
    """
    shards: list[Path] = []
    for place in places:
        shards += sorted(place.rglob("*.tar")) if place.is_dir() else [place]
    missing = [str(shard) for shard in shards if not shard.is_file()]
    if missing or not shards:
        what = f"no such shard: {missing}" if missing else f"no shards in {list(map(str, places))}"
        raise ValueError(f"{what}; run `isa4d pack` first")
    return shards


def index_clips(shards: Sequence[Path]) -> list[ClipEntry]:
    """All clips of all shards by id; media, labels and latents may lie in separate shards.

    Raises:
        ValueError: If a member comes twice, or a shard is torn.
    """
    clips: dict[str, dict[str, tuple[Path, MemberSpan]]] = {}
    for shard in shards:
        for clip_id, spans in index_shard(shard).items():
            members = clips.setdefault(clip_id, {})
            for name, span in spans.items():
                if name in members:
                    raise ValueError(
                        f"{clip_id}.{name} lies in {members[name][0]} and in {shard}; "
                        "name the shards of one version only"
                    )
                members[name] = (shard, span)
    return [ClipEntry(clip_id, clips[clip_id]) for clip_id in sorted(clips)]
