"""Masks by the SAM2 video predictor with weights at a path, in memory that does not grow.

The package loads a whole video and remembers every frame of every object. Here frames are
normalised when they are asked for, what the network attends to no more is dropped, and a long
clip is worked in chunks that overlap. People keep their numbers: each chunk is seeded from the
tracks, and who is not seen in it from the mask that the chunk before ended with.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
import sam2
import torch
from hydra.utils import instantiate
from jaxtyping import Bool, Float, UInt8
from omegaconf import OmegaConf
from sam2 import sam2_video_predictor
from torch import Tensor

from pipelines.annotate.backends.torch_file import read_torch_file
from pipelines.annotate.people import PersonTrack
from storage_schemas.mask import MaskTrack

CHUNK = 120
"""Frames that are propagated at once: errors do not live longer."""
OVERLAP = 16
SEEDS = 3
"""Frames per person and chunk from which a mask starts."""
SURE = 0.6
"""Keypoints at least this sure are clicks."""
CLICKS = (11, 12, 23, 24, 25, 26)
"""Shoulders, hips, knees: well inside the outline."""
SIZES = {(96, 12): "t", (96, 16): "s", (112, 24): "b+", (144, 48): "l"}
"""(width, blocks) of the published image encoders."""
IMAGE_MEAN = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
IMAGE_STD = torch.tensor([0.229, 0.224, 0.225])[:, None, None]


class LazyFrames:
    """Frames as the network takes them, each made when it is asked for."""

    def __init__(self, frames: UInt8[np.ndarray, "frames height width 3"], side_px: int) -> None:
        self.frames, self.side_px = frames, side_px

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> Float[Tensor, "3 side side"]:
        frame = cv2.resize(
            self.frames[index], (self.side_px, self.side_px), interpolation=cv2.INTER_AREA
        )
        pixels = torch.from_numpy(frame).permute(2, 0, 1).float() / 255
        return (pixels - IMAGE_MEAN) / IMAGE_STD


def _load_frames(video_path: np.ndarray, image_size: int, **_: Any) -> tuple[LazyFrames, int, int]:
    height, width = video_path.shape[1:3]
    return LazyFrames(video_path, image_size), height, width


# The package takes a file or a folder of jpgs and loads all of it; its bars would mix with ours.
sam2_video_predictor.load_video_frames = _load_frames
sam2_video_predictor.tqdm = lambda frames, **_: frames


@dataclass(frozen=True, kw_only=True, slots=True)
class Seed:
    """Where one person is in one frame: a box with clicks, or a whole mask."""

    person: int
    frame: int
    """Within the chunk."""
    box_px: Float[np.ndarray, "4"] | None = None
    clicks_px: Float[np.ndarray, "clicks 2"] | None = None
    mask: Bool[np.ndarray, "height width"] | None = None


@runtime_checkable
class Propagator(Protocol):
    """Follows the seeded people through the frames of one chunk."""

    def __call__(
        self, frames: UInt8[np.ndarray, "frames height width 3"], seeds: Sequence[Seed]
    ) -> UInt8[np.ndarray, "frames height width"]:
        """Number of the person who owns each pixel, plus 1; 0 for nobody."""
        ...


def build_masks_sam2(
    tracks: Sequence[PersonTrack],
    frames: UInt8[np.ndarray, "frames height width 3"],
    propagate: Propagator,
    chunk: int = CHUNK,
    overlap: int = OVERLAP,
) -> MaskTrack:
    """Give every pixel to at most one person; person i of `tracks` has label i + 1."""
    instance = np.zeros(frames.shape[:3], np.uint8)
    for start in chunk_starts(len(frames), chunk, overlap):
        end = min(start + chunk, len(frames))
        seeds = seeds_from_tracks(tracks, start, end)
        seeded = {seed.person for seed in seeds}
        seeds += [seed for seed in carried(instance[start]) if seed.person not in seeded]
        if not seeds:
            continue
        found = propagate(frames[start:end], seeds)
        # the chunk before knows the first half of the overlap, this one the second
        taken = overlap // 2 if start else 0
        instance[start + taken : end] = found[taken:]
    return MaskTrack(instance=instance)


def chunk_starts(num_frames: int, chunk: int, overlap: int) -> list[int]:
    """First frames of chunks that cover a clip, neighbours sharing `overlap` frames."""
    if not 0 <= overlap < chunk:
        raise ValueError(f"overlap must lie in 0..{chunk - 1}, got {overlap}")
    return list(range(0, max(num_frames - overlap, 1), chunk - overlap))


def seeds_from_tracks(tracks: Sequence[PersonTrack], start: int, end: int) -> list[Seed]:
    """The surest frames of every person in [start, end), one per part of the chunk."""
    seeds: list[Seed] = []
    for person, track in enumerate(tracks):
        trust = np.where(track.visible, track.keypoint_confidence.mean(axis=1), 0)[start:end]
        for other in tracks:  # where two boxes meet, a box says little
            if other is not track:
                both = track.visible[start:end] & other.visible[start:end]
                trust *= 1 - both * _box_overlap(track.box_px[start:end], other.box_px[start:end])
        for part in np.array_split(np.arange(end - start), SEEDS):
            if len(part) and trust[part].max() > 0:
                t = int(part[trust[part].argmax()])
                sure = track.keypoint_confidence[start + t, CLICKS] > SURE
                seeds.append(
                    Seed(
                        person=person,
                        frame=t,
                        box_px=track.box_px[start + t].astype(float),
                        clicks_px=track.keypoints_px[start + t, CLICKS][sure].astype(float),
                    )
                )
    return seeds


def carried(instance: UInt8[np.ndarray, "height width"]) -> list[Seed]:
    """Masks that the chunk before left in the first frame of this one."""
    return [
        Seed(person=int(label) - 1, frame=0, mask=instance == label)
        for label in np.unique(instance)
        if label > 0
    ]


def _box_overlap(
    a: Float[np.ndarray, "frames 4"], b: Float[np.ndarray, "frames 4"]
) -> Float[np.ndarray, "frames"]:
    """Part of box a inside box b, 0..1."""
    low, high = np.maximum(a[:, :2], b[:, :2]), np.minimum(a[:, 2:], b[:, 2:])
    area = np.prod(np.maximum(a[:, 2:] - a[:, :2], 1e-6), axis=1)
    return np.clip(np.prod(np.maximum(high - low, 0), axis=1) / area, 0, 1)


class Sam2Propagator:
    """The SAM2 network, built once; one state at a time."""

    def __init__(self, weights: Path, device: str | None = None) -> None:
        """Load a checkpoint in Meta's format, `{"model": state_dict}`.

        Args:
            weights: File; a `.yaml` of the same name beside it says the architecture, otherwise
                it must be one of the eight published ones.
            device: Default: the GPU if there is one.

        Raises:
            ValueError: If the file holds no SAM2 network, or one that its plan does not fit.
        """
        self.device = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
        content = read_torch_file(weights)
        state = content.get("model") if isinstance(content, dict) else None
        if not isinstance(state, dict):
            raise ValueError(f'{weights} holds no {{"model": ...}}; expected a checkpoint of SAM2')
        try:
            self.predictor: Any = build_predictor(weights, state)
            self.predictor.load_state_dict(state)
        except (RuntimeError, KeyError, TypeError) as error:
            raise ValueError(f"{weights} does not fit its architecture: {error}") from error
        self.predictor = self.predictor.to(self.device).eval().requires_grad_(False)
        self.memory = max(self.predictor.num_maskmem, self.predictor.max_obj_ptrs_in_encoder)

    @torch.inference_mode()
    def __call__(
        self, frames: UInt8[np.ndarray, "frames height width 3"], seeds: Sequence[Seed]
    ) -> UInt8[np.ndarray, "frames height width"]:
        """Follow people forward from the start and backward from where each was first seeded."""
        people = sorted({seed.person for seed in seeds})
        first = {p: min(s.frame for s in seeds if s.person == p) for p in people}
        is_gpu = self.device.type == "cuda"
        result = np.zeros(frames.shape[:3], np.uint8)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=is_gpu):
            state = self.predictor.init_state(frames)
            for seed in seeds:
                self._add(state, seed)
            for t, logits in self._run(state, min(first.values()), reverse=False):
                result[t] = _owners(logits, [p if first[p] <= t else None for p in people])
            latest = max(first.values())
            if latest > 0:
                for t, logits in self._run(state, latest, reverse=True):
                    late = _owners(logits, [p if first[p] > t else None for p in people])
                    result[t] = np.where(result[t] > 0, result[t], late)
            self.predictor.reset_state(state)
        return result

    def _add(self, state: dict[str, Any], seed: Seed) -> None:
        if seed.mask is not None:
            self.predictor.add_new_mask(state, seed.frame, seed.person, seed.mask)
            return
        points = np.zeros((0, 2)) if seed.clicks_px is None else seed.clicks_px
        self.predictor.add_new_points_or_box(
            state, seed.frame, seed.person, points=points.astype(np.float32),
            labels=np.ones(len(points), np.int32), box=seed.box_px,
        )  # fmt: skip

    def _run(
        self, state: dict[str, Any], start: int, *, reverse: bool
    ) -> Iterator[tuple[int, Float[Tensor, "people height width"]]]:
        """Propagate, and forget what lies too far back to be attended to."""
        memories = state["output_dict_per_obj"].values()
        for memory in memories:
            memory["non_cond_frame_outputs"].clear()
        self.predictor.propagate_in_video_preflight(state)
        for memory in memories:
            for output in memory["cond_frame_outputs"].values():
                self._widen(output)
        rows = sorted(state["obj_idx_to_id"], key=state["obj_idx_to_id"].__getitem__)
        steps = self.predictor.propagate_in_video(state, start_frame_idx=start, reverse=reverse)
        for t, _, logits in steps:
            yield t, logits[rows, 0]
            gone = t + self.memory if reverse else t - self.memory
            for memory in memories:
                memory["non_cond_frame_outputs"].pop(gone, None)
                if t in memory["non_cond_frame_outputs"]:
                    self._widen(memory["non_cond_frame_outputs"][t])

    def _widen(self, output: dict[str, Any]) -> None:
        """The package stores memory in half precision, which fails without autocast."""
        if self.device.type == "cpu":
            output["maskmem_features"] = output["maskmem_features"].float()


def _owners(
    logits: Float[Tensor, "people height width"], labels: Sequence[int | None]
) -> UInt8[np.ndarray, "height width"]:
    """Label + 1 of the surest person of each pixel; people without a label take no part."""
    rows = [row for row, label in enumerate(labels) if label is not None]
    if not rows:
        return np.zeros(logits.shape[1:], np.uint8)
    value, best = logits[rows].float().max(dim=0)
    names = torch.tensor([(labels[row] or 0) + 1 for row in rows], dtype=torch.uint8)
    return torch.where(value.cpu() > 0, names[best.cpu()], 0).to(torch.uint8).numpy()


def build_predictor(weights: Path, state: Mapping[str, Tensor]) -> Any:
    """The predictor with random weights; from our own plan file or a published one."""
    plan_path = weights.with_suffix(".yaml")
    if not plan_path.is_file():
        plan_path = _published_plan(weights, state)
    plan = OmegaConf.load(plan_path)
    _check_targets(OmegaConf.to_container(plan, resolve=False), plan_path)
    extras = {
        "_target_": "sam2.sam2_video_predictor.SAM2VideoPredictor",
        "binarize_mask_from_pts_for_mem_enc": True,
        "sam_mask_decoder_extra_args": {  # what the package adds for videos
            "dynamic_multimask_via_stability": True,
            "dynamic_multimask_stability_delta": 0.05,
            "dynamic_multimask_stability_thresh": 0.98,
        },
    }
    return instantiate(OmegaConf.merge(plan.model, extras), _recursive_=True)


def _published_plan(weights: Path, state: Mapping[str, Tensor]) -> Path:
    stem = state.get("image_encoder.trunk.patch_embed.proj.weight")
    blocks = {
        name.split(".")[3] for name in state if name.startswith("image_encoder.trunk.blocks.")
    }
    size = None if stem is None else SIZES.get((len(stem), len(blocks)))
    if size is None:
        raise ValueError(
            f"{weights} is none of the published SAM2 networks; put its configuration beside it "
            f"as {weights.with_suffix('.yaml').name}"
        )
    family = "sam2.1" if "no_obj_embed_spatial" in state else "sam2"
    return Path(sam2.__path__[0], "configs", family, f"{family}_hiera_{size}.yaml")


def _check_targets(plan: Any, path: Path) -> None:
    """A plan names what is called: only layers of SAM2 may be."""
    if isinstance(plan, dict):
        target = plan.get("_target_", "sam2.modeling.")
        if not str(target).startswith("sam2.modeling."):
            raise ValueError(f"{path} names {target}, which is no layer of SAM2; refused")
        plan = list(plan.values())
    if isinstance(plan, list):
        for value in plan:
            _check_targets(value, path)
