"""Labels against the truth of rendered clips.

Poses and positions are compared in the coordinates of each clip's own camera, frame by frame, so
the choice of world does not matter. Joints: `EVALUATION_JOINTS` (14). People are matched per
frame by the distance of their joints in the image.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from scipy.optimize import linear_sum_assignment

from models.body.model import BodyModel
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.conventions import EVALUATION_JOINTS, SMPL_JOINTS
from storage_schemas.mask import MaskTrack

JOINTS = tuple(SMPL_JOINTS.index(name) for name in EVALUATION_JOINTS)
MATCH_LIMIT = 0.5
"""Largest mean joint distance of a match, over the true person's height in the image."""
MIN_PATH_M = 0.01
"""A camera whose true path is shorter has no trajectory error in percent of the path."""

METRICS = (
    "pa_mpjpe_mm", "mpjpe_mm", "root_error_mm", "joints_px", "person_recall", "person_precision",
    "id_switches", "mask_iou", "plate_psnr_db", "camera_rotation_deg", "camera_ate_pct",
    "camera_static_recall", "camera_static_correct", "camera_solved",
    "camera_rotation_solved_deg", "camera_ate_solved_pct", "focal_error_pct",
    "within_1_sigma", "within_2_sigma",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ClipLabels:
    """Labels of one clip, found or true; what is None is not compared."""

    bodies: BodyTracks
    camera: CameraTrack
    masks: MaskTrack | None = None
    plate: UInt8[np.ndarray, "frames height width 3"] | None = None
    plate_valid: Bool[np.ndarray, "frames height width"] | None = None


def align(
    source: Float[np.ndarray, "points 3"],
    target: Float[np.ndarray, "points 3"],
    with_scale: bool = True,
) -> tuple[Float[np.ndarray, "3 3"], Float[np.ndarray, "3"], float]:
    """Rotation, translation and scale that best map source onto target, in least squares.

    Implements Umeyama 1991, eq. 40-42; differs in scale 0 for a source of one point.
    `target ~ scale * source @ R.T + t`.
    """
    mean_source, mean_target = source.mean(0), target.mean(0)
    x, y = source - mean_source, target - mean_target
    U, singular, Vt = np.linalg.svd(y.T @ x)
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(U @ Vt))])
    R = (U * sign) @ Vt
    spread = float((x**2).sum())
    scale = 1.0
    if with_scale:
        scale = float((singular * sign).sum() / spread) if spread > 1e-18 else 0.0
    return R, mean_target - scale * R @ mean_source, scale


def aligned_distance(
    source: Float[np.ndarray, "points 3"],
    target: Float[np.ndarray, "points 3"],
    with_scale: bool = True,
) -> Float[np.ndarray, "points"]:
    """Distances that remain after `align`."""
    R, t, scale = align(source, target, with_scale)
    return np.linalg.norm(scale * source @ R.T + t - target, axis=-1)


def camera_errors(found: CameraTrack, truth: CameraTrack) -> dict[str, float]:
    """Rotation relative to the first frame in degrees; trajectory error (RMSE after Sim3).

    The trajectory error is in percent of the true path, and absent for a path shorter than
    `MIN_PATH_M`. `_solved_`: the same where a camera was found, which the goals are about.
    """
    if len(found.K) != len(truth.K):
        raise ValueError(f"found camera must have {len(truth.K)} frames, got {len(found.K)}")
    first, second = (
        T[:, :3, :3] @ T[0, :3, :3].T for T in (found.T_camera_world, truth.T_camera_world)
    )
    trace = np.einsum("tij,tij->t", first, second)
    angle = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    is_static = truth.kind == "static"
    solved = found.kind != "unknown"
    focal = found.K[:, 1, 1] / truth.K[:, 1, 1]
    result = {
        "camera_rotation_deg": float(angle.mean()),
        "camera_solved": float(solved),
        "focal_error_pct": 100 * float(np.abs(focal - 1).mean()),
        "camera_static_correct": float((found.kind == "static") == is_static),
    }
    if is_static:
        result["camera_static_recall"] = float(found.kind == "static")
    centres = [
        -np.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3])
        for T in (found.T_camera_world, truth.T_camera_world)
    ]
    path_m = float(np.linalg.norm(np.diff(centres[1], axis=0), axis=-1).sum())
    if path_m > MIN_PATH_M:
        rmse_m = float(np.sqrt((aligned_distance(*centres) ** 2).mean()))
        result["camera_ate_pct"] = 100 * rmse_m / path_m
    if solved:
        for name, unit in (("rotation", "deg"), ("ate", "pct")):
            if f"camera_{name}_{unit}" in result:
                result[f"camera_{name}_solved_{unit}"] = result[f"camera_{name}_{unit}"]
    return result


