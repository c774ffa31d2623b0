"""Train a recipe: `python -m models.train RECIPE --data SHARDS --out DIR [--resume]`.

Read on: the recipe in `models/recipes`, its task in `models/vae/task.py` or `models/dit/task.py`,
the loop in `models/training/loop.py`.
"""

import argparse
import json
import logging
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from importlib import metadata
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from rich.logging import RichHandler
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from models.clip_index import find_shards
from models.data import Batch, ClipDataset, ClipLoader
from models.dit.task import DiTTask
from models.published import PublishedData, TrainingData, held_data, local_data
from models.recipes import find_recipe, recipe_to_json
from models.recipes.dit import DiTRecipe
from models.recipes.vae import VAERecipe
from models.trained import RECIPE, read_recipe, weights_digest
from models.training.checkpoint import WEIGHTS, load_weights, refuse_second_run, save_weights
from models.training.loop import (
    Report,
    Task,
    TrainResult,
    TrainSettings,
    mean_metrics,
    step_generator,
    train,
)
from models.training.metrics import peak_memory_mb
from models.training.mirror import local_run, run_folder
from models.training.parallelize import current_ranks
from models.vae.inflate import inflate_sd3
from models.vae.task import VAETask

LOG = logging.getLogger(__name__)
TASKS: dict[type, Callable[..., Task]] = {VAERecipe: VAETask, DiTRecipe: DiTTask}
DATA = "data.json"
"""Which version, or which shards, a run is trained on."""
LINEAR_FIT_CLIPS = 64
MEASURED_STEPS = 3
LARGEST_MEASURED = 50_000_000
"""Parameters above which a dry run counts and does not step."""
BYTES_PER_PARAMETER = 20
"""Weight, gradient, two moments and the average, in float32."""


