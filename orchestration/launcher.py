"""Runs as processes beside Dagster's own, and a look at whether they still live.

Dagster's default launcher cannot tell that a run died together with Dagster: such a run would
count as started for ever, and keep its place in the queue and in its pools.
"""

from datetime import datetime
from typing import Any

import psutil
from dagster import DagsterEventType, DagsterRun, DefaultRunLauncher
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus

CLOCK_S = 5.0
"""How far the clocks of a process and of the event log may differ."""


class LocalRunLauncher(DefaultRunLauncher):
    """The default launcher, whose runs `run_monitoring` fails, and so retries, once they died."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Yes, unlike the default launcher."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the process that told its id when the run started is there, and the same one."""
        for record in self._instance.all_logs(run.run_id, DagsterEventType.ENGINE_EVENT):
            event: Any = record.dagster_event
            if "pid" in event.engine_event_data.metadata:
                pid = int(event.engine_event_data.metadata["pid"].value)
                return _look_at(pid, datetime.fromtimestamp(record.timestamp))
        return CheckRunHealthResult(WorkerStatus.UNKNOWN, "it never told its process")


def _look_at(pid: int, told: datetime) -> CheckRunHealthResult:
    try:
        process = psutil.Process(pid)
        is_same = process.create_time() <= told.timestamp() + CLOCK_S
        if is_same and process.status() != psutil.STATUS_ZOMBIE:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
    except psutil.NoSuchProcess:
        pass
    return CheckRunHealthResult(WorkerStatus.FAILED, f"process {pid} is gone")
