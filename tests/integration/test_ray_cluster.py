"""A real Ray cluster of three raylets: whatever is killed, the result is that of a quiet run.

Slow: `make test-slow`.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import psutil
import pytest

from models.training.metrics import read_metrics
from orchestration.ray_jobs import RayJobs
from pipelines.run import Item, Stage, read_results, run_stage
from storage_schemas.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500), pytest.mark.filterwarnings("ignore")]
# Ray takes 127.0.0.1 for the outer address of this machine, and the one beside it as it is.
HOST, GCS, DASHBOARD = "127.0.0.2", 6391, 8267
ADDRESS = f"http://127.0.0.1:{DASHBOARD}"
STEPS = 12
ROOT = Path(__file__).parents[2]
ENVIRONMENT = {
    **os.environ,
    "RAY_AUTH_MODE": "disabled",
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": os.pathsep.join([str(ROOT), str(Path(__file__).parent)]),
}


class Cluster:
    """Raylets of their own on this machine, told apart by the port of the head."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ray("--head", f"--port={GCS}", "--dashboard-host=127.0.0.1", "--num-cpus=1",
                  f"--dashboard-port={DASHBOARD}", f"--temp-dir={folder}")  # fmt: skip
        for _ in range(2):
            self.add_node()

    def _ray(self, *arguments):
        command = [str(Path(sys.executable).with_name("ray")), "start", *arguments]
        common = [f"--node-ip-address={HOST}", "--disable-usage-stats",
                  "--object-store-memory=200000000"]  # fmt: skip
        subprocess.run([*command, *common], env=ENVIRONMENT, check=True, timeout=120,
                       stdout=subprocess.DEVNULL)  # fmt: skip

    def add_node(self):
        self._ray(f"--address={HOST}:{GCS}", "--num-cpus=2")

    def processes(self, *words):
        """Processes of this cluster whose command line has all the words."""
        found = []
        for process in psutil.process_iter():
            try:
                line = " ".join(process.cmdline())
                environment = process.environ() if "ray::" in line else {}
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
            ours = str(GCS) in line or str(GCS) in environment.get("RAY_ADDRESS", "")
            ours = ours or str(self.folder) in line or str(self.folder) in str(environment)
            if all(word in line for word in words) and (ours or "ray::" in line):
                found.append(process)
        return found

    def raylets(self):
        return sorted(self.processes("/raylet/raylet"), key=lambda p: p.create_time())

    def stop(self):
        """Never `ray stop`: it would end every Ray on this machine."""
        for process in self.processes(str(self.folder)):
            kill(process.pid)


def kill(pid):
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    # a short path: the sockets below it may have 107 letters
    folder = Path(f"/tmp/isa4d-ray-{os.getpid()}")
    cluster = Cluster(folder)
    until = time.time() + 60
    while time.time() < until:
        try:
            urllib.request.urlopen(f"{ADDRESS}/api/version", timeout=2)
            break
        except OSError:
            time.sleep(1)
    yield cluster
    cluster.stop()


def wait_for(condition, limit_s=300):
    until = time.time() + limit_s
    while time.time() < until:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError("waited in vain")


def slow_square(item, store):
    time.sleep(0.5)
    return {f"squares/{item.key}": f"{int(item.key) ** 2}".encode()}


DATA_JOB = """
import sys
sys.path[:0] = [{tests!r}, {root!r}]
from test_ray_cluster import slow_square
from pipelines.run import Item, Stage, run_stage
from storage_schemas.store import Store
stage = Stage(name="square", version="1", work=slow_square)
items = [Item(key=f"{{i:03d}}") for i in range(60)]
print(run_stage(stage, items, Store({store!r}), workers=3).summary())
"""


def contents(store):
    return {key: store.read(key) for key in store.list("squares/")}


