"""Where bytes live: a local folder or `s3://bucket/prefix`, one interface, whole objects only.

Keys are slash-separated relative names. A write becomes visible whole or not at all: locally a
temporary file is synced and renamed, on S3 objects are atomic. Two conditional writes carry all
concurrency: `put_new` (create only) and `cas` (replace what I read).
"""

import errno
import fcntl
import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from storage_schemas.s3 import Bucket

_TEMPORARY = ".tmp"  # names that begin with a dot are ours and never listed
_SCRATCH = ".scratch"
_LEFTOVER_AGE_S = 24 * 3600


class Entry(NamedTuple):
    """What a listing says of an object."""

    key: str
    size_bytes: int
    modified_s: float
    """When it came under this key, seconds since 1970 by the clock of where it lies."""


class Store:
    """Objects under one root; may be sent to other processes.

    Args:
        root: A folder (made on the first write) or "s3://bucket/prefix". S3 takes credentials,
            region and `AWS_ENDPOINT_URL` from the usual AWS environment and files.
    """

    def __init__(self, root: str | Path):
        self.root = str(root)
        if "://" in self.root and not self.root.startswith("s3://"):
            raise ValueError(f"root must be a folder or s3://bucket/prefix, got {self.root!r}")
        self._backend: _Folder | Bucket = (
            Bucket(self.root) if self.root.startswith("s3://") else _Folder(Path(self.root))
        )

    def __reduce__(self) -> tuple[type, tuple[str]]:
        return (type(self), (self.root,))

    def __repr__(self) -> str:
        return f"Store({self.root!r})"

    @property
    def is_remote(self) -> bool:
        """Whether every look costs a request."""
        return isinstance(self._backend, Bucket)

    def read(self, key: str) -> bytes:
        """The object's bytes.

        Raises:
            FileNotFoundError: There is no such object.
        """
        return self.read_tagged(key)[0]

    def read_tagged(self, key: str) -> tuple[bytes, str]:
        """The object's bytes and the tag of exactly these bytes, for `cas`."""
        return self._backend.read(_checked(key))

    def write(self, key: str, data: bytes) -> str:
        """Create or replace an object; the tag is what `read_tagged` gives for these bytes."""
        return self._backend.write(_checked(key), data)

    def write_file(self, key: str, path: Path) -> None:
        """Create or replace an object from a file, without holding it in memory."""
        self._backend.write_file(_checked(key), path)

    def adopt(self, key: str, path: Path) -> None:
        """Create or replace an object from a file that goes away: a rename where that is enough."""
        self._backend.adopt(_checked(key), path)

    def scratch_path(self, name: str) -> Path:
        """A local file for unfinished work of this root; it stays between runs, unlisted."""
        path = self._backend.scratch_folder / name
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        return path

    def link(self, key: str, new_key: str) -> None:
        """Give an object a second key without moving its bytes through here.

        Later writes or deletes of either key leave the other as it is.
        """
        self._backend.link(_checked(key), _checked(new_key))

    def put_new(self, key: str, data: bytes) -> bool:
        """Create an object; of several writers of different bytes exactly one succeeds.

        Returns:
            True if the key now holds these very bytes, False if it holds others. (Identical bytes
            count as success: the retry of one's own lost acknowledgement looks like a conflict.)
        """
        return self._backend.put_new(_checked(key), data)

    def cas(self, key: str, data: bytes, etag: str) -> bool:
        """Replace an object only if it still is what `read_tagged` gave.

        Returns:
            True if the key now holds these bytes; False if somebody else changed or deleted it.
        """
        return self._backend.cas(_checked(key), data, etag)

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        return self._backend.exists(_checked(key))

    def list(self, prefix: str = "") -> "list[str]":
        """All keys that begin with the prefix, sorted; a prefix need not end at a slash."""
        _check_prefix(prefix)
        return sorted(self._backend.keys(prefix))

    def entries(self, prefix: str = "") -> "list[Entry]":
        """What `list` names, with sizes and times."""
        _check_prefix(prefix)
        return sorted(Entry(*entry) for entry in self._backend.entries(prefix))

    def tags(self, after: str, last: str) -> Iterator[tuple[str, str]]:
        """Keys that sort behind `after`, up to `last`, each with its tag.

        Only of S3, whose listings tell tags: a thousand at one request.
        """
        return self._backend.tags(after, last)

    def delete(self, key: str) -> None:
        """Remove an object; a missing one is no error."""
        self._backend.delete(_checked(key))

    def sha256(self, key: str) -> str:
        """Digest of the object's bytes, all read from where they lie.

        Raises:
            FileNotFoundError: There is no such object.
        """
        return self._backend.sha256(_checked(key))

    def local_path(self, key: str, sha256: str = "", keep: bool = False) -> Path:
        """A local file with the object's bytes (downloaded once per content when remote).

        Args:
            key: Of the object.
            sha256: What a download must hold; where it is known, a file that is already here is
                found without asking the server.
            keep: Hold a downloaded file until this process ends. Otherwise it stays until the
                cache needs the room: open it soon.

        Raises:
            FileNotFoundError: There is no such object.
            OSError: The cache has no room.
        """
        return self._backend.local_path(_checked(key), sha256, keep)

    def check_conditional_writes(self) -> None:
        """Make sure that of two publishers one is refused.

        Raises:
            OSError: The server ignores conditions.
        """
        self._backend.check_conditional_writes()


