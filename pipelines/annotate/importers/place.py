"""Put a tracker's bodies into a clip: its people, its frames, its camera, its upright world.

A tracker knows bodies in the coordinates of the camera, placed with a focal length of its own.
Where it also knows the camera's path through the whole clip, both are kept. Elsewhere the clip's
own camera is, and the depth of the bodies is scaled to its focal length: the picture stays the
same for a person who is far away against their size.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float, Int64
from scipy.optimize import linear_sum_assignment
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel
from pipelines.annotate.body import FitResult
from pipelines.annotate.importers.found import FoundBodies, FoundPerson
from pipelines.annotate.people import PersonTrack
from pipelines.run import Rejected
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.conventions import SMPL_JOINTS

JOINT_OF_LANDMARK = {
    name: SMPL_JOINTS.index(name)
    for side in ("shoulder", "hip", "knee")
    for name in (f"left_{side}", f"right_{side}")
}
LANDMARKS = (11, 12, 23, 24, 25, 26)
"""MediaPipe's numbers of the same joints."""
MATCH_LIMIT = 0.3
"""Largest mean distance of a match, over the person's height in the image."""
HEAD = SMPL_JOINTS.index("head")
FEET = tuple(SMPL_JOINTS.index(name) for name in ("left_foot", "right_foot"))
SOLE_M = 0.02
"""Height of the foot joints of a standing person above the floor."""
OURS = "free_body"


def place_bodies(
    found: FoundBodies,
    tracks: Sequence[PersonTrack],
    camera: CameraTrack,
    clip: ClipRecord,
    body: BodyModel,
) -> FitResult:
    """Bodies of a tracker as the labels of a clip; person p stays instance p + 1 of the masks.

    Shapes are kept for SMPL bodies and left neutral for the free body, whose shape space differs.

    Args:
        found: What the tracker found in the whole footage.
        tracks: People of the clip.
        camera: The clip's camera before any body settled it.
        clip: Says which part of the footage, and which rectangle of it, the clip is.
        body: Body in SMPL format.

    Raises:
        Rejected: `bodies_elsewhere`, if the tracker's people are not those of the clip.
    """
    path = _own_path(found, source_frames(clip))
    own = _own_intrinsics(found, clip)
    if path is not None and camera.kind in ("moving", "unknown"):
        camera = replace(
            camera, K=own, T_camera_world=path, kind="moving", is_metric=True,
            source=f"{found.tracker}: path and focal length",
        )  # fmt: skip
    people = [_in_clip(p, source_frames(clip), own, camera.K) for p in found.people]
    shapes = _shapes(people, body)
    matched = match_tracks(people, tracks, shapes, camera.K, body)
    if not matched:
        raise Rejected(
            "bodies_elsewhere",
            f"{found.tracker} found {len(people)} people, none where the {len(tracks)} of the clip "
            "are; are the results of this footage?",
        )
    camera = _upright(camera, path, people, shapes, body)
    bodies = _tracks(people, tracks, matched, shapes, camera, body)
    return FitResult(bodies=bodies, camera=camera, diagnostics={"matched": float(len(matched))})


def source_frames(clip: ClipRecord) -> Int64[np.ndarray, " frames"]:
    """Which frame of the footage each frame of the clip is, at the footage's even rate."""
    facts = clip.provenance.get("ingest", {})
    fps = float(facts.get("source_fps", clip.fps))
    return np.round(clip.timestamps_ns * (fps / 1e9)).astype(np.int64)


def _own_intrinsics(found: FoundBodies, clip: ClipRecord) -> Float[np.ndarray, "frames 3 3"]:
    """The tracker's camera matrix in the clip's pixels: the clip may be cut out of the footage."""
    facts = clip.provenance.get("ingest", {})
    height, width = facts.get("source_size_px", (clip.height, clip.width))
    top, left, cut_height, cut_width = facts.get("crop_px", (0, 0, height, width))
    to_clip = np.array([clip.width / cut_width, clip.height / cut_height])
    centre = (np.array([width, height]) / 2 - (left, top)) * to_clip
    K = np.eye(3)
    K[:2, :2] = np.diag(found.focal_px(height, width) * to_clip)
    K[:2, 2] = centre
    return np.tile(K, (clip.num_frames, 1, 1))


class _Seen:
    """One person in the frames of a clip, in the camera; `shown` marks where there is evidence."""

    def __init__(self, person: FoundPerson, frames: np.ndarray) -> None:
        row_of = {frame: row for row, frame in enumerate(person.frames.tolist())}
        self.shown = np.array([frame in row_of for frame in frames.tolist()])
        known = np.array(sorted(row_of))
        # without evidence the nearest frame stands in, and is marked
        nearest = known[np.abs(known[None] - frames[:, None]).argmin(axis=1)]
        rows = np.array([row_of[frame] for frame in nearest.tolist()])
        self.rotvec, self.pelvis_m = person.rotvec[rows], person.pelvis_m[rows].copy()
        self.betas = person.betas


