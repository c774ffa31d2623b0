"""Training of the ISA-DiT: one step, its state, and the numbers that judge it."""

import copy
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from einops import reduce
from jaxtyping import Float, Int
from torch import Tensor

from models.data import Batch
from models.dit.conditions import CONDITION_NAMES, Bodies, Conditions, ReferenceBodies, View
from models.dit.model import ISADiT
from models.flow import flow_loss, interpolate, sample_time, velocity
from models.geometry import invert_rigid, transform
from models.recipes.dit import DiTRecipe

VALIDATION_TIMES = (0.3, 0.6, 0.85)
VALIDATION_SEED = 1234
FIXED_PARAMETERS_NDIM = 1
"""Biases, sinks and sharpness are vectors: no weight decay."""


def read_conditions(batch: Batch, recipe: DiTRecipe, latent_std: Tensor) -> Conditions:
    """What the model is told about a batch, latents scaled.

    Bodies keep their projection even when the camera is unknown: they were then fitted in the
    stand-in camera of the batch. Only the rays are withheld.
    """
    reference_bodies, background, reference = None, None, None
    if batch.reference_latent is not None:
        reference = batch.reference_latent / latent_std
        if batch.reference_frame is not None:
            reference_bodies = _bodies_at(batch, batch.reference_frame)
    if batch.background_latent is not None:
        background = batch.background_latent / latent_std
    conditions = Conditions(
        view=View(
            K=batch.K,
            T_camera_world=batch.T_camera_world,
            size_px=(recipe.clips.size_px, recipe.clips.size_px),
        ),
        has_camera=batch.has_camera,
        bodies=Bodies(points_world=batch.points_world, is_visible=batch.person_visible),
        reference_latent=reference,
        reference_bodies=reference_bodies,
        image_embedding=_image_embedding(batch, recipe),
        background_latent=background,
    )
    if batch.has_background is None:
        return conditions
    return conditions.keep({"background": batch.has_background})


def shift_reference(
    conditions: Conditions, shift: Int[Tensor, "b 2"], spatial_factor: int
) -> Conditions:
    """The reference moved by whole latent cells (right, down), its camera moved along.

    References come from the clip itself, so the figure stands nearly where it will be wanted. A
    model that has only seen that copies the reference in place; one that has seen moved ones takes
    the place from the bodies and the looks from the reference.
    """
    latent, people = conditions.reference_latent, conditions.reference_bodies
    if latent is not None:
        moved = [
            torch.roll(clip, (int(down), int(right)), (-2, -1))
            for clip, (right, down) in zip(latent, shift, strict=True)
        ]
        conditions = replace(conditions, reference_latent=torch.stack(moved))
    if people is not None:
        K = people.K.clone()
        K[:, :2, 2] += shift * spatial_factor
        conditions = replace(conditions, reference_bodies=replace(people, K=K))
    return conditions


def _image_embedding(batch: Batch, recipe: DiTRecipe) -> Float[Tensor, "b e"] | None:
    """The embedding if the model reads one."""
    embedding, width = batch.image_embedding, recipe.model.embedding_width
    if embedding is None or width is None:
        return None
    if embedding.shape[-1] != width:
        raise ValueError(
            f"image embeddings must have width {width}, got {embedding.shape[-1]}; encode with "
            f"another embedder or set embedding_width in the recipe"
        )
    return embedding


def _bodies_at(batch: Batch, frame: Tensor) -> ReferenceBodies:
    """Every clip's people and camera at its own frame."""
    clip = torch.arange(len(frame), device=frame.device)
    return ReferenceBodies(
        points_world=batch.points_world[clip, :, frame],
        is_visible=batch.person_visible[clip, :, frame],
        K=batch.K[clip, frame],
        T_camera_world=batch.T_camera_world[clip, frame],
    )


def figure_cells(batch: Batch, recipe: DiTRecipe) -> Float[Tensor, "b k h w"] | None:
    """1 where a person touches the pixels and frames of a latent cell, else 0."""
    if batch.mask is None:
        return None
    is_person = (batch.mask > 0).float()
    first = is_person[:, :1].expand(-1, recipe.model.frames_per_latent - 1, -1, -1)
    return reduce(
        torch.cat([first, is_person], 1),
        "b (k u) (h i) (w j) -> b k h w", "max",
        u=recipe.model.frames_per_latent, i=recipe.spatial_factor, j=recipe.spatial_factor,
    )  # fmt: skip


