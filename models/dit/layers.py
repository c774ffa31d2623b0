"""Layers of the ISA-DiT, in the order in which a block uses them.

The 2D stream is [b, k, s, d]: latent frames k, tokens of a frame s. The 3D stream is
[b, k, m, d]: the m surface points that belong to latent frame k. Everything that carries a
condition into the 2D stream is free of biases, so a zero or masked condition adds exactly nothing.
Every residual branch ends in a zero-initialised projection.
"""

import math
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from models.attention import Distance, attend
from models.dit.config import ISADiTConfig

SIGMA_NDC = (0.08, 0.4)
"""Start of the local bias: standard deviations of the first and last head, in NDC."""


def sinusoid(
    x: Float[Tensor, "*batch c"], width: int, min_cycles: float, max_cycles: float
) -> Float[Tensor, "*batch {width}"]:
    """Sines and cosines of every coordinate, zero-padded to `width`.

    Args:
        x: Coordinates in any unit.
        width: Channels to return.
        min_cycles: Lowest frequency, cycles per unit.
        max_cycles: Highest frequency; those between are spaced geometrically.
    """
    num = width // (2 * x.shape[-1])
    cycles = torch.logspace(0, 1, num, base=max_cycles / min_cycles, device=x.device) * min_cycles
    phase = 2 * torch.pi * x[..., None] * cycles.to(x.dtype)
    waves = rearrange(torch.stack([phase.sin(), phase.cos()]), "w ... c f -> ... (w c f)")
    return F.pad(waves, (0, width - waves.shape[-1]))


def norm(x: Float[Tensor, "*batch d"]) -> Float[Tensor, "*batch d"]:
    """LayerNorm without affine part; zero stays zero."""
    return F.layer_norm(x, x.shape[-1:])


def modulate(
    x: Float[Tensor, "b *axes d"], modulation: Float[Tensor, "b 3 d"]
) -> tuple[Tensor, Tensor]:
    """adaLN: the normalised, shifted and scaled x, and the gate of the branch (1 at the start)."""
    shape = (x.shape[0], *[1] * (x.ndim - 2), x.shape[-1])
    shift, scale, gate = (part.reshape(shape) for part in modulation.unbind(1))
    return torch.addcmul(shift, norm(x), 1 + scale), 1 + gate


