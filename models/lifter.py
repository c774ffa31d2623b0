"""From the landmarks of one picture of a person to the joints of its body, with their doubt.

Input: what a landmark detector says (33 points in pixels and in metres, confidences). Output: 57
points, SMPL's 24 joints and then the 33 landmarks, in space and in the image, each with the scale
of its error. Crop frame: origin at the middle of the hips, axes of a camera that looks straight
at them (x right, y down, z forward), metres.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import torch
from einops import rearrange
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor, nn

from models.geometry import so3_exp

WEIGHTS = Path(__file__).parent / "weights" / "lifter"
NUM_LANDMARKS = 33
NUM_POINTS = 57
LEFT_HIP, RIGHT_HIP = 23, 24
LANDMARK_MIRROR = (
    0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23,
    26, 25, 28, 27, 30, 29, 32, 31,
)  # fmt: skip
JOINT_MIRROR = (
    0, 2, 1, 3, 5, 4, 6, 8, 7, 9, 11, 10, 12, 14, 13, 15, 17, 16, 19, 18, 21, 20, 23, 22,
)  # fmt: skip
POINT_MIRROR = (*JOINT_MIRROR, *(24 + landmark for landmark in LANDMARK_MIRROR))
"""The point on the other side of each."""
NUM_FEATURES = NUM_LANDMARKS * 6 + 1
LOG_SCALE = (-6.0, 1.0)
"""Limits of the logarithm of an error's scale."""


@dataclass(frozen=True, kw_only=True)
class Sight:
    """A detection seen from its own hips: independent of where in which image it was."""

    points: Float[Tensor, "*batch 33 6"]
    """Image plane at unit depth over `scale` (2), metres in the crop frame (3), confidence."""
    scale: Float[Tensor, "*batch"]
    """Image plane per metre of the detector: the inverse of its distance."""
    R_camera_crop: Float[Tensor, "*batch 3 3"]

    @property
    def features(self) -> Float[Tensor, "*batch 199"]:
        """What the network reads."""
        flat = rearrange(self.points, "... n c -> ... (n c)")
        return torch.cat([flat, self.scale.clamp_min(1e-4).log()[..., None] / 2], -1)

    def mirrored(self) -> "Sight":
        """The same person in a mirror; the turn to the camera is that of the original."""
        flip = self.points.new_tensor([-1, 1, -1, 1, 1, 1])
        points = self.points[..., list(LANDMARK_MIRROR), :] * flip
        return Sight(points=points, scale=self.scale, R_camera_crop=self.R_camera_crop)


@dataclass(frozen=True, kw_only=True)
class Lifted:
    """Points of a body; the scale of an error is its mean length over the number of axes."""

    points_m: Float[Tensor, "*batch 57 3"]
    """Crop frame, from the middle of the hip landmarks."""
    image: Float[Tensor, "*batch 57 2"]
    """In the units of `Sight.points`, from the hips that the detector saw."""
    log_scale_m: Float[Tensor, "*batch 57"]
    log_scale_image: Float[Tensor, "*batch 57"]

    def mirrored(self) -> "Lifted":
        """Inverse of looking into a mirror."""
        order = list(POINT_MIRROR)
        return Lifted(
            points_m=self.points_m[..., order, :] * self.points_m.new_tensor([-1, 1, 1]),
            image=self.image[..., order, :] * self.image.new_tensor([-1, 1]),
            log_scale_m=self.log_scale_m[..., order],
            log_scale_image=self.log_scale_image[..., order],
        )


def look(
    keypoints_px: Float[Tensor, "*batch 33 2"],
    world_m: Float[Tensor, "*batch 33 3"],
    confidence: Float[Tensor, "*batch 33"],
    K: Float[Tensor, "*#batch 3 3"],
) -> Sight:
    """A detection as the lifter wants it; `world_m` is as the detector gives it."""
    focal = torch.stack([K[..., 0, 0], K[..., 1, 1]], -1)[..., None, :]
    plane = (keypoints_px - K[..., None, :2, 2]) / focal
    hips = plane[..., [LEFT_HIP, RIGHT_HIP], :].mean(-2)
    R_camera_crop = turn_to(hips)
    rays = torch.cat([plane, torch.ones_like(plane[..., :1])], -1) @ R_camera_crop
    # A landmark far outside the image can be guessed behind the camera.
    plane = (rays[..., :2] / rays[..., 2:].clamp_min(0.1)).clamp(-5, 5)
    world = world_m - world_m[..., [LEFT_HIP, RIGHT_HIP], :].mean(-2, keepdim=True)
    scale = _spread(plane, confidence) / _spread(world[..., :2], confidence).clamp_min(1e-3)
    scale = scale.clamp(1e-3, 10.0)
    points = torch.cat([plane / scale[..., None, None], world, confidence[..., None]], -1)
    return Sight(points=points, scale=scale, R_camera_crop=R_camera_crop)


