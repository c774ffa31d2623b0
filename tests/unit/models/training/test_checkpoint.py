"""A checkpoint is whole and sound, or it is not used."""

import logging

import pytest
import torch

from models.training.checkpoint import (
    CheckpointError,
    load_checkpoint,
    load_weights,
    newest_checkpoint,
    prune_checkpoints,
    save_checkpoint,
    save_weights,
)

STATE = {
    "weights": {"w": torch.arange(6.0).view(2, 3).mT, "bf16": torch.ones(2, dtype=torch.bfloat16)},
    "optimizer": {"state": {0: {"step": torch.tensor(3.0)}}, "param_groups": [{"lr": 0.1}]},
    "betas": (0.9, 0.999),
    "nothing": None,
    "exact": 0.1 + 0.2,
    "infinite": float("inf"),
    "empty": {},
    "generator": torch.Generator().manual_seed(5).get_state(),
}


def equal(a, b):
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return list(a) == list(b) and all(equal(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and all(equal(x, y) for x, y in zip(a, b, strict=True))
    return type(a) is type(b) and a == b


def test_state_comes_back_with_types_and_bits(tmp_path):
    path = save_checkpoint(tmp_path, 12, STATE)
    step, state = load_checkpoint(path)
    assert step == 12
    assert equal(state, STATE)


@pytest.mark.parametrize("bad", [object(), {1.5: 1}, [lambda: 0]])
def test_state_of_other_things_is_refused_with_its_place(tmp_path, bad):
    with pytest.raises(ValueError, match=r"state\.here"):
        save_checkpoint(tmp_path, 0, {"here": bad})


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "one bit of the tensors": lambda folder: flip(folder / "state.safetensors"),
    "one bit of the values": lambda folder: flip(folder / "state.json"),
    "half a file": lambda folder: (folder / "state.safetensors").write_bytes(b"x" * 50),
    "a file gone": lambda folder: (folder / "state.json").unlink(),
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "a manifest of another kind": lambda folder: (folder / "manifest.json").write_text("[]"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_checkpoint_is_refused_and_the_one_before_used(tmp_path, damage, caplog):
    save_checkpoint(tmp_path, 9, {"step": 9})
    newest = save_checkpoint(tmp_path, 10, STATE)
    DAMAGES[damage](newest)
    with pytest.raises(CheckpointError):
        load_checkpoint(newest)
    with caplog.at_level(logging.WARNING):
        assert newest_checkpoint(tmp_path) == (9, {"step": 9})
    assert "falling back" in caplog.text


def test_only_damaged_checkpoints_stop_the_run(tmp_path):
    DAMAGES["half a file"](save_checkpoint(tmp_path, 1, STATE))
    with pytest.raises(CheckpointError, match="all 1 checkpoints"):
        newest_checkpoint(tmp_path)


def test_interrupted_writer_leaves_nothing_that_counts(tmp_path):
    assert newest_checkpoint(tmp_path) is None
    (tmp_path / ".writing-step-00000007-ab").mkdir()
    assert newest_checkpoint(tmp_path) is None
    for step in (1, 2, 3):
        save_checkpoint(tmp_path, step, {"step": step})
    prune_checkpoints(tmp_path, keep=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step-00000002", "step-00000003"]


def test_weights_round_trip_and_absent_ones_say_what_to_do(tmp_path):
    digest = save_weights(tmp_path / "model.safetensors", {"w": torch.ones(3)})
    assert len(digest) == 64
    assert torch.equal(load_weights(tmp_path)["w"], torch.ones(3))
    with pytest.raises(CheckpointError, match="--resume"):
        load_weights(tmp_path / "nothing")
