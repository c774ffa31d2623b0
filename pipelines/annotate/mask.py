"""Instance masks: by default from the soft person masks of the pose network."""

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8

from pipelines.annotate.people import PersonTrack
from storage_schemas.mask import MaskTrack

MIN_PROBABILITY = 127
MIN_ISLAND = 0.04
FRONT_BONUS = 64
GRABCUT_MIN_SIDE = 512


def build_masks(
    tracks: Sequence[PersonTrack],
    frames: UInt8[np.ndarray, "frames height width 3"],
    refine: bool = False,
) -> MaskTrack:
    """Give every pixel to at most one person; person i of `tracks` has label i + 1.

    Args:
        tracks: People of the clip.
        frames: RGB; sets the size, and the pixels for the refinement.
        refine: Sharpen with GrabCut where the short side has 512 px or more (30-140 ms each).
    """
    num_frames, height, width = frames.shape[:3]
    if len(tracks) > 255:
        raise ValueError(f"a mask holds at most 255 people, got {len(tracks)}")
    instance = np.zeros((num_frames, height, width), np.uint8)
    for t in range(num_frames):
        seen = [i for i, track in enumerate(tracks) if track.visible[t]]
        if not seen:
            continue
        probability = np.stack([tracks[i].mask(t, height, width) for i in seen])
        bottom = np.array([tracks[i].box_px[t, 3] for i in seen])
        owner = resolve_conflicts(probability, bottom)
        for k, i in enumerate(seen):
            own = without_islands(owner == k)
            if refine and min(height, width) >= GRABCUT_MIN_SIDE:
                own = _grabcut(frames[t], own) & ((owner == k) | (owner < 0))
            instance[t][own] = i + 1
    return MaskTrack(instance=instance)


def resolve_conflicts(
    probability: UInt8[np.ndarray, "people height width"], bottom_px: np.ndarray
) -> Int[np.ndarray, "height width"]:
    """Index of the person who owns each pixel, -1 for nobody.

    Where two people claim the same region, the one whose network is surer over the whole region
    stands in front; about equal claims go to the one whose box ends lower, who stands nearer.
    """
    claim = probability.astype(np.int16)
    is_claimed = probability > MIN_PROBABILITY
    for a in range(len(claim)):
        for b in range(a + 1, len(claim)):
            both = is_claimed[a] & is_claimed[b]
            if np.count_nonzero(both) < 20:
                continue
            sure_a, sure_b = (float(probability[i][both].mean()) for i in (a, b))
            is_clear = abs(sure_a - sure_b) > 0.05 * 255
            front_is_a = sure_a > sure_b if is_clear else bottom_px[a] >= bottom_px[b]
            claim[a if front_is_a else b][both] += FRONT_BONUS
    return np.where(is_claimed.any(axis=0), claim.argmax(axis=0), -1)


def without_islands(mask: Bool[np.ndarray, "height width"]) -> Bool[np.ndarray, "height width"]:
    """Drop pieces smaller than a small part of the person; fill holes of that size."""
    if not mask.any():
        return mask
    least = MIN_ISLAND * np.count_nonzero(mask)
    result = mask.copy()
    for part, value in ((mask, False), (~mask, True)):
        limit = least if not value else 0.25 * least
        _, labels, stats, _ = cv2.connectedComponentsWithStats(part.astype(np.uint8))
        small = np.flatnonzero(stats[:, cv2.CC_STAT_AREA] < limit)
        result[np.isin(labels, small[small > 0])] = value
    return result


@runtime_checkable
class MaskBackend(Protocol):
    """Gives every pixel to at most one person; person i of the tracks has label i + 1."""

    def __call__(
        self,
        tracks: Sequence[PersonTrack],
        frames: UInt8[np.ndarray, "frames height width 3"],
    ) -> MaskTrack:
        """Masks of a clip."""
        ...


def _pose(weights: Path | None) -> MaskBackend:
    if weights is not None:
        raise ValueError(f"the masks of the pose network need no weights; got {weights}")
    return build_masks


@functools.cache
def _sam2(weights: Path | None) -> MaskBackend:
    if weights is None:
        raise ValueError("sam2 needs a weights file; give --mask-weights sam2.1_hiera_small.pt")
    from pipelines.annotate.backends import sam2_masks  # loads slowly

    propagate = sam2_masks.Sam2Propagator(weights)
    return functools.partial(sam2_masks.build_masks_sam2, propagate=propagate)


BACKENDS: dict[str, Callable[[Path | None], MaskBackend]] = {"pose": _pose, "sam2": _sam2}


def people_pixels(masks: MaskTrack, margin_px: int = 0) -> Bool[np.ndarray, "frames height width"]:
    """Pixels of any person, grown by a margin."""
    people = masks.instance > 0
    if margin_px == 0:
        return people
    grow = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin_px + 1, 2 * margin_px + 1))
    return np.stack([cv2.dilate(m.astype(np.uint8), grow) > 0 for m in people])


def _grabcut(
    frame: UInt8[np.ndarray, "height width 3"], mask: Bool[np.ndarray, "height width"]
) -> Bool[np.ndarray, "height width"]:
    """Move the outline to the colour edge within a narrow band."""
    if np.count_nonzero(mask) < 200:
        return mask
    rows, columns = np.nonzero(mask)
    band = max(3, round(0.02 * float(np.ptp(rows) + 1)))
    y0, x0 = max(rows.min() - 3 * band, 0), max(columns.min() - 3 * band, 0)
    window = np.s_[y0 : rows.max() + 3 * band, x0 : columns.max() + 3 * band]
    part = mask[window].astype(np.uint8)
    kernel = np.ones((2 * band + 1, 2 * band + 1), np.uint8)
    trimap = np.where(part > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    trimap[cv2.erode(part, kernel) > 0] = cv2.GC_FGD
    trimap[cv2.dilate(part, kernel) == 0] = cv2.GC_BGD
    if not (trimap == cv2.GC_FGD).any() or not (trimap == cv2.GC_BGD).any():
        return mask
    state = np.zeros((2, 1, 65))
    cv2.setRNGSeed(0)
    cv2.grabCut(frame[window], trimap, (0, 0, 1, 1), state[0], state[1], 2, cv2.GC_INIT_WITH_MASK)
    result = mask.copy()
    result[window] = (trimap == cv2.GC_FGD) | (trimap == cv2.GC_PR_FGD)
    return result
