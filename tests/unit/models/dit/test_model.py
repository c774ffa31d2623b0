"""Laws of the ISA-DiT: what its output may depend on, and what it may not."""

from dataclasses import replace

import pytest
import torch

from models.dit.conditions import CONDITION_NAMES, Conditions
from models.dit.layers import tile_tokens
from models.geometry import invert_rigid, rigid, so3_exp, transform

CLOSE = {"atol": 2e-5, "rtol": 1e-4}
PEOPLE = 2
EXACT = {"atol": 1e-6, "rtol": 1e-6}


def test_people_may_be_renamed(config, make_model, conditions, noisy, change_bodies):
    model = make_model(config)
    renamed = change_bodies(conditions, lambda x: x.flip(1))
    torch.testing.assert_close(model(*noisy, renamed), model(*noisy, conditions), **CLOSE)


@pytest.mark.parametrize("value", [0.0, 7.0, 1e4])
def test_a_padded_person_changes_nothing(
    config, make_model, conditions, noisy, change_bodies, value
):
    model = make_model(config)

    def pad(x):
        fill = torch.zeros_like(x[:, :1]) if x.dtype == torch.bool else x[:, :1] * 0 + value
        return torch.cat([x, fill], 1)

    padded = change_bodies(conditions, pad)
    torch.testing.assert_close(model(*noisy, padded), model(*noisy, conditions), **EXACT)


def test_points_of_invisible_frames_change_nothing(config, make_model, conditions, noisy):
    model = make_model(config)
    bodies = conditions.bodies
    assert not bodies.is_visible.all()
    moved = torch.where(bodies.is_visible[..., None, None], bodies.points_world, 3.0)
    changed = replace(conditions, bodies=replace(bodies, points_world=moved))
    assert torch.equal(model(*noisy, changed), model(*noisy, conditions))


def test_points_behind_the_camera_change_nothing(config, make_model, conditions, noisy):
    model = make_model(config)
    T = conditions.view.T_camera_world[:, None]
    points_camera = transform(T, conditions.bodies.points_world)
    outputs = []
    for depth_m in (-1.0, -5.0):
        points_camera[..., 0, 2] = depth_m
        points_world = transform(invert_rigid(T), points_camera)
        bodies = replace(conditions.bodies, points_world=points_world)
        outputs.append(model(*noisy, replace(conditions, bodies=bodies)))
    torch.testing.assert_close(*outputs, **EXACT)


@pytest.mark.parametrize("name", CONDITION_NAMES)
def test_dropping_a_condition_equals_the_model_without_it(
    config, make_model, conditions, noisy, name
):
    model = make_model(config)
    full = model(*noisy, conditions)
    without = model(*noisy, conditions.without(name))
    assert (full - without).abs().max() > 1e-4
    dropped = model(*noisy, conditions.keep({name: torch.tensor([False, True])}))
    torch.testing.assert_close(dropped[0], without[0], **EXACT)
    torch.testing.assert_close(dropped[1], full[1], **EXACT)


@pytest.mark.parametrize("name", ["body", "camera", "image"])
def test_at_the_start_of_training_attention_conditions_do_nothing(
    config, make_model, conditions, noisy, name
):
    model = make_model(config, at_start=True)
    torch.nn.init.normal_(model.head.project.weight)
    full = model(*noisy, conditions)
    assert torch.equal(full, model(*noisy, conditions.without(name)))


def test_every_condition_may_be_absent_at_once(config, make_model, conditions, noisy):
    model = make_model(config)
    nothing = model(*noisy, Conditions())
    torch.testing.assert_close(model(*noisy, conditions.without(*CONDITION_NAMES)), nothing)


def test_moving_world_and_camera_together_changes_nothing(config, make_model, conditions, noisy):
    model = make_model(config)
    move = rigid(so3_exp(torch.tensor([0.3, -1.1, 0.4])), torch.tensor([2.0, -1.0, 0.5]))
    view, bodies, reference = conditions.view, conditions.bodies, conditions.reference_bodies
    moved = replace(
        conditions,
        view=replace(view, T_camera_world=view.T_camera_world @ invert_rigid(move)),
        bodies=replace(bodies, points_world=transform(move, bodies.points_world)),
        reference_bodies=replace(
            reference,
            points_world=transform(move, reference.points_world),
            T_camera_world=reference.T_camera_world @ invert_rigid(move),
        ),
    )
    torch.testing.assert_close(model(*noisy, moved), model(*noisy, conditions), **CLOSE)


def test_clips_of_a_batch_do_not_see_each_other(config, make_model, conditions, noisy):
    model = make_model(config)
    x, time = noisy
    other = torch.cat([x[:1], x[1:] + 1])
    changed = conditions.keep({name: torch.tensor([True, False]) for name in CONDITION_NAMES})
    assert torch.equal(model(other, time, changed)[0], model(x, time, conditions)[0])


