"""S3 behind `Store`: retries, checksums, multipart, a cache of files, errors that say the way out.

Credentials, region and endpoint come from the usual AWS environment and files alone. Every object
written here carries the SHA-256 of its bytes, which is checked whenever it is read.
"""

import hashlib
import os
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

from storage_schemas.file_cache import FileCache, machine_folder

CONNECT_TIMEOUT_S = 10
READ_TIMEOUT_S = 60
BODY_WAITS_S = (0.2, 1.0, 5.0)
"""Waits before a body that was cut, slow or wrong is read again."""
MULTIPART_BYTES: Final = 32 * 2**20
COPY_BYTES: Final = 4 * 2**30  # one request copies up to 5 GB
CONNECTIONS: Final = 16
_CONFLICT_TRIES = 6
_SHA256 = "sha256"
_CONFLICTS = {"PreconditionFailed", "ConditionalRequestConflict", "409", "412"}
_MISSING = {"NoSuchKey", "NotFound", "404"}
_DENIED = {"AccessDenied", "403", "InvalidAccessKeyId", "SignatureDoesNotMatch"}
_EXPIRED = {"ExpiredToken", "ExpiredTokenException", "RequestExpired", "TokenRefreshRequired"}
Made = TypeVar("Made")


class TornBody(ConnectionError):
    """The bytes that came are not the object's; reading again may help."""


