from functools import cache

import numpy as np
import pytest
import torch

from models.body.model import BodyModel, PosedBody
from pipelines.synthetic.gait import Path, Skeleton, plan_feet
from pipelines.synthetic.motion import MOTIONS, BodyMotion

FPS = 24
FLYING = ("run", "jump")
TIMES_S = 1.0 + np.arange(36) / FPS


@cache
def _body() -> BodyModel:
    return BodyModel.load()


@cache
def _skeleton(shape: int) -> Skeleton:
    return Skeleton.of(_body(), _betas(shape))


def _betas(shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=10).astype(np.float32)


def _posed(motion: BodyMotion, shape: int) -> PosedBody:
    feet = torch.nonzero(_body().weights[:, [7, 8, 10, 11]].sum(1) > 0.9)[:, 0]
    values = (motion.global_orient, motion.body_pose, motion.transl)
    subset = _body().subset(feet[::4])
    return subset.pose(torch.as_tensor(_betas(shape)), *(torch.as_tensor(v) for v in values))


@pytest.mark.parametrize("kind", MOTIONS)
def test_feet_neither_sink_nor_float(kind):
    for seed, shape in ((0, 0), (1, 3)):
        posed = _posed(MOTIONS[kind](seed, TIMES_S, _skeleton(shape)), shape)
        lowest = posed.vertices[..., 1].amin(1)
        assert lowest.min() > -0.02  # penetration
        if kind in FLYING:
            assert lowest.max() > 0.03
        else:
            assert lowest.max() < 0.02  # one foot always carries


@pytest.mark.parametrize("kind", MOTIONS)
def test_the_part_of_the_foot_on_the_floor_does_not_skate(kind):
    for seed in range(2):
        posed = _posed(MOTIONS[kind](seed, TIMES_S, _skeleton(0)), 0)
        vertices = posed.vertices.numpy()
        on_floor = (vertices[1:, :, 1] < 0.008) & (vertices[:-1, :, 1] < 0.008)
        step_m = np.linalg.norm(np.diff(vertices, axis=0)[..., [0, 2]], axis=-1)
        assert np.percentile(step_m[on_floor], 95) < 0.006


@pytest.mark.parametrize("kind", MOTIONS)
def test_nothing_of_the_body_is_in_the_floor(kind):
    times = np.arange(0.0, 9.0, 0.2)
    for seed in (0, 1):
        motion = MOTIONS[kind](seed, times, _skeleton(0))
        values = (torch.as_tensor(v) for v in vars(motion).values())
        spread = _body().subset(_body().surface_points(600))
        vertices = spread.pose(torch.as_tensor(_betas(0)), *values).vertices
        assert vertices[..., 1].min() > -0.025


def test_sitting_comes_down_to_the_floor():
    joints = _posed(MOTIONS["sit"](0, np.arange(0.0, 9.0, 0.1), _skeleton(0)), 0).joints
    assert joints[:, 0, 1].min() < 0.15
    assert joints[:, 0, 1].max() > 0.8


@pytest.mark.parametrize("kind", MOTIONS)
def test_knees_and_elbows_bend_the_right_way(kind):
    for seed in range(2):
        motion = MOTIONS[kind](seed, TIMES_S, _skeleton(0))
        pose = motion.body_pose.reshape(-1, 23, 3)
        knees = pose[:, 3:5]
        assert knees[..., 0].min() > -0.14  # to the back; the rest pose is bent by -0.13
        assert np.abs(knees[..., 1:]).max() < 0.3  # and hardly aside
        assert pose[:, 17, 1].max() <= 0.01  # left elbow
        assert pose[:, 18, 1].min() >= -0.01  # right elbow
        elbows_deg = np.degrees(np.linalg.norm(pose[:, 17:19], axis=-1))
        assert elbows_deg.max() < 155


@pytest.mark.parametrize("kind", MOTIONS)
def test_motion_is_smooth_and_a_pure_function_of_its_times(kind):
    first, again = (MOTIONS[kind](5, TIMES_S, _skeleton(0)) for _ in range(2))
    for name in ("global_orient", "body_pose", "transl"):
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name))
    joints = _posed(first, 0).joints.numpy()
    assert np.linalg.norm(np.diff(joints, axis=0), axis=-1).max() < 0.42  # 10 m/s


def test_walk_goes_where_it_faces_and_arms_swing_against_legs():
    motion = MOTIONS["walk"](2, TIMES_S, _skeleton(0))
    joints = _posed(motion, 0).joints.numpy()
    assert joints[-1, 0, 2] - joints[0, 0, 2] > 0.5
    hand = joints[:, 20, 2] - joints[:, 21, 2]
    foot = joints[:, 7, 2] - joints[:, 8, 2]
    assert np.corrcoef(hand, foot)[0, 1] < -0.7


def test_a_standing_foot_holds_its_contact_point_exactly():
    times = np.linspace(0.0, 4.0, 200)
    span = np.array([-5.0, 10.0])
    path = Path(times_s=span, xz_m=np.stack([0 * span, 1.2 * span], 1), yaw=0 * span)
    skeleton = _skeleton(0)
    feet = plan_feet(skeleton, path, times, 0.55, 0.16)
    assert feet.stance.sum(0).min() >= 1.0
    for side in (0, 1):
        flat = (feet.pitch[side] == 0) & (feet.stance[side] == 1)
        moved = np.diff(feet.ankles[side], axis=0)[flat[1:] & flat[:-1]]
        assert np.abs(moved).max() < 1e-9
