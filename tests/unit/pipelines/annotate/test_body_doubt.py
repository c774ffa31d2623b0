"""Doubt about joints grows with what was foretold, with disagreement, and away from evidence."""

from dataclasses import replace

import pytest
import torch

from models.body.model import BodyModel
from pipelines.annotate.body_doubt import MOST_M, joint_doubt
from pipelines.annotate.body_start import Observation

FRAMES = 12


@pytest.fixture
def seen():
    visible = torch.ones(1, FRAMES, dtype=torch.bool)
    return Observation(
        points_px=torch.zeros(1, FRAMES, 57, 2),
        points_m=torch.randn(1, FRAMES, 57, 3, generator=torch.Generator().manual_seed(0)),
        sigma_px=torch.ones(1, FRAMES, 57),
        sigma_m=torch.full((1, FRAMES, 57), 0.03),
        trust=torch.ones(1, FRAMES, 57),
        weight=torch.ones(1, FRAMES, 33),
        visible=visible,
        size_px=torch.full((1, FRAMES), 100.0),
        K=torch.eye(3).expand(FRAMES, 3, 3),
        T_camera_world=torch.eye(4).expand(FRAMES, 4, 4),
    )


def doubt(seen, moved_m=0.0):
    rest = BodyModel.load().J_template[None]
    joints = seen.points_m[:, :, :24] + moved_m
    return joint_doubt(joints, torch.zeros(1, FRAMES, 3), rest, seen, 24.0)


def test_it_follows_what_the_lifter_foretold_and_how_far_the_fit_went(seen):
    near = doubt(seen)
    assert (doubt(replace(seen, sigma_m=2 * seen.sigma_m)) > 1.9 * near).all()
    assert (doubt(seen, moved_m=0.1) > near).all()


def test_it_grows_frame_by_frame_away_from_what_was_seen(seen):
    visible = seen.visible.clone()
    visible[:, 5:] = False
    hidden = doubt(replace(seen, visible=visible))
    torch.testing.assert_close(hidden[:, :5], doubt(seen)[:, :5])
    wrist = hidden[0, 5:, 20]
    assert (wrist.diff() >= 0).all()
    assert wrist[-1] > 2 * hidden[0, 4, 20]
    assert hidden.max() <= MOST_M


def test_a_person_nobody_saw_is_as_doubtful_as_can_be(seen):
    nobody = doubt(replace(seen, visible=torch.zeros_like(seen.visible)))
    assert (nobody[:, :, 1:] == MOST_M).all()
