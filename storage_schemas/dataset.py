"""Published versions of a data set: immutable manifests over content-addressed shards.

A version exists from the moment its name moves to it, by one conditional write; until then nobody
sees it, and of two publishers the second is built on the first. Layout: `manifest` and `refs`.
"""

import hashlib
import random
import subprocess
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Final

import pyarrow as pa

from storage_schemas import catalogue as rows
from storage_schemas.catalogue import Difference, Parts
from storage_schemas.lease import PUBLISH, lease
from storage_schemas.manifest import (
    OBJECTS,
    Manifest,
    ShardEntry,
    check_name,
    index_key,
    object_key,
    put_object,
    read_object,
    read_packed,
)
from storage_schemas.refs import (
    Head,
    list_names,
    list_tags,
    list_versions,
    move_head,
    read_head,
    read_manifest,
    rollback,
    tag,
    untag,
)
from storage_schemas.store import Store

__all__ = [
    "Manifest",
    "ShardEntry",
    "check_name",
    "commit",
    "diff",
    "index_key",
    "list_names",
    "list_tags",
    "list_versions",
    "local_shards",
    "publish",
    "read_catalogue",
    "read_manifest",
    "read_packed",
    "rollback",
    "tag",
    "untag",
    "verify",
]
TRANSFERS: Final = 8
"""Shards that are read or fetched side by side."""
_TRIES: Final = 40
Advance = Callable[[int], None]
"""Told of bytes as they are done; called from several threads."""


def publish(
    store: Store, name: str, packed: str | None = None, advance: Advance | None = None
) -> Manifest:
    """Make the packed shards the next version of a data set.

    Publishing what the name already means changes nothing and returns that version. Shards of the
    version before are neither copied nor read again.

    Args:
        store: Holds the packed shards and receives the version.
        name: Of the data set.
        packed: Name under which the shards were packed; None means the same name.
        advance: Told of the bytes of shards that are ready.

    Raises:
        ValueError: Nothing is packed there, or the shards are not what their index says.
    """
    check_name(name)
    store.check_conditional_writes()
    index = read_packed(store, packed or name)
    with lease(store, PUBLISH, [shard.sha256 for shard in index.shards]):
        head = read_head(store, name)
        before = read_object(store, head.manifest) if head else None
        table = _gather(store, index.shards, before, advance or _ignore)
        shards = [replace(s, key=object_key(s.sha256, "tar"), clip_ids=()) for s in index.shards]
        return commit(store, name, shards, table)


def commit(store: Store, name: str, shards: Sequence[ShardEntry], table: pa.Table) -> Manifest:
    """Make shards that lie in the store, and the catalogue of their clips, the next version.

    Raises:
        OSError: Others kept publishing under this name.
    """
    data = rows.to_parquet(table)
    catalogue = put_object(store, data, "parquet")
    manifest = Manifest(
        name=name,
        version=1,
        parent="",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        splits=rows.count(table, "split"),
        shards=tuple(shards),
        catalogue=catalogue,
        licences=rows.count(table, "licence"),
        made_by=rows.count(table, "made_by"),
        code=code_version(),
    )
    for attempt in range(_TRIES):
        head = read_head(store, name)
        if head:
            current = read_object(store, head.manifest)
            if [s.sha256 for s in current.shards] == [s.sha256 for s in shards]:
                return current
            newest = read_object(store, head.newest)
            manifest = replace(manifest, version=newest.version + 1, parent=head.newest)
        digest = put_object(store, manifest.to_json(), "json")
        removed = head.removed if head else ()
        if move_head(store, name, head, Head(manifest=digest, newest=digest, removed=removed)):
            return manifest
        time.sleep(random.uniform(0.0, 0.02) * min(attempt + 1, 10))
    raise OSError(f"{name} kept moving while publishing ({_TRIES} tries); try again")


@cache
def code_version() -> str:
    """Version of this package, and the commit of the checkout that it runs from."""
    version = metadata.version("isa4d")
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        answer = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return version
    return f"{version} {answer.stdout.strip()}"


