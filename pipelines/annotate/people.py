"""People in a clip: who is where in every frame, with keypoints and a soft mask."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from pipelines.annotate.backends.observation import Observation, PeopleBackend, Roi
from pipelines.annotate.identity import drop_doubtful, link
from pipelines.annotate.tracking import Tracker, TrackingSettings, Tracklet
from storage_schemas.arrays import read_npz, write_npz


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonTrack:
    """One person over a clip; frames without evidence are not visible and repeat the nearest."""

    person_id: int
    """Order of first appearance, from 0."""
    visible: Bool[np.ndarray, "frames"]
    box_px: Float32[np.ndarray, "frames 4"]
    """Left, top, right, bottom around mask and confident keypoints, inside the image."""
    keypoints_px: Float32[np.ndarray, "frames 33 2"]
    """MediaPipe's 33 landmarks; may lie outside the image."""
    keypoint_confidence: Float32[np.ndarray, "frames 33"]
    """In [0, 1]; 0 in frames where the person is not visible."""
    world_keypoints_m: Float32[np.ndarray, "frames 33 3"]
    """Metres about the hip centre, axes as the camera's (x right, y down, z forward)."""
    mask_roi: UInt8[np.ndarray, "frames 256 256"]
    """Probability of this person in the window `roi`, 255 = certain; 0 where not visible."""
    roi: Float32[np.ndarray, "frames 4"]
    """Window of the mask: centre x, centre y, side (pixels), rotation (radians)."""

    def mask(self, frame: int, height: int, width: int) -> UInt8[np.ndarray, "height width"]:
        """Probability of this person on the image of one frame, 255 = certain."""
        x, y, size, rotation = (float(v) for v in self.roi[frame])
        affine = Roi(x_px=x, y_px=y, size_px=size, rotation_rad=rotation).affine_image_from_roi()
        affine[:, 2] += affine[:, :2] @ np.full(2, 0.5) - 0.5  # OpenCV: pixel centres at integers
        return cv2.warpAffine(self.mask_roi[frame], affine, (width, height))


def people_to_npz(tracks: Sequence[PersonTrack]) -> bytes:
    """All people of a clip as one npz file (fields stacked); same tracks, same bytes."""
    arrays = {
        f.name: np.stack([np.asarray(getattr(track, f.name)) for track in tracks])
        for f in fields(PersonTrack)
        if tracks
    }
    return write_npz(arrays)


def people_from_npz(data: bytes) -> list[PersonTrack]:
    """Inverse of `people_to_npz`."""
    arrays = read_npz(data)
    if not arrays:
        return []
    missing = {f.name for f in fields(PersonTrack)} - set(arrays)
    if missing:
        raise ValueError(f"people.npz must hold {sorted(missing)}; annotate the clip again")
    person_id = arrays.pop("person_id")
    return [
        PersonTrack(person_id=int(person_id[i]), **{name: v[i] for name, v in arrays.items()})
        for i in range(len(person_id))
    ]


def detect_people(
    frames: UInt8[np.ndarray, "frames height width 3"],
    fps: float,
    backend: str = "mediapipe",
    weights: Path | None = None,
) -> list[PersonTrack]:
    """Find and follow the people of a clip; see `detect_people_with_report`."""
    return detect_people_with_report(frames, fps, backend, weights)[0]


def detect_people_with_report(
    frames: UInt8[np.ndarray, "frames height width 3"],
    fps: float,
    backend: str = "mediapipe",
    weights: Path | None = None,
    settings: TrackingSettings | None = None,
) -> tuple[list[PersonTrack], dict[str, int]]:
    """Find and follow the people of a clip.

    Args:
        frames: RGB.
        fps: Frames per second of `frames`.
        backend: A name in `BACKENDS`.
        weights: File of the backend's network; the embedded one has its own.
        settings: Thresholds; the defaults suit the real test videos.

    Returns:
        People in order of appearance, and how many were kept or dropped by reason
        (`short`, `weak`) with the number of unbroken pieces before joining (`tracklets`).
    """
    if fps <= 0:
        raise ValueError(f"fps must be positive, got {fps}")
    if backend not in BACKENDS:
        raise ValueError(f"backend must be one of {sorted(BACKENDS)}, got {backend!r}")
    settings = settings or TrackingSettings()
    return track_people(frames, fps, BACKENDS[backend](weights), settings)


