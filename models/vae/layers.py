"""Layers of the causal video autoencoder; every tensor is [b, c, t, h, w], kept channels_last_3d.

A layer never looks at later frames. Given a `Stream` it continues from the chunk before; given
None it holds the whole clip. Clips start by repeating their first frame, so T = 1 + 4k frames
become 1 + k latents and a single image is simply k = 0.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

Video = Float[Tensor, "b c t h w"]
Output = Float[Tensor, "b c_out t_out h_out w_out"]


class Stream:
    """What a chunked pass remembers: the last input frames of every causal convolution."""

    def __init__(self):
        self.is_first = True
        self.tails: dict[nn.Module, Tensor] = {}

    def num_bytes(self) -> int:
        """Bytes held between two chunks."""
        return sum(tail.untyped_storage().nbytes() for tail in self.tails.values())


def is_first(stream: Stream | None) -> bool:
    """Whether this chunk begins the clip."""
    return stream is None or stream.is_first


class CausalConv(nn.Module):
    """3D convolution over this frame and the `kernel_t - 1` before it.

    Padding is SD3's: one pixel on each side, or for a spatial stride of 2 one pixel at the
    bottom and the right only. MAGVIT-v2 (arXiv 2310.05737) section 3.2 has the causal padding.
    """

    def __init__(self, c_in: int, c_out: int, kernel: tuple[int, int], stride: tuple[int, int]):
        super().__init__()
        kernel_t, kernel_s = kernel
        stride_t, stride_s = stride
        self.num_past = kernel_t - 1
        self.num_kept = kernel_t - stride_t  # 1 for a time stride of 2: windows overlap by one
        self.pad_after = kernel_s > 1 and stride_s > 1
        pad = 0 if self.pad_after else kernel_s // 2
        self.conv = nn.Conv3d(
            c_in,
            c_out,
            (kernel_t, kernel_s, kernel_s),
            stride=(stride_t, stride_s, stride_s),
            padding=(0, pad, pad),
        )

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Convolve a clip, or the next chunk of one."""
        if self.num_past:
            x = self._with_past(x, stream)
        if self.pad_after:
            x = F.pad(x, (0, 1, 0, 1))
        return self.conv(x)

    def _with_past(self, x: Tensor, stream: Stream | None) -> Tensor:
        if is_first(stream):
            past = x[:, :, :1].repeat(1, 1, self.num_past, 1, 1)
        else:
            assert stream is not None
            past = stream.tails[self]
        x = torch.cat([past, x], dim=2)
        if stream is not None:
            # The clone lets the chunk itself be freed.
            stream.tails[self] = x[:, :, x.shape[2] - self.num_kept :].clone()
        return x


class FrameNorm(nn.Module):
    """GroupNorm of each frame by itself, statistics in float32.

    SD3's GroupNorm inflated as it stands averages over time too: it shows later frames to earlier
    ones and cannot be streamed. Backward in bf16 with channels_last is 5x slower on CPU.
    """

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.groups = groups
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Video) -> Output:
        """Normalise every frame over its pixels and each group of channels."""
        frames = rearrange(x, "b c t h w -> (b t) c h w").float()
        frames = F.group_norm(frames, self.groups, self.weight.float(), self.bias.float(), 1e-6)
        return rearrange(frames, "(b t) c h w -> b c t h w", b=x.shape[0]).to(x.dtype)


class ResidualBlock(nn.Module):
    """SD3's residual block: twice norm, SiLU, convolution; a 1x1 shortcut where widths differ."""

    def __init__(self, c_in: int, c_out: int, groups: int, kernels_t: tuple[int, int]):
        super().__init__()
        self.norm1 = FrameNorm(c_in, groups)
        self.conv1 = CausalConv(c_in, c_out, (kernels_t[0], 3), (1, 1))
        self.norm2 = FrameNorm(c_out, groups)
        self.conv2 = CausalConv(c_out, c_out, (kernels_t[1], 3), (1, 1))
        self.shortcut = nn.Conv3d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Add what the two convolutions find."""
        y = self.conv1(F.silu(self.norm1(x)), stream)
        y = self.conv2(F.silu(self.norm2(y)), stream)
        return self.shortcut(x) + y


class FrameAttention(nn.Module):
    """SD3's single-head self-attention among the cells of one frame."""

    def __init__(self, channels: int, groups: int):
        super().__init__()
        self.norm = FrameNorm(channels, groups)
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.out = nn.Linear(channels, channels)

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Attend within each frame; frames do not see each other."""
        del stream  # nothing to remember
        b, _, _, h, w = x.shape
        cells = rearrange(self.norm(x), "b c t h w -> (b t) (h w) c")
        y = F.scaled_dot_product_attention(self.q(cells), self.k(cells), self.v(cells))
        return x + rearrange(self.out(y), "(b t) (h w) c -> b c t h w", b=b, h=h, w=w)


def fold(x: Video, time: int, space: int, *, first: bool) -> Output:
    """Blocks of `time` x `space` x `space` cells to channels (fastest: input channel).

    The first chunk is led by `time - 1` copies of its first frame, so that block 0 is frame 0
    alone and block j >= 1 is frames time*(j-1)+1 .. time*j.
    """
    if first and time > 1:
        x = torch.cat([x[:, :, :1].repeat(1, 1, time - 1, 1, 1), x], dim=2)
    x = rearrange(
        x, "b c (t u) (h i) (w j) -> b t h w (u i j c)", u=time, i=space, j=space
    )  # channels last in memory
    return rearrange(x, "b t h w c -> b c t h w")


def unfold(x: Video, time: int, space: int, *, first: bool) -> Output:
    """Inverse of `fold`: channels to blocks; the first chunk loses its `time - 1` copies."""
    x = rearrange(
        x, "b (u i j c) t h w -> b (t u) (h i) (w j) c", u=time, i=space, j=space
    )  # channels last in memory
    return rearrange(x, "b t h w c -> b c t h w")[:, :, time - 1 if first else 0 :]


class FoldDown(nn.Module):
    """Space-time-to-channel and a 1x1 convolution to the next width."""

    def __init__(self, c_in: int, c_out: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.mix = nn.Conv3d(c_in * stride[0] * stride[1] ** 2, c_out, 1)

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Shrink time and space by the stride."""
        return self.mix(fold(x, *self.stride, first=is_first(stream)))


class FoldUp(nn.Module):
    """Mirror of `FoldDown`."""

    def __init__(self, c_in: int, c_out: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.mix = nn.Conv3d(c_in, c_out * stride[0] * stride[1] ** 2, 1)

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Grow time and space by the stride."""
        return unfold(self.mix(x), *self.stride, first=is_first(stream))


class ConvUp(nn.Module):
    """SD3's upsampler: repeat cells (and frames), then convolve."""

    def __init__(self, channels: int, kernel_t: int, stride: tuple[int, int]):
        super().__init__()
        self.stride = stride
        self.conv = CausalConv(channels, channels, (kernel_t, 3), (1, 1))

    def forward(self, x: Video, stream: Stream | None = None) -> Output:
        """Grow time and space by the stride; frame 0 stays one frame."""
        time, space = self.stride
        x = x.repeat_interleave(space, dim=3).repeat_interleave(space, dim=4)
        if time > 1:
            x = x.repeat_interleave(time, dim=2)[:, :, time - 1 if is_first(stream) else 0 :]
        x = x.contiguous(memory_format=torch.channels_last_3d)
        return self.conv(x, stream)
