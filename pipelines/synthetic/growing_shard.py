"""A shard that grows clip by clip, so that a killed run loses no more than the clip in work.

Beside the unfinished tar lies its log: a line per clip, synced after the clip's bytes. What the log
does not tell is cut off when the work goes on. Finished, tar and log move into the store together.
"""

import fcntl
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pipelines.run import sha256_file
from storage_schemas.shards import end_of_shard


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipOutcome:
    """Where one clip of a shard went."""

    clip_id: str
    status: Literal["kept", "filtered", "failed"]
    end: int
    """Size of the shard after the clip, bytes."""
    split: str = ""
    """Of a kept clip."""
    reason: str = ""
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class ShardLog:
    """What became of the clips of a shard, in their order."""

    address: str
    """Hash of all that determines the shard."""
    outcomes: tuple[ClipOutcome, ...] = ()
    sha256: str = ""
    """Of the finished tar; empty while it grows."""

    @property
    def kept(self) -> tuple[ClipOutcome, ...]:
        """The clips that the tar holds."""
        return tuple(outcome for outcome in self.outcomes if outcome.status == "kept")

    @property
    def size_bytes(self) -> int:
        """Of the finished tar."""
        end = self.outcomes[-1].end if self.outcomes else 0
        return end + len(end_of_shard(end))

    @staticmethod
    def parse(data: bytes) -> tuple["ShardLog", list[int]]:
        """Read a log and the byte offset after each clip's line; a torn line does not count."""
        log, offsets, position = ShardLog(address=""), [], 0
        for line in data.splitlines(keepends=True):
            if not line.endswith(b"\n"):
                break
            position += len(line)
            content: dict[str, Any] = json.loads(line)
            if "clip_id" in content:
                outcomes = (*log.outcomes, ClipOutcome(**content))
                log = ShardLog(address=log.address, outcomes=outcomes)
                offsets.append(position)
            else:
                log = ShardLog(**{**asdict(log), **content, "outcomes": log.outcomes})
        return log, offsets


class GrowingShard:
    """The unfinished tar at `path`, taken up where it was left.

    Args:
        path: Of the tar; the log lies beside it as `.jsonl`.
        address: Hash of all that determines the shard; what was begun for another is dropped.

    Raises:
        RuntimeError: Another process is at work on it.
    """

    def __init__(self, path: Path, address: str):
        self.path = path
        self._log_path = path.with_suffix(".jsonl")
        self._log = self._log_path.open("a+b")
        try:
            fcntl.flock(self._log, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._log.close()
            raise RuntimeError(f"another process is at work on {path}; let it end") from None
        self._tar = path.open("ab")
        self.outcomes = self._take_up(address)
        if not self.outcomes:
            self._log.truncate(0)
            self._write_line({"address": address})
        self._tar.truncate(self._end)

    def __enter__(self) -> "GrowingShard":
        """Ready for clips."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Let others at it; what was added stays."""
        self._tar.close()
        self._log.close()

    def _take_up(self, address: str) -> list[ClipOutcome]:
        self._log.seek(0)
        log, offsets = ShardLog.parse(self._log.read())
        outcomes = list(log.outcomes)
        while outcomes and outcomes[-1].status == "failed":
            outcomes.pop()  # these at the end may be tried again without changing the order
        is_ours = log.address == address and outcomes
        if not is_ours or self._tar.tell() < outcomes[-1].end:
            return []
        self._log.truncate(offsets[len(outcomes) - 1])
        return outcomes

    @property
    def _end(self) -> int:
        return self.outcomes[-1].end if self.outcomes else 0

    def add(self, clip_id: str, split: str, entries: bytes) -> None:
        """Append a clip, given as `clip_entries`."""
        end = self._end + self._tar.write(entries)
        _sync(self._tar)
        self._tell(ClipOutcome(clip_id=clip_id, status="kept", end=end, split=split))

    def leave_out(
        self, clip_id: str, status: Literal["filtered", "failed"], reason: str, detail: str
    ) -> None:
        """Note why a clip is not in the shard."""
        self._tell(
            ClipOutcome(clip_id=clip_id, status=status, end=self._end, reason=reason, detail=detail)
        )

    def finish(self) -> bytes:
        """Close the tar; returns the whole log."""
        self._tar.write(end_of_shard(self._end))
        _sync(self._tar)
        self._write_line({"sha256": sha256_file(self.path)})
        self._log.seek(0)
        return self._log.read()

    def forget(self) -> None:
        """Remove what is left once tar and log are in the store."""
        self.path.unlink(missing_ok=True)
        self._log_path.unlink()

    def _tell(self, outcome: ClipOutcome) -> None:
        self._write_line(asdict(outcome))
        self.outcomes.append(outcome)

    def _write_line(self, content: dict[str, Any]) -> None:
        self._log.write(json.dumps(content, sort_keys=True).encode() + b"\n")
        _sync(self._log)


def read_entries(path: Path, log: ShardLog) -> dict[str, bytes]:
    """Clip id -> the bytes it takes in a finished shard.

    Raises:
        ValueError: The tar is not the one that the log tells of.
    """
    if not path.is_file() or sha256_file(path) != log.sha256:
        raise ValueError(f"{path} is not the shard that its log tells of")
    entries: dict[str, bytes] = {}
    start = 0
    with path.open("rb") as file:
        for outcome in log.kept:
            entries[outcome.clip_id] = file.read(outcome.end - start)
            start = outcome.end
    return entries


def last_failures(outcomes: Sequence[ClipOutcome]) -> list[ClipOutcome]:
    """The failures since the last clip that did not fail."""
    row: list[ClipOutcome] = []
    for outcome in reversed(outcomes):
        if outcome.status != "failed":
            break
        row.insert(0, outcome)
    return row


def _sync(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())
