"""One item after the other: what stands is reused, the rest made, every ending recorded."""

import hashlib
import inspect
import json
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from pipelines.stage import (
    Item,
    Rejected,
    Result,
    Stage,
    parse_result,
    result_key,
    sha256_file,
)
from storage_schemas.store import Store

BACKOFF_S = (0.2, 1.0, 5.0)
"""Waits before the retries of an input or output error."""
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
Made = TypeVar("Made")
Tagged = tuple[str, str]
"""The SHA-256 of an object's bytes, and the tag of exactly these bytes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Seen:
    """A result and the objects it rests on, as they were seen."""

    result: Result
    tag: str = ""
    """Of the record."""
    inputs: Mapping[str, Tagged] = field(default_factory=dict)
    """Store key -> what was read there."""


def parse_seen(plain: Mapping[str, Any]) -> Seen:
    """What `asdict` and JSON made of it."""
    inputs = {key: (digest, tag) for key, (digest, tag) in plain["inputs"].items()}
    return Seen(result=Result(**plain["result"]), tag=plain["tag"], inputs=inputs)


@runtime_checkable
class Look(Protocol):
    """Ways to know what is there: asking the store, or remembering what it said."""

    def record(self, key: str) -> tuple[Result, str] | None:
        """What lies under the key of a record and its tag; None where nothing does."""
        ...

    def digest(self, key: str) -> Tagged:
        """Of an input in the store."""
        ...

    def exists(self, key: str) -> bool:
        """Whether an output is there."""
        ...


class Asking:
    """Looks at the objects themselves."""

    def __init__(self, store: Store):
        self.store = store

    def record(self, key: str) -> tuple[Result, str] | None:
        """Read and parse the record."""
        try:
            data, tag = self.store.read_tagged(key)
        except FileNotFoundError:
            return None
        return parse_result(key, data), tag

    def digest(self, key: str) -> Tagged:
        """Read the object."""
        data, tag = self.store.read_tagged(key)
        return hashlib.sha256(data).hexdigest(), tag

    def exists(self, key: str) -> bool:
        """Ask for the object."""
        return self.store.exists(key)


@dataclass(frozen=True, kw_only=True, slots=True)
class Judged:
    """What is known of an item before any work."""

    address: str
    inputs: Mapping[str, Tagged]
    before: Result | None
    """The record of an earlier run."""
    standing: Seen | None
    """It, where nothing changed since and its outputs are there."""


def judge(stage: Stage, item: Item, look: Look) -> Judged:
    """Decide whether an item must be done; the one place that says what a reuse is."""
    inputs = {name: look.digest(name) for name in item.inputs if isinstance(name, str)}
    content = [inputs[n][0] if isinstance(n, str) else sha256_file(n) for n in item.inputs]
    address = stage.address([item.content, *content])
    before, tag = look.record(result_key(stage.name, item.key)) or (None, "")
    stands = (
        before is not None
        and before.address == address
        and before.status != "failed"
        and all(look.exists(key) for key in before.outputs)
    )
    standing = None
    if before is not None and stands:
        standing = Seen(result=replace(before, is_reused=True), tag=tag, inputs=inputs)
    return Judged(address=address, inputs=inputs, before=before, standing=standing)


def try_again(call: Callable[[], Made]) -> Made:
    """The call's value; an input or output error that may pass is waited for and tried again."""
    for wait_s in BACKOFF_S:
        try:
            return call()
        except OSError as error:
            if isinstance(error, _LASTING):
                raise
            time.sleep(wait_s)
    return call()


class Worker:
    """Runs items one by one; lives once per process."""

    def __init__(self, stage: Stage, store: Store):
        self.stage = stage
        self.store = store
        self.look = Asking(store)
        self.work: Any = None if inspect.isclass(stage.work) else stage.work

    def __call__(self, item: Item) -> Seen:
        """Reuse or make; a failure is recorded, not raised."""
        try:
            return try_again(lambda: self._run(item))
        except Exception as error:  # noqa: BLE001 - a bug in the stage: recorded and counted
            return self._failed(item, error)

    def reused(self, item: Item) -> Seen | None:
        """What an earlier run did, if it stands; trouble is left to the run itself."""
        try:
            return judge(self.stage, item, self.look).standing
        except (OSError, ValueError):
            return None

    def _run(self, item: Item) -> Seen:
        judged = judge(self.stage, item, self.look)
        if judged.standing:
            return judged.standing
        outputs: dict[str, str] = {}
        try:
            self._write_outputs(item, outputs)
            result = Result(
                key=item.key, address=judged.address, status="kept", outputs=outputs
            )  # fmt: skip
        except Rejected as rejected:
            for key in outputs:
                self.store.delete(key)
            result = Result(
                key=item.key,
                address=judged.address,
                status="filtered",
                reason=rejected.reason,
                detail=rejected.detail,
            )
        return self._record(result, judged.before, judged.inputs)

    def _write_outputs(self, item: Item, outputs: dict[str, str]) -> None:
        if self.work is None:
            build: Any = self.stage.work
            self.work = build(**self.stage.parameters)
        made: Any = self.work(item, self.store)
        for key, data in made.items() if isinstance(made, Mapping) else made:
            if isinstance(data, Path):
                outputs[key] = sha256_file(data)
                self.store.adopt(key, data)
            else:
                outputs[key] = hashlib.sha256(data).hexdigest()
                self.store.write(key, data)

    def _record(self, result: Result, before: Result | None, inputs: Mapping[str, Tagged]) -> Seen:
        # Outputs that only the older result had go first: until the new record stands, the old
        # one has another address or misses outputs, so a kill here means work again, not loss.
        for key in sorted(set(before.outputs if before else ()) - set(result.outputs)):
            self.store.delete(key)
        result = replace(result, provenance=self.stage.provenance())
        data = json.dumps(asdict(result), sort_keys=True, indent=1).encode()
        tag = self.store.write(result_key(self.stage.name, result.key), data)
        return Seen(result=result, tag=tag, inputs=inputs)

    def _failed(self, item: Item, error: Exception) -> Seen:
        before, _ = self.look.record(result_key(self.stage.name, item.key)) or (None, "")
        result = Result(
            key=item.key,
            address="",
            status="failed",
            reason=type(error).__name__,
            detail="".join(traceback.format_exception(error)),
            # What an earlier run wrote still stands; the next success takes it away.
            outputs=before.outputs if before else {},
        )
        return self._record(result, before, {})
