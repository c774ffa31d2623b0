"""Runs that live on S3: worked on in a folder here, copied there while the training goes on.

The copy there is the truth: a run that starts or restarts first makes its folder equal to it, so
that all workers continue at one step, wherever they run. A checkpoint counts there once its
manifest is there, which is uploaded last. One process at a time may write: it holds a lease. Where
ranks hold pieces of a model, each copies its own pieces, and the writer waits for all of them
before it copies the manifest.
"""

import fcntl
import json
import logging
import shutil
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from models.training.checkpoint import MANIFEST
from models.training.sharded import PIECE, SHARD
from storage_schemas.store import Store

LOG = logging.getLogger(__name__)
CHECKPOINTS = "checkpoints"
LEASE = "lease.json"
LEASE_S = 60.0
RENEW_S = 15.0
LAST_COPY_S = 600.0
"""How long the writer waits at the end for the pieces of others."""


def is_remote(place: str | Path) -> bool:
    """Whether a run lives on S3."""
    return str(place).startswith("s3://")


def local_run(place: str | Path) -> Path:
    """The folder of a run here, brought from S3 if it lives there."""
    return _Mirror(str(place)).fetch() if is_remote(place) else Path(place)


@contextmanager
def run_folder(
    place: str | Path, rank: int = 0, owner: str | None = None
) -> Iterator[tuple[Path, Callable[[], None]]]:
    """The folder to train in, and what to call when there is something new in it.

    Calling costs nothing: the copying is done by a thread, one copy at a time. On leaving, all
    that is there has been copied.

    Args:
        place: A folder, or s3://bucket/prefix.
        rank: Of this process; 0 writes the run, others their pieces of its checkpoints.
        owner: Names the training over restarts of its workers; anything where None.

    Raises:
        RuntimeError: If another training writes there.
        OSError: If the last copy fails.
    """
    if not is_remote(place):
        yield Path(place), lambda: None
        return
    mirror = _Mirror(str(place), owner or uuid.uuid4().hex, rank)
    mirror.take_lease()
    folder = mirror.fetch()
    mirror.forget_unfinished()
    thread = threading.Thread(target=mirror.follow, name="mirror", daemon=True)
    thread.start()
    try:
        yield folder, mirror.asked.set
        mirror.push_all()
    finally:
        mirror.stopped.set()
        mirror.asked.set()
        thread.join()
        mirror.push()
        mirror.leave()


