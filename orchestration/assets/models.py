"""Model assets: the video VAE, its latents, the ISA-DiT, their numbers, a report and a film."""

import contextlib
import json
import time
from collections.abc import Callable, Mapping, Sequence

import dagster as dg
import numpy as np
from pydantic import Field

from models.dit.judge import evaluate_dit
from models.published import PublishedData
from models.shot import SampleSettings
from models.train import resolve
from models.trained import weights_digest
from models.training.launch import launch
from models.training.metrics import read_metrics
from models.training.mirror import local_run
from models.vae.judge import evaluate_vae
from orchestration.assets.data import dataset
from orchestration.metadata import AGAIN, clear_failure, show_accounts, show_metrics, show_picture
from orchestration.ray_jobs import RAY_JOB, RayJobs, forward
from orchestration.resources import Workspace
from orchestration.steps import make_film, training_shards
from pipelines.encode import encode_latents
from pipelines.film import Studio
from pipelines.page import Section, render_page
from pipelines.report import account_table, curve_picture, training_section
from pipelines.review import contact_sheet, pick
from pipelines.video_io import decode_mp4
from storage_schemas.dataset import read_manifest
from storage_schemas.store import Store

LOSSES_SOUND = "losses_sound"
METRICS = "metrics.jsonl"
OBSERVE_S = 60.0


class TrainConfig(dg.Config):
    """A run: the same recipe name as on the command line."""

    recipe: str = Field(description="One of `isa4d train --help`, for example vae_tiny.")
    dataset: str = Field("demo", description="NAME for the newest version, or NAME@VERSION.")
    steps: int | None = Field(None, description="Instead of the recipe's number of steps.")
    start: str | None = Field(None, description="Folder of a run whose weights to start from.")


def _train(
    context: dg.AssetExecutionContext,
    config: TrainConfig,
    workspace: Workspace,
    ray_jobs: RayJobs,
    model: str,
) -> dg.MaterializeResult:
    """Train, or go on training after a stop, and look at the losses."""
    with clear_failure():
        version = PublishedData.pin(workspace.root, config.dataset)
        recipe = resolve(config.recipe, config.steps)
    # Another version, recipe or length is another training; the same one goes on where it stopped.
    name = f"{recipe.name}-{version.reference}-{recipe.num_steps}"
    place, metadata = workspace.place(name), {}
    if ray_jobs.address:
        arguments = ["-m", "models.train", config.recipe, "--steps", str(recipe.num_steps)]
        arguments += ["--data", version.reference, "--root", version.root, "--out", place]
        arguments += ["--resume", "--workers", str(ray_jobs.workers)]
        arguments += ["--start", config.start] if config.start else []
        metadata["ray_job"] = ray_jobs.run(
            arguments,
            context.run_id,
            _tell(context, place),
            lambda job: context.instance.add_run_tags(context.run_id, {RAY_JOB: job}),
        )
    else:
        start = None if config.start is None else local_run(config.start)
        launch(recipe, version, place, resume=True, start=start)
    out = local_run(place)
    workspace.choose_run(model, name)
    records = read_metrics(out / METRICS)
    return dg.MaterializeResult(
        metadata={
            **metadata,
            "step": max(record["step"] for record in records),
            "curve": show_picture("loss", curve_picture(out, "loss")),
            "run": place,
            "dataset": version.reference,
            "weights": weights_digest(out),
        },
        data_version=dg.DataVersion(weights_digest(out)),
        check_results=[check_losses(records)],
    )


def _tell(context: dg.AssetExecutionContext, place: str) -> Callable[[str], None]:
    """Forward what a training prints; each minute, its newest numbers become an observation."""
    since = time.monotonic()

    def tell(printed: str) -> None:
        nonlocal since
        forward(printed)
        if time.monotonic() - since < OBSERVE_S or not Store(place).exists(METRICS):
            return
        since = time.monotonic()
        newest: dict[str, float] = {}
        for line in Store(place).read(METRICS).decode().splitlines()[-100:]:
            with contextlib.suppress(json.JSONDecodeError):  # the line that is being written
                newest |= json.loads(line)
        context.log_event(dg.AssetObservation(context.asset_key, metadata=newest))

    return tell


