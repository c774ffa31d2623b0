"""Checkpoints: tensors in safetensors, plain values in JSON, a manifest of digests, one rename.

A checkpoint is a folder `step-00000123`. It is complete because it bears that name: it was written
under another one, synced, and renamed. Ranks that hold pieces of a model write into one folder, so
there a mark says that it is not complete. It is trusted because every file has the digest that its
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

import torch.distributed as dist
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.distributed.tensor import DTensor

from models.training.parallelize import current_ranks
from models.training.sharded import agree, read_tensors, write_tensors

LOG = logging.getLogger(__name__)
TENSORS: Final = "state.safetensors"
VALUES: Final = "state.json"
MANIFEST: Final = "manifest.json"
WRITING: Final = ".writing"
"""Lies in a folder that several ranks are writing."""
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
    values = _values_of(step, state, tensors)
    final = folder / _name(step)
    temporary = folder / f".writing-{final.name}-{uuid.uuid4().hex[:8]}"
    temporary.mkdir(parents=True)
    save_file({name: gather(tensor) for name, tensor in tensors.items()}, temporary / TENSORS)
    (temporary / VALUES).write_text(values)
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


def save_sharded(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write the state of one step where tensors are split over ranks; all call it together.

    Ranks may share the folder or have one each, on another machine.
    """
    tensors: dict[str, Tensor] = {}
    values = _values_of(step, state, tensors)
    final = folder / _name(step)
    if dist.get_rank() == 0:
        shutil.rmtree(final, ignore_errors=True)
    dist.barrier()
    final.mkdir(parents=True, exist_ok=True)
    (final / WRITING).touch()
    dist.barrier()
    files = write_tensors(final, tensors)
    for file in files:
        _sync(file)
    digests, values = agree({file.name: _digest(file) for file in files}, values)
    digests[VALUES] = hashlib.sha256(values.encode()).hexdigest()
    _write_whole(final / VALUES, values)
    _write_whole(final / MANIFEST, json.dumps(digests, indent=1, sort_keys=True))
    dist.barrier()
    (final / WRITING).unlink(missing_ok=True)
    _sync(final)
    return final


def load_checkpoint(
    path: Path, like: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]]:
    """Steps done and the state, after checking every byte.

    Args:
        path: Of the checkpoint, written by any number of ranks.
        like: A state whose split tensors are to be split alike; None gives whole ones.

    Raises:
        CheckpointError: If the folder is not exactly what was saved.
    """
    templates: dict[str, Tensor] = {}
    _flatten(like or {}, "state", templates)
    is_split = any(isinstance(tensor, DTensor) for tensor in templates.values())
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        for name in {*manifest, VALUES}:
            if _digest(path / Path(name).name) != manifest[name]:
                raise CheckpointError(f"{path / name} is damaged: its digest is not the manifest's")
        content = json.loads((path / VALUES).read_text())
        is_whole = TENSORS in manifest and not is_split
        tensors = load_file(path / TENSORS) if is_whole else read_tensors(path, templates)
    except (OSError, KeyError, TypeError, json.JSONDecodeError, SafetensorError) as error:
        raise CheckpointError(f"{path} is no complete checkpoint: {error!r}") from error
    return int(content["step"]), _unflatten(content["state"], tensors)


def newest_checkpoint(
    folder: Path, like: Mapping[str, Any] | None = None
) -> tuple[int, dict[str, Any]] | None:
    """The newest sound checkpoint, or None when there is none at all.

    Raises:
        CheckpointError: If there are checkpoints and all are damaged.
    """
    found = sorted(filter(_is_written, folder.glob("step-*")), reverse=True)
    for path in found:
        try:
            return load_checkpoint(path, like)
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
    steps = sorted(folder.glob("step-*"))
    old = [*filter(_is_written, steps)][:-keep]
    unfinished = [path for path in steps if not _is_written(path)]
    for path in [*old, *unfinished, *folder.glob(".writing-*")]:
        shutil.rmtree(path, ignore_errors=True)  # several ranks may be at it


def save_weights(path: Path, weights: Mapping[str, Tensor]) -> str:
    """Write a safetensors file in one step; returns its SHA-256.

    Ranks that hold pieces of the weights call it together; the first one writes.
    """
    whole: dict[str, Tensor] = {}
    is_first = current_ranks().is_first
    for name, tensor in weights.items():
        copy = gather(tensor)
        if is_first:
            whole[name] = copy
    if not is_first:
        return ""
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    save_file(whole, temporary)
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


def _name(step: int) -> str:
    return f"step-{step:08d}"


def _is_written(path: Path) -> bool:
    return not (path / WRITING).exists()


def _values_of(step: int, state: Mapping[str, Any], tensors: dict[str, Tensor]) -> str:
    """The plain values as JSON; the tensors they name are added to `tensors`."""
    return json.dumps({"step": step, "state": _flatten(state, "state", tensors)})


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    if isinstance(value, Tensor):
        tensors[name] = value
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


def _write_whole(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}-{uuid.uuid4().hex[:8]}")
    temporary.write_text(text)
    _sync(temporary)
    temporary.replace(path)
