"""Commands that train models, run them and measure them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from orchestration.commands.output import (
    Json,
    Root,
    Workers,
    finish,
    finish_stages,
)

MetricWeights = Annotated[
    Path | None, typer.Option(help="Folder with LPIPS and I3D weights under their own names.")
]
evaluate_app = typer.Typer(help="Numbers, with the settings that made them.", no_args_is_help=True)


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, for example vae_tiny.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    out: Annotated[str, typer.Option(help="Folder of the run, or s3://bucket/prefix.")],
    resume: Annotated[bool, typer.Option(help="Continue the run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print size, memory and time only.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Length, schedule included.")] = None,
    start: Annotated[
        str | None, typer.Option(help="Run to start from, or SD3's vae as a safetensors file.")
    ] = None,
    lpips: Annotated[
        Path | None, typer.Option(help="torchvision's AlexNet or VGG-16: LPIPS as a loss.")
    ] = None,
    root: Root = "data",
    workers: Annotated[int, typer.Option(min=0, help="Ray Train workers; 0 trains here.")] = 0,
    as_json: Json = False,
) -> None:
    """Train a recipe on a published version; the same program as python -m models.train.

    Example: isa4d train vae_tiny --data clips --out runs/vae --root data
    """
    from models.published import PublishedData
    from models.train import estimate, resolve
    from models.training.launch import launch
    from models.training.mirror import local_run

    resolved = resolve(recipe, steps, lpips)
    version = PublishedData.pin(root, data)
    if dry_run:
        numbers = estimate(resolved, version.shards())
        finish(json.dumps(numbers, indent=1), {"estimate": numbers}, as_json)
        return
    begin = None if start is None else local_run(start)
    result = launch(resolved, version, out, resume, workers, start=begin)
    shown = ", ".join(f"{name} {value:.4g}" for name, value in result.metrics.items())
    finish(f"{recipe}: {result.status} at step {result.step}; {shown}", result.metrics, as_json)
    if result.status != "finished":
        raise typer.Exit(3)


def encode(
    vae: Annotated[Path, typer.Option(help="Folder of a finished VAE run.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    root: Root = "data",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Write the latents of a data set as side-car shards, for training the generator.

    Example: isa4d encode --vae runs/vae --data clips --root data
    """
    from pipelines.encode import encode_latents
    from storage_schemas.dataset import read_manifest
    from storage_schemas.store import Store

    store = Store(root)
    manifest = read_manifest(store, data)
    shards = manifest.clip_shards
    accounting = encode_latents(store, manifest.name, shards, vae, workers=workers)
    finish_stages(store, [accounting], as_json)


