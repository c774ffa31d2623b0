"""Laws of the label metrics, and the trajectory errors that evo computed on real files."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel
from pipelines.evaluate_labels import (
    ClipLabels,
    align,
    aligned_distance,
    camera_errors,
    count_switches,
    evaluate_clip,
    evaluate_labels,
    match_people,
)
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack

FRAMES = 6


def random_rigid(seed):
    generator = np.random.default_rng(seed)
    T = np.eye(4)
    T[:3, :3] = Rotation.random(random_state=seed).as_matrix()
    T[:3, 3] = generator.normal(size=3)
    return T


def make_camera(seed=0, kind="moving"):
    """A smooth path for moving cameras, one pose for static ones."""
    generator = np.random.default_rng(seed)
    time = np.linspace(0, 1, FRAMES)[:, None] * (kind == "moving")
    rotvec = generator.normal(size=3) + time * generator.normal(size=3)
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    T[:, :3, :3] = Rotation.from_rotvec(rotvec).as_matrix()
    T[:, :3, 3] = np.array([0, 0, 4]) + time**2 * generator.normal(size=3)
    K = np.tile(np.array([[100.0, 0, 32], [0, 100, 32], [0, 0, 1]]), (FRAMES, 1, 1))
    return CameraTrack(K=K, T_camera_world=T, kind=kind, is_metric=True, source="test")


def make_bodies(seed=0, people=2):
    generator = np.random.default_rng(seed)

    def numbers(*shape):
        return generator.normal(size=(people, *shape)).astype(np.float32)

    joints_px = 20 * numbers(FRAMES, 24, 2) + 300 * np.arange(people)[:, None, None, None]
    return BodyTracks(
        person_id=np.arange(people),
        betas=numbers(10),
        global_orient=numbers(FRAMES, 3),
        body_pose=0.3 * numbers(FRAMES, 69),
        transl=numbers(FRAMES, 3),
        visible=np.ones((people, FRAMES), bool),
        confidence=np.ones((people, FRAMES), np.float32),
        joints_px=joints_px.astype(np.float32),
        body_model="free",
    )


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def truth():
    instance = np.zeros((FRAMES, 8, 8), np.uint8)
    instance[:, :4, :4], instance[:, 4:, 4:] = 1, 2
    plate = np.random.default_rng(0).integers(0, 200, (FRAMES, 8, 8, 3), np.uint8)
    return ClipLabels(
        bodies=make_bodies(), camera=make_camera(), masks=MaskTrack(instance=instance), plate=plate
    )


def read_tum(path):
    rows = np.loadtxt(path)
    return rows[:, 0], rows[:, 1:4]


def associate(times, other, limit_s=0.01):
    """Pairs of nearest times, as evo does: for every time of the shorter list."""
    nearest = np.abs(times[:, None] - other[None]).argmin(1)
    close = np.abs(times - other[nearest]) <= limit_s
    return np.flatnonzero(close), nearest[close]


@pytest.mark.parametrize(
    ("file", "how", "name"),
    [
        ("rgbdslam", None, "fr1_xyz rgbdslam, APE trans, not aligned"),
        ("rgbdslam", False, "fr1_xyz rgbdslam, APE trans, SE3 aligned"),
        ("rgbdslam_drift", False, "fr1_xyz rgbdslam_drift, APE trans, SE3 aligned"),
        ("ORB_kf_mono", True, "fr1_xyz ORB mono, APE trans, Sim3 aligned"),
    ],
)
def test_trajectory_error_equals_evo(shared_data, file, how, name):
    golden = json.loads((shared_data / "golden/reference_values.json").read_text())
    expected = golden["trajectories"][name]
    folder = shared_data / "golden/trajectories"
    times, found = read_tum(folder / f"freiburg1_xyz-{file}.txt")
    true_times, true = read_tum(folder / "freiburg1_xyz-groundtruth.txt")
    mine, others = associate(times, true_times)
    assert len(mine) == expected["pairs"]
    found, true = found[mine], true[others]
    if how is None:
        distance = np.linalg.norm(found - true, axis=-1)
    else:
        distance = aligned_distance(found, true, with_scale=how)
    for statistic in ("mean", "median", "max"):
        assert getattr(np, statistic)(distance) == pytest.approx(expected[statistic], rel=1e-4)
    assert np.sqrt((distance**2).mean()) == pytest.approx(expected["rmse"], rel=1e-5)
    if "scale" in expected:
        assert align(found, true)[2] == pytest.approx(expected["scale"], rel=1e-6)


def test_alignment_undoes_any_similarity():
    points = np.random.default_rng(0).normal(size=(14, 3))
    T = random_rigid(1)
    moved = 2.5 * points @ T[:3, :3].T + T[:3, 3]
    R, t, scale = align(points, moved)
    np.testing.assert_allclose(R, T[:3, :3], atol=1e-9)
    np.testing.assert_allclose(t, T[:3, 3], atol=1e-9)
    assert scale == pytest.approx(2.5)
    assert aligned_distance(points, moved).max() < 1e-9
    assert aligned_distance(points, moved, with_scale=False).max() > 0.1


def test_alignment_never_mirrors():
    points = np.random.default_rng(0).normal(size=(14, 3))
    R, _, _ = align(points, points * [-1, 1, 1])
    assert np.linalg.det(R) == pytest.approx(1)
    assert aligned_distance(points, points * [-1, 1, 1]).max() > 0.1


def test_perfect_labels_have_no_error(truth, body):
    metrics = evaluate_clip(truth, truth, body)
    zeros = ("pa_mpjpe_mm", "mpjpe_mm", "root_error_mm", "joints_px", "id_switches")
    for name in (*zeros, "camera_rotation_deg", "camera_ate_pct"):
        assert metrics[name] == pytest.approx(0, abs=1e-4), name
    for name in ("mask_iou", "person_recall", "person_precision", "camera_static_correct"):
        assert metrics[name] == 1, name
    assert metrics["plate_psnr_db"] == pytest.approx(100)


def test_the_choice_of_world_does_not_matter(truth, body):
    """Moving bodies and camera together, with the joints kept in the image, changes nothing."""
    T = random_rigid(3)
    bodies = truth.bodies
    R_root = Rotation.from_rotvec(bodies.global_orient.reshape(-1, 3)).as_matrix()
    root = body.shape(torch.tensor(bodies.betas)).joints[:, :1].numpy()
    pelvis = (bodies.transl + root) @ T[:3, :3].T + T[:3, 3]
    moved = replace(
        bodies,
        global_orient=Rotation.from_matrix(T[:3, :3] @ R_root)
        .as_rotvec()
        .reshape(bodies.global_orient.shape)
        .astype(np.float32),
        transl=(pelvis - root).astype(np.float32),
    )
    T_camera = truth.camera.T_camera_world @ np.linalg.inv(T)
    T_camera[:, 3] = (0, 0, 0, 1)
    camera = replace(truth.camera, T_camera_world=T_camera)
    metrics = evaluate_clip(replace(truth, bodies=moved, camera=camera), truth, body)
    for name in ("pa_mpjpe_mm", "mpjpe_mm", "root_error_mm"):
        assert metrics[name] == pytest.approx(0, abs=0.01), name
    assert metrics["camera_rotation_deg"] == pytest.approx(0, abs=1e-4)
    assert metrics["camera_ate_pct"] == pytest.approx(0, abs=1e-6)


def test_a_shifted_body_errs_in_the_root_alone(truth, body):
    moved = replace(truth.bodies, transl=truth.bodies.transl + np.float32([0.03, 0, 0.04]))
    metrics = evaluate_clip(replace(truth, bodies=moved), truth, body)
    assert metrics["root_error_mm"] == pytest.approx(50, rel=1e-3)
    assert metrics["mpjpe_mm"] == pytest.approx(0, abs=1e-3)


def test_people_in_another_order_are_matched(truth, body):
    order = [1, 0]
    fields = ("betas", "global_orient", "body_pose", "transl", "joints_px")
    swapped = replace(truth.bodies, **{name: getattr(truth.bodies, name)[order] for name in fields})
    masks = MaskTrack(instance=np.array([0, 2, 1], np.uint8)[truth.masks.instance])
    metrics = evaluate_clip(replace(truth, bodies=swapped, masks=masks), truth, body)
    assert metrics["mpjpe_mm"] == pytest.approx(0, abs=1e-4)
    assert metrics["mask_iou"] == 1
    assert metrics["id_switches"] == 0


def test_an_exchange_of_identities_counts_twice(truth):
    joints_px = truth.bodies.joints_px.copy()
    joints_px[:, 3:] = joints_px[::-1, 3:]
    matched = match_people(replace(truth.bodies, joints_px=joints_px), truth.bodies)
    assert matched.tolist() == [[0, 0, 0, 1, 1, 1], [1, 1, 1, 0, 0, 0]]
    assert count_switches(matched) == 2


def test_a_gap_in_the_track_is_no_switch():
    assert count_switches(np.array([[0, -1, 0, 0, -1]])) == 0


def test_a_missed_person_lowers_recall_and_mask_alone(truth, body):
    visible = truth.bodies.visible.copy()
    visible[1] = False
    seen = replace(truth.bodies, visible=visible)
    metrics = evaluate_clip(replace(truth, bodies=seen), truth, body)
    assert metrics["person_recall"] == 0.5
    assert metrics["person_precision"] == 1
    assert metrics["mask_iou"] == 0.5
    assert metrics["mpjpe_mm"] == pytest.approx(0, abs=1e-4)


def test_a_person_far_away_in_the_image_is_no_match(truth):
    far = replace(truth.bodies, joints_px=truth.bodies.joints_px + np.float32(5000))
    assert (match_people(far, truth.bodies) == -1).all()


def test_plate_is_compared_only_where_it_was_seen(truth, body):
    plate, valid = truth.plate.copy(), np.ones((FRAMES, 8, 8), bool)
    plate[:, :2] = 255
    valid[:, :2] = False
    found = replace(truth, plate=plate, plate_valid=valid)
    assert evaluate_clip(found, truth, body)["plate_psnr_db"] == pytest.approx(100)
    found = replace(truth, plate=truth.plate + np.uint8(1))
    assert evaluate_clip(found, truth, body)["plate_psnr_db"] == pytest.approx(48.13, abs=0.01)


def test_static_camera_is_judged_by_its_kind():
    static, moving = make_camera(kind="static"), make_camera()
    assert camera_errors(static, static)["camera_static_recall"] == 1
    assert "camera_ate_pct" not in camera_errors(static, static)
    assert camera_errors(replace(static, kind="moving"), static)["camera_static_recall"] == 0
    assert "camera_static_recall" not in camera_errors(moving, moving)
    assert camera_errors(static, moving)["camera_static_correct"] == 0
    # A camera that is said to stand errs by the spread of the true path.
    assert camera_errors(static, moving)["camera_ate_pct"] > 10


def test_report_counts_clips_and_names_what_is_absent(truth, body):
    bare = ClipLabels(bodies=truth.bodies, camera=truth.camera)
    report = evaluate_labels([(truth, truth), (bare, bare)], body)
    assert report["metrics"]["mpjpe_mm"]["n"] == 2
    assert report["metrics"]["mask_iou"] == {"mean": 1.0, "std": 0.0, "n": 1}
    assert report["settings"]["absent"] == [
        "camera_static_recall",
        "within_1_sigma",
        "within_2_sigma",
    ]
    json.dumps(report)


def test_doubt_as_large_as_the_errors_covers_them(truth, body):
    found = replace(truth.bodies, body_pose=truth.bodies.body_pose * 1.1)
    shares = {}
    for sigma_m in (0.001, 0.05, 10.0):
        sigma = np.full((*found.visible.shape, 24), sigma_m, np.float32)
        labels = replace(truth, bodies=replace(found, joint_sigma_m=sigma))
        shares[sigma_m] = evaluate_clip(labels, truth, body)
    assert shares[10.0]["within_1_sigma"] == 1
    assert shares[0.001]["within_1_sigma"] < shares[0.05]["within_1_sigma"]
    assert shares[0.05]["within_1_sigma"] <= shares[0.05]["within_2_sigma"]


def test_errors_of_a_camera_that_was_not_found_are_not_among_the_solved(truth):
    found = replace(truth.camera, kind="unknown")
    errors = camera_errors(found, truth.camera)
    assert errors["camera_solved"] == 0
    assert "camera_rotation_deg" in errors
    assert "camera_rotation_solved_deg" not in errors
    zoomed = replace(truth.camera, K=truth.camera.K * np.array([1.1, 1.1, 1.0])[:, None])
    assert abs(camera_errors(zoomed, truth.camera)["focal_error_pct"] - 10) < 1e-6
