"""The whole path once, small enough for two CPU cores: `make demo`.

Renders clips, films two of them as if they were footage (RGB only) so that every found label can
be held against the truth, packs, goes on training the shipped weights visibly, generates, and
writes one page with the pictures and numbers of every step. Every step resumes.
"""

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console

from models.body.model import BodyModel
from models.dit.judge import evaluate_dit
from models.shot import SampleSettings
from models.train import resolve
from models.trained import load_vae
from models.training.launch import launch
from models.vae.judge import evaluate_vae
from orchestration.partitions import FIRST_SEED
from orchestration.steps import (
    Wish,
    evaluate_pairs,
    make_film,
    training_scenes,
    training_shards,
)
from pipelines.annotate.clip import annotate_clips, ingested
from pipelines.clip_files import clip_reader
from pipelines.direct import clip_window, read_window
from pipelines.encode import encode_latents
from pipelines.film import CLIP_FPS, Studio, reconstruct
from pipelines.ingest.stage import IngestSettings, ingest
from pipelines.pack import PackSettings, pack
from pipelines.page import Section, metrics_table, picture, render_page
from pipelines.report import (
    ClipView,
    account_table,
    film_figures,
    rendered_sheet,
    training_section,
)
from pipelines.review import contact_sheet
from pipelines.run import Accounting, read_results
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings, sample_scene
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.catalogue import clip_ids
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import publish, read_catalogue, read_manifest
from storage_schemas.store import Store

SHIPPED = Path(__file__).parents[1] / "models" / "weights"
NAME = "demo"
TOLD_METRICS = (
    "psnr_db", "psnr_vae_db", "psnr_pca_db", "psnr_fast_db", "psnr_moving_db", "ssim",
    "figure_psnr_db", "wrong_pose_gap",
)  # fmt: skip
"""What is said on the way; the page has all of them."""


@dataclass(frozen=True, kw_only=True)
class DemoSize:
    """How much of everything; the defaults take a few minutes."""

    clips: int = 64
    clip_px: int = 96
    footage_px: int = 256
    footage_frames: int = 48
    max_user_clips: int = 4
    """Clips of the user's video that are labelled; the page says how many there were."""
    vae_recipe: str = "vae_tiny_continued"
    dit_recipe: str = "dit_tiny_continued"
    evaluated_clips: int = 6
    sampling_steps: int = 30


@dataclass
class Notebook:
    """What the page will tell: lines and sections, in the order of the steps."""

    console: Console
    lines: list[str] = field(default_factory=list[str])
    sections: list[Section] = field(default_factory=list[Section])

    def tell(self, line: str) -> None:
        """A line for the terminal and for the page."""
        self.lines.append(line)
        self.console.print(f"      {line}", highlight=False, markup=False)

    @contextmanager
    def step(self, number: int, title: str) -> Iterator[None]:
        """Announce a step and say how long it took."""
        self.console.print(f"[bold]\\[{number}/8][/bold] {title}")
        start = time.monotonic()
        yield
        self.console.print(f"      {time.monotonic() - start:.0f} s", style="dim")


def run_demo(root: Path, videos: Sequence[Path], size: DemoSize | None = None) -> Path:
    """Run every step and write `report.html`.

    Args:
        root: Folder of the demo; what is done there already is not done again.
        videos: Footage of the user.
        size: How much of everything.

    Returns:
        Path of the page.
    """
    size = size or DemoSize()
    for video in videos:
        if not video.is_file():
            raise ValueError(f"no video at {video}")
    torch.set_num_threads(1)
    store, book = Store(root), Notebook(console=Console())
    with book.step(1, "render synthetic clips, and two movies that will play footage"):
        footage = render_step(store, root, size, book)
    with book.step(2, "ingest footage"):
        chosen = ingest_step(store, [*footage, *videos], videos, size, book)
    with book.step(3, "annotate footage, and measure the labels against the truth"):
        annotate_step(store, root, footage, chosen, book)
    with book.step(4, "pack and publish"):
        pack_step(store, book)
    with book.step(5, "train the video VAE"):
        vae_step(store, root / "vae", size, book)
    with book.step(6, "encode, train the ISA-DiT"):
        dit_step(store, root, size, book)
    with book.step(7, "generate"):
        generate_step(store, root, size, chosen, book)
    with book.step(8, "write the report"):
        page = root / "report.html"
        accounts = Section(title="Accounts", tables=[account_table(store)])
        page.write_text(render_page("isa4d demo", book.lines, [*book.sections, accounts]))
    return page


