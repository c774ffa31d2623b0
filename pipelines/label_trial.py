"""The whole chain of labels on clips rendered for it, against their truth: one command.

`python -m pipelines.label_trial OUT --count 50 --seed S --mocap DIR` renders people who move as
the recordings in DIR, makes movies of them, ingests and annotates those from their pixels, and
writes labels.json and labels.html into OUT. A killed trial goes on where it was.
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure as Plot

from models.body.model import BodyModel
from pipelines.annotate.clip import LADDER_FACTS, QUALITY, ClipFolder, annotate_clips
from pipelines.annotate.quality import overall_score
from pipelines.evaluate_labels import ClipLabels, evaluate_clip, summarise
from pipelines.ingest.stage import IngestSettings, ingest
from pipelines.page import Section, Table, metrics_table, picture, render_page
from pipelines.review import figure_picture
from pipelines.run import read_results
from pipelines.synthetic.produce import RenderSettings, draw_scenes, render_clips
from pipelines.synthetic.scene import SceneSettings
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack
from storage_schemas.store import Store

CAMERAS = ("static", "pan", "orbit", "truck", "dolly", "crane", "follow", "hand_held")
SHOWN = (
    "pa_mpjpe_mm", "mpjpe_mm", "root_error_mm", "person_recall", "id_switches", "mask_iou",
    "plate_psnr_db", "camera_rotation_deg", "camera_ate_pct", "focal_error_pct", "within_1_sigma",
    "within_2_sigma",
)  # fmt: skip
UNFILTERED = IngestSettings(
    min_clip_s=0.3,
    min_motion=0.0,
    max_sweep=math.inf,
    max_blur=math.inf,
    max_text_share=math.inf,
)
"""Every rendered clip is judged; which footage is worth keeping is another question."""
SCORE_FLOORS = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7)


@dataclass(frozen=True, kw_only=True)
class TrialClip:
    """One rendered clip and what became of it."""

    true_id: str
    found_id: str | None
    """None where the chain left it out."""
    facts: Mapping[str, str | int]
    """Seed, people, motions, camera."""
    errors: Mapping[str, float]
    quality: Mapping[str, float]


def run_trial(root: Path, seeds: Sequence[int], scenes: SceneSettings) -> list[TrialClip]:
    """Render, ingest and annotate; what is in `root` already is not done again."""
    store, body = Store(root), BodyModel.load()
    render_clips(store, seeds, scenes)
    kept = {result.key for result in read_results(store, "render") if result.status == "kept"}
    specs = [draw_scenes(seed, scenes, RenderSettings())[0] for seed in seeds]
    specs = [spec for spec in specs if spec.clip_id in kept]
    movies = [root / "movies" / f"{spec.clip_id}.mp4" for spec in specs]
    for movie in movies:
        movie.parent.mkdir(exist_ok=True)
        movie.write_bytes(store.read(f"clips/{movie.stem}/{shards.VIDEO}"))
    ingest(movies, store, replace(UNFILTERED, fps=scenes.fps))
    found: dict[str, str] = {}
    for result in read_results(store, "ingest"):
        for key in result.outputs:
            if key.endswith(f"/{shards.CLIP}"):
                clip_id = key.split("/")[1]
                found[Path(ClipFolder(store=store, clip_id=clip_id).clip.uri).stem] = clip_id
    found = {spec.clip_id: found[spec.clip_id] for spec in specs if spec.clip_id in found}
    annotate_clips(store, sorted(found.values()))
    done = {result.key for result in read_results(store, "quality") if result.status == "kept"}
    clips = []
    for spec in specs:
        clip_id = found.get(spec.clip_id)
        is_done = clip_id is not None and clip_id in done
        truth = read_labels(store, spec.clip_id)
        facts = {
            "seed": spec.seed,
            "people": len(spec.people),
            "motion": ", ".join(p.file.file.name if p.file else p.motion for p in spec.people),
            "camera": truth.camera.kind,
        }
        errors, quality = {"person_recall": 0.0}, {}
        if clip_id is not None and is_done:
            labels = read_labels(store, clip_id)
            facts["found camera"] = labels.camera.kind
            errors = evaluate_clip(labels, truth, body)
            folder = ClipFolder(store=store, clip_id=clip_id)
            quality = json.loads(folder.read(QUALITY)) | _ladder(folder)
        clips.append(
            TrialClip(
                true_id=spec.clip_id,
                found_id=clip_id if is_done else None,
                facts=facts,
                errors=errors,
                quality=quality,
            )
        )
    return clips


def _ladder(folder: ClipFolder) -> dict[str, float]:
    facts = json.loads(folder.read(LADDER_FACTS))
    return {f"ladder_{name}": float(value) for name, value in facts.items()}


def read_labels(store: Store, clip_id: str) -> ClipLabels:
    """What is known about a clip, found or rendered."""
    folder = ClipFolder(store=store, clip_id=clip_id)
    return ClipLabels(
        bodies=BodyTracks.from_npz(folder.read(shards.BODY)),
        camera=CameraTrack.from_npz(folder.read(shards.CAMERA)),
        masks=MaskTrack.from_npz(folder.read(shards.MASK)),
        plate=decode_mp4(folder.read(shards.BACKGROUND)),
        plate_valid=BackgroundValid.from_npz(folder.read(shards.BACKGROUND_VALID)).valid,
    )


def report(clips: Sequence[TrialClip], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Numbers over all clips, by number of people, and of every clip."""
    body = BodyModel.load()
    result = summarise([clip.errors for clip in clips], body)
    result["settings"] |= dict(settings)
    result["settings"]["left_out"] = sum(clip.found_id is None for clip in clips)
    result["by_people"] = {
        str(count): summarise([c.errors for c in clips if c.facts["people"] == count], body)[
            "metrics"
        ]
        for count in sorted({int(clip.facts["people"]) for clip in clips})
    }
    result["by_score"] = score_table(clips)
    result["clips"] = [
        {"clip": c.true_id, **c.facts, **c.errors, "quality": dict(c.quality)} for c in clips
    ]
    return result


