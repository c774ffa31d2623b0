"""Every line of docs/threats.md has its test, and the defences that belong to no module."""

import json
import logging
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from models.recipes import find_recipe
from models.train import run_recipe
from models.vae.losses import LossWeights
from orchestration.ray_jobs import RayJobs

ROOT = Path(__file__).parents[1]
CANARY = "canary-7f3a-secret"


def test_every_threat_has_a_test_that_exists():
    rows = [
        line for line in (ROOT / "docs" / "threats.md").read_text().splitlines() if "`test_" in line
    ]
    assert len(rows) > 10
    sources = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for row in rows:
        for name in re.findall(r"`(test_\w+)`", row):
            assert f"def {name}(" in sources, name


class Recorder:
    """Stands where the cluster is, and keeps what would be sent to it."""

    def list_jobs(self):
        return []

    def submit_job(self, **sent):
        self.sent = sent
        return sent["submission_id"]


@pytest.mark.filterwarnings("ignore")
def test_credentials_are_in_nothing_that_is_written_or_sent(
    tmp_path, write_toy_shard, monkeypatch, caplog, capfd
):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, CANARY)
    caplog.set_level(logging.DEBUG)
    shard = write_toy_shard(tmp_path / "a.tar", count=6)
    recipe = find_recipe("vae_debug")
    clips = replace(recipe.clips, num_frames=5, size_px=32)
    recipe = replace(recipe, clips=clips, weights=LossWeights(), num_steps=1, warmup_steps=0)
    run_recipe(recipe, [shard], tmp_path / "run")
    cluster = Recorder()
    RayJobs(address="http://127.0.0.1:1")._submit_or_adopt(cluster, "python -m x", "run")  # type: ignore[arg-type]
    printed = capfd.readouterr()
    written = [path for path in (tmp_path / "run").rglob("*") if path.is_file()]
    assert len(written) > 5
    for path in written:
        assert CANARY.encode() not in path.read_bytes(), path
    assert CANARY in os.environ["AWS_SECRET_ACCESS_KEY"]
    for text in (json.dumps(cluster.sent), caplog.text, printed.out, printed.err):
        assert CANARY not in text


def test_services_bind_to_loopback():
    makefile = (ROOT / "Makefile").read_text()
    assert "dagster dev -h 127.0.0.1" in makefile
    assert '_node_ip_address="127.0.0.1"' in (ROOT / "models/training/launch.py").read_text()
    for path in (ROOT / "models", ROOT / "pipelines", ROOT / "orchestration"):
        for source in path.rglob("*.py"):
            assert "0.0.0.0" not in source.read_text(), source