def footage_settings(size: DemoSize, people: int, camera: str) -> SceneSettings:
    """Scenes that are filmed and then forgotten."""
    return SceneSettings(
        width=size.footage_px, height=size.footage_px, num_frames=size.footage_frames,
        num_people=(people, people), camera_kinds=(camera,), framing="fill",
    )  # fmt: skip


def render_step(store: Store, root: Path, size: DemoSize, book: Notebook) -> dict[Path, str]:
    """Render; returns the movies with the ids of the clips that hold their truth."""
    seeds = range(FIRST_SEED, FIRST_SEED + size.clips)
    scenes = training_scenes(size.clip_px, 17, most_people=1)
    _tell(book, render_clips(store, seeds, scenes))
    sheet = rendered_sheet(store, seeds[:6], scenes)
    if sheet is not None:
        text = "Free characters, procedural motion and worlds; bodies, masks, depth, background "
        text += "and camera of every frame are exact. A clip is a function of its seed."
        shown = picture("six of the rendered clips", sheet)
        book.sections.append(Section(title="Rendered clips", text=text, figures=[shown]))
    movies: dict[Path, str] = {}
    for number, (people, camera) in enumerate(((1, "static"), (2, "orbit"))):
        settings, seed = footage_settings(size, people, camera), FIRST_SEED - 1 - number
        _tell(book, render_clips(store, [seed], settings))
        clip_id = sample_scene(seed, settings).clip_id
        movie = root / "footage" / f"rendered_{people}_{camera}.mp4"
        movie.parent.mkdir(parents=True, exist_ok=True)
        movie.write_bytes(store.read(f"clips/{clip_id}/{shards.VIDEO}"))
        movies[movie] = clip_id
    return movies


def ingest_step(
    store: Store, movies: Sequence[Path], videos: Sequence[Path], size: DemoSize, book: Notebook
) -> dict[str, list[str]]:
    """Cut the footage; returns source hash -> clips to label."""
    for account in ingest(list(movies), store, IngestSettings(max_short_side_px=540)):
        _tell(book, account)
    wanted = {_sha256(movie) for movie in movies}
    users = {_sha256(video) for video in videos}
    chosen: dict[str, list[str]] = {sha256: [] for sha256 in sorted(wanted)}
    for clip_id in ingested(store):
        clip = ClipRecord.from_json(store.read(f"clips/{clip_id}/{shards.CLIP}"))
        if clip.source_sha256 in wanted:
            chosen[clip.source_sha256].append(clip_id)
    for sha256 in users:
        chosen[sha256].sort(key=lambda clip_id: _start_ns(store, clip_id))
        if len(chosen[sha256]) > size.max_user_clips:
            book.tell(
                f"your video has {len(chosen[sha256])} clips, the first {size.max_user_clips} are "
                "labelled; `isa4d annotate` labels them all"
            )
            chosen[sha256] = chosen[sha256][: size.max_user_clips]
    return chosen


