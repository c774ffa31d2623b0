"""The same ids twice, in two processes, and after kill -9: the same labels, the same shards."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines.synthetic.produce import render_clips, render_shards
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.dataset import read_packed
from storage_schemas.store import Store

REPOSITORY = Path(__file__).parents[2]
SETTINGS = SceneSettings(width=32, height=32, num_frames=2, num_people=(1, 2), characters=1)
SEEDS = range(6)
SHARDS_SCRIPT = """
import sys
from pathlib import Path
from pipelines.synthetic.produce import render_shards
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store
body, skins = (Path(path) for path in sys.argv[2:]) if sys.argv[2:] else (None, None)
settings = SceneSettings(
    width=32, height=32, num_frames=2, num_people=(1, 2), characters=1, body_file=body,
    skin_folder=skins,
)
render_shards(Store(sys.argv[1]), "set", range(6), settings, seeds_per_shard=3)
"""
CLIPS_SCRIPT = """
import sys
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store
settings = SceneSettings(width=32, height=32, num_frames=2, num_people=(1, 2), characters=1)
render_clips(Store(sys.argv[1]), range(6), settings)
"""


def snapshot(store):
    return {key: store.read(key) for key in store.list()}


def start(script, root, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", script, str(root), *map(str, arguments)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.DEVNULL,
    )


def kill_when(script, root, is_time, *arguments):
    process = start(script, root, *arguments)
    while process.poll() is None and not is_time():
        time.sleep(0.001)
    assert process.poll() is None, "it ended before it could be killed"
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.timeout(300)
def test_shards_of_a_killed_run_equal_those_of_another_process(tmp_path):
    here, killed = Store(tmp_path / "here"), Store(tmp_path / "killed")
    render_shards(here, "set", SEEDS, SETTINGS, seeds_per_shard=3)
    scratch = tmp_path / "killed" / ".scratch/shards/set"

    def clips_in(number):
        log = scratch / f"shard-{number:06d}.jsonl"
        return log.read_bytes().count(b'"clip_id"') if log.exists() else 0

    kill_when(SHARDS_SCRIPT, killed.root, lambda: clips_in(0) >= 2)
    kept = (scratch / "shard-000000.jsonl").read_bytes()
    with pytest.raises(ValueError, match="isa4d pack"):
        read_packed(killed, "set")  # half a run is no data set
    kill_when(SHARDS_SCRIPT, killed.root, lambda: clips_in(1) >= 1)
    # nothing of the first run was rendered again: its lines are still the first of the log
    assert killed.read("shards/set/shard-000000.jsonl").startswith(kept.rpartition(b"\n")[0])
    assert start(SHARDS_SCRIPT, killed.root).wait() == 0
    assert snapshot(killed) == snapshot(here)
    assert not [path for path in scratch.rglob("*") if path.is_file()]


@pytest.mark.timeout(300)
def test_clips_of_a_killed_run_equal_those_of_another_process(tmp_path):
    here, killed = Store(tmp_path / "here"), Store(tmp_path / "killed")
    assert render_clips(here, SEEDS, SETTINGS).kept == len(SEEDS)
    kill_when(CLIPS_SCRIPT, killed.root, lambda: len(killed.list("results/")) >= 2)
    before = {key: killed.read(key) for key in killed.list("results/")}
    account = render_clips(killed, SEEDS, SETTINGS)
    assert account.reused >= len(before)
    assert snapshot(killed) == snapshot(here)


@pytest.mark.timeout(300)
def test_shards_of_the_users_body_are_the_same_after_a_kill_in_another_process(tmp_path, scans):
    here, killed = Store(tmp_path / "here"), Store(tmp_path / "killed")
    settings = replace(SETTINGS, body_file=scans[0], skin_folder=scans[1])
    assert render_shards(here, "set", SEEDS, settings, seeds_per_shard=3).kept == len(SEEDS)
    log = tmp_path / "killed/.scratch/shards/set/shard-000000.jsonl"

    def has_a_clip():
        return log.exists() and b"kept" in log.read_bytes()

    kill_when(SHARDS_SCRIPT, killed.root, has_a_clip, *scans)
    assert start(SHARDS_SCRIPT, killed.root, *scans).wait() == 0
    assert snapshot(killed) == snapshot(here)
