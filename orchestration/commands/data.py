"""Commands that make and show clips, from footage and from seeds to a published version."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from orchestration.commands.output import (
    TOLD_FAILURES,
    Json,
    Root,
    Workers,
    describe,
    finish,
    finish_stages,
    progress_of_bytes,
)

if TYPE_CHECKING:
    from pipelines.decide import Decision


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
    body: Annotated[Path | None, typer.Option(help="SMPL .npz or .pkl, with --skins.")] = None,
    skins: Annotated[Path | None, typer.Option(help="Folder: UV layout .obj, pictures.")] = None,
    views: Annotated[int, typer.Option(min=1, help="Cameras per performance.")] = 1,
    tier: Annotated[str, typer.Option(help="opengl, blender or eevee draws it.")] = "opengl",
    encoder: Annotated[str, typer.Option(help="x264, nvenc, or auto: what is here.")] = "x264",
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

    Example: isa4d render --body SMPL_NEUTRAL.npz --skins smpl_skins --mocap AMASS --root data
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
        size, people, cameras=camera, motions=motion, mocap=mocap, panoramas=panorama, body=body,
        skins=skins,
    )  # fmt: skip
    settings = replace(settings, num_frames=frames, fps=fps)
    seeds, store = range(seed, seed + count), Store(root)
    how = RenderSettings(tier=tier, views=views, encoder=encoder)
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


def ingest(
    sources: Annotated[
        list[str], typer.Argument(help="Files, folders, globs, lists (csv, parquet), s3://, http.")
    ],
    licence: Annotated[str, typer.Option(help="Licence of sources that state none.")] = "unknown",
    allow: Annotated[
        list[str] | None,
        typer.Option(help="Folder, s3 prefix or http address that lists may name; repeatable."),
    ] = None,
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="NAME=VALUE of a threshold, such as max_blur=0.6; repeatable."),
    ] = None,
    root: Root = "data",
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Cut footage into clips; every source ends as kept, filtered or failed, with a reason.

    Bars around the picture go; pieces that are still, blurred, too fast, covered with text, or
    shown by another clip are filtered. What --set takes: pipelines/ingest/settings.py.

    Example: isa4d ingest footage/ 'more/*.mov' --licence CC-BY-4.0 --root data

    Example: isa4d ingest urls.csv --allow https://footage.example.org/ --set max_clip_s=5
    """
    from pipelines.ingest.settings import IngestSettings, change_settings
    from pipelines.ingest.stage import ingest as ingest_sources
    from storage_schemas.store import Store

    settings, store = change_settings(IngestSettings(licence=licence), change or ()), Store(root)
    accounts = ingest_sources(sources, store, settings, workers, allow or ())
    finish_stages(store, accounts, as_json)


def annotate(
    root: Root = "data",
    backend: Annotated[
        list[str] | None, typer.Option(help="people=mediapipe|yolo, mask=pose|sam2; repeatable.")
    ] = None,
    people_weights: Annotated[Path | None, typer.Option(help="YOLO-pose .pt file.")] = None,
    mask_weights: Annotated[Path | None, typer.Option(help="SAM2 .pt file.")] = None,
    caption_weights: Annotated[
        Path | None, typer.Option(help="open_clip CoCa file: say what the clip shows.")
    ] = None,
    bodies: Annotated[
        Path | None,
        typer.Option(help="Result, or folder of results, of PHALP, WHAM, GVHMR, TRAM or ROMP."),
    ] = None,
    workers: Workers = 0,
    as_json: Json = False,
) -> None:
    """Label ingested clips: people, camera, masks, background, points, bodies, quality.

    Bodies of a tracker are taken instead of the fit for the footage its files are named after.

    Example: isa4d annotate --root data --backend people=yolo --people-weights yolo11m-pose.pt

    Example: isa4d annotate --root data --bodies outputs/
    """
    from pipelines.annotate.clip import annotate_clips
    from storage_schemas.store import Store

    chosen: dict[str, str] = {}
    for text in backend or []:
        stage, mark, name = text.partition("=")
        if not mark:
            raise ValueError(f"--backend must be STAGE=NAME, got {text!r}")
        chosen[stage] = name
    files = {"people": people_weights, "mask": mask_weights, "quality": caption_weights}
    weights = {step: file for step, file in files.items() if file is not None}
    store = Store(root)
    accounts = annotate_clips(
        store, backends=chosen, weights=weights, bodies=bodies, workers=workers
    )
    finish_stages(store, accounts, as_json)


