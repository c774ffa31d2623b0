"""The `isa4d` command: one subcommand per step of the path, thin calls into the packages.

Every command ends with one summary line whose counts add up, prints JSON instead with --json, and
exits with 0 only on success. Heavy packages load inside the commands, so that --help is quick.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

os.environ.setdefault("RAY_AUTH_MODE", "disabled")  # Ray 2.60 turns token auth on by itself
os.environ.setdefault("WDS_SECURE", "1")
os.environ.setdefault("GLOG_minloglevel", "2")  # MediaPipe's chatter about its own graphs
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

app = typer.Typer(
    help="4D human video generation that anyone can train from raw footage.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
dataset_app = typer.Typer(help="Published dataset versions.", no_args_is_help=True)
evaluate_app = typer.Typer(help="Numbers, with the settings that made them.", no_args_is_help=True)
app.add_typer(dataset_app, name="dataset")
app.add_typer(evaluate_app, name="evaluate")

TOLD_FAILURES = 5
"""Failures of a stage that are told one by one; the others stand in results/."""

Root = Annotated[str, typer.Option(help="Data root: a folder or s3://bucket/prefix.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object for machines.")]
Reference = Annotated[str, typer.Argument(help="NAME, NAME@VERSION or NAME@TAG.")]
Workers = Annotated[int, typer.Option(min=0, help="Ray actors; 0 works in this process.")]


def finish(summary: str, content: Mapping[str, Any], as_json: bool) -> None:
    """The last line of a command."""
    if as_json:
        typer.echo(json.dumps({"summary": summary, **content}))
    else:
        Console().print(summary, highlight=False, markup=False, soft_wrap=True)


def finish_stages(store: Any, accountings: Sequence[Any], as_json: bool) -> None:
    """The last lines of a command that ran stages; failures are told and make it exit with 1."""
    from dataclasses import asdict

    from pipelines.run import tell_failures

    failed = [accounting.stage for accounting in accountings if accounting.failed]
    for stage in failed:
        for line in islice(tell_failures(store, stage), TOLD_FAILURES):
            typer.echo(line, err=True)
    summary = "\n".join(accounting.summary() for accounting in accountings)
    finish(summary, {"stages": [asdict(accounting) for accounting in accountings]}, as_json)
    if failed:
        raise typer.Exit(1)


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is here, what is missing, and how to get it.

    Example: isa4d doctor
    """
    from orchestration.doctor import examine

    findings = examine()
    missing = [finding for finding in findings if finding.is_needed and not finding.is_fine]
    if not as_json:
        for finding in findings:
            mark = "ok  " if finding.is_fine else "MISS" if finding.is_needed else "-   "
            typer.echo(f"{mark} {finding.what:18} {finding.detail}")
    fine = sum(finding.is_fine for finding in findings)
    optional = len(findings) - fine - len(missing)
    summary = f"{len(findings)} checks = {fine} fine + {len(missing)} missing + {optional} optional"
    finish(summary, {"missing": [finding.what for finding in missing]}, as_json)
    if missing:
        raise typer.Exit(1)


