"""How far each joint of a fit may be off: what the lifter foretold, and how far the fit had to go.

Axes of the world, metres, relative to the pelvis: the place of the whole body is not covered.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from pipelines.annotate.body_start import NUM_JOINTS, Observation

FORETOLD = 1.0
"""Multiplies the lifter's own standard deviations."""
MOVED = 0.5
"""Part of the way from the lifter's point to the fitted one that counts as error."""
SWING_M_S = 0.6
"""Speed along one axis of a joint 0.8 m from the pelvis: what nobody saw may have gone on so."""
SWING_ARM_M = 0.8
MOST_M = 0.6
NEVER = 10**6
"""Frames to the nearest sight of a person whom nobody saw."""


@torch.no_grad()
def joint_doubt(
    joints_m: Float[Tensor, "people frames 24 3"],
    mid_hips_m: Float[Tensor, "people frames 3"],
    rest_joints_m: Float[Tensor, "people 24 3"],
    seen: Observation,
    fps: float,
) -> Float[Tensor, "people frames 24"]:
    """Standard deviation of every joint along each axis.

    Args:
        joints_m: Of the fit, axes of the world.
        mid_hips_m: Middle of the fit's hip landmarks.
        rest_joints_m: Of the shaped bodies.
        seen: What was fitted, lifted.
        fps: Frames per second.
    """
    moved = joints_m - mid_hips_m[:, :, None] - seen.points_m[:, :, :NUM_JOINTS]
    foretold = FORETOLD * seen.sigma_m[:, :, :NUM_JOINTS]
    near = (foretold.square() + MOVED**2 * moved.square().sum(-1) / 3).sqrt()
    frame, away_s = _nearest(seen.visible, fps)
    near = near.gather(1, frame[..., None].expand(-1, -1, NUM_JOINTS))
    arm_m = (rest_joints_m - rest_joints_m[:, :1]).norm(dim=-1)[:, None]
    swung = SWING_M_S / SWING_ARM_M * arm_m * away_s[..., None]
    return (near.square() + swung.square()).sqrt().clamp_max(MOST_M)


def _nearest(visible: Bool[Tensor, "people frames"], fps: float) -> tuple[Tensor, Tensor]:
    """The nearest frame that was seen, and how far away it is, seconds."""
    index = torch.arange(visible.shape[1])
    apart = (index[:, None] - index[None]).abs()[None].expand(len(visible), -1, -1)
    gap, frame = apart.masked_fill(~visible[:, None, :], NEVER).min(-1)
    return frame, gap / fps
