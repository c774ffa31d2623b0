"""Peers out of small folders with random weights, in the layout of diffusers."""

from pathlib import Path

import diffusers
import pytest
import torch

from models.vae.peers import PEERS, load_peer

SMALL = {
    "AutoencoderKL": {
        "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "latent_channels": 16,
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4, "use_quant_conv": False,
        "use_post_quant_conv": False,
    },
    "AutoencoderKLCogVideoX": {"block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4},
    "AutoencoderKLHunyuanVideo": {
        "block_out_channels": (8, 8, 8, 8), "norm_num_groups": 4, "layers_per_block": 1,
    },
    "AutoencoderKLWan": {"base_dim": 4, "z_dim": 16, "num_res_blocks": 1},
}  # fmt: skip


@pytest.mark.parametrize("name", PEERS)
def test_a_peer_gives_back_a_video_of_any_size(name: str, tmp_path: Path):
    torch.manual_seed(0)
    getattr(diffusers, name)(**SMALL[name]).save_pretrained(tmp_path / name)
    code = load_peer(tmp_path / name)
    video = torch.rand(1, 3, 6, 20, 36)
    made = code(video)
    assert made.shape == video.shape
    assert 0 <= made.min() < made.max() <= 1
    assert torch.equal(made, load_peer(tmp_path / name)(video))


def test_the_image_peer_codes_each_frame_by_itself(tmp_path: Path):
    diffusers.AutoencoderKL(**SMALL["AutoencoderKL"]).save_pretrained(tmp_path)
    code = load_peer(tmp_path)
    video = torch.rand(2, 3, 5, 16, 16)
    alone = code(video[:, :, 3:4])
    torch.testing.assert_close(code(video)[:, :, 3:4], alone, atol=1e-5, rtol=1e-4)


def test_other_folders_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"got no config\.json"):
        load_peer(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "UNet2DModel"}')
    with pytest.raises(ValueError, match="got UNet2DModel"):
        load_peer(tmp_path)
