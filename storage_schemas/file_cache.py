"""Files of a remote store kept here, up to a size: the least recently used go first.

    <folder>/<name>/<file>      a finished file
    <folder>/<name>/.room       as large as what is on its way
    <folder>/<name>/.user-<id>  a process that needs it until its end
    <folder>/.users/<id>        locked as long as that process lives
    <folder>/.lock-<hh>         locked while files whose names begin with hh come or go
    <folder>/.lock-room         locked while room is made

Any number of processes share a folder. Each file is downloaded once; files that a living process
keeps are never removed.
"""

import fcntl
import os
import shutil
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

DEFAULT_GB = 100.0
_LOCK_DIGITS = 2
_ROOM = ".room"


class FileCache:
    """Files by name, under a limit of their bytes.

    Args:
        folder: Made on first use, for this user alone.
        limit_bytes: Of all files, those on their way included.
    """

    def __init__(self, folder: Path, limit_bytes: int):
        self.folder, self.limit_bytes = folder, limit_bytes
        self._id = ""
        self._life: int | None = None
        self._beginning = threading.Lock()

    @classmethod
    def from_environment(cls) -> "FileCache":
        """The folder `ISA4D_CACHE_DIR`, by default in the temporary one, `ISA4D_CACHE_GB` large.

        Raises:
            ValueError: The size is no positive number.
        """
        text = os.environ.get("ISA4D_CACHE_GB", str(DEFAULT_GB))
        try:
            limit_gb = float(text)
        except ValueError:
            limit_gb = 0.0
        if not limit_gb > 0:
            raise ValueError(f"ISA4D_CACHE_GB must be a positive number, got {text!r}")
        folder = os.environ.get("ISA4D_CACHE_DIR") or machine_folder() / "cache"
        return cls(Path(folder), int(limit_gb * 1e9))

    def has(self, name: str) -> bool:
        """Whether the file of this name is here now."""
        return any((self.folder / name).glob("[!.]*"))

    def fetch(
        self,
        name: str,
        file_name: str,
        size_bytes: int,
        download: Callable[[Path], None],
        keep: bool = False,
    ) -> Path:
        """The file of this name, downloaded if it is not here.

        Args:
            name: Hexadecimal, stands for the content.
            file_name: Last part of the path.
            size_bytes: Room to make.
            download: Writes the file at the path it is given.
            keep: Hold the file until this process ends.

        Raises:
            OSError: Everything here is held and leaves no room.
        """
        path = self.folder / name / file_name
        with self._locked(name[:_LOCK_DIGITS]):
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            if keep:
                (path.parent / f".user-{self._user()}").touch()
            if not path.exists():
                room = path.with_name(_ROOM)
                temporary = path.with_name(f".{uuid.uuid4().hex}")
                try:
                    with self._locked("room"):
                        self._make_room(size_bytes)
                        room.touch()
                        os.truncate(room, size_bytes)  # takes no space, but counts
                    download(temporary)
                    temporary.replace(path)
                finally:
                    room.unlink(missing_ok=True)
                    temporary.unlink(missing_ok=True)
            os.utime(path)
        return path

    def _make_room(self, size_bytes: int) -> None:
        entries = self._entries()
        excess = sum(size for _, size, _ in entries) + size_bytes - self.limit_bytes
        for _, size, name in sorted(entries):
            if excess <= 0:
                return
            excess -= size if self._remove(name) else 0
        if excess > 0:
            raise OSError(
                f"the cache {self.folder} is limited to {self.limit_bytes / 1e9:g} GB, in use, and "
                f"lacks {excess / 1e9:.3g} GB; raise ISA4D_CACHE_GB or point ISA4D_CACHE_DIR to a "
                "larger disk"
            )

    def _entries(self) -> list[tuple[float, int, str]]:
        """Last use, size and name of what is here."""
        entries: list[tuple[float, int, str]] = []
        for folder in self.folder.glob("[!.]*"):
            with suppress(FileNotFoundError, NotADirectoryError):
                stats = {path.name: path.stat() for path in folder.iterdir()}
                coming = [stats[_ROOM]] if _ROOM in stats else stats.values()
                size = sum(stat.st_size for stat in coming)
                entries.append(
                    (max((s.st_mtime for s in stats.values()), default=0.0), size, folder.name)
                )
        return entries

    def _remove(self, name: str) -> bool:
        """Remove a file unless it is coming or held; whether it went."""
        try:
            with self._locked(name[:_LOCK_DIGITS], wait=False):
                folder = self.folder / name
                if any(self._lives(mark) for mark in folder.glob(".user-*")):
                    return False
                shutil.rmtree(folder, ignore_errors=True)
                return True
        except BlockingIOError:
            return False

    def _lives(self, mark: Path) -> bool:
        life = self._users / mark.name.removeprefix(".user-")
        with life.open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        life.unlink(missing_ok=True)
        return False

    @property
    def _users(self) -> Path:
        return self.folder / ".users"

    def _user(self) -> str:
        with self._beginning:
            if self._life is None:
                self._users.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._id = uuid.uuid4().hex
                # The system drops the lock when the process dies; a fork that goes on keeps it.
                self._life = os.open(self._users / self._id, os.O_CREAT | os.O_WRONLY, 0o600)
                fcntl.flock(self._life, fcntl.LOCK_EX)
        return self._id

    @contextmanager
    def _locked(self, what: str, wait: bool = True) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self.folder / f".lock-{what}").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            yield


def machine_folder() -> Path:
    """Where this user's files of remote stores lie on this machine."""
    return Path(tempfile.gettempdir()) / f"isa4d-{os.getuid()}"
