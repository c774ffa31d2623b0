"""Published versions of a data set: immutable manifests over content-addressed shards.

    versions/objects/<sha256>.tar    a shard (linked from where it was packed)
    versions/objects/<sha256>.json   a manifest; names its parent, so versions form a chain
    versions/names/<name>.json       {"manifest": sha256 of the newest}; the only thing that moves

A version exists from the moment its name moves to it, by one conditional write; until then nobody
sees it, and of two publishers the second is built on the first.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from storage_schemas.store import Store

SCHEMA_VERSION: Final = 1
NAME_PATTERN: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
_PUBLISH_TRIES: Final = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardEntry:
    """One shard: where it lies, what it holds, and how to recognise its bytes."""

    key: str
    sha256: str
    size_bytes: int
    clip_ids: tuple[str, ...]


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
    schema: int = SCHEMA_VERSION

    def __post_init__(self) -> None:
        """Check the name and the schema."""
        check_name(self.name)
        if self.schema != SCHEMA_VERSION:
            raise ValueError(
                f"manifest of {self.name} has schema {self.schema}, this reader knows "
                f"{SCHEMA_VERSION}; read it with a newer isa4d"
            )

    @property
    def num_clips(self) -> int:
        """Clips over all shards."""
        return sum(len(shard.clip_ids) for shard in self.shards)

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted names: the same manifest gives the same bytes."""
        return json.dumps(asdict(self), sort_keys=True, indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Read a manifest.

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
        ValueError: Nothing complete is packed there.
    """
    try:
        return Manifest.from_json(store.read(index_key(name)))
    except FileNotFoundError:
        raise ValueError(f"no packed shards named {name!r}; run `isa4d pack` first") from None


def publish(store: Store, name: str, packed: str | None = None) -> Manifest:
    """Make the packed shards the next version of a data set.

    Publishing what the newest version already holds changes nothing and returns that version.

    Args:
        store: Holds the packed shards and receives the version.
        name: Of the data set.
        packed: Name under which the shards were packed; None means the same name.
    """
    check_name(name)
    index = read_packed(store, packed or name)
    shards: list[ShardEntry] = []
    for shard in index.shards:
        key = f"versions/objects/{shard.sha256}.tar"
        if not store.exists(key):
            store.link(shard.key, key)
        _verify_shard(store, key, shard)
        shards.append(
            ShardEntry(
                key=key,
                sha256=shard.sha256,
                size_bytes=shard.size_bytes,
                clip_ids=shard.clip_ids,
            )
        )
    created = datetime.now(UTC).isoformat(timespec="seconds")
    for _ in range(_PUBLISH_TRIES):
        head, etag = _read_head(store, name)
        newest = _read_object(store, head) if head else None
        if newest and newest.shards == tuple(shards):
            return newest
        manifest = Manifest(
            name=name,
            version=newest.version + 1 if newest else 1,
            parent=head,
            created=created,
            splits=index.splits,
            shards=tuple(shards),
        )
        data = manifest.to_json()
        digest = hashlib.sha256(data).hexdigest()
        store.put_new(f"versions/objects/{digest}.json", data)
        moved = json.dumps({"manifest": digest}).encode()
        key = f"versions/names/{name}.json"
        if store.cas(key, moved, etag) if etag else store.put_new(key, moved):
            return manifest
    raise OSError(f"{name} kept moving while publishing ({_PUBLISH_TRIES} tries); try again")


def list_names(store: Store) -> list[str]:
    """Names of all published data sets."""
    keys = store.list("versions/names/")
    return [key.removeprefix("versions/names/").removesuffix(".json") for key in keys]


def list_versions(store: Store, name: str) -> Iterator[Manifest]:
    """Versions of a data set, newest first.

    Raises:
        ValueError: There is no such data set.
    """
    digest, _ = _read_head(store, name)
    if not digest:
        known = ", ".join(list_names(store)) or "none"
        raise ValueError(f"no data set named {name!r} (known: {known}); run `isa4d publish`")
    while digest:
        manifest = _read_object(store, digest)
        yield manifest
        digest = manifest.parent


def read_manifest(store: Store, reference: str) -> Manifest:
    """The version that `NAME` (newest) or `NAME@VERSION` (a number) names.

    Raises:
        ValueError: There is no such data set or version.
    """
    name, _, number = reference.partition("@")
    for manifest in list_versions(store, name):
        if number in ("", str(manifest.version)):
            return manifest
    raise ValueError(f"{name!r} has no version {number!r}; see `isa4d dataset list`")


def local_shards(store: Store, manifest: Manifest) -> list[Path]:
    """The shards of a version as local files, in order (downloaded when remote)."""
    return [store.local_path(shard.key) for shard in manifest.shards]


def verify(store: Store, manifest: Manifest) -> None:
    """Read every byte of a version again.

    Raises:
        ValueError: A shard is missing or holds other bytes than the manifest says.
    """
    for shard in manifest.shards:
        _verify_shard(store, shard.key, shard)


def _verify_shard(store: Store, key: str, shard: ShardEntry) -> None:
    try:
        with store.local_path(key).open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found = "nothing"
    if found != shard.sha256:
        raise ValueError(f"{key} must hold {shard.sha256}, got {found}; pack again and republish")


def _read_head(store: Store, name: str) -> tuple[str, str]:
    check_name(name)
    try:
        data, etag = store.read_tagged(f"versions/names/{name}.json")
    except FileNotFoundError:
        return "", ""
    try:
        return str(json.loads(data)["manifest"]), etag
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"versions/names/{name}.json names no manifest ({error!r}); restore it"
        ) from error


def _read_object(store: Store, digest: str) -> Manifest:
    data = store.read(f"versions/objects/{digest}.json")
    if hashlib.sha256(data).hexdigest() != digest:
        raise ValueError(f"manifest {digest} holds other bytes than its name says")
    return Manifest.from_json(data)
