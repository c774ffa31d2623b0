"""Laws of generator training: learning, exact resume, figure weighting, dropped conditions."""

import io
from dataclasses import replace

import pytest
import torch

from models.data import Batch
from models.dit.conditions import CONDITION_NAMES
from models.dit.task import (
    DiTTask,
    channel_effect,
    figure_cells,
    read_conditions,
    shift_reference,
    with_bodies_of_the_next_clip,
)
from models.geometry import look_at, project
from models.recipes.dit import dit_debug

FRAMES, SIZE, CELLS, PEOPLE = 5, 32, 8, 2


def make_batch(num=2, seed=0):
    generator = torch.Generator().manual_seed(seed)

    def randn(*shape):
        return torch.randn(*shape, generator=generator)

    centre = torch.tensor([0.0, 1.0, 0.0])
    eye = centre + torch.tensor([0.0, 0.0, 3.0]) + 0.3 * randn(num, 1, 3)
    T = look_at(eye, centre.expand_as(eye)).expand(-1, FRAMES, -1, -1)
    mask = torch.zeros(num, FRAMES, SIZE, SIZE, dtype=torch.uint8)
    mask[:, :, 8:24, 12:20] = 1
    visible = torch.ones(num, PEOPLE, FRAMES, dtype=torch.bool)
    visible[0, 1] = False
    return Batch(
        clip_id=[f"{i:032x}" for i in range(num)],
        video=None,
        background=None,
        mask=mask,
        K=torch.tensor([[40.0, 0, 16], [0, 40, 16], [0, 0, 1]]).expand(num, FRAMES, 3, 3),
        T_camera_world=T,
        has_camera=torch.ones(num, dtype=torch.bool),
        betas=torch.zeros(num, PEOPLE, 10),
        global_orient=torch.zeros(num, PEOPLE, FRAMES, 3),
        body_pose=torch.zeros(num, PEOPLE, FRAMES, 69),
        transl=torch.zeros(num, PEOPLE, FRAMES, 3),
        person_visible=visible,
        points_world=centre + 0.4 * randn(num, PEOPLE, FRAMES, 8, 3),
        has_background=torch.tensor([True] * (num - 1) + [False]),
        latent_mean=3.0 * randn(num, 16, 2, CELLS, CELLS),
        latent_logvar=torch.full((num, 16, 2, CELLS, CELLS), -6.0),
        background_latent=3.0 * randn(num, 16, 2, CELLS, CELLS),
        reference_latent=3.0 * randn(num, 16, CELLS, CELLS),
        reference_frame=torch.arange(num) % FRAMES,
        image_embedding=randn(num, 64),
    )


@pytest.fixture
def batch():
    return make_batch()


def train(task, batch, first, last):
    losses = []
    for step in range(first, last):
        generator = torch.Generator().manual_seed(step)
        losses.append(task.train_step(batch, generator, step)["loss"])
    return losses


