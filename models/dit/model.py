"""ISA-DiT: the interspatial diffusion transformer (ISA4D section 5.3, figure 8).

Reading order: `ISADiT.forward` here, then `Block`, then layers.py; what the model is told is in
conditions.py and becomes tokens in tokens.py.
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from models.dit.conditions import Conditions
from models.dit.config import ISADiTConfig
from models.dit.layers import (
    CrossAttention,
    Grid,
    InterspatialLayer,
    PointStream,
    PointTemporalLayer,
    TransformerLayer,
    linear,
    norm,
    sinusoid,
)
from models.dit.tokens import BodyTokens, CameraTokens, ImageTokens, encode_ndc, token_centres

NUM_MODULATED = 5
"""Modulated layers of a block: spatial, temporal, 3D temporal, 2D and 3D side of ISA."""
TIME_WIDTH = 256
TIME_CYCLES = (0.1, 100.0)
LATENT_CYCLES = (1 / 64, 0.5)


class TimeEmbedding(nn.Module):
    """Diffusion time -> adaLN modulation, shared by all blocks (each adds its own offset)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Sequential(
            linear(TIME_WIDTH, width, bias=True), nn.SiLU(), linear(width, width, bias=True)
        )
        self.modulate = nn.Sequential(
            nn.SiLU(), linear(width, NUM_MODULATED * 6 * width, bias=True, zero=True)
        )

    def forward(
        self, time: Float[Tensor, "b"]
    ) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b 5 2 3 d"]]:
        """The embedding itself (for the head) and the modulation of the layers."""
        code = sinusoid(time[:, None], TIME_WIDTH, *TIME_CYCLES)
        embedding = self.embed(code)
        shape = "b (layer branch part d) -> b layer branch part d"
        modulation = self.modulate(embedding)
        return embedding, rearrange(modulation, shape, layer=NUM_MODULATED, branch=2, part=3)


class Block(nn.Module):
    """One symmetric block, in the paper's order."""

    def __init__(self, config: ISADiTConfig, is_last: bool) -> None:
        super().__init__()
        self.spatial = TransformerLayer(config, config.ffn_ratio)
        self.temporal = (
            None if config.joint_attention else TransformerLayer(config, config.ffn_ratio)
        )
        self.temporal_3d = PointTemporalLayer(config)
        tells_points = config.reverse_flow and not is_last
        self.interspatial = InterspatialLayer(config, updates_points=tells_points)
        self.camera = CrossAttention(config)
        self.image = CrossAttention(config) if config.embedding_width else None

    def forward(
        self,
        x: Float[Tensor, "b k s d"],
        points: PointStream | None,
        grid: Grid,
        camera: Float[Tensor, "b k s d"] | None,
        image: Float[Tensor, "b 1 r d"] | None,
        modulation: Float[Tensor, "b 5 2 3 d"],
    ) -> tuple[Float[Tensor, "b k s d"], PointStream | None]:
        """Update the 2D tokens and the 3D tokens."""
        spatial, temporal, temporal_3d, isa_2d, isa_3d = modulation.unbind(1)
        if self.temporal is None:
            x = self.spatial(rearrange(x, "b k s d -> b 1 (k s) d"), spatial)
            x = rearrange(x, "b 1 (k s) d -> b k s d", k=grid.num_latents)
        else:
            x = self.spatial(x, spatial)
            x = self.temporal(rearrange(x, "b k s d -> b s k d"), temporal)
            x = rearrange(x, "b s k d -> b k s d")
        if points is not None:
            points = self.temporal_3d(points, temporal_3d)
        x, points = self.interspatial(x, points, grid, isa_2d, isa_3d)
        if camera is not None:
            x = self.camera(x, camera)
        if image is not None and self.image is not None:
            x = self.image(rearrange(x, "b k s d -> b 1 (k s) d"), image)
            x = rearrange(x, "b 1 (k s) d -> b k s d", k=grid.num_latents)
        return x, points


class Head(nn.Module):
    """2D tokens -> patches of the velocity; zero at the start."""

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        self.modulate = nn.Sequential(
            nn.SiLU(), linear(config.width, 2 * config.width, bias=True, zero=True)
        )
        channels = config.latent_channels * config.patch**2
        self.project = linear(config.width, channels, bias=True, zero=True)

    def forward(
        self, x: Float[Tensor, "b k s d"], embedding: Float[Tensor, "b d"]
    ) -> Float[Tensor, "b k s e"]:
        """adaLN, then one linear layer."""
        shift, scale = self.modulate(embedding)[:, None, None].chunk(2, -1)
        return self.project(norm(x) * (1 + scale) + shift)


