"""Dagster dies with all its processes while it renders and trains; started again, it goes on.

Slow: `make test-slow`.
"""

import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pytest
from real_services import OVER, RAY_ADDRESS, RAY_JOBS, ROOT, Dagster, RayCluster, wait_for

from models.training.metrics import read_metrics
from orchestration.partitions import FIRST_SEED
from orchestration.steps import training_scenes
from pipelines.pack import PackSettings, pack
from pipelines.synthetic.produce import render_clips
from storage_schemas.dataset import publish
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400), pytest.mark.filterwarnings("ignore")]
SEEDS, STEPS, FRAMES, SIZE_PX = 32, 60, 5, 64


@pytest.fixture(scope="module")
def cluster():
    # a short path: the sockets below it may have 107 letters
    found = RayCluster(Path(f"/tmp/isa4d-ray-{os.getpid()}"))
    yield found
    found.stop()


@pytest.fixture
def root(tmp_path, write_toy_shard):
    """With version toy@1, to train on."""
    store = Store(tmp_path / "root")
    shard = write_toy_shard(tmp_path / "toy.tar", count=12, frames=20, size_px=(96, 96))
    for clip_id, parts in read_shard(shard):
        for name, content in parts.items():
            store.write(f"clips/{clip_id}/{name}", content)
    pack(store, "toy", settings=PackSettings(validation_share=0.0, test_share=0.0))
    publish(store, "toy")
    for key in store.list("clips/"):
        store.delete(key)
    return store


@pytest.fixture
def dagster(tmp_path, root, cluster):
    home = tmp_path / "home"
    home.mkdir()
    found = Dagster(
        home,
        {
            "ISA4D_ROOT": root.root, "ISA4D_WORKERS": "2", "RAY_ADDRESS": RAY_ADDRESS,
            "ISA4D_RAY_JOBS": RAY_JOBS, "ISA4D_RAY_PYTHON": sys.executable,
            "ISA4D_TRAIN_WORKERS": "2",
        },
        seeds=SEEDS,
    )  # fmt: skip
    found.start()
    yield found
    found.kill()


def losses(folder):
    log = folder / "metrics.jsonl"
    return [r["loss"] for r in read_metrics(log) if "loss" in r] if log.exists() else []


def shards(store):
    pack(store, "all", settings=PackSettings(samples_per_shard=4))
    return {key: store.read(key) for key in store.list("shards/all/")}


def disturb(dagster, run_id, is_under_way):
    """Kill Dagster in the middle of a run and start it again; the run's retry succeeds."""
    wait_for(is_under_way, 900)
    dagster.kill()
    dagster.start()

    def finished():
        runs = dagster.runs()
        return len(runs) == 2 and all(run["status"] in OVER for run in runs) and runs

    retry, first = wait_for(finished, 1200, 2)
    assert (first["runId"], first["status"]) == (run_id, "FAILURE")
    assert (retry["parentRunId"], retry["status"]) == (run_id, "SUCCESS")


def test_a_training_goes_on_while_dagster_is_dead_and_is_found_again(
    dagster, root, cluster, tmp_path
):
    from ray.job_submission import JobSubmissionClient

    out = Path(root.root) / f"vae_debug-toy@1-{STEPS}"
    config = {"recipe": "vae_debug", "steps": STEPS, "dataset": "toy"}
    run_id = dagster.launch(["vae"], {"vae": {"config": config}})
    disturb(dagster, run_id, lambda: len(losses(out)) >= 2)
    jobs = [job for job in JobSubmissionClient(RAY_JOBS).list_jobs() if job.submission_id]
    jobs.sort(key=lambda job: job.start_time)
    for before, after in pairwise(jobs):  # where the job ended meanwhile, another looks at its end
        assert before.end_time <= after.start_time
    quiet = tmp_path / "quiet"
    subprocess.run(
        [sys.executable, "-m", "models.train", "vae_debug", "--steps", str(STEPS), "--data",
         "toy@1", "--root", root.root, "--out", quiet, "--workers", "2"],
        cwd=ROOT, check=True, timeout=900,
        env={**cluster.environment, "RAY_ADDRESS": RAY_ADDRESS},
    )  # fmt: skip
    assert losses(out) == losses(quiet)
    assert (out / "model.safetensors").read_bytes() == (quiet / "model.safetensors").read_bytes()


def test_a_killed_rendering_is_found_and_leaves_the_same_shards(dagster, root, tmp_path):
    config = {"size_px": SIZE_PX, "num_frames": FRAMES}
    run_id = dagster.launch(
        ["synthetic_clips"], {"synthetic_clips": {"config": config}}, str(FIRST_SEED)
    )
    disturb(dagster, run_id, lambda: root.list("results/render/"))
    other = Store(tmp_path / "other")
    seeds = range(FIRST_SEED, FIRST_SEED + SEEDS)
    assert render_clips(other, seeds, training_scenes(SIZE_PX, FRAMES, 1)).kept == SEEDS
    assert shards(root) == shards(other)
