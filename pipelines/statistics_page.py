"""A page about a corpus of rendered clips: its distributions, beside what the paper states.

Paper: "Interspatial Attention for Efficient 4D Human Video Generation", data section: 100K
synthetic videos, 200 digital humans, motion of CMU and AMASS, 1,000 environment maps, procedural
cameras. It states no distribution, so ours stand alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from einops import repeat
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure as Plot
from PIL import Image

from models.body.model import BodyModel
from pipelines.clip_files import ReadMember, list_members
from pipelines.page import Section, Table, picture, render_page
from pipelines.review import Picture, figure_picture
from pipelines.synthetic.statistics import (
    MAX_COMPARED,
    ClipMeasures,
    PersonMeasures,
    count,
    is_rendered,
    joint_angles_deg,
    measure_clip,
    nearest_pose_deg,
    principal_components,
)

BLUE, ORANGE = "#0072B2", "#D55E00"
JOINTS = {
    "hip": (0, 1), "knee": (3, 4), "ankle": (6, 7), "spine": (2, 5, 8), "neck": (11, 14),
    "shoulder": (15, 16), "elbow": (17, 18), "wrist": (19, 20),
}  # fmt: skip
"""Where body joints stand in `body_pose`."""
SWATCH_PX = 24
MAX_BARS = 14
LEAST_TRAVEL_M = 0.01
LEAST_TURN_DEG = 0.1


@dataclass(frozen=True, kw_only=True)
class Statistics:
    """What was found."""

    numbers: dict[str, int | float]
    page: str
    """HTML with the plots inside."""
    plots: dict[str, Picture]

    def write(self, out: Path) -> None:
        """Write the page, and its plots beside it as PNG files."""
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(self.page)
        for name, plot in self.plots.items():
            Image.fromarray(plot).save(out.with_name(f"{out.stem}_{name}.png"))


def make_statistics(clips: Mapping[str, ReadMember]) -> Statistics:
    """Measure every rendered clip among the given ones.

    Raises:
        ValueError: If there is none, or one lacks labels.
    """
    readers = {clip_id: read for clip_id, read in clips.items() if is_rendered(read)}
    if not readers:
        raise ValueError("no rendered clip to measure; run `isa4d render`")
    found = []
    for clip_id, read in readers.items():
        try:
            found.append(measure_clip(read))
        except (ValueError, FileNotFoundError) as error:
            raise ValueError(f"clip {clip_id}: {error}; render it again") from error
    plots = {name: figure_picture(plot) for name, plot in plot_statistics(found).items()}
    numbers = summarise(found)
    truth = list_members(next(iter(readers.values())))
    beside = Section(title="beside the paper", tables=[compare(found, truth)])
    pages = [
        Section(title=name, figures=[picture(CAPTIONS[name], plot)]) for name, plot in plots.items()
    ]
    summary = [f"{name.replace('_', ' ')}: {value:,}" for name, value in numbers.items()]
    page = render_page("Rendered clips in numbers", summary, [beside, *pages])
    return Statistics(numbers=numbers, page=page, plots=plots)


CAPTIONS = {
    "poses": "Joint angles against the rest pose; poses on their first two principal components; "
    "mean joint angle to the most similar pose of any other clip; variance explained.",
    "bodies": "Shape components, standing height, and the mean colours of the people shown.",
    "cameras": "Programs, travel, turn, lens.",
    "frames": "Height of the silhouette by that of the picture, joints that are hidden, joints "
    "outside the picture, people per clip.",
    "scenes": "Motions, speed of the root, places, lengths.",
}


def summarise(clips: Sequence[ClipMeasures]) -> dict[str, int | float]:
    """The corpus in a few numbers, for machines and asset metadata."""
    people = [person for clip in clips for person in clip.people]
    sizes = np.array([person.height_share for person in people])
    return {
        "clips": len(clips),
        "hours": round(sum(clip.duration_s for clip in clips) / 3600, 4),
        "people": len(people),
        "characters": len({person.character for person in people}),
        "motions": len({person.source for person in people}),
        "environments": len({clip.environment for clip in clips}),
        "camera_programs": len({clip.camera for clip in clips}),
        "height_share_median": round(float(np.median(sizes)), 3),
        "hidden_share_mean": round(float(np.mean([p.hidden_share for p in people])), 3),
        "cut_share_mean": round(float(np.mean([p.cut_share for p in people])), 3),
        "nearest_pose_median_deg": round(float(np.median(_nearest(clips))), 2),
    }


def compare(clips: Sequence[ClipMeasures], truth: Sequence[str]) -> Table:
    """What the paper states of its synthetic data, and what is here.

    Args:
        clips: What is here.
        truth: Names of the labels that come with a clip.
    """
    people = [person for clip in clips for person in clip.people]
    recorded = len({p.source for p in people if p.motion == "mocap"})
    motions = count([person.motion for person in people])
    skies = sum(clip.is_panorama for clip in clips)
    widths, heights = zip(*(clip.size_px for clip in clips), strict=True)
    lengths = [clip.num_frames for clip in clips]
    numbers = summarise(clips)
    rows = [
        ("videos", "100,000", f"{len(clips):,}"),
        ("digital humans", "200", f"{numbers['characters']:,} different"),
        (
            "motion",
            "sampled from CMU and AMASS (number not stated)",
            f"{numbers['motions']:,} different: {recorded} recorded, the others made up "
            f"({', '.join(motions)})",
        ),
        (
            "environments",
            "1,000 environment maps",
            f"{numbers['environments']:,} different, {skies} clips under photographed skies",
        ),
        (
            "cameras",
            "procedural trajectories (kinds not stated)",
            f"{numbers['camera_programs']} kinds of program, see below",
        ),
        (
            "size",
            "several resolutions",
            f"{min(widths)}x{min(heights)} to {max(widths)}x{max(heights)}",
        ),
        ("length", "not stated", f"{min(lengths)} to {max(lengths)} frames"),
        ("truth", "SMPL poses, cameras, backgrounds", ", ".join(truth)),
    ]
    header = ("what", "the paper states", "here")
    return Table(caption="Synthetic data, paper and here", header=header, rows=rows)


def plot_statistics(clips: Sequence[ClipMeasures]) -> dict[str, Plot]:
    """One figure per topic."""
    people = [person for clip in clips for person in clip.people]
    return {
        "poses": _plot_poses(clips),
        "bodies": _plot_bodies(people),
        "cameras": _plot_cameras(clips),
        "frames": _plot_frames(clips),
        "scenes": _plot_scenes(clips),
    }


def _axes(title: str, columns: int) -> tuple[Plot, list[Axes]]:
    plot = Plot(figsize=(3.6 * columns, 3.0), dpi=100, layout="constrained")
    plot.suptitle(title, fontsize=11)
    axes = [plot.add_subplot(1, columns, index + 1) for index in range(columns)]
    for one in axes:
        one.tick_params(labelsize=8)
        one.spines[["top", "right"]].set_visible(False)
    return plot, axes


def _histogram(axes: Axes, values: Sequence[float] | np.ndarray, label: str) -> None:
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    spread = float(np.ptp(known)) if len(known) else 0.0
    axes.hist(known, bins=24, range=None if spread > 0 else (0, 1), color=BLUE)
    axes.set_xlabel(label, fontsize=8)
    if len(known):
        median = float(np.median(known))
        axes.axvline(median, color=ORANGE, linewidth=1)
        axes.set_title(f"median {median:.3g}", fontsize=8, color=ORANGE)


def _bars(axes: Axes, names: Sequence[str], label: str) -> None:
    counted = count(names)
    shown = dict(list(counted.items())[:MAX_BARS])
    rest = sum(counted.values()) - sum(shown.values())
    if rest:
        shown[f"{len(counted) - MAX_BARS} more"] = rest
    axes.barh(list(shown), list(shown.values()), color=BLUE)
    axes.invert_yaxis()
    axes.set_xlabel(label, fontsize=8)


def _poses(clips: Sequence[ClipMeasures]) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Poses, the clip of each, and the motion of each."""
    poses, group, motions = [], [], []
    for index, clip in enumerate(clips):
        for person in clip.people:
            poses.append(person.poses)
            group += [index] * len(person.poses)
            motions += [person.motion] * len(person.poses)
    return np.concatenate(poses), np.array(group), motions


