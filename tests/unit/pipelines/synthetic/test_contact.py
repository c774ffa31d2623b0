from functools import cache

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from pipelines.synthetic.contact import (
    CONTACT_HEIGHT_M,
    SOLE_POINTS,
    foot_contact,
    sole_points,
)
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import MOTIONS, BodyMotion

FPS = 30.0
TIMES_S = 0.7 + np.arange(60) / FPS
PLANTED = ("wave", "squat", "dance", "sit", "clap", "reach", "bow", "box")
DRIFT_M = 0.006
"""How far a sole point may move over the floor in the whole of a contact."""


@cache
def _body() -> BodyModel:
    return BodyModel.load()


@cache
def _skeleton() -> Skeleton:
    return Skeleton.of(_body(), np.zeros(10, np.float32))


def _soles(motion: BodyMotion) -> np.ndarray:
    values = (motion.global_orient, motion.body_pose, motion.transl)
    body = _body().subset(_body().surface_points(1))
    posed = body.pose(torch.zeros(10), *(torch.as_tensor(v) for v in values))
    return sole_points(posed.T_world_joint.numpy(), _skeleton())


def _intervals(contact: np.ndarray) -> list[slice]:
    """Spans of frames in a row in contact."""
    edges = np.flatnonzero(np.diff(np.r_[0, contact.astype(int), 0]))
    return [slice(a, b) for a, b in edges.reshape(-1, 2)]


def test_a_point_that_falls_rests_and_rises_is_in_contact_while_it_rests():
    height = np.array([0.3, 0.1, 0.0, 0.0, 0.0, 0.1, 0.3])
    points = np.zeros((7, 4, 3))
    points[..., 1] = height[:, None]
    points[:, 1, 1] += 0.03  # never low
    points[:, 2, 0] = 0.02 * np.arange(7)  # slides at 0.6 m/s
    contact = foot_contact(points, 30.0)
    rests = [False, False, True, True, True, False, False]
    np.testing.assert_array_equal(contact[:, 0], rests)
    assert not contact[:, 1:3].any()
    np.testing.assert_array_equal(foot_contact(points, 30.0, standing_m=0.03)[:, 1], rests)
    assert foot_contact(points[2:3], 30.0).tolist() == [[True, False, True, True]]
    assert len(SOLE_POINTS) == 4


@pytest.mark.parametrize("kind", PLANTED)
def test_planted_feet_are_in_contact_in_every_frame_and_do_not_move(kind):
    points = _soles(MOTIONS[kind](3, TIMES_S, _skeleton()))
    assert foot_contact(points, FPS).all()
    assert np.ptp(points, axis=0).max() < 1e-3


@pytest.mark.parametrize("kind", ["walk", "turn"])
def test_steps_keep_one_foot_down_and_contacts_do_not_drift(kind):
    for seed in range(3):
        points = _soles(MOTIONS[kind](seed, TIMES_S, _skeleton()))
        contact = foot_contact(points, FPS)
        assert contact.any(1).all()  # no flight
        assert not contact.all(0).any()  # and every point is lifted
        for point in range(4):
            for span in _intervals(contact[:, point]):
                over_floor = points[span, point][1:-1, [0, 2]]
                assert len(over_floor) < 2 or np.ptp(over_floor, axis=0).max() < DRIFT_M
        assert points[..., 1][contact].max() < CONTACT_HEIGHT_M


@pytest.mark.parametrize("kind", ["run", "jump"])
def test_nothing_is_in_contact_in_flight_and_something_between_flights(kind):
    for seed in range(3):
        points = _soles(MOTIONS[kind](seed, np.arange(0.0, 4.0, 1 / 60), _skeleton()))
        contact = foot_contact(points, 60.0)
        lowest = points[..., 1].min(1)
        assert not contact[lowest > CONTACT_HEIGHT_M].any()
        assert (lowest > 0.03).mean() > 0.05
        assert contact.any(1).mean() > 0.25
