"""Checkpoints of split models: every rank writes what it holds, any number of ranks reads it back.

PyTorch's distributed checkpoints plan who writes and reads which piece of a tensor; through their
safetensors storage, so no pickle lies on disk. Every rank ends with the same manifest, so ranks of
other machines leave complete folders too.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import Tensor
from torch.distributed.checkpoint.hf_storage import (
    HuggingFaceStorageReader,
    HuggingFaceStorageWriter,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

PIECE: Final = "shard-"
SHARD: Final = PIECE + "{:05d}-"
"""How names of a rank's own files begin, counted from 1."""


def write_tensors(folder: Path, tensors: Mapping[str, Tensor]) -> list[Path]:
    """Write this rank's pieces of all tensors; all ranks call it together.

    Returns:
        The files of this rank.
    """
    writer = HuggingFaceStorageWriter(path=str(folder), save_distributed=True)
    save(dict(tensors), storage_writer=writer)
    return sorted(folder.glob(SHARD.format(dist.get_rank() + 1) + "*"))


def read_tensors(folder: Path, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All tensors of a checkpoint, whatever number of ranks wrote it.

    Args:
        folder: Of the checkpoint.
        like: By name; those that are split there are read so, of all others the whole.
    """
    reader = HuggingFaceStorageReader(str(folder))
    tensors: dict[str, Tensor] = {}
    for name, stored in reader.read_metadata().state_dict_metadata.items():
        template = like.get(name)
        if isinstance(template, DTensor):
            tensors[name] = torch.empty_like(template)
        else:
            size: Any = stored.size  # type: ignore[union-attr]
            tensors[name] = torch.empty(size, dtype=stored.properties.dtype)  # type: ignore[union-attr]
    is_alone = not any(isinstance(tensor, DTensor) for tensor in tensors.values())
    load(tensors, storage_reader=reader, no_dist=is_alone)
    return tensors


def agree(digests: Mapping[str, str], values: str) -> tuple[dict[str, str], str]:
    """The digests of all ranks' files, and the plain values as the first rank has them."""
    told: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(told, json.dumps([dict(digests), values]))
    parts = [json.loads(text) for text in told]
    return {name: digest for part, _ in parts for name, digest in part.items()}, parts[0][1]


def begin_moments(optimizer: torch.optim.Optimizer) -> None:
    """Give a fresh optimiser its moments, split as its parameters are, for a checkpoint to fill.

    A step of size nothing, with gradients of nothing, moves no weight.
    """
    if optimizer.state:
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    for group in optimizer.param_groups:
        group["lr"] = 0.0
        for parameter in group["params"]:
            parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
