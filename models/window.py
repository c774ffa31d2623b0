"""Which frames and which square of a clip become a training sample, and the camera after that.

Pixel positions follow the house: the image spans [0, W] x [0, H], so a crop at (x0, y0) that is
resized by s moves a position p to (p - p0) * s.
"""

import json
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, UInt8
from torch import Tensor

from models.geometry import crop_resize_intrinsics
from storage_schemas.body import BodyTracks
from storage_schemas.clip import ClipRecord

BODY_MARGIN = 0.12
"""Joints end at ankles, wrists and head joint: the figure reaches this much of its size beyond."""
SMALLEST_CROP_PX = 16


@dataclass(frozen=True, kw_only=True)
class ClipSettings:
    """What a sample looks like; the same settings serve training, encoding and evaluation."""

    num_frames: int = 17
    """1 + 4k frames, as the causal VAE wants."""
    size_px: int = 64
    """Side of the square that clips are resized to."""
    fps: float | int | None = None
    """Wanted frame rate, reached by skipping frames; None keeps every frame."""
    crop: Literal["people", "centre"] = "people"
    """`people`: a square around everybody visible in the window; `centre`: the largest one."""
    people_fill: float = 0.85
    """Share of the crop's side that the people's box takes."""
    num_points: int = 0
    """Surface points per person; 0 poses no body."""
    max_people: int = 2
    with_background: bool = True
    with_latents: bool = False
    """Take the clip from latent side-car shards and decode no video."""

    def __post_init__(self) -> None:
        """Validate."""
        if self.num_frames < 1 or self.num_frames % 4 != 1:
            raise ValueError(f"num_frames must be 1 + 4k, got {self.num_frames}")
        if self.size_px < 8:
            raise ValueError(f"size_px must be at least 8, got {self.size_px}")
        if not 0 < self.people_fill <= 1:
            raise ValueError(f"people_fill must lie in (0, 1], got {self.people_fill}")
        if self.max_people < 1 or self.num_points < 0:
            raise ValueError(
                f"max_people must be >= 1 and num_points >= 0, "
                f"got {self.max_people} and {self.num_points}"
            )


@dataclass(frozen=True, kw_only=True)
class Window:
    """Frames `start, start + stride, ...` and the square that is resized to `size_px`."""

    start: int
    stride: int
    num_frames: int
    x0_px: int
    y0_px: int
    side_px: int
    size_px: int

    @property
    def stop(self) -> int:
        """First frame after the window."""
        return self.start + (self.num_frames - 1) * self.stride + 1

    @property
    def frames(self) -> slice:
        """The window's frames, to index arrays of the clip."""
        return slice(self.start, self.stop, self.stride)

    @property
    def scale(self) -> float:
        """Pixels of the sample per pixel of the clip."""
        return self.size_px / self.side_px

    def to_json(self) -> str:
        """Text for the latent record."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Window":
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the text is no window.
        """
        try:
            return cls(**json.loads(text))
        except (TypeError, ValueError) as error:
            raise ValueError(f"not a window: {text!r}; encode the latents again") from error


def choose_window(
    clip: ClipRecord, body: BodyTracks | None, settings: ClipSettings, rng: np.random.Generator
) -> Window:
    """Draw the frames of one sample and place its crop around the people in them.

    Raises:
        ValueError: If the clip is shorter than the window.
    """
    wanted = settings.num_frames
    if clip.num_frames < wanted:
        raise ValueError(f"clip has {clip.num_frames} frames, the window wants {wanted}")
    stride = 1 if settings.fps is None else max(1, round(clip.fps / settings.fps))
    if wanted > 1:
        stride = min(stride, (clip.num_frames - 1) // (wanted - 1))
    starts = np.arange(clip.num_frames - (wanted - 1) * stride)
    if body is not None and len(body.person_id):
        seen = body.visible.any(0)
        counts = sum(seen[starts + i * stride].astype(int) for i in range(wanted))
        peopled = starts[2 * np.asarray(counts) >= wanted]
        starts = peopled if len(peopled) else starts
    start = int(starts[rng.integers(len(starts))])
    frames = slice(start, start + (wanted - 1) * stride + 1, stride)
    box_px = people_box(body, frames, clip) if settings.crop == "people" else None
    x0, y0, side = place_crop(box_px, clip.width, clip.height, settings.people_fill)
    return Window(
        start=start, stride=stride, num_frames=wanted,
        x0_px=x0, y0_px=y0, side_px=side, size_px=settings.size_px,
    )  # fmt: skip


def people_box(
    body: BodyTracks | None, frames: slice, clip: ClipRecord
) -> tuple[float, float, float, float] | None:
    """Left, top, right, bottom in pixels around everybody visible; None when nobody is."""
    if body is None:
        return None
    joints_px = body.joints_px[:, frames][body.visible[:, frames]]
    if not len(joints_px):
        return None
    extent = np.array([clip.width, clip.height], np.float64)
    points = rearrange(joints_px.astype(np.float64), "views joints xy -> (views joints) xy")
    points = np.clip(points, 0, extent)
    low, high = points.min(0), points.max(0)
    margin = BODY_MARGIN * float((high - low).max())
    low, high = np.clip(low - margin, 0, extent), np.clip(high + margin, 0, extent)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def place_crop(
    box_px: tuple[float, float, float, float] | None, width: int, height: int, fill: float
) -> tuple[int, int, int]:
    """Corner and side in whole pixels of the square, inside the image, around the box."""
    largest = min(width, height)
    left, top, right, bottom = box_px or (0.0, 0.0, float(width), float(height))
    side = round(max(right - left, bottom - top) / (fill if box_px else 1.0))
    side = min(largest, max(min(SMALLEST_CROP_PX, largest), side))
    x0 = min(max(round((left + right - side) / 2), 0), width - side)
    y0 = min(max(round((top + bottom - side) / 2), 0), height - side)
    return x0, y0, side


def crop_video(
    frames: UInt8[np.ndarray, "t height width 3"], window: Window
) -> UInt8[Tensor, "3 t h w"]:
    """Cut and resize the window's frames; antialiased, pixel centres at half-integers."""
    cut = _cut(frames, window)
    channels = rearrange(torch.from_numpy(cut), "t h w c -> t c h w")
    size = (window.size_px, window.size_px)
    resized = F.interpolate(channels, size, mode="bilinear", antialias=True, align_corners=False)
    return rearrange(resized, "t c h w -> c t h w").contiguous()


def crop_labels(
    labels: UInt8[np.ndarray, "t height width"], window: Window
) -> UInt8[Tensor, "t h w"]:
    """Cut and resize label maps: each sample pixel takes the label at its centre."""
    cut = _cut(labels, window)
    at = ((np.arange(window.size_px) + 0.5) / window.scale).astype(np.int64)
    return torch.from_numpy(np.ascontiguousarray(cut[:, at][:, :, at]))


def crop_camera(K: Float[Tensor, "t 3 3"], window: Window) -> Float[Tensor, "t 3 3"]:
    """Intrinsics of the sample."""
    return crop_resize_intrinsics(K, float(window.x0_px), float(window.y0_px), window.scale)


def _cut(frames: np.ndarray, window: Window) -> np.ndarray:
    rows = slice(window.y0_px, window.y0_px + window.side_px)
    columns = slice(window.x0_px, window.x0_px + window.side_px)
    cut = frames[:, rows, columns]
    if cut.shape[:3] != (window.num_frames, window.side_px, window.side_px):
        raise ValueError(f"frames {frames.shape} do not hold the window {window.to_json()}")
    return np.ascontiguousarray(cut)