def pick_device() -> torch.device:
    """The accelerator of this rank, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")


def resolve(name: str, steps: int | None = None, lpips: Path | None = None) -> Any:
    """The recipe of this name, shortened or lengthened with its schedule to `steps`.

    `lpips` names the backbone of LPIPS, which an autoencoder then has among its losses.
    """
    recipe = find_recipe(name)
    if lpips is not None:
        if not isinstance(recipe, VAERecipe):
            raise ValueError(f"LPIPS is a loss of autoencoders, {name} trains something else")
        weights = replace(recipe.weights, perceptual=recipe.weights.perceptual or 1.0)
        recipe = replace(recipe, weights=weights, lpips_file=str(lpips.absolute()))
    if steps is None:
        return recipe
    warmup = min(recipe.warmup_steps, steps // 10)
    return replace(recipe, num_steps=steps, warmup_steps=warmup)


def train_settings(recipe: Any) -> TrainSettings:
    """How the run of a recipe proceeds."""
    steps = recipe.num_steps
    return TrainSettings(
        steps=steps,
        batch_size=recipe.batch_size,
        seed=recipe.seed,
        log_every=1 if steps <= 50 else 10,
        checkpoint_every=max(5, min(1000, steps // 10)),
        validate_every=0 if steps <= 50 else steps // 5,
        compile=torch.cuda.is_available(),
    )


def run_recipe(
    recipe: Any,
    data: TrainingData,
    out: Path | str,
    resume: bool = False,
    report: Report | None = None,
    start: Path | None = None,
    owner: str | None = None,
) -> TrainResult:
    """Train in this process, as one rank of the process group if there is one.

    Args:
        recipe: Resolved.
        data: Shards or a version; a recipe on latents wants the clips' shards and the latents'.
        out: Folder or s3 prefix; receives recipe, metrics, checkpoints and, at the end,
            `model.safetensors`.
        resume: Continue a run of the same recipe.
        report: Told of metrics and checkpoints.
        start: What a fresh run begins with: a finished run of the same model, or a safetensors
            file of SD3's image autoencoder.
        owner: Names this training over restarts of its workers.

    Raises:
        ValueError: If `out` holds a run that this one may not continue, or the shards lack what
            is needed.
    """
    ranks = current_ranks()
    with run_folder(out, ranks.rank, owner) as (folder, changed):
        if ranks.num_ranks > 1:
            torch.distributed.barrier()  # nobody writes before all have what was there

        def told(step: int, metrics: dict[str, float], checkpoint: Path | None) -> None:
            changed()
            if report is not None:
                report(step, metrics, checkpoint)

        return _run_in(folder, recipe, data, resume, told, start)


def _run_in(
    out: Path,
    recipe: Any,
    data: TrainingData,
    resume: bool,
    report: Report,
    start: Path | None,
) -> TrainResult:
    refuse_second_run(out, resume)
    if resume and (out / RECIPE).exists():
        _check_same(recipe, read_recipe(out), out)
        _check_same_data(data, out)
    with held_data(data) if current_ranks().is_first else nullcontext():
        return _train_on(local_data(data), out, recipe, data, resume, report, start)


def _train_on(
    shards: Sequence[Path],
    out: Path,
    recipe: Any,
    data: TrainingData,
    resume: bool,
    report: Report,
    start: Path | None,
) -> TrainResult:
    ranks = current_ranks()
    settings = train_settings(recipe)
    dataset = ClipDataset(shards, recipe.clips, "train", settings.cache_mb)
    loader = ClipLoader(
        dataset, recipe.batch_size, recipe.seed, ranks.rank, ranks.num_ranks,
        settings.loader_threads,
    )  # fmt: skip
    task = TASKS[type(recipe)](recipe, pick_device())
    if ranks.is_first:
        record_run(recipe, settings, out, start, data)
    result = train(
        task, loader, settings, out, resume,
        validation=validate(task, shards, recipe, settings),
        report=report,
        prepare=lambda: prepare(task, dataset, start),
    )  # fmt: skip
    if result.status == "finished":
        publish(task, out)
    return result


def validate(
    task: Any, shards: Sequence[Path], recipe: Any, settings: TrainSettings
) -> Callable[[], dict[str, float]] | None:
    """The task's own numbers over the validation clips; None where the data has none."""
    try:
        dataset = ClipDataset(shards, recipe.clips, "validation", settings.cache_mb // 4)
    except ValueError as error:
        LOG.warning("no validation: %s", error)
        return None
    device = pick_device()

    def judge(batch: Batch) -> dict[str, float]:
        return task.evaluate([batch]) if isinstance(task, VAETask) else task.evaluate(batch)

    def measure() -> dict[str, float]:
        batches = dataset.batches(recipe.batch_size, settings.validation_clips)
        return mean_metrics(judge, batches, device)

    return measure


def prepare(task: Any, dataset: ClipDataset, start: Path | None) -> None:
    """Bring a fresh run to its first step: linear skip, then the weights it starts from."""
    fit_linear(task, dataset)
    if start is not None:
        begin_with(task, start)


def begin_with(task: Any, start: Path) -> None:
    """Give a task the weights of a finished run of the same model, or SD3's image autoencoder.

    Raises:
        ValueError: If the run holds another model, or the file another autoencoder.
    """
    if start.is_file():
        task.begin_with(inflated(task, start))
        return
    recorded = read_recipe(start)
    if type(recorded) is not type(task.recipe) or recorded.model != task.recipe.model:
        raise ValueError(
            f"{start} holds {recorded.name}, whose model differs from {task.recipe.name}'s; start "
            "from a run of the same model or from nothing"
        )
    task.begin_with(load_weights(start))


def inflated(task: Any, file: Path) -> dict[str, Tensor]:
    """The 2D weights in a safetensors file (diffusers layout) as weights of the task's model."""
    if not isinstance(task, VAETask) or file.suffix != ".safetensors":
        raise ValueError(
            f"a file to start from must be SD3's image autoencoder (diffusers layout, safetensors) "
            f"for a video autoencoder, got {file} for {task.recipe.name}"
        )
    try:
        weights = load_file(file)
    except (OSError, SafetensorError) as error:
        raise ValueError(f"{file} is no safetensors file: {error}") from error
    return inflate_sd3(weights, task.recipe.model)


def fit_linear(task: Any, dataset: ClipDataset) -> None:
    """Start a task that has a linear skip from the first clips of the data."""
    if isinstance(task, VAETask) and task.codec is not None:
        batches = dataset.batches(1, LINEAR_FIT_CLIPS)
        task.fit_linear([batch.video for batch in batches if batch.video is not None])


def publish(task: Any, out: Path) -> None:
    """Write the weights to use: the averaged ones."""
    digest = save_weights(out / WEIGHTS, task.average.state_dict())
    LOG.info("weights %s in %s", digest, out / WEIGHTS)


def record_run(
    recipe: Any,
    settings: TrainSettings,
    out: Path,
    start: Path | None = None,
    data: TrainingData = (),
) -> None:
    """What made this run: recipe, settings, data, first weights, commit, changes, packages."""
    out.mkdir(parents=True, exist_ok=True)
    (out / RECIPE).write_text(recipe_to_json(recipe))
    (out / "settings.json").write_text(json.dumps(asdict(settings), indent=1))
    pinned = asdict(data) if isinstance(data, PublishedData) else {"shards": [*map(str, data)]}
    (out / DATA).write_text(json.dumps(pinned, indent=1))
    (out / "start.txt").write_text(f"{weights_digest(start)} {start}\n" if start else "nothing\n")
    for name, command in (
        ("git_commit.txt", ["git", "rev-parse", "HEAD"]),
        ("git_diff.txt", ["git", "diff", "HEAD"]),
    ):
        try:
            answer = subprocess.run(
                command, cwd=Path(__file__).parent, capture_output=True, text=True, check=False
            )
            text = answer.stdout if answer.returncode == 0 else "not in a git checkout\n"
        except FileNotFoundError:
            text = "git is not installed\n"
        (out / name).write_text(text)
    packages = sorted(f"{d.name}=={d.version}" for d in metadata.distributions())
    lines = [f"python {sys.version}", f"threads {torch.get_num_threads()}", *packages]
    (out / "environment.txt").write_text("\n".join(lines) + "\n")


def _check_same(recipe: Any, recorded: Any, out: Path) -> None:
    same = replace(recorded, num_steps=recipe.num_steps, warmup_steps=recipe.warmup_steps)
    if same != recipe:
        raise ValueError(
            f"{out} holds a run of {recorded.name} with other settings; resume it with the code "
            "that made it (git_commit.txt) or choose another folder"
        )


def _check_same_data(data: TrainingData, out: Path) -> None:
    recorded = json.loads((out / DATA).read_text()) if (out / DATA).exists() else {}
    wanted = asdict(data) if isinstance(data, PublishedData) else {}
    before, now = recorded.get("reference"), wanted.get("reference")
    if before and now and before != now:
        raise ValueError(
            f"{out} was trained on {before}, not on {now}; resume it with --data {before}, or "
            "choose another folder and --start from this one"
        )


def estimate(recipe: Any, shards: Sequence[Path]) -> dict[str, Any]:
    """Size, memory and time of a run; small models are measured by a few real steps."""
    task = TASKS[type(recipe)](recipe, "meta")
    parameters = sum(p.numel() for p in task.module.parameters())
    answer: dict[str, Any] = {
        "recipe": recipe.name,
        "parameters": parameters,
        "steps": recipe.num_steps,
        "batch_size": recipe.batch_size,
        "state_memory_mb": parameters * BYTES_PER_PARAMETER / 1e6,
    }
    if parameters > LARGEST_MEASURED and not torch.cuda.is_available():
        return answer | {"measured": "no: too large for this machine"}
    device = pick_device()
    dataset = ClipDataset(shards, recipe.clips, "train")
    batches = iter(ClipLoader(dataset, recipe.batch_size, recipe.seed))
    task = TASKS[type(recipe)](recipe, device)
    seconds: list[float] = []
    for step, batch in enumerate(islice(batches, MEASURED_STEPS)):
        start = time.perf_counter()
        task.train_step(batch.to(device), step_generator(recipe.seed, step, 0), step)
        seconds.append(time.perf_counter() - start)
    return answer | {
        "measured": f"the fastest of {MEASURED_STEPS} steps on {device}",
        "clips": len(dataset),
        "step_s": min(seconds),
        "total_h": min(seconds) * recipe.num_steps / 3600,
        "peak_memory_mb": peak_memory_mb(device),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m models.train", description="Train a recipe of models/recipes.",
        epilog="example: python -m models.train vae_tiny --data data/shards --out runs/vae",
    )  # fmt: skip
    parser.add_argument("recipe", help="name of a recipe, for example vae_tiny")
    parser.add_argument(
        "--data", nargs="+", required=True, help="shards or folders; with --root NAME[@VERSION]"
    )
    parser.add_argument("--root", help="data root of the version: a folder or s3://bucket/prefix")
    parser.add_argument("--out", required=True, help="folder of the run, or s3://bucket/prefix")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out")
    parser.add_argument("--start", help="run to begin with, or SD3's vae as a safetensors file")
    parser.add_argument("--lpips", type=Path, help="torchvision's AlexNet or VGG-16: LPIPS as loss")
    parser.add_argument("--steps", type=int, help="length of the run, schedule included")
    parser.add_argument("--dry-run", action="store_true", help="print size, memory and time only")
    parser.add_argument(
        "--workers", default="0", help="Ray Train workers, or a range like 1-4; 0 trains here"
    )
    options = parser.parse_args(arguments)
    handler = RichHandler(show_path=False) if sys.stderr.isatty() else logging.StreamHandler()
    logging.basicConfig(level=logging.INFO, format="%(message)s", handlers=[handler])
    try:
        return _main(options)
    except ValueError as error:
        LOG.error("%s", error)
        return 2


def _main(options: argparse.Namespace) -> int:
    recipe = resolve(options.recipe, options.steps, options.lpips)
    data = _find_data(options.data, options.root)
    if options.dry_run:
        sys.stdout.write(json.dumps(estimate(recipe, local_data(data)), indent=1) + "\n")
        return 0
    start = None if options.start is None else local_run(options.start)
    if options.workers != "0":
        from models.training.launch import launch, parse_workers

        workers = parse_workers(options.workers)
        result = launch(recipe, data, options.out, options.resume, workers, start=start)
    else:
        result = run_recipe(recipe, data, options.out, options.resume, start=start)
    shown = {name: round(value, 4) for name, value in result.metrics.items()}
    sys.stdout.write(json.dumps({"status": result.status, "step": result.step, **shown}) + "\n")
    return 0 if result.status == "finished" else 3


def _find_data(places: Sequence[str], root: str | None) -> TrainingData:
    if root is None:
        return find_shards(*map(Path, places))
    if len(places) != 1:
        raise ValueError(f"--root takes one --data NAME[@VERSION], got {places}")
    return PublishedData.pin(root, places[0])


if __name__ == "__main__":
    sys.exit(main())