def pack(
    name: Annotated[str, typer.Argument(help="Name of the packed set.")] = "clips",
    labels_apart: Annotated[
        bool, typer.Option("--labels-apart", help="Videos in own shards: relabel without them.")
    ] = False,
    rendered_px: Annotated[
        int, typer.Option(min=0, help="Rendered clips of this width only; 0: of any.")
    ] = 0,
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

    settings = PackSettings(labels_apart=labels_apart, rendered_px=rendered_px)
    report = pack_clips(Store(root), name, settings=settings, workers=workers)
    finish(report.summary(), {"accounting": asdict(report.accounting)}, as_json)
    if report.accounting.failed:
        raise typer.Exit(1)


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
    with progress_of_bytes("publish", size_bytes) as advance:
        manifest = publish_version(store, name, packed, advance)
    finish(describe(manifest), {"name": name, "version": manifest.version}, as_json)


def view(
    clip_id: Annotated[str, typer.Argument(metavar="CLIP", help="Clip id, or how it begins.")],
    port: Annotated[int, typer.Option(min=1, max=65535, help="On 127.0.0.1.")] = 8080,
    shards: Annotated[str | None, typer.Option(help="Packed set, or NAME@VERSION.")] = None,
    root: Root = "data",
) -> None:
    """One labelled clip in 3D: bodies, floor, the camera's way, what it saw. Ctrl-C ends it.

    Example: isa4d view 3fa9c0 --root data
    """
    from pipelines.clip_files import find_clip, open_clips
    from pipelines.view import open_view
    from storage_schemas.store import Store

    with open_view(find_clip(open_clips(Store(root), shards), clip_id), port) as shown:
        typer.echo(f"http://127.0.0.1:{port}")
        shown.play()


def review(
    out: Annotated[Path, typer.Option(help="HTML page to write.")] = Path("review.html"),
    limit: Annotated[int, typer.Option(min=1, help="Most clips on the page.")] = 24,
    reel: Annotated[Path | None, typer.Option(help="Also an mp4: clips beside labels.")] = None,
    statistics: Annotated[
        Path | None, typer.Option(help="Also a page of what rendered clips hold.")
    ] = None,
    shards: Annotated[str | None, typer.Option(help="Packed set, or NAME@VERSION.")] = None,
    decide: Annotated[
        Path | None, typer.Option(help="Store the decisions downloaded from a page, and end.")
    ] = None,
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """A page with a sheet per labelled clip: body overlay, masks, background, camera, quality.

    Example: isa4d review --root data --out review.html --reel reel.mp4 --statistics numbers.html
    """
    from pipelines.clip_files import open_clips
    from pipelines.decide import read_decisions
    from pipelines.reel import make_reel
    from pipelines.report import write_review
    from pipelines.statistics_page import make_statistics
    from storage_schemas.store import Store

    if decide is not None:
        _store_decisions(root, read_decisions(decide.read_text(), str(decide)), as_json)
        return
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


def accept(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Clip ids.")],
    why: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Accept clips by hand; takes back an earlier rejection.

    Example: isa4d accept 3fa9c0d2e1b84f7a9c6d5e4f3a2b1c0d --root data
    """
    from pipelines.decide import Decision

    decisions = [Decision(clip_id=clip, decision="accept", why=why) for clip in clips]
    _store_decisions(root, decisions, as_json)


def reject(
    clips: Annotated[list[str], typer.Argument(metavar="CLIP...", help="Clip ids.")],
    why: Annotated[str, typer.Option(help="Kept with the decision.")] = "",
    root: Root = "data",
    as_json: Json = False,
) -> None:
    """Reject clips by hand: packing leaves them out as rejected_by_person.

    Example: isa4d reject 3fa9c0d2e1b84f7a9c6d5e4f3a2b1c0d --why "two people in one track"
    """
    from pipelines.decide import Decision

    decisions = [Decision(clip_id=clip, decision="reject", why=why) for clip in clips]
    _store_decisions(root, decisions, as_json)


def _store_decisions(root: str, decisions: Sequence["Decision"], as_json: bool) -> None:
    from pipelines.decide import decide
    from storage_schemas.store import Store

    decide(Store(root), decisions)
    accepted = sum(item.decision == "accept" for item in decisions)
    rejected = len(decisions) - accepted
    summary = f"{len(decisions)} decisions = {accepted} accepted + {rejected} rejected"
    finish(summary, {"accepted": accepted, "rejected": rejected}, as_json)
