"""A run on S3 equals a run in a folder: copied while it goes, continued wherever it starts."""

import json
import shutil
import time
from dataclasses import replace

import boto3
import pytest
import torch
from moto.server import ThreadedMotoServer

from models.recipes import find_recipe
from models.train import run_recipe
from models.training.checkpoint import newest_checkpoint, save_checkpoint
from models.training.metrics import read_metrics
from models.training.mirror import CHECKPOINTS, LEASE, _Mirror, local_run, run_folder
from models.vae.losses import LossWeights
from storage_schemas.store import Store

PLACE = "s3://runs/one"

pytestmark = pytest.mark.filterwarnings("ignore")  # boto3 and moto name their own deprecations


@pytest.fixture
def bucket(monkeypatch, tmp_path):
    server = ThreadedMotoServer(port=0)
    server.start()
    _, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    client = boto3.client("s3")
    client.create_bucket(Bucket="runs")
    store = Store(PLACE)
    yield store
    for key in store.list():  # moto keeps its objects over servers of one process
        store.delete(key)
    server.stop()


def state(value):
    return {"weight": torch.full((3,), float(value))}


def test_what_is_written_here_is_there_and_comes_back(bucket):
    with run_folder(PLACE) as (folder, changed):
        save_checkpoint(folder / CHECKPOINTS, 5, state(5))
        (folder / "metrics.jsonl").write_text("{}\n")
        changed()
    assert LEASE not in bucket.list()
    shutil.rmtree(folder)
    found = newest_checkpoint(local_run(PLACE) / CHECKPOINTS)
    assert found is not None
    assert found[0] == 5
    assert torch.equal(found[1]["weight"], state(5)["weight"])


def test_checkpoints_removed_here_go_there_and_half_copied_ones_do_not_count(bucket):
    with run_folder(PLACE) as (folder, _):
        save_checkpoint(folder / CHECKPOINTS, 5, state(5))
        save_checkpoint(folder / CHECKPOINTS, 6, state(6))
    with run_folder(PLACE) as (folder, _):
        shutil.rmtree(folder / CHECKPOINTS / "step-00000005")
    assert not bucket.list(f"{CHECKPOINTS}/step-00000005")
    bucket.write(f"{CHECKPOINTS}/step-00000009/state.safetensors", b"the rest was not copied")
    folder = local_run(PLACE)
    assert [path.name for path in (folder / CHECKPOINTS).iterdir()] == ["step-00000006"]


def test_what_only_this_machine_knows_is_not_continued_from(bucket):
    with run_folder(PLACE) as (folder, _):
        save_checkpoint(folder / CHECKPOINTS, 5, state(5))
    save_checkpoint(folder / CHECKPOINTS, 7, state(7))  # killed before it was copied
    found = newest_checkpoint(local_run(PLACE) / CHECKPOINTS)
    assert found is not None
    assert found[0] == 5


def test_two_trainings_do_not_write_one_run(bucket):
    with (
        run_folder(PLACE, owner="a"),
        pytest.raises(RuntimeError, match="another process trains into s3://runs/one"),
        run_folder(PLACE, owner="b"),
    ):
        pass
    bucket.write(LEASE, json.dumps({"owner": "dead", "until": time.time() - 1}).encode())
    with run_folder(PLACE, owner="b"):  # an expired lease is free
        held = json.loads(bucket.read(LEASE))
        assert held["owner"] == "b"
        _Mirror(PLACE, "b").take_lease()  # a restarted worker of the same training


def pieces_of(rank, folder):
    """What two ranks on two machines leave of a step."""
    step = folder / CHECKPOINTS / "step-00000005"
    step.mkdir(parents=True, exist_ok=True)
    mine = f"shard-{rank + 1:05d}-of.safetensors"
    (step / mine).write_bytes(b"piece %d" % rank)
    (step / "state.json").write_text("{}")
    names = ["shard-00001-of.safetensors", "shard-00002-of.safetensors", "state.json"]
    (step / "manifest.json").write_text(json.dumps(dict.fromkeys(names, "")))


def test_a_manifest_waits_for_the_pieces_of_other_machines(bucket, tmp_path, monkeypatch):
    first, second = _Mirror(PLACE, "a", 0), _Mirror(PLACE, "a", 1)
    first.folder, second.folder = tmp_path / "one", tmp_path / "two"
    stale = f"{CHECKPOINTS}/step-00000005/shard-00002-of.safetensors"
    bucket.write(stale, b"of a run that was killed")
    first.forget_unfinished()
    for rank, mirror in enumerate((first, second)):
        pieces_of(rank, mirror.folder)
    assert not first.push()
    manifest = f"{CHECKPOINTS}/step-00000005/manifest.json"
    assert not bucket.exists(manifest)
    assert second.push()
    assert bucket.read(stale) == b"piece 1"
    assert first.push()
    assert bucket.exists(manifest)
    assert len(bucket.list(f"{CHECKPOINTS}/")) == 4
    monkeypatch.setattr("models.training.mirror.LAST_COPY_S", 0.0)
    bucket.delete(stale)
    (first.folder / CHECKPOINTS / "step-00000005/manifest.json").write_text(
        json.dumps({"shard-00003-of.safetensors": ""})
    )
    first.sent.clear()
    with pytest.raises(OSError, match="--resume from the one before"):
        first.push_all()


def test_pieces_of_a_step_that_the_writer_has_not_begun_stay(bucket, tmp_path):
    first = _Mirror(PLACE, "a", 0)
    first.folder = tmp_path / "one"
    save_checkpoint(first.folder / CHECKPOINTS, 5, state(5))
    early = f"{CHECKPOINTS}/step-00000006/shard-00002-of.safetensors"
    bucket.write(early, b"")
    assert first.push()
    assert bucket.exists(early)


@pytest.mark.timeout(600)
def test_a_run_on_s3_resumed_elsewhere_equals_one_in_a_folder(bucket, tmp_path, write_toy_shard):
    shard = write_toy_shard(tmp_path / "a.tar", count=6)
    recipe = find_recipe("vae_debug")
    clips = replace(recipe.clips, num_frames=5, size_px=32)
    recipe = replace(recipe, clips=clips, weights=LossWeights(), num_steps=10, warmup_steps=1)
    run_recipe(recipe, [shard], tmp_path / "here")

    def stop(step, metrics, checkpoint):
        if step == 7:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_recipe(recipe, [shard], PLACE, report=stop)
    shutil.rmtree(_Mirror(PLACE).folder)  # another machine goes on
    run_recipe(recipe, [shard], PLACE, resume=True)
    there = local_run(PLACE)

    def losses(run):
        return [r["loss"] for r in read_metrics(run / "metrics.jsonl") if "loss" in r]

    assert losses(there) == losses(tmp_path / "here")
    assert (there / "model.safetensors").read_bytes() == (
        tmp_path / "here" / "model.safetensors"
    ).read_bytes()
