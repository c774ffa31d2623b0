"""The training step: it learns, resumes to the same bits and refuses what is not finite."""

import copy
import io
from dataclasses import replace

import pytest
import torch

from models.data import Batch
from models.recipes.vae import (
    AugmentSettings,
    vae_base,
    vae_debug,
    vae_full,
    vae_full_long,
    vae_tiny,
    vae_tiny_unregularised,
    vae_tiny_without_augmentation,
)
from models.vae.losses import LossWeights
from models.vae.model import VideoVAE
from models.vae.task import VAETask, psnr

DEBUG = vae_debug()


def make_batch(seed: int = 0, num_clips: int = 2, size: int = 32) -> Batch:
    """Smooth colours and a textured square that moves over them, differently in each clip."""
    generator = torch.Generator().manual_seed(seed)
    t = 17
    video = torch.rand(num_clips, 3, 1, 4, 4, generator=generator).expand(-1, -1, t, -1, -1)
    video = torch.nn.functional.interpolate(video, (t, size, size), mode="trilinear")
    mask = torch.zeros(num_clips, t, size, size, dtype=torch.uint8)
    square = torch.rand(num_clips, 3, 4, 4, generator=generator)
    square = torch.nn.functional.interpolate(square, (12, 12), mode="bilinear")
    for clip in range(num_clips):
        for frame in range(t):
            x, y = (frame * (1 + clip % 3)) % (size - 12), (frame * (clip + 1) // 3) % (size - 12)
            video[clip, :, frame, y : y + 12, x : x + 12] = square[clip]
            mask[clip, frame, y : y + 12, x : x + 12] = 1
    return Batch(
        clip_id=[str(i) for i in range(num_clips)],
        video=video,
        background=None,
        mask=mask,
        K=torch.eye(3).expand(num_clips, t, 3, 3),
        T_camera_world=torch.eye(4).expand(num_clips, t, 4, 4),
        has_camera=torch.zeros(num_clips, dtype=torch.bool),
        betas=torch.zeros(num_clips, 1, 10),
        global_orient=torch.zeros(num_clips, 1, t, 3),
        body_pose=torch.zeros(num_clips, 1, t, 69),
        transl=torch.zeros(num_clips, 1, t, 3),
        person_visible=torch.zeros(num_clips, 1, t, dtype=torch.bool),
        points_world=torch.zeros(num_clips, 1, t, 1, 3),
    )


def run(task: VAETask, start: int, stop: int) -> list[dict[str, float]]:
    return [
        task.train_step(make_batch(step), torch.Generator().manual_seed(step), step)
        for step in range(start, stop)
    ]


def test_resuming_gives_the_same_numbers_and_weights():
    """Over the steps where the discriminators and the whole clips come in."""
    task = VAETask(DEBUG)
    run(task, 0, 3)
    file = io.BytesIO()
    torch.save(task.state_dict(), file)
    rest = run(task, 3, 8)
    assert "discriminator" in rest[-1]
    file.seek(0)
    resumed = VAETask(DEBUG)
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert run(resumed, 3, 8) == rest
    for name, value in task.weights().items():
        assert torch.equal(value, resumed.weights()[name]), name


def test_recomputing_changes_no_number():
    plain, saving = VAETask(DEBUG), VAETask(replace(DEBUG, recompute=True))
    assert run(plain, 0, 2) == run(saving, 0, 2)


def test_full_size_task_is_counted_without_memory():
    task = VAETask(vae_full(), "meta")
    assert sum(p.numel() for p in task.vae.parameters()) == 246_477_475


def test_published_weights_are_those_of_a_plain_model():
    task = VAETask(DEBUG)
    run(task, 0, 1)
    vae = VideoVAE(DEBUG.model).requires_grad_(False)
    vae.load_state_dict(task.weights())
    video = make_batch().video
    assert video is not None
    assert torch.equal(vae.encode(video * 2 - 1).mean, task.average.encode(video * 2 - 1).mean)


def test_training_beats_the_linear_codec_it_starts_from():
    """On the clips it trains on: whether it also does on others is a matter of minutes."""
    recipe = replace(
        vae_tiny(),
        model=replace(
            vae_tiny().model, widths=(16, 32), encoder_blocks=(1, 1), decoder_blocks=(1, 1)
        ),
        num_steps=60,
        warmup_steps=5,
        crop_px=24,
        whole_fraction=0.0,
        muon_learning_rate=0.05,
        augment=AugmentSettings(
            motion_probability=0.0,
            speed_probability=0.0,
            flip_probability=0.0,
            colour_probability=0.0,
        ),
    )
    task = VAETask(recipe)
    batch = make_batch(num_clips=4)
    assert batch.video is not None
    task.fit_linear([batch.video])
    before = task.evaluate([batch])
    assert before["psnr"] == pytest.approx(before["psnr_linear"], abs=1e-3)
    for step in range(60):
        task.train_step(batch, torch.Generator().manual_seed(step), step)
    after = task.evaluate([batch])
    assert after["psnr_linear"] == before["psnr_linear"]
    assert after["psnr"] > before["psnr"] + 0.5
    assert after["figure_psnr"] > before["figure_psnr"]
    assert set(after) >= {"psnr_first", "psnr_window_0", "psnr_window_3", "latent_std"}


def test_discriminators_learn_and_do_not_move_with_the_autoencoder():
    task = VAETask(replace(DEBUG, gan_start=0.0, discriminator_learning_rate=2e-3))
    weights = copy.deepcopy(task.module.discriminators.state_dict())
    first = run(task, 0, 1)[0]
    moved = [
        not torch.equal(value, weights[name])
        for name, value in task.module.discriminators.state_dict().items()
    ]
    assert any(moved)
    for _ in range(20):
        last = run(task, 1, 2)[0]
    assert last["discriminator"] < first["discriminator"]
    generator = {id(p) for p in task.vae.parameters()}
    judged = {id(p) for p in task.module.discriminators.parameters()}
    for optimizer in (task.muon, task.adamw):
        members = {id(p) for group in optimizer.param_groups for p in group["params"]}
        assert not members & judged
    trained = {
        id(p)
        for optimizer in (task.muon, task.adamw)
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert generator <= trained


def test_loss_that_is_not_finite_changes_no_weight():
    task = VAETask(replace(DEBUG, weights=LossWeights()))
    task.fit_linear([torch.rand(2, 3, 17, 32, 32)])
    before = copy.deepcopy(task.vae.state_dict())
    bad = make_batch()
    assert bad.video is not None
    bad.video.fill_(torch.nan)
    with pytest.raises(FloatingPointError, match="step 3"):
        task.train_step(bad, torch.Generator(), 3)
    assert all(torch.equal(value, before[name]) for name, value in task.vae.state_dict().items())


def test_latents_alone_cannot_train_an_autoencoder():
    batch = replace(make_batch(), video=None)
    with pytest.raises(ValueError, match="latents only"):
        VAETask(DEBUG).train_step(batch, torch.Generator(), 0)


def test_evaluation_needs_clips():
    with pytest.raises(ValueError, match="at least one batch"):
        VAETask(DEBUG).evaluate([])


def test_without_a_linear_skip_there_is_nothing_to_fit():
    recipe = replace(DEBUG, model=replace(DEBUG.model, linear_skip=False))
    task = VAETask(recipe)
    with pytest.raises(ValueError, match="no linear skip"):
        task.fit_linear([torch.rand(1, 3, 5, 16, 16)])
    run(task, 0, 1)
    assert "psnr_linear" not in task.evaluate([make_batch()])


def test_psnr_of_a_known_error():
    video = torch.zeros(1, 3, 1, 2, 2)
    assert psnr(video + 0.2, video).item() == pytest.approx(20.0, abs=1e-4)


def test_learning_rate_warms_up_and_ends_low():
    task = VAETask(DEBUG)
    shares = [task.schedule(step) for step in range(DEBUG.num_steps + 1)]
    assert shares[0] == 0.5
    assert max(shares) == 1.0
    assert shares[-1] == pytest.approx(DEBUG.final_learning_rate)


@pytest.mark.parametrize(
    "make",
    [
        vae_tiny,
        vae_tiny_unregularised,
        vae_tiny_without_augmentation,
        vae_base,
        vae_full,
        vae_full_long,
    ],
)
def test_recipes_fit_together(make):
    recipe = make()
    assert recipe.name == make.__name__
    with torch.device("meta"):
        VideoVAE(recipe.model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"crop_frames": 8}, "1 \\+ 4k, got 8"),
        ({"crop_px": 18}, "multiple of 4, got 18"),
        ({"crop_px": 128}, "do not fit"),
        ({"num_steps": 1}, "exceed warmup_steps"),
    ],
)
def test_inconsistent_recipe_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(DEBUG, **change)
