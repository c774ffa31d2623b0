"""Whether a run still lives is told by its process, and by that one only."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import dagster as dg
import psutil
import pytest
from dagster._core.events import EngineEventData
from dagster._core.launcher import WorkerStatus

from orchestration.launcher import LocalRunLauncher

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
LAUNCHER = {"run_launcher": {"module": "orchestration.launcher", "class": "LocalRunLauncher"}}


@pytest.fixture
def instance(tmp_path):
    with dg.instance_for_test(overrides=LAUNCHER, temp_dir=str(tmp_path)) as found:
        assert isinstance(found.run_launcher, LocalRunLauncher)
        yield found


def started_run(instance, pid):
    @dg.job
    def nothing():
        pass

    run = instance.create_run_for_job(nothing)
    if pid is not None:
        instance.report_engine_event("Started", run, EngineEventData.in_process(pid))
    return run


def health(instance, pid):
    return instance.run_launcher.check_run_worker_health(started_run(instance, pid)).status


def test_a_run_lives_while_its_process_does(instance):
    assert health(instance, os.getpid()) == WorkerStatus.RUNNING
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    assert health(instance, gone.pid) == WorkerStatus.FAILED


def test_a_process_that_ended_and_is_not_yet_buried_does_not_live(instance):
    child = subprocess.Popen([sys.executable, "-c", ""])
    process = psutil.Process(child.pid)
    while process.status() != psutil.STATUS_ZOMBIE:
        pass
    assert health(instance, child.pid) == WorkerStatus.FAILED
    child.wait()


def test_another_process_under_the_old_number_is_not_the_run(instance, monkeypatch):
    later = (datetime.now(UTC) + timedelta(minutes=1)).timestamp()
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: later)
    assert health(instance, os.getpid()) == WorkerStatus.FAILED


def test_a_run_that_never_told_its_process_is_not_called_alive(instance):
    assert health(instance, None) == WorkerStatus.UNKNOWN
