"""Files that a scene reads, known by their content."""

import hashlib
from dataclasses import dataclass
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
            ValueError: If an .amc has no skeleton beside it.
        """
        digest = hashlib.sha256(path.read_bytes())
        if path.suffix.lower() == ".amc":
            digest.update(skeleton_of(path).read_bytes())
        return Asset(path=str(path), sha256=digest.hexdigest(), licence=licence)

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


def list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files below a folder with one of the suffixes, sorted.

    Raises:
        ValueError: If there is none.
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    if not files:
        raise ValueError(f"{folder} holds no {' or '.join(suffixes)} file")
    return files


def round_(value: float) -> float:
    """Four decimals: what a scene record holds and hashes."""
    return round(float(value), 4)
