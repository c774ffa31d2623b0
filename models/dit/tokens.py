"""From conditions to tokens: surface points, camera rays and the image embedding.

Points and rays are expressed in the camera of the clip's first frame, a frame that is fixed over
the clip but moves with the world: moving people and camera together changes nothing. The
paper encodes world coordinates, whose origin and heading mean nothing to a picture.
"""

import torch
import torch.nn.functional as F
from einops import rearrange, repeat
from jaxtyping import Bool, Float, Shaped
from torch import Tensor, nn

from models.dit.conditions import Bodies, ReferenceBodies, View
from models.dit.config import ISADiTConfig
from models.dit.layers import PointStream, linear, sinusoid
from models.geometry import invert_rigid, ndc, plucker_rays, project, transform

MIN_CYCLES_NDC = 0.25
CYCLES_PER_M = (1 / 16, 4.0)
FRAME_CYCLES = (1 / 256, 0.25)
MAX_NDC = 4.0
"""Positions farther outside the image are moved to this border; the distance bias is 0 there."""


def token_centres(rows: int, columns: int, like: Tensor) -> Float[Tensor, "s 2"]:
    """NDC of the centres of the 2D tokens of one frame, row by row (paper eq. 11)."""
    y = (torch.arange(rows, device=like.device, dtype=like.dtype) + 0.5) * 2 / rows - 1
    x = (torch.arange(columns, device=like.device, dtype=like.dtype) + 0.5) * 2 / columns - 1
    y, x = torch.meshgrid(y, x, indexing="ij")
    return rearrange(torch.stack([x, y], -1), "rows columns c -> (rows columns) c")


def encode_ndc(p_ndc: Float[Tensor, "*batch 3"], config: ISADiTConfig) -> Float[Tensor, "*batch d"]:
    """ISPE: the sinusoidal encoding that 2D and 3D tokens share."""
    return sinusoid(p_ndc, config.width, MIN_CYCLES_NDC, config.ispe_max_cycles)


def group_frames(x: Shaped[Tensor, "b t *axes"], per_latent: int) -> Shaped[Tensor, "b k u *axes"]:
    """Frames of each latent: j >= 1 owns frames 4j-3..4j; latent 0 owns frame 0, repeated.

    The causal VAE pads the clip with copies of frame 0 in the same way.
    """
    first = x[:, :1].expand(-1, per_latent - 1, *x.shape[2:])
    return rearrange(torch.cat([first, x], 1), "b (k u) ... -> b k u ...", u=per_latent)