def _in_clip(
    person: FoundPerson,
    frames: Int64[np.ndarray, " frames"],
    own: Float[np.ndarray, "frames 3 3"],
    K: Float[np.ndarray, "frames 3 3"],
) -> _Seen:
    """Keep the picture under other intrinsics: same pixel, depth in proportion to the focal."""
    seen = _Seen(person, frames)
    pixels = np.einsum("tij,tj->ti", own, seen.pelvis_m)
    depth = seen.pelvis_m[:, 2] * K[:, 0, 0] / own[:, 0, 0]
    pixels = pixels / pixels[:, 2:]
    seen.pelvis_m = np.einsum("tij,tj->ti", np.linalg.inv(K), pixels) * depth[:, None]
    return seen


def _shapes(people: Sequence[_Seen], body: BodyModel) -> Float[np.ndarray, "people 10"]:
    keep = 0.0 if body.name.startswith(OURS) else 1.0
    return np.array([p.betas * keep for p in people]).reshape(-1, 10)


def joints_m(
    seen: _Seen, betas: Float[np.ndarray, "10"], body: BodyModel
) -> Float[np.ndarray, "frames 24 3"]:
    """Joints in the camera, metres."""
    flat = rearrange(seen.rotvec, "t joint xyz -> t (joint xyz)")
    values = (betas[None], flat[:, :3], flat[:, 3:], np.zeros((len(flat), 3)))
    tensors = (torch.tensor(v, dtype=torch.float32) for v in values)
    joints = body.subset(torch.arange(1)).pose(*tensors).joints.double().numpy()
    return joints - joints[:, :1] + seen.pelvis_m[:, None]


def match_tracks(
    people: Sequence[_Seen],
    tracks: Sequence[PersonTrack],
    shapes: Float[np.ndarray, "people 10"],
    K: Float[np.ndarray, "frames 3 3"],
    body: BodyModel,
) -> dict[int, int]:
    """Track -> person of the tracker, by where their joints are in the image; one to one."""
    cost = np.full((len(tracks), len(people)), 10.0)
    for j, seen in enumerate(people):
        joints = joints_m(seen, shapes[j], body)
        pixels = project_px(joints, K)
        height = np.maximum(np.ptp(pixels[..., 1], axis=1), np.ptp(pixels[..., 0], axis=1))
        chosen = pixels[:, list(JOINT_OF_LANDMARK.values())]
        for i, track in enumerate(tracks):
            both = track.visible & seen.shown
            if both.any():
                apart = np.linalg.norm(chosen - track.keypoints_px[:, LANDMARKS], axis=-1).mean(1)
                cost[i, j] = np.median(apart[both] / np.maximum(height[both], 1))
    pairs = zip(*linear_sum_assignment(cost), strict=True)
    return {int(i): int(j) for i, j in pairs if cost[i, j] < MATCH_LIMIT}


def project_px(
    points_m: Float[np.ndarray, "frames points 3"], K: Float[np.ndarray, "frames 3 3"]
) -> Float[np.ndarray, "frames points 2"]:
    """Pixels of points in the camera."""
    flat = np.einsum("tij,tnj->tni", K, points_m)
    return flat[..., :2] / np.maximum(flat[..., 2:], 1e-3)


def _own_path(found: FoundBodies, frames: np.ndarray) -> np.ndarray | None:
    """The tracker's path where it covers the whole clip."""
    if not all(frame in found.T_camera_world for frame in frames.tolist()):
        return None
    T = np.stack([found.T_camera_world[frame] for frame in frames.tolist()])
    T[:, :3, :3] = Rotation.from_matrix(T[:, :3, :3]).as_matrix()  # float32 is not orthogonal
    return T


