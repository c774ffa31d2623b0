"""The clip without its people: what other frames saw behind them, and where nobody ever saw it."""

import cv2
import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from pipelines.annotate.backends.feature_tracks import find_corners, match
from pipelines.annotate.mask import people_pixels
from storage_schemas.background import BackgroundValid
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack

MARGIN = 0.012
"""Growth of the person masks, part of the short side: soft edges and shadows at the feet."""
NUM_SAMPLES = 41
OFFSETS = (3, 6, 10, 15, 21, 28, 36, 45, 60)
"""Frames before and after from which a hole is filled."""
WORK_SIDE = 360
INPAINT_SHRINK = 4

Homographies = Float[np.ndarray, "frames 3 3"]


def build_background(
    frames: UInt8[np.ndarray, "frames height width 3"], masks: MaskTrack, camera: CameraTrack
) -> tuple[UInt8[np.ndarray, "frames height width 3"], BackgroundValid]:
    """Replace people by the background that other frames show at the same place.

    Args:
        frames: RGB.
        masks: People of the clip.
        camera: Decides how frames are aligned: not at all, by rotation, or by the picture.

    Returns:
        The clip without people, and True where its pixels were really seen.
    """
    margin = max(2, round(MARGIN * min(frames.shape[1:3])))
    people = people_pixels(masks, margin)
    if not people.any():
        return frames.copy(), BackgroundValid(valid=np.ones(people.shape, bool))
    if camera.kind == "static":
        plate, seen = static_plate(frames, people)
        plates = np.where(people[..., None], plate[None], frames)
        return plates, BackgroundValid(valid=seen[None] | ~people)
    homographies = (
        rotation_homographies(camera)
        if camera.kind == "rotation"
        else picture_homographies(frames, people)
    )
    return _fill_from_neighbours(frames, people, homographies)


def static_plate(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
) -> tuple[UInt8[np.ndarray, "height width 3"], Bool[np.ndarray, "height width"]]:
    """One picture of the background: median over time of what was seen, the rest inpainted."""
    plate = frames[0].copy()
    seen = (~people).any(axis=0)
    chosen = np.unique(np.linspace(0, len(frames) - 1, NUM_SAMPLES).astype(int))
    rows, columns = np.nonzero(people.any(axis=0) & seen)
    median, counts = _masked_median(frames, people, chosen, rows, columns)
    rare = counts == 0
    if rare.any():
        every = np.arange(len(frames))
        median[rare], _ = _masked_median(frames, people, every, rows[rare], columns[rare])
    plate[rows, columns] = median
    return inpaint(plate, ~seen), seen


def rotation_homographies(camera: CameraTrack) -> Homographies:
    """H_t0: maps pixels of frame 0 to frame t for a camera that only turns."""
    R = camera.T_camera_world[:, :3, :3] @ camera.T_camera_world[0, :3, :3].T
    return camera.K @ R @ np.linalg.inv(camera.K[0])


