"""Garbage collection: removes objects that no version, no tag and no running job uses."""

import time
from collections.abc import Sequence, Set
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final

from storage_schemas.lease import COLLECT, PUBLISH, Lease, lease, live_leases
from storage_schemas.manifest import OBJECTS, Manifest, object_key, read_object
from storage_schemas.refs import list_names, list_tagged, read_head, walk
from storage_schemas.store import Entry, Store

GRACE_S: Final = 24 * 3600.0
"""Younger objects stay: their publisher may not have been heard of yet."""
_THREADS: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class Collection:
    """What was, or would be, removed."""

    garbage: tuple[Entry, ...]
    num_used: int
    """Objects that something uses."""
    num_young: int
    """Objects that nothing uses, younger than the grace period."""

    def summary(self) -> str:
        """One line whose counts add up."""
        size_mb = sum(entry.size_bytes for entry in self.garbage) / 1e6
        total = self.num_used + self.num_young + len(self.garbage)
        return (
            f"{total} objects = {self.num_used} used + {self.num_young} younger than the grace "
            f"period + {len(self.garbage)} garbage ({size_mb:.1f} MB)"
        )


def find_garbage(
    store: Store, grace_s: float = GRACE_S, without: Sequence[tuple[str, int]] = ()
) -> Collection:
    """What a collection would remove now, or if some versions (name, number) were given up."""
    found = store.entries(OBJECTS)  # before the marks: what comes later is not looked at
    used = _used(store, {entry.key for entry in found}, without)
    unused = [entry for entry in found if entry.key not in used]
    garbage = [entry for entry in unused if entry.modified_s <= time.time() - grace_s]
    return Collection(
        garbage=tuple(garbage),
        num_used=len(found) - len(unused),
        num_young=len(unused) - len(garbage),
    )


def collect(store: Store, grace_s: float = GRACE_S) -> Collection:
    """Remove garbage; may be killed and run again at any moment.

    Raises:
        OSError: Another collection is at work.
    """
    with lease(store, COLLECT) as mine:
        others = [held for held in live_leases(store) if held.key != mine.key]
        if any(held.purpose == COLLECT for held in others):
            raise OSError(f"another collection is at work in {store.root}; let it end")
        found = find_garbage(store, grace_s)
        with ThreadPoolExecutor(_THREADS) as pool:
            list(pool.map(lambda entry: _remove(store, entry.key, mine), found.garbage))
        return found


def _remove(store: Store, key: str, mine: Lease) -> None:
    if not store.exists(mine.key):
        raise OSError("the lease of this collection ran out; run it again")
    store.delete(key)


def _used(store: Store, there: Set[str], without: Sequence[tuple[str, int]]) -> set[str]:
    """Keys of all objects that something names."""
    used: set[str] = set()
    digests = set(list_tagged(store))
    for name in list_names(store):
        head = read_head(store, name)
        if head is not None:
            digests.add(head.manifest)
            for digest, manifest in walk(store, head.newest):
                # A chain is held together by its manifests, also by those given up.
                used.add(object_key(digest, "json"))
                if manifest.version not in head.removed and (name, manifest.version) not in without:
                    used |= _objects_of(manifest)
    for held in live_leases(store):
        used |= {object_key(digest, "tar") for digest in held.uses}
        if held.purpose == PUBLISH:
            used |= {key for key in there if not key.endswith(".tar")}
        digests |= {digest for digest in held.uses if object_key(digest, "json") in there}
    for digest in digests:
        used |= {object_key(digest, "json"), *_objects_of(read_object(store, digest))}
    return used


def _objects_of(manifest: Manifest) -> set[str]:
    shards = {object_key(shard.sha256, "tar") for shard in manifest.shards}
    return {object_key(manifest.catalogue, "parquet"), *shards}
