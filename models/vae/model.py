"""The video autoencoder: SD3's image autoencoder inflated to causal 3D (ISA4D section 4.1).

One encoder and one decoder of stages serve every size. The tiny one shrinks by folding pixels into
channels and runs beside a trainable linear codec; the full one has SD3's stages and nothing else.
Inside this package video is [-1, 1].
"""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from models.vae.layers import (
    CausalConv,
    ConvUp,
    FoldDown,
    FoldUp,
    FrameAttention,
    FrameNorm,
    ResidualBlock,
    Stream,
    fold,
    is_first,
    unfold,
)
from models.vae.linear import LinearCodec


@dataclass(frozen=True, kw_only=True)
class VAEConfig:
    """Sizes of the autoencoder; the defaults: SD3 inflated (8x space, 4x time, 16 channels)."""

    latent_channels: int = 16
    widths: tuple[int, ...] = (128, 256, 512, 512)
    """Channels of each stage, from pixels to latents; the decoder mirrors them."""
    encoder_blocks: tuple[int, ...] = (2, 2, 2, 2)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 3)
    """Residual blocks per stage, both from pixels to latents."""
    strides: tuple[tuple[int, int], ...] = ((1, 2), (2, 2), (2, 2))
    """Shrinking (time, space) between stages; time last, as fast detail lives near the pixels."""
    stem_patch: int = 1
    """Pixel-unshuffle before the first convolution; 2 is four times faster at equal parameters."""
    resample: Literal["conv", "fold"] = "conv"
    """Strided convolution and repeat-then-convolve (SD3), or space-time-to-channel."""
    kernel_t: int = 3
    """Temporal size of each block's first convolution and of the resampling convolutions."""
    kernel_t_outer: int = 3
    """Temporal size of each block's second convolution and of the first and last convolution."""
    groups: int = 32
    has_middle: bool = True
    """SD3's block, attention, block between the stages and the latents."""
    linear_skip: bool = False
    """Run a trainable linear codec beside the network, which then starts at zero."""

    def __post_init__(self) -> None:
        num_stages = len(self.widths)
        lengths = (len(self.encoder_blocks), len(self.decoder_blocks), len(self.strides) + 1)
        if any(length != num_stages for length in lengths):
            raise ValueError(
                f"{num_stages} widths need as many encoder_blocks and decoder_blocks and one "
                f"stride fewer, got {lengths[0]}, {lengths[1]} and {lengths[2] - 1}"
            )
        if any(width % self.groups for width in self.widths):
            raise ValueError(f"widths {self.widths} must be multiples of groups {self.groups}")
        if self.kernel_t == 1 and self.resample == "conv" and self.time_factor > 1:
            raise ValueError("strided convolutions in time need kernel_t=3, got kernel_t=1")

    @property
    def time_factor(self) -> int:
        """Frames per latent, after the first."""
        return math.prod(time for time, _ in self.strides)

    @property
    def space_factor(self) -> int:
        """Pixels per latent cell side."""
        return self.stem_patch * math.prod(space for _, space in self.strides)


def tiny_vae() -> VAEConfig:
    """1.5 M parameters, 4x space: learns on a CPU, starts as good as the linear codec."""
    return VAEConfig(
        widths=(32, 96),
        encoder_blocks=(1, 2),
        decoder_blocks=(1, 2),
        strides=((4, 2),),
        stem_patch=2,
        resample="fold",
        kernel_t_outer=1,
        groups=8,
        has_middle=False,
        linear_skip=True,
    )


def base_vae() -> VAEConfig:
    """8x space with SD3's stages at half its widths, on half-size pixels."""
    return VAEConfig(
        widths=(128, 256, 512),
        encoder_blocks=(2, 2, 2),
        decoder_blocks=(3, 3, 3),
        strides=((2, 2), (2, 2)),
        stem_patch=2,
        kernel_t_outer=1,
        linear_skip=True,
    )


def full_vae() -> VAEConfig:
    """SD3's widths; 2D SD3 weights inflate into it (`models.vae.inflate`)."""
    return VAEConfig()


@dataclass(frozen=True)
class Posterior:
    """Diagonal Gaussian over latents."""

    mean: Float[Tensor, "b c k y x"]
    logvar: Float[Tensor, "b c k y x"]

    def sample(self, noise: Float[Tensor, "b c k y x"]) -> Float[Tensor, "b c k y x"]:
        """Latents for the given standard normal noise."""
        return self.mean + torch.exp(0.5 * self.logvar) * noise


@dataclass(frozen=True)
class Reconstruction:
    """What one training pass gives."""

    video: Float[Tensor, "b 3 t h w"]
    latent: Float[Tensor, "b c k y x"]
    posterior: Posterior