def annotate_step(
    store: Store, root: Path, footage: dict[Path, str], chosen: dict[str, list[str]], book: Notebook
) -> None:
    """Label the chosen clips and hold the rendered ones against their truth."""
    ids = [clip_id for clips in chosen.values() for clip_id in clips]
    for account in annotate_clips(store, ids):
        _tell(book, account)
    labelled = {r.key for r in read_results(store, "quality") if r.status == "kept"}
    pairs = [
        (clip_id, true)
        for movie, true in footage.items()
        for clip_id in chosen[_sha256(movie)]
        if clip_id in labelled
    ]
    errors = evaluate_pairs(store, pairs)
    (root / "labels.json").write_text(json.dumps(errors, indent=1))
    book.sections.append(
        Section(
            title="Labels against truth",
            text="Rendered movies were annotated from their pixels alone; the renderer knows the "
            "truth. People: MediaPipe (its own weights). Bodies: our fit. "
            f"Not measured: {', '.join(errors['settings']['absent']) or 'nothing'}.",
            tables=[metrics_table("Error over the rendered movies", errors["metrics"])],
        )
    )
    body = BodyModel.load()
    for clip_id in ids:
        if clip_id in labelled:
            book.sections.append(
                ClipView(clip_reader(store, clip_id), body).section(f"Clip {clip_id[:8]}")
            )


def pack_step(store: Store, book: Notebook) -> None:
    """Shards, and a version of them."""
    report = pack(store, NAME, settings=PackSettings(validation_share=0.15, test_share=0.0))
    book.tell(report.summary())
    manifest = publish(store, NAME)
    book.tell(f"published {NAME}@{manifest.version}")


def vae_step(store: Store, out: Path, size: DemoSize, book: Notebook) -> None:
    """Go on training the shipped autoencoder, and judge it."""
    data = training_shards(store, NAME)
    start = SHIPPED / "vae_tiny"
    recipe = resolve(size.vae_recipe)
    result = launch(recipe, data, out, resume=True, num_workers=0, start=start)
    numbers = evaluate_vae(out, data, num_clips=16)
    (out / "evaluation.json").write_text(json.dumps(numbers, indent=1))
    _tell_metrics(book, "VAE", numbers)
    text = (
        f"{recipe.name}, {result.step} steps from the shipped weights {start.name} "
        f"({_log_line(start)}). PSNR beside the linear codec (psnr_pca_db) of the same "
        "latent shape. Perceptual metrics need weights that are not here. The loss holds that of "
        "the auxiliary image decoder, which is not shipped and starts anew."
    )
    section = training_section("Video VAE", out, text, numbers)
    sheet = reconstruction_sheet(store, out, held_out_clips(store)[:3])
    shown = picture("held-out clips and their reconstructions", sheet)
    book.sections.append(replace(section, figures=[*section.figures, shown]))


def reconstruction_sheet(store: Store, run: Path, clip_ids: Sequence[str]) -> np.ndarray:
    """Clips above what the autoencoder makes of them."""
    vae, recipe, _ = load_vae(run)
    rows = []
    for clip_id in clip_ids:
        window, _, _ = clip_window(store, clip_id, recipe.clips)
        frames = read_window(store, clip_id, shards.VIDEO, window)
        rows += [(f"clip {clip_id[:8]}", frames), ("reconstruction", reconstruct(vae, frames))]
    return contact_sheet(rows, columns=9, height_px=112)


def dit_step(store: Store, root: Path, size: DemoSize, book: Notebook) -> None:
    """Latents of the new VAE, then go on training the shipped generator, and judge it."""
    keys = read_manifest(store, NAME).clip_shards
    recipe, out, start = resolve(size.dit_recipe), root / "dit", SHIPPED / "dit_tiny"
    _tell(book, encode_latents(store, NAME, keys, root / "vae", recipe.clips))
    data = training_shards(store, NAME)
    result = launch(recipe, data, out, resume=True, num_workers=0, start=start)
    sampling = SampleSettings(num_steps=size.sampling_steps)
    numbers = evaluate_dit(out, root / "vae", data, size.evaluated_clips, sampling=sampling)
    (out / "evaluation.json").write_text(json.dumps(numbers, indent=1))
    _tell_metrics(book, "ISA-DiT", numbers)
    text = (
        f"{recipe.name}, {result.step} steps from the shipped weights {start.name} "
        f"({_log_line(start)}). wrong_pose_gap: how much the loss on the figure grows "
        "when another clip's bodies are given; 0 would mean that the pose is ignored."
    )
    book.sections.append(training_section("ISA-DiT", out, text, numbers))