def _nearest(clips: Sequence[ClipMeasures]) -> np.ndarray:
    poses, group, _ = _poses(clips)
    chosen = np.linspace(0, len(poses) - 1, min(MAX_COMPARED, len(poses))).astype(int)
    return nearest_pose_deg(poses[chosen], group[chosen])


def _plot_poses(clips: Sequence[ClipMeasures]) -> Plot:
    poses, _, motions = _poses(clips)
    angles = joint_angles_deg(poses)
    plot, (joints, plane, nearest, variance) = _axes(f"{len(poses)} poses", 4)
    joints.violinplot(
        [angles[:, list(places)].ravel() for places in JOINTS.values()], showmedians=True
    )
    joints.set_xticks(range(1, len(JOINTS) + 1), list(JOINTS), rotation=60)
    joints.set_ylabel("degrees", fontsize=8)
    places, shares = principal_components(poses)
    colours = colormaps["tab20"]
    for index, motion in enumerate(count(motions)):
        own = places[[name == motion for name in motions]]
        plane.scatter(*own.T, s=4, label=motion, color=colours(index % 20))
    plane.legend(fontsize=6, markerscale=2, loc="center left", bbox_to_anchor=(1.0, 0.5))
    plane.set_xlabel("first and second component", fontsize=8)
    _histogram(nearest, _nearest(clips), "degrees to the nearest pose elsewhere")
    variance.plot(np.arange(1, len(shares) + 1), np.cumsum(shares), color=BLUE)
    needed = int(np.searchsorted(np.cumsum(shares), 0.9)) + 1
    variance.set_title(f"{needed} components hold 90 %", fontsize=8, color=ORANGE)
    variance.set_xlabel("components", fontsize=8)
    variance.set_xlim(1, min(60, max(2, len(shares))))
    return plot