def match_people(found: BodyTracks, truth: BodyTracks) -> Int[np.ndarray, "truths frames"]:
    """For every true person-frame the found person, or -1; one to one within a frame.

    Only visible ones of both take part; a match farther than `MATCH_LIMIT` is none.
    """
    matched = np.full(truth.visible.shape, -1)
    height_px = np.ptp(truth.joints_px[..., 1], axis=-1)
    height_px = np.maximum(height_px, np.ptp(truth.joints_px[..., 0], axis=-1)).clip(1.0)
    for frame in range(truth.visible.shape[1]):
        rows = np.flatnonzero(truth.visible[:, frame])
        columns = np.flatnonzero(found.visible[:, frame])
        if not len(rows) or not len(columns):
            continue
        apart = (
            truth.joints_px[rows, None, frame][:, :, list(JOINTS)]
            - found.joints_px[None, columns, frame][:, :, list(JOINTS)]
        )
        cost = np.linalg.norm(apart, axis=-1).mean(-1) / height_px[rows, frame, None]
        # The cap lets the assignment prefer one good match over two impossible ones.
        for row, column in zip(*linear_sum_assignment(np.minimum(cost, 10)), strict=True):
            if cost[row, column] < MATCH_LIMIT:
                matched[rows[row], frame] = columns[column]
    return matched


def count_switches(matched: Int[np.ndarray, "truths frames"]) -> int:
    """Times a true person's match becomes another found person, gaps skipped."""
    total = 0
    for row in matched:
        known = row[row >= 0]
        total += int(np.count_nonzero(known[1:] != known[:-1]))
    return total


def evaluate_clip(found: ClipLabels, truth: ClipLabels, body: BodyModel) -> dict[str, float]:
    """Metrics of one clip (see `METRICS`); those that cannot be measured on it are absent."""
    matched = match_people(found.bodies, truth.bodies)
    result = camera_errors(found.camera, truth.camera)
    result["id_switches"] = float(count_switches(matched))
    hits = int((matched >= 0).sum())
    for name, bodies in (("person_recall", truth.bodies), ("person_precision", found.bodies)):
        if bodies.visible.any():
            result[name] = hits / int(bodies.visible.sum())
    if hits:
        result |= _pose_errors(found, truth, matched, body)
    if found.masks is not None and truth.masks is not None:
        result |= _mask_iou(found.masks, truth.masks, matched)
    if found.plate is not None and truth.plate is not None:
        result |= _plate_psnr(found, truth)
    return result


def evaluate_labels(
    clips: Iterable[tuple[ClipLabels, ClipLabels]], body: BodyModel
) -> dict[str, Any]:
    """Settings and metrics over clips of (found, true) labels.

    Returns:
        `{"settings": ..., "metrics": {name: {"mean", "std", "n"}}}`: mean and standard deviation
        over the clips on which the metric could be measured, and their number. Metrics measured
        nowhere are named under `settings.absent`.
    """
    return summarise([evaluate_clip(found, truth, body) for found, truth in clips], body)


def summarise(rows: Sequence[Mapping[str, float]], body: BodyModel) -> dict[str, Any]:
    """What `evaluate_labels` tells of clips that `evaluate_clip` has measured."""
    metrics = {}
    for name in METRICS:
        values = [row[name] for row in rows if name in row]
        if values:
            metrics[name] = {
                "mean": float(np.mean(values)),
                "std": float(np.std(values)),
                "n": len(values),
            }
    settings = {
        "num_clips": len(rows),
        "joints": list(EVALUATION_JOINTS),
        "pose_frame": "camera coordinates per frame; mpjpe after subtracting the pelvis",
        "match": f"joints in the image, mean distance < {MATCH_LIMIT} of the true height",
        "body_model": f"{body.name}:{body.digest[:8]}",
        "absent": [name for name in METRICS if name not in metrics],
    }
    return {"settings": settings, "metrics": metrics}


