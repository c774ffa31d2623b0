"""What to ingest: files, folders, globs, csv lists and s3 prefixes become a list of sources."""

import csv
import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.run import sha256_file
from storage_schemas.store import Store

_LIST_SUFFIXES = (".csv",)


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file of footage."""

    uri: str
    """Absolute path or s3:// address."""
    licence: str
    sha256: str
    """Of the content; empty if the file could not be read (the run then says why)."""
    duplicate_of: str = ""
    """The uri of an earlier source with the same content, if any."""

    @property
    def key(self) -> str:
        """Names the source's result."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:32]

    def local_path(self) -> Path:
        """The file here; downloaded when remote."""
        return _local_path(self.uri)


def find_sources(places: Sequence[str | Path], licence: str = "unknown") -> list[Source]:
    """Every file the places name, sorted by uri, with its content hash.

    Args:
        places: Files, folders (searched deeply, hidden files left out), globs, csv lists with a
            column `path` (relative to the list) and perhaps `licence`, or s3://bucket/prefix.
        licence: For sources whose list states none.

    Raises:
        ValueError: A place names nothing.
    """
    licences: dict[str, str] = {}
    for place in places:
        found = dict(_expand(str(place), licence))
        if not found:
            raise ValueError(f"{place} names no files; give files, folders, globs, csv or s3://")
        licences.update(found)
    sources: list[Source] = []
    first_uri: dict[str, str] = {}
    for uri in sorted(licences):
        source = Source(uri=uri, licence=licences[uri], sha256=_content_hash(uri))
        if source.sha256:
            earlier = first_uri.setdefault(source.sha256, uri)
            source = replace(source, duplicate_of="" if earlier == uri else earlier)
        sources.append(source)
    return sources


def _expand(place: str, licence: str) -> Iterator[tuple[str, str]]:
    if place.startswith("s3://"):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        for key in Store(f"s3://{bucket}").list(prefix):
            if not Path(key).name.startswith("."):
                yield f"s3://{bucket}/{key}", licence
        return
    path = Path(place)
    if path.is_dir():
        for file in path.rglob("*"):
            inside = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                yield _uri(file), licence
    elif path.suffix in _LIST_SUFFIXES and path.is_file():
        yield from _read_list(path, licence)
    elif path.exists() or not glob.has_magic(place):
        yield _uri(path), licence
    else:
        for match in glob.glob(place, recursive=True):  # noqa: PTH207 - takes absolute patterns
            yield from _expand(match, licence)


def _read_list(path: Path, licence: str) -> Iterator[tuple[str, str]]:
    with path.open(newline="") as file:
        rows = csv.DictReader(file)
        if "path" not in (rows.fieldnames or []):
            raise ValueError(f"{path} must have a column named path, got {rows.fieldnames}")
        for row in rows:
            named = row["path"]
            uri = named if named.startswith("s3://") else _uri(path.parent / named)
            yield uri, row.get("licence") or licence


def _uri(path: Path) -> str:
    return path.absolute().as_posix()


def _local_path(uri: str) -> Path:
    if not uri.startswith("s3://"):
        return Path(uri)
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return Store(f"s3://{bucket}").local_path(key)


def _content_hash(uri: str) -> str:
    try:
        return sha256_file(_local_path(uri))
    except OSError:
        return ""
