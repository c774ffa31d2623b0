"""Laws of the losses, above all which slice of a latent answers for which frame."""

from dataclasses import replace

import pytest
import torch

from models.vae.losses import (
    ImageDecoder,
    LeCam,
    LossWeights,
    Objective,
    PatchDiscriminator,
    discriminator_loss,
    generator_loss,
    kl_loss,
    r1_penalty,
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


def gan_gradients(weights: LossWeights) -> dict[str, torch.Tensor]:
    """What the last convolution feels of the reconstruction alone and of the judges alone."""
    torch.manual_seed(0)
    objective = Objective(VideoVAE(TINY), weights, 8)
    torch.nn.init.normal_(objective.vae.decoder.conv_out.conv.weight, std=0.05)
    torch.manual_seed(1)
    video = torch.rand(1, 3, 5, 16, 16) * 2 - 1
    terms, _ = objective(video, torch.randn(1, 16, 2, 4, 4), with_gan=True)
    last = objective.vae.decoder.conv_out.conv.weight
    pixels = {"l1": terms["l1"], "kl": terms["kl"]}
    (whole,) = torch.autograd.grad(objective.total(terms), last, retain_graph=True)
    (plain,) = torch.autograd.grad(objective.total(pixels), last)
    return {"pixels": plain, "judges": whole - plain}


@pytest.mark.parametrize("share", [0.1, 0.5])
def test_adaptive_judges_weigh_their_share_of_the_reconstruction(share: float):
    weights = LossWeights(gan_2d=share, gan_3d=share, gan_adaptive=True)
    felt = gan_gradients(weights)
    ratio = float(felt["judges"].norm() / felt["pixels"].norm())
    assert ratio == pytest.approx(share, rel=2e-2)
    fixed = gan_gradients(replace(weights, gan_adaptive=False))
    assert float(fixed["judges"].norm() / fixed["pixels"].norm()) != pytest.approx(share, rel=2e-2)


def test_r1_is_half_the_squared_slope():
    class Slope(torch.nn.Module):
        def forward(self, video):
            return (3.0 * video).sum(dim=(1, 2, 3, 4))

    real = torch.rand(2, 3, 1, 2, 2)
    torch.testing.assert_close(r1_penalty(Slope(), real), torch.tensor(0.5 * 9 * 12))


def test_r1_reaches_the_weights_of_the_judge():
    torch.manual_seed(0)
    judge = PatchDiscriminator(3, 8)
    r1_penalty(judge, torch.rand(1, 3, 5, 16, 16)).backward()
    assert all(p.grad is not None for n, p in judge.named_parameters() if n.endswith("0.weight"))


def test_lecam_keeps_answers_from_drifting_apart():
    pull = LeCam()
    still = torch.zeros(4)
    assert pull(still, still) == 0
    real, fake = torch.full((4,), 2.0, requires_grad=True), torch.full((4,), -2.0)
    for _ in range(2000):
        value = pull(real, fake)
    torch.testing.assert_close(pull.means, torch.tensor([2.0, -2.0]), atol=1e-3, rtol=0)
    torch.testing.assert_close(value, torch.tensor(32.0), atol=0.1, rtol=0)
    value.backward()
    assert real.grad is not None
    assert (real.grad > 0).all()


def test_judges_with_every_penalty_train():
    torch.manual_seed(0)
    weights = LossWeights(gan_2d=0.1, gan_3d=0.1, r1=1.0, lecam=0.1)
    objective = Objective(VideoVAE(TINY), weights, 8)
    video = torch.rand(2, 3, 5, 16, 16) * 2 - 1
    loss = objective.discriminate(video, video.flip(2))
    plain = Objective(VideoVAE(TINY), replace(weights, r1=0.0, lecam=0.0), 8)
    plain.discriminators.load_state_dict(objective.discriminators.state_dict())
    assert loss > plain.discriminate(video, video.flip(2))
    loss.backward()
    assert {"lecam.gan_2d.means", "lecam.gan_3d.means"} <= set(objective.state_dict())
