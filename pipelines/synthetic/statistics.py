"""What a corpus of rendered clips holds: measures per clip, read from its labels."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8
from scipy.spatial.transform import Rotation

from pipelines.clip_files import ReadMember
from pipelines.synthetic.naming import camera_name
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.mask import MaskTrack

POSES_PER_PERSON = 4
NUM_JOINTS = 23
"""Joints of `body_pose`: all but the root."""
MAX_COMPARED = 1500
"""Poses among which nearest neighbours are sought; the cost grows with the square."""


@dataclass(frozen=True, kw_only=True)
class PersonMeasures:
    """One person over one clip."""

    character: str
    motion: str
    source: str
    """File of recorded motion, or kind and seed of a made-up one."""
    betas: Float[np.ndarray, "10"]
    poses: Float[np.ndarray, "poses 23 3"]
    """Some body poses, axis-angle in radians."""
    height_share: float
    """Height of the visible silhouette by the picture's, median over the frames that show any."""
    hidden_share: float
    """Joints inside the picture at which the mask shows somebody else or the scene."""
    cut_share: float
    """Joints outside the picture."""
    speed_m_s: float
    """Mean speed of the root."""
    rgb: Float[np.ndarray, "3"]
    """Mean colour of the silhouette in one frame, 0 to 255; nan where it never shows."""


@dataclass(frozen=True, kw_only=True)
class ClipMeasures:
    """One clip."""

    duration_s: float
    num_frames: int
    size_px: tuple[int, int]
    """Width and height."""
    camera: str
    camera_travel_m: float
    camera_turn_deg: float
    """Largest angle between the first and any other viewing direction."""
    zoom: float
    """Longest by shortest focal length."""
    fov_deg: float
    """Vertical, in the first frame."""
    environment: str
    """What makes it differ from others."""
    place: str
    is_panorama: bool
    people: tuple[PersonMeasures, ...]


def is_rendered(read: ReadMember) -> bool:
    """Whether the record of a clip tells of the scene it was rendered from."""
    record = ClipRecord.from_json(read(shards.CLIP))
    return "people" in record.provenance.get("render", {}).get("parameters", {})


def measure_clip(read: ReadMember) -> ClipMeasures:
    """Measure a rendered clip.

    Raises:
        FileNotFoundError: If it lacks a label.
        ValueError: If a label is none.
    """
    clip = ClipRecord.from_json(read(shards.CLIP))
    scene: Mapping[str, Any] = clip.provenance["render"]["parameters"]
    camera = CameraTrack.from_npz(read(shards.CAMERA))
    bodies = BodyTracks.from_npz(read(shards.BODY))
    instance = MaskTrack.from_npz(read(shards.MASK)).instance
    middle = clip.num_frames // 2
    picture = decode_mp4(read(shards.VIDEO), middle, middle + 1)[0]
    focal_px = camera.K[:, 1, 1]
    around = scene["environment"]
    return ClipMeasures(
        duration_s=clip.num_frames / clip.fps,
        num_frames=clip.num_frames,
        size_px=(clip.width, clip.height),
        camera=camera_name(scene["camera"]),
        camera_travel_m=_travel_m(camera),
        camera_turn_deg=_turn_deg(camera),
        zoom=float(focal_px.max() / focal_px.min()),
        fov_deg=float(np.degrees(2 * np.arctan(clip.height / (2 * focal_px[0])))),
        environment=str(sorted((name, str(value)) for name, value in around.items())),
        place=str(around["kind"]),
        is_panorama=around["panorama"] is not None,
        people=tuple(
            _measure_person(person, index, bodies, instance, picture, clip.fps)
            for index, person in enumerate(scene["people"])
        ),
    )


def _travel_m(camera: CameraTrack) -> float:
    R, t = camera.T_camera_world[:, :3, :3], camera.T_camera_world[:, :3, 3]
    centre = -np.einsum("tji,tj->ti", R, t)
    return float(np.linalg.norm(np.diff(centre, axis=0), axis=1).sum())


def _turn_deg(camera: CameraTrack) -> float:
    forward = camera.T_camera_world[:, 2, :3]
    return float(np.degrees(np.arccos(np.clip(forward @ forward[0], -1, 1)).max()))


