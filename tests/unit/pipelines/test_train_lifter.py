"""The training data of the lifter: poses that people can take, errors lent truly, one command."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.geometry import so3_exp
from models.lifter import load_lifter
from models.recipes.lifter import LifterRecipe
from pipelines.lifter_data import Pairs, make_pairs, posed_points
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.poses import pose_library, random_joints, sample_poses
from pipelines.train_lifter import borrow_errors, samples_of, sight_of, train, validate, vary

RECIPE = LifterRecipe(num_steps=30, batch_size=32, num_poses=200)


@pytest.fixture(scope="module")
def points():
    return posed_points(0, 40)


@pytest.fixture(scope="module")
def pairs(points):
    """Exact detections of posed bodies, 4 m away."""
    in_camera = points + np.array([0.3, -0.1, 4.0], np.float32)
    K = np.tile(np.array([[280, 0, 128], [0, 280, 128], [0, 0, 1]], np.float32), (40, 1, 1))
    pixels = in_camera[..., :2] / in_camera[..., 2:] * 280 + 128
    landmarks = points[:, 24:]
    hips = landmarks[:, [23, 24]].mean(1, keepdims=True)
    return Pairs(
        keypoints_px=pixels[:, 24:],
        confidence=np.ones((40, 33), np.float32),
        world_m=landmarks - hips,
        K=K,
        points_m=in_camera,
    )


def test_poses_are_varied_but_keep_to_their_ranges():
    body = BodyModel.load()
    skeleton = Skeleton.of(body, np.zeros(10, np.float32))
    library = pose_library(0, skeleton, 1)
    poses = sample_poses(np.random.default_rng(0), library, 300, skeleton)
    assert poses.body_pose.shape == (300, 69)
    angles = np.linalg.norm(poses.body_pose.reshape(300, 23, 3), axis=-1)
    assert angles.max() <= np.pi + 1e-5
    elbows = angles[:, [17, 18]]
    assert np.ptp(elbows) > 2.0
    free = random_joints(np.random.default_rng(1), 500, skeleton)
    knees = np.degrees(free[:, [3, 4], 0])
    assert knees.min() >= 0
    assert knees.max() <= 140


def test_a_library_faces_ahead():
    skeleton = Skeleton.of(BodyModel.load(), np.zeros(10, np.float32))
    R = torch.tensor(pose_library(0, skeleton, 1).global_orient)
    ahead = so3_exp(R)[:, :, 2]
    assert ahead[:, 0].abs().max() < 1e-5


def test_exact_pictures_lend_no_error(pairs, points):
    pictures = samples_of(pairs)
    rng = torch.Generator().manual_seed(0)
    lent = borrow_errors(rng, torch.tensor(points[:7]), pictures)
    torch.testing.assert_close(lent.plane, lent.true_plane[:, 24:], atol=1e-4, rtol=1e-3)
    apart = (lent.world_m - lent.true_m[:, 24:]).norm(dim=-1)
    assert apart.max() < 0.2  # the crop frame turns truth and detection alike, up to its tilt


def test_varied_detections_still_fit_their_truth(pairs):
    varied = vary(torch.Generator().manual_seed(1), samples_of(pairs), RECIPE)
    torch.testing.assert_close(varied.plane, varied.true_plane[:, 24:], atol=1e-4, rtol=1e-3)
    apart = (varied.world_m - varied.true_m[:, 24:]).norm(dim=-1)
    assert apart.max() < 0.2  # the crop frame turns truth and detection alike, up to its tilt


def test_training_learns_and_writes_a_run(pairs, tmp_path):
    folder = tmp_path / "pairs"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.npz").write_bytes(pairs.to_npz())
    numbers = train(replace(RECIPE, num_steps=60), folder, tmp_path / "run")
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < rows[0]["loss"] - 0.3
    assert numbers["val_pa_mpjpe_mm"] == rows[-1]["val_pa_mpjpe_mm"]
    again = validate(load_lifter(tmp_path / "run"), samples_of(pairs))
    assert again["val_pa_mpjpe_mm"] == pytest.approx(
        numbers["val_pa_mpjpe_mm"], rel=1e-2
    )  # half precision


def test_no_pairs_is_an_error_that_says_how_to_make_some(tmp_path):
    with pytest.raises(ValueError, match=r"pipelines\.lifter_data"):
        train(RECIPE, tmp_path, tmp_path / "run")


@pytest.mark.slow
def test_the_shipped_lifter_is_nearer_the_truth_than_the_detector():
    pairs = make_pairs(987654, 12)
    assert pairs is not None
    samples = samples_of(pairs)
    numbers = validate(load_lifter(), samples)
    lifted = load_lifter().lift(sight_of(samples)).points_m[:, 24:]
    raw = (samples.world_m - samples.true_m[:, 24:]).norm(dim=-1).mean()
    assert float((lifted - samples.true_m[:, 24:]).norm(dim=-1).mean()) < 0.8 * float(raw)
    assert numbers["val_pa_mpjpe_mm"] < 100
