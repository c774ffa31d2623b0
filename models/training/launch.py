"""One recipe on many workers through Ray Train; the only file of `models` that knows Ray.

Every worker runs `models.train.run_recipe` as one rank. Ray restarts dead workers; the run itself
continues from its own checkpoints in `out`, so a restart loses at most one interval of them. With a
least and a most number of workers Ray takes as many as there is room for: it goes on with fewer
when a node is gone, and with more when one comes. The batch stays the same.
"""

import logging
import os
import uuid
from dataclasses import asdict
from pathlib import Path
from typing import Any

import ray.train
import torch
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer

from models.published import PublishedData, TrainingData
from models.recipes import recipe_from_json, recipe_to_json
from models.trained import RECIPE
from models.training.checkpoint import refuse_second_run
from models.training.loop import TrainResult
from models.training.metrics import read_metrics
from models.training.mirror import is_remote, local_run

LOG = logging.getLogger(__name__)


def launch(
    recipe: Any,
    data: TrainingData,
    out: Path | str,
    resume: bool = False,
    num_workers: int | tuple[int, int] = 0,
    max_failures: int = 2,
    start: Path | None = None,
) -> TrainResult:
    """Train through Ray Train on `num_workers` processes; 0 is its local mode, in this process.

    Args:
        recipe: Resolved; its batch size must be a multiple of any number of workers there may be.
        data: Tar files on storage that every worker sees, or a version, which each fetches.
        out: Folder on storage that every worker sees, or s3://bucket/prefix.
        resume: Continue the run in `out`.
        num_workers: One per GPU, or CPU processes where there is none; or the least and the most.
        max_failures: Restarts of dead workers before giving up.
        start: Finished run of the same model whose weights a fresh run begins with.

    Raises:
        ValueError: If the batch cannot be shared or `out` already holds a run.
    """
    most = _check_workers(num_workers, recipe.batch_size)
    refuse_second_run(local_run(out), resume)
    place = str(out) if is_remote(out) else str(Path(out).absolute())
    settings = {
        "recipe": recipe_to_json(recipe),
        "data": _tell_data(data),
        "out": place,
        "owner": uuid.uuid4().hex,
        "start": None if start is None else str(start.absolute()),
    }
    if most == 0:
        logging.getLogger("ray.train").setLevel(logging.WARNING)  # it repeats every metric
    elif not ray.is_initialized():
        _start_ray(most)
    use_gpu = torch.cuda.is_available()
    trainer = TorchTrainer(
        train_worker,
        train_loop_config=settings,
        torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
        scaling_config=ScalingConfig(num_workers=num_workers, use_gpu=use_gpu),
        run_config=RunConfig(
            name=f"ray-{uuid.uuid4().hex[:8]}",  # a name that returns would resume Ray's old state
            **_ray_storage(place),
            failure_config=FailureConfig(max_failures=max_failures),
            worker_runtime_env={"env_vars": {"OMP_NUM_THREADS": "1"}},
        ),
    )
    trainer.fit()
    return _read_result(local_run(out), recipe.num_steps)


def parse_workers(text: str) -> int | tuple[int, int]:
    """A number of workers, or the least and the most: 4, or 1-4.

    Raises:
        ValueError: It is neither.
    """
    try:
        least, dash, most = text.partition("-")
        return (int(least), int(most)) if dash else int(text)
    except ValueError:
        raise ValueError(f"workers must be a number or a range like 1-4, got {text!r}") from None


def _check_workers(num_workers: int | tuple[int, int], batch_size: int) -> int:
    """The most workers there may be."""
    if isinstance(num_workers, int):
        if num_workers < 0:
            raise ValueError(f"workers must be 0 or more, got {num_workers}")
        least = most = num_workers
    else:
        least, most = num_workers
        if not 1 <= least <= most:
            raise ValueError(f"workers must be a range like 1-4, got {least}-{most}")
    bad = [number for number in range(max(1, least), most + 1) if batch_size % number]
    if bad:
        raise ValueError(
            f"batch_size {batch_size} must be a multiple of the {bad[0]} workers that may share "
            "it; choose another number or a narrower range"
        )
    return most


def _tell_data(data: TrainingData) -> Any:
    if isinstance(data, PublishedData):
        return asdict(data)
    return [str(shard.absolute()) for shard in data]


def _ray_storage(place: str) -> dict[str, Any]:
    """Where Ray keeps its own small state: in or beside the run."""
    if not is_remote(place):
        return {"storage_path": place}
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL")
    files = S3FileSystem(endpoint_override=endpoint) if endpoint else S3FileSystem()
    return {"storage_path": place.removeprefix("s3://") + ".ray", "storage_filesystem": files}


def train_worker(settings: dict[str, Any]) -> None:
    """What each worker runs: one rank of the recipe, reporting to Ray."""
    from models.train import run_recipe

    recipe = recipe_from_json(settings["recipe"])
    told: Any = settings["data"]
    data = PublishedData(**told) if isinstance(told, dict) else [Path(shard) for shard in told]
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    start = None if settings["start"] is None else Path(settings["start"])
    run_recipe(recipe, data, settings["out"], True, _report, start, settings["owner"])


def _report(step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
    """Tell Ray; checkpoints stay where the loop wrote them and are named by their folder."""
    told = {"step": step, **metrics}
    if checkpoint is not None:
        told["checkpoint"] = str(checkpoint)
    ray.train.report(told)


def _start_ray(num_workers: int) -> None:
    """A local cluster, unless RAY_ADDRESS names one; its authentication is said, not guessed.

    Ray turns token authentication on by itself where an earlier run left a token in the home
    folder, and then refuses processes that were not told so.
    """
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    if "RAY_ADDRESS" in os.environ:
        ray.init(log_to_driver=True)
        return
    num_cpus = max(num_workers, os.cpu_count() or 1)
    ray.init(num_cpus=num_cpus, include_dashboard=False, _node_ip_address="127.0.0.1")


def _read_result(out: Path, num_steps: int) -> TrainResult:
    metrics: dict[str, float] = {}
    for record in read_metrics(out / "metrics.jsonl"):
        metrics |= record
    step = int(metrics.pop("step", 0))
    LOG.info("run of %s ended at step %d", (out / RECIPE), step)
    status = "finished" if step >= num_steps else "interrupted"
    return TrainResult(step=step, status=status, metrics=metrics)