def read_catalogue(store: Store, manifest: Manifest) -> pa.Table:
    """The table of the clips of a version; one of schema 1 is made from its shards.

    Raises:
        ValueError: The catalogue is missing or damaged.
    """
    if not manifest.catalogue:
        return _scan(store, list(enumerate(manifest.shards)), _ignore)
    key = object_key(manifest.catalogue, "parquet")
    try:
        data = store.read(key)
    except FileNotFoundError:
        raise ValueError(f"{manifest.reference} lacks {key}; publish it again") from None
    if hashlib.sha256(data).hexdigest() != manifest.catalogue:
        raise ValueError(f"{key} holds other bytes than its name says; publish again")
    return rows.from_parquet(data)


def diff(store: Store, before: str, after: str) -> Difference:
    """What became of the clips from one version to another, from their catalogues alone."""
    tables = [read_catalogue(store, read_manifest(store, which)) for which in (before, after)]
    return rows.compare(tables[0], tables[1])


def local_shards(store: Store, manifest: Manifest, advance: Advance | None = None) -> list[Path]:
    """The shards of a version as local files, in order; downloads are kept until the process ends.

    Raises:
        OSError: The cache of shards is too small for the version.
    """

    def fetch(shard: ShardEntry) -> Path:
        path = store.local_path(shard.key, shard.sha256, keep=True)
        (advance or _ignore)(shard.size_bytes)
        return path

    with ThreadPoolExecutor(TRANSFERS) as pool:
        return list(pool.map(fetch, manifest.shards))


def verify(store: Store, manifest: Manifest, advance: Advance | None = None) -> None:
    """Read every byte of a version again, from where it lies.

    Raises:
        ValueError: A shard is missing or holds other bytes than the manifest says.
    """

    def find(shard: ShardEntry) -> str:
        try:
            found = store.sha256(shard.key)
        except FileNotFoundError:
            found = "nothing"
        (advance or _ignore)(shard.size_bytes)
        return "" if found == shard.sha256 else f"{shard.key} must hold {shard.sha256}, got {found}"

    with ThreadPoolExecutor(TRANSFERS) as pool:
        wrong = [finding for finding in pool.map(find, manifest.shards) if finding]
    if wrong:
        raise ValueError(
            f"{len(wrong)} of {len(manifest.shards)} shards of {manifest.reference} are not as "
            f"published; {wrong[0]}; delete them, pack again and republish"
        )
    if manifest.catalogue:
        listed = len(read_catalogue(store, manifest))
        if listed != manifest.num_clips:
            raise ValueError(
                f"{manifest.reference} states {manifest.num_clips} clips, its catalogue {listed}"
            )


def _gather(
    store: Store, shards: Sequence[ShardEntry], before: Manifest | None, advance: Advance
) -> pa.Table:
    """Bring the shards among the objects and list their clips; known ones are taken as they are."""
    there = {Path(key).stem for key in store.list(OBJECTS) if key.endswith(".tar")}
    places = {s.sha256: i for i, s in enumerate(before.shards)} if before else {}
    known = {places[s.sha256]: i for i, s in enumerate(shards) if s.sha256 in places.keys() & there}
    fresh = [(i, s) for i, s in enumerate(shards) if i not in known.values()]
    for i in known.values():
        advance(shards[i].size_bytes)

    def place(shard: ShardEntry) -> None:
        if shard.sha256 not in there:
            store.link(shard.key, object_key(shard.sha256, "tar"))

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(place, (shard for _, shard in fresh)))
    parts: list[Parts] = []
    if before and known:
        parts.append(rows.known_parts(read_catalogue(store, before), known))
    return _scan(store, fresh, advance, parts)


def _scan(
    store: Store,
    shards: Sequence[tuple[int, ShardEntry]],
    advance: Advance,
    parts: Sequence[Parts] = (),
) -> pa.Table:
    """Read shards that lie among the objects: their bytes are checked and their clips listed."""

    def scan(numbered: tuple[int, ShardEntry]) -> Parts:
        number, shard = numbered
        path = _checked_path(store, shard)
        advance(shard.size_bytes)
        return rows.scan_shard(path, number)

    with ThreadPoolExecutor(TRANSFERS) as pool:
        return rows.join_parts([*parts, *pool.map(scan, shards)])


def _checked_path(store: Store, shard: ShardEntry) -> Path:
    key = object_key(shard.sha256, "tar")
    try:
        path = store.local_path(key, shard.sha256)
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        found, path = "nothing", Path()
    if found != shard.sha256:
        raise ValueError(
            f"{key} must hold {shard.sha256}, got {found}; delete it, pack again and republish"
        )
    return path


def _ignore(num_bytes: int) -> None:
    """Nobody wants to know."""