def _measure_person(
    person: Mapping[str, Any],
    index: int,
    bodies: BodyTracks,
    instance: UInt8[np.ndarray, "frames height width"],
    picture: UInt8[np.ndarray, "height width 3"],
    fps: float,
) -> PersonMeasures:
    is_own = instance == index + 1
    frames = len(instance)
    rows = is_own.any(2)
    shown = rows.any(1)
    heights = [np.ptp(np.flatnonzero(row)) + 1 for row in rows[shown]]
    hidden, cut = _hidden_and_cut(bodies.joints_px[index], is_own)
    chosen = np.linspace(0, frames - 1, min(POSES_PER_PERSON, frames)).round().astype(int)
    own_pixels = picture[is_own[frames // 2]]
    moved_m = np.linalg.norm(np.diff(bodies.transl[index], axis=0), axis=1)
    file = person["file"]
    made_up = f"{person['motion']} {person['motion_seed']}"
    return PersonMeasures(
        character=str(person["character"]),
        motion=str(person["motion"]),
        source=made_up if file is None else str(file["sha256"]),
        betas=bodies.betas[index].astype(float),
        poses=bodies.body_pose[index, chosen].reshape(-1, NUM_JOINTS, 3).astype(float),
        height_share=float(np.median(heights)) / instance.shape[1] if heights else 0.0,
        hidden_share=hidden,
        cut_share=cut,
        speed_m_s=float(moved_m.mean() * fps) if len(moved_m) else 0.0,
        rgb=own_pixels.mean(0) if len(own_pixels) else np.full(3, np.nan),
    )


def _hidden_and_cut(
    joints_px: Float[np.ndarray, "frames 24 2"], is_own: Bool[np.ndarray, "frames height width"]
) -> tuple[float, float]:
    frames, height, width = is_own.shape
    column, row = np.floor(joints_px[..., 0]), np.floor(joints_px[..., 1])
    inside = (column >= 0) & (column < width) & (row >= 0) & (row < height)
    at = (
        np.broadcast_to(np.arange(frames)[:, None], inside.shape)[inside],
        row[inside].astype(int),
        column[inside].astype(int),
    )
    hidden = 1.0 - float(is_own[at].mean()) if inside.any() else 1.0
    return hidden, 1.0 - float(inside.mean())


def joint_angles_deg(
    poses: Float[np.ndarray, "poses 23 3"],
) -> Float[np.ndarray, "poses 23"]:
    """How far each joint is turned from the rest pose."""
    R = Rotation.from_rotvec(poses.reshape(-1, 3))
    return np.degrees(R.magnitude()).reshape(poses.shape[:2])


def nearest_pose_deg(
    poses: Float[np.ndarray, "poses 23 3"], group: Int[np.ndarray, "poses"]
) -> Float[np.ndarray, "poses"]:
    """Mean joint angle to the most similar pose of another group (clip); inf where there is none.

    High values mean that poses rarely repeat between clips.
    """
    q = Rotation.from_rotvec(poses.reshape(-1, 3)).as_quat().reshape(-1, NUM_JOINTS, 4)
    nearest = np.empty(len(q))
    for index in range(len(q)):
        cosine = np.abs(np.einsum("njc,jc->nj", q, q[index])).clip(0, 1)
        distance_deg = np.degrees(2 * np.arccos(cosine)).mean(1)
        distance_deg[group == group[index]] = np.inf
        nearest[index] = distance_deg.min()
    return nearest


def principal_components(
    poses: Float[np.ndarray, "poses 23 3"],
) -> tuple[Float[np.ndarray, "poses 2"], Float[np.ndarray, "components"]]:
    """Places of the poses on the first two components of their rotation matrices, and the share of
    the variance that each component explains.
    """
    R = Rotation.from_rotvec(poses.reshape(-1, 3)).as_matrix().reshape(len(poses), -1)
    centred = R - R.mean(0)
    U, S, _ = np.linalg.svd(centred, full_matrices=False)
    variance = S**2
    return U[:, :2] * S[:2], variance / max(variance.sum(), 1e-12)


def count(names: Sequence[str]) -> dict[str, int]:
    """Occurrences, most frequent first."""
    return dict(sorted(Counter(names).items(), key=lambda item: (-item[1], item[0])))