def score_table(clips: Sequence[TrialClip]) -> list[dict[str, float]]:
    """What is kept, and how good it is, when clips below a quality score are left out."""
    rows = []
    scored = [(overall_score(dict(c.quality)), c.errors["pa_mpjpe_mm"]) for c in clips
              if "pa_mpjpe_mm" in c.errors]  # fmt: skip
    for floor in SCORE_FLOORS:
        kept = [error for score, error in scored if score >= floor]
        if kept:
            rows.append(
                {
                    "score_at_least": floor,
                    "kept": len(kept) / len(scored),
                    "pa_mpjpe_mm": float(np.mean(kept)),
                    "worst_pa_mpjpe_mm": float(np.max(kept)),
                }
            )
    return rows


def page(result: Mapping[str, Any]) -> str:
    """The report for people."""
    clips: list[dict[str, Any]] = result["clips"]
    names = [name for name in SHOWN if any(name in clip for clip in clips)]
    header = ("seed", "people", "motion", "camera", "found", *names)
    rows = [
        [str(c["seed"]), str(c["people"]), str(c["motion"]), str(c["camera"]),
         str(c.get("found camera", "left out")), *(_told(c.get(name)) for name in names)]
        for c in clips
    ]  # fmt: skip
    tables = [metrics_table("all clips", result["metrics"])]
    tables += [metrics_table(f"{n} people", m) for n, m in result["by_people"].items()]
    floors = [[_told(value) for value in row.values()] for row in result["by_score"]]
    kept = Table(
        caption="clips whose score reaches a floor",
        header=list(result["by_score"][0]) if result["by_score"] else (),
        rows=floors,
    )
    plot = picture("quality score and its parts against true error", plot_quality(clips))
    summary = [f"{name}: {value}" for name, value in result["settings"].items()]
    sections = [
        Section(title="Errors", tables=tables),
        Section(title="What the quality score tells", tables=[kept], figures=[plot]),
        Section(title="Clips", tables=[Table(caption="every clip", header=header, rows=rows)]),
    ]
    return render_page("Labels against truth", summary, sections)


def plot_quality(clips: Sequence[Mapping[str, Any]]) -> np.ndarray:
    """True pose error over the score and over each of its parts, one dot per clip."""
    shown = [c for c in clips if "pa_mpjpe_mm" in c]
    names = ["overall", *sorted({n for c in shown for n in c["quality"]} - {"overall"})]
    columns = 4
    lines = max(1, -(-len(names) // columns))
    plot = Plot(figsize=(4 * columns, 3 * lines), layout="constrained")
    for i, name in enumerate(names):
        axes = plot.add_subplot(lines, columns, i + 1)
        pairs = np.array(
            [(c["quality"][name], c["pa_mpjpe_mm"]) for c in shown if name in c["quality"]]
        ).reshape(-1, 2)
        axes.plot(pairs[:, 0], pairs[:, 1], "o", color="#0072B2", markersize=4)
        rank = spearman(pairs[:, 0], pairs[:, 1])
        axes.set_title(f"{name} (rank correlation {rank:+.2f})", fontsize=9)
        axes.set_ylabel("PA-MPJPE mm", fontsize=8)
    return figure_picture(plot)


def spearman(a: np.ndarray, b: np.ndarray) -> float:
    """Correlation of ranks; 0 where one of them is constant."""
    ranks = [np.unique(values, return_inverse=True)[1].astype(float) for values in (a, b)]
    if len(a) < 2 or min(np.std(r) for r in ranks) == 0:
        return 0.0
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def _told(value: Any) -> str:
    return "" if value is None else f"{value:.3g}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The program; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.label_trial", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the report and of the work")
    parser.add_argument("--count", type=int, default=50, help="clips")
    parser.add_argument("--seed", type=int, default=0, help="of the first")
    parser.add_argument("--frames", type=int, default=21, help="of each clip")
    parser.add_argument("--size", type=int, default=256, help="side in pixels")
    parser.add_argument("--people", type=int, default=3, help="most people in a clip")
    parser.add_argument("--mocap", type=Path, help="folder of motions; default: procedural ones")
    options = parser.parse_args(arguments)
    scenes = SceneSettings(
        width=options.size, height=options.size, num_frames=options.frames,
        num_people=(1, options.people), camera_kinds=CAMERAS, framing="fill",
    )  # fmt: skip
    if options.mocap:
        scenes = replace(scenes, mocap_folder=options.mocap, motion_kinds=("mocap",))
    seeds = range(options.seed, options.seed + options.count)
    clips = run_trial(options.out / "work", seeds, scenes)
    settings = {
        name: str(value) if isinstance(value, Path) else value
        for name, value in vars(options).items()
    }
    result = report(clips, settings)
    (options.out / "labels.json").write_text(json.dumps(result, indent=1))
    (options.out / "labels.html").write_text(page(result))
    for name, value in result["metrics"].items():
        sys.stdout.write(f"{name}: {value['mean']:.4g} +- {value['std']:.3g} (n {value['n']})\n")
    left = result["settings"]["left_out"]
    sys.stdout.write(f"{len(clips)} clips, {left} left out; {options.out / 'labels.html'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