class Bucket:
    """Objects under `s3://bucket/prefix`; the methods are those of `Store`."""

    def __init__(self, root: str):
        self.bucket, _, prefix = root.removeprefix("s3://").partition("/")
        if not self.bucket:
            raise ValueError(f"root must be s3://bucket/prefix, got {root!r}")
        self.prefix = prefix.strip("/") + "/" if prefix.strip("/") else ""
        self._making = threading.Lock()

    @cached_property
    def client(self) -> Any:
        """One for all threads; sessions are not safe to share, clients are."""
        import boto3.session
        from botocore.config import Config

        # S3-compatible servers are addressed by path; AWS itself by host.
        style = "path" if os.environ.get("AWS_ENDPOINT_URL") else "auto"
        config = Config(
            retries={"max_attempts": 6, "mode": "standard"},
            connect_timeout=CONNECT_TIMEOUT_S,
            read_timeout=READ_TIMEOUT_S,
            max_pool_connections=CONNECTIONS,
            tcp_keepalive=True,
            # Some servers state wrong sums for copies; ours is checked in any case.
            response_checksum_validation="when_required",
            s3={"addressing_style": style},
        )
        with self._making, self._as_os_error(""):
            make_client: Any = boto3.session.Session().client
            return make_client("s3", config=config)

    def read(self, key: str) -> tuple[bytes, str]:
        """The bytes and their tag; a body that was cut or is wrong is read again."""

        def once() -> tuple[bytes, str]:
            reply = self._call("get_object", key)
            with self._as_os_error(key):
                data: bytes = reply["Body"].read()
            _check(key, hashlib.sha256(data).hexdigest(), reply["Metadata"].get(_SHA256, ""))
            return data, reply["ETag"]

        return _read_again(once)

    def sha256(self, key: str) -> str:
        """Digest of the bytes as they lie there now."""

        def once() -> str:
            digest = hashlib.sha256()
            reply = self._call("get_object", key)
            with self._as_os_error(key):
                for block in reply["Body"].iter_chunks(2**20):
                    digest.update(block)
            return digest.hexdigest()

        return _read_again(once)

    def write(self, key: str, data: bytes) -> str:
        """Create or replace."""
        return self._call("put_object", key, Body=data, Metadata=_digest_of(data))["ETag"]

    def write_file(self, key: str, path: Path) -> None:
        """Create or replace; large files go in parts, side by side."""
        with path.open("rb") as file:
            metadata = {_SHA256: hashlib.file_digest(file, "sha256").hexdigest()}
        with self._as_os_error(key):
            self.client.upload_file(
                str(path), self.bucket, self.prefix + key,
                ExtraArgs={"Metadata": metadata}, Config=_transfer(MULTIPART_BYTES),
            )  # fmt: skip

    def adopt(self, key: str, path: Path) -> None:
        """Create or replace from a file that goes away."""
        self.write_file(key, path)
        path.unlink()

    @property
    def scratch_folder(self) -> Path:
        """For unfinished work of this root on this machine."""
        name = hashlib.sha256(f"{self.bucket}/{self.prefix}".encode()).hexdigest()[:32]
        return machine_folder() / name

    def link(self, key: str, new_key: str) -> None:
        """Copied by the server."""
        source = {"Bucket": self.bucket, "Key": self.prefix + key}
        with self._as_os_error(key):
            self.client.copy(
                source, self.bucket, self.prefix + new_key, Config=_transfer(COPY_BYTES)
            )

    def put_new(self, key: str, data: bytes) -> bool:
        """Create only."""
        return self._conditional_put(key, data, IfNoneMatch="*")

    def cas(self, key: str, data: bytes, etag: str) -> bool:
        """Replace what was read."""
        return self._conditional_put(key, data, IfMatch=etag)

    def exists(self, key: str) -> bool:
        """Whether there is such an object."""
        try:
            self._call("head_object", key)
        except FileNotFoundError:
            return False
        return True

    def entries(self, prefix: str) -> Iterator[tuple[str, int, float]]:
        """Key, size in bytes, and when it was written in seconds."""
        for key, entry in self._listed(prefix):
            yield key, entry["Size"], entry["LastModified"].timestamp()

    def tags(self, after: str, last: str) -> Iterator[tuple[str, str]]:
        """Key and tag of what sorts behind `after`, up to `last`."""
        for key, entry in self._listed("", StartAfter=self.prefix + after):
            if key > last:
                return
            yield key, entry["ETag"]

    def keys(self, prefix: str) -> Iterator[str]:
        """Keys with this beginning."""
        return (key for key, _, _ in self.entries(prefix))

    def delete(self, key: str) -> None:
        """Remove; a missing one is no error."""
        self._call("delete_object", key)

    def local_path(self, key: str, sha256: str, keep: bool) -> Path:
        """A file of the cache; without a digest the server is asked what lies there now."""
        size_bytes = 0
        name = sha256
        if not (sha256 and _cache().has(sha256)):
            head = self._call("head_object", key)
            size_bytes = int(head["ContentLength"])
            sha256 = sha256 or head["Metadata"].get(_SHA256, "")
            address = f"{self.bucket}/{self.prefix}{key} {head['ETag']}"
            name = sha256 or hashlib.sha256(address.encode()).hexdigest()

        def download(path: Path) -> None:
            with self._as_os_error(key):
                self.client.download_file(
                    self.bucket, self.prefix + key, str(path), Config=_transfer(MULTIPART_BYTES)
                )
            with path.open("rb") as file:
                _check(key, hashlib.file_digest(file, "sha256").hexdigest(), sha256)

        def fetch() -> Path:
            return _cache().fetch(name, Path(key).name, size_bytes, download, keep)

        return _read_again(fetch)

    def check_conditional_writes(self) -> None:
        """Make sure that the server refuses to create what is there."""
        key = "versions/conditional-write-probe"
        self.put_new(key, b"probe")
        if self.put_new(key, uuid.uuid4().bytes):
            raise OSError(
                f"the server of bucket {self.bucket!r} ignores conditional writes, so two "
                "publishers could overwrite each other; use a store that honours If-None-Match"
            )

    def _listed(self, prefix: str, **more: str) -> Iterator[tuple[str, Any]]:
        with self._as_os_error(prefix):
            pages = self.client.get_paginator("list_objects_v2").paginate(
                Bucket=self.bucket, Prefix=self.prefix + prefix, **more
            )
            for page in pages:
                for entry in page.get("Contents", []):
                    yield entry["Key"].removeprefix(self.prefix), entry

    def _call(self, operation: str, key: str, **arguments: Any) -> Any:
        with self._as_os_error(key):
            call = getattr(self.client, operation)
            return call(Bucket=self.bucket, Key=self.prefix + key, **arguments)

    def _conditional_put(self, key: str, data: bytes, **condition: str) -> bool:
        for attempt in range(_CONFLICT_TRIES):
            try:
                self._call("put_object", key, Body=data, Metadata=_digest_of(data), **condition)
            except FileExistsError:
                # 412 or 409 may be the echo of our own retried request: look what is there.
                try:
                    return self.read(key)[0] == data
                except FileNotFoundError:
                    if "IfMatch" in condition:
                        return False
                    time.sleep(random.uniform(0.02, 0.1) * 2**attempt)
            except FileNotFoundError:
                return False
            else:
                return True
        raise OSError(f"{key}: still conflicting after {_CONFLICT_TRIES} tries; try again later")

    @contextmanager
    def _as_os_error(self, key: str) -> Iterator[None]:
        """Speak of S3 as of files: missing, conflict (exists) or any other I/O trouble."""
        from boto3.exceptions import Boto3Error
        from botocore import exceptions as trouble

        try:
            yield
        except trouble.ClientError as error:
            raise self._translated(key, error.response) from error
        except (trouble.NoCredentialsError, trouble.PartialCredentialsError) as error:
            raise PermissionError(
                f"{key!r}: no AWS credentials; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or "
                "AWS_PROFILE"
            ) from error
        except (trouble.EndpointConnectionError, trouble.ConnectTimeoutError) as error:
            raise ConnectionError(f"{key!r}: {error}; is AWS_ENDPOINT_URL right?") from error
        except (
            trouble.IncompleteReadError, trouble.ReadTimeoutError, trouble.ResponseStreamingError,
            trouble.FlexibleChecksumError,
        ) as error:  # fmt: skip
            raise TornBody(f"{key!r}: {error}") from error
        except (trouble.BotoCoreError, Boto3Error) as error:
            raise OSError(f"{key!r}: {error}") from error

    def _translated(self, key: str, response: Mapping[str, Any]) -> OSError:
        said = response.get("Error", {})
        code, message = str(said.get("Code", "")), str(said.get("Message", ""))
        if code in _MISSING:
            return FileNotFoundError(f"no object {key!r} in bucket {self.bucket!r}")
        if code == "NoSuchBucket":
            # No FileNotFoundError: that an object is absent would be believed.
            return NotADirectoryError(
                f"there is no bucket {self.bucket!r} at {self.client.meta.endpoint_url}; make it, "
                "or set AWS_ENDPOINT_URL to the server that has it"
            )
        if code in _CONFLICTS:
            return FileExistsError(f"{key!r} was changed by somebody else")
        if code in _EXPIRED:
            return PermissionError(
                f"{key!r}: the AWS credentials have expired ({code}); renew them, for instance by "
                "`aws sso login`, and run again"
            )
        if code in _DENIED:
            return PermissionError(f"{key!r}: {code} {message}; check the AWS credentials")
        return OSError(f"{key!r}: {code} {message}")


@cache
def _shared_cache(folder: str | None, size: str | None) -> FileCache:
    return FileCache.from_environment()


def _cache() -> FileCache:
    """One per process, since it stands for what the process keeps."""
    return _shared_cache(os.environ.get("ISA4D_CACHE_DIR"), os.environ.get("ISA4D_CACHE_GB"))


def _read_again(call: Callable[[], Made]) -> Made:
    for wait_s in BODY_WAITS_S:
        try:
            return call()
        except TornBody:
            time.sleep(wait_s)
    return call()


def _check(key: str, found: str, wanted: str) -> None:
    if wanted and found != wanted:
        raise TornBody(f"{key} must hold {wanted}, got {found}; the object is damaged")


def _digest_of(data: bytes) -> dict[str, str]:
    return {_SHA256: hashlib.sha256(data).hexdigest()}


def _transfer(part_bytes: int) -> Any:
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=part_bytes, multipart_chunksize=16 * 2**20)
