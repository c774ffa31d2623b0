"""Know what of a stage stands on S3 from a few listings instead of a request for every object.

What was seen of each item (its record, its inputs' digests, the tags of these objects) is kept in
`plans/<stage>/`, some five hundred items an object. Tags change with the bytes and a listing tells
a thousand of them at once, so where all tags are the remembered ones, all is as it was seen.
A memory, not a truth: items that it does not know, or knows otherwise, are looked at themselves.
"""

import hashlib
import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from itertools import groupby

from pipelines.stage import Item, Result, Stage, parse_result, result_key
from pipelines.worker import Seen, Tagged, judge, parse_seen
from storage_schemas.store import Store

THREADS = 16
FORGET_AFTER_S = 30 * 24 * 3600.0
"""Plans of items that were not asked for so long go away when others are written."""
_GROUP_ITEMS = 512
_RANGE_KEYS = 2000
_MOST_LISTED = 10
"""A listing that names more keys than so many for each one asked about is not gone on with."""


class Unknown(LookupError):
    """Not remembered, or no longer so."""


class Recalling:
    """Looks at what is remembered, as far as a listing says that it still holds."""

    def __init__(self, seen: Seen, tags: Mapping[str, str]):
        self.seen, self.tags = seen, tags

    def record(self, key: str) -> tuple[Result, str]:
        """The remembered record."""
        self._check(key, self.seen.tag)
        return self.seen.result, self.seen.tag

    def digest(self, key: str) -> Tagged:
        """The remembered digest."""
        if key not in self.seen.inputs:
            raise Unknown(key)
        self._check(key, self.seen.inputs[key][1])
        return self.seen.inputs[key]

    def exists(self, key: str) -> bool:
        """Whether the listing names it."""
        return key in self.tags

    def _check(self, key: str, tag: str) -> None:
        if not tag or self.tags.get(key) != tag:
            raise Unknown(key)


class Plan:
    """Which items of a stage need no look; empty for a folder, where looks cost nothing."""

    def __init__(self, stage: Stage, items: Sequence[Item], store: Store):
        self.store, self.name = store, stage.name
        self.groups = _group(item.key for item in items) if store.is_remote else {}
        self.remembered = _recall(store, [self._key(group) for group in self.groups])
        self.standing = self._plan(stage, items)
        """Item key -> result to reuse."""
        self.seen = {key: self.remembered[key] for key in self.standing}

    def saw(self, seen: Seen) -> None:
        """Remember what a run found or made."""
        if self.groups and seen.tag and seen.result.status != "failed":
            result = replace(seen.result, is_reused=False)
            self.seen[result.key] = replace(seen, result=result)

    def save(self) -> None:
        """Write what was not remembered before, and forget what nobody asked for."""
        changed: dict[str, list[str]] = {}
        for group, keys in self.groups.items():
            known = [key for key in keys if key in self.seen]
            if any(self.seen[key] is not self.remembered.get(key) for key in known):
                changed[group] = known
        for group, keys in changed.items():
            rows = [asdict(self.seen[key]) for key in keys]
            self.store.write(self._key(group), json.dumps(rows).encode())
        if changed:
            self._forget()

    def _plan(self, stage: Stage, items: Sequence[Item]) -> dict[str, Seen]:
        known = [item for item in items if item.key in self.remembered]
        wanted = {key for item in known for key in self._rests_on(item)}
        tags = _list_tags(self.store, wanted)

        def look(item: Item) -> Seen | None:
            try:
                return judge(stage, item, Recalling(self.remembered[item.key], tags)).standing
            except (Unknown, OSError):
                return None

        with ThreadPoolExecutor(THREADS) as pool:
            found = zip(known, pool.map(look, known), strict=True)
            return {item.key: seen for item, seen in found if seen is not None}

    def _rests_on(self, item: Item) -> Iterator[str]:
        yield result_key(self.name, item.key)
        yield from self.remembered[item.key].result.outputs
        yield from (name for name in item.inputs if isinstance(name, str))

    def _key(self, group: str) -> str:
        return f"plans/{self.name}/{group}.json"

    def _forget(self) -> None:
        for entry in self.store.entries(f"plans/{self.name}/"):
            is_ours = entry.key.rpartition("/")[2].removesuffix(".json") in self.groups
            if not is_ours and entry.modified_s < time.time() - FORGET_AFTER_S:
                self.store.delete(entry.key)


def read_records(store: Store, stage_name: str) -> Iterator[Result]:
    """All records of a stage, by item key; those that a plan knows are not read one by one."""
    prefix = f"results/{stage_name}/"
    keys = store.list(prefix)
    remembered: dict[str, Seen] = {}
    tags: dict[str, str] = {}
    if store.is_remote and keys:
        remembered = _recall(store, store.list(f"plans/{stage_name}/"))
        tags = dict(store.tags(prefix, keys[-1]))

    def record(key: str) -> Result:
        seen = remembered.get(key.removeprefix(prefix).removesuffix(".json"))
        if seen is not None and seen.tag == tags.get(key):
            return seen.result
        return parse_result(key, store.read(key))

    if not store.is_remote:
        yield from map(record, keys)
        return
    with ThreadPoolExecutor(THREADS) as pool:
        yield from pool.map(record, keys)


def _group(keys: Iterable[str]) -> dict[str, list[str]]:
    """Neighbours together, cut where the hash of a key says so: a new key changes one group."""
    groups: dict[str, list[str]] = {}
    current: list[str] = []
    for key in sorted(keys):
        current.append(key)
        if int(hashlib.sha256(key.encode()).hexdigest()[:8], 16) % _GROUP_ITEMS == 0:
            groups[_name(current)] = current
            current = []
    if current:
        groups[_name(current)] = current
    return groups


def _name(keys: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(keys).encode()).hexdigest()[:32]


def _recall(store: Store, keys: Sequence[str]) -> dict[str, Seen]:
    """What plans say, by item key; an absent or damaged one says nothing."""

    def read(key: str) -> list[Seen]:
        try:
            return [parse_seen(row) for row in json.loads(store.read(key))]
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return []

    with ThreadPoolExecutor(THREADS) as pool:
        return {seen.result.key: seen for rows in pool.map(read, keys) for seen in rows}


def _list_tags(store: Store, keys: Iterable[str]) -> dict[str, str]:
    """Tags of objects as listings tell them; a key that is absent here may be there."""
    ranges: list[list[str]] = []
    for _, folder in groupby(sorted(keys), key=lambda key: key.partition("/")[0]):
        inside = list(folder)
        ranges += [inside[i : i + _RANGE_KEYS] for i in range(0, len(inside), _RANGE_KEYS)]

    def list_range(wanted: list[str]) -> dict[str, str]:
        found: dict[str, str] = {}
        most = 1000 + _MOST_LISTED * len(wanted)
        # What sorts directly after a name without its last letter is that name, or near it.
        for count, (key, tag) in enumerate(store.tags(wanted[0][:-1], wanted[-1])):
            if count > most:
                return found
            found[key] = tag
        return found

    with ThreadPoolExecutor(THREADS) as pool:
        return {key: tag for found in pool.map(list_range, ranges) for key, tag in found.items()}