def turn_to(hips: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 3 3"]:
    """Smallest rotation that turns the optical axis to a place of the image plane."""
    angle = torch.atan(hips.norm(dim=-1, keepdim=True))
    across = torch.stack([-hips[..., 1], hips[..., 0], torch.zeros_like(hips[..., 0])], -1)
    return so3_exp(nn.functional.normalize(across, dim=-1) * angle)


def _spread(points: Tensor, confidence: Tensor) -> Tensor:
    weight = confidence[..., None].clamp_min(1e-3)
    centre = (points * weight).sum(-2, keepdim=True) / weight.sum(-2, keepdim=True)
    total = (weight * (points - centre).square()).sum((-1, -2))
    return (total / weight.sum((-1, -2))).clamp_min(1e-12).sqrt()


@dataclass(frozen=True, kw_only=True)
class LifterConfig:
    """Size of the network."""

    width: int = 256
    num_blocks: int = 3
    dropout: float = 0.1


class Lifter(nn.Module):
    """Residual perceptron on the features of a sight, beside a linear map of them."""

    def __init__(self, config: LifterConfig):
        super().__init__()
        width = config.width
        self.enter = nn.Linear(NUM_FEATURES, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.LayerNorm(width),
                nn.Linear(width, width),
                nn.GELU(),
                nn.Dropout(config.dropout),
                nn.Linear(width, width),
            )
            for _ in range(config.num_blocks)
        )
        self.leave = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, NUM_POINTS * 7))
        self.skip = nn.Linear(NUM_FEATURES, NUM_POINTS * 5, bias=False)
        nn.init.zeros_(self.skip.weight)

    def forward(self, sight: Sight) -> Lifted:
        """Points of single sights, without their mirror images."""
        features = sight.features
        hidden = self.enter(features)
        for block in self.blocks:
            hidden = hidden + block(hidden)
        out = rearrange(self.leave(hidden), "... (n c) -> ... n c", c=7)
        linear = rearrange(self.skip(features), "... (n c) -> ... n c", c=5)
        points_m = out[..., :3] + linear[..., :3]
        points_m = points_m - points_m[..., [24 + LEFT_HIP, 24 + RIGHT_HIP], :].mean(
            -2, keepdim=True
        )
        return Lifted(
            points_m=points_m,
            image=out[..., 3:5] + linear[..., 3:],
            log_scale_m=(out[..., 5] - 3).clamp(*LOG_SCALE),
            log_scale_image=(out[..., 6] - 3).clamp(*LOG_SCALE),
        )

    def lift(self, sight: Sight) -> Lifted:
        """Points of sights, the mean of what a mirror shows and what the camera shows."""
        one, other = self(sight), self(sight.mirrored()).mirrored()
        return Lifted(
            points_m=(one.points_m + other.points_m) / 2,
            image=(one.image + other.image) / 2,
            log_scale_m=(one.log_scale_m + other.log_scale_m) / 2,
            log_scale_image=(one.log_scale_image + other.log_scale_image) / 2,
        )


def lifter_loss(
    found: Lifted,
    points_m: Float[Tensor, "batch 57 3"],
    image: Float[Tensor, "batch 57 2"],
    weight: Float[Tensor, "57"],
) -> Float[Tensor, ""]:
    """Negative log-likelihood of errors whose length is distributed like exp(-length / scale)."""
    space = (found.points_m - points_m).norm(dim=-1)
    plane = (found.image - image).norm(dim=-1)
    nll = space * (-found.log_scale_m).exp() + 3 * found.log_scale_m
    nll = nll + plane * (-found.log_scale_image).exp() + 2 * found.log_scale_image
    return (nll * weight).sum(-1).mean() / weight.sum()


def load_lifter(folder: Path = WEIGHTS) -> Lifter:
    """The shipped lifter, or one that `pipelines.train_lifter` made, in float32."""
    settings = json.loads((folder / "recipe.json").read_text())["settings"]
    lifter = Lifter(LifterConfig(**settings["model"]))
    weights = load_file(folder / "model.safetensors")
    lifter.load_state_dict({name: value.float() for name, value in weights.items()})
    return lifter.eval().requires_grad_(False)
