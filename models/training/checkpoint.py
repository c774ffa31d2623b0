"""Checkpoints: tensors in safetensors, plain values in JSON, a manifest of digests, one rename.

A checkpoint is a folder `step-00000123`. It is complete because it bears that name: it was written
under another one, synced, and renamed. It is trusted because every file has the digest that its
manifest states; a damaged one is refused, and the newest sound one is used instead. Nothing here
reads or writes pickle.
"""

import hashlib
import json
import logging
import os
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

LOG = logging.getLogger(__name__)
TENSORS: Final = "state.safetensors"
VALUES: Final = "state.json"
MANIFEST: Final = "manifest.json"
WEIGHTS: Final = "model.safetensors"
"""What a finished run leaves to be used."""
PLAIN = (str, int, float, bool, type(None))


class CheckpointError(ValueError):
    """A checkpoint is absent, torn or damaged."""


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write the state of one step; after this returns it survives a power cut.

    Args:
        folder: Holds all checkpoints of a run.
        step: Steps that are done.
        state: Nested dicts, lists and tuples of tensors and plain values.

    Raises:
        ValueError: If the state holds anything else; the message says where.
    """
    tensors: dict[str, Tensor] = {}
    values = _flatten(state, "state", tensors)
    final = folder / f"step-{step:08d}"
    temporary = folder / f".writing-{final.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    save_file(tensors, temporary / TENSORS)
    (temporary / VALUES).write_text(json.dumps({"step": step, "state": values}))
    digests = {name: _digest(temporary / name) for name in (TENSORS, VALUES)}
    (temporary / MANIFEST).write_text(json.dumps(digests, indent=1))
    for file in temporary.iterdir():
        _sync(file)
    _sync(temporary)
    if final.exists():
        shutil.rmtree(final)
    temporary.rename(final)
    _sync(folder)
    return final


def load_checkpoint(path: Path) -> tuple[int, dict[str, Any]]:
    """Steps done and the state, after checking every byte.

    Raises:
        CheckpointError: If the folder is not exactly what was saved.
    """
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        for name in (TENSORS, VALUES):
            if _digest(path / name) != manifest[name]:
                raise CheckpointError(f"{path / name} is damaged: its digest is not the manifest's")
        content = json.loads((path / VALUES).read_text())
        tensors = load_file(path / TENSORS)
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is no complete checkpoint: {error!r}") from error
    return int(content["step"]), _unflatten(content["state"], tensors)


def newest_checkpoint(folder: Path) -> tuple[int, dict[str, Any]] | None:
    """The newest sound checkpoint, or None when there is none at all.

    Raises:
        CheckpointError: If there are checkpoints and all are damaged.
    """
    found = sorted(folder.glob("step-*"), reverse=True)
    for path in found:
        try:
            return load_checkpoint(path)
        except CheckpointError as error:
            LOG.warning("checkpoint refused, falling back to the one before: %s", error)
    if found:
        raise CheckpointError(
            f"all {len(found)} checkpoints in {folder} are damaged; restore one or start anew "
            "without --resume in another folder"
        )
    return None


def refuse_second_run(out: Path, resume: bool) -> None:
    """Keep a run from being overwritten.

    Raises:
        ValueError: If the folder holds a run that is not to be continued, or weights without the
            checkpoints that would let it continue.
    """
    has_steps = any((out / "checkpoints").glob("step-*"))
    if has_steps and not resume:
        raise ValueError(f"{out} already holds a run; add --resume or choose another folder")
    if not has_steps and (out / WEIGHTS).exists():
        raise ValueError(
            f"{out} holds finished weights and no checkpoint to continue from; choose another "
            "folder, and --start from this one to use them"
        )


def prune_checkpoints(folder: Path, keep: int) -> None:
    """Remove all but the newest, and what interrupted writers left behind."""
    for path in [*sorted(folder.glob("step-*"))[:-keep], *folder.glob(".writing-*")]:
        shutil.rmtree(path)


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write a safetensors file in one step; returns its SHA-256."""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    save_file({name: gather(tensor) for name, tensor in weights.items()}, temporary)
    _sync(temporary)
    digest = _digest(temporary)
    temporary.rename(path)
    _sync(path.parent)
    return digest


def load_weights(path: Path) -> dict[str, Tensor]:
    """Weights of a finished run: its folder, or a safetensors file.

    Raises:
        CheckpointError: If there are none, or the file is damaged.
    """
    file = path / WEIGHTS if path.is_dir() else path
    try:
        return load_file(file)
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"no readable weights at {file}: {error}; finish the run with --resume first"
        ) from error


def gather(tensor: Tensor) -> Tensor:
    """A whole copy on the CPU that shares memory with nothing; sharded tensors are collected."""
    whole = tensor.detach()
    if isinstance(whole, DTensor):
        whole = whole.full_tensor()
    return whole.cpu().contiguous().clone()


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = gather(value)
        return {"$tensor": name}
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Mapping):
        pairs = [[key, _flatten(item, f"{name}.{key}", tensors)] for key, item in value.items()]
        bad = [key for key, _ in pairs if not isinstance(key, (str, int))]
        if bad:
            raise ValueError(f"keys of {name} must be text or whole numbers, got {bad[:3]}")
        return {"$dict": pairs}
    if isinstance(value, (list, tuple)):
        items = [_flatten(item, f"{name}.{i}", tensors) for i, item in enumerate(value)]
        return {"$tuple": items} if isinstance(value, tuple) else items
    raise ValueError(
        f"{name} must be a tensor, a plain value or a container of such, got {type(value).__name__}"
    )


def _unflatten(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, list):
        return [_unflatten(item, tensors) for item in value]
    if not isinstance(value, dict):
        return value
    (kind, content), *_ = value.items()
    if kind == "$tensor":
        return tensors[content]
    if kind == "$tuple":
        return tuple(_unflatten(item, tensors) for item in content)
    return {key: _unflatten(item, tensors) for key, item in content}


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def place_like(state: Any, template: Any) -> Any:
    """The state with whole tensors split as those of the template are (for sharded models)."""
    if isinstance(state, Tensor) and isinstance(template, DTensor):
        return _split(state, template)
    if isinstance(state, Mapping) and isinstance(template, Mapping):
        return {key: place_like(item, template.get(key)) for key, item in state.items()}
    if isinstance(state, list) and isinstance(template, list) and len(state) == len(template):
        return [place_like(s, t) for s, t in zip(state, template, strict=True)]
    return state


def place_optimizer_like(optimizer: torch.optim.Optimizer) -> None:
    """Split the moments of an optimiser as its parameters are split."""
    for parameter, moments in optimizer.state.items():
        for name, value in moments.items():
            fits = isinstance(value, Tensor) and value.shape == parameter.shape
            if fits and isinstance(parameter, DTensor) and not isinstance(value, DTensor):
                moments[name] = _split(value, parameter)


def _split(whole: Tensor, template: DTensor) -> DTensor:
    from torch.distributed.tensor import distribute_tensor

    device = template.device_mesh.device_type
    return distribute_tensor(whole.to(device), template.device_mesh, template.placements)
