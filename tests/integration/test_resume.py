"""A run that is killed and resumed equals one that was not, bit for bit."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from models.training.metrics import read_metrics

WORKER = Path(__file__).with_name("resume_worker.py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shard(tmp_path_factory, write_toy_shard):
    return write_toy_shard(tmp_path_factory.mktemp("shards") / "a.tar", count=12)


STARTED: list[subprocess.Popen] = []


@pytest.fixture(autouse=True)
def leave_nothing_running():
    yield
    while STARTED:
        process = STARTED.pop()
        process.kill()
        process.wait()
        process.stderr.close()


def start(shard, out, steps, parallel="replicate", **env):
    command = [sys.executable, str(WORKER), str(shard), str(out), str(steps), parallel]
    env = os.environ | {"PYTHONPATH": str(ROOT)} | env
    STARTED.append(subprocess.Popen(command, env=env, stderr=subprocess.PIPE, text=True))
    return STARTED[-1]


def finish(process, code=0):
    _, errors = process.communicate(timeout=400)
    assert process.returncode == code, errors
    return errors


def losses(out):
    """Step -> loss, gradient norm and validation loss, to the last bit."""
    exact = {}
    for record in read_metrics(out / "metrics.jsonl"):
        for name in ("loss", "norm", "val_loss"):
            if name in record:
                assert (record["step"], name) not in exact
                exact[record["step"], name] = record[name].hex()
    return exact


def wait_for(out, step, process):
    until = time.monotonic() + 300
    while time.monotonic() < until:
        assert process.poll() is None, process.communicate()[1]
        metrics = out / "metrics.jsonl"
        records = read_metrics(metrics) if metrics.exists() else []
        if records and records[-1]["step"] >= step:
            return
        time.sleep(0.02)
    raise AssertionError(f"no step {step}")


@pytest.fixture(scope="module")
def uninterrupted(shard, tmp_path_factory):
    out = tmp_path_factory.mktemp("straight")
    finish(start(shard, out, 16))
    return out


def test_killed_run_resumes_to_the_same_bits(shard, uninterrupted, tmp_path):
    process = start(shard, tmp_path, 16, STEP_SLEEP_S="0.1")
    wait_for(tmp_path, 8, process)
    process.kill()
    process.communicate()
    before = losses(tmp_path)
    assert max(step for step, _ in before) < 16
    finish(start(shard, tmp_path, 16))
    assert losses(tmp_path) == losses(uninterrupted)
    final = "checkpoints/step-00000016/state.safetensors"
    assert (tmp_path / final).read_bytes() == (uninterrupted / final).read_bytes()


def test_asked_to_stop_it_saves_first_and_resumes_to_the_same_bits(shard, uninterrupted, tmp_path):
    process = start(shard, tmp_path, 16, STEP_SLEEP_S="0.1")
    wait_for(tmp_path, 6, process)
    process.send_signal(signal.SIGTERM)
    finish(process, code=3)
    stopped = int(max(tmp_path.glob("checkpoints/step-*")).name[5:])
    assert stopped % 5, "the checkpoint was made by the signal, not by the interval"
    finish(start(shard, tmp_path, 16))
    assert losses(tmp_path) == losses(uninterrupted)


def start_ranks(shard, out, steps, num_ranks, parallel, **env):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    common = {"WORLD_SIZE": str(num_ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    ranks = [
        start(
            shard,
            out,
            steps,
            parallel,
            RANK=str(r),
            LOCAL_RANK=str(r),
            DROPOUT="0",
            **common,
            **env,
        )
        for r in range(num_ranks)
    ]
    return [finish(rank) for rank in ranks]


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["replicate", "shard"])
def test_two_ranks_resume_to_the_same_bits_and_continue_on_one(shard, tmp_path, parallel):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start_ranks(shard, whole, 10, 2, parallel)
    start_ranks(shard, parts, 5, 2, parallel)
    start_ranks(shard, parts, 10, 2, parallel)
    both = losses(whole)
    assert {k: v for k, v in losses(parts).items() if k[1] != "val_loss" or k[0] == 10} == both
    finish(start(shard, parts, 12, DROPOUT="0"))
    assert max(step for step, _ in losses(parts)) == 12


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_split_run_goes_on_with_any_number_of_ranks(shard, tmp_path):
    """Two ranks, one, two again: without what each rank draws for itself, the losses stay."""
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    start_ranks(shard, whole, 15, 2, "shard", NOISE="0")
    start_ranks(shard, parts, 5, 2, "shard", NOISE="0")
    written = {path.name[:12] for path in parts.glob("checkpoints/step-00000005/shard-*")}
    assert written == {"shard-00001-", "shard-00002-"}
    finish(start(shard, parts, 10, DROPOUT="0", NOISE="0"))
    assert (parts / "checkpoints/step-00000010/state.safetensors").exists()
    start_ranks(shard, parts, 15, 2, "shard", NOISE="0")
    undisturbed, elastic = losses(whole), losses(parts)
    for step in range(1, 16):
        for name in ("loss", "norm"):
            before, after = (float.fromhex(run[step, name]) for run in (undisturbed, elastic))
            assert after == pytest.approx(before, rel=1e-5), (step, name)