def check_losses(records: Sequence[Mapping[str, float]]) -> dg.AssetCheckResult:
    """Every number is finite, and the loss at the end is not above that at the start."""
    losses = [record["loss"] for record in records if "loss" in record]
    part = max(1, len(losses) // 5)
    first, last = float(np.median(losses[:part])), float(np.median(losses[-part:]))
    broken = sorted({n for record in records for n, v in record.items() if not np.isfinite(v)})
    return dg.AssetCheckResult(
        passed=not broken and last <= first,
        check_name=LOSSES_SOUND,
        metadata={"first_fifth": first, "last_fifth": last, "not_finite": str(broken or "none")},
    )


class VAEConfig(TrainConfig):
    """A run of the autoencoder."""

    recipe: str = Field("vae_tiny", description="vae_tiny, vae_base, vae_full or vae_debug.")


@dg.asset(
    deps=[dataset],
    group_name="models",
    code_version="1",
    retry_policy=AGAIN,
    pool="trainer",
    check_specs=[dg.AssetCheckSpec(LOSSES_SOUND, asset="vae", blocking=True)],
)
def vae(
    context: dg.AssetExecutionContext, config: VAEConfig, workspace: Workspace, ray_jobs: RayJobs
) -> dg.MaterializeResult:
    """The causal video autoencoder."""
    return _train(context, config, workspace, ray_jobs, "vae")


class LatentConfig(dg.Config):
    """Whose latents."""

    dataset: str = Field("demo", description="NAME for the newest version, or NAME@VERSION.")
    recipe: str = Field(
        "dit_tiny", description="The generator to be trained on them: its clips decide the crop."
    )


@dg.asset(
    deps=[dataset, vae], group_name="models", code_version="1", retry_policy=AGAIN, pool="trainer"
)
def latents(config: LatentConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The data set as the autoencoder sees it."""
    keys = read_manifest(workspace.store, config.dataset).clip_shards
    clips = resolve(config.recipe).clips
    run = workspace.chosen_run("vae")
    account = encode_latents(
        workspace.store, config.dataset, keys, run, clips, workers=workspace.workers
    )
    return dg.MaterializeResult(metadata=show_accounts([account]))


class DiTConfig(TrainConfig):
    """A run of the generator."""

    recipe: str = Field("dit_tiny", description="dit_tiny, dit_base, dit_full or dit_debug.")


@dg.asset(
    deps=[latents],
    group_name="models",
    code_version="1",
    retry_policy=AGAIN,
    pool="trainer",
    check_specs=[dg.AssetCheckSpec(LOSSES_SOUND, asset="dit", blocking=True)],
)
def dit(
    context: dg.AssetExecutionContext, config: DiTConfig, workspace: Workspace, ray_jobs: RayJobs
) -> dg.MaterializeResult:
    """The interspatial diffusion transformer."""
    return _train(context, config, workspace, ray_jobs, "dit")


class EvaluationConfig(dg.Config):
    """On what the models are judged."""

    dataset: str = Field("demo", description="NAME for the newest version, or NAME@VERSION.")
    vae_clips: int = Field(16, description="Held-out clips for the autoencoder.")
    dit_clips: int = Field(4, description="Held-out clips for the generator; each is generated.")


@dg.asset(deps=[vae, dit], group_name="models", code_version="1", pool="trainer")
def evaluation(config: EvaluationConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Both models on clips they were not trained on, as `isa4d evaluate` measures them."""
    shards = training_shards(workspace.store, config.dataset)
    runs = workspace.chosen_run("vae"), workspace.chosen_run("dit")
    results = {
        "vae": evaluate_vae(runs[0], shards, num_clips=config.vae_clips),
        "dit": evaluate_dit(runs[1], runs[0], shards, num_clips=config.dit_clips),
    }
    for model, result in results.items():
        text = json.dumps(result, indent=1).encode()
        workspace.store.write(f"evaluations/{model}.json", text)
    metadata = {
        f"{model}_{name}": value
        for model, result in results.items()
        for name, value in show_metrics(result).items()
    }
    return dg.MaterializeResult(metadata=metadata)


@dg.asset(deps=[evaluation], group_name="models", code_version="1")
def report(workspace: Workspace) -> dg.MaterializeResult:
    """One page: where every clip went, the curves, the numbers."""
    sections = [Section(title="Accounts", tables=[account_table(workspace.store)])]
    for name, title in (("vae", "Video VAE"), ("dit", "ISA-DiT")):
        run = workspace.chosen_run(name)
        numbers = json.loads(workspace.store.read(f"evaluations/{name}.json"))
        sections.append(training_section(title, run, f"weights {weights_digest(run)}", numbers))
    page = render_page("isa4d report", [f"data in {workspace.root}"], sections)
    workspace.store.write("report.html", page.encode())
    return dg.MaterializeResult(
        metadata={"page": dg.MetadataValue.path(f"{workspace.root}/report.html")}
    )


class FilmConfig(dg.Config):
    """Who does what, seen how."""

    reference: str = Field(description="A clip id or a picture file.")
    motion: str = Field("wave", description="A clip id, a motion file, or a motion's name.")
    camera: str = Field("static", description="clip, static, orbit, ... or a camera file.")
    seed: int = Field(0, description="Another seed, another film.")


@dg.asset(deps=[dit, vae], group_name="models", code_version="1")
def film(config: FilmConfig, workspace: Workspace) -> dg.MaterializeResult:
    """One generated video with its conditions beside it."""
    studio = Studio.open(workspace.chosen_run("dit"), workspace.chosen_run("vae"))
    out = workspace.store.scratch_path(f"films/film_{config.seed}.mp4")
    wish = (config.reference, config.motion, config.camera, False)
    _, conditions, _ = make_film(
        studio, workspace.store, wish, SampleSettings(seed=config.seed), out
    )
    key = f"films/{out.name}"
    workspace.store.write_file(key, out)
    frames = pick(decode_mp4(conditions.read_bytes()), 4)
    sheet = contact_sheet([("conditions and result", frames)], columns=4)
    return dg.MaterializeResult(
        metadata={
            "video": dg.MetadataValue.path(f"{workspace.root}/{key}"),
            "sheet": show_picture("film", sheet),
        }
    )