def test_data_jobs_survive_workers_raylets_and_drivers(cluster, tmp_path):
    quiet = Store(tmp_path / "quiet")
    stage = Stage(name="square", version="1", work=slow_square)
    assert run_stage(stage, [Item(key=f"{i:03d}") for i in range(60)], quiet).kept == 60
    store = Store(tmp_path / "disturbed")
    code = DATA_JOB.format(tests=str(Path(__file__).parent), root=str(ROOT), store=store.root)
    environment = {**ENVIRONMENT, "RAY_ADDRESS": f"{HOST}:{GCS}"}

    def start():
        return subprocess.Popen(
            [sys.executable, "-c", code], env=environment, cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    driver = start()
    wait_for(lambda: len(store.list("squares/")) > 5 or driver.poll() is not None)
    assert driver.poll() is None, driver.communicate()[0]
    kill(wait_for(lambda: cluster.processes("ray::", "Map"))[0].pid)
    wait_for(lambda: len(store.list("squares/")) > 15)
    kill(cluster.raylets()[-1].pid)
    cluster.add_node()
    wait_for(lambda: len(store.list("squares/")) > 30)
    kill(driver.pid)
    driver.communicate()
    printed, _ = start().communicate(timeout=600)
    assert "60 inputs = 60 kept + 0 filtered + 0 failed" in printed, printed
    assert contents(store) == contents(quiet)
    assert {r.status for r in read_results(store, "square")} == {"kept"}


FOLLOWER = """
import sys
sys.path[:0] = [{root!r}]
from orchestration.ray_jobs import RayJobs, forward
jobs = RayJobs(address={address!r}, python=sys.executable, poll_s=0.5)
print("JOB", jobs.run({arguments!r}, "run", forward, forward))
"""


def losses(run):
    return [r["loss"] for r in read_metrics(run / "metrics.jsonl") if "loss" in r]


def test_training_jobs_survive_workers_and_those_who_follow(cluster, tmp_path, write_toy_shard):
    shard = write_toy_shard(tmp_path / "a.tar", count=12, frames=20, size_px=(96, 96))
    out = tmp_path / "run"

    def arguments(place, workers):
        return ["-m", "models.train", "vae_debug", "--steps", str(STEPS), "--data", str(shard),
                "--out", str(place), "--resume", "--workers", str(workers)]  # fmt: skip

    quiet = tmp_path / "quiet"
    subprocess.run(
        [sys.executable, *arguments(quiet, 2)], cwd=ROOT, check=True, timeout=900,
        env={**ENVIRONMENT, "RAY_ADDRESS": f"{HOST}:{GCS}"},
    )  # fmt: skip
    code = FOLLOWER.format(root=str(ROOT), address=ADDRESS, arguments=arguments(out, 2))

    def follow():
        return subprocess.Popen(
            [sys.executable, "-c", code], env=ENVIRONMENT, cwd=ROOT, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip

    def step():
        return len(losses(out)) if (out / "metrics.jsonl").exists() else 0

    follower = follow()
    wait_for(lambda: step() >= 2)
    kill(follower.pid)  # the Dagster process dies; its job goes on
    follower.communicate()
    wait_for(lambda: any((out / "checkpoints").glob("step-*")))
    kill(wait_for(lambda: cluster.processes("ray::", "TrainWorker"))[0].pid)
    follower = follow()  # and is found again
    printed, _ = follower.communicate(timeout=900)
    (job,) = [line.split()[1] for line in printed.splitlines() if line.startswith("JOB")]
    assert job.endswith("-1"), printed
    assert losses(out) == losses(quiet)
    assert (out / "model.safetensors").read_bytes() == (quiet / "model.safetensors").read_bytes()
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert max(record["step"] for record in records) == STEPS


def test_a_lost_cluster_is_said_after_bounded_patience(monkeypatch):
    import dagster as dg

    import orchestration.ray_jobs

    monkeypatch.setattr(orchestration.ray_jobs, "LOST_POLLS", 2)

    class Lost:
        def get_job_info(self, job):
            raise ConnectionError("refused")

    with pytest.raises(dg.Failure, match="has not answered 2 times"):
        RayJobs(address="http://127.0.0.1:1", poll_s=0.01)._follow(Lost(), "j", print)  # type: ignore[arg-type]
