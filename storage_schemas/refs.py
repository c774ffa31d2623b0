"""What names and tags mean: the only part of published data that moves.

`versions/names/<name>.json` holds {"manifest": what NAME means, "newest": the end of the chain,
"removed": versions given up}, `versions/tags/<name>/<tag>.json` {"manifest": what NAME@TAG means}.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Final

from storage_schemas.manifest import Manifest, check_name, read_object
from storage_schemas.store import Store

TAG_PATTERN: Final = re.compile(r"[a-z][a-z0-9_.-]{0,63}")
NAMES: Final = "versions/names/"
TAGS: Final = "versions/tags/"
_TRIES: Final = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """What a name means, and the tag of the object that says so."""

    manifest: str
    newest: str
    removed: tuple[int, ...] = ()
    etag: str = ""

    def to_json(self) -> bytes:
        """What the object says."""
        content = {"manifest": self.manifest, "newest": self.newest, "removed": self.removed}
        return json.dumps(content).encode()


def list_names(store: Store) -> list[str]:
    """Names of all published data sets."""
    return [key.removeprefix(NAMES).removesuffix(".json") for key in store.list(NAMES)]


def list_versions(store: Store, name: str) -> Iterator[Manifest]:
    """Versions of a data set, newest first; those given up are left out.

    Raises:
        ValueError: There is no such data set.
    """
    head = _known_head(store, name)
    chain = (manifest for _, manifest in walk(store, head.newest))
    return (manifest for manifest in chain if manifest.version not in head.removed)


def walk(store: Store, digest: str) -> Iterator[tuple[str, Manifest]]:
    """A manifest and all before it, with their digests."""
    while digest:
        manifest = read_object(store, digest)
        yield digest, manifest
        digest = manifest.parent


def list_tags(store: Store, name: str) -> dict[str, int]:
    """Tag -> version."""
    check_name(name)
    digests = {key: _read_tag(store, key) for key in store.list(f"{TAGS}{name}/")}
    return {
        key.rpartition("/")[2].removesuffix(".json"): read_object(store, digest).version
        for key, digest in digests.items()
        if digest
    }


def list_tagged(store: Store) -> set[str]:
    """Digests of the manifests that any tag of any data set means."""
    return {_read_tag(store, key) for key in store.list(TAGS)} - {""}


def read_manifest(store: Store, reference: str) -> Manifest:
    """The version that NAME (what it means now), NAME@VERSION (a number) or NAME@TAG names.

    Raises:
        ValueError: There is no such data set, version or tag.
    """
    return read_object(store, find_manifest(store, reference))


def find_manifest(store: Store, reference: str) -> str:
    """Digest of the manifest that a reference names.

    Raises:
        ValueError: There is no such data set, version or tag.
    """
    name, mark, which = reference.partition("@")
    head = _known_head(store, name)
    if not mark:
        return head.manifest
    if not which.isdecimal():
        return _tagged(store, name, which)
    for digest, manifest in walk(store, head.newest):
        if manifest.version == int(which) and manifest.version not in head.removed:
            return digest
        if manifest.version == int(which):
            raise ValueError(f"{reference} was removed; see `isa4d dataset list`")
    raise ValueError(f"{name!r} has no version {which!r}; see `isa4d dataset list`")


def tag(store: Store, reference: str, name: str) -> Manifest:
    """Let a tag mean a version, whatever it meant before.

    Raises:
        ValueError: The tag is no name, or there is no such version.
    """
    if not TAG_PATTERN.fullmatch(name) or name == "latest":
        raise ValueError(
            f"a tag must begin with a letter and hold lower-case letters, digits, - _ and . and "
            f"not be `latest`, got {name!r}"
        )
    digest = find_manifest(store, reference)
    key = f"{TAGS}{reference.partition('@')[0]}/{name}.json"
    store.write(key, json.dumps({"manifest": digest}).encode())
    manifest = read_object(store, digest)
    try:
        find_manifest(store, manifest.reference)  # nobody gave it up meanwhile
    except ValueError:
        store.delete(key)
        raise
    return manifest


def untag(store: Store, name: str, tag_name: str) -> None:
    """Forget a tag.

    Raises:
        ValueError: There is no such tag.
    """
    _tagged(store, name, tag_name)
    store.delete(f"{TAGS}{name}/{tag_name}.json")


def rollback(store: Store, reference: str) -> Manifest:
    """Let the name mean an older (or again a newer) version; all versions stay.

    Raises:
        ValueError: There is no such version.
    """
    name = reference.partition("@")[0]
    for _ in range(_TRIES):
        digest = find_manifest(store, reference)
        head = _known_head(store, name)
        manifest = read_object(store, digest)
        if manifest.version in head.removed:
            raise ValueError(f"{reference} was removed; see `isa4d dataset list`")
        if move_head(store, name, head, replace(head, manifest=digest)):
            return manifest
    raise OSError(f"{name} kept moving while rolling back ({_TRIES} tries); try again")


def old_versions(store: Store, name: str, keep: int) -> list[int]:
    """Versions that `give_up` would give up now: all but the newest, the tagged, and the meant."""
    return _old(store, name, keep, _known_head(store, name))


def give_up(store: Store, name: str, keep: int) -> list[int]:
    """Give up old versions; their numbers are never used again, their objects wait for collection.

    Args:
        store: Holds the versions.
        name: Of the data set.
        keep: How many of the newest stay.

    Returns:
        The versions given up now.
    """
    for _ in range(_TRIES):
        head = _known_head(store, name)
        gone = _old(store, name, keep, head)
        removed = tuple(sorted({*head.removed, *gone}))
        if not gone or move_head(store, name, head, replace(head, removed=removed)):
            return gone
    raise OSError(f"{name} kept moving while giving up versions ({_TRIES} tries); try again")


def _old(store: Store, name: str, keep: int, head: Head) -> list[int]:
    if keep < 1:
        raise ValueError(f"keep must be at least 1, got {keep}")
    tagged = set(list_tags(store, name).values())
    chain = [(digest, manifest.version) for digest, manifest in walk(store, head.newest)]
    alive = [(digest, version) for digest, version in chain if version not in head.removed]
    return sorted(v for digest, v in alive[keep:] if v not in tagged and digest != head.manifest)


def move_head(store: Store, name: str, head: Head | None, new: Head) -> bool:
    """Let a name mean something else, if it still is what was read; whether it does."""
    key = f"{NAMES}{name}.json"
    return store.cas(key, new.to_json(), head.etag) if head else store.put_new(key, new.to_json())


def read_head(store: Store, name: str) -> Head | None:
    """What a name means; None where nothing was published under it.

    Raises:
        ValueError: The object says nothing.
    """
    check_name(name)
    try:
        data, etag = store.read_tagged(f"{NAMES}{name}.json")
    except FileNotFoundError:
        return None
    try:
        content: dict[str, Any] = json.loads(data)
        manifest = str(content["manifest"])
        return Head(
            manifest=manifest,
            newest=str(content.get("newest", manifest)),
            removed=tuple(content.get("removed", ())),
            etag=etag,
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"{NAMES}{name}.json names no manifest ({error!r}); restore it") from error


def _known_head(store: Store, name: str) -> Head:
    head = read_head(store, name)
    if head is None:
        known = ", ".join(list_names(store)) or "none"
        raise ValueError(f"no data set named {name!r} (known: {known}); run `isa4d publish`")
    return head


def _tagged(store: Store, name: str, tag_name: str) -> str:
    digest = ""
    if TAG_PATTERN.fullmatch(tag_name):
        digest = _read_tag(store, f"{TAGS}{name}/{tag_name}.json")
    if not digest:
        raise ValueError(f"{name!r} has no version {tag_name!r}; see `isa4d dataset list`")
    return digest


def _read_tag(store: Store, key: str) -> str:
    try:
        return str(json.loads(store.read(key))["manifest"])
    except FileNotFoundError:
        return ""
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{key} names no manifest ({error!r}); tag again") from error
