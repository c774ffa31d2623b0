"""Model assets: the video VAE, its latents, the ISA-DiT, and a film."""

from pathlib import Path

import dagster as dg

from models.evaluate import evaluate_dit, evaluate_vae
from models.generate import SampleSettings
from models.train import resolve
from models.training.launch import launch
from orchestration.assets.data import dataset
from orchestration.metadata import show_accounts, show_metrics, show_picture
from orchestration.resources import Workspace
from orchestration.steps import make_film, training_shards
from pipelines.encode import encode_latents
from pipelines.film import Studio
from pipelines.report import curve_picture
from pipelines.review import contact_sheet, pick
from pipelines.video_io import decode_mp4
from storage_schemas.dataset import read_manifest


class TrainConfig(dg.Config):
    """A run: the same recipe name as on the command line."""

    recipe: str
    dataset: str = "demo"
    steps: int | None = None
    start: str | None = None
    """Folder of a run whose weights to start from."""


def _train(config: TrainConfig, workspace: Workspace, name: str) -> dict[str, dg.MetadataValue]:
    out = workspace.folder(name)
    start = None if config.start is None else Path(config.start)
    shards = training_shards(workspace.store, config.dataset)
    recipe = resolve(config.recipe, config.steps)
    result = launch(recipe, shards, out, resume=True, start=start)
    return {
        "step": dg.MetadataValue.int(result.step),
        "curve": show_picture("loss", curve_picture(out, "loss")),
        "run": dg.MetadataValue.path(str(out)),
    }


class VAEConfig(TrainConfig):
    """A run of the autoencoder."""

    recipe: str = "vae_tiny"


@dg.asset(deps=[dataset], group_name="models", code_version="1")
def vae(config: VAEConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The causal video autoencoder."""
    metadata = _train(config, workspace, "vae")
    shards = training_shards(workspace.store, config.dataset)
    numbers = evaluate_vae(workspace.folder("vae"), shards, num_clips=16)
    return dg.MaterializeResult(metadata={**metadata, **show_metrics(numbers)})


class LatentConfig(dg.Config):
    """Whose latents."""

    dataset: str = "demo"
    recipe: str = "dit_tiny"
    """The generator that will be trained on them; its clips decide crop and length."""


@dg.asset(deps=[dataset, vae], group_name="models", code_version="1")
def latents(config: LatentConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The data set as the autoencoder sees it."""
    keys = [shard.key for shard in read_manifest(workspace.store, config.dataset).shards]
    clips = resolve(config.recipe).clips
    run = workspace.folder("vae")
    account = encode_latents(
        workspace.store, config.dataset, keys, run, clips, workers=workspace.workers
    )
    return dg.MaterializeResult(metadata=show_accounts([account]))


class DiTConfig(TrainConfig):
    """A run of the generator."""

    recipe: str = "dit_tiny"


@dg.asset(deps=[latents], group_name="models", code_version="1")
def dit(config: DiTConfig, workspace: Workspace) -> dg.MaterializeResult:
    """The interspatial diffusion transformer."""
    metadata = _train(config, workspace, "dit")
    shards = training_shards(workspace.store, config.dataset)
    run, vae_run = workspace.folder("dit"), workspace.folder("vae")
    numbers = evaluate_dit(run, vae_run, shards, num_clips=4)
    return dg.MaterializeResult(metadata={**metadata, **show_metrics(numbers)})


class FilmConfig(dg.Config):
    """Who does what, seen how."""

    reference: str
    """A clip id or a picture file."""
    motion: str = "wave"
    camera: str = "static"
    seed: int = 0


@dg.asset(deps=[dit, vae], group_name="models", code_version="1")
def film(config: FilmConfig, workspace: Workspace) -> dg.MaterializeResult:
    """One generated video with its conditions beside it."""
    studio = Studio.open(workspace.folder("dit"), workspace.folder("vae"))
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
