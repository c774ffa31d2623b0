"""Files that a scene reads, known by their content."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pipelines.synthetic.amc import skeleton_of

UNKNOWN = "unknown"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file that a scene reads; its content counts, not where it lies."""

    path: str
    sha256: str
    licence: str = UNKNOWN
    """SPDX name or free text; `unknown` where nobody stated one."""

    def __post_init__(self) -> None:
        """Validate."""
        if not self.licence.strip():
            raise ValueError(f"licence of {self.path} must say something, or {UNKNOWN!r}")

    @staticmethod
    def of(path: Path, licence: str = UNKNOWN) -> "Asset":
        """Describe a file; an .amc counts together with the .asf that gives it meaning.

        Raises:
            ValueError: If it is not there, or an .amc has no skeleton beside it.
        """
        if not path.is_file():
            raise ValueError(f"{path} is not there; is it a link to a file that was moved?")
        parts = [path, skeleton_of(path)] if path.suffix.lower() == ".amc" else [path]
        stats = [part.stat() for part in parts]
        stamps = tuple((s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in stats)
        return Asset(path=str(path), sha256=_sha256(tuple(parts), stamps), licence=licence)

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.path)

    def verify(self) -> None:
        """Check that the file is there and unchanged.

        Raises:
            ValueError: If it is not.
        """
        if not self.file.is_file():
            raise ValueError(f"the scene needs {self.path}, which is not there")
        if Asset.of(self.file).sha256 != self.sha256:
            raise ValueError(
                f"{self.path} changed since the scene was drawn; sample the scene anew"
            )


@lru_cache(maxsize=4096)
def _sha256(paths: tuple[Path, ...], _stamps: tuple[tuple[int, ...], ...]) -> str:
    """Of the files' bytes in a row; read again when a stamp changes, not for every clip."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files below a folder with one of the suffixes, sorted.

    Raises:
        ValueError: If there is none.
    """
    found = (p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    files = sorted(p for p in found if not p.is_dir())
    if not files:
        raise ValueError(f"{folder} holds no {' or '.join(suffixes)} file")
    return files


def round_(value: float) -> float:
    """Four decimals: what a scene record holds and hashes."""
    return round(float(value), 4)