def generate(
    model: Annotated[Path, typer.Option(help="Folder of an ISA-DiT run.")],
    vae: Annotated[Path, typer.Option(help="Folder of the VAE run it was trained on.")],
    reference: Annotated[str | None, typer.Option(help="A picture, or a clip id.")] = None,
    motion: Annotated[
        str | None, typer.Option(help="A clip id, a .bvh/.amc/.npz file, or walk, ...")
    ] = None,
    camera: Annotated[str, typer.Option(help="clip, static, orbit, pan, follow ...")] = "static",
    background: Annotated[bool, typer.Option(help="Give the motion's own background.")] = False,
    length: Annotated[
        int | None, typer.Option(min=1, help="Frames, 1 + 4k, at 24 a second; any number of them.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    guidance: Annotated[float, typer.Option(help="Strength of all conditions.")] = 2.0,
    steps: Annotated[int, typer.Option(min=1, help="Of the sampler.")] = 30,
    sampler: Annotated[str, typer.Option(help="euler, heun or unipc.")] = "euler",
    shot: Annotated[
        Path | None, typer.Option(help="The json of a film: makes it again, asks nothing else.")
    ] = None,
    out: Annotated[Path, typer.Option(help="The mp4 to write.")] = Path("generated.mp4"),
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Direct a person: reference and motion and camera in, a video out.

    Writes the mp4, its conditions side by side, and a json that makes it again.

    Example: isa4d generate --model runs/dit --vae runs/vae --reference me.jpg --motion walk
    """
    from models.shot import SampleSettings
    from orchestration.steps import make_film, remake_film
    from pipelines.film import Studio
    from storage_schemas.store import Store

    if out.suffix != ".mp4":
        raise ValueError(f"--out must end in .mp4, got {out}")
    settings = SampleSettings(
        seed=seed, guidance={"all": guidance}, num_steps=steps, sampler=sampler
    )
    if shot is not None:
        paths = remake_film(Studio.open(model, vae), shot, out)
    elif reference is None or motion is None:
        raise ValueError("say who and what: --reference and --motion, or --shot FILE.json")
    else:
        wish = (reference, motion, camera, background)
        studio = Studio.open(model, vae)
        paths = make_film(studio, Store(root), wish, settings, out, length)
    finish("wrote " + ", ".join(map(str, paths)), {"files": [str(p) for p in paths]}, as_json)


@evaluate_app.command("labels")
def evaluate_labels_command(
    pairs: Annotated[list[str], typer.Argument(help="FOUND=TRUE clip ids, as footage and render.")],
    out: Annotated[Path, typer.Option(help="JSON file of the numbers.")] = Path("labels.json"),
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Errors of found labels against the truth of rendered clips.

    Example: isa4d evaluate labels 3f..a=91..c --root data --out labels.json
    """
    from orchestration.steps import evaluate_pairs
    from storage_schemas.store import Store

    split = [tuple(pair.split("=", 1)) for pair in pairs]
    if any(len(pair) != 2 for pair in split):
        raise ValueError("pairs must be FOUND=TRUE clip ids")
    result = evaluate_pairs(Store(root), [(found, true) for found, true in split])
    _write_numbers(result, out, as_json)


@evaluate_app.command("vae")
def evaluate_vae_command(
    vae: Annotated[Path, typer.Option(help="Folder of the VAE run.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    out: Annotated[Path, typer.Option(help="JSON file of the numbers.")] = Path("vae.json"),
    metric_weights: MetricWeights = None,
    peer: Annotated[
        list[Path] | None, typer.Option(help="Another autoencoder: a diffusers folder; repeat.")
    ] = None,
    video: Annotated[
        list[Path] | None,
        typer.Option(help="Judge on this video or folder of videos instead; repeat."),
    ] = None,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Reconstruction of held-out clips, beside the linear codec of the same latent shape.

    Example: isa4d evaluate vae --vae runs/vae --data clips --root data --out vae.json
    """
    from models.trained import load_vae
    from models.vae.judge import evaluate_vae
    from orchestration.steps import training_shards
    from pipelines.video_clips import all_videos, video_clips
    from storage_schemas.store import Store

    clips = None
    if video:
        settings = load_vae(vae)[1].clips
        clips = video_clips(all_videos(video), settings.num_frames, settings.size_px)
    shards = training_shards(Store(root), data)
    result = evaluate_vae(
        vae, shards, metric_weights=metric_weights, peers=peer or (), videos=clips
    )
    _write_numbers(result, out, as_json)


@evaluate_app.command("dit")
def evaluate_dit_command(
    model: Annotated[Path, typer.Option(help="Folder of the ISA-DiT run.")],
    vae: Annotated[Path, typer.Option(help="Folder of the VAE run it was trained on.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    out: Annotated[Path, typer.Option(help="JSON file of the numbers.")] = Path("dit.json"),
    metric_weights: MetricWeights = None,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Generation of held-out clips against the clips themselves, and the wrong-pose gap.

    Example: isa4d evaluate dit --model runs/dit --vae runs/vae --data clips --out dit.json
    """
    from models.dit.judge import evaluate_dit
    from orchestration.steps import training_shards
    from storage_schemas.store import Store

    shards = training_shards(Store(root), data)
    result = evaluate_dit(model, vae, shards, metric_weights=metric_weights)
    _write_numbers(result, out, as_json)


def _write_numbers(result: Mapping[str, Any], out: Path, as_json: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1))
    metrics: Mapping[str, Mapping[str, float]] = result["metrics"]
    lines = [
        f"{name}: {v['mean']:.4g} +- {v['std']:.3g} (n {v['n']})" for name, v in metrics.items()
    ]
    finish("\n".join([*lines, f"{len(metrics)} metrics in {out}"]), result, as_json)
