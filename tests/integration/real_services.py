"""Dagster with its webserver and daemon, and Ray of several raylets, as tests start and kill them.

Found by `pythonpath` of the pytest settings.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
# Ray takes 127.0.0.1 for the outer address of this machine, and the one beside it as it is.
HOST, GCS, DASHBOARD = "127.0.0.2", 6391, 8267
RAY_ADDRESS, RAY_JOBS = f"{HOST}:{GCS}", f"http://127.0.0.1:{DASHBOARD}"
OVER = ("SUCCESS", "FAILURE", "CANCELED")
QUIET = {"RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1", "WDS_SECURE": "1"}
PATIENT = {"RAY_raylet_start_wait_time_s": "300", "RAY_agent_register_timeout_ms": "300000"}
"""On a busy small machine Ray's own patience with itself does not last."""
CODE = """
import orchestration.partitions
orchestration.partitions.SEEDS_PER_RANGE = {seeds}
from orchestration.definitions import defs
"""


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_for(condition, limit_s=300, every_s=0.5):
    """The first true value of the condition."""
    until = time.monotonic() + limit_s
    while time.monotonic() < until:
        if found := condition():
            return found
        time.sleep(every_s)
    raise AssertionError(f"waited {limit_s} s in vain")


def answers(address):
    try:
        urllib.request.urlopen(address, timeout=10).close()
    except OSError:
        return False
    return True


class Dagster:
    """`dagster dev` on a free port: this checkout's code, with fewer seeds in a range."""

    def __init__(self, home, environment, seeds=2, poll_s=5):
        self.home, self.log = home, home / "log"
        settings = (ROOT / "orchestration" / "dagster.yaml").read_text()
        settings = settings.replace("poll_interval_seconds: 30", f"poll_interval_seconds: {poll_s}")
        (home / "dagster.yaml").write_text(settings)
        (home / "small.py").write_text(CODE.format(seeds=seeds))
        self.environment = {**os.environ, **QUIET, "DAGSTER_HOME": str(home), **environment}
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        self.command = [
            Path(sys.executable).with_name("dagster"), "dev", "-h", "127.0.0.1", "-p", str(port),
            "-f", home / "small.py",
        ]  # fmt: skip

    def start(self):
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, env=self.environment
            )
        wait_for(lambda: self.is_up() or self.process.poll() is not None, 600, 2)
        assert self.process.poll() is None, self.log.read_text()[-4000:]

    def is_up(self):
        return answers(f"{self.address}/server_info")

    def kill(self):
        """All of it at once: server, daemon, and the processes of its runs."""
        family = [*psutil.Process(self.process.pid).children(recursive=True), self.process]
        for member in family:
            kill(member.pid)
        self.process.wait()

    def ask(self, query, **variables):
        body = json.dumps({"query": query, "variables": variables}).encode()
        request = urllib.request.Request(
            f"{self.address}/graphql", body, {"content-type": "application/json"}
        )
        answer = json.load(urllib.request.urlopen(request, timeout=120))
        assert "errors" not in answer, answer["errors"]
        (content,) = answer["data"].values()
        return content

    def launch(self, assets, config=None, partition=None):
        """Materialize assets in one run, as the button of the page does; returns the run's id."""
        selector = {
            "repositoryLocationName": "small.py", "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB", "assetSelection": [{"path": [a]} for a in assets],
        }  # fmt: skip
        tags = [{"key": "dagster/partition", "value": partition}] if partition else []
        answer = self.ask(
            "mutation($p: ExecutionParams!) {launchRun(executionParams: $p) {__typename "
            "... on LaunchRunSuccess {run {runId}} ... on PythonError {message}}}",
            p={
                "selector": selector,
                "runConfigData": {"ops": config or {}},
                "mode": "default",
                "executionMetadata": {"tags": tags},
            },
        )
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return answer["run"]["runId"]

    def backfill(self, asset, partitions, config=None):
        """Rebuild partitions, as the page does; returns the backfill's id."""
        answer = self.ask(
            "mutation($p: LaunchBackfillParams!) {launchPartitionBackfill(backfillParams: $p) "
            "{__typename ... on LaunchBackfillSuccess {backfillId} ... on PythonError {message}}}",
            p={
                "assetSelection": [{"path": [asset]}],
                "partitionNames": partitions,
                "runConfigData": {"ops": config or {}},
            },
        )
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return answer["backfillId"]

    def runs(self):
        """Newest first."""
        return self.ask(
            "{runsOrError {... on Runs {results {runId status parentRunId startTime endTime "
            "assetSelection {path} tags {key value}}}}}"
        )["results"]

    def status(self, run_id):
        (run,) = [run for run in self.runs() if run["runId"] == run_id]
        return run["status"]

    def wait_for_end(self, run_id, limit_s=600):
        return wait_for(
            lambda: (s := self.status(run_id)) in OVER and s,
            limit_s, 2,
        )  # fmt: skip


class RayCluster:
    """A head and two raylets on this machine, told apart by their folder and the head's port."""

    def __init__(self, folder, environment=None):
        self.folder = folder
        self.more = {**PATIENT, **(environment or {})}
        try:
            self._start()
        except BaseException:
            self.stop()
            raise

    def _start(self):
        self._ray("--head", f"--port={GCS}", "--dashboard-host=127.0.0.1", "--num-cpus=1",
                  f"--dashboard-port={DASHBOARD}", f"--temp-dir={self.folder}")  # fmt: skip
        for _ in range(2):
            self.add_node()
        wait_for(lambda: answers(f"{RAY_JOBS}/api/version"), 120)

    def _ray(self, *arguments):
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments]
        common = [f"--node-ip-address={HOST}", "--disable-usage-stats",
                  "--object-store-memory=200000000"]  # fmt: skip
        subprocess.run([*command, *common], env=self.environment, check=True, timeout=400,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    @property
    def environment(self):
        """Of the cluster, and so of its jobs: `python` is the one that runs the tests."""
        modules = os.pathsep.join([str(ROOT), str(Path(__file__).parent)])
        programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return {**os.environ, **QUIET, "PYTHONPATH": modules, "PATH": programs, **self.more}

    def add_node(self):
        self._ray(f"--address={RAY_ADDRESS}", "--num-cpus=2")

    def processes(self, word):
        """Processes of this cluster whose command line has the word and the cluster's folder."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                line = " ".join(process.cmdline())
                if word in line and str(self.folder) in line:
                    found.append(process)
        return found

    def raylets(self):
        """The head's first."""
        return sorted(self.processes("/raylet/raylet"), key=lambda process: process.create_time())

    def workers(self, word):
        """Ray hides the command line of its workers, so they are known by their parents."""
        found = []
        for raylet in self.raylets():
            for process in raylet.children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    if word in " ".join(process.cmdline()):
                        found.append(process)
        return found

    def stop(self):
        """Never `ray stop`: it would end every Ray on this machine."""
        for process in self.processes(""):
            kill(process.pid)
        shutil.rmtree(self.folder, ignore_errors=True)