def _plot_bodies(people: Sequence[PersonMeasures]) -> Plot:
    plot, (first, second, stature, colours) = _axes(f"{len(people)} people", 4)
    betas = np.stack([person.betas for person in people])
    _histogram(first, betas[:, 0], "shape component 1")
    _histogram(second, betas[:, 1], "shape component 2")
    _histogram(stature, _statures_m(betas), "height standing in the rest pose, m")
    colours.imshow(_swatches(np.stack([person.rgb for person in people])))
    colours.set_axis_off()
    colours.set_title("mean colour of each person", fontsize=8)
    return plot


def _statures_m(betas: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        y = BodyModel.load().shape(torch.as_tensor(betas, dtype=torch.float32)).vertices[..., 1]
    return (y.amax(-1) - y.amin(-1)).numpy()


def _swatches(rgb: np.ndarray) -> Picture:
    """A square of colours, dark to light."""
    known = rgb[np.isfinite(rgb).all(1)]
    known = known[np.argsort(known.sum(1))]
    side = max(1, int(np.ceil(np.sqrt(len(known)))))
    cells = np.full((side * side, 3), 255, np.uint8)
    cells[: len(known)] = known.round()
    return repeat(cells.reshape(side, side, 3), "r c k -> (r h) (c w) k", h=SWATCH_PX, w=SWATCH_PX)


def _plot_cameras(clips: Sequence[ClipMeasures]) -> Plot:
    plot, (kinds, travel, turn, lens) = _axes(f"{len(clips)} cameras", 4)
    _bars(kinds, [clip.camera for clip in clips], "clips")
    moved = [clip.camera_travel_m for clip in clips if clip.camera_travel_m > LEAST_TRAVEL_M]
    turned = [clip.camera_turn_deg for clip in clips if clip.camera_turn_deg > LEAST_TURN_DEG]
    _histogram(travel, moved, f"travel, m, of the {len(moved)} that travel")
    _histogram(turn, turned, f"turn, degrees, of the {len(turned)} that turn")
    _histogram(lens, [clip.fov_deg for clip in clips], "vertical field of view, degrees")
    return plot


def _plot_frames(clips: Sequence[ClipMeasures]) -> Plot:
    people = [person for clip in clips for person in clip.people]
    plot, (size, hidden, cut, together) = _axes("people in the frame", 4)
    _histogram(size, [p.height_share for p in people], "height by picture height")
    for axes, shares, what in (
        (hidden, [p.hidden_share for p in people], "hidden joints"),
        (cut, [p.cut_share for p in people], "joints outside the picture"),
    ):
        some = [share for share in shares if share > 0]
        _histogram(axes, some, f"{what}, of the {len(some)} people with any")
    _bars(together, [str(len(clip.people)) for clip in clips], "clips with so many people")
    return plot


def _plot_scenes(clips: Sequence[ClipMeasures]) -> Plot:
    people = [person for clip in clips for person in clip.people]
    plot, (motions, speed, places, length) = _axes("what happens where", 4)
    _bars(motions, [person.motion for person in people], "people")
    _histogram(speed, [person.speed_m_s for person in people], "speed of the root, m/s")
    _bars(places, [clip.place for clip in clips], "clips")
    _histogram(length, [clip.duration_s for clip in clips], "length, s")
    return plot