def test_latent_zero_belongs_to_frame_zero_and_latent_one_to_frames_one_to_four(
    config, make_model, conditions, noisy
):
    """ISA alone reads bodies per latent frame; with the temporal layers cut the rest is local."""
    model = make_model(replace(config, depth=1))
    with torch.no_grad():
        model.blocks[0].temporal.out.weight.zero_()
        model.blocks[0].temporal_3d.layer.out.weight.zero_()
    visible = torch.ones_like(conditions.bodies.is_visible)
    before = model(
        *noisy, replace(conditions, bodies=replace(conditions.bodies, is_visible=visible))
    )
    for frame, latent in [(0, 0), (1, 1), (2, 1), (3, 1), (4, 1)]:
        hidden = visible.clone()
        hidden[:, :, frame] = False
        bodies = replace(conditions.bodies, is_visible=hidden)
        change = (model(*noisy, replace(conditions, bodies=bodies)) - before).abs()
        assert change[:, :, latent].max() > 1e-5
        assert change[:, :, 1 - latent].max() == 0


def test_gradient_reaches_every_parameter(config, make_model, conditions, noisy):
    model = make_model(config)
    model(*noisy, conditions).square().mean().backward()
    silent = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().max() > 0
    ]
    assert silent == []


@pytest.mark.parametrize("change", [{"use_ispe": False}, {"local_bias": False}, {"patch": 1}])
def test_variants_run_and_differ(config, make_model, conditions, noisy, change):
    plain = make_model(config)(*noisy, conditions)
    variant = make_model(replace(config, **change))(*noisy, conditions)
    assert variant.shape == plain.shape
    assert not torch.equal(variant, plain)


def test_too_few_surface_points_is_refused(config, make_model, conditions, noisy):
    model = make_model(replace(config, num_points=50))
    with pytest.raises(ValueError, match="at least 50 surface points, got 6"):
        model(*noisy, conditions)


def test_bodies_without_a_view_are_refused(conditions):
    with pytest.raises(ValueError, match="need a view"):
        Conditions(bodies=conditions.bodies)
    with pytest.raises(ValueError, match="conditions must be among"):
        conditions.without("text")


def test_local_attention_over_every_point_is_attention(config, make_model, conditions, noisy):
    """As many points as there are is the whole; a few are not, and padding changes nothing."""
    every = PEOPLE * config.num_points * config.frames_per_latent
    whole = make_model(config)(*noisy, conditions)
    nearly = make_model(replace(config, isa_points=every, isa_tile=2))(*noisy, conditions)
    torch.testing.assert_close(nearly, whole, **EXACT)
    few = make_model(replace(config, isa_points=5, isa_tile=2))(*noisy, conditions)
    assert not torch.allclose(few, whole, atol=1e-3)


@pytest.mark.parametrize("tile", [1, 2, 3, 4, 8])
def test_tiles_hold_every_token_once_and_are_squares_of_the_grid(tile):
    tiles = tile_tokens(4, 8, tile)
    assert sorted(tiles.flatten().tolist()) == list(range(32))
    rows, columns = tiles // 8, tiles % 8
    for place in (rows, columns):
        extent = place.amax(1) - place.amin(1) + 1
        assert (extent <= tile).all()


def test_sorted_tiles_put_every_query_back(config, make_model, conditions, noisy, monkeypatch):
    """Local attention with all points kept by force equals whole attention token by token."""
    whole = make_model(config)(*noisy, conditions)
    every = PEOPLE * config.num_points * config.frames_per_latent
    local = make_model(replace(config, isa_points=every - 1, isa_tile=2))
    for block in local.blocks:
        monkeypatch.setattr(block.interspatial, "num_nearest", every - 1)
    behind = conditions.bodies.is_visible.clone()
    behind[:, 1] = False  # the one point left out is one that nobody may see
    hidden = replace(conditions, bodies=replace(conditions.bodies, is_visible=behind))
    torch.testing.assert_close(local(*noisy, hidden), make_model(config)(*noisy, hidden), **CLOSE)
    assert not torch.allclose(local(*noisy, hidden), whole, atol=1e-3)


def test_without_reverse_flow_the_picture_does_not_reach_the_points(config, make_model):
    model = make_model(replace(config, reverse_flow=False))
    assert all(block.interspatial.out_3d is None for block in model.blocks)
    full = make_model(config)
    assert [block.interspatial.out_3d is None for block in full.blocks] == [False, True]


def test_joint_attention_reaches_other_places_of_other_frames(config, make_model, noisy):
    model = make_model(replace(config, joint_attention=True, depth=1))
    x = noisy[0].clone().requires_grad_()
    out = model(x, noisy[1], Conditions())
    (slope,) = torch.autograd.grad(out[0, :, 1, 0, 0].sum(), x)
    assert (slope[0].abs().amax(0) > 1e-9).all()
    assert (slope[1] == 0).all()
