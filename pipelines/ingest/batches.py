"""Footage in immutable batches, so that new files are work of their own and old ones are not.

A batch is a record `batches/<name>.json` that lists its sources with their content. Its name comes
from that content: planning again over the same files makes no new batch.
"""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from pipelines.ingest.sources import Source, find_sources
from storage_schemas.store import Store

BATCH_SIZE = 100
PREFIX = "batches/"


def plan_batches(
    places: Sequence[str | Path],
    store: Store,
    licence: str = "unknown",
    size: int = BATCH_SIZE,
    allowed: Sequence[str] = (),
) -> list[str]:
    """Put every source that is in no batch yet into a new one.

    Args:
        places: See `find_sources`.
        store: Holds the batches.
        licence: For sources whose list states none.
        size: Most sources in a batch.
        allowed: See `find_sources`.

    Returns:
        Names of the new batches.

    Raises:
        ValueError: A place names nothing.
    """
    earlier = [source for name in list_batches(store) for source in read_batch(store, name)]
    known = {(source.uri, source.sha256) for source in earlier}
    first_uri = {source.sha256: source.uri for source in reversed(earlier) if source.sha256}
    new = [
        replace(source, duplicate_of=source.duplicate_of or _elsewhere(source, first_uri))
        for source in find_sources(places, licence, allowed)
        if (source.uri, source.sha256) not in known
    ]
    return [_write(store, new[start : start + size]) for start in range(0, len(new), size)]


def _elsewhere(source: Source, first_uri: dict[str, str]) -> str:
    uri = first_uri.get(source.sha256, "")
    return "" if uri == source.uri else uri


def _write(store: Store, sources: Sequence[Source]) -> str:
    data = json.dumps([dataclasses.asdict(source) for source in sources], sort_keys=True).encode()
    stem = re.sub(r"[^a-z0-9]+", "_", Path(sources[0].uri).stem.lower()).strip("_")[:24]
    name = f"{stem or 'batch'}-{hashlib.sha256(data).hexdigest()[:12]}"
    store.write(f"{PREFIX}{name}.json", data)
    return name


def list_batches(store: Store) -> list[str]:
    """Names of all batches."""
    return [key.removeprefix(PREFIX).removesuffix(".json") for key in store.list(PREFIX)]


def read_batch(store: Store, name: str) -> Iterator[Source]:
    """The sources of a batch.

    Raises:
        ValueError: There is no such batch.
    """
    try:
        content = json.loads(store.read(f"{PREFIX}{name}.json"))
    except FileNotFoundError:
        raise ValueError(f"no batch named {name!r} in {store.root}; plan it first") from None
    for source in content:
        yield Source(**source)
