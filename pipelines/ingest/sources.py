"""What to ingest: files, folders, globs, lists, s3 prefixes, web addresses become sources."""

import csv
import glob
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pipelines.ingest.fetch import fetch
from pipelines.run import Rejected, sha256_file
from storage_schemas.store import Store

MAX_BYTES = 20_000_000_000
_WEB = ("http://", "https://")
_LIST_SUFFIXES = (".csv", ".parquet")


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One file of footage."""

    uri: str
    """Absolute path, s3:// or http address."""
    licence: str
    sha256: str = ""
    """Of the content; empty if the file could not be read (the run then says why)."""
    duplicate_of: str = ""
    """The uri of an earlier source with the same content, if any."""
    caption: str = ""
    """What a list says it shows."""
    refused: str = ""
    """Reason code for not even opening it."""
    why: str = ""
    """The reason in words."""

    @property
    def key(self) -> str:
        """Names the source's result."""
        return hashlib.sha256(self.uri.encode()).hexdigest()[:32]

    def local_path(self, max_bytes: int = MAX_BYTES) -> Path:
        """The file here; downloaded when remote.

        Raises:
            Rejected: The server refuses it for good, or it is too large.
        """
        if self.uri.startswith(_WEB):
            return fetch(self.uri, max_bytes)
        if not self.uri.startswith("s3://"):
            return Path(self.uri)
        bucket, _, key = self.uri.removeprefix("s3://").partition("/")
        return Store(f"s3://{bucket}").local_path(key)


def find_sources(
    places: Sequence[str | Path],
    licence: str = "unknown",
    allowed: Sequence[str] = (),
    max_bytes: int = MAX_BYTES,
) -> list[Source]:
    """Every file the places name, sorted by uri, with its content hash.

    Args:
        places: Files, folders (searched deeply, hidden files left out), globs, csv or parquet
            lists with a column `path` or `url` (paths relative to the list) and perhaps `licence`
            and `caption`, s3://bucket/prefix, or http(s) addresses of files.
        licence: For sources whose list states none.
        allowed: Folders, s3 prefixes and http(s) addresses that a list may name besides its own
            folder: a list may come from somebody who must not read every file, bucket and server
            that we can.
        max_bytes: Larger files are not downloaded.

    Raises:
        ValueError: A place names nothing.
    """
    named: dict[str, Source] = {}
    for place in places:
        found = {source.uri: source for source in _expand(str(place), licence, allowed, max_bytes)}
        if not found:
            raise ValueError(f"{place} names no files; give files, folders, globs, lists or s3://")
        named.update(found)
    sources: list[Source] = []
    first_uri: dict[str, str] = {}
    for uri in sorted(named):
        source = named[uri]
        if not source.refused:
            source = replace(source, sha256=_content_hash(source, max_bytes))
        if source.sha256:
            earlier = first_uri.setdefault(source.sha256, uri)
            source = replace(source, duplicate_of="" if earlier == uri else earlier)
        sources.append(source)
    return sources


def _expand(place: str, licence: str, allowed: Sequence[str], max_bytes: int) -> Iterator[Source]:
    """Sources by name only; nothing is opened but lists."""
    if place.startswith("s3://"):
        yield from _list_bucket(place, licence, max_bytes)
        return
    if place.startswith(_WEB):
        yield Source(uri=place, licence=licence)
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
            yield from _expand(match, licence, allowed, max_bytes)


def _list_bucket(place: str, licence: str, max_bytes: int) -> Iterator[Source]:
    bucket, _, prefix = place.removeprefix("s3://").partition("/")
    for entry in Store(f"s3://{bucket}").entries(prefix):
        if not Path(entry.key).name.startswith("."):
            source = Source(uri=f"s3://{bucket}/{entry.key}", licence=licence)
            if entry.size_bytes > max_bytes:
                why = f"{entry.size_bytes} bytes, at most {max_bytes} are taken"
                source = replace(source, refused="too_many_bytes", why=why)
            yield source


def _read_list(path: Path, licence: str, allowed: Sequence[str]) -> Iterator[Source]:
    rows, columns = _read_rows(path)
    column = next((name for name in ("path", "url") if name in columns), None)
    if column is None:
        raise ValueError(f"{path} must have a column named path, got {columns}; url is fine too")
    for row in rows:
        named = (row[column] or "").strip()
        uri = named if "://" in named else _uri(path.parent / named)
        is_fine = _lies_in(uri, [str(path.parent), *allowed])
        yield Source(
            uri=uri,
            licence=row.get("licence") or licence,
            caption=row.get("caption") or "",
            refused="" if is_fine else "outside_list",
            why="" if is_fine else f"{path.name} may not name it; --allow its place to let it",
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


def _content_hash(source: Source, max_bytes: int) -> str:
    """Empty where it cannot be read now; the run tries again and says why."""
    try:
        return sha256_file(source.local_path(max_bytes))
    except (OSError, Rejected):
        return ""
