"""Agreeing labels score high, each kind of disagreement lowers its own number."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.geometry import look_at, project
from pipelines.annotate.body_energy import POSE_MEAN
from pipelines.annotate.body_landmarks import map_landmarks
from pipelines.annotate.people import PersonTrack
from pipelines.annotate.quality import (
    LANDMARK_OF_JOINT,
    ClipEvidence,
    draw_silhouettes,
    mask_iou,
    measure_quality,
    overall_score,
)
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack

FRAMES, SIZE_PX, FPS = 4, (96, 96), 30.0


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def camera():
    K = np.tile(np.array([[100.0, 0, 48], [0, 100, 48], [0, 0, 1]]), (FRAMES, 1, 1))
    eye, target = torch.tensor([0.0, 1.0, 3.0]), torch.tensor([0.0, 0.9, 0.0])
    T = look_at(eye.double(), target.double()).expand(FRAMES, 4, 4).numpy()
    return CameraTrack(K=K, T_camera_world=T, kind="static", is_metric=True, source="truth")


def make_bodies(body, camera, x_m=(0.0,)):
    """People standing still on the floor, side by side."""
    people = len(x_m)
    pose = POSE_MEAN.flatten().expand(people, FRAMES, 69)
    zeros, transl = torch.zeros(people, FRAMES, 3), torch.zeros(people, FRAMES, 3)
    posed = body.pose(torch.zeros(people, 1, 10), zeros, pose, transl)
    landmarks = map_landmarks(body)
    rest = body.shape(torch.zeros(10)).joints
    R = posed.T_world_joint[..., :3, :3]
    soles = landmarks.place(torch.zeros(10), rest, posed.joints, R)[..., 33:, 1]
    transl[..., 0] = torch.tensor(x_m)[:, None]
    transl[..., 1] = -soles.min(-1).values
    joints = posed.joints + transl[:, :, None]
    K, T = (torch.tensor(a).float() for a in (camera.K, camera.T_camera_world))
    return BodyTracks(
        person_id=np.arange(people),
        betas=np.zeros((people, 10), np.float32),
        global_orient=zeros.numpy(),
        body_pose=pose.numpy(),
        transl=transl.numpy(),
        visible=np.ones((people, FRAMES), bool),
        confidence=np.ones((people, FRAMES), np.float32),
        joints_px=project(joints, K, T)[0].numpy(),
        body_model="free",
    )


def draw(bodies, camera, body, frame=0):
    parts = (bodies.global_orient, bodies.body_pose, bodies.transl)
    mesh = body.pose(torch.tensor(bodies.betas), *(torch.tensor(a[:, frame]) for a in parts))
    vertices = list(mesh.vertices.numpy())
    faces, K, T = body.faces.numpy(), camera.K[frame], camera.T_camera_world[frame]
    return draw_silhouettes(vertices, faces, K, T, SIZE_PX)


def make_evidence(bodies, camera, body):
    """Keypoints and masks exactly where the bodies are."""
    keypoints = np.zeros((len(bodies.person_id), FRAMES, 33, 2), np.float32)
    for joint, landmark in LANDMARK_OF_JOINT.items():
        keypoints[:, :, landmark] = bodies.joints_px[:, :, joint]
    tracks = [
        PersonTrack(
            person_id=p,
            visible=np.ones(FRAMES, bool),
            box_px=np.tile(np.float32([30, 10, 66, 90]), (FRAMES, 1)),
            keypoints_px=keypoints[p],
            keypoint_confidence=np.ones((FRAMES, 33), np.float32),
            world_keypoints_m=np.zeros((FRAMES, 33, 3), np.float32),
            mask_roi=np.zeros((FRAMES, 256, 256), np.uint8),
            roi=np.zeros((FRAMES, 4), np.float32),
        )
        for p in range(len(bodies.person_id))
    ]
    return ClipEvidence(
        tracks=tracks,
        masks=MaskTrack(instance=np.tile(draw(bodies, camera, body), (FRAMES, 1, 1))),
        background_valid=BackgroundValid(valid=np.ones((FRAMES, *SIZE_PX), bool)),
    )


@pytest.fixture(scope="module")
def perfect(body, camera):
    bodies = make_bodies(body, camera, (-0.4, 0.4))
    return bodies, make_evidence(bodies, camera, body)


def test_labels_that_agree_score_one(body, camera, perfect):
    bodies, evidence = perfect
    quality = measure_quality(bodies, camera, evidence, body, FPS)
    assert quality["silhouette_iou"] == pytest.approx(1)
    assert quality["keypoint_error_px"] == pytest.approx(0, abs=1e-4)
    assert quality["foot_skating_m_s"] == pytest.approx(0, abs=1e-3)
    assert quality["jitter_m_frame2"] == pytest.approx(0, abs=1e-4)
    assert quality["floor_penetration_m"] == pytest.approx(0, abs=1e-5)
    assert quality["people_count"] == 2
    assert quality["overall"] == pytest.approx(1, abs=0.01)


def test_sliding_and_sinking_feet_show_in_metres(body, camera, perfect):
    bodies, evidence = perfect
    transl = bodies.transl.copy()
    transl[..., 0] += 0.01 * np.arange(FRAMES)  # 1 cm a frame
    transl[..., 1] -= 0.02
    quality = measure_quality(replace(bodies, transl=transl), camera, evidence, body, FPS)
    assert quality["foot_skating_m_s"] == pytest.approx(0.3, rel=0.01)
    assert quality["floor_penetration_m"] == pytest.approx(0.02, rel=0.05)


def test_shake_is_the_second_difference(body, camera, perfect):
    bodies, evidence = perfect
    transl = bodies.transl.copy()
    transl[:, ::2, 2] += 0.01
    quality = measure_quality(replace(bodies, transl=transl), camera, evidence, body, FPS)
    assert quality["jitter_m_frame2"] == pytest.approx(0.02, rel=0.01)


def test_shifted_joints_show_in_pixels_and_relative_to_the_box(body, camera, perfect):
    bodies, evidence = perfect
    moved = replace(bodies, joints_px=bodies.joints_px + np.float32([3, 4]))
    quality = measure_quality(moved, camera, evidence, body, FPS)
    assert quality["keypoint_error_px"] == pytest.approx(5, rel=1e-4)
    assert quality["keypoint_error_relative"] == pytest.approx(5 / 80, rel=1e-4)


def test_mask_of_another_place_has_no_overlap(body, camera, perfect):
    bodies, evidence = perfect
    swapped = np.array([0, 2, 1], np.uint8)[evidence.masks.instance]
    wrong = replace(evidence, masks=MaskTrack(instance=swapped))
    quality = measure_quality(bodies, camera, wrong, body, FPS)
    assert quality["silhouette_iou"] < 0.1
    assert quality["overall"] < 0.8


def test_nobody_leaves_people_numbers_absent_and_scores_zero(body, camera):
    bodies = make_bodies(body, camera, ())
    evidence = ClipEvidence(
        tracks=[],
        masks=MaskTrack(instance=np.zeros((FRAMES, *SIZE_PX), np.uint8)),
        background_valid=BackgroundValid(valid=np.ones((FRAMES, *SIZE_PX), bool)),
    )
    quality = measure_quality(bodies, camera, evidence, body, FPS)
    assert quality["overall"] == 0
    assert "silhouette_iou" not in quality


def test_unfound_camera_is_not_registered(body, camera, perfect):
    bodies, evidence = perfect
    unknown = replace(camera, kind="unknown")
    quality = measure_quality(bodies, unknown, evidence, body, FPS)
    assert quality["camera_registered_fraction"] == 0
    half = replace(evidence, camera_registered=np.array([True, False, True, False]))
    quality = measure_quality(bodies, unknown, half, body, FPS)
    assert quality["camera_registered_fraction"] == 0.5


def test_every_error_lowers_the_score():
    good = {
        "visible_fraction": 1.0,
        "mean_confidence": 0.9,
        "plate_valid_fraction": 1.0,
        "camera_registered_fraction": 1.0,
        "silhouette_iou": 0.9,
        "foot_skating_m_s": 0.1,
        "jitter_m_frame2": 0.004,
    }
    worse = {"foot_skating_m_s": 0.3, "silhouette_iou": 0.5, "jitter_m_frame2": 0.02}
    for name, value in worse.items():
        assert overall_score(good | {name: value}) < overall_score(good)
    assert 0 <= overall_score(good) <= 1


def test_silhouette_covers_what_a_square_covers():
    """A square of 20 x 20 pixels facing the camera, corners on pixel borders."""
    corners = np.float32([[-1, 1, 0], [1, 1, 0], [1, -1, 0], [-1, -1, 0]])
    faces = np.array([[0, 3, 2], [0, 2, 1]])
    K = np.array([[20.0, 0, 16], [0, 20, 16], [0, 0, 1]])
    T = look_at(torch.tensor([0.0, 0, 2]).double(), torch.zeros(3).double()).numpy()
    labels = draw_silhouettes([corners], faces, K, T, (32, 32))
    expected = np.zeros((32, 32), np.uint8)
    expected[6:26, 6:26] = 1
    assert mask_iou(labels == 1, expected == 1) > 0.9


def test_nearer_person_hides_the_farther(body, camera):
    bodies = make_bodies(body, camera, (0.0, 0.0))
    transl = bodies.transl.copy()
    transl[1, :, 2] += 0.8  # the camera looks from +z
    labels = draw(replace(bodies, transl=transl), camera, body)
    assert (labels == 2).sum() > 5 * (labels == 1).sum()