def generate_step(
    store: Store, root: Path, size: DemoSize, chosen: dict[str, list[str]], book: Notebook
) -> None:
    """Films from held-out clips, and of the people of the user's footage."""
    studio = Studio.open(root / "dit", root / "vae")
    sampling = SampleSettings(num_steps=size.sampling_steps)
    figures = []
    for name, wish in wishes(store, chosen, studio).items():
        out = root / "generated" / f"{name}.mp4"
        _, conditions, _ = make_film(studio, store, wish, sampling, out)
        figures += film_figures(name, decode_mp4(conditions.read_bytes()), CLIP_FPS)
    book.tell(f"generated {len(figures) // 2} videos in {root / 'generated'}")
    weights = ", ".join(f"{name} {digest[:40]}" for name, digest in studio.weights.items())
    text = (
        "Conditions in, video out. The films of synthetic clips use held-out ones; the clips of "
        f"footage may have been among those of the short training above. Weights: {weights}."
    )
    book.sections.append(Section(title="Generated", text=text, figures=figures))


def wishes(store: Store, chosen: dict[str, list[str]], studio: Studio) -> dict[str, Wish]:
    """Same reference with two motions, two cameras, with background, and the user's people."""
    held_out = held_out_clips(store)
    first, second = held_out[0], held_out[1]
    films: dict[str, Wish] = {
        "its_own_motion": (first, first, "clip", True),
        "motion_of_another": (first, second, "clip", False),
        "another_person": (second, first, "clip", False),
        "orbit": (first, first, "orbit", False),
        "wave": (second, "wave", "static", False),
    }
    wanted = studio.recipe.clips.num_frames
    labelled = {r.key for r in read_results(store, "quality") if r.status == "kept"}
    for number, clips in enumerate(chosen.values()):
        usable = [c for c in clips if c in labelled and _num_frames(store, c) >= wanted]
        if usable:
            films[f"footage_{number}"] = (usable[0], usable[0], "clip", True)
    return films


def held_out_clips(store: Store) -> list[str]:
    """Synthetic clips that were not trained on, in the order of their ids."""
    found = []
    for clip_id in clip_ids(read_catalogue(store, read_manifest(store, NAME))):
        clip = ClipRecord.from_json(store.read(f"clips/{clip_id}/{shards.CLIP}"))
        split = PackSettings(validation_share=0.15, test_share=0.0).split(clip.source_sha256)
        if clip.source == "synthetic" and split != "train":
            found.append(clip_id)
    if len(found) < 2:
        raise ValueError(f"{NAME} holds {len(found)} held-out clips, two are needed; render more")
    return found


def _tell(book: Notebook, account: Accounting) -> None:
    book.tell(account.summary())


def _tell_metrics(book: Notebook, what: str, numbers: dict[str, Any]) -> None:
    metrics = numbers["metrics"]
    told = [name for name in TOLD_METRICS if name in metrics]
    shown = ", ".join(f"{name} {metrics[name]['mean']:.4g}" for name in told)
    book.tell(f"{what}: {shown}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _start_ns(store: Store, clip_id: str) -> int:
    return ClipRecord.from_json(store.read(f"clips/{clip_id}/{shards.CLIP}")).start_ns


def _num_frames(store: Store, clip_id: str) -> int:
    return ClipRecord.from_json(store.read(f"clips/{clip_id}/{shards.CLIP}")).num_frames


def _log_line(run: Path) -> str:
    return (run / "ORIGIN.txt").read_text().splitlines()[0]
