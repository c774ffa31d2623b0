"""Laws of the clip augmentations."""

import pytest
import torch

from models.vae.augment import (
    random_colours,
    random_crop,
    random_flip,
    random_frames,
    random_path,
    take_frames,
    translate,
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


VIDEO = torch.rand(3, 3, 5, 8, 12, generator=generator())


@pytest.mark.parametrize("border", ["wrap", "reflect"])
def test_no_motion_is_the_identity(border):
    path = random_path(3, 5, 0.0, generator())
    assert (path == 0).all()
    assert torch.equal(translate(VIDEO, path, border), VIDEO)


def test_paths_start_at_zero_and_keep_the_speed_limit():
    path = random_path(64, 17, 5.0, generator())
    assert (path[:, 0] == 0).all()
    step = path.diff(dim=1).double().norm(dim=-1)
    assert step.max() <= 5.0 + 2**0.5  # rounding both ends
    assert step.max() > 2.0


def test_some_paths_are_steady_and_some_turn():
    path = random_path(256, 17, 8.0, generator()).diff(dim=1).double()
    wobble = path.std(dim=1).sum(dim=-1)
    assert wobble.min() < 1.0 < wobble.max()


def test_wrapping_moves_pixels_and_loses_none():
    path = random_path(3, 5, 4.0, generator())
    moved = translate(VIDEO, path, "wrap")
    for clip in range(3):
        for frame in range(5):
            shift = path[clip, frame].tolist()
            expected = VIDEO[clip, :, frame].roll(shift, dims=(1, 2))
            assert torch.equal(moved[clip, :, frame], expected)
    assert torch.equal(translate(moved, -path, "wrap"), VIDEO)


def test_reflection_shows_the_mirror_image_at_the_edge():
    path = torch.zeros(3, 5, 2, dtype=torch.long)
    path[..., 1] = 2  # two pixels to the right
    moved = translate(VIDEO, path, "reflect")
    assert torch.equal(moved[..., 2:], VIDEO[..., :-2])
    assert torch.equal(moved[..., :2], VIDEO[..., :2].flip(-1))


def test_a_mask_follows_the_same_path():
    path = random_path(3, 5, 4.0, generator())
    moved_then_masked = translate(VIDEO, path) > 0.5
    assert torch.equal(translate(VIDEO > 0.5, path), moved_then_masked)


def test_rate_one_is_a_plain_crop_in_time():
    assert random_frames(4, 17, 17, (1.0, 1.0), generator()).tolist() == [list(range(17))] * 4
    frames = random_frames(32, 17, 9, (1.0, 1.0), generator())
    assert (frames.diff(dim=1) == 1).all()
    assert frames.min() == 0
    assert frames.max() == 16  # every start is drawn, and none leaves the clip


def test_frames_stay_inside_and_rates_differ():
    frames = random_frames(200, 17, 9, (0.5, 4.0), generator())
    assert frames.min() >= 0
    assert frames.max() <= 16
    speed = frames.diff(dim=1).abs().double().mean(dim=1)
    assert speed.min() < 0.7
    assert speed.max() > 2.5


def test_an_image_stays_an_image():
    assert random_frames(2, 1, 1, (0.5, 2.0), generator()).tolist() == [[0], [0]]


def test_taking_all_frames_is_the_identity():
    assert torch.equal(take_frames(VIDEO, torch.arange(5).expand(3, 5)), VIDEO)


@pytest.mark.parametrize(
    "draw",
    [
        lambda g: random_path(3, 5, 4.0, g),
        lambda g: random_frames(3, 17, 9, (0.5, 2.0), g),
        lambda g: random_crop(VIDEO, (4, 4), g),
        lambda g: random_flip(VIDEO, 0.5, g),
        lambda g: random_colours(VIDEO, 0.5, g),
    ],
)
def test_the_generator_alone_decides(draw):
    first = draw(generator(3))
    torch.rand(10)  # the global state must not matter
    assert torch.equal(first, draw(generator(3)))
    assert any(not torch.equal(first, draw(generator(seed))) for seed in range(4, 12))


def test_flips_and_colours_at_their_bounds():
    assert torch.equal(random_flip(VIDEO, 0.0, generator()), VIDEO)
    assert torch.equal(random_flip(VIDEO, 1.0, generator()), VIDEO.flip(-1))
    assert torch.equal(random_colours(VIDEO, 0.0, generator()), VIDEO)
    shuffled = random_colours(VIDEO, 1.0, generator())
    assert torch.equal(shuffled.sort(dim=1).values, VIDEO.sort(dim=1).values)


def test_crops_are_cut_from_the_clip():
    crop = random_crop(VIDEO, (8, 12), generator())
    assert torch.equal(crop, VIDEO)
    with pytest.raises(ValueError, match="needs larger clips, got 8 x 12"):
        random_crop(VIDEO, (9, 4), generator())
