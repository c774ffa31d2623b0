"""Leases: who is using which objects of a store now, so that nobody collects them meanwhile.

    versions/leases/<id>.json    {"purpose", "uses": [digests], "until_s"}

A holder renews its lease until it ends; a dead one's runs out. Clocks of all machines must agree to
well under `LEASE_S`.
"""

import json
import logging
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, Final

from storage_schemas.store import Store

LOG = logging.getLogger(__name__)
LEASE_S: Final = 300.0
RENEW_S: Final = 60.0
PUBLISH: Final = "publish"
"""Purpose of one who adds objects whose digests he cannot know beforehand."""
COLLECT: Final = "collect"
"""Purpose of the one who removes objects; everybody else waits for its end."""
_PREFIX = "versions/leases/"
_POLL_S = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """What somebody uses."""

    key: str
    purpose: str
    uses: tuple[str, ...]
    """SHA-256 of shards or of manifests; a manifest stands for all that it names."""
    until_s: float
    """Seconds since 1970."""


@contextmanager
def lease(store: Store, purpose: str, uses: Sequence[str] = ()) -> Iterator[Lease]:
    """Hold objects while the block runs; nothing is collected in the block.

    Raises:
        OSError: If the lease cannot be written, or a collection does not end.
    """
    mine = Lease(
        key=f"{_PREFIX}{uuid.uuid4().hex}.json", purpose=purpose, uses=tuple(uses), until_s=0.0
    )
    _renew(store, mine)
    ended = threading.Event()
    thread = threading.Thread(target=_keep, args=(store, mine, ended), daemon=True)
    thread.start()
    try:
        if purpose != COLLECT:
            _wait_for_collection(store)
        yield mine
    finally:
        ended.set()
        thread.join()
        with suppress(OSError):  # it runs out by itself
            store.delete(mine.key)


def live_leases(store: Store) -> list[Lease]:
    """Leases that have not run out; those that have are swept away."""
    found: list[Lease] = []
    for key in store.list(_PREFIX):
        try:
            content: dict[str, Any] = json.loads(store.read(key))
        except FileNotFoundError:
            continue  # ended meanwhile
        held = Lease(**{**content, "key": key, "uses": tuple(content["uses"])})
        if held.until_s > time.time():
            found.append(held)
        elif held.until_s < time.time() - LEASE_S:
            store.delete(key)
    return found


def _renew(store: Store, held: Lease) -> None:
    content = asdict(held) | {"until_s": time.time() + LEASE_S}
    store.write(held.key, json.dumps(content).encode())


def _keep(store: Store, held: Lease, ended: threading.Event) -> None:
    while not ended.wait(RENEW_S):
        try:
            _renew(store, held)
        except OSError as error:
            LOG.warning("the lease for %s is not renewed, trying again: %s", held.purpose, error)


def _wait_for_collection(store: Store) -> None:
    # Our lease stands already: a collection that starts now sees it.
    deadline = time.monotonic() + 2 * LEASE_S
    while any(held.purpose == COLLECT for held in live_leases(store)):
        if time.monotonic() > deadline:
            raise OSError(f"a collection in {store.root} does not end; try again later")
        time.sleep(_POLL_S)
