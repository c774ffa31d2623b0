"""What a run says about itself: JSON lines, TensorBoard, one line or a bar on the terminal."""

import json
import logging
import resource
import sys
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

LOG = logging.getLogger(__name__)
PEAK_FLOPS = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12}
"""Dense bf16 rates of the makers' data sheets, by a part of the device name."""


class MetricsLog:
    """Writes one record per logged step; only rank 0 makes one."""

    def __init__(self, out: Path, steps: int, start: int) -> None:
        """Open the sinks; records of steps after `start` (of a run that was killed) are dropped."""
        from torch.utils.tensorboard.writer import SummaryWriter

        self.path = out / "metrics.jsonl"
        _keep_until(self.path, start)
        self._file = self.path.open("a")
        self._board = SummaryWriter(str(out / "tensorboard"), purge_step=start)
        self._bar = None
        if sys.stderr.isatty():
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
            )
            self._bar_task = self._bar.add_task("training", total=steps, completed=start)

    def __enter__(self) -> "MetricsLog":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._file.close()
        self._board.close()

    def write(self, step: int, metrics: dict[str, float]) -> None:
        """Record metrics after `step` steps."""
        self._file.write(json.dumps({"step": step, **metrics}) + "\n")
        self._file.flush()
        for name, value in metrics.items():
            self._board.add_scalar(name, value, step)
        self._board.flush()
        shown = "  ".join(f"{name} {value:.4g}" for name, value in metrics.items())
        if self._bar is None:
            LOG.info("step %d  %s", step, shown)
        else:
            loss = metrics.get("loss", metrics.get("val_loss", float("nan")))
            self._bar.update(self._bar_task, completed=step, description=f"loss {loss:.4g}")


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of a run; a last line that a kill cut short is left out."""
    records: list[dict[str, Any]] = []
    for line in path.read_text().splitlines():
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return records


def _keep_until(path: Path, step: int) -> None:
    if not path.exists():
        return
    kept = [record for record in read_metrics(path) if record["step"] <= step]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(json.dumps(record) + "\n" for record in kept))
    temporary.replace(path)


def peak_memory_mb(device: torch.device) -> float:
    """Largest memory so far: allocated on an accelerator, resident on the CPU."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def peak_flops(device: torch.device) -> float | None:
    """Floating point rate of the device's data sheet; None when we do not know it."""
    if device.type != "cuda":
        return None
    name = torch.cuda.get_device_name(device)
    return next((rate for part, rate in PEAK_FLOPS.items() if part in name), None)
