"""Run a stage over many items, in this process or on Ray Data, so that it can stop anywhere.

Kill the process at any moment and run again: items without a record are done again and give the
same bytes. `stage.py` says what a stage is, `worker.py` how an item is judged and done, `plan.py`
how items that stand are known on S3 without a look at each.
"""

import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from pipelines.plan import THREADS, Plan, read_records
from pipelines.stage import Item, Outputs, Rejected, Result, Stage, Work, result_key, sha256_file
from pipelines.worker import Seen, Worker, parse_seen, try_again
from storage_schemas.store import Store

__all__ = [
    "Accounting", "Item", "Outputs", "Rejected", "Result", "Stage", "StageStopped", "Work",
    "last_line", "read_results", "run_stage", "sha256_file", "tell_failures", "try_again",
]  # fmt: skip


class StageStopped(RuntimeError):
    """Too many items failed one after the other: the fault is likely in the stage."""


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
    plan = Plan(stage, items, store)
    rest = [item for item in items if item.key not in plan.standing]
    done = _run_here(stage, rest, store) if workers == 0 else _run_on_ray(
        stage, rest, store, workers
    )  # fmt: skip
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("kept", "filtered", "failed")}
    reused = 0
    row: list[Result] = []
    try:
        for result in _with_progress(stage.name, _in_order(items, plan, done), len(items)):
            counts[result.status][result.reason] += 1
            reused += result.is_reused
            row = [*row, result] if result.status == "failed" else []
            if len(row) >= max_failures_in_a_row:
                raise StageStopped(_tell_row(stage.name, row))
    finally:
        plan.save()
    return Accounting(
        stage=stage.name,
        inputs=len(items),
        kept=counts["kept"].total(),
        filtered=dict(counts["filtered"]),
        failed=dict(counts["failed"]),
        reused=reused,
    )


def _in_order(items: Sequence[Item], plan: Plan, done: Iterator[Seen]) -> Iterator[Result]:
    """Results of all items: those that stand, and between them those that are looked at."""
    for item in items:
        seen = plan.standing.get(item.key)
        if seen is None:
            seen = next(done)
            plan.saw(seen)
        yield seen.result


def _tell_row(name: str, row: Sequence[Result]) -> str:
    keys = ", ".join(failure.key for failure in row)
    return (
        f"{name} failed {len(row)} times in a row, on {keys}; the last with "
        f"{last_line(row[-1].detail)}; see {result_key(name, row[-1].key)}"
    )


def last_line(traceback_text: str) -> str:
    """What went wrong, without where."""
    return traceback_text.strip().rpartition("\n")[2]


def read_results(store: Store, stage_name: str) -> Iterator[Result]:
    """What a stage did so far, by item key."""
    return read_records(store, stage_name)


def tell_failures(store: Store, stage_name: str) -> Iterator[str]:
    """One line per item that a stage failed on: the error, and where the rest lies."""
    for result in read_results(store, stage_name):
        if result.status == "failed":
            where = result_key(stage_name, result.key)
            yield f"{stage_name} failed: {last_line(result.detail)}; see {where}"


def _run_here(stage: Stage, items: Sequence[Item], store: Store) -> Iterator[Seen]:
    worker = Worker(stage, store)
    if not store.is_remote:
        yield from map(worker, items)
        return
    # A look at S3 takes long and little work, so many look ahead for what is done already.
    with ThreadPoolExecutor(THREADS) as pool:
        for item, reused in zip(items, pool.map(worker.reused, items), strict=True):
            yield reused or worker(item)


def _run_on_ray(stage: Stage, items: Sequence[Item], store: Store, workers: int) -> Iterator[Seen]:
    # Ray 2.60 turns token authentication on by itself unless told.
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    import ray
    import ray.data

    class Actor:
        def __init__(self) -> None:
            self.worker = Worker(stage, store)

        def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
            return {"seen": json.dumps(asdict(self.worker(items[row["id"]])))}

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
            yield parse_seen(json.loads(row["seen"]))
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