class Encoder(nn.Module):
    """Pixels to the mean and log-variance of latents."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.recompute = False
        kernels, outer = (config.kernel_t, config.kernel_t_outer), config.kernel_t_outer
        width = config.widths[0]
        self.conv_in = CausalConv(3 * config.stem_patch**2, width, (outer, 3), (1, 1))
        stages = []
        for i, (next_width, num_blocks) in enumerate(
            zip(config.widths, config.encoder_blocks, strict=True)
        ):
            if i > 0 and config.resample == "fold":
                stages.append(FoldDown(width, next_width, config.strides[i - 1]))
                width = next_width
            elif i > 0:
                kernel_t = config.kernel_t
                stages.append(CausalConv(width, width, (kernel_t, 3), config.strides[i - 1]))
            for _ in range(num_blocks):
                stages.append(ResidualBlock(width, next_width, config.groups, kernels))
                width = next_width
        if config.has_middle:
            stages += middle(width, config.groups, kernels)
        self.stages = nn.ModuleList(stages)
        self.norm_out = FrameNorm(width, config.groups)
        self.conv_out = CausalConv(width, 2 * config.latent_channels, (outer, 3), (1, 1))

    def forward(
        self, video: Float[Tensor, "b 3 t h w"], stream: Stream | None = None
    ) -> tuple[Float[Tensor, "b c k y x"], Float[Tensor, "b c k y x"]]:
        """Mean and log-variance of the network alone."""
        x = fold(video, 1, self.config.stem_patch, first=is_first(stream))
        x = self.conv_in(x, stream)
        x = run_stages(self.stages, x, stream, self.recompute)
        mean, logvar = self.conv_out(F.silu(self.norm_out(x)), stream).float().chunk(2, dim=1)
        return mean, logvar.clamp(-30.0, 20.0)


class Decoder(nn.Module):
    """Latents to pixels; the mirror of the encoder."""

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.recompute = False
        kernels, outer = (config.kernel_t, config.kernel_t_outer), config.kernel_t_outer
        width = config.widths[-1]
        self.conv_in = CausalConv(config.latent_channels, width, (outer, 3), (1, 1))
        stages = middle(width, config.groups, kernels) if config.has_middle else []
        for i in reversed(range(len(config.widths))):
            for _ in range(config.decoder_blocks[i]):
                stages.append(ResidualBlock(width, config.widths[i], config.groups, kernels))
                width = config.widths[i]
            if i > 0 and config.resample == "fold":
                stages.append(FoldUp(width, config.widths[i - 1], config.strides[i - 1]))
                width = config.widths[i - 1]
            elif i > 0:
                stages.append(ConvUp(width, config.kernel_t, config.strides[i - 1]))
        self.stages = nn.ModuleList(stages)
        self.norm_out = FrameNorm(width, config.groups)
        self.conv_out = CausalConv(width, 3 * config.stem_patch**2, (outer, 3), (1, 1))

    def forward(
        self, latent: Float[Tensor, "b c k y x"], stream: Stream | None = None
    ) -> Float[Tensor, "b 3 t h w"]:
        """Video of the network alone."""
        x = self.conv_in(latent, stream)
        x = run_stages(self.stages, x, stream, self.recompute)
        x = self.conv_out(F.silu(self.norm_out(x)), stream).float()
        return unfold(x, 1, self.config.stem_patch, first=is_first(stream))


def run_stages(stages: nn.ModuleList, x: Tensor, stream: Stream | None, recompute: bool) -> Tensor:
    """Run the stages in order; with `recompute`, backward runs each again and keeps only inputs."""
    for stage in stages:
        if recompute and stream is None and torch.is_grad_enabled():
            x = checkpoint(stage, x, None, use_reentrant=False)
        else:
            x = stage(x, stream)
    return x


def middle(width: int, groups: int, kernels_t: tuple[int, int]) -> list[nn.Module]:
    """SD3's middle: block, attention, block."""
    return [
        ResidualBlock(width, width, groups, kernels_t),
        FrameAttention(width, groups),
        ResidualBlock(width, width, groups, kernels_t),
    ]


