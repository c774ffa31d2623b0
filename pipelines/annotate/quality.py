"""How far a clip's labels agree with each other: the quality vector of the clip record.

Nothing here knows the truth; every number is measured on the final labels against the evidence
they came from. A number that cannot be measured on a clip is absent, never replaced by a constant.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8

from models.body.model import BodyModel
from models.geometry import project
from pipelines.annotate.body_landmarks import SOLES, map_landmarks
from pipelines.annotate.people import PersonTrack
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack

LANDMARK_OF_JOINT = {
    16: 11, 17: 12, 18: 13, 19: 14, 20: 15, 21: 16, 1: 23, 2: 24, 4: 25, 5: 26, 7: 27, 8: 28,
}  # fmt: skip
"""SMPL joint -> MediaPipe landmark, for the twelve joints that both define."""

SILHOUETTE_FRAMES = 8
SUPERSAMPLING = 2
NEAR_M = 0.05
CONTACT_HEIGHT_M = 0.05
CONTACT_RISE_M_S = 0.3
SCORE_SCALES = {
    "keypoint_error_relative": 0.05,
    "foot_skating_m_s": 0.5,
    "floor_penetration_m": 0.05,
    "jitter_m_frame2": 0.02,
}
"""Errors at which a component of the overall score has fallen to 1/e."""


@dataclass(frozen=True, kw_only=True)
class ClipEvidence:
    """What the labels of a clip are checked against."""

    tracks: Sequence[PersonTrack]
    """In the order of the bodies."""
    masks: MaskTrack
    background_valid: BackgroundValid
    camera_registered: Bool[np.ndarray, "frames"] | None = None
    """Frames whose camera was really found; None: all, unless the track's kind is `unknown`."""


def measure_quality(
    bodies: BodyTracks, camera: CameraTrack, evidence: ClipEvidence, body: BodyModel, fps: float
) -> dict[str, float]:
    """Quality vector of a clip, with the `overall` score in [0, 1].

    Args:
        bodies: Final bodies, in the world of `camera`, floor at y = 0.
        camera: Final camera.
        evidence: What they are checked against.
        body: The body model of `bodies`.
        fps: Frames per second.

    Returns:
        people_count, visible_fraction, mean_confidence, silhouette_iou, keypoint_error_px,
        keypoint_error_relative (to the person's height in the image), foot_skating_m_s,
        floor_penetration_m, jitter_m_frame2, plate_valid_fraction, camera_registered_fraction,
        overall. Those about people are absent when there are none to measure.
    """
    if len(evidence.tracks) != len(bodies.person_id):
        raise ValueError(
            f"tracks must match the {len(bodies.person_id)} bodies, got {len(evidence.tracks)}"
        )
    quality = {
        "people_count": float(len(bodies.person_id)),
        "plate_valid_fraction": float(evidence.background_valid.valid.mean()),
        "camera_registered_fraction": _registered(camera, evidence.camera_registered),
    }
    if bodies.visible.any():
        quality |= {
            "visible_fraction": float(bodies.visible.mean()),
            "mean_confidence": float(bodies.confidence[bodies.visible].mean()),
            **_keypoint_errors(bodies, evidence.tracks),
            **_motion(bodies, body, fps),
            **_silhouette_iou(bodies, camera, evidence.masks, body),
        }
    return quality | {"overall": overall_score(quality)}


def overall_score(quality: dict[str, float]) -> float:
    """Geometric mean of the components of a quality vector; 0 without people.

    Components: visible_fraction, mean_confidence, silhouette_iou, camera_registered_fraction,
    (1 + plate_valid_fraction) / 2, and exp(-error / scale) for the errors of `SCORE_SCALES`;
    those that are absent do not count.
    """
    if "visible_fraction" not in quality:
        return 0.0
    names = (
        "visible_fraction",
        "mean_confidence",
        "silhouette_iou",
        "camera_registered_fraction",
    )
    parts = [quality[name] for name in names if name in quality]
    parts.append((1 + quality["plate_valid_fraction"]) / 2)
    parts += [
        np.exp(-quality[name] / scale) for name, scale in SCORE_SCALES.items() if name in quality
    ]
    return float(np.prod(np.clip(parts, 0, 1)) ** (1 / len(parts)))


def draw_silhouettes(
    vertices: Sequence[Float32[np.ndarray, "verts 3"]],
    faces: np.ndarray,
    K: Float[np.ndarray, "3 3"],
    T_camera_world: Float[np.ndarray, "4 4"],
    size_px: tuple[int, int],
) -> UInt8[np.ndarray, "height width"]:
    """Label map of meshes in one image: p + 1 where mesh p is seen, nearer people in front.

    People are painted from far to near as wholes, so interlocked limbs of two people may be
    labelled in the wrong order.

    Args:
        vertices: World, metres, one array per person; all share `faces`.
        faces: Triangles.
        K: Intrinsics in pixels.
        T_camera_world: World to camera.
        size_px: Height and width.
    """
    height, width = size_px
    labels = np.zeros((height, width), np.uint8)
    projected = []
    for person, mesh in enumerate(vertices):
        xy_px, depth_m = project(
            torch.tensor(mesh).double(), torch.tensor(K), torch.tensor(T_camera_world)
        )
        projected.append((float(depth_m.median()), person, xy_px.numpy(), depth_m.numpy()))
    for _, person, xy_px, depth_m in sorted(projected, key=lambda item: -item[0]):
        labels[_fill(xy_px, depth_m, faces, size_px)] = person + 1
    return labels