class BodyTokens(nn.Module):
    """Surface points of all people -> 3D tokens with their positions in NDC.

    A token is an MLP of the point's sinusoidal encoding (eq. 8), plus embeddings of sub-frame,
    frame and template point, plus the reference latent where the same point lies in
    the reference picture (eq. 19). Nothing depends on the number of a person, so people may be
    renamed. Latent 0 has one frame: the tokens of its three missing sub-frames are masked.
    Occlusion in the reference is not resolved: a hidden point samples what covers it.
    """

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        width = config.width
        self.config = config
        self.mlp = nn.Sequential(
            linear(width, width, bias=True), nn.SiLU(), linear(width, width, bias=True)
        )
        self.sub_frame = nn.Parameter(torch.randn(config.frames_per_latent, width) * 0.5)
        self.template = nn.Parameter(torch.randn(config.num_points, width) * 0.5)
        self.identity = linear(config.latent_channels, width)

    def forward(
        self,
        bodies: Bodies,
        view: View,
        reference_latent: Float[Tensor, "b c h w"] | None,
        reference: ReferenceBodies | None,
    ) -> PointStream:
        """Tokens of every latent frame, ordered (person, sub-frame, point)."""
        config = self.config
        num_people = bodies.points_world.shape[1]
        points_world = torch.where(
            bodies.is_visible[..., None, None],
            self._first_points(bodies.points_world),
            torch.zeros((), device=bodies.points_world.device),
        )
        points_world = rearrange(points_world, "b p t n c -> b t (p n) c")
        p_ndc = ndc(
            points_world, view.K, view.T_camera_world, view.size_px,
            config.near_m, config.far_m, config.reference_depth_m,
        ).clamp(-MAX_NDC, MAX_NDC)  # fmt: skip
        p_start = transform(view.T_camera_world[:, :1], points_world)
        tokens = self._embed(p_start, num_people)
        if reference is not None and reference_latent is not None:
            sampled = self._sample_reference(reference_latent, reference, view.size_px)
            tokens = tokens + rearrange(self.identity(sampled), "b p n d -> b 1 (p n) d")
        depth_m = transform(view.T_camera_world, points_world)[..., 2]
        is_visible = rearrange(bodies.is_visible, "b p t -> b t p")
        is_visible = repeat(is_visible, "b t p -> b t (p n)", n=config.num_points)
        is_valid = is_visible & (depth_m > config.near_m / 10)
        return self._group(tokens, p_ndc, is_valid, num_people)

    def _embed(
        self, p_start: Float[Tensor, "b t m 3"], num_people: int
    ) -> Float[Tensor, "b t m d"]:
        width = self.config.width
        centre = p_start.new_tensor([0, 0, self.config.reference_depth_m])
        tokens = self.mlp(sinusoid(p_start - centre, width, *CYCLES_PER_M))
        frame = torch.arange(p_start.shape[1], device=p_start.device, dtype=p_start.dtype)
        frame_code = sinusoid(frame[:, None], width, *FRAME_CYCLES)
        template = repeat(self.template, "n d -> (p n) d", p=num_people)
        return tokens + frame_code[:, None] + template

    def _group(
        self,
        tokens: Float[Tensor, "b t m d"],
        p_ndc: Float[Tensor, "b t m 3"],
        is_valid: Bool[Tensor, "b t m"],
        num_people: int,
    ) -> PointStream:
        per_latent = self.config.frames_per_latent
        order = "b k u (p n) ... -> b k (p u n) ..."
        grouped = group_frames(tokens, per_latent) + self.sub_frame[:, None]
        valid = group_frames(is_valid, per_latent).clone()
        valid[:, 0, : per_latent - 1] = False
        p_ndc = rearrange(group_frames(p_ndc, per_latent), order, p=num_people)
        return PointStream(
            tokens=rearrange(grouped, order, p=num_people),
            encoding=encode_ndc(p_ndc, self.config) if self.config.use_ispe else None,
            xy_ndc=p_ndc[..., :2],
            is_valid=rearrange(valid, order, p=num_people),
            num_people=num_people,
        )

    def _sample_reference(
        self,
        latent: Float[Tensor, "b c h w"],
        reference: ReferenceBodies,
        size_px: tuple[int, int],
    ) -> Float[Tensor, "b p n c"]:
        """The reference latent under each point; zero outside the picture and for the unseen."""
        num_people = reference.points_world.shape[1]
        points = rearrange(self._first_points(reference.points_world), "b p n c -> b (p n) c")
        xy_px, depth_m = project(points, reference.K, reference.T_camera_world)
        height, width = size_px
        xy = 2 * xy_px / xy_px.new_tensor([width, height]) - 1
        sampled = F.grid_sample(
            latent, xy[:, None].clamp(-MAX_NDC, MAX_NDC).to(latent.dtype), align_corners=False
        )
        sampled = rearrange(sampled, "b c 1 (p n) -> b p n c", p=num_people)
        is_before = rearrange(depth_m > 0, "b (p n) -> b p n", p=num_people)
        is_seen = is_before & reference.is_visible[..., None]
        return torch.where(is_seen[..., None], sampled, torch.zeros_like(sampled))

    def _first_points(self, points: Float[Tensor, "*batch n 3"]) -> Float[Tensor, "*batch m 3"]:
        num = self.config.num_points
        if points.shape[-2] < num:
            raise ValueError(f"bodies need at least {num} surface points, got {points.shape[-2]}")
        return points[..., :num, :]


class CameraTokens(nn.Module):
    """Plücker rays of the frames of a latent, stacked on channels (eq. 22), as tokens."""

    def __init__(self, config: ISADiTConfig) -> None:
        super().__init__()
        self.frames_per_latent, self.patch = config.frames_per_latent, config.patch
        channels = 6 * config.frames_per_latent * config.patch**2
        self.project = linear(channels, config.width)

    def forward(
        self, view: View, has_camera: Bool[Tensor, "b"], stride: int
    ) -> Float[Tensor, "b k s d"]:
        """Tokens on the same grid as the 2D tokens; zero where the camera is dropped."""
        T_start_world = view.T_camera_world[:, :1]
        T_camera_start = view.T_camera_world @ invert_rigid(T_start_world)
        rays = plucker_rays(view.K, T_camera_start, *view.size_px, stride=stride)
        rays = rays * has_camera[:, None, None, None, None]
        rays = group_frames(rays, self.frames_per_latent)
        patches = rearrange(
            rays, "b k u c (h i) (w j) -> b k (h w) (u c i j)", i=self.patch, j=self.patch
        )
        return self.project(patches)


class ImageTokens(nn.Module):
    """A few tokens from the global embedding of the reference picture (eq. 21)."""

    def __init__(self, config: ISADiTConfig, embedding_width: int) -> None:
        super().__init__()
        self.num_tokens = config.num_image_tokens
        self.project = linear(embedding_width, self.num_tokens * config.width)

    def forward(self, embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b 1 r d"]:
        """Zero for a zero embedding."""
        tokens = self.project(norm_embedding(embedding))
        return rearrange(tokens, "b (r d) -> b 1 r d", r=self.num_tokens)


def norm_embedding(embedding: Float[Tensor, "b e"]) -> Float[Tensor, "b e"]:
    """Unit variance whatever encoder made it; zero stays zero."""
    return F.layer_norm(embedding, embedding.shape[-1:])