def linear(width_in: int, width_out: int, *, bias: bool = False, zero: bool = False) -> nn.Linear:
    """Linear layer that keeps the variance of its input, or starts at zero."""
    layer = nn.Linear(width_in, width_out, bias=bias)
    if zero:
        nn.init.zeros_(layer.weight)
    else:
        nn.init.normal_(layer.weight, std=width_in**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


def feed_forward(width: int, ratio: float) -> nn.Sequential:
    """Two-layer perceptron, zero at the start."""
    hidden = int(width * ratio)
    return nn.Sequential(
        linear(width, hidden, bias=True),
        nn.GELU(approximate="tanh"),
        linear(hidden, width, bias=True, zero=True),
    )


def split_heads(
    x: Float[Tensor, "b g n d"], heads: int, normalise: bool
) -> Float[Tensor, "bg heads n width"]:
    """Heads as a batch axis; optionally RMS-normalised (queries and keys of large models)."""
    x = rearrange(x, "b g n (h d) -> (b g) h n d", h=heads)
    return F.rms_norm(x, x.shape[-1:]) if normalise else x


def merge_heads(x: Float[Tensor, "bg heads n width"], batch: int) -> Float[Tensor, "{batch} g n d"]:
    """Inverse of `split_heads`."""
    return rearrange(x, "(b g) h n d -> b g n (h d)", b=batch)


class TransformerLayer(nn.Module):
    """Self-attention within each group of tokens, then a feed-forward layer (paper eq. 7)."""

    def __init__(self, config: ISADiTConfig, ffn_ratio: float) -> None:
        super().__init__()
        self.heads, self.qk_norm = config.heads, config.qk_norm
        self.qkv = linear(config.width, 3 * config.width)
        self.out = linear(config.width, config.width, zero=True)
        self.ffn = feed_forward(config.width, ffn_ratio) if ffn_ratio else None
        self.modulation = nn.Parameter(torch.zeros(2 if ffn_ratio else 1, 3, config.width))

    def forward(
        self,
        x: Float[Tensor, "b g n d"],
        modulation: Float[Tensor, "b 2 3 d"],
        is_valid: Bool[Tensor, "b g n"] | None = None,
    ) -> Float[Tensor, "b g n d"]:
        """Tokens n of a group g see each other; invalid ones are seen by nobody."""
        h, gate = modulate(x, modulation[:, 0] + self.modulation[0])
        q, k, v = self.qkv(h).chunk(3, -1)
        q, k = (split_heads(part, self.heads, self.qk_norm) for part in (q, k))
        v = split_heads(v, self.heads, False)
        valid = None if is_valid is None else rearrange(is_valid, "b g n -> (b g) n")
        seen = merge_heads(attend(q, k, v, key_is_valid=valid), x.shape[0])
        x = x + gate * self.out(seen)
        if self.ffn is None:
            return x
        h, gate = modulate(x, modulation[:, 1] + self.modulation[1])
        return x + gate * self.ffn(h)


def tile_tokens(rows: int, columns: int, tile: int) -> Int64[Tensor, "tiles tokens"]:
    """Numbers of the tokens of each tile; tiles are as large as divides the grid."""
    height, width = math.gcd(rows, tile), math.gcd(columns, tile)
    number = torch.arange(rows * columns)
    order = "(r i c j) -> (r c) (i j)"
    sizes = {"i": height, "j": width, "c": columns // width}
    return rearrange(number, order, **sizes)


class CrossAttention(nn.Module):
    """2D tokens read condition tokens; zero tokens add exactly zero."""

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        self.heads, self.qk_norm = config.heads, config.qk_norm
        self.q = linear(config.width, config.width)
        self.kv = linear(config.width, 2 * config.width)
        self.out = linear(config.width, config.width, zero=True)

    def forward(
        self, x: Float[Tensor, "b g n d"], context: Float[Tensor, "b g c d"]
    ) -> Float[Tensor, "b g n d"]:
        """Tokens of group g read the context of the same group."""
        k, v = self.kv(norm(context)).chunk(2, -1)
        q = split_heads(self.q(norm(x)), self.heads, self.qk_norm)
        k = split_heads(k, self.heads, self.qk_norm)
        seen = attend(q, k, split_heads(v, self.heads, False))
        return x + self.out(merge_heads(seen, x.shape[0]))


@dataclass(frozen=True, kw_only=True)
class PointStream:
    """The 3D stream: one token per person, sub-frame and surface point of each latent frame.

    Tokens of a latent frame are ordered (person, sub-frame, point).
    """

    tokens: Float[Tensor, "b k m d"]
    encoding: Float[Tensor, "b k m d"] | None
    """ISPE of the points; None in the ablation without it."""
    xy_ndc: Float[Tensor, "b k m 2"]
    is_valid: Bool[Tensor, "b k m"]
    """The person is visible in this frame, the frame exists, the point is before the camera."""
    num_people: int


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Where the 2D tokens of a frame lie: on the plane z = 0 of NDC (paper eq. 11)."""

    encoding: Float[Tensor, "s d"] | None
    xy_ndc: Float[Tensor, "s 2"]
    num_latents: int
    rows: int


class PointTemporalLayer(nn.Module):
    """Every surface point of every person sees itself in all frames of the clip (eq. 17)."""

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        self.layer = TransformerLayer(config, config.ffn_ratio_3d)
        self.frames_per_latent = config.frames_per_latent

    def forward(self, points: PointStream, modulation: Float[Tensor, "b 2 3 d"]) -> PointStream:
        """Mix over time, person by person and point by point."""
        sizes = {"p": points.num_people, "u": self.frames_per_latent}
        k = points.tokens.shape[1]
        by_point = "b k (p u n) d -> b (p n) (k u) d"
        x = rearrange(points.tokens, by_point, **sizes)
        is_valid = rearrange(points.is_valid, "b k (p u n) -> b (p n) (k u)", **sizes)
        x = self.layer(x, modulation, is_valid)
        back = "b (p n) (k u) d -> b k (p u n) d"
        return replace(points, tokens=rearrange(x, back, k=k, **sizes))


class InterspatialLayer(nn.Module):
    """Symmetric interspatial attention: 2D reads 3D and 3D reads 2D at once (eq. 12-14).

    Attention is per latent frame. The position encoding in NDC is added to queries, keys and
    values of both streams. Two additions to the paper, both measured to make a small model follow
    the pose sooner: a learned locality bias per head on the distance in NDC, and a sink key for
    the 2D queries, so that a token far from every body reads nothing.
    """

    def __init__(self, config: ISADiTConfig, updates_points: bool) -> None:
        super().__init__()
        width = config.width
        self.heads, self.qk_norm, self.updates_points = config.heads, config.qk_norm, updates_points
        self.gain = config.ispe_gain
        self.num_nearest, self.tile = config.isa_points, config.isa_tile
        self.qkv_2d = linear(width, 3 * width)
        self.out_2d = linear(width, width, zero=True)
        self.ffn_2d = feed_forward(width, config.ffn_ratio)
        self.modulation_2d = nn.Parameter(torch.zeros(2, 3, width))
        self.qkv_3d = linear(width, 3 * width if updates_points else 2 * width)
        has_ffn_3d = updates_points and config.ffn_ratio_3d > 0
        self.modulation_3d = nn.Parameter(torch.zeros(2 if has_ffn_3d else 1, 3, width))
        self.out_3d = linear(width, width, zero=True) if updates_points else None
        self.ffn_3d = feed_forward(width, config.ffn_ratio_3d) if has_ffn_3d else None
        self.sink = nn.Parameter(torch.zeros(config.heads))
        self.log_sharpness = None
        if config.local_bias:
            low, high = SIGMA_NDC
            sigma = torch.logspace(0, 1, config.heads, base=high / low) * low
            directions = 2 if updates_points else 1
            self.log_sharpness = nn.Parameter((0.5 / sigma**2).log().repeat(directions, 1))

    def forward(
        self,
        x: Float[Tensor, "b k s d"],
        points: PointStream | None,
        grid: Grid,
        modulation_2d: Float[Tensor, "b 2 3 d"],
        modulation_3d: Float[Tensor, "b 2 3 d"],
    ) -> tuple[Float[Tensor, "b k s d"], PointStream | None]:
        """Both directions read the streams as they were before the layer."""
        h_2d, gate_2d = modulate(x, modulation_2d[:, 0] + self.modulation_2d[0])
        if points is not None:
            h_3d, gate_3d = modulate(points.tokens, modulation_3d[:, 0] + self.modulation_3d[0])
            seen_2d, seen_3d = self._attend_both(h_2d, h_3d, points, grid)
            x = x + gate_2d * self.out_2d(seen_2d)
            if self.out_3d is not None and seen_3d is not None:
                tokens = points.tokens + gate_3d * self.out_3d(seen_3d)
                points = replace(points, tokens=tokens)
        h_2d, gate_2d = modulate(x, modulation_2d[:, 1] + self.modulation_2d[1])
        x = x + gate_2d * self.ffn_2d(h_2d)
        if points is not None and self.ffn_3d is not None:
            h_3d, gate_3d = modulate(points.tokens, modulation_3d[:, 1] + self.modulation_3d[1])
            points = replace(points, tokens=points.tokens + gate_3d * self.ffn_3d(h_3d))
        return x, points

    def _attend_both(
        self,
        h_2d: Float[Tensor, "b k s d"],
        h_3d: Float[Tensor, "b k m d"],
        points: PointStream,
        grid: Grid,
    ) -> tuple[Float[Tensor, "b k s d"], Float[Tensor, "b k m d"] | None]:
        batch, k = h_2d.shape[:2]
        if grid.encoding is not None and points.encoding is not None:
            h_2d = h_2d + self.gain * grid.encoding
            h_3d = h_3d + self.gain * points.encoding
        q_2d, k_2d, v_2d = self._project(self.qkv_2d(h_2d), 3)
        parts_3d = self._project(self.qkv_3d(h_3d), 3 if self.updates_points else 2)
        k_3d, v_3d = parts_3d[-2:]
        xy_2d = grid.xy_ndc.expand(batch * k, -1, -1)
        xy_3d = rearrange(points.xy_ndc, "b k m c -> (b k) m c")
        is_valid = rearrange(points.is_valid, "b k m -> (b k) m")
        seen_2d = self._read_points(q_2d, k_3d, v_3d, xy_2d, xy_3d, is_valid, grid.rows)
        if not self.updates_points:
            return merge_heads(seen_2d, batch), None
        seen_3d = attend(parts_3d[0], k_2d, v_2d, distance=self._distance(1, xy_3d, xy_2d))
        return merge_heads(seen_2d, batch), merge_heads(seen_3d, batch)

    def _read_points(
        self,
        q: Float[Tensor, "g heads s w"],
        k: Float[Tensor, "g heads m w"],
        v: Float[Tensor, "g heads m w"],
        xy_2d: Float[Tensor, "g s 2"],
        xy_3d: Float[Tensor, "g m 2"],
        is_valid: Bool[Tensor, "g m"],
        rows: int,
    ) -> Float[Tensor, "g heads s w"]:
        """2D tokens read all points, or those nearest to the centre of their tile."""
        if self.num_nearest is None or self.num_nearest >= k.shape[2]:
            return attend(
                q, k, v, key_is_valid=is_valid, distance=self._distance(0, xy_2d, xy_3d),
                sink=self.sink,
            )  # fmt: skip
        tiles = tile_tokens(rows, q.shape[2] // rows, self.tile).to(q.device)
        centre = xy_2d[:, tiles].mean(2)
        away = (centre[:, :, None] - xy_3d[:, None]).square().sum(-1)
        away = away.masked_fill(~is_valid[:, None], torch.inf)
        near = away.topk(self.num_nearest, dim=2, largest=False).indices
        groups = torch.arange(len(q), device=q.device)[:, None, None]
        heads_last = "g heads p w -> g p heads w"
        k, v = (rearrange(part, heads_last)[groups, near] for part in (k, v))
        q = rearrange(q, heads_last)[:, tiles]
        xy_2d, xy_3d = xy_2d[:, tiles].flatten(0, 1), xy_3d[groups, near].flatten(0, 1)
        seen = attend(
            *(rearrange(part, "g n p heads w -> (g n) heads p w") for part in (q, k, v)),
            key_is_valid=is_valid[groups, near].flatten(0, 1),
            distance=self._distance(0, xy_2d, xy_3d),
            sink=self.sink,
        )
        seen = rearrange(seen, "(g n) heads p w -> g heads (n p) w", n=len(tiles))
        return seen[:, :, tiles.flatten().argsort()]

    def _project(self, qkv: Float[Tensor, "b k n e"], num: int) -> list[Tensor]:
        """Heads of q, k, v (or k, v); the value is never normalised."""
        parts = qkv.chunk(num, -1)
        return [
            split_heads(part, self.heads, self.qk_norm and i < num - 1)
            for i, part in enumerate(parts)
        ]

    def _distance(
        self,
        direction: int,
        query_xy: Float[Tensor, "b queries 2"],
        key_xy: Float[Tensor, "b keys 2"],
    ) -> Distance | None:
        if self.log_sharpness is None:
            return None
        sharpness = self.log_sharpness[direction].exp()
        return Distance(query_xy=query_xy, key_xy=key_xy, sharpness=sharpness)
