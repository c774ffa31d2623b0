"""Footage from web servers: one file at a time, bounded, never where nobody sent us.

What passes (a busy server, a cut line) is an OSError, which `run_stage` tries again with growing
waits; what lasts is `Rejected` with a reason, because links of a list rot and a run must go on.
"""

import hashlib
import http.client
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pipelines.run import Rejected
from storage_schemas.file_cache import FileCache

TIMEOUT_S = 60
_BLOCK_BYTES = 1 << 20
_REASONS = {
    401: "forbidden",
    403: "forbidden",
    404: "not_found",
    410: "not_found",
    451: "forbidden",
}


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a server that points to itself: another host may lie inside our network."""

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> Any:
        """Refuse to leave the host."""
        here, there = urllib.parse.urlsplit(req.full_url), urllib.parse.urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            raise Rejected("redirected", f"{req.full_url} points to {newurl}; list that instead")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def fetch(url: str, max_bytes: int) -> Path:
    """A local file with what the address holds now; downloaded once as long as that stays.

    Raises:
        Rejected: not_found, forbidden, refused, redirected or too_many_bytes.
        OSError: The server or the line failed; it may work later.
    """
    with _opened(url) as answer:
        told = answer.headers.get("Content-Length")
        if told and int(told) > max_bytes:
            raise Rejected(
                "too_many_bytes", f"{url} has {told} bytes, at most {max_bytes} are taken"
            )
        version = (told, answer.headers.get("ETag"), answer.headers.get("Last-Modified"))
        name = hashlib.sha256(repr((url, version)).encode()).hexdigest()
        suffix = Path(urllib.parse.urlsplit(url).path).suffix[:8]
        size_bytes = int(told) if told else 0
        return FileCache.from_environment().fetch(
            name, f"video{suffix}", size_bytes, lambda path: _save(answer, path, url, max_bytes)
        )


@contextmanager
def _opened(url: str) -> Iterator[Any]:
    opener = urllib.request.build_opener(_SameHost)
    try:
        with opener.open(url, timeout=TIMEOUT_S) as answer:
            yield answer
    except urllib.error.HTTPError as error:
        if error.code >= 500 or error.code in (408, 429):
            raise ConnectionError(f"{url}: the server says {error.code} {error.reason}") from error
        reason = _REASONS.get(error.code, "refused")
        raise Rejected(reason, f"{url}: the server says {error.code} {error.reason}") from error
    except http.client.HTTPException as error:
        raise ConnectionError(f"{url}: the answer broke off ({error!r})") from error
    except urllib.error.URLError as error:
        raise ConnectionError(f"{url}: {error.reason}") from error


def _save(answer: Any, path: Path, url: str, max_bytes: int) -> None:
    """Write the body; one that is longer than told or allowed, or shorter, is no file."""
    told, size_bytes = answer.headers.get("Content-Length"), 0
    with path.open("wb") as file:
        while block := answer.read(_BLOCK_BYTES):
            size_bytes += len(block)
            if size_bytes > max_bytes:
                raise Rejected("too_many_bytes", f"{url} sends more than {max_bytes} bytes")
            file.write(block)
    if told and size_bytes != int(told):
        raise ConnectionError(f"{url}: {size_bytes} of {told} bytes came")