def joints_in_camera(
    bodies: BodyTracks, camera: CameraTrack, body: BodyModel
) -> Float[np.ndarray, "people frames 24 3"]:
    """Joints of all bodies in metres, camera coordinates."""
    pose = (bodies.betas[:, None], bodies.global_orient, bodies.body_pose, bodies.transl)
    joints = body.subset(torch.arange(1)).pose(*(torch.tensor(a) for a in pose)).joints
    T = camera.T_camera_world
    return np.einsum("tij,ptnj->ptni", T[:, :3, :3], joints.double().numpy()) + T[:, None, :3, 3]


def _pose_errors(
    found: ClipLabels, truth: ClipLabels, matched: np.ndarray, body: BodyModel
) -> dict[str, float]:
    rows, frames = np.nonzero(matched >= 0)
    columns = matched[rows, frames]
    a = joints_in_camera(found.bodies, found.camera, body)[columns, frames]
    b = joints_in_camera(truth.bodies, truth.camera, body)[rows, frames]
    picks = list(JOINTS)
    aligned = [aligned_distance(x, y).mean() for x, y in zip(a[:, picks], b[:, picks], strict=True)]
    apart = (a - a[:, :1]) - (b - b[:, :1])
    pixels = found.bodies.joints_px[columns, frames] - truth.bodies.joints_px[rows, frames]
    return _coverage(found.bodies.joint_sigma_m, (columns, frames), apart) | {
        "pa_mpjpe_mm": 1000 * float(np.mean(aligned)),
        "mpjpe_mm": 1000 * float(np.linalg.norm(apart[:, picks], axis=-1).mean()),
        "root_error_mm": 1000 * float(np.linalg.norm(a[:, 0] - b[:, 0], axis=-1).mean()),
        "joints_px": float(np.linalg.norm(pixels[:, picks], axis=-1).mean()),
    }


def _coverage(
    sigma_m: Float[np.ndarray, "people frames 24"] | None,
    where: tuple[np.ndarray, np.ndarray],
    error_m: Float[np.ndarray, "hits 24 3"],
) -> dict[str, float]:
    """Share of the errors along each axis within one and two foretold standard deviations.

    68 and 95 % where the errors are as large as foretold, and normal.
    """
    if sigma_m is None:
        return {}
    picks = list(JOINTS)
    units = np.abs(error_m[:, picks]) / np.maximum(sigma_m[where][:, picks, None], 1e-6)
    return {f"within_{n}_sigma": float((units < n).mean()) for n in (1, 2)}


def _mask_iou(found: MaskTrack, truth: MaskTrack, matched: np.ndarray) -> dict[str, float]:
    """Mean over true person-frames with pixels; a person that was not found counts 0."""
    values = []
    for (row, frame), column in np.ndenumerate(matched):
        true = truth.instance[frame] == row + 1
        if not true.any():
            continue
        mine = found.instance[frame] == column + 1 if column >= 0 else np.zeros_like(true)
        values.append(np.count_nonzero(mine & true) / np.count_nonzero(mine | true))
    return {"mask_iou": float(np.mean(values))} if values else {}


def _plate_psnr(found: ClipLabels, truth: ClipLabels) -> dict[str, float]:
    """Over the pixels that the found plate claims to have seen; 100 dB at most (equal plates)."""
    if found.plate is None or truth.plate is None:
        return {}
    error2 = np.square(found.plate.astype(np.float64) - truth.plate).mean(-1) / 255**2
    valid = np.ones(error2.shape, bool) if found.plate_valid is None else found.plate_valid
    if not valid.any():
        return {}
    return {"plate_psnr_db": float(-10 * np.log10(max(error2[valid].mean(), 1e-10)))}
