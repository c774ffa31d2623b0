"""Laws of the causal video autoencoder, on random (not initial) weights of a small net per kind."""

import gc
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from models.vae.layers import Stream
from models.vae.linear import LinearCodec, fit_linear_codec
from models.vae.model import VAEConfig, VideoVAE, base_vae, full_vae, tiny_vae

SMALL_FULL = replace(full_vae(), widths=(8, 16, 16, 16), encoder_blocks=(1,) * 4, groups=4)
CONFIGS = {
    "tiny": replace(tiny_vae(), widths=(16, 24)),  # folding, linear skip, pixel-unshuffle
    "base": replace(base_vae(), widths=(8, 16, 16), groups=4),  # both kinds mixed
    "full": SMALL_FULL,  # SD3's stages
}


def random_vae(config: VAEConfig) -> VideoVAE:
    torch.manual_seed(0)
    vae = VideoVAE(config)
    for parameter in vae.parameters():  # the start has zeros that would hide a leak
        torch.nn.init.normal_(parameter, std=max(parameter[0].numel(), 4) ** -0.5)
    return vae.requires_grad_(False)


@pytest.fixture(params=CONFIGS, scope="module")
def vae(request) -> VideoVAE:
    return random_vae(CONFIGS[request.param])


def clip(num_frames: int, size: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(2, 3, num_frames, size, size, generator=generator) * 2 - 1


@pytest.mark.parametrize("num_frames", [1, 5, 9, 17])
def test_shapes_are_one_plus_a_quarter(vae, num_frames):
    factor = vae.config.space_factor
    video = torch.cat([clip(num_frames, 16), clip(num_frames, 16, 1)], dim=-1)  # not square
    posterior = vae.encode(video)
    assert posterior.mean.shape == (2, 16, 1 + num_frames // 4, 16 // factor, 32 // factor)
    assert posterior.logvar.shape == posterior.mean.shape
    assert vae.decode(posterior.mean).shape == video.shape


@pytest.mark.parametrize("num_same", [1, 5, 9])
def test_later_frames_change_nothing_earlier(vae, num_same):
    """In the training pass, where all frames are in hand."""
    video, other = clip(13), clip(13, seed=1)
    other[:, :, :num_same] = video[:, :, :num_same]
    num_latents = 1 + num_same // 4
    before, after = vae._encode(video, None), vae._encode(other, None)
    assert torch.equal(before.mean[:, :, :num_latents], after.mean[:, :, :num_latents])
    assert torch.equal(before.logvar[:, :, :num_latents], after.logvar[:, :, :num_latents])
    assert not torch.equal(before.mean[:, :, num_latents:], after.mean[:, :, num_latents:])
    mixed = after.mean.clone()
    mixed[:, :, :num_latents] = before.mean[:, :, :num_latents]
    mixed[:, :, num_latents:] += 1
    a, b = vae._decode(before.mean, None), vae._decode(mixed, None)
    assert torch.equal(a[:, :, :num_same], b[:, :, :num_same])
    assert not torch.equal(a[:, :, num_same:], b[:, :, num_same:])


def test_each_latent_reaches_its_own_four_frames(vae):
    latent = vae.encode(clip(9)).mean
    changed = latent.clone()
    changed[:, :, 1] += 1
    difference = (vae.decode(latent) - vae.decode(changed)).abs().amax(dim=(0, 1, 3, 4))
    assert difference[0] == 0
    assert (difference[1:5] > 0).all()


def test_an_image_is_latent_zero(vae):
    video = clip(9)
    image, whole = vae.encode(video[:, :, :1]), vae.encode(video)
    assert torch.equal(image.mean, whole.mean[:, :, :1])
    assert torch.equal(image.logvar, whole.logvar[:, :, :1])
    assert torch.equal(vae.decode(image.mean), vae.decode(whole.mean)[:, :, :1])


@pytest.mark.parametrize("cuts", [[17], [1, 16], [4, 4, 4, 5], [1] * 17, [2, 7, 0, 8], [16, 1]])
def test_frames_cut_anywhere_encode_to_the_same_bits(vae, cuts):
    video = clip(17)
    whole = vae.encode(video)
    parts = list(vae.encode_chunks(video.split(cuts, dim=2)))
    assert torch.equal(torch.cat([part.mean for part in parts], dim=2), whole.mean)
    assert torch.equal(torch.cat([part.logvar for part in parts], dim=2), whole.logvar)


@pytest.mark.parametrize("cuts", [[5], [1, 4], [1] * 5, [3, 2]])
def test_latents_cut_anywhere_decode_to_the_same_bits(vae, cuts):
    latent = vae.encode(clip(17)).mean
    parts = list(vae.decode_chunks(latent.split(cuts, dim=2)))
    assert [part.shape[2] for part in parts] == [1, 4, 4, 4, 4]
    assert torch.equal(torch.cat(parts, dim=2), vae.decode(latent))


def test_stepwise_inference_agrees_with_the_training_pass(vae):
    video = clip(17)
    posterior = vae.encode(video)
    whole = vae(video, torch.zeros_like(posterior.mean))
    torch.testing.assert_close(posterior.mean, whole.posterior.mean, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(vae.decode(whole.latent), whole.video, rtol=1e-4, atol=1e-4)


def live_bytes() -> int:
    gc.collect()
    storages = {
        value.untyped_storage().data_ptr(): value.untyped_storage().nbytes()
        for value in gc.get_objects()
        if type(value) is Tensor
    }
    return sum(storages.values())


@pytest.mark.parametrize("name", ["tiny", "full"])
def test_streaming_memory_does_not_grow_with_length(name):
    vae = random_vae(CONFIGS[name])

    def frames():
        for seed in range(41):
            yield clip(1, seed=seed)

    held = {}
    for k, video in enumerate(vae.decode_chunks(p.mean for p in vae.encode_chunks(frames()))):
        del video
        if k in (2, 10):
            held[k] = live_bytes()
    assert held[2] == held[10]


def test_stream_counts_what_it_holds():
    vae, stream = random_vae(CONFIGS["full"]), Stream()
    assert stream.num_bytes() == 0
    vae._encode(clip(1), stream)
    assert stream.num_bytes() > 0


def test_network_starts_as_the_linear_codec():
    torch.manual_seed(0)
    vae = VideoVAE(tiny_vae())
    videos = [clip(9, seed=seed).cumsum(dim=2).clamp(-1, 1) for seed in range(3)]
    components = fit_linear_codec(videos, 4, 4, 16)
    codec = LinearCodec(4, 4, 16).requires_grad_(False)
    codec.load(components)
    assert vae.linear is not None
    vae.linear.load(components)
    posterior = vae.encode(videos[0])
    torch.testing.assert_close(posterior.mean, codec.encode(videos[0]))
    torch.testing.assert_close(vae.decode(posterior.mean), codec.decode(posterior.mean))
    assert (posterior.logvar == -6).all()


def test_linear_codec_whitens_and_is_exact_with_all_components():
    videos = [clip(9, seed=seed) for seed in range(4)]
    codec = LinearCodec(4, 2, 48).requires_grad_(False)
    codec.load(fit_linear_codec(videos, 4, 2, 48))
    latents = torch.cat([codec.encode(video) for video in videos])
    std = latents.transpose(0, 1).flatten(1).std(dim=1)
    torch.testing.assert_close(std, torch.ones(48), rtol=0.01, atol=0)
    torch.testing.assert_close(codec.decode(codec.encode(videos[0])), videos[0], rtol=0, atol=1e-4)


def test_linear_codec_refuses_too_few_blocks():
    with pytest.raises(ValueError, match="give more clips"):
        fit_linear_codec([clip(1, size=4)], 4, 4, 16)


def test_sizes_on_the_meta_device():
    counts = {}
    for name, config in {"tiny": tiny_vae(), "base": base_vae(), "full": full_vae()}.items():
        with torch.device("meta"):
            counts[name] = sum(value.numel() for value in VideoVAE(config).parameters())
    assert counts["full"] == 246_477_475  # HunyuanVideo's autoencoder, same widths, has 246.5 M
    assert 1.4e6 < counts["tiny"] < 1.7e6
    assert 0.8e8 < counts["base"] < 1.2e8


@pytest.mark.parametrize(
    ("video", "message"),
    [
        (torch.zeros(1, 3, 8, 16, 16), "1 \\+ 4k frames, got 8; drop the last 3"),
        (torch.zeros(1, 3, 0, 16, 16), "at least one frame, got none"),
        (torch.zeros(1, 4, 5, 16, 16), r"\[b, 3, t, h, w\]"),
        (torch.zeros(1, 3, 5, 12, 16), "multiples of 8"),
        (torch.full((1, 3, 1, 16, 16), torch.nan), "finite"),
        (torch.full((1, 3, 1, 16, 16), torch.inf), "finite"),
        (torch.full((1, 3, 1, 16, 16), 255.0), "map \\[0, 1\\]"),
    ],
)
def test_bad_video_is_refused(video, message):
    with pytest.raises(ValueError, match=message):
        random_vae(CONFIGS["full"]).encode(video)


def test_bad_latent_is_refused():
    vae = random_vae(CONFIGS["tiny"])
    with pytest.raises(ValueError, match="finite"):
        vae.decode(torch.full((1, 16, 1, 2, 2), torch.nan))
    with pytest.raises(ValueError, match="16, k, h, w"):
        vae.decode(torch.zeros(1, 4, 1, 2, 2))
    with pytest.raises(ValueError, match="at least one"):
        list(vae.decode_chunks([]))
    with pytest.raises(ValueError, match="got none"):
        list(vae.encode_chunks([]))


@pytest.mark.parametrize(
    "change",
    [{"strides": ((4, 2), (1, 2))}, {"groups": 7}, {"resample": "conv", "kernel_t": 1}],
)
def test_inconsistent_config_is_refused(change):
    with pytest.raises(ValueError, match=r"widths|kernel_t"):
        replace(tiny_vae(), **change)
