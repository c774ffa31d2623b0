"""Laws of the losses, above all which slice of a latent answers for which frame."""

from dataclasses import replace

import pytest
import torch

from models.vae.losses import (
    ImageDecoder,
    LossWeights,
    Objective,
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
    kl_loss,
    windows,
)
from models.vae.model import Posterior, VAEConfig, VideoVAE, full_vae, tiny_vae

TINY = replace(tiny_vae(), widths=(8, 16))
FULL = replace(full_vae(), widths=(8, 8, 8, 8), groups=4)


def test_windows_hold_the_frames_of_each_latent():
    video = torch.arange(9.0).view(1, 1, 9, 1, 1).expand(2, 3, 9, 2, 2)
    assert windows(video, 4)[0, :, :, 0, 0, 0].tolist() == [[0] * 4, [1, 2, 3, 4], [5, 6, 7, 8]]


@pytest.mark.parametrize("config", [TINY, FULL], ids=["tiny", "full"])
def test_a_slice_touches_only_its_own_frame(config: VAEConfig):
    torch.manual_seed(0)
    decoder = ImageDecoder(config)
    latent = torch.randn(1, 16, 3, 2, 2, requires_grad=True)
    frames = decoder(latent)
    side = 2 * config.space_factor
    assert frames.shape == (1, 3, 4, 3, side, side)
    for k in range(3):
        for f in range(4):
            (gradient,) = torch.autograd.grad(frames[:, k, f].sum(), latent, retain_graph=True)
            touched = gradient[0].abs().amax(dim=(2, 3)) > 0
            expected = torch.zeros(16, 3, dtype=torch.bool)
            expected[4 * f : 4 * f + 4, k] = True
            assert torch.equal(touched, expected)


def test_kl_is_zero_only_for_the_standard_normal():
    zero = torch.zeros(1, 4, 1, 2, 2)
    assert kl_loss(Posterior(zero, zero)) == 0
    assert kl_loss(Posterior(zero + 1, zero)) == 0.5
    assert kl_loss(Posterior(zero, zero - 1)) > 0


def test_hinge_losses():
    real, fake = torch.full((4,), 2.0), torch.full((4,), -2.0)
    assert discriminator_loss(real, fake) == 0
    assert discriminator_loss(torch.zeros(4), torch.zeros(4)) == 1
    assert generator_loss(fake) == 2


def test_the_frame_discriminator_sees_frames_and_the_other_sees_motion():
    torch.manual_seed(0)
    video = torch.rand(1, 3, 9, 16, 16)
    reverse = video.flip(2)
    frames = PatchDiscriminator(1, 8).eval()
    assert frames(video).shape[2] == 9
    torch.testing.assert_close(frames(video).flip(2), frames(reverse))
    motion = PatchDiscriminator(3, 8).eval()
    assert motion(video).shape[2] == 3
    assert not torch.allclose(motion(video).flip(2), motion(reverse), atol=1e-3)


def test_the_total_is_the_weighted_sum_of_every_term():
    torch.manual_seed(0)
    weights = LossWeights(
        l1=2.0, kl=0.1, image_decoding=0.5, perceptual=3.0, gan_2d=0.2, gan_3d=0.3
    )
    objective = Objective(VideoVAE(TINY), weights, 8, lambda a, b: (a - b).square().mean())
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    noise = torch.randn(1, 16, 2, 4, 4)
    terms, result = objective(video, noise, with_gan=True)
    assert set(terms) == {"l1", "kl", "image_decoding", "perceptual", "gan_2d", "gan_3d"}
    expected = sum(getattr(weights, name) * value for name, value in terms.items())
    torch.testing.assert_close(objective.total(terms), expected)
    torch.testing.assert_close(terms["perceptual"], (result.video - video).square().mean())
    assert "gan_2d" not in objective(video, noise)[0]


def test_a_perceptual_weight_needs_a_function():
    with pytest.raises(ValueError, match="perceptual function"):
        Objective(VideoVAE(TINY), LossWeights(perceptual=1.0))


def test_channels_must_split_into_frames():
    with pytest.raises(ValueError, match="multiple of the 4 frames"):
        ImageDecoder(replace(TINY, latent_channels=10))