def channel_effect(batch: Batch, power: float) -> Float[Tensor, "c"] | None:
    """How much a unit of each latent channel moves pixels, to a power; only ratios mean anything.

    A trained autoencoder says so itself: it puts up with less noise on a channel that matters more.
    Measured on the tiny one: posterior deviation times pixel effect is the same for all 16
    channels (0.32 to 0.38) while the effect spans 15:1.
    """
    if batch.latent_logvar is None or power == 0:
        return None
    log_deviation = 0.5 * batch.latent_logvar.mean((0, 2, 3, 4))
    return (-power * (log_deviation - log_deviation.mean())).exp()


def with_bodies_of_the_next_clip(conditions: Conditions) -> Conditions:
    """Every clip with the bodies of its neighbour in the batch, seen by its own camera.

    The points are carried from one camera to the other, so they stand in the picture as they do in
    the clip they come from: only the pose is wrong.
    """
    bodies, view = conditions.bodies, conditions.view
    if bodies is None or view is None:
        return conditions
    T_own_other = invert_rigid(view.T_camera_world) @ view.T_camera_world.roll(1, 0)
    points = transform(T_own_other[:, None], bodies.points_world.roll(1, 0))
    wrong = Bodies(points_world=points, is_visible=bodies.is_visible.roll(1, 0))
    return replace(conditions, bodies=wrong)


