"""The fit recovers bodies from exact landmarks, and says where it had no evidence."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.geometry import look_at, project, so3_exp
from pipelines.annotate.body import FitSettings, fit_bodies
from pipelines.annotate.body_energy import POSE_MEAN, POSE_STD, chain
from pipelines.annotate.body_landmarks import LEFT_RIGHT, map_landmarks
from pipelines.annotate.body_start import _fill_gaps, align, swing, unswap
from pipelines.annotate.people import PersonTrack
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.conventions import EVALUATION_JOINTS, SMPL_JOINTS

FRAMES, SIZE_PX = 24, (256, 256)
PLAIN = FitSettings(lifter=None)
"""Exact landmarks are taken as they are: the lifter would correct errors that they do not have."""
JOINTS = [SMPL_JOINTS.index(name) for name in EVALUATION_JOINTS]


@dataclass
class Scene:
    """Known bodies in front of a known static camera, and the landmarks a detector would see."""

    camera: CameraTrack
    tracks: list[PersonTrack]
    joints: torch.Tensor  # people frames 24 3, world


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def make_joints_and_points(body, seed, x_m, motion=1.0):
    """A moving body standing on y = 0: joints and landmark points in the world."""
    generator = torch.Generator().manual_seed(seed)
    landmarks = map_landmarks(body)
    time = torch.linspace(0, 0.8, FRAMES)[:, None, None]
    phase, rate = (torch.rand(1, 23, 3, generator=generator) for _ in range(2))
    pose = POSE_MEAN + 0.6 * motion * POSE_STD * torch.sin(
        6.28 * ((0.3 + 0.4 * rate) * time + phase)
    )
    betas = 0.4 * torch.randn(10, generator=generator)
    root = torch.zeros(FRAMES, 1, 3)
    root[:, 0, 1] = 0.4 + 0.8 * motion * time[:, 0, 0]
    rest = body.shape(betas).joints[None]
    R, joints = chain(
        so3_exp(torch.cat([root, pose], 1)), rest, torch.tensor([[x_m, 0.0, 0.0]]).expand(FRAMES, 3)
    )
    points = landmarks.place(betas[None], rest, joints, R)
    drop = points[:, 33:, 1].min(1).values[:, None, None] * torch.tensor([0.0, 1.0, 0.0])
    return joints - drop, points - drop


def make_track(points, camera, person_id):
    """The landmarks as the detector gives them: pixels, and metres seen along the person's ray."""
    K, T = (torch.tensor(a, dtype=torch.float32) for a in (camera.K, camera.T_camera_world))
    xy_px, _ = project(points[:, :33], K, T)
    world = points[:, :33] @ T[:, :3, :3].mT
    world = world - world[:, [23, 24]].mean(1, keepdim=True)
    hips_px = xy_px[:, [23, 24]].mean(1)
    ray = torch.cat([(hips_px - K[:, :2, 2]) / K[:, (0, 1), (0, 1)], torch.ones(FRAMES, 1)], -1)
    world = world @ swing(torch.tensor([0.0, 0.0, 1.0]), ray)
    return PersonTrack(
        person_id=person_id,
        visible=np.ones(FRAMES, bool),
        box_px=torch.cat([xy_px.min(1).values, xy_px.max(1).values], -1).numpy(),
        keypoints_px=xy_px.numpy(),
        keypoint_confidence=np.ones((FRAMES, 33), np.float32),
        world_keypoints_m=world.numpy(),
        mask_roi=np.zeros((FRAMES, 256, 256), np.uint8),
        roi=np.zeros((FRAMES, 4), np.float32),
    )


def make_scene(body, places_m=(0.0,), principal_x_px=128.0):
    K = torch.tensor([[280.0, 0, principal_x_px], [0, 280.0, 128], [0, 0, 1]])
    eye, target = torch.tensor([0.4, 1.4, 4.0]), torch.tensor([0.1, 0.9, 0.0])
    T = look_at(eye.double(), target.double())
    camera = CameraTrack(
        K=K.double().expand(FRAMES, 3, 3).numpy(),
        T_camera_world=T.expand(FRAMES, 4, 4).numpy(),
        kind="static",
        is_metric=True,
        source="truth",
    )
    people = [make_joints_and_points(body, 3 + i, x) for i, x in enumerate(places_m)]
    tracks = [make_track(points, camera, i) for i, (_, points) in enumerate(people)]
    return Scene(camera, tracks, torch.stack([joints for joints, _ in people]))


def posed_joints(body, bodies: BodyTracks):
    parts = (bodies.betas[:, None], bodies.global_orient, bodies.body_pose, bodies.transl)
    return body.subset(torch.arange(2)).pose(*(torch.tensor(a) for a in parts)).joints


def procrustes_error_mm(found, truth):
    """Mean joint distance after the best similarity of each frame."""
    found, truth = (a - a.mean(-2, keepdim=True) for a in (found, truth))
    U, S, Vh = torch.linalg.svd(truth.mT @ found)
    sign = torch.linalg.det(U @ Vh)
    S = torch.cat([S[..., :2], S[..., 2:] * sign[..., None]], -1)
    R = torch.cat([U[..., :2], U[..., 2:] * sign[..., None, None]], -1) @ Vh
    scale = S.sum(-1) / found.square().sum((-1, -2))
    return 1000 * float((scale[..., None, None] * found @ R.mT - truth).norm(dim=-1).mean())