class _Folder:
    def __init__(self, root: Path):
        self.root = root.absolute()

    def read(self, key: str) -> tuple[bytes, str]:
        data = (self.root / key).read_bytes()
        return data, _digest(data)

    def write(self, key: str, data: bytes) -> str:
        with self._temporary() as temporary:
            _write_synced(temporary, data)
            self._rename(temporary, key)
        return _digest(data)

    def write_file(self, key: str, path: Path) -> None:
        with self._temporary() as temporary:
            shutil.copyfile(path, temporary)
            _sync(temporary)
            self._rename(temporary, key)

    def adopt(self, key: str, path: Path) -> None:
        _sync(path)
        try:
            self._rename(path, key)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self.write_file(key, path)  # the file lies on another disk
            path.unlink()

    @property
    def scratch_folder(self) -> Path:
        return self.root / _SCRATCH

    def link(self, key: str, new_key: str) -> None:
        source = self.local_path(key)
        with self._temporary() as temporary:
            # Safe because objects are only ever replaced whole, never changed in place.
            temporary.hardlink_to(source)
            self._rename(temporary, new_key)

    def put_new(self, key: str, data: bytes) -> bool:
        target = self._parent_made(key)
        with self._temporary() as temporary:
            _write_synced(temporary, data)
            try:
                # Unlike rename, a hard link fails if the name is taken.
                target.hardlink_to(temporary)
            except FileExistsError:
                return target.read_bytes() == data
        _sync(target.parent)
        return True

    def cas(self, key: str, data: bytes, etag: str) -> bool:
        with self._lock():
            try:
                current = (self.root / key).read_bytes()
            except FileNotFoundError:
                return False
            if _digest(current) != etag:
                return current == data
            self.write(key, data)
            return True

    def exists(self, key: str) -> bool:
        return (self.root / key).is_file()

    def entries(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        for key in self.keys(prefix):
            with suppress(FileNotFoundError):
                stat = (self.root / key).stat()
                # A link changes this time and not that of the bytes: young is what came lately.
                yield key, stat.st_size, stat.st_ctime

    def keys(self, prefix: str) -> Iterator[str]:
        start = self.root / prefix.rpartition("/")[0]
        for folder, folders, files in os.walk(start):
            folders[:] = [name for name in folders if not name.startswith(".")]
            for name in files:
                key = (Path(folder) / name).relative_to(self.root).as_posix()
                if key.startswith(prefix) and not name.startswith("."):
                    yield key

    def tags(self, after: str, last: str) -> Iterator[tuple[str, str]]:
        raise NotImplementedError("a folder tells no tags in a listing")

    def delete(self, key: str) -> None:
        (self.root / key).unlink(missing_ok=True)

    def sha256(self, key: str) -> str:
        with self.local_path(key).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def local_path(self, key: str, sha256: str = "", keep: bool = False) -> Path:
        path = self.root / key
        if not path.is_file():
            raise FileNotFoundError(f"no object {key!r} in {self.root}")
        return path

    def check_conditional_writes(self) -> None:
        """The file system keeps them."""

    def _parent_made(self, key: str) -> Path:
        target = self.root / key
        target.parent.mkdir(parents=True, exist_ok=True)
        return target

    def _rename(self, temporary: Path, key: str) -> None:
        target = self._parent_made(key)
        temporary.replace(target)
        _sync(target.parent)

    @cached_property
    def _temporary_folder(self) -> Path:
        folder = self.root / _TEMPORARY
        folder.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            # Left by killed processes; a live write does not take a day.
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _LEFTOVER_AGE_S:
                    path.unlink()
        return folder

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        folder = self._temporary_folder
        path = folder / uuid.uuid4().hex
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    @contextmanager
    def _lock(self) -> Iterator[None]:
        self.root.mkdir(parents=True, exist_ok=True)
        with (self.root / ".lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # the system drops it when the holder dies
            yield


def _check_prefix(prefix: str) -> None:
    if prefix.startswith("/") or ".." in prefix.split("/"):
        raise ValueError(f"prefix must lie inside the store, got {prefix!r}")


def _checked(key: str) -> str:
    parts = key.split("/")
    if any(not part or part.startswith(".") for part in parts) or "\\" in key or "\0" in key:
        raise ValueError(
            f"key must be a relative name like clips/ab12/clip.json without empty parts or parts "
            f"that begin with a dot, got {key!r}"
        )
    return key


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