class _Mirror:
    def __init__(self, place: str, owner: str = "", rank: int = 0) -> None:
        self.place, self.owner, self.rank, self.store = place, owner, rank, Store(place)
        self.folder = self.store.scratch_path("run")
        self.asked, self.stopped = threading.Event(), threading.Event()
        self.pushing = threading.Lock()
        self.sent: dict[str, tuple[int, int]] = {}

    def take_lease(self) -> None:
        """Become, or stay, the one who writes; only the first rank does."""
        if self.rank:
            return
        mine = json.dumps({"owner": self.owner, "until": time.time() + LEASE_S}).encode()
        try:
            data, tag = self.store.read_tagged(LEASE)
        except FileNotFoundError:
            taken = self.store.put_new(LEASE, mine)
        else:
            held = json.loads(data)
            is_free = held["owner"] == self.owner or held["until"] < time.time()
            taken = is_free and self.store.cas(LEASE, mine, tag)
        if not taken:
            raise RuntimeError(
                f"another process trains into {self.place}; stop it and wait {LEASE_S:.0f} s, or "
                "choose another place"
            )

    def leave(self) -> None:
        """Let others write."""
        if self.rank == 0:
            self.store.delete(LEASE)

    def fetch(self) -> Path:
        """Make the folder here equal to what is there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with self.folder.with_name("run.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # workers of one machine share the folder
            keys = {key for key in self.store.list() if key != LEASE}
            complete = {_parent(k) for k in keys if _is_checkpoint(k) and k.endswith(MANIFEST)}
            wanted = {k for k in keys if not _is_checkpoint(k) or _parent(k) in complete}
            for name in {_parent(k) for k in self._files() if _is_checkpoint(k)}:
                if name not in complete or self._differs(f"{name}/{MANIFEST}"):
                    shutil.rmtree(self.folder / name)
            for key in self._files():
                if key not in wanted:
                    (self.folder / key).unlink()
            for key in sorted(wanted):
                if not _is_checkpoint(key) or not (self.folder / key).exists():
                    path = self.folder / key
                    path.parent.mkdir(parents=True, exist_ok=True)
                    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
                    shutil.copyfile(self.store.local_path(key), temporary)
                    temporary.replace(path)
        return self.folder

    def forget_unfinished(self) -> None:
        """Remove pieces of checkpoints that nobody finished: they would be taken for new ones."""
        keys = self.store.list(f"{CHECKPOINTS}/")
        complete = {_parent(key) for key in keys if key.endswith(MANIFEST)}
        for key in keys:
            if self.rank == 0 and _parent(key) not in complete:
                self.store.delete(key)

    def _differs(self, key: str) -> bool:
        path = self.folder / key
        return not path.exists() or path.read_bytes() != self.store.read(key)

    def _files(self) -> list[str]:
        found = (path for path in self.folder.rglob("*") if path.is_file())
        keys = sorted(path.relative_to(self.folder).as_posix() for path in found)
        return [key for key in keys if not any(part[0] == "." for part in key.split("/"))]

    def follow(self) -> None:
        """Copy whenever asked, keep the lease; trouble waits for the next time."""
        while not self.stopped.is_set():
            self.asked.wait(RENEW_S)
            self.asked.clear()
            try:
                self.take_lease()
                self.push()
            except OSError as error:
                LOG.warning("%s is not copied, trying again: %s", self.place, error)
            except RuntimeError as error:
                LOG.error("%s", error)
                return

    def push_all(self) -> None:
        """Copy until nothing is missing.

        Raises:
            OSError: If pieces that other ranks must copy do not come.
        """
        until = time.monotonic() + LAST_COPY_S
        while not self.push():
            if time.monotonic() > until:
                raise OSError(
                    f"{self.place}: pieces of the last checkpoint that other workers hold did not "
                    "come; --resume from the one before"
                )
            time.sleep(0.5)

    def push(self) -> bool:
        """Copy what is new, and forget checkpoints that were removed here.

        Returns:
            False if a manifest waits for pieces of others.
        """
        with self.pushing:
            return self._push()

    def _push(self) -> bool:
        files = self._files()
        is_all = True
        for key in sorted(filter(self._is_mine, files), key=lambda k: (k.endswith(MANIFEST), k)):
            try:
                if key.endswith(MANIFEST) and not self._has_pieces(key):
                    is_all = False
                    continue
                stat = (self.folder / key).stat()
                state = (stat.st_size, stat.st_mtime_ns)
                if self.sent.get(key) != state:
                    self.store.write_file(key, self.folder / key)
                    self.sent[key] = state
            except FileNotFoundError:
                continue  # pruned meanwhile; without its manifest the rest there does not count
        if self.rank:
            return is_all
        here = {_parent(key) for key in files if _is_checkpoint(key)}
        there = self.store.list(f"{CHECKPOINTS}/")
        # A newer one that is not here is being written: pieces of others came first.
        newest = max(here, default="")
        old = [key for key in there if _parent(key) not in here and _parent(key) < newest]
        for key in sorted(old, key=lambda key: not key.endswith(MANIFEST)):
            self.store.delete(key)
        return is_all

    def _is_mine(self, key: str) -> bool:
        name = key.rpartition("/")[2]
        if self.rank == 0 and not name.startswith(PIECE):
            return True
        return name.startswith(SHARD.format(self.rank + 1))

    def _has_pieces(self, manifest: str) -> bool:
        """Whether all that a manifest names lies there."""
        if manifest in self.sent:
            return True
        names = json.loads((self.folder / manifest).read_text())
        there = self.store.list(f"{_parent(manifest)}/")
        return {f"{_parent(manifest)}/{name}" for name in names} <= set(there)


def _is_checkpoint(key: str) -> bool:
    return key.startswith(f"{CHECKPOINTS}/")


def _parent(key: str) -> str:
    return key.rpartition("/")[0]
