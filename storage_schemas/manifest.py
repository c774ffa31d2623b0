"""The manifest of a version: which shards it holds, and what may be said of it without its clips.

Under `versions/objects/` lie `<sha256>.tar`, a shard (linked from where it was packed),
`<sha256>.parquet`, a catalogue with one row per clip, and `<sha256>.json`, a manifest. A manifest
names its parent, so versions form a chain.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from storage_schemas.store import Store

SCHEMA_VERSION: Final = 2
NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
SHA256_PATTERN: Final = re.compile(r"[0-9a-f]{64}")
OBJECTS: Final = "versions/objects/"


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """One shard: where it lies, and how to recognise its bytes."""

    key: str
    sha256: str
    size_bytes: int
    clip_ids: tuple[str, ...] = ()
    """Of packed shards; a published version has them in its catalogue."""
    media: str = ""
    """Digest of the shard with the videos of these clips; empty where they lie in this one."""

    def __post_init__(self) -> None:
        """Refuse digests that are none: they become names of files."""
        if not SHA256_PATTERN.fullmatch(self.sha256) or (
            self.media and not SHA256_PATTERN.fullmatch(self.media)
        ):
            raise ValueError(f"shard {self.key} must have SHA-256 digests, got {self.sha256!r}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Manifest:
    """One immutable version of a data set, or the index of a packed one (version 0)."""

    name: str
    version: int
    """1, 2, ...; 0 for packed shards that are not published."""
    parent: str
    """Digest of the manifest before, empty for the first."""
    created: str
    """UTC, ISO 8601; empty for packed shards, whose index depends on content alone."""
    splits: Mapping[str, int]
    """Clips per split."""
    shards: tuple[ShardEntry, ...]
    catalogue: str = ""
    """Digest of the table of clips; empty for packed shards and versions of schema 1."""
    licences: Mapping[str, int] = field(default_factory=dict[str, int])
    """Clips per licence."""
    made_by: Mapping[str, int] = field(default_factory=dict[str, int])
    """Clips per list of stages, with their versions and weights."""
    code: str = ""
    """Version of the code that published."""
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check the name and the schema."""
        check_name(self.name)
        if self.schema not in (1, SCHEMA_VERSION):
            raise ValueError(
                f"manifest of {self.name} has schema {self.schema}, this reader knows 1 and "
                f"{SCHEMA_VERSION}; read it with a newer isa4d"
            )

    @property
    def num_clips(self) -> int:
        """Clips over all shards."""
        return sum(self.splits.values())

    @property
    def size_bytes(self) -> int:
        """Of all shards."""
        return sum(shard.size_bytes for shard in self.shards)

    @property
    def reference(self) -> str:
        """NAME@VERSION."""
        return f"{self.name}@{self.version}"

    @property
    def clip_shards(self) -> list[tuple[str, ...]]:
        """Keys of shards to be read together: one, or one with labels and one with their media."""
        keys = {shard.sha256: shard.key for shard in self.shards}
        joined = {shard.media for shard in self.shards}
        return [
            (shard.key, keys[shard.media]) if shard.media else (shard.key,)
            for shard in self.shards
            if shard.sha256 not in joined
        ]

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted names: the same manifest gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read a manifest of this schema or of schema 1, which had no catalogue.

        Raises:
            ValueError: If the bytes are no manifest.
        """
        try:
            content: dict[str, Any] = json.loads(data)
            shards = [
                ShardEntry(**{**shard, "clip_ids": tuple(shard["clip_ids"])})
                for shard in content.pop("shards")
            ]
            return cls(shards=tuple(shards), **content)
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not a manifest: {error}") from error


def check_name(name: str) -> None:
    """Raise if a data set cannot bear this name."""
    if not NAME_PATTERN.fullmatch(name):
        raise ValueError(f"name must be lower-case letters, digits, - and _, got {name!r}")


def index_key(name: str) -> str:
    """Where `pack` states what it packed; the shards lie beside it."""
    return f"shards/{name}/index.json"


def read_packed(store: Store, name: str) -> Manifest:
    """What `pack` made under this name.

    Raises:
        ValueError: Nothing complete is packed there, or nothing can bear this name.
    """
    check_name(name)
    try:
        return Manifest.from_json(store.read(index_key(name)))
    except FileNotFoundError:
        raise ValueError(f"no packed shards named {name!r}; run `isa4d pack` first") from None


def object_key(digest: str, kind: str) -> str:
    """Where an object of this kind and digest lies."""
    return f"{OBJECTS}{digest}.{kind}"


def put_object(store: Store, data: bytes, kind: str) -> str:
    """Store bytes under their digest, which is returned."""
    digest = hashlib.sha256(data).hexdigest()
    if not store.put_new(object_key(digest, kind), data):
        store.write(object_key(digest, kind), data)  # what lay there was damaged
    return digest


def read_object(store: Store, digest: str) -> Manifest:
    """The manifest of this digest.

    Raises:
        ValueError: It is damaged.
        FileNotFoundError: There is none.
    """
    if not SHA256_PATTERN.fullmatch(digest):
        raise ValueError(f"{digest!r} is no digest of a manifest; restore what names it")
    data = store.read(object_key(digest, "json"))
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"manifest {digest} holds other bytes than its name says")
    return Manifest.from_json(data)