class VideoVAE(nn.Module):
    """Causal video autoencoder, images included (T = 1).

    `forward` takes whole clips at once and is for training. `encode` and `decode` run in fixed
    steps (frame 0, then one latent's frames at a time), so that any chunking gives the same bits
    and, for a frozen model or under `torch.no_grad`, memory does not grow with length.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.linear = (
            LinearCodec(config.time_factor, config.space_factor, config.latent_channels)
            if config.linear_skip
            else None
        )
        initialise(self)
        initialise_ends(self)
        self.to(memory_format=torch.channels_last_3d)

    def forward(
        self, video: Float[Tensor, "b 3 t h w"], noise: Float[Tensor, "b c k y x"]
    ) -> Reconstruction:
        """Encode, sample with the given noise, decode; values are not checked."""
        posterior = self._encode(video, None)
        latent = posterior.sample(noise)
        return Reconstruction(self._decode(latent, None), latent, posterior)

    def encode(self, video: Float[Tensor, "b c t h w"]) -> Posterior:
        """Latents of whole clips.

        Args:
            video: [-1, 1], 3 channels, 1 + 4k frames, sides multiples of `space_factor`.

        Raises:
            ValueError: The video breaks one of these rules.
        """
        parts = list(self.encode_chunks([video]))
        return Posterior(
            torch.cat([part.mean for part in parts], dim=2),
            torch.cat([part.logvar for part in parts], dim=2),
        )

    def decode(self, latent: Float[Tensor, "b c k y x"]) -> Float[Tensor, "b 3 t h w"]:
        """Clips of 1 + 4(k - 1) frames, about [-1, 1] (not clamped)."""
        return torch.cat(list(self.decode_chunks([latent])), dim=2)

    def encode_chunks(self, frames: Iterable[Float[Tensor, "b c _t h w"]]) -> Iterator[Posterior]:
        """Encode a stream of frames cut anywhere; gives one latent at a time.

        Raises:
            ValueError: A chunk is no video, or the frames do not add up to 1 + 4k.
        """
        stream, held, num_frames = Stream(), None, 0
        for chunk in frames:
            self._check_video(chunk)
            num_frames += chunk.shape[2]
            held = chunk if held is None else torch.cat([held, chunk], dim=2)
            while held.shape[2] >= self._step(stream):
                num_taken = self._step(stream)
                step, held = held[:, :, :num_taken], held[:, :, num_taken:]
                yield self._encode(step, stream)
                stream.is_first = False
        if num_frames == 0:
            raise ValueError("encoding needs at least one frame, got none")
        if held is None or held.shape[2]:
            factor = self.config.time_factor
            raise ValueError(
                f"a video must have 1 + {factor}k frames, got {num_frames}; "
                f"drop the last {(num_frames - 1) % factor} or repeat the last frame"
            )

    def decode_chunks(
        self, latents: Iterable[Float[Tensor, "b c _k y x"]]
    ) -> Iterator[Float[Tensor, "b 3 _t h w"]]:
        """Decode a stream of latents cut anywhere; gives frame 0, then 4 frames at a time.

        Raises:
            ValueError: A chunk has the wrong channels or values that are not finite, or none came.
        """
        stream = Stream()
        for chunk in latents:
            self._check_latent(chunk)
            for k in range(chunk.shape[2]):
                yield self._decode(chunk[:, :, k : k + 1], stream)
                stream.is_first = False
        if stream.is_first:
            raise ValueError("decoding needs at least one latent, got none")

    def _encode(self, video: Tensor, stream: Stream | None) -> Posterior:
        video = video.contiguous(memory_format=torch.channels_last_3d)
        mean, logvar = self.encoder(video, stream)
        if self.linear is not None:
            mean = mean + self.linear.encode(video, stream)
        return Posterior(mean, logvar)

    def _decode(self, latent: Tensor, stream: Stream | None) -> Tensor:
        latent = latent.contiguous(memory_format=torch.channels_last_3d)
        video = self.decoder(latent, stream)
        if self.linear is not None:
            video = video + self.linear.decode(latent, stream)
        return video

    def _step(self, stream: Stream) -> int:
        return 1 if stream.is_first else self.config.time_factor

    def _check_video(self, video: Tensor) -> None:
        factor = self.config.space_factor
        if video.ndim != 5 or video.shape[1] != 3:
            raise ValueError(f"a video must be [b, 3, t, h, w], got {list(video.shape)}")
        if video.shape[3] % factor or video.shape[4] % factor:
            raise ValueError(
                f"video sides must be multiples of {factor}, got {list(video.shape)}; "
                "crop or resize"
            )
        largest = video.detach().abs().amax().item() if video.numel() else 0.0
        if not largest <= 1.001:  # also NaN; a little above 1 is bfloat16 rounding
            raise ValueError(
                f"video values must be finite and in [-1, 1], got largest magnitude {largest}; "
                f"map [0, 1] by x * 2 - 1"
            )

    def _check_latent(self, latent: Tensor) -> None:
        channels = self.config.latent_channels
        if latent.ndim != 5 or latent.shape[1] != channels:
            raise ValueError(f"a latent must be [b, {channels}, k, h, w], got {list(latent.shape)}")
        if not torch.isfinite(latent).all():
            raise ValueError("latent values must be finite, got NaN or infinity")


def initialise(module: nn.Module) -> None:
    """Signal-preserving start: weights N(0, 1/fan_in), second convolutions zero.

    PyTorch's own start has a third of that variance and lets the signal shrink.
    """
    for part in module.modules():
        if isinstance(part, (nn.Conv3d, nn.Linear)):
            nn.init.normal_(part.weight, std=part.weight[0].numel() ** -0.5)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
    for part in module.modules():
        if isinstance(part, ResidualBlock):
            nn.init.zeros_(part.conv2.conv.weight)


def initialise_ends(vae: VideoVAE) -> None:
    """Start the log-variance at -6, and a network beside a linear codec at zero.

    A log-variance of 0 drowns the latents in noise: -6 halves the steps to the same quality.
    """
    encoder_out, decoder_out = vae.encoder.conv_out.conv, vae.decoder.conv_out.conv
    channels = vae.config.latent_channels
    nn.init.zeros_(encoder_out.weight[channels:])
    assert encoder_out.bias is not None
    nn.init.constant_(encoder_out.bias[channels:], -6.0)
    if vae.linear is not None:
        nn.init.zeros_(encoder_out.weight)
        nn.init.zeros_(decoder_out.weight)
