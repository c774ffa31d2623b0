"""The tar layout of a shard: the only file that knows it.

A shard is a plain tar that WebDataset reads: the members of one clip lie side by side as
`<clip id>.<member>` in the order of `MEMBERS`. Owner, mode and time are fixed, so the same records
give the same bytes. WebDataset hides torn shards, so `read_shard` checks what it reads: the
end-of-archive mark, the member names and the record that every clip must have.
"""

import io
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from storage_schemas.clip import CLIP_ID_PATTERN

CLIP: Final = "clip.json"
VIDEO: Final = "video.mp4"
BODY: Final = "body.npz"
CAMERA: Final = "camera.npz"
MASK: Final = "mask.npz"
BACKGROUND: Final = "background.mp4"
BACKGROUND_VALID: Final = "background_valid.npz"
POINTS: Final = "points.npz"
DEPTH: Final = "depth.npz"
FLOW: Final = "flow.npz"
NORMAL: Final = "normal.npz"
LATENT: Final = "latent.npz"
MEMBERS: Final = (
    CLIP, VIDEO, BODY, CAMERA, MASK, BACKGROUND, BACKGROUND_VALID, POINTS, DEPTH, FLOW, NORMAL,
    LATENT,
)  # fmt: skip
"""Every member a shard may hold, in shard order. Labels, media and latents of a clip may lie in
separate shards with the same keys: each has the clip record, the video or the latents."""
MEDIA: Final = (VIDEO,)
"""What labelling again never changes."""

END_OF_ARCHIVE: Final = 2 * tarfile.BLOCKSIZE


@dataclass(frozen=True, slots=True)
class MemberSpan:
    """Where the bytes of one member lie in its shard."""

    offset: int
    size: int


def write_shard(
    samples: Iterable[tuple[str, Mapping[str, bytes]]], file: io.BufferedIOBase
) -> list[str]:
    """Write clips to an open binary file; returns their ids in order.

    Raises:
        ValueError: If an id or member name is not of the contract, or an id comes twice.
    """
    clip_ids: list[str] = []
    size = 0
    for clip_id, members in samples:
        if clip_id in clip_ids:
            raise ValueError(f"clip {clip_id} comes twice in one shard")
        size += file.write(clip_entries(clip_id, members))
        clip_ids.append(clip_id)
    file.write(end_of_shard(size))
    return clip_ids


def clip_entries(clip_id: str, members: Mapping[str, bytes]) -> bytes:
    """What one clip adds to a shard: whoever grows a shard clip by clip appends these bytes.

    Raises:
        ValueError: If the id or a member name is not of the contract.
    """
    if not CLIP_ID_PATTERN.fullmatch(clip_id):
        raise ValueError(f"clip id must be 32 lower-case hex digits, got {clip_id!r}")
    unknown = sorted(set(members) - set(MEMBERS))
    if unknown:
        raise ValueError(f"clip {clip_id} has unknown members {unknown}; known: {MEMBERS}")
    entries: list[bytes] = []
    for name in MEMBERS:
        if name in members:
            entry = tarfile.TarInfo(f"{clip_id}.{name}")
            entry.size = len(members[name])
            entry.mode = 0o644
            padding = bytes(-entry.size % tarfile.BLOCKSIZE)
            entries += [entry.tobuf(tarfile.USTAR_FORMAT), members[name], padding]
    return b"".join(entries)


def end_of_shard(size: int) -> bytes:
    """What follows the clips of a shard, `size` bytes in all: the mark and tar's padding."""
    return bytes(END_OF_ARCHIVE + -(size + END_OF_ARCHIVE) % tarfile.RECORDSIZE)


def index_shard(path: Path) -> dict[str, dict[str, MemberSpan]]:
    """Spans of every member of every clip, in shard order.

    Raises:
        ValueError: If the shard is torn, holds anything but plain members of the contract, or
            splits a clip.
    """
    clips: dict[str, dict[str, MemberSpan]] = {}
    last = ""
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                clip_id, _, member = entry.name.partition(".")
                if not entry.isfile() or member not in MEMBERS:
                    raise ValueError(f"{path}: unexpected entry {entry.name!r}; not written by us")
                if not CLIP_ID_PATTERN.fullmatch(clip_id):
                    raise ValueError(f"{path}: entry {entry.name!r} has no clip id")
                if clip_id in clips and clip_id != last:
                    raise ValueError(f"{path}: clip {clip_id} is split; re-pack this shard")
                clips.setdefault(clip_id, {})[member] = MemberSpan(entry.offset_data, entry.size)
                last = clip_id
    except tarfile.TarError as error:
        raise ValueError(f"{path}: torn shard ({error}); re-pack it") from error
    _check_end(path, clips)
    return clips


def _check_end(path: Path, clips: Mapping[str, Mapping[str, MemberSpan]]) -> None:
    ends = [span.offset + span.size for spans in clips.values() for span in spans.values()]
    end = -(-max(ends, default=0) // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE
    with path.open("rb") as file:
        file.seek(end)
        if file.read(END_OF_ARCHIVE) != bytes(END_OF_ARCHIVE):
            raise ValueError(f"{path}: no end-of-archive mark, the shard is torn; re-pack it")
    for clip_id, spans in clips.items():
        if not {CLIP, VIDEO, LATENT} & spans.keys():
            raise ValueError(
                f"{path}: clip {clip_id} has neither {CLIP}, {VIDEO} nor {LATENT}; re-pack it"
            )


def read_members(path: Path, spans: Mapping[str, MemberSpan]) -> dict[str, bytes]:
    """Bytes of the given members of one shard."""
    with path.open("rb") as file:
        members: dict[str, bytes] = {}
        for name, span in spans.items():
            file.seek(span.offset)
            members[name] = file.read(span.size)
    return members


def read_shard(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Every clip of a shard with its members, in order; the shard is checked first."""
    for clip_id, spans in index_shard(path).items():
        yield clip_id, read_members(path, spans)
