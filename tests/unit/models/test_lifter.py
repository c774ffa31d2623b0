"""Laws of the lifter: what it sees is free of the image, mirrors commute, the shipped one helps."""

import pytest
import torch

from models.lifter import (
    LANDMARK_MIRROR,
    POINT_MIRROR,
    WEIGHTS,
    Lifter,
    LifterConfig,
    lifter_loss,
    load_lifter,
    look,
    turn_to,
)

K = torch.tensor([[280.0, 0, 128], [0, 280, 128], [0, 0, 1]])


@pytest.fixture
def detection():
    generator = torch.Generator().manual_seed(0)
    world = torch.randn(5, 33, 3, generator=generator) * 0.4
    plane = world[..., :2] / 4 + torch.tensor([0.2, -0.1])
    keypoints = plane * 280 + 128
    return keypoints, world, torch.rand(5, 33, generator=generator) * 0.5 + 0.5


@pytest.fixture
def network():
    torch.manual_seed(0)
    model = Lifter(LifterConfig(width=32, num_blocks=1)).eval().requires_grad_(False)
    torch.nn.init.normal_(model.skip.weight, std=0.05)
    return model


def test_the_sight_is_the_same_at_every_size_of_the_image(detection):
    keypoints, world, confidence = detection
    larger = torch.diag(torch.tensor([2.0, 2.0, 1.0])) @ K
    one, two = look(keypoints, world, confidence, K), look(keypoints * 2, world, confidence, larger)
    torch.testing.assert_close(one.points, two.points)
    torch.testing.assert_close(one.scale, two.scale)


def test_the_seen_hips_are_the_origin_and_the_turn_leads_back_to_them(detection):
    keypoints, world, confidence = detection
    sight = look(keypoints, world, confidence, K)
    hips = (keypoints[:, [23, 24]].mean(1) - 128) / 280
    ahead = sight.R_camera_crop[..., 2]
    torch.testing.assert_close(ahead[:, :2] / ahead[:, 2:], hips, atol=1e-5, rtol=1e-4)


def test_a_turn_to_the_middle_is_none():
    torch.testing.assert_close(turn_to(torch.zeros(2)), torch.eye(3))


def test_mirrors_undo_themselves(detection, network):
    sight = look(*detection, K)
    torch.testing.assert_close(sight.mirrored().mirrored().points, sight.points)
    lifted = network(sight)
    torch.testing.assert_close(lifted.mirrored().mirrored().points_m, lifted.points_m)
    for order in (LANDMARK_MIRROR, POINT_MIRROR):
        assert [order[order[i]] for i in range(len(order))] == list(range(len(order)))


def test_a_person_in_a_mirror_is_lifted_to_the_mirror_image(detection, network):
    sight = look(*detection, K)
    one, other = network.lift(sight), network.lift(sight.mirrored()).mirrored()
    torch.testing.assert_close(one.points_m, other.points_m)
    torch.testing.assert_close(one.log_scale_image, other.log_scale_image)


def test_points_are_about_the_middle_of_the_hips(detection, network):
    points = network(look(*detection, K)).points_m
    torch.testing.assert_close(points[:, [47, 48]].mean(1), torch.zeros(5, 3), atol=1e-6, rtol=0)


def test_the_loss_is_least_where_the_foretold_scale_is_the_mean_error(detection, network):
    lifted = network(look(*detection, K))
    truth = lifted.points_m + torch.tensor([0.3, 0.0, 0.0])
    values = {}
    for scale in (0.05, 0.1, 0.2):
        guess = type(lifted)(
            points_m=lifted.points_m,
            image=lifted.image,
            log_scale_m=torch.full_like(lifted.log_scale_m, scale).log(),
            log_scale_image=lifted.log_scale_image,
        )
        values[scale] = float(lifter_loss(guess, truth, lifted.image, torch.ones(57)))
    assert min(values, key=values.__getitem__) == 0.1


def test_the_shipped_lifter_has_an_origin_and_finite_answers(detection):
    lifted = load_lifter().lift(look(*detection, K))
    assert torch.isfinite(lifted.points_m).all()
    assert (WEIGHTS / "ORIGIN.txt").read_text().strip()
    assert sum(file.stat().st_size for file in WEIGHTS.iterdir()) < 4e6
