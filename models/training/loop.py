"""The training loop: plain torch, one step after the other, resumable to the same bits.

Everything random in a step follows from (seed, step, rank), everything random in a sample from
(seed, epoch, position), so a run that was killed and resumed equals one that was not.
"""

import fcntl
import hashlib
import logging
import math
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Literal, Protocol, runtime_checkable

import torch
import torch.distributed as dist
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from models.data import Batch, ClipLoader
from models.training.checkpoint import (
    newest_checkpoint,
    prune_checkpoints,
    refuse_second_run,
    save_checkpoint,
    save_sharded,
)
from models.training.metrics import MetricsLog, peak_flops, peak_memory_mb
from models.training.parallelize import (
    Ranks,
    any_rank,
    compile_blocks,
    current_ranks,
    is_sharded,
    mean_over_ranks,
    optimizers,
    replicate,
    shard,
)
from models.training.sharded import begin_moments

LOG = logging.getLogger(__name__)


@runtime_checkable
class Task(Protocol):
    """What is trained: a module, its step, its state.

    Its `average`, a module of averaged weights, is what a finished run publishes.
    """

    @property
    def module(self) -> nn.Module:
        """Everything that is trained; replicated or split over ranks."""
        ...

    def train_step(self, batch: Batch, generator: torch.Generator, step: int) -> dict[str, float]:
        """Forward, backward and optimiser step; returns what to log, `loss` among it."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Tensors and plain values: weights, optimiser, averages."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        ...


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """How a run proceeds; what is trained stands in the task's own settings."""

    steps: int
    batch_size: int
    """Samples of one step over all ranks."""
    seed: int = 0
    log_every: int = 10
    checkpoint_every: int = 100
    keep_checkpoints: int = 2
    validate_every: int = 0
    """0 validates at the end only."""
    validation_clips: int = 32
    loader_threads: int = 2
    cache_mb: int = 1000
    parallel: Literal["replicate", "shard"] = "replicate"
    """What several ranks do: keep whole weights, or split them (FSDP2)."""
    compile: bool = False
    """Compile each block once."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("steps", "batch_size", "log_every", "checkpoint_every", "keep_checkpoints"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """How a run ended."""

    step: int
    status: Literal["finished", "interrupted"]
    metrics: dict[str, float]
    """The last logged ones."""


Validation = Callable[[], dict[str, float]]
Report = Callable[[int, dict[str, float], Path | None], None]
"""Told of logged metrics and of each new checkpoint (None with plain metrics)."""


def train(
    task: Task,
    loader: ClipLoader,
    settings: TrainSettings,
    out: Path,
    resume: bool = False,
    validation: Validation | None = None,
    report: Report | None = None,
    prepare: Callable[[], None] | None = None,
) -> TrainResult:
    """Run the steps that are left; on SIGTERM or SIGINT save and stop.

    Args:
        task: Built with the run's seed, on its device.
        loader: Of this rank.
        settings: How to proceed.
        out: Receives metrics and checkpoints; rank 0 writes.
        resume: Continue from the newest sound checkpoint, if there is one.
        validation: Measures the task on clips that are not trained on.
        report: Called on every rank.
        prepare: Called before the first step of a new run, not of a resumed one.

    Raises:
        ValueError: If `out` holds a run and `resume` is not set, or a loss is not finite.
        RuntimeError: If another process trains into `out`.
    """
    ranks = current_ranks()
    run = _Run(task, loader, settings, out, validation, report, ranks)
    with _exclusive(out, ranks), _interruptible() as interrupted:
        start = run.restore(resume)
        if start == 0 and prepare is not None:
            prepare()
        run.prepare_ranks()
        log = MetricsLog(out, settings.steps, start) if ranks.is_first else nullcontext()
        with log as run.log:
            return run.steps(start, interrupted)


class _Run:
    def __init__(
        self,
        task: Task,
        loader: ClipLoader,
        settings: TrainSettings,
        out: Path,
        validation: Validation | None,
        report: Report | None,
        ranks: Ranks,
    ) -> None:
        self.task, self.loader, self.settings = task, loader, settings
        self.folder = out / "checkpoints"
        self.validation, self.report, self.ranks = validation, report, ranks
        self.device = next(task.module.parameters()).device
        self.log: MetricsLog | None = None
        self.last: dict[str, float] = {}
        self.flops = 0.0
        if ranks.num_ranks > 1 and settings.parallel == "shard":
            shard(task)

    def restore(self, resume: bool) -> int:
        refuse_second_run(self.folder.parent, resume)
        found = newest_checkpoint(self.folder, self._like())
        if found is None:
            return 0
        step, state = found
        self.task.load_state_dict(state["task"])
        self.loader.load_state_dict(state["loader"])
        self.flops = state["flops"]
        LOG.info("continuing after step %d of %d", step, self.settings.steps)
        return step

    def _like(self) -> dict[str, Any]:
        """How tensors are split here, those of the optimisers among them."""
        if not is_sharded(self.task.module) or not any(self.folder.glob("step-*")):
            return {}
        for optimizer in optimizers(self.task):
            begin_moments(optimizer)
        return {"task": self.task.state_dict()}

    def prepare_ranks(self) -> None:
        if self.ranks.num_ranks > 1 and self.settings.parallel == "replicate":
            replicate(self.task.module)
        if self.settings.compile:
            LOG.info("compiling %d blocks", compile_blocks(self.task.module))

    def steps(self, start: int, interrupted: threading.Event) -> TrainResult:
        batches = iter(self.loader)
        settings, since, logged = self.settings, time.perf_counter(), start
        for step in range(start, settings.steps):
            batch = next(batches).to(self.device)
            metrics = self._step(batch, step)
            done = step + 1
            is_last = done == settings.steps
            if done % settings.log_every == 0 or is_last:
                seconds = time.perf_counter() - since
                self._record(done, metrics | self._speed(seconds / (done - logged)))
                since, logged = time.perf_counter(), done
            stops = any_rank(interrupted.is_set(), self.device)
            due = bool(settings.validate_every) and done % settings.validate_every == 0
            if (due or is_last) and not stops:
                self._validate(done)
            if done % settings.checkpoint_every == 0 or is_last or stops:
                self._save(done)
            if stops and not is_last:
                LOG.warning("interrupted after step %d; --resume continues there", done)
                return TrainResult(step=done, status="interrupted", metrics=self.last)
        return TrainResult(step=settings.steps, status="finished", metrics=self.last)

    def _step(self, batch: Batch, step: int) -> dict[str, float]:
        generator = step_generator(self.settings.seed, step, self.ranks.rank)
        counter = FlopCounterMode(display=False) if step == 0 else nullcontext()
        with counter:
            metrics = self.task.train_step(batch, generator, step)
        if isinstance(counter, FlopCounterMode):
            self.flops = float(counter.get_total_flops())
        metrics = mean_over_ranks({k: float(v) for k, v in metrics.items()}, self.device)
        bad = [name for name, value in metrics.items() if not math.isfinite(value)]
        if bad:
            raise ValueError(
                f"{bad} not finite at step {step}, clips {batch.clip_id}; lower the learning rate "
                "or remove the clips, then --resume from the last checkpoint"
            )
        return metrics

    def _speed(self, step_s: float) -> dict[str, float]:
        speed = {
            "samples_per_s": self.settings.batch_size / step_s,
            "step_s": step_s,
            "memory_mb": peak_memory_mb(self.device),
            "epoch": float(self.loader.epoch),
            "substituted": float(self.loader.num_substituted),
        }
        if self.flops:
            speed["tflops_per_s"] = self.flops / step_s / 1e12
            peak = peak_flops(self.device)
            if peak:
                speed["mfu"] = self.flops / step_s / peak
        return speed

    def _record(self, step: int, metrics: dict[str, float]) -> None:
        self.last |= metrics
        if self.log is not None:
            self.log.write(step, metrics)
        if self.report is not None:
            self.report(step, metrics, None)

    def _validate(self, step: int) -> None:
        if self.validation is None:
            return
        self.task.module.eval()
        metrics = {f"val_{name}": value for name, value in self.validation().items()}
        self.task.module.train()
        self._record(step, metrics)

    def _save(self, step: int) -> None:
        task_state = self.task.state_dict()
        state = {"task": task_state, "loader": self.loader.state_dict(), "flops": self.flops}
        path = None
        if is_sharded(self.task.module):
            path = save_sharded(self.folder, step, state)
        elif self.ranks.is_first:
            path = save_checkpoint(self.folder, step, state)
        if self.ranks.num_ranks > 1:
            dist.barrier()
        if path is not None:
            prune_checkpoints(self.folder, self.settings.keep_checkpoints)
        if self.report is not None:
            self.report(step, self.last, path)


def mean_metrics(
    evaluate: Callable[[Batch], dict[str, float]], batches: Iterable[Batch], device: torch.device
) -> dict[str, float]:
    """Means over clips of what a task says of each batch; a batch may leave a metric out."""
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for batch in batches:
        for name, value in evaluate(batch.to(device)).items():
            sums[name] = sums.get(name, 0.0) + float(value) * len(batch.clip_id)
            counts[name] = counts.get(name, 0) + len(batch.clip_id)
    return {name: sums[name] / counts[name] for name in sums}


def step_generator(seed: int, step: int, rank: int) -> torch.Generator:
    """The random numbers of one step, drawn on the CPU so that every device sees the same.

    The global generators are set alike, for layers that draw from them.
    """
    digest = hashlib.sha256(f"{seed} {step} {rank}".encode()).digest()
    number = int.from_bytes(digest[:8]) >> 1
    torch.manual_seed(number)
    return torch.Generator().manual_seed(number)


@contextmanager
def _exclusive(out: Path, ranks: Ranks) -> Iterator[None]:
    if not ranks.is_first:
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    with (out / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise RuntimeError(
                f"another process trains into {out}; stop it or choose another folder"
            ) from error
        yield


@contextmanager
def _interruptible() -> Iterator[threading.Event]:
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handle(number: int, frame: FrameType | None) -> None:
        event.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
