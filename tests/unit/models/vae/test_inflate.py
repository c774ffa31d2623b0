"""Image mode of the inflated autoencoder is the 2D one it came from."""

from dataclasses import replace

import pytest
import torch

from models.vae.inflate import inflate_sd3
from models.vae.model import VideoVAE, full_vae, tiny_vae

WIDTHS = (16, 32, 32, 32)
CONFIG = replace(full_vae(), widths=WIDTHS, groups=8)


@pytest.fixture(scope="module")
def image_vae():
    from diffusers import AutoencoderKL

    torch.manual_seed(0)
    vae = AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=WIDTHS,
        layers_per_block=2,
        latent_channels=16,
        norm_num_groups=8,
        use_quant_conv=False,
        use_post_quant_conv=False,
    )
    return vae.eval().requires_grad_(False)


def inflated(image_vae) -> VideoVAE:
    vae = VideoVAE(CONFIG).requires_grad_(False)
    vae.load_state_dict(inflate_sd3(image_vae.state_dict(), CONFIG))
    return vae


def test_image_mode_equals_the_image_autoencoder(image_vae):
    images = torch.rand(2, 3, 32, 48) * 2 - 1
    vae = inflated(image_vae)
    expected = image_vae.encode(images).latent_dist
    posterior = vae.encode(images[:, :, None])
    torch.testing.assert_close(posterior.mean[:, :, 0], expected.mean, rtol=0, atol=1e-5)
    torch.testing.assert_close(posterior.logvar[:, :, 0], expected.logvar, rtol=0, atol=1e-5)
    decoded = vae.decode(expected.mean[:, :, None])[:, :, 0]
    torch.testing.assert_close(decoded, image_vae.decode(expected.mean).sample, rtol=0, atol=1e-5)


def test_each_latent_starts_as_the_image_of_its_last_frame(image_vae):
    video = torch.rand(1, 3, 9, 16, 16) * 2 - 1
    latents = inflated(image_vae).encode(video).mean
    for k, frame in enumerate((0, 4, 8)):
        expected = image_vae.encode(video[:, :, frame]).latent_dist.mean
        torch.testing.assert_close(latents[:, :, k], expected, rtol=0, atol=1e-5)


def test_full_size_takes_every_weight_of_sd3():
    from diffusers import AutoencoderKL

    with torch.device("meta"):
        image_vae = AutoencoderKL(
            down_block_types=("DownEncoderBlock2D",) * 4,
            up_block_types=("UpDecoderBlock2D",) * 4,
            block_out_channels=(128, 256, 512, 512),
            layers_per_block=2,
            latent_channels=16,
            use_quant_conv=False,
            use_post_quant_conv=False,
        )
        vae = VideoVAE(full_vae())
    state = inflate_sd3(image_vae.state_dict(), full_vae())
    assert {k: v.shape for k, v in state.items()} == {
        k: v.shape for k, v in vae.state_dict().items()
    }


def test_other_weights_are_refused(image_vae):
    weights = image_vae.state_dict()
    with pytest.raises(ValueError, match="have no place"):
        inflate_sd3({**weights, "quant_conv.weight": torch.zeros(1)}, CONFIG)
    with pytest.raises(ValueError, match="do not have"):
        inflate_sd3({k: v for k, v in weights.items() if "mid_block" not in k}, CONFIG)
    with pytest.raises(ValueError, match="must inflate to"):
        inflate_sd3(weights, replace(CONFIG, widths=(16, 32, 32, 64)))
    with pytest.raises(ValueError, match="use full_vae"):
        inflate_sd3(weights, tiny_vae())
