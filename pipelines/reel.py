"""A short film of rendered clips: the picture beside every label that comes with it.

Each clip plays once, its panels in two rows. A label that a clip lacks leaves out its panel.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import islice

import cv2
import numpy as np
from einops import rearrange, repeat

from pipelines.clip_files import ReadMember
from pipelines.review import (
    Frames,
    Picture,
    draw_depth,
    draw_flow,
    draw_masks,
    draw_normals,
    draw_points,
    draw_skeletons,
    label,
)
from pipelines.video_io import decode_mp4, encode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.clip import ClipRecord
from storage_schemas.depth import DepthTrack
from storage_schemas.flow import FlowTrack
from storage_schemas.mask import MaskTrack
from storage_schemas.normal import NormalTrack
from storage_schemas.points import PointTracks

CELL_PX = (216, 216)
"""Height and width of a panel, without its title."""
ROWS = 2
BACKDROP = 30

Panel = Callable[[ReadMember, Frames], Frames]
"""Members of a clip and its frames -> the frames of a panel."""


def _skeletons(read: ReadMember, frames: Frames) -> Frames:
    bodies = BodyTracks.from_npz(read(shards.BODY))
    times = max(1, 2 * CELL_PX[0] // frames.shape[1])  # lines stay fine on small pictures
    large = repeat(frames, "t h w c -> t (h a) (w b) c", a=times, b=times)
    return draw_skeletons(large, replace(bodies, joints_px=bodies.joints_px * times))


def _masks(read: ReadMember, frames: Frames) -> Frames:
    return draw_masks(frames, MaskTrack.from_npz(read(shards.MASK)).instance)


def _plate(read: ReadMember, frames: Frames) -> Frames:
    return decode_mp4(read(shards.BACKGROUND))


def _depth(read: ReadMember, frames: Frames) -> Frames:
    return draw_depth(DepthTrack.from_npz(read(shards.DEPTH)).depth_m)


def _normals(read: ReadMember, frames: Frames) -> Frames:
    return draw_normals(NormalTrack.from_npz(read(shards.NORMAL)).unit)


def _flow(read: ReadMember, frames: Frames) -> Frames:
    flow = FlowTrack.from_npz(read(shards.FLOW))
    return draw_flow(flow.forward_px[:-1], flow.forward_occluded[:-1])  # the last goes nowhere


def _points(read: ReadMember, frames: Frames) -> Frames:
    tracks = PointTracks.from_npz(read(shards.POINTS))
    return draw_points(frames, tracks.xy_px, tracks.visible)


PANELS: Mapping[str, Panel] = {
    "picture": lambda read, frames: frames,
    "skeleton": _skeletons,
    "masks": _masks,
    "without people": _plate,
    "depth": _depth,
    "normals": _normals,
    "flow": _flow,
    "points": _points,
}


def clip_panels(read: ReadMember) -> dict[str, Frames]:
    """Panel title -> frames, of every label that the clip has."""
    frames = decode_mp4(read(shards.VIDEO))
    panels = {}
    for title, draw in PANELS.items():
        with suppress(FileNotFoundError):
            panels[title] = draw(read, frames)
    return {title: shown for title, shown in panels.items() if len(shown)}


def reel_frames(clips: Iterable[ReadMember], titles: Iterable[str]) -> Iterator[Picture]:
    """Frame after frame of clip after clip, each a grid of the named panels."""
    titles = list(titles)
    for read in clips:
        panels = clip_panels(read)
        caption = ClipRecord.from_json(read(shards.CLIP)).caption
        for index in range(len(panels["picture"])):
            cells = [_cell(title, panels, index) for title in titles]
            cells += [np.full_like(cells[0], BACKDROP)] * (-len(cells) % ROWS)
            grid = rearrange(np.stack(cells), "(r c) h w k -> (r h) (c w) k", r=ROWS)
            yield _even(label(grid, caption))


def _cell(title: str, panels: Mapping[str, Frames], index: int) -> Picture:
    """One panel, as large as fits, in the middle of its cell."""
    height, width = CELL_PX
    cell = np.full((height, width, 3), BACKDROP, np.uint8)
    if title in panels:
        frame = panels[title][min(index, len(panels[title]) - 1)]
        scale = min(height / frame.shape[0], width / frame.shape[1])
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        shown = cv2.resize(frame, size, interpolation=way)
        top, left = (height - size[1]) // 2, (width - size[0]) // 2
        cell[top : top + size[1], left : left + size[0]] = shown
    return label(cell, title)


def _even(picture: Picture) -> Picture:
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


@dataclass(frozen=True, kw_only=True)
class Reel:
    """The film of some clips."""

    mp4: bytes
    poster: Picture
    """The middle of the first clip."""
    num_clips: int


def make_reel(clips: Mapping[str, ReadMember], limit: int = 8) -> Reel:
    """Film the first clips, at the frame rate of the first."""
    readers = list(islice(clips.values(), limit))
    first = clip_panels(readers[0])
    titles = [title for title in PANELS if title in first]
    fps = ClipRecord.from_json(readers[0](shards.CLIP)).fps
    mp4 = encode_mp4(reel_frames(readers, titles), fps, crf=20)
    middle = len(first["picture"]) // 2
    return Reel(mp4=mp4, poster=decode_mp4(mp4, middle, middle + 1)[0], num_clips=len(readers))