def _upright(
    camera: CameraTrack,
    path: Float[np.ndarray, "frames 4 4"] | None,
    people: Sequence[_Seen],
    shapes: Float[np.ndarray, "people 10"],
    body: BodyModel,
) -> CameraTrack:
    """The same camera in a metric world with y up and the lowest feet on the floor y = 0.

    A path of ours has a free scale: the one is taken under which feet slide least.
    """
    joints = [joints_m(seen, shapes[j], body) for j, seen in enumerate(people)]
    T = camera.T_camera_world.copy()
    if not camera.is_metric and camera.kind == "moving":
        T[:, :3, 3] *= _scale_of_feet(T, joints, people)
    up_camera = np.array([0.0, -1.0, 0.0]) if path is None else path[:, :3, :3] @ _up(path, joints)
    up = np.einsum("tji,tj->ti", T[:, :3, :3], np.broadcast_to(up_camera, (len(T), 3))).mean(0)
    up = up / np.linalg.norm(up)
    feet = [np.einsum("tji,tnj->tni", T[:, :3, :3], p[:, FEET] - T[:, None, :3, 3]) for p in joints]
    heights = [f[seen.shown] @ up for f, seen in zip(feet, people, strict=True)]
    floor_m = float(np.percentile(np.concatenate(heights), 5)) - SOLE_M
    T_old_new = np.eye(4)
    T_old_new[:3, :3] = Rotation.align_vectors([up], [[0.0, 1.0, 0.0]])[0].as_matrix()
    T_old_new[:3, 3] = floor_m * up
    moved = T @ T_old_new
    moved[:, :3, :3] = Rotation.from_matrix(moved[:, :3, :3]).as_matrix()
    return replace(
        camera, T_camera_world=moved, is_metric=True,
        source=f"{camera.source}; up and floor from imported bodies",
    )  # fmt: skip


def _up(
    path: Float[np.ndarray, "frames 4 4"], joints: Sequence[Float[np.ndarray, "frames 24 3"]]
) -> Float[np.ndarray, "3"]:
    """Which axis of a tracker's world is up: y, minus y or z; heads lie above the pelvis."""
    rises = [np.einsum("tji,tj->ti", path[:, :3, :3], p[:, HEAD] - p[:, 0]) for p in joints]
    rise = np.concatenate(rises).mean(axis=0)
    axis = int(np.abs(rise).argmax())
    return np.eye(3)[axis] * np.sign(rise[axis])


def _scale_of_feet(T: np.ndarray, joints: Sequence[np.ndarray], people: Sequence[_Seen]) -> float:
    """Least-squares scale of a camera path: the slower foot of each step stands still."""
    paths, feet = [], []
    shift = np.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3])
    for points, seen in zip(joints, people, strict=True):
        turned = np.einsum("tji,tnj->tni", T[:, :3, :3], points[:, FEET])
        both = seen.shown[1:] & seen.shown[:-1]
        step, base = np.diff(turned, axis=0)[both], np.diff(shift, axis=0)[both]
        slower = np.linalg.norm(step - base[:, None], axis=-1).argmin(axis=1)
        feet.append(step[np.arange(len(step)), slower])
        paths.append(base)
    a, b = np.concatenate(paths).ravel(), np.concatenate(feet).ravel()
    scale = float(a @ b / max(a @ a, 1e-12))
    return scale if scale > 0 else 1.0


def _tracks(
    people: Sequence[_Seen],
    tracks: Sequence[PersonTrack],
    matched: dict[int, int],
    shapes: Float[np.ndarray, "people 10"],
    camera: CameraTrack,
    body: BodyModel,
) -> BodyTracks:
    """In the world of the camera; people whom the tracker missed are never visible."""
    count, frames = len(tracks), len(camera.K)
    R_world_camera = Rotation.from_matrix(camera.T_camera_world[:, :3, :3]).inv()
    rotvec, transl = np.zeros((count, frames, 24, 3)), np.zeros((count, frames, 3))
    pixels, betas = np.zeros((count, frames, 24, 2)), np.zeros((count, 10))
    shown = np.zeros((count, frames), bool)
    for i, j in matched.items():
        seen, betas[i], shown[i] = people[j], shapes[j], people[j].shown
        rotvec[i] = seen.rotvec
        rotvec[i, :, 0] = (R_world_camera * Rotation.from_rotvec(seen.rotvec[:, 0])).as_rotvec()
        rest = body.shape(torch.tensor(betas[i], dtype=torch.float32)).joints[0].double().numpy()
        transl[i] = R_world_camera.apply(seen.pelvis_m - camera.T_camera_world[:, :3, 3]) - rest
        pixels[i] = project_px(joints_m(seen, betas[i], body), camera.K)
    flat = rearrange(rotvec, "p t joint xyz -> p t (joint xyz)").astype(np.float32)
    return BodyTracks(
        person_id=np.array([track.person_id for track in tracks]),
        betas=betas.astype(np.float32), global_orient=flat[..., :3], body_pose=flat[..., 3:],
        transl=transl.astype(np.float32), visible=shown, confidence=shown.astype(np.float32),
        joints_px=pixels.astype(np.float32), body_model=f"{body.name}:{body.digest[:8]}",
    )  # fmt: skip
