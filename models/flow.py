"""Flow matching on a straight path, and the plain loops that follow it back.

The path is x_t = (1 - t) x_0 + t eps: t = 0 is data, t = 1 is noise. The network predicts
**v = x_0 - eps** (ISA4D section 3), the direction from noise to data, that is v = -dx_t/dt; it is
the negative of the velocity of SD3 and diffusers. A step from t to t - dt therefore *adds* dt v.
"""

from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Velocity = Callable[[Tensor, float], Tensor]
"""(x_t, t) -> v."""


def _broadcast(time: Float[Tensor, "b"], like: Float[Tensor, "b *axes"]) -> Tensor:
    return time.reshape(-1, *[1] * (like.ndim - 1)).to(like.dtype)


def interpolate(
    x_0: Float[Tensor, "b *axes"], noise: Float[Tensor, "b *axes"], time: Float[Tensor, "b"]
) -> Float[Tensor, "b *axes"]:
    """x_t = (1 - t) x_0 + t eps."""
    t = _broadcast(time, x_0)
    return (1 - t) * x_0 + t * noise


def velocity(
    x_0: Float[Tensor, "b *axes"], noise: Float[Tensor, "b *axes"]
) -> Float[Tensor, "b *axes"]:
    """What the network learns: v = x_0 - eps."""
    return x_0 - noise


def shift_time(time: Float[Tensor, "*batch"], shift: float) -> Float[Tensor, "*batch"]:
    """Move times towards noise: t' = s t / (1 + (s - 1) t); s = 1 changes nothing (SD3 eq. 23)."""
    return shift * time / (1 + (shift - 1) * time)


def sample_time(
    num: int,
    generator: torch.Generator,
    *,
    mean: float = 0.0,
    std: float = 1.0,
    shift: float = 1.0,
) -> Float[Tensor, "{num}"]:
    """Training times in (0, 1): logit-normal (SD3 section 3.1), then shifted."""
    normal = torch.randn(num, generator=generator, device=generator.device)
    return shift_time(torch.sigmoid(mean + std * normal), shift)


def flow_loss(
    predicted: Float[Tensor, "b c k h w"],
    target: Float[Tensor, "b c k h w"],
    weight: Float[Tensor, "b k h w"] | None = None,
    channel_weight: Float[Tensor, "c"] | None = None,
) -> Float[Tensor, ""]:
    """Mean squared error over elements, weighted by latent cell and by channel if asked."""
    squared = (predicted.float() - target.float()).square()
    if channel_weight is not None:
        squared = squared * (channel_weight / channel_weight.mean())[:, None, None, None]
    error = squared.mean(1)
    if weight is None:
        return error.mean()
    return (weight * error).sum() / weight.sum()


def time_grid(num_steps: int, shift: float = 1.0) -> list[float]:
    """Times from 1 (noise) down to 0 (data), num_steps + 1 of them."""
    if num_steps < 1:
        raise ValueError(f"num_steps must be at least 1, got {num_steps}")
    uniform = torch.linspace(1, 0, num_steps + 1, dtype=torch.float64)
    return shift_time(uniform, shift).tolist()


def sample_euler(
    v: Velocity, noise: Float[Tensor, "*axes"], num_steps: int, shift: float = 1.0
) -> Float[Tensor, "*axes"]:
    """Follow v from noise to data with Euler steps; one evaluation per step."""
    x = noise
    times = time_grid(num_steps, shift)
    for t, t_next in pairwise(times):
        x = x + (t - t_next) * v(x, t)
    return x


def sample_heun(
    v: Velocity, noise: Float[Tensor, "*axes"], num_steps: int, shift: float = 1.0
) -> Float[Tensor, "*axes"]:
    """Follow v with Heun's second-order steps; two evaluations per step."""
    x = noise
    times = time_grid(num_steps, shift)
    for t, t_next in pairwise(times):
        slope = v(x, t)
        ahead = v(x + (t - t_next) * slope, t_next)
        x = x + (t - t_next) * (slope + ahead) / 2
    return x


def sample_unipc(
    v: Velocity, noise: Float[Tensor, "*axes"], num_steps: int, shift: float = 1.0
) -> Float[Tensor, "*axes"]:
    """Follow v by diffusers' UniPC (arXiv 2302.04867): one evaluation per step, second order."""
    from diffusers.schedulers.scheduling_unipc_multistep import UniPCMultistepScheduler

    scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
    scheduler.set_timesteps(num_steps, device=noise.device)
    x = noise[None]  # it wants a batch axis
    for sigma, timestep in zip(scheduler.sigmas[:-1].tolist(), scheduler.timesteps, strict=True):
        x = scheduler.step(-v(x[0], sigma)[None], timestep, x, return_dict=False)[0]
    return x[0]


SAMPLERS = {"euler": sample_euler, "heun": sample_heun, "unipc": sample_unipc}
