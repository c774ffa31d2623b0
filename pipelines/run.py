"""Run a stage over many items, in this process or on Ray Data, so that it can stop anywhere.

What a stage did for an item is one small record, `results/<stage>/<item key>.json`, written after
the outputs it names. Its address hashes the input content, the stage's version, parameters and
weights: equal addresses are never computed twice, others always are. Kill the process at any
moment and run again: items without a record are done again and give the same bytes.
"""

import hashlib
import inspect
import json
import os
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from storage_schemas.store import Store

BACKOFF_S = (0.2, 1.0, 5.0)
"""Waits before the retries of an input or output error."""
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
_LOOK_AHEAD = 16
_HASH_BLOCK_BYTES = 1 << 20


class Rejected(Exception):
    """This item is unusable for a reason that lies in the data; the run goes on.

    Args:
        reason: Short code that is counted, such as too_short.
        detail: One sentence with the numbers.
    """

    def __init__(self, reason: str, detail: str = ""):
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}" if self.detail else self.reason


class StageStopped(RuntimeError):
    """Too many items failed one after the other: the fault is likely in the stage."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One unit of work."""

    key: str
    """Names the result: a clip id, or a hash for a source."""
    inputs: tuple[str | Path, ...] = ()
    """What the result depends on: store keys (str) and files outside the store (Path)."""
    content: str = ""
    """Anything else that the result depends on, for instance a hash already known."""
    value: Any = None
    """What the work needs beyond the key; not hashed."""


Outputs = Mapping[str, bytes | Path] | Iterable[tuple[str, bytes | Path]]
"""Store key -> bytes, or a file that is moved there; an iterator is written as it comes, so memory
stays bounded."""
Work = Callable[[Item, Store], Outputs]
Made = TypeVar("Made")


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """A named, versioned piece of work."""

    name: str
    version: str
    """Changes whenever the same input would give another result."""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Plain JSON values."""
    weights: str = ""
    """Digest of the model that the work loads."""
    work: Work | type
    """A function (item, store) -> outputs, or a class of such callables: it is built once per
    process as work(**parameters), when the first item needs it, and may load a model."""

    def address(self, content: Sequence[str]) -> str:
        """Hash of all that determines a result."""
        parts = [self.name, self.version, dict(self.parameters), self.weights, list(content)]
        return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()

    def provenance(self) -> dict[str, Any]:
        """What a record says about the stage that made it."""
        return {
            "version": self.version,
            "parameters": dict(self.parameters),
            "weights": self.weights,
        }


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What a stage did for one item."""

    key: str
    address: str
    status: Literal["kept", "filtered", "failed"]
    reason: str = ""
    detail: str = ""
    """The numbers of a rejection, or the traceback of a failure."""
    outputs: Mapping[str, str] = field(default_factory=dict)
    """Store key -> sha256 of the bytes."""
    provenance: Mapping[str, Any] = field(default_factory=dict)
    """Version, parameters and weights of the stage."""
    is_reused: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Accounting:
    """Where every input went; sums that differ are an error."""

    stage: str
    inputs: int
    kept: int
    filtered: Mapping[str, int]
    failed: Mapping[str, int]
    reused: int
    """How many of all were taken from an earlier run."""

    def __post_init__(self) -> None:
        """Check the sums."""
        total = self.kept + sum(self.filtered.values()) + sum(self.failed.values())
        if total != self.inputs or not 0 <= self.reused <= self.inputs:
            raise ValueError(f"{self.stage} lost count: {self.inputs} inputs, {total} outcomes")

    def summary(self) -> str:
        """One line whose counts add up."""
        parts = [f"{self.kept} kept"]
        for name, reasons in (("filtered", self.filtered), ("failed", self.failed)):
            listed = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items()))
            parts.append(f"{sum(reasons.values())} {name}" + (f" ({listed})" if listed else ""))
        return f"{self.stage}: {self.inputs} inputs = {' + '.join(parts)}; {self.reused} reused"


def run_stage(
    stage: Stage,
    items: Iterable[Item],
    store: Store,
    workers: int = 0,
    max_failures_in_a_row: int = 5,
) -> Accounting:
    """Run a stage over items and account for every one.

    Args:
        stage: What to do.
        items: On what; keys must differ.
        store: Holds inputs, outputs and results.
        workers: 0 for this process, n for n Ray actors (`RAY_ADDRESS` names a cluster, else a
            local one is started and stopped).
        max_failures_in_a_row: So many failures without a success between them stop the run.

    Raises:
        StageStopped: The stage itself seems broken; the message names the items.
    """
    items = list(items)
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, got {workers}")
    twice = [key for key, count in Counter(item.key for item in items).items() if count > 1]
    if twice:
        raise ValueError(f"{stage.name}: item keys must differ, got {twice[:5]} more than once")
    results = _run_here(stage, items, store) if workers == 0 else _run_on_ray(
        stage, items, store, workers
    )  # fmt: skip
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("kept", "filtered", "failed")}
    reused = 0
    row: list[Result] = []
    for result in _with_progress(stage.name, results, len(items)):
        counts[result.status][result.reason] += 1
        reused += result.is_reused
        row = [*row, result] if result.status == "failed" else []
        if len(row) >= max_failures_in_a_row:
            names = ", ".join(failure.key for failure in row)
            raise StageStopped(
                f"{stage.name} failed {len(row)} times in a row, on {names}; the last with "
                f"{last_line(row[-1].detail)}; see results/{stage.name}/{row[-1].key}.json"
            )
    return Accounting(
        stage=stage.name,
        inputs=len(items),
        kept=counts["kept"].total(),
        filtered=dict(counts["filtered"]),
        failed=dict(counts["failed"]),
        reused=reused,
    )


