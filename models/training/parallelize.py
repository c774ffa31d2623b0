"""Spread a task over ranks and compile its blocks; model files know nothing of either.

`replicate` keeps whole weights on every rank and averages gradients at the end of each backward.
`shard` splits weights, gradients and optimiser state (FSDP2, `torch.distributed.fsdp.fully_shard`).
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.autograd import Variable
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is."""

    rank: int = 0
    num_ranks: int = 1

    @property
    def is_first(self) -> bool:
        """Whether this process writes files."""
        return self.rank == 0


def current_ranks() -> Ranks:
    """The ranks of the running process group; one rank without a group."""
    if dist.is_available() and dist.is_initialized():
        return Ranks(dist.get_rank(), dist.get_world_size())
    return Ranks()


def compile_blocks(module: nn.Module) -> int:
    """Compile each repeated block once, in place; returns how many there are.

    Blocks of one list share their code, so compile time does not grow with depth.
    """
    blocks = [block for child in module.modules() if _is_list(child) for block in child.children()]
    for block in blocks:
        block.compile()
    return len(blocks)


def replicate(module: nn.Module) -> None:
    """Start all ranks from rank 0's weights and average gradients after each backward.

    Each backward makes exactly one reduction on every rank, whatever parameters it touched, so
    ranks that drop different conditions cannot wait for each other.
    """
    with torch.no_grad():
        for tensor in [*module.parameters(), *module.buffers()]:
            dist.broadcast(tensor.data, 0)
    parameters = [p for p in module.parameters() if p.requires_grad]
    pending: list[bool] = []

    def reduce() -> None:
        pending.clear()
        average_gradients(parameters)

    def ready(_: Tensor) -> None:
        if not pending:
            pending.append(True)
            Variable._execution_engine.queue_callback(reduce)  # pyright: ignore[reportPrivateUsage]

    for parameter in parameters:
        parameter.register_post_accumulate_grad_hook(ready)


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Mean gradient over ranks; a parameter that no rank touched keeps none."""
    touched = torch.tensor([p.grad is not None for p in parameters], dtype=torch.float32)
    touched = touched.to(parameters[0].device)
    dist.all_reduce(touched)
    used = [p for p, count in zip(parameters, touched.tolist(), strict=True) if count]
    gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in used]
    flat = torch.cat([g.reshape(-1) for g in gradients])
    dist.all_reduce(flat)
    flat /= dist.get_world_size()
    pieces = flat.split([p.numel() for p in used])
    for parameter, piece in zip(used, pieces, strict=True):
        parameter.grad = piece.view_as(parameter).clone()


def shard(task: Any, methods: tuple[str, ...] = ("encode", "decode")) -> None:
    """Split a task's weights over all ranks, block by block, and re-point its optimisers.

    Args:
        task: All its attributes that are modules are split; those that are optimisers follow.
        methods: Methods of the modules that run them besides `forward`.
    """
    modules = [value for value in vars(task).values() if isinstance(value, nn.Module)]
    device = next(task.module.parameters()).device.type
    mesh = init_device_mesh(device, (dist.get_world_size(),))
    before = {id(m): dict(m.named_parameters()) for m in modules}
    for module in modules:
        for child in list(module.modules()):
            if _is_list(child):
                for block in child.children():
                    fully_shard(block, mesh=mesh)
        fully_shard(module, mesh=mesh)
        for name in methods:
            if hasattr(module, name):
                register_fsdp_forward_method(module, name)
    new = {
        id(before[id(module)][name]): parameter
        for module in modules
        for name, parameter in module.named_parameters()
    }
    for optimizer in optimizers(task):
        for group in optimizer.param_groups:
            group["params"] = [new.get(id(p), p) for p in group["params"]]


def optimizers(task: Any) -> list[torch.optim.Optimizer]:
    """The optimisers among a task's attributes."""
    return [v for v in vars(task).values() if isinstance(v, torch.optim.Optimizer)]


def is_sharded(module: nn.Module) -> bool:
    """Whether `shard` was applied."""
    return isinstance(module, FSDPModule)


def mean_over_ranks(metrics: dict[str, float], device: torch.device) -> dict[str, float]:
    """Metrics averaged over ranks; every rank must name the same ones."""
    if current_ranks().num_ranks == 1:
        return metrics
    names = sorted(metrics)
    values = torch.tensor([metrics[name] for name in names], dtype=torch.float64, device=device)
    dist.all_reduce(values)
    values /= dist.get_world_size()
    return dict(zip(names, values.tolist(), strict=True))


def any_rank(flag: bool, device: torch.device) -> bool:
    """Whether the flag is set on some rank."""
    if current_ranks().num_ranks == 1:
        return flag
    value = torch.tensor([float(flag)], device=device)
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def _is_list(module: nn.Module) -> bool:
    return isinstance(module, nn.ModuleList) and len(module) > 1
