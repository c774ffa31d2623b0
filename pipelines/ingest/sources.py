"""What to ingest: files, folders, globs, lists and s3 prefixes become sources."""

import csv
import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.run import sha256_file
from storage_schemas.store import Store

_LIST_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file of footage."""

    uri: str
    """Absolute path or s3:// address."""
    licence: str
    sha256: str = ""
    """Of the content; empty if the file could not be read (the run then says why)."""
    duplicate_of: str = ""
    """The uri of an earlier source with the same content, if any."""
    caption: str = ""
    """What a list says it shows."""
    refused: str = ""
    """Why a list may not name this place; it is then not even opened."""

    @property
    def key(self) -> str:
        """Names the source's result."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:32]

    def local_path(self) -> Path:
        """The file here; downloaded when remote."""
        return _local_path(self.uri)


def find_sources(
    places: Sequence[str | Path], licence: str = "unknown", allowed: Sequence[str] = ()
) -> list[Source]:
    """Every file the places name, sorted by uri, with its content hash.

    Args:
        places: Files, folders (searched deeply, hidden files left out), globs, csv or parquet
            lists with a column `path` (relative to the list) and perhaps `licence` and `caption`,
            or s3://bucket/prefix.
        licence: For sources whose list states none.
        allowed: Folders and s3 prefixes that a list may name besides its own folder: a list may
            come from somebody who must not read every file and bucket that we can.

    Raises:
        ValueError: A place names nothing.
    """
    named: dict[str, Source] = {}
    for place in places:
        found = {source.uri: source for source in _expand(str(place), licence, allowed)}
        if not found:
            raise ValueError(f"{place} names no files; give files, folders, globs, lists or s3://")
        named.update(found)
    sources: list[Source] = []
    first_uri: dict[str, str] = {}
    for uri in sorted(named):
        source = named[uri]
        if not source.refused:
            source = replace(source, sha256=_content_hash(uri))
        if source.sha256:
            earlier = first_uri.setdefault(source.sha256, uri)
            source = replace(source, duplicate_of="" if earlier == uri else earlier)
        sources.append(source)
    return sources


def _expand(place: str, licence: str, allowed: Sequence[str]) -> Iterator[Source]:
    """Sources by name only; nothing is opened but lists."""
    if place.startswith("s3://"):
        bucket, _, prefix = place.removeprefix("s3://").partition("/")
        for key in Store(f"s3://{bucket}").list(prefix):
            if not Path(key).name.startswith("."):
                yield Source(uri=f"s3://{bucket}/{key}", licence=licence)
        return
    path = Path(place)
    if path.is_dir():
        for file in path.rglob("*"):
            inside = file.relative_to(path)
            if file.is_file() and not any(part.startswith(".") for part in inside.parts):
                yield Source(uri=_uri(file), licence=licence)
    elif path.suffix in _LIST_SUFFIXES and path.is_file():
        yield from _read_list(path, licence, allowed)
    elif path.exists() or not glob.has_magic(place):
        yield Source(uri=_uri(path), licence=licence)
    else:
        for match in glob.glob(place, recursive=True):  # noqa: PTH207 - takes absolute patterns
            yield from _expand(match, licence, allowed)


def _read_list(path: Path, licence: str, allowed: Sequence[str]) -> Iterator[Source]:
    rows, columns = _read_rows(path)
    if "path" not in columns:
        raise ValueError(f"{path} must have a column named path, got {columns}")
    for row in rows:
        named = row["path"] or ""
        uri = named if "://" in named else _uri(path.parent / named)
        is_fine = _lies_in(uri, [str(path.parent), *allowed])
        yield Source(
            uri=uri,
            licence=row.get("licence") or licence,
            caption=row.get("caption") or "",
            refused="" if is_fine else f"{path.name} may not name it; --allow its place to let it",
        )


def _read_rows(path: Path) -> tuple[list[dict[str, str | None]], list[str]]:
    if path.suffix == ".csv":
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.DictReader(file)
            return list(rows), list(rows.fieldnames or [])
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} is no parquet file ({error}); write the list again") from error
    return table.to_pylist(), table.column_names


def _lies_in(uri: str, places: Sequence[str]) -> bool:
    """Whether a file lies in one of the places, links followed."""
    if "://" in uri:
        tidy = ".." not in uri.split("/")
        return tidy and any(f"{uri}/".startswith(f"{p.rstrip('/')}/") for p in places if "://" in p)
    file = Path(uri).resolve()
    return any(file.is_relative_to(Path(p).resolve()) for p in places if "://" not in p)


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