def track_people(
    frames: UInt8[np.ndarray, "frames height width 3"],
    fps: float,
    detector: PeopleBackend,
    settings: TrackingSettings,
) -> tuple[list[PersonTrack], dict[str, int]]:
    """`detect_people_with_report` for a detector that is already built."""
    tracklets = Tracker(frames, fps, detector, settings).run()
    chains = link(tracklets, fps, settings)
    kept, counts = drop_doubtful(chains, len(frames), fps, settings)
    kept.sort(key=lambda chain: chain[0].start)
    tracks = [_track(i, chain, frames.shape[:3]) for i, chain in enumerate(kept)]
    return tracks, {"tracklets": len(tracklets), **counts}


@functools.cache
def _mediapipe(weights: Path | None) -> PeopleBackend:
    if weights is not None:
        raise ValueError(f"mediapipe has its networks inside; it cannot take {weights}")
    from pipelines.annotate.backends.mediapipe_pose import MediaPipePose  # loads slowly

    return MediaPipePose()


@functools.cache
def _yolo(weights: Path | None) -> PeopleBackend:
    if weights is None:
        raise ValueError("yolo needs a weights file; give --people-weights yolo11m-pose.pt")
    from pipelines.annotate.backends.yolo_pose import YoloPose  # AGPL-3.0: only when asked for

    return YoloPose(weights)


BACKENDS: dict[str, Callable[[Path | None], PeopleBackend]] = {
    "mediapipe": _mediapipe,
    "yolo": _yolo,
}


def _track(person_id: int, chain: list[Tracklet], shape: tuple[int, ...]) -> PersonTrack:
    num_frames, height, width = shape
    seen = {
        tracklet.start + i: observation
        for tracklet in chain
        for i, observation in enumerate(tracklet.observations)
    }
    times = np.array(sorted(seen))
    nearest = [seen[times[np.abs(times - t).argmin()]] for t in range(num_frames)]
    visible = np.isin(np.arange(num_frames), times)
    mask_roi = np.stack([o.mask for o in nearest])
    mask_roi[~visible] = 0
    confidence = np.stack([o.keypoint_confidence for o in nearest])
    confidence[~visible] = 0
    roi = [(o.roi.x_px, o.roi.y_px, o.roi.size_px, o.roi.rotation_rad) for o in nearest]
    return PersonTrack(
        person_id=person_id,
        visible=visible,
        box_px=np.stack([_box(o, height, width) for o in nearest]).astype(np.float32),
        keypoints_px=np.stack([o.keypoints_px for o in nearest]).astype(np.float32),
        keypoint_confidence=confidence.astype(np.float32),
        world_keypoints_m=np.stack([o.world_keypoints_m for o in nearest]).astype(np.float32),
        mask_roi=mask_roi,
        roi=np.array(roi, np.float32),
    )


def _box(observation: Observation, height: int, width: int) -> Float[np.ndarray, "4"]:
    """Around mask and confident keypoints; at least the hips, inside the image."""
    rows, columns = np.nonzero(
        cv2.resize(observation.mask, (64, 64), interpolation=cv2.INTER_AREA) > 127
    )
    cells = np.stack([columns, rows], axis=1) + 0.5
    affine = observation.roi.affine_image_from_roi(64)
    points = [cells @ affine[:, :2].T + affine[:, 2]]
    points.append(observation.keypoints_px[observation.keypoint_confidence > 0.5])
    points.append(observation.keypoints_px[[23, 24]])
    inside = np.clip(np.concatenate(points), 0, [width, height])
    return np.concatenate([inside.min(axis=0), inside.max(axis=0)])
