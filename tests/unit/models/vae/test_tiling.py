"""Padding is undone exactly; tiles of a local codec join without a seam."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import models
from models.trained import load_vae
from models.vae.linear import LinearCodec
from models.vae.model import VideoVAE, tiny_vae
from models.vae.task import psnr
from models.vae.tiling import Tiling, decode_tiled, encode_tiled, pad_to_fit

WEIGHTS = Path(models.__file__).parent / "weights" / "vae_tiny"


def moving_picture(height: int, width: int) -> torch.Tensor:
    """Waves that wander, in [-1, 1]; 9 frames."""
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    frames = [
        torch.stack(
            [torch.sin(x / 9 + t / 3 + c), torch.cos(y / 5 - t / 2), torch.sin((x + y) / 4)]
        )
        for t, c in zip(range(9), range(9), strict=True)
    ]
    return torch.stack(frames, dim=1)[None] * 0.9


@pytest.mark.parametrize("size", [(1, 1, 1), (5, 16, 16), (6, 17, 31), (4, 1, 40)])
def test_padding_fits_and_is_cut_away(size: tuple[int, int, int]):
    t, h, w = size
    video = torch.rand(2, 3, t, h, w)
    padded = pad_to_fit(video, 4, 16)
    assert padded.shape[2] % 4 == 1
    assert padded.shape[3] % 16 == padded.shape[4] % 16 == 0
    assert padded.shape[2] - t < 4
    assert torch.equal(padded[:, :, :t, :h, :w], video)
    assert torch.equal(padded[:, :, -1, -1, -1], video[:, :, -1, -1, -1])


def test_the_autoencoder_takes_what_was_padded():
    vae = VideoVAE(replace(tiny_vae(), widths=(8, 16))).eval()
    video = moving_picture(18, 33)[:, :, :6]
    with torch.no_grad():
        made = vae.decode(vae.encode(pad_to_fit(video, 4, 4)).mean)[:, :, :6, :18, :33]
    assert made.shape == video.shape


@pytest.mark.parametrize(("tile", "overlap"), [(16, 0), (16, 4), (32, 16), (64, 32)])
def test_a_local_codec_has_no_seam(tile: int, overlap: int):
    torch.manual_seed(0)
    vae = VideoVAE(replace(tiny_vae(), widths=(8, 16))).eval()  # starts as the linear codec
    assert isinstance(vae.linear, LinearCodec)
    video, tiling = moving_picture(44, 52), Tiling(tile_px=tile, overlap_px=overlap)
    with torch.no_grad():
        whole = vae.encode(video)
        tiled = encode_tiled(vae, video, tiling)
        torch.testing.assert_close(tiled.mean, whole.mean, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(tiled.logvar, whole.logvar, atol=1e-5, rtol=1e-5)
        made = decode_tiled(vae, whole.mean, tiling)
        torch.testing.assert_close(made, vae.decode(whole.mean), atol=1e-5, rtol=1e-5)


def test_one_tile_is_the_whole():
    vae, _, _ = load_vae(WEIGHTS)
    video, tiling = moving_picture(32, 32), Tiling(tile_px=32, overlap_px=8)
    assert torch.equal(encode_tiled(vae, video, tiling).mean, vae.encode(video).mean)


def test_the_seam_of_trained_weights_is_below_their_own_error():
    vae, _, _ = load_vae(WEIGHTS)
    video, tiling = moving_picture(96, 128), Tiling(tile_px=64, overlap_px=16)
    whole = vae.decode(vae.encode(video).mean)
    tiled = decode_tiled(vae, encode_tiled(vae, video, tiling).mean, tiling)
    assert psnr(tiled, whole) > psnr(whole, video) + 3
    assert psnr(tiled, video) > psnr(whole, video) - 0.5


@pytest.mark.parametrize(
    ("tile", "overlap", "message"),
    [(64, 48, "0 .. tile_px / 2"), (64, -4, "0 .. tile_px / 2"), (30, 8, "multiples of 4")],
)
def test_impossible_tiles_are_refused(tile: int, overlap: int, message: str):
    vae = VideoVAE(replace(tiny_vae(), widths=(8, 16)))
    with pytest.raises(ValueError, match=message):
        decode_tiled(vae, torch.zeros(1, 16, 1, 8, 8), Tiling(tile_px=tile, overlap_px=overlap))