def last_line(traceback_text: str) -> str:
    """What went wrong, without where."""
    return traceback_text.strip().rpartition("\n")[2]


def read_results(store: Store, stage_name: str) -> Iterator[Result]:
    """What a stage did so far, by item key."""
    for key in store.list(f"results/{stage_name}/"):
        yield _parse_result(key, store.read(key))


def tell_failures(store: Store, stage_name: str) -> Iterator[str]:
    """One line per item that a stage failed on: the error, and where the rest lies."""
    for result in read_results(store, stage_name):
        if result.status == "failed":
            where = f"results/{stage_name}/{result.key}.json"
            yield f"{stage_name} failed: {last_line(result.detail)}; see {where}"


def _parse_result(key: str, data: bytes) -> Result:
    try:
        return Result(**json.loads(data))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{key} is no result ({error}); delete it and run again") from error


def sha256_file(path: Path) -> str:
    """Hash of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_HASH_BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


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


class _Worker:
    """Runs items one by one; lives once per process."""

    def __init__(self, stage: Stage, store: Store):
        self.stage = stage
        self.store = store
        self.work: Any = None if inspect.isclass(stage.work) else stage.work

    def __call__(self, item: Item) -> Result:
        try:
            return try_again(lambda: self._run(item))
        except Exception as error:  # noqa: BLE001 - a bug in the stage: recorded and counted
            return self._failed(item, error)

    def reused(self, item: Item) -> Result | None:
        """What an earlier run did, if it stands; trouble is left to the run itself."""
        try:
            before = self._recorded(item)
            return before and self._standing(before, self._address(item))
        except (OSError, ValueError):
            return None

    def _address(self, item: Item) -> str:
        content = [self._digest(name) for name in item.inputs]
        return self.stage.address([item.content, *content])

    def _standing(self, before: Result, address: str) -> Result | None:
        is_same = before.address == address and before.status != "failed"
        if is_same and all(self.store.exists(key) for key in before.outputs):
            return replace(before, is_reused=True)
        return None

    def _run(self, item: Item) -> Result:
        address = self._address(item)
        before = self._recorded(item)
        standing = before and self._standing(before, address)
        if standing:
            return standing
        outputs: dict[str, str] = {}
        try:
            self._write_outputs(item, outputs)
            result = Result(key=item.key, address=address, status="kept", outputs=outputs)
        except Rejected as rejected:
            for key in outputs:
                self.store.delete(key)
            result = Result(
                key=item.key,
                address=address,
                status="filtered",
                reason=rejected.reason,
                detail=rejected.detail,
            )
        return self._record(result, before)

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

    def _digest(self, name: str | Path) -> str:
        if isinstance(name, Path):
            return sha256_file(name)
        return hashlib.sha256(self.store.read(name)).hexdigest()

    def _result_key(self, item: Item) -> str:
        return f"results/{self.stage.name}/{item.key}.json"

    def _recorded(self, item: Item) -> Result | None:
        try:
            key = self._result_key(item)
            return _parse_result(key, self.store.read(key))
        except FileNotFoundError:
            return None

    def _record(self, result: Result, before: Result | None) -> Result:
        # Outputs that only the older result had go first: until the new record stands, the old
        # one has another address or misses outputs, so a kill here means work again, not loss.
        for key in sorted(set(before.outputs if before else ()) - set(result.outputs)):
            self.store.delete(key)
        result = replace(result, provenance=self.stage.provenance())
        data = json.dumps(asdict(result), sort_keys=True, indent=1).encode()
        self.store.write(f"results/{self.stage.name}/{result.key}.json", data)
        return result

    def _failed(self, item: Item, error: Exception) -> Result:
        before = self._recorded(item)
        result = Result(
            key=item.key,
            address="",
            status="failed",
            reason=type(error).__name__,
            detail="".join(traceback.format_exception(error)),
            # What an earlier run wrote still stands; the next success takes it away.
            outputs=before.outputs if before else {},
        )
        return self._record(result, before)


def _run_here(stage: Stage, items: Sequence[Item], store: Store) -> Iterator[Result]:
    worker = _Worker(stage, store)
    if not store.is_remote:
        yield from map(worker, items)
        return
    # A look at S3 takes long and little work, so many look ahead for what is done already.
    with ThreadPoolExecutor(_LOOK_AHEAD) as pool:
        for item, reused in zip(items, pool.map(worker.reused, items), strict=True):
            yield reused or worker(item)


def _run_on_ray(
    stage: Stage, items: Sequence[Item], store: Store, workers: int
) -> Iterator[Result]:
    # Ray 2.60 turns token authentication on by itself unless told.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray
    import ray.data

    class Actor:
        def __init__(self) -> None:
            self.worker = _Worker(stage, store)

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {"result": json.dumps(asdict(self.worker(items[row["id"]])))}

    if not items:
        return
    is_ours = not ray.is_initialized()
    if is_ours and os.environ.get("RAY_ADDRESS"):
        ray.init(log_to_driver=False)
    elif is_ours:
        # Workers must find the same modules as we do, however we were started.
        paths = {"env_vars": {"PYTHONPATH": os.pathsep.join(path or "." for path in sys.path)}}
        ray.init(
            num_cpus=workers + 1, include_dashboard=False, log_to_driver=False, runtime_env=paths
        )
    try:
        blocks = min(len(items), max(1000, 4 * workers))
        rows = ray.data.range(len(items), override_num_blocks=blocks)
        actor: Any = Actor
        for row in rows.map(actor, concurrency=workers).iter_rows():
            yield Result(**json.loads(row["result"]))
    finally:
        if is_ours:
            ray.shutdown()


def _with_progress(name: str, results: Iterator[Result], total: int) -> Iterator[Result]:
    console = Console(stderr=True)
    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(name, total=total)
        for result in results:
            yield result
            progress.advance(task)