def _fill(
    xy_px: np.ndarray, depth_m: np.ndarray, faces: np.ndarray, size_px: tuple[int, int]
) -> np.ndarray:
    """Pixels whose centre half a mesh covers: union of its triangles that face the camera."""
    height, width = size_px
    triangles = xy_px[faces]
    edge, other = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    # Image y points down: counter-clockwise seen from outside is negative here.
    area = edge[:, 0] * other[:, 1] - edge[:, 1] * other[:, 0]
    inside = (triangles.max(1) > 0).all(-1) & (triangles.min(1) < (width, height)).all(-1)
    keep = (area < 0) & inside & (depth_m[faces] > NEAR_M).all(-1)
    canvas = np.zeros((height * SUPERSAMPLING, width * SUPERSAMPLING), np.uint8)
    # OpenCV: centres at integers, 4 binary places. A triangle of any size is clipped by OpenCV.
    fixed = np.round((triangles[keep] * SUPERSAMPLING - 0.5) * 16)
    for triangle in np.clip(fixed, -(2**24), 2**24).astype(np.int32):
        cv2.fillConvexPoly(canvas, triangle, (255,), lineType=8, shift=4)
    return cv2.resize(canvas, (width, height), interpolation=cv2.INTER_AREA) > 127


def mask_iou(found: np.ndarray, truth: np.ndarray) -> float | None:
    """Intersection over union of two masks; None if both are empty."""
    union = int(np.count_nonzero(found | truth))
    return np.count_nonzero(found & truth) / union if union else None


def _silhouette_iou(
    bodies: BodyTracks, camera: CameraTrack, masks: MaskTrack, body: BodyModel
) -> dict[str, float]:
    seen = np.flatnonzero(bodies.visible.any(0))
    picks = seen[np.unique(np.linspace(0, len(seen) - 1, SILHOUETTE_FRAMES).round().astype(int))]
    faces = body.faces.numpy()
    values = []
    for frame in picks:
        people = np.flatnonzero(bodies.visible[:, frame])
        mesh = body.pose(
            *(
                torch.tensor(a[people])
                for a in (
                    bodies.betas,
                    bodies.global_orient[:, frame],
                    bodies.body_pose[:, frame],
                    bodies.transl[:, frame],
                )
            )
        ).vertices.numpy()
        image = masks.instance[frame]
        labels = draw_silhouettes(
            list(mesh), faces, camera.K[frame], camera.T_camera_world[frame], image.shape
        )
        for index, person in enumerate(people):
            value = mask_iou(labels == index + 1, image == person + 1)
            values += [] if value is None else [value]
    return {"silhouette_iou": float(np.mean(values))} if values else {}


def _keypoint_errors(bodies: BodyTracks, tracks: Sequence[PersonTrack]) -> dict[str, float]:
    joints, landmarks = list(LANDMARK_OF_JOINT), list(LANDMARK_OF_JOINT.values())
    keypoints = np.stack([t.keypoints_px for t in tracks])[:, :, landmarks]
    confidence = np.stack([t.keypoint_confidence for t in tracks])[:, :, landmarks]
    boxes = np.stack([t.box_px for t in tracks])
    used = (confidence > 0.5) & bodies.visible[..., None]
    if not used.any():
        return {}
    error_px = np.linalg.norm(bodies.joints_px[:, :, joints] - keypoints, axis=-1)
    side_px = np.maximum(boxes[..., 2] - boxes[..., 0], boxes[..., 3] - boxes[..., 1])
    relative = error_px / np.maximum(side_px, 1.0)[..., None]
    return {
        "keypoint_error_px": float(error_px[used].mean()),
        "keypoint_error_relative": float(relative[used].mean()),
    }


def _motion(bodies: BodyTracks, body: BodyModel, fps: float) -> dict[str, float]:
    """Feet against the floor y = 0, and shake of all joints, in the world."""
    betas = torch.tensor(bodies.betas)[:, None]
    pose = (torch.tensor(a) for a in (bodies.global_orient, bodies.body_pose, bodies.transl))
    posed = body.subset(torch.arange(1)).pose(betas, *pose)
    rest = body.shape(betas).joints
    R = posed.T_world_joint[..., :3, :3]
    soles = map_landmarks(body).place(betas, rest, posed.joints, R)[:, :, SOLES].numpy()
    visible = bodies.visible
    below_m = np.maximum(0, -soles[..., 1].min(-1))
    result = {"floor_penetration_m": float(below_m[visible].mean())}
    step = np.diff(soles, axis=1) * fps
    low = np.maximum(soles[:, 1:, :, 1], soles[:, :-1, :, 1]) < CONTACT_HEIGHT_M
    standing = low & (np.abs(step[..., 1]) < CONTACT_RISE_M_S)
    standing &= (visible[:, 1:] & visible[:, :-1])[..., None]
    if standing.any():
        speed = np.linalg.norm(step[..., (0, 2)], axis=-1)
        result["foot_skating_m_s"] = float(speed[standing].mean())
    shake = np.linalg.norm(np.diff(posed.joints.numpy(), n=2, axis=1), axis=-1)
    triple = visible[:, 2:] & visible[:, 1:-1] & visible[:, :-2]
    if triple.any():
        result["jitter_m_frame2"] = float(shake[triple].mean())
    return result


def _registered(camera: CameraTrack, registered: np.ndarray | None) -> float:
    if registered is not None:
        return float(registered.mean())
    return 0.0 if camera.kind == "unknown" else 1.0
