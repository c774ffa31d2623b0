"""Pages about the data and about a whole run, made from what lies in the store."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from models.body.model import BodyModel
from models.shot import cut_bodies, cut_camera
from models.training.metrics import read_metrics
from pipelines.clip_files import ReadMember, open_clips
from pipelines.page import Figure, Section, Table, metrics_table, picture, render_page, video
from pipelines.review import (
    Frames,
    contact_sheet,
    draw_bodies,
    draw_masks,
    draw_skeletons,
    pick,
    plot_camera_path,
    plot_curves,
)
from pipelines.run import Result, read_results
from pipelines.synthetic.growing_shard import ClipOutcome
from pipelines.synthetic.produce import read_shard_logs
from pipelines.synthetic.scene import SceneSettings, sample_scene
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.mask import MaskTrack
from storage_schemas.store import Store

COLUMNS = 7
SHEET_HEIGHT_PX = 150
SMOOTHING = 25
"""Steps over which a training curve is averaged before it is drawn."""
STAGES = (
    "render", "ingest", "people", "mask", "camera", "background", "points", "body", "quality",
    "check", "review", "pack", "encode",
)  # fmt: skip


def account_table(store: Store) -> Table:
    """Every stage with its inputs and outcomes; the sums add up."""
    rows = []
    for stage in STAGES:
        results = list(read_results(store, stage))
        if results:
            rows.append((stage, str(len(results)), *_outcomes(results)))
    for name, log in sorted(read_shard_logs(store).items()):
        rows.append((f"render to {name}", str(len(log)), *_outcomes(log)))
    header = ("stage", "inputs", "kept", "filtered", "failed")
    return Table(caption="Where every input went", header=header, rows=rows)


def _outcomes(results: Sequence[Result] | Sequence[ClipOutcome]) -> tuple[str, str, str]:
    counts = Counter((result.status, result.reason) for result in results)

    def tell(status: str) -> str:
        reasons = {reason: n for (s, reason), n in counts.items() if s == status}
        listed = ", ".join(f"{reason} {n}" for reason, n in sorted(reasons.items()) if reason)
        return f"{sum(reasons.values())}" + (f" ({listed})" if listed else "")

    return tell("kept"), tell("filtered"), tell("failed")


class ClipView:
    """One labelled clip, as pictures."""

    def __init__(self, read: ReadMember, body: BodyModel) -> None:
        self._read, self._body = read, body
        self.clip = ClipRecord.from_json(self._read(shards.CLIP))
        self.bodies = BodyTracks.from_npz(self._read(shards.BODY))
        self.camera = CameraTrack.from_npz(self._read(shards.CAMERA))
        self.quality = self._optional("quality.json")
        self.caption = str(self._optional("caption.json").get("caption", self.clip.caption))

    def _optional(self, member: str) -> dict[str, Any]:
        try:
            return json.loads(self._read(member))
        except FileNotFoundError:
            return {}

    def sheet(self) -> np.ndarray:
        """Footage, bodies over it, masks over it, and the plate; time from left to right."""
        frames = decode_mp4(self._read(shards.VIDEO))
        chosen = np.linspace(0, len(frames) - 1, min(COLUMNS, len(frames))).round().astype(int)
        bodies, camera = self._at(chosen)
        overlay = draw_bodies(frames[chosen], bodies, camera, self._body)
        mask = MaskTrack.from_npz(self._read(shards.MASK)).instance[chosen]
        plate = decode_mp4(self._read(shards.BACKGROUND))[chosen]
        rows = [
            ("footage", frames[chosen]),
            ("bodies", draw_skeletons(overlay, bodies)),
            ("masks", draw_masks(frames[chosen], mask)),
            ("without people", plate),
        ]
        return contact_sheet(rows, COLUMNS, SHEET_HEIGHT_PX)

    def _at(self, frames: np.ndarray) -> tuple[BodyTracks, CameraTrack]:
        return cut_bodies(self.bodies, frames), cut_camera(self.camera, frames)

    def section(self, title: str) -> Section:
        """The clip as one part of a page."""
        numbers = [(name, f"{value:.4g}") for name, value in sorted(self.quality.items())]
        tables = [Table(caption="Quality", header=("measure", "value"), rows=numbers)]
        clip = self.clip
        text = (
            f"{self.caption}. {clip.num_frames} frames {clip.width}x{clip.height} at {clip.fps:g} "
            f"fps, {len(self.bodies.person_id)} people, camera {self.camera.kind} "
            f"({self.camera.source}), licence {clip.licence}, source {clip.uri}"
        )
        figures = [
            picture("footage, fitted bodies, masks, background", self.sheet()),
            picture("camera and people from above", plot_camera_path(self.camera, self.bodies)),
        ]
        tables = tables if numbers else []
        return Section(title=title, text=text, tables=tables, figures=figures, clip_id=clip.clip_id)


def training_section(title: str, run: Path, text: str, numbers: Mapping[str, Any]) -> Section:
    """Curves of a run, and what an evaluation found."""
    records = list(read_metrics(run / "metrics.jsonl"))
    figures = []
    for name in ("loss", "psnr_db", "figure_loss"):
        if any(name in record for record in records):
            figures.append(picture(f"{name} of {run.name}", curve_picture(run, name)))
    tables = [metrics_table("Evaluation on held-out clips", numbers["metrics"])] if numbers else []
    return Section(title=title, text=text, tables=tables, figures=figures)


def curve_picture(run: Path, name: str) -> np.ndarray:
    """One measured number of a run over its steps.

    Raises:
        ValueError: If the run never wrote it.
    """
    rows = [(r["step"], r[name]) for r in read_metrics(run / "metrics.jsonl") if name in r]
    if not rows:
        raise ValueError(f"run {run} wrote no {name}")
    steps, values = zip(*rows, strict=True)
    return plot_curves([(name, steps, smooth(values))], name)


def rendered_sheet(
    store: Store, seeds: Sequence[int], settings: SceneSettings
) -> np.ndarray | None:
    """The clips of some seeds, a row each; None where none was rendered."""
    rows = []
    for seed in seeds:
        clip_id = sample_scene(seed, settings).clip_id
        key = f"clips/{clip_id}/{shards.VIDEO}"
        if store.exists(key):
            rows.append((f"seed {seed}: {clip_id}", decode_mp4(store.read(key))))
    return contact_sheet(rows, columns=6, height_px=96) if rows else None


def smooth(values: Sequence[float]) -> list[float]:
    """Running mean over `SMOOTHING` values, shorter at the start."""
    sums = np.concatenate([[0.0], np.cumsum(values)])
    ends = np.arange(1, len(values) + 1)
    starts = np.maximum(0, ends - SMOOTHING)
    return ((sums[ends] - sums[starts]) / (ends - starts)).tolist()


def film_figures(name: str, conditions: Frames, fps: float) -> list[Figure]:
    """A generated video beside what it was asked for, playing and as a strip."""
    strip = contact_sheet([(name, pick(conditions, 4))], columns=4, height_px=140)
    return [video(name, conditions, fps), picture(f"{name}, frames in order", strip)]


def write_review(store: Store, out: Path, limit: int, packed: str | None = None) -> tuple[int, int]:
    """A page with a section per labelled clip; returns how many are shown and how many there are.

    Args:
        store: The root.
        out: HTML file.
        limit: Most clips on the page.
        packed: Name of packed shards; None for the clips under `clips/`.

    Raises:
        ValueError: If no clip has labels.
    """
    clips = open_clips(store, packed)
    body = BodyModel.load()
    sections = [_section(clip_id, read, body) for clip_id, read in islice(clips.items(), limit)]
    accounts = Section(title="accounts", tables=[account_table(store)])
    out.parent.mkdir(parents=True, exist_ok=True)
    summary = [
        f"{len(clips)} labelled clips in {store.root}, {len(sections)} shown",
        "j and k go from clip to clip, a accepts, r rejects; then download the decisions and run "
        f"isa4d review --decide decisions.jsonl --root {store.root}",
    ]
    out.write_text(render_page("isa4d review", summary, [accounts, *sections]))
    return len(sections), len(clips)


def _section(clip_id: str, read: ReadMember, body: BodyModel) -> Section:
    try:
        return ClipView(read, body).section(clip_id)
    except ValueError as error:
        raise ValueError(f"clip {clip_id}: {error}; make its labels again") from error