class DiTTask:
    """Trains an ISA-DiT on cached latents: forward, backward, optimiser, EMA and state."""

    def __init__(self, recipe: DiTRecipe, device: torch.device | str = "cpu") -> None:
        """Build the model, seeded by the recipe, its optimiser and its average.

        On "meta" nothing is stored, however large the model.
        """
        self.recipe = recipe
        with torch.random.fork_rng(), torch.device("meta" if str(device) == "meta" else "cpu"):
            torch.manual_seed(recipe.seed)
            self.module = ISADiT(recipe.model).to(device)
        self.average = copy.deepcopy(self.module).requires_grad_(False)
        self._is_scaled = recipe.latent_std is not None
        if recipe.latent_std is not None:
            self._set_latent_std(torch.tensor(recipe.latent_std))
        parameters = list(self.module.parameters())
        decayed = [p for p in parameters if p.ndim > FIXED_PARAMETERS_NDIM]
        fixed = [p for p in parameters if p.ndim <= FIXED_PARAMETERS_NDIM]
        groups = [
            {"params": decayed, "weight_decay": recipe.weight_decay},
            {"params": fixed, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.99))

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Start from the weights of a finished run, with the scale of its latents."""
        self.module.load_state_dict(weights)
        self.average.load_state_dict(weights)
        self._is_scaled = True

    def train_step(self, batch: Batch, generator: torch.Generator, step: int) -> dict[str, float]:
        """One optimiser step; everything random comes from `generator`."""
        x_0 = self._latents(batch, generator)
        noise = _randn(x_0, generator)
        time = sample_time(
            len(x_0), generator, mean=self.recipe.time_mean, std=self.recipe.time_std,
            shift=self.recipe.time_shift,
        ).to(x_0.device)  # fmt: skip
        conditions = read_conditions(batch, self.recipe, self.module.latent_std)
        conditions = shift_reference(
            conditions, self._draw_shift(x_0, generator), self.recipe.spatial_factor
        )
        conditions = self._drop(conditions, len(x_0), generator)
        with self._autocast():
            predicted = self.module(interpolate(x_0, noise, time), time, conditions)
        cells = figure_cells(batch, self.recipe)
        weight = None if cells is None else 1 + (self.recipe.figure_weight - 1) * cells
        channel_weight = channel_effect(batch, self.recipe.channel_power)
        loss = flow_loss(predicted, velocity(x_0, noise), weight, channel_weight)
        learning_rate = self.learning_rate(step)
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.recipe.clip_norm)
        self.optimizer.step()
        self._update_average(step)
        return {
            "loss": loss.item(),
            "gradient_norm": norm.item(),
            "learning_rate": learning_rate,
        }

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, float]:
        """Losses of the averaged model at fixed times with fixed noise, all conditions on.

        Returns:
            `loss` over all cells and `figure_loss` over cells with people; `wrong_pose_gap`, by how
            much the figure loss grows with the bodies of another clip: 0 means the pose is ignored.
            Without people in the masks, or with one clip, the last two are left out.
        """
        generator = torch.Generator().manual_seed(VALIDATION_SEED)
        x_0 = self._latents(batch, None)
        conditions = read_conditions(batch, self.recipe, self.average.latent_std)
        cells = figure_cells(batch, self.recipe)
        has_figure = cells is not None and bool(cells.any())
        sums: dict[str, float] = {}
        for t in VALIDATION_TIMES:
            noise = _randn(x_0, generator)
            time = torch.full((len(x_0),), t, device=x_0.device)
            x_t, target = interpolate(x_0, noise, time), velocity(x_0, noise)
            predicted = self.average(x_t, time, conditions)
            losses = {"loss": flow_loss(predicted, target)}
            if has_figure:
                losses["figure_loss"] = flow_loss(predicted, target, cells)
            if has_figure and len(x_0) > 1:
                wrong = self.average(x_t, time, with_bodies_of_the_next_clip(conditions))
                gap = flow_loss(wrong, target, cells) - losses["figure_loss"]
                losses["wrong_pose_gap"] = gap
            for name, value in losses.items():
                sums[name] = sums.get(name, 0.0) + value.item() / len(VALIDATION_TIMES)
        return sums

    def _autocast(self) -> torch.autocast:
        """bfloat16 where the device multiplies it fast (steps 1.3x as fast here), else float32."""
        device = self.module.latent_std.device.type
        is_fast = torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportPrivateUsage]
        return torch.autocast(device, torch.bfloat16, enabled=device == "cuda" or is_fast)

    def learning_rate(self, step: int) -> float:
        """Linear warm-up, then a cosine over the rest of the recipe's steps."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
        fraction = (step - recipe.warmup_steps) / max(1, recipe.num_steps - recipe.warmup_steps)
        cosine = (1 + math.cos(math.pi * min(1.0, max(0.0, fraction)))) / 2
        floor = recipe.final_learning_rate
        return recipe.learning_rate * warm * (floor + (1 - floor) * cosine)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to continue bit for bit."""
        return {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "is_scaled": self._is_scaled,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from `state_dict` of a task with the same recipe."""
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        self.optimizer.load_state_dict(state["optimizer"])
        self._is_scaled = bool(state["is_scaled"])

    def _latents(
        self, batch: Batch, generator: torch.Generator | None
    ) -> Float[Tensor, "b c k h w"]:
        """Scaled samples of the posterior; its mean without a generator."""
        if batch.latent_mean is None:
            raise ValueError(
                "the generator trains on latents, got a batch without latent_mean; "
                "encode the shards and read them with ClipSettings(with_latents=True)"
            )
        if generator is None:
            return batch.latent_mean / self.average.latent_std
        if not self._is_scaled:
            self._set_latent_std(batch.latent_mean.std())
        latent = batch.latent_mean
        if batch.latent_logvar is not None:
            std = (0.5 * batch.latent_logvar).exp()
            latent = latent + std * _randn(latent, generator)
        return latent / self.module.latent_std

    def _set_latent_std(self, std: Tensor) -> None:
        """Every rank must divide by the same number: the mean over ranks."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.all_reduce(std)
            std = std / torch.distributed.get_world_size()
        self.module.latent_std.copy_(std)
        self.average.latent_std.copy_(std)
        self._is_scaled = True

    def _drop(self, conditions: Conditions, num: int, generator: torch.Generator) -> Conditions:
        """Drop conditions clip by clip with the recipe's probabilities."""
        uniform = torch.rand(num, 1 + len(CONDITION_NAMES), generator=generator)
        keeps_any = uniform[:, 0] >= self.recipe.drop_all_probability
        kept = {
            name: keeps_any & (uniform[:, 1 + i] >= self.recipe.drop_probability.get(name, 0.0))
            for i, name in enumerate(CONDITION_NAMES)
        }
        device = self.module.latent_std.device
        return conditions.keep({name: value.to(device) for name, value in kept.items()})

    def _draw_shift(
        self, x_0: Float[Tensor, "b c k h w"], generator: torch.Generator
    ) -> Int[Tensor, "b 2"]:
        """Cells (right, down) to move each reference by; none for those that stay."""
        reach = x_0.shape[-1] // 3
        shift = torch.randint(-reach, reach + 1, (len(x_0), 2), generator=generator)
        moves = torch.rand(len(x_0), 1, generator=generator) < self.recipe.shift_probability
        return (shift * moves).to(x_0.device)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        """Exponential average; its memory grows with the run, so early steps are forgotten."""
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        pairs = zip(self.average.parameters(), self.module.parameters(), strict=True)
        for average, parameter in pairs:
            average.lerp_(parameter, 1 - decay)


def _randn(like: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise drawn where the generator lives, then moved: the same on every device."""
    noise = torch.randn(like.shape, generator=generator, device=generator.device)
    return noise.to(like.device, like.dtype)