class ISADiT(nn.Module):
    """Predicts v = x_0 - eps of a latent clip under any subset of the conditions."""

    latent_std: Tensor
    """One scalar: VAE latents are divided by it before they enter the model, and multiplied
    after. A scalar keeps the ratio of channels, so weak channels are not blown up."""

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        self.config = config
        patch_channels = config.latent_channels * config.patch**2
        self.embed_noisy = linear(patch_channels, config.width, bias=True)
        self.embed_reference = linear(patch_channels, config.width)
        self.embed_background = linear(patch_channels, config.width)
        self.time = TimeEmbedding(config.width)
        self.body = BodyTokens(config)
        self.camera = CameraTokens(config)
        width_e = config.embedding_width
        self.image = ImageTokens(config, width_e) if width_e else None
        last = config.depth - 1
        self.blocks = nn.ModuleList(Block(config, i == last) for i in range(config.depth))
        self.head = Head(config)
        self.register_buffer("latent_std", torch.ones(()))

    def forward(
        self,
        x_t: Float[Tensor, "b c k h w"],
        time: Float[Tensor, "b"],
        conditions: Conditions,
    ) -> Float[Tensor, "b c k h w"]:
        """Velocity of a noisy latent clip.

        Args:
            x_t: Scaled latents at time t.
            time: t in [0, 1]; 1 is noise.
            conditions: What is known, latents scaled as x_t.
        """
        rows, columns = (size // self.config.patch for size in x_t.shape[-2:])
        xy_ndc = token_centres(rows, columns, x_t)
        position = encode_ndc(F.pad(xy_ndc, (0, 1)), self.config)
        grid = Grid(
            encoding=position if self.config.use_ispe else None,
            xy_ndc=xy_ndc,
            num_latents=x_t.shape[2],
            rows=rows,
        )
        x = self._embed_latents(x_t, conditions) + position + self._latent_code(x_t)
        embedding, modulation = self.time(time)
        points, camera, image = self._embed_conditions(x_t, conditions)
        for block in self.blocks:
            x, points = block(x, points, grid, camera, image, modulation)
        return self._unpatchify(self.head(x, embedding), rows)

    def _embed_latents(
        self, x_t: Float[Tensor, "b c k h w"], conditions: Conditions
    ) -> Float[Tensor, "b k s d"]:
        """Noisy, reference and background latents as one channel-wise concatenation (eq. 20).

        A linear layer of concatenated channels is the sum of one linear layer per part; a part
        that is absent (zeros) then costs nothing.
        """
        x = self.embed_noisy(self._patchify(x_t))
        if conditions.reference_latent is not None:
            reference = self._patchify(conditions.reference_latent[:, :, None])
            x = x + self.embed_reference(reference)
        if conditions.background_latent is not None:
            x = x + self.embed_background(self._patchify(conditions.background_latent))
        return x

    def _embed_conditions(
        self, x_t: Float[Tensor, "b c k h w"], conditions: Conditions
    ) -> tuple[PointStream | None, Tensor | None, Tensor | None]:
        view, points, camera, image = conditions.view, None, None, None
        if conditions.bodies is not None and view is not None:
            points = self.body(
                conditions.bodies, view, conditions.reference_latent, conditions.reference_bodies
            )
        if conditions.has_camera is not None and view is not None:
            stride = view.size_px[0] // x_t.shape[-2]
            camera = self.camera(view, conditions.has_camera, stride)
        if conditions.image_embedding is not None and self.image is not None:
            image = self.image(conditions.image_embedding)
        return points, camera, image

    def _latent_code(self, x_t: Float[Tensor, "b c k h w"]) -> Float[Tensor, "k 1 d"]:
        index = torch.arange(x_t.shape[2], device=x_t.device, dtype=x_t.dtype)
        return sinusoid(index[:, None, None], self.config.width, *LATENT_CYCLES)

    def _patchify(self, latent: Float[Tensor, "b c k h w"]) -> Float[Tensor, "b k s e"]:
        patch = self.config.patch
        return rearrange(latent, "b c k (h i) (w j) -> b k (h w) (c i j)", i=patch, j=patch)

    def _unpatchify(self, x: Float[Tensor, "b k s e"], rows: int) -> Float[Tensor, "b c k h w"]:
        patch = self.config.patch
        return rearrange(x, "b k (h w) (c i j) -> b c k (h i) (w j)", h=rows, i=patch, j=patch)
