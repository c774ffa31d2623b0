"""Other autoencoders to stand beside ours, out of folders in the diffusers layout."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from models.vae.tiling import pad_to_fit

Codec = Callable[[Float[Tensor, "b 3 t h w"]], Float[Tensor, "b 3 t h w"]]
"""Video in [0, 1] to what comes back from the latents, clamped to [0, 1]."""
PEERS = (
    "AutoencoderKL",
    "AutoencoderKLCogVideoX",
    "AutoencoderKLHunyuanVideo",
    "AutoencoderKLWan",
)
IMAGE_PEER = "AutoencoderKL"
TIME_FACTOR, SPACE_FACTOR = 4, 8


def load_peer(folder: Path, device: torch.device | str = "cpu") -> Codec:
    """A codec from a folder with `config.json` and weights; the image one codes frame by frame.

    Raises:
        ValueError: If the folder is none of `PEERS`.
    """
    import diffusers

    config = folder / "config.json"
    name = json.loads(config.read_text()).get("_class_name") if config.is_file() else None
    if name not in PEERS:
        raise ValueError(
            f"{folder} must be a folder of diffusers with a config.json of {', '.join(PEERS)}, "
            f"got {name or 'no config.json'}; for SD3 name its `vae` folder"
        )
    network = getattr(diffusers, name).from_pretrained(folder).to(device)
    network.eval().requires_grad_(False)

    @torch.no_grad()
    def code(video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 3 t h w"]:
        b, _, t, h, w = video.shape
        padded = pad_to_fit(video * 2 - 1, TIME_FACTOR, SPACE_FACTOR)
        if name == IMAGE_PEER:
            padded = rearrange(padded, "b c t h w -> (b t) c h w")
        made = network.decode(network.encode(padded).latent_dist.mode()).sample
        if name == IMAGE_PEER:
            made = rearrange(made, "(b t) c h w -> b c t h w", b=b)
        return (made[:, :, :t, :h, :w] / 2 + 0.5).clamp(0, 1)

    return code