def through_file(state):
    """State as a checkpoint sees it: tensors and plain values only."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


def test_resumed_training_equals_uninterrupted_training(batch):
    whole = DiTTask(dit_debug())
    losses = train(whole, batch, 0, 6)
    first = DiTTask(dit_debug())
    train(first, batch, 0, 3)
    second = DiTTask(replace(dit_debug(), seed=99))
    second.load_state_dict(through_file(first.state_dict()))
    assert train(second, batch, 3, 6) == losses[3:]
    assert second.evaluate(batch) == whole.evaluate(batch)


def test_a_few_clips_are_learned_by_heart():
    recipe = dit_debug()
    recipe = replace(
        recipe, num_steps=60, warmup_steps=5, learning_rate=4e-3, batch_size=4,
        drop_all_probability=0.0, drop_probability={}, latent_std=3.0,
    )  # fmt: skip
    task, batch = DiTTask(recipe), make_batch(num=4)
    before = task.evaluate(batch)["loss"]
    train(task, batch, 0, 60)
    after = task.evaluate(batch)["loss"]
    assert before == pytest.approx(2.0, rel=0.1)  # v = x_0 - eps of unit variance, model at zero
    assert after < 0.85 * before


def test_evaluation_is_fixed_and_changes_no_state(batch):
    task = DiTTask(dit_debug())
    train(task, batch, 0, 2)
    state = through_file(task.state_dict())
    assert task.evaluate(batch) == task.evaluate(batch)
    for name, value in task.module.state_dict().items():
        assert torch.equal(value, state["module"][name])


def test_gap_is_zero_for_a_model_that_ignores_the_pose(batch):
    task = DiTTask(dit_debug())
    assert task.evaluate(batch)["wrong_pose_gap"] == 0
    assert "wrong_pose_gap" not in task.evaluate(make_batch(num=1))


def test_latents_are_scaled_by_one_scalar_measured_once(batch):
    task = DiTTask(dit_debug())
    train(task, batch, 0, 1)
    assert task.module.latent_std.shape == ()
    torch.testing.assert_close(task.module.latent_std, batch.latent_mean.std())
    train(task, replace(batch, latent_mean=batch.latent_mean * 2), 1, 2)
    torch.testing.assert_close(task.average.latent_std, batch.latent_mean.std())


def test_figure_cells_cover_exactly_the_cells_and_frames_people_touch(batch):
    recipe = dit_debug()
    mask = torch.zeros_like(batch.mask)
    mask[0, 3, 5, 13] = 2  # one pixel of person 1: cell (1, 3), frame 3 of latent 1
    cells = figure_cells(replace(batch, mask=mask), recipe)
    expected = torch.zeros(2, 2, CELLS, CELLS)
    expected[0, 1, 1, 3] = 1
    assert torch.equal(cells, expected)
    assert figure_cells(replace(batch, mask=None), recipe) is None


def test_channels_count_by_the_noise_their_posterior_puts_up_with(batch):
    logvar = torch.zeros_like(batch.latent_logvar)
    logvar[:, 0] = -2 * torch.log(torch.tensor(4.0))  # a quarter of the noise, 4x the effect
    noisier = replace(batch, latent_logvar=logvar)
    for power, ratio in [(1.0, 4.0), (0.5, 2.0)]:
        effect = channel_effect(noisier, power)
        torch.testing.assert_close(effect[0] / effect[1:], torch.full((15,), ratio))
    assert channel_effect(noisier, 0.0) is None


def test_wrong_bodies_stand_in_the_picture_as_in_their_own_clip(batch):
    conditions = read_conditions(batch, dit_debug(), torch.tensor(1.0))
    wrong = with_bodies_of_the_next_clip(conditions)
    T, K = batch.T_camera_world[:, None], batch.K[:, None]
    own_px, own_depth_m = project(conditions.bodies.points_world, K, T)
    wrong_px, wrong_depth_m = project(wrong.bodies.points_world, K, T)
    torch.testing.assert_close(wrong_px, own_px.roll(1, 0), atol=1e-3, rtol=1e-5)
    torch.testing.assert_close(wrong_depth_m, own_depth_m.roll(1, 0))


def test_a_clip_without_background_has_a_zero_background_latent(batch):
    conditions = read_conditions(batch, dit_debug(), torch.tensor(1.0))
    assert conditions.background_latent[1].abs().max() == 0
    assert conditions.background_latent[0].abs().max() > 0


def test_reference_people_are_those_of_the_reference_frame(batch):
    reference = read_conditions(batch, dit_debug(), torch.tensor(1.0)).reference_bodies
    assert torch.equal(reference.points_world[1], batch.points_world[1, :, 1])
    assert torch.equal(reference.is_visible[0], batch.person_visible[0, :, 0])


def test_a_moved_reference_moves_with_its_camera(batch):
    conditions = read_conditions(batch, dit_debug(), torch.tensor(2.0))
    shift, factor = torch.tensor([[1, -2], [0, 0]]), dit_debug().spatial_factor
    moved = shift_reference(conditions, shift, factor)
    before, after = conditions.reference_latent, moved.reference_latent
    torch.testing.assert_close(after[0, :, :-2, 1:], before[0, :, 2:, :-1])
    torch.testing.assert_close(after[1], before[1])
    people, moved_people = conditions.reference_bodies, moved.reference_bodies
    xy, moved_xy = (
        project(p.points_world[:, 0], p.K, p.T_camera_world)[0] for p in (people, moved_people)
    )
    torch.testing.assert_close(moved_xy, xy + shift[:, None] * factor)


def test_always_dropped_conditions_do_not_reach_the_loss(batch):
    """With drop probability 1 another body, camera or reference gives the same losses."""
    recipe = replace(dit_debug(), drop_probability=dict.fromkeys(CONDITION_NAMES, 1.0))
    other = replace(
        make_batch(seed=7), latent_mean=batch.latent_mean, latent_logvar=batch.latent_logvar
    )
    assert train(DiTTask(recipe), batch, 0, 3) == train(DiTTask(recipe), other, 0, 3)


def test_an_embedding_of_another_width_is_refused_with_the_way_out(batch):
    with pytest.raises(ValueError, match="must have width 64, got 5"):
        read_conditions(
            replace(batch, image_embedding=torch.zeros(2, 5)), dit_debug(), torch.tensor(1.0)
        )


def test_pixels_without_latents_are_refused_with_the_way_out(batch):
    task = DiTTask(dit_debug())
    with pytest.raises(ValueError, match="encode the shards"):
        task.train_step(replace(batch, latent_mean=None), torch.Generator(), 0)