@app.command()
def render(
    count: Annotated[int, typer.Option(min=1, help="Seeds; one clip each, or --views.")] = 16,
    frames: Annotated[int, typer.Option(help="Frames per clip.")] = 17,
    size: Annotated[str, typer.Option(help="Pixels: the side of a square, or WxH.")] = "128",
    fps: Annotated[float, typer.Option(min=1, help="Frames per second.")] = 24.0,
    seed: Annotated[int, typer.Option(min=0, help="First seed.")] = 0,
    people: Annotated[str, typer.Option(help="People in a clip: most, or FEWEST-MOST.")] = "1",
    camera: Annotated[list[str] | None, typer.Option(help="Camera kind, repeatable.")] = None,
    motion: Annotated[list[str] | None, typer.Option(help="Motion kind, repeatable.")] = None,
    mocap: Annotated[Path | None, typer.Option(help="Folder of motion capture to use.")] = None,
    panorama: Annotated[Path | None, typer.Option(help="Folder of .hdr and .exr skies.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Cameras per performance.")] = 1,
    tier: Annotated[str, typer.Option(help="opengl, blender or eevee draws it.")] = "opengl",
    shards: Annotated[str | None, typer.Option(help="Write straight to shards/NAME.")] = None,
    seeds_per_shard: Annotated[int, typer.Option(min=1, help="With --shards.")] = 64,
    dry_run: Annotated[bool, typer.Option(help="Print time, cost and bytes only.")] = False,
    samples: Annotated[int, typer.Option(min=1, help="Seeds that --dry-run measures.")] = 8,
    price: Annotated[float, typer.Option(min=0, help="Of a core-hour, for --dry-run.")] = 0.04,
    root: Root = "data",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Render synthetic clips with exact ground truth; the same seed gives the same clip.

    With --shards the clips go straight to shards, ready for `isa4d publish`; without, to clips/,
    where `isa4d pack` and `isa4d review` find them. Both go on where a killed run was.

    Example: isa4d render --count 100 --frames 33 --size 256 --people 1-3 --camera orbit --root data

    Example: isa4d render --count 100000 --size 512x288 --workers 64 --dry-run
    """
    from orchestration.scenes import wished_scenes
    from pipelines.synthetic.produce import (
        RenderSettings,
        render_clips,
        render_shards,
        tell_failed_clips,
    )
    from storage_schemas.store import Store

    settings = wished_scenes(
        size, people, cameras=camera, motions=motion, mocap=mocap, panoramas=panorama
    )
    settings = replace(settings, num_frames=frames, fps=fps)
    seeds, store = range(seed, seed + count), Store(root)
    how = RenderSettings(tier=tier, views=views)
    if dry_run:
        from pipelines.synthetic.estimate import estimate, tell_estimate

        found = estimate(seeds, settings, how, samples)
        numbers = {**asdict(found), "totals": found.totals(workers, price)}
        finish(tell_estimate(found, workers, price), numbers, as_json)
        return
    if shards is None:
        account = render_clips(store, seeds, settings, workers, how)
    else:
        account = render_shards(store, shards, seeds, settings, workers, how, seeds_per_shard)
        for line in islice(tell_failed_clips(store, shards), TOLD_FAILURES):
            typer.echo(line, err=True)
    finish_stages(store, [account], as_json)


@app.command()
def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, lists (csv, parquet), s3://.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of sources that state none.")] = "unknown",
    allow: Annotated[
        list[str] | None, typer.Option(help="Folder or s3 prefix that lists may name; repeatable.")
    ] = None,
    root: Root = "data",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Cut footage into clips; every source ends as kept, filtered or failed, with a reason.

    Example: isa4d ingest footage/ 'more/*.mov' --licence CC-BY-4.0 --root data
    """
    from pipelines.ingest.stage import IngestSettings
    from pipelines.ingest.stage import ingest as ingest_sources
    from storage_schemas.store import Store

    settings, store = IngestSettings(licence=licence), Store(root)
    account = ingest_sources(sources, store, settings, workers, allow or ())
    finish_stages(store, [account], as_json)


@app.command()
def annotate(
    root: Root = "data",
    backend: Annotated[list[str] | None, typer.Option(help="STAGE=NAME, repeatable.")] = None,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Label ingested clips: people, camera, masks, background, points, bodies, quality.

    Example: isa4d annotate --root data --backend people=mediapipe
    """
    from pipelines.annotate.clip import annotate_clips
    from storage_schemas.store import Store

    chosen: dict[str, str] = {}
    for text in backend or []:
        stage, mark, name = text.partition("=")
        if not mark:
            raise ValueError(f"--backend must be STAGE=NAME, got {text!r}")
        chosen[stage] = name
    store = Store(root)
    finish_stages(store, annotate_clips(store, backends=chosen, workers=workers), as_json)


@app.command()
def pack(
    name: Annotated[str, typer.Argument(help="Name of the packed set.")] = "clips",
    labels_apart: Annotated[
        bool, typer.Option("--labels-apart", help="Videos in own shards: relabel without them.")
    ] = False,
    root: Root = "data",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Write the labelled clips as WebDataset shards; the same clips give the same bytes.

    Example: isa4d pack clips --root data
    """
    from dataclasses import asdict

    from pipelines.pack import PackSettings
    from pipelines.pack import pack as pack_clips
    from storage_schemas.store import Store

    settings = PackSettings(labels_apart=labels_apart)
    report = pack_clips(Store(root), name, settings=settings, workers=workers)
    finish(report.summary(), {"accounting": asdict(report.accounting)}, as_json)
    if report.accounting.failed:
        raise typer.Exit(1)


@app.command()
def publish(
    name: Annotated[str, typer.Argument(help="Name of the data set.")],
    packed: Annotated[str | None, typer.Option(help="Packed set; None: the same name.")] = None,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Make the packed shards an immutable version.

    Example: isa4d publish clips --root data
    """
    from storage_schemas.dataset import publish as publish_version
    from storage_schemas.dataset import read_packed
    from storage_schemas.store import Store

    store = Store(root)
    size_bytes = read_packed(store, packed or name).size_bytes
    with _progress_of_bytes("publish", size_bytes) as advance:
        manifest = publish_version(store, name, packed, advance)
    finish(_describe(manifest), {"name": name, "version": manifest.version}, as_json)


@contextmanager
def _progress_of_bytes(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal, nothing elsewhere."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (title, BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(title, total=total)
        yield lambda num_bytes: progress.advance(task, num_bytes)


def _describe(manifest: Any) -> str:
    splits = " + ".join(f"{count} {split}" for split, count in sorted(manifest.splits.items()))
    return (
        f"{manifest.reference}: {manifest.num_clips} clips = {splits}; "
        f"{len(manifest.shards)} shards, {manifest.size_bytes / 1e6:.1f} MB, {manifest.created}"
    )


@dataset_app.command("list")
def dataset_list(root: Root = "data", as_json: Json = False) -> None:
    """Every data set with its versions, newest first, and what its tags mean.

    Example: isa4d dataset list --root data
    """
    from storage_schemas.dataset import list_names, list_tags, list_versions, read_manifest
    from storage_schemas.store import Store

    store = Store(root)
    lines, listed, means = [], [], {}
    names = list_names(store)
    for name in names:
        means[name] = tags = list_tags(store, name) | {"latest": read_manifest(store, name).version}
        for manifest in list_versions(store, name):
            marks = sorted(mark for mark, version in tags.items() if version == manifest.version)
            lines.append(_describe(manifest) + (f" ({', '.join(marks)})" if marks else ""))
            listed.append({"name": name, "version": manifest.version})
    lines.append(f"{len(names)} data sets, {len(listed)} versions")
    finish("\n".join(lines), {"versions": listed, "tags": means}, as_json)


@dataset_app.command("show")
def dataset_show(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """What a version holds and where it comes from: counts, licences, sources, stages, code.

    Example: isa4d dataset show clips@2 --root data
    """
    from storage_schemas import catalogue
    from storage_schemas.dataset import read_catalogue, read_manifest
    from storage_schemas.store import Store

    store = Store(root)
    manifest = read_manifest(store, reference)
    clips = read_catalogue(store, manifest)
    counts = {
        name: catalogue.count(clips, column)
        for name, column in (
            ("splits", "split"), ("licences", "licence"), ("sources", "source"),
            ("made_by", "made_by"),
        )
    }  # fmt: skip
    films = catalogue.num_sources(clips)
    lines = [
        f"{title.replace('_', ' ')}: {value or 'nothing stated'}, {number} clips"
        for title, values in counts.items()
        for value, number in values.items()
    ]
    lines += [f"source files: {films}", f"published by: {manifest.code or 'not stated'}"]
    content = {
        "name": manifest.name, "version": manifest.version, "parent": manifest.parent,
        "created": manifest.created, "code": manifest.code, "clips": manifest.num_clips,
        "shards": len(manifest.shards), "size_bytes": manifest.size_bytes,
        "source_files": films, **counts,
    }  # fmt: skip
    finish("\n".join([*lines, _describe(manifest)]), content, as_json)


@dataset_app.command("diff")
def dataset_diff(
    before: Reference,
    after: Reference,
    limit: Annotated[int, typer.Option(min=0, help="Clips to name of each kind.")] = 20,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Clips added, removed and relabelled from one version to another, without reading shards.

    Example: isa4d dataset diff clips@1 clips --root data
    """
    from storage_schemas.dataset import diff
    from storage_schemas.store import Store

    found = diff(Store(root), before, after)
    kinds = {name: getattr(found, name) for name in ("added", "removed", "relabelled", "remade")}
    lines = []
    for kind, ids in kinds.items():
        lines += [f"{kind} {clip_id}" for clip_id in ids[:limit]]
        lines += [f"{kind} {len(ids) - limit} more"] if len(ids) > limit else []
    content = {kind: {"count": len(ids), "clips": ids[:limit]} for kind, ids in kinds.items()}
    finish("\n".join([*lines, found.summary()]), {"same": found.num_same, **content}, as_json)


@dataset_app.command("tag")
def dataset_tag(
    reference: Reference,
    tag: Annotated[str, typer.Argument(help="Name for it, for example prod.")],
    delete: Annotated[bool, typer.Option("--delete", help="Forget the tag of NAME.")] = False,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Let NAME@TAG mean a version, from now on and until it is moved.

    Example: isa4d dataset tag clips@3 prod --root data
    """
    from storage_schemas import dataset
    from storage_schemas.store import Store

    if delete:
        dataset.untag(Store(root), reference, tag)
        finish(f"{reference}@{tag} means nothing now", {"name": reference, "tag": tag}, as_json)
        return
    manifest = dataset.tag(Store(root), reference, tag)
    content = {"name": manifest.name, "version": manifest.version, "tag": tag}
    finish(f"{manifest.name}@{tag} is {manifest.reference}", content, as_json)


@dataset_app.command("rollback")
def dataset_rollback(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """Let NAME mean an older version again; no version is lost, so this can be taken back.

    Example: isa4d dataset rollback clips@2 --root data
    """
    from storage_schemas.dataset import rollback
    from storage_schemas.store import Store

    if "@" not in reference:
        raise ValueError(f"rollback needs NAME@VERSION, got {reference!r}; see dataset list")
    manifest = rollback(Store(root), reference)
    content = {"name": manifest.name, "version": manifest.version}
    finish(f"{manifest.name} is {_describe(manifest)}", content, as_json)


@dataset_app.command("verify")
def dataset_verify(reference: Reference, root: Root = "data", as_json: Json = False) -> None:
    """Read every byte of a version again.

    Example: isa4d dataset verify clips@2 --root data
    """
    from storage_schemas.dataset import read_manifest, verify
    from storage_schemas.store import Store

    store = Store(root)
    manifest = read_manifest(store, reference)
    with _progress_of_bytes("verify", manifest.size_bytes) as advance:
        verify(store, manifest, advance)
    finish(f"{_describe(manifest)}; every byte is as published", {"is_whole": True}, as_json)


@dataset_app.command("gc")
def dataset_gc(
    delete: Annotated[bool, typer.Option("--delete/--dry-run", help="Remove or tell.")] = False,
    keep: Annotated[
        int | None, typer.Option(min=1, help="Also give up all but so many versions of each name.")
    ] = None,
    grace_hours: Annotated[float, typer.Option(min=0, help="Spare what is younger.")] = 24.0,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Objects that no version, tag or running job uses; told by default, removed with --delete.

    --keep never gives up what NAME means or what has a tag.

    Example: isa4d dataset gc --keep 5 --delete --root data
    """
    from storage_schemas.collect import collect, find_garbage
    from storage_schemas.dataset import list_names
    from storage_schemas.refs import give_up, old_versions
    from storage_schemas.store import Store

    store = Store(root)
    lines, gone = [], {}
    for name in list_names(store) if keep else ():
        gone[name] = (give_up if delete else old_versions)(store, name, keep or 1)
        lines += [f"{name}@{number} is given up" for number in gone[name]]
    given_up = [(name, number) for name, numbers in gone.items() for number in numbers]
    found = (
        collect(store, grace_hours * 3600)
        if delete
        else find_garbage(store, grace_hours * 3600, given_up)
    )
    lines += [f"{entry.key} {entry.size_bytes} bytes" for entry in found.garbage]
    done = "removed" if delete else "nothing removed; --delete removes the garbage"
    content = {
        "garbage": [entry.key for entry in found.garbage], "used": found.num_used,
        "young": found.num_young, "given_up": gone, "is_removed": delete,
    }  # fmt: skip
    finish("\n".join([*lines, f"{found.summary()}; {done}"]), content, as_json)


@app.command()
def train(
    recipe: Annotated[str, typer.Argument(help="Name of a recipe, for example vae_tiny.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    out: Annotated[str, typer.Option(help="Folder of the run, or s3://bucket/prefix.")],
    resume: Annotated[bool, typer.Option(help="Continue the run in --out.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Print size, memory and time only.")] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Length, schedule included.")] = None,
    start: Annotated[str | None, typer.Option(help="Run whose weights to start from.")] = None,
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

    resolved = resolve(recipe, steps)
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


@app.command()
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


@app.command()
def generate(
    model: Annotated[Path, typer.Option(help="Folder of an ISA-DiT run.")],
    vae: Annotated[Path, typer.Option(help="Folder of the VAE run it was trained on.")],
    reference: Annotated[str, typer.Option(help="A picture, or a clip id of the root.")],
    motion: Annotated[str, typer.Option(help="A clip id, a .bvh/.amc/.npz file, or walk, ...")],
    camera: Annotated[str, typer.Option(help="clip, static, orbit, pan, follow ...")] = "static",
    background: Annotated[bool, typer.Option(help="Give the motion's own background.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of the noise.")] = 0,
    guidance: Annotated[float, typer.Option(help="Strength of all conditions.")] = 2.0,
    out: Annotated[Path, typer.Option(help="The mp4 to write.")] = Path("generated.mp4"),
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Direct a person: reference and motion and camera in, a video out.

    Writes the mp4, its conditions side by side, and a json that makes it again.

    Example: isa4d generate --model runs/dit --vae runs/vae --reference me.jpg --motion walk
    """
    from models.generate import SampleSettings
    from orchestration.steps import make_film
    from pipelines.film import Studio
    from storage_schemas.store import Store

    if out.suffix != ".mp4":
        raise ValueError(f"--out must end in .mp4, got {out}")
    settings = SampleSettings(seed=seed, guidance={"all": guidance})
    studio = Studio.open(model, vae)
    wish = (reference, motion, camera, background)
    paths = make_film(studio, Store(root), wish, settings, out)
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
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Reconstruction of held-out clips, beside the linear codec of the same latent shape.

    Example: isa4d evaluate vae --vae runs/vae --data clips --root data --out vae.json
    """
    from models.evaluate import evaluate_vae
    from orchestration.steps import training_shards
    from storage_schemas.store import Store

    _write_numbers(evaluate_vae(vae, training_shards(Store(root), data)), out, as_json)


@evaluate_app.command("dit")
def evaluate_dit_command(
    model: Annotated[Path, typer.Option(help="Folder of the ISA-DiT run.")],
    vae: Annotated[Path, typer.Option(help="Folder of the VAE run it was trained on.")],
    data: Annotated[str, typer.Option(help="NAME or NAME@VERSION of a published data set.")],
    out: Annotated[Path, typer.Option(help="JSON file of the numbers.")] = Path("dit.json"),
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Generation of held-out clips against the clips themselves, and the wrong-pose gap.

    Example: isa4d evaluate dit --model runs/dit --vae runs/vae --data clips --out dit.json
    """
    from models.evaluate import evaluate_dit
    from orchestration.steps import training_shards
    from storage_schemas.store import Store

    _write_numbers(evaluate_dit(model, vae, training_shards(Store(root), data)), out, as_json)


def _write_numbers(result: Mapping[str, Any], out: Path, as_json: bool) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result, indent=1))
    metrics: Mapping[str, Mapping[str, float]] = result["metrics"]
    lines = [
        f"{name}: {v['mean']:.4g} +- {v['std']:.3g} (n {v['n']})" for name, v in metrics.items()
    ]
    finish("\n".join([*lines, f"{len(metrics)} metrics in {out}"]), result, as_json)


@app.command()
def review(
    out: Annotated[Path, typer.Option(help="HTML page to write.")] = Path("review.html"),
    limit: Annotated[int, typer.Option(min=1, help="Most clips on the page.")] = 24,
    reel: Annotated[Path | None, typer.Option(help="Also an mp4: clips beside labels.")] = None,
    statistics: Annotated[
        Path | None, typer.Option(help="Also a page of what rendered clips hold.")
    ] = None,
    shards: Annotated[str | None, typer.Option(help="Packed set, or NAME@VERSION.")] = None,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """A page with a sheet per labelled clip: body overlay, masks, background, camera, quality.

    Example: isa4d review --root data --out review.html --reel reel.mp4 --statistics numbers.html
    """
    from pipelines.clip_files import open_clips
    from pipelines.reel import make_reel
    from pipelines.report import write_review
    from pipelines.statistics_page import make_statistics
    from storage_schemas.store import Store

    if reel is not None and reel.suffix != ".mp4":
        raise ValueError(f"--reel must end in .mp4, got {reel}")
    store, content = Store(root), dict[str, Any](page=str(out))
    shown, total = write_review(store, out, limit, shards)
    lines = [f"{total} clips = {shown} shown + {total - shown} not; {out}"]
    clips = open_clips(store, shards)
    if reel is not None:
        film = make_reel(clips)
        reel.parent.mkdir(parents=True, exist_ok=True)
        reel.write_bytes(film.mp4)
        lines.append(
            f"{total} clips = {film.num_clips} filmed + {total - film.num_clips} not; {reel}"
        )
        content["reel"] = str(reel)
    if statistics is not None:
        found = make_statistics(clips)
        found.write(statistics)
        lines.append(f"{found.numbers['clips']} rendered clips measured; {statistics}")
        content |= {"statistics": str(statistics), "numbers": found.numbers}
    finish("\n".join(lines), content, as_json)


@app.command()
def demo(
    root: Annotated[Path, typer.Option(help="Folder of the demo.")] = Path("demo"),
    video: Annotated[list[Path] | None, typer.Option(help="Your footage, repeatable.")] = None,
    as_json: Json = False,
) -> None:
    """The whole path once, small: render, ingest, annotate, pack, train, generate, report.

    Example: isa4d demo --root demo --video holiday.mp4
    """
    from orchestration.demo import run_demo

    page = run_demo(root, video or [])
    finish(f"report: {page}", {"report": str(page)}, as_json)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; what the user can mend is one line, a bug of ours is a traceback."""
    try:
        app(args=arguments)
    except (ValueError, OSError, RuntimeError) as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(1)