def camera_joints(joints, camera):
    T = torch.tensor(camera.T_camera_world, dtype=torch.float32)
    return joints @ T[:, :3, :3].mT + T[:, None, :3, 3]


@pytest.fixture(scope="module")
def pair(body):
    """Two people, the second unseen in the frames 8 to 12, fitted with the known camera."""
    scene = make_scene(body, (-0.5, 0.6))
    hidden = scene.tracks[1].visible.copy()
    hidden[8:13] = False
    confidence = scene.tracks[1].keypoint_confidence * hidden[:, None]
    garbage = scene.tracks[1].keypoints_px.copy()
    garbage[8:13] = 0
    second = replace(
        scene.tracks[1], visible=hidden, keypoint_confidence=confidence, keypoints_px=garbage
    )
    scene.tracks[1] = second
    return scene, fit_bodies(scene.tracks, scene.camera, SIZE_PX, 30.0, body, PLAIN)


def test_exact_landmarks_give_the_joints_back(body, pair):
    scene, result = pair
    found = posed_joints(body, result.bodies)
    for person in range(2):
        assert procrustes_error_mm(found[person][:, JOINTS], scene.joints[person][:, JOINTS]) < 25


def test_bodies_project_onto_the_landmarks_they_came_from(pair):
    scene, result = pair
    K, T = (torch.tensor(a) for a in (scene.camera.K, scene.camera.T_camera_world))
    true_px, _ = project(scene.joints.double(), K, T)
    error = np.linalg.norm(result.bodies.joints_px - true_px.numpy(), axis=-1)[..., JOINTS]
    assert error[result.bodies.visible].mean() < 2


def test_joints_px_is_the_projection_of_the_bodies(body, pair):
    _, result = pair
    K, T = (torch.tensor(a).float() for a in (result.camera.K, result.camera.T_camera_world))
    xy_px, _ = project(posed_joints(body, result.bodies), K, T)
    np.testing.assert_allclose(result.bodies.joints_px, xy_px, atol=0.05)


def test_frames_without_evidence_are_marked_and_bridged(body, pair):
    _, result = pair
    bodies = result.bodies
    assert not bodies.visible[1, 8:13].any()
    assert bodies.visible[1, :8].all()
    assert bodies.visible[0].all()
    assert (bodies.confidence[1, 8:13] == 0).all()
    assert (bodies.confidence[1, :8] > 0.5).all()
    steps_m = posed_joints(body, bodies)[1, :, 0].diff(dim=0).norm(dim=-1)
    assert float(steps_m.max()) < 0.1


def test_a_metric_camera_is_left_alone(pair):
    scene, result = pair
    assert result.camera is scene.camera


def test_no_people_gives_empty_bodies(body):
    scene = make_scene(body)
    result = fit_bodies([], scene.camera, SIZE_PX, 30.0, body, PLAIN)
    assert result.bodies.joints_px.shape == (0, FRAMES, 24, 2)


def test_track_of_another_length_is_refused(body):
    scene = make_scene(body)
    short = replace(
        scene.camera, K=scene.camera.K[:5], T_camera_world=scene.camera.T_camera_world[:5]
    )
    with pytest.raises(ValueError, match="5 frames"):
        fit_bodies(scene.tracks, short, SIZE_PX, 30.0, body, PLAIN)


def test_free_camera_gets_a_floor_under_the_feet_and_gravity_down(body):
    scene = make_scene(body)
    T = np.broadcast_to(np.eye(4), (FRAMES, 4, 4))
    free = replace(scene.camera, T_camera_world=T, is_metric=False)
    result = fit_bodies(scene.tracks, free, SIZE_PX, 30.0, body, PLAIN)
    joints = posed_joints(body, result.bodies)
    feet_m = joints[0, :, [7, 8, 10, 11], 1].min(1).values
    assert -0.05 < float(feet_m.median()) < 0.15
    up, true_up = (c.T_camera_world[0, :3, 1] for c in (result.camera, scene.camera))
    assert np.degrees(np.arccos(up @ true_up)) < 12
    assert result.camera.is_metric
    assert "bodies" in result.camera.source
    found, true = (
        camera_joints(j, c)
        for j, c in ((joints[0], result.camera), (scene.joints[0], scene.camera))
    )
    assert procrustes_error_mm(found[:, JOINTS], true[:, JOINTS]) < 30


