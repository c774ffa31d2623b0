"""Kill -9 in the middle of packing, run again: the bytes of an uninterrupted run."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from pipelines.pack import PackSettings, pack
from storage_schemas.dataset import read_packed
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

REPOSITORY = Path(__file__).parents[2]
SCRIPT = """
import sys
from pipelines.pack import PackSettings, pack
from storage_schemas.store import Store
pack(Store(sys.argv[1]), "set", settings=PackSettings(samples_per_shard=2))
"""


@pytest.fixture
def root(tmp_path, write_toy_shard):
    store = Store(tmp_path / "root")
    for clip_id, parts in read_shard(write_toy_shard(tmp_path / "toy.tar", count=24, frames=5)):
        for name, data in parts.items():
            store.write(f"clips/{clip_id}/{name}", data)
    return tmp_path / "root"


def test_killed_and_run_again_equals_uninterrupted(root, tmp_path):
    whole = Store(shutil.copytree(root, tmp_path / "whole"))
    settings = PackSettings(samples_per_shard=2)
    pack(whole, "set", settings=settings)
    killed = Store(root)
    for shards in (1, 5):
        process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(root)],
            env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        )
        while process.poll() is None and len(killed.list("shards/")) < shards:
            time.sleep(0.001)
        assert process.poll() is None
        process.kill()
        process.wait()
        with pytest.raises(ValueError, match="isa4d pack"):
            read_packed(killed, "set")  # half a packing is no packing
    pack(killed, "set", settings=settings)
    assert killed.list() == whole.list()
    differing = [key for key in whole.list() if killed.read(key) != whole.read(key)]
    assert differing == []
