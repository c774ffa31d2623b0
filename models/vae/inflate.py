"""SD3's image autoencoder as the start of the video one: image mode is then exactly SD3's."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from models.vae.model import VAEConfig, VideoVAE


def inflate_sd3(weights: Mapping[str, Tensor], config: VAEConfig) -> dict[str, Tensor]:
    """Turn weights of a 2D autoencoder into weights of `VideoVAE(config)`.

    Each 2D kernel goes to the last temporal tap, the current frame; the taps on the past start at
    zero. So every frame whose latent it ends is first encoded as an image.

    Args:
        weights: State of diffusers' `AutoencoderKL` without quant convolutions, as SD3 has it.
        config: Same widths and blocks; `resample="conv"`, `stem_patch=1`, no linear skip.

    Returns:
        State for `VideoVAE(config).load_state_dict`.

    Raises:
        ValueError: Names or shapes of the two do not agree.
    """
    if config.resample != "conv" or config.stem_patch != 1 or config.linear_skip:
        raise ValueError(
            'inflating needs resample="conv", stem_patch=1 and linear_skip=False, got '
            f"{config.resample!r}, {config.stem_patch} and {config.linear_skip}; use full_vae()"
        )
    with torch.device("meta"):
        shapes = {name: value.shape for name, value in VideoVAE(config).state_dict().items()}
    inflated, unused = {}, set(weights)
    for name, shape in shapes.items():
        source = _sd3_name(name, config)
        if source not in weights:
            raise ValueError(f"{name} needs {source}, which the 2D weights do not have")
        unused.discard(source)
        inflated[name] = _inflate(weights[source], shape, source)
    if unused:
        raise ValueError(f"2D weights that have no place: {sorted(unused)[:5]}; is this SD3's VAE?")
    return inflated


def _inflate(weight: Tensor, shape: torch.Size, name: str) -> Tensor:
    if weight.ndim != 4:
        placed = weight
    else:
        placed = weight.new_zeros((*weight.shape[:2], shape[2], *weight.shape[2:]))
        placed[:, :, -1] = weight
    if placed.shape != shape:
        raise ValueError(f"{name} must inflate to {list(shape)}, got {list(weight.shape)}")
    return placed


_LEAVES = {
    "conv1.conv": "conv1",
    "conv2.conv": "conv2",
    "shortcut": "conv_shortcut",
    "norm": "group_norm",
    "q": "to_q",
    "k": "to_k",
    "v": "to_v",
    "out": "to_out.0",
    "conv.conv": "conv",
    "conv_in.conv": "conv_in",
    "norm_out": "conv_norm_out",
    "conv_out.conv": "conv_out",
}


def _sd3_name(name: str, config: VAEConfig) -> str:
    half, rest = name.split(".", 1)
    prefix = half
    if rest.startswith("stages."):
        _, index, rest = rest.split(".", 2)
        walk = _encoder_walk(config) if half == "encoder" else _decoder_walk(config)
        prefix = f"{half}.{list(walk)[int(index)]}"
    leaf, kind = rest.rsplit(".", 1)
    return f"{prefix}.{_LEAVES.get(leaf, leaf)}.{kind}"


def _encoder_walk(config: VAEConfig) -> Iterator[str]:
    """SD3's names of the encoder's stages, in our order."""
    for i, num_blocks in enumerate(config.encoder_blocks):
        yield from (f"down_blocks.{i}.resnets.{j}" for j in range(num_blocks))
        if i + 1 < len(config.encoder_blocks):
            yield f"down_blocks.{i}.downsamplers.0"
    yield from _middle_walk(config)


def _decoder_walk(config: VAEConfig) -> Iterator[str]:
    """SD3's names of the decoder's stages, in our order."""
    yield from _middle_walk(config)
    for i, num_blocks in enumerate(reversed(config.decoder_blocks)):
        yield from (f"up_blocks.{i}.resnets.{j}" for j in range(num_blocks))
        if i + 1 < len(config.decoder_blocks):
            yield f"up_blocks.{i}.upsamplers.0"


def _middle_walk(config: VAEConfig) -> list[str]:
    middle = ["mid_block.resnets.0", "mid_block.attentions.0", "mid_block.resnets.1"]
    return middle if config.has_middle else []
