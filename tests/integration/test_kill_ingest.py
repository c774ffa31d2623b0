"""Kill -9 at several moments of an ingest, run again: the bytes of an uninterrupted run."""

import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.stage import ingest
from pipelines.video_io import encode_mp4
from storage_schemas.store import Store

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import sys
from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.stage import ingest
from storage_schemas.store import Store
settings = IngestSettings(
    max_short_side_px=64, max_clip_s=1.0, max_sweep=1e3, max_blur=1.0, max_text_share=1.0
)
ingest([sys.argv[1]], Store(sys.argv[2]), settings)
"""
SETTINGS = IngestSettings(
    max_short_side_px=64, max_clip_s=1.0, max_sweep=1e3, max_blur=1.0, max_text_share=1.0
)


@pytest.fixture(scope="module")
def footage(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    y, x = np.mgrid[:96, :96]
    for number in range(6):
        waves = [(x * (c + 1) + 3 * t + y * number) % 256 for t in range(60) for c in range(3)]
        frames = np.stack(waves).reshape(60, 3, 96, 96).transpose(0, 2, 3, 1).astype(np.uint8)
        (folder / f"{number}.mp4").write_bytes(encode_mp4(frames, 20))
    (folder / "broken.mp4").write_bytes(b"\0\0\0 ftypisom")
    return folder


def kill_when(command, root, num_files):
    """Start the command, kill it once the store holds so many files; False if it was faster."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE)
    while process.poll() is None and len(Store(root).list()) < num_files:
        time.sleep(0.002)
    was_running = process.poll() is None
    process.kill()
    _, errors = process.communicate()
    assert was_running or process.returncode == 0, errors.decode()[-2000:]
    return was_running


def test_killed_and_run_again_equals_uninterrupted(footage, tmp_path):
    root = tmp_path / "killed"
    command = [sys.executable, "-c", SCRIPT, str(footage), str(root)]
    assert kill_when(command, root, 2)
    between = len(Store(root).list())
    assert kill_when(command, root, between + 7)
    accounting, *_ = ingest([footage], Store(root), SETTINGS)
    assert accounting.reused > 0
    assert (accounting.kept, accounting.filtered) == (6, {"broken_header": 1})
    whole = Store(tmp_path / "whole")
    assert ingest([footage], whole, SETTINGS)[0].reused == 0
    killed = Store(root)
    assert killed.list() == whole.list()
    differing = [key for key in whole.list() if killed.read(key) != whole.read(key)]
    assert differing == []