def test_scale_of_a_moving_camera_comes_from_standing_feet(body):
    camera = make_scene(body).camera
    T = camera.T_camera_world.copy()
    T[:, :3, 3] -= T[:, :3, 0] * np.linspace(0, 0.6, FRAMES)[:, None]  # 60 cm along world x
    camera = replace(camera, T_camera_world=T, kind="moving")
    _, points = make_joints_and_points(body, 3, 0.0, motion=0.1)
    free = T @ np.linalg.inv(T[0])
    free[:, :3, 3] /= 3
    free[:, 3] = (0, 0, 0, 1)
    u, _, vh = np.linalg.svd(free[:, :3, :3])
    free[:, :3, :3] = u @ vh
    camera_free = replace(camera, T_camera_world=free, is_metric=False)
    settings = FitSettings(lifter=None, start_iterations=20, ground_iterations=20)
    track = make_track(points, camera, 0)
    result = fit_bodies([track], camera_free, SIZE_PX, 30.0, body, settings)
    assert result.diagnostics["camera_scale"] == pytest.approx(3, rel=0.15)


def test_shifting_the_principal_point_with_the_image_changes_nothing(body):
    settings = FitSettings(lifter=None, start_iterations=20, ground_iterations=20)
    results = []
    for shift in (0.0, 40.0):
        scene = make_scene(body, principal_x_px=128 + shift)
        size = (256, 256 + 2 * int(shift))
        results.append(fit_bodies(scene.tracks, scene.camera, size, 30.0, body, settings).bodies)
    # Adam magnifies rounding where gradients vanish: the median, not the bytes.
    assert np.median(np.abs(results[0].transl - results[1].transl)) < 3e-3
    shifted_px = results[0].joints_px + np.float32([40, 0])
    assert np.median(np.abs(shifted_px - results[1].joints_px)) < 0.2


def test_the_same_input_gives_the_same_bytes(body):
    scene = make_scene(body)
    settings = FitSettings(lifter=None, start_iterations=5, ground_iterations=5)
    first, second = (
        fit_bodies(scene.tracks, scene.camera, SIZE_PX, 30.0, body, settings) for _ in range(2)
    )
    assert first.bodies.to_npz() == second.bodies.to_npz()


def test_swapped_sides_are_found_and_only_they(body):
    track = make_scene(body).tracks[0]
    keypoints, world = torch.tensor(track.keypoints_px), torch.tensor(track.world_keypoints_m)
    wrong = torch.zeros(FRAMES, dtype=torch.bool)
    wrong[[4, 5, 11]] = True
    for values in (keypoints, world):
        values[wrong] = values[wrong][:, list(LEFT_RIGHT)]
    found = unswap(
        keypoints, world, torch.ones(FRAMES, dtype=torch.bool), torch.full((FRAMES,), 150.0)
    )
    assert found.tolist() == wrong.tolist()


def test_swing_turns_one_direction_onto_another_even_the_opposite():
    start = torch.tensor([[0.0, 0, 1], [0, 0, 1], [1, 0, 0], [0, -1, 0]])
    goal = torch.tensor([[0.0, 1, 1], [0, 0, -1], [1, 0, 0], [0.3, 0.2, 0.1]])
    turned = (swing(start, goal) @ start[..., None])[..., 0]
    torch.testing.assert_close(turned, goal / goal.norm(dim=-1, keepdim=True), atol=1e-5, rtol=0)


def test_align_recovers_a_rotation_under_translation():
    generator = torch.Generator().manual_seed(0)
    rest = torch.randn(7, 3, generator=generator)
    R = so3_exp(torch.randn(5, 3, generator=generator))
    torch.testing.assert_close(align(rest, rest @ R.mT + 2), R, atol=1e-4, rtol=0)


def test_gaps_are_filled_in_a_line_and_ends_are_held():
    values = torch.tensor([[[9.0], [1.0], [9.0], [9.0], [4.0], [9.0]]])
    visible = torch.tensor([[False, True, False, False, True, False]])
    assert _fill_gaps(values, visible)[0, :, 0].tolist() == [1, 1, 2, 3, 4, 4]


def test_chain_agrees_with_the_body_model(body):
    generator = torch.Generator().manual_seed(1)
    pose, root = (
        torch.randn(2, 23, 3, generator=generator),
        torch.randn(2, 1, 3, generator=generator),
    )
    betas, transl = torch.randn(2, 10, generator=generator), torch.randn(2, 3, generator=generator)
    truth = body.subset(torch.arange(2)).pose(betas, root[:, 0], pose.flatten(1), transl)
    rest = body.shape(betas).joints
    R, joints = chain(so3_exp(torch.cat([root, pose], 1)), rest, rest[:, 0] + transl)
    torch.testing.assert_close(joints, truth.joints, atol=1e-4, rtol=0)
    torch.testing.assert_close(R, truth.T_world_joint[..., :3, :3], atol=1e-5, rtol=0)


def test_landmarks_are_where_a_person_has_them(body):
    """Left is +x, up is +y, front is +z in the rest pose."""
    rest = map_landmarks(body).template
    mirrored = rest[list(LEFT_RIGHT)] * torch.tensor([-1.0, 1.0, 1.0])
    torch.testing.assert_close(rest[:33], mirrored, atol=0.01, rtol=0)
    assert float(rest[11, 0]) > 0.1
    assert float(rest[15, 0]) > float(rest[13, 0]) > float(rest[11, 0])
    assert float(rest[0, 2]) > float(rest[7, 2])
    assert float(rest[31, 2]) > float(rest[29, 2])
    assert float(rest[33:, 1].max()) <= float(body.v_template[:, 1].min()) + 0.01