def picture_homographies(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
) -> Homographies:
    """H_t0 chained from neighbours by matched background points; exact only without parallax."""
    height, width = frames.shape[1:3]
    scale = max(1.0, min(height, width) / WORK_SIDE)
    size = (round(width / scale), round(height / scale))
    gray = [
        cv2.resize(cv2.cvtColor(f, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        for f in frames
    ]
    hidden = [cv2.resize(p.astype(np.uint8), size) > 0 for p in people]
    to_work, chain = np.diag([1 / scale, 1 / scale, 1.0]), [np.eye(3)]
    for t in range(1, len(frames)):
        corners = find_corners(gray[t - 1], hidden[t - 1], 200)
        found = match(gray[t - 1], gray[t], corners, hidden[t])
        step = None
        if len(found.start_px) >= 8:
            cv2.setRNGSeed(0)
            step, _ = cv2.findHomography(found.start_px, found.end_px, cv2.RANSAC, 2.0)
        step = np.eye(3) if step is None else step
        chain.append(np.linalg.inv(to_work) @ step @ to_work @ chain[-1])
    return np.stack(chain)


def inpaint(
    picture: UInt8[np.ndarray, "height width 3"], holes: Bool[np.ndarray, "height width"]
) -> UInt8[np.ndarray, "height width 3"]:
    """Smooth guess for pixels nobody saw, made at low resolution."""
    if not holes.any():
        return picture
    height, width = holes.shape
    shrink = min(INPAINT_SHRINK, max(1, min(height, width) // 16))
    size = (max(width // shrink, 1), max(height // shrink, 1))
    small_holes = cv2.resize(holes.astype(np.uint8), size, interpolation=cv2.INTER_AREA)
    grow = np.ones((3, 3), np.uint8)
    small_holes = cv2.dilate((small_holes > 0).astype(np.uint8), grow)
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
    guess = cv2.inpaint(small, small_holes, 3, cv2.INPAINT_TELEA)
    guess = cv2.resize(guess, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.where(holes[..., None], guess, picture)


def _masked_median(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    chosen: Int[np.ndarray, "samples"],
    rows: Int[np.ndarray, "pixels"],
    columns: Int[np.ndarray, "pixels"],
) -> tuple[UInt8[np.ndarray, "pixels 3"], Int[np.ndarray, "pixels"]]:
    values = np.stack([frames[t][rows, columns] for t in chosen])
    return _median_of_seen(values, np.stack([people[t][rows, columns] for t in chosen]))


def _median_of_seen(
    samples: UInt8[np.ndarray, "samples pixels 3"], hidden: Bool[np.ndarray, "samples pixels"]
) -> tuple[UInt8[np.ndarray, "pixels 3"], Int[np.ndarray, "pixels"]]:
    """Lower median per channel of the samples that show no person, and how many there were."""
    values = samples.astype(np.int16)
    values[hidden] = 256  # sorts behind every real value
    values.sort(axis=0)
    counts = (~hidden).sum(axis=0)
    middle = np.maximum(counts - 1, 0) // 2
    median = np.take_along_axis(values, middle[None, :, None], axis=0)[0]
    return np.minimum(median, 255).astype(np.uint8), counts


def _fill_from_neighbours(
    frames: UInt8[np.ndarray, "frames height width 3"],
    people: Bool[np.ndarray, "frames height width"],
    homographies: Homographies,
) -> tuple[UInt8[np.ndarray, "frames height width 3"], BackgroundValid]:
    plates, valid = frames.copy(), np.ones(people.shape, bool)
    offsets = [sign * k for k in OFFSETS for sign in (-1, 1)]
    for t in range(len(frames)):
        rows, columns = np.nonzero(people[t])
        if len(rows) == 0:
            continue
        x0, y0, x1, y1 = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
        window = np.s_[y0:y1, x0:x1]
        holes = people[t][window].copy()
        to_window = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], np.float64)
        samples, hidden = [], []
        for s in (t + offset for offset in offsets if 0 <= t + offset < len(frames)):
            H = to_window @ homographies[t] @ np.linalg.inv(homographies[s])
            color, is_seen = _warp(frames[s], ~people[s], H, (int(x1 - x0), int(y1 - y0)))
            samples.append(color[holes])
            hidden.append(~is_seen[holes])
        if samples:  # the median drops what was missed of a person in single frames
            median, counts = _median_of_seen(np.stack(samples), np.stack(hidden))
            take = holes.copy()
            take[holes] = counts > 0
            plates[t][window][take] = median[counts > 0]
            holes &= ~take
        valid[t][window] = ~holes
        if holes.any():
            plates[t] = inpaint(plates[t], ~valid[t])
    return plates, BackgroundValid(valid=valid)


def _warp(
    frame: UInt8[np.ndarray, "height width 3"],
    usable: Bool[np.ndarray, "height width"],
    H: Float[np.ndarray, "3 3"],
    size: tuple[int, int],
) -> tuple[UInt8[np.ndarray, "h w 3"], Bool[np.ndarray, "h w"]]:
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # OpenCV: pixel centres at integers
    index_H = np.linalg.inv(half) @ H @ half
    color = cv2.warpPerspective(frame, index_H, size, flags=cv2.INTER_LINEAR)
    is_seen = cv2.warpPerspective(usable.astype(np.uint8) * 255, index_H, size) > 250
    return color, is_seen
