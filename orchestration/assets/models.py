"""Model assets: the video VAE, its latents, the ISA-DiT, their numbers, a report and a film."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import dagster as dg
import numpy as np
from pydantic import Field

from models.evaluate import evaluate_dit, evaluate_vae
from models.generate import SampleSettings
from models.published import PublishedData
from models.train import resolve
from models.trained import weights_digest
from models.training.launch import launch
from models.training.metrics import read_metrics
from orchestration.assets.data import dataset
from orchestration.metadata import AGAIN, clear_failure, show_accounts, show_metrics, show_picture
from orchestration.resources import Workspace
from orchestration.steps import make_film, training_shards
from pipelines.encode import encode_latents
from pipelines.film import Studio
from pipelines.page import Section, render_page
from pipelines.report import account_table, curve_picture, training_section
from pipelines.review import contact_sheet, pick
from pipelines.video_io import decode_mp4
from storage_schemas.dataset import read_manifest

LOSSES_SOUND = "losses_sound"
EVALUATION = "evaluation.json"


class TrainConfig(dg.Config):
    """A run: the same recipe name as on the command line."""

    recipe: str = Field(description="One of `isa4d train --help`, for example vae_tiny.")
    dataset: str = Field("demo", description="NAME for the newest version, or NAME@VERSION.")
    steps: int | None = Field(None, description="Instead of the recipe's number of steps.")
    start: str | None = Field(None, description="Folder of a run whose weights to start from.")


def _train(config: TrainConfig, workspace: Workspace, name: str) -> dg.MaterializeResult:
    """Train, or go on training after a stop, and look at the losses."""
    start = None if config.start is None else Path(config.start)
    with clear_failure():
        version = PublishedData.pin(workspace.root, config.dataset)
        recipe = resolve(config.recipe, config.steps)
    # Another version, recipe or length is another training; the same one goes on where it stopped.
    out = workspace.folder(f"{recipe.name}-{version.reference}-{recipe.num_steps}")
    result = launch(recipe, version, out, resume=True, start=start)
    workspace.choose_run(name, out)
    return dg.MaterializeResult(
        metadata={
            "step": result.step,
            "curve": show_picture("loss", curve_picture(out, "loss")),
            "run": dg.MetadataValue.path(str(out)),
            "dataset": version.reference,
            "weights": weights_digest(out),
        },
        data_version=dg.DataVersion(weights_digest(out)),
        check_results=[check_losses(read_metrics(out / "metrics.jsonl"))],
    )


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
def vae(config: VAEConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The causal video autoencoder."""
    return _train(config, workspace, "vae")


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
    keys = [shard.key for shard in read_manifest(workspace.store, config.dataset).shards]
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
def dit(config: DiTConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The interspatial diffusion transformer."""
    return _train(config, workspace, "dit")


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
    for name, result in results.items():
        text = json.dumps(result, indent=1)
        (workspace.chosen_run(name) / EVALUATION).write_text(text)
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
        numbers = json.loads((run / EVALUATION).read_text())
        sections.append(training_section(title, run, f"weights {weights_digest(run)}", numbers))
    page = workspace.folder("report.html")
    page.write_text(render_page("isa4d report", [f"data in {workspace.root}"], sections))
    return dg.MaterializeResult(metadata={"page": dg.MetadataValue.path(str(page))})


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
    out = workspace.folder("generated") / f"film_{config.seed}.mp4"
    wish = (config.reference, config.motion, config.camera, False)
    _, conditions, _ = make_film(
        studio, workspace.store, wish, SampleSettings(seed=config.seed), out
    )
    frames = pick(decode_mp4(conditions.read_bytes()), 4)
    sheet = contact_sheet([("conditions and result", frames)], columns=4)
    return dg.MaterializeResult(
        metadata={"video": dg.MetadataValue.path(str(out)), "sheet": show_picture("film", sheet)}
    )
