"""Training of the video autoencoder: one step, its state, and the numbers that judge it."""

import copy
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from einops import rearrange, repeat
from jaxtyping import Float
from torch import Tensor, nn

from models.data import Batch
from models.perceptual import PerceptualLoss
from models.recipes.vae import VAERecipe
from models.vae.augment import (
    random_colours,
    random_crop,
    random_flip,
    random_frames,
    random_path,
    take_frames,
    translate,
)
from models.vae.linear import LinearCodec, fit_linear_codec
from models.vae.losses import Objective, Perceptual
from models.vae.model import VideoVAE
from models.vae.muon import Muon


class VAETask:
    """Trains a `VideoVAE`: augmentation, losses, optimisers, average and state.

    A linear skip is fitted to the first batch unless `fit_linear` was called with more clips before
    the first step. The discriminators are for one rank or replicated ranks, not for sharded ones.
    """

    def __init__(
        self,
        recipe: VAERecipe,
        device: torch.device | str = "cpu",
        perceptual: Perceptual | None = None,
    ) -> None:
        """Build the networks, seeded by the recipe, their optimisers and the average.

        `perceptual` stands in for LPIPS on the recipe's file.
        """
        if perceptual is None and recipe.weights.perceptual and recipe.lpips_file:
            perceptual = PerceptualLoss(Path(recipe.lpips_file)).to(device)
        self.recipe = recipe
        self.device = torch.device(device)
        # Drawn on the CPU, so that every device starts alike; nothing is drawn for counting (meta).
        birthplace = "meta" if self.device.type == "meta" else "cpu"
        with torch.random.fork_rng(devices=[]), torch.device(birthplace):
            torch.manual_seed(recipe.seed)
            self.vae = VideoVAE(recipe.model).to(self.device)
            self.module = Objective(
                self.vae, recipe.weights, recipe.discriminator_width, perceptual
            ).to(self.device)
        self.vae.encoder.recompute = self.vae.decoder.recompute = recipe.recompute
        self.average = copy.deepcopy(self.vae).requires_grad_(False)
        self.codec: LinearCodec | None = copy.deepcopy(self.average.linear)
        self.is_fitted = False
        self.muon, self.adamw = self._optimizers()
        self.discriminator_adamw = torch.optim.AdamW(
            [{"params": list(self.module.discriminators.parameters())}],
            lr=recipe.discriminator_learning_rate,
            betas=(0.5, 0.9),
        )

    def _optimizers(self) -> tuple[Muon, torch.optim.AdamW]:
        recipe = self.recipe
        muon, linear, rest = [], [], []
        for name, parameter in self._generator().named_parameters():
            is_end = ".conv_in." in name or ".conv_out." in name
            if ".linear." in name:
                linear.append(parameter)
            elif recipe.muon_learning_rate and parameter.ndim == 5 and not is_end:
                muon.append(parameter)
            else:
                rest.append(parameter)
        groups = [
            {"params": rest, "share": 1.0},
            {"params": linear, "share": recipe.linear_learning_rate},
        ]
        adamw = torch.optim.AdamW(groups, betas=(0.9, 0.95), weight_decay=recipe.weight_decay)
        return Muon([{"params": muon}]), adamw

    def _generator(self) -> nn.ModuleDict:
        """What reconstructs, without what judges."""
        networks: dict[str, nn.Module] = {"vae": self.vae}
        if self.module.image_decoder is not None:
            networks["image_decoder"] = self.module.image_decoder
        return nn.ModuleDict(networks)

    def fit_linear(self, videos: list[Float[Tensor, "_b 3 _t _h _w"]]) -> None:
        """Start the linear skip, and set the baseline, from clips in [0, 1].

        Call it before the first step: afterwards it would undo training.
        """
        config = self.recipe.model
        if self.codec is None or self.vae.linear is None or self.average.linear is None:
            raise ValueError(f"{self.recipe.name} has no linear skip to fit")
        videos = [video * 2 - 1 for video in videos]
        components = fit_linear_codec(
            videos, config.time_factor, config.space_factor, config.latent_channels
        )
        for codec in (self.codec, self.vae.linear, self.average.linear):
            codec.load(components)
            if dist.is_available() and dist.is_initialized():
                for parameter in codec.parameters():
                    dist.broadcast(parameter.data, 0)
        self.is_fitted = True

    def begin_with(self, weights: Mapping[str, Tensor]) -> None:
        """Start from the weights of a finished run instead of from nothing."""
        self.vae.load_state_dict(weights)
        self.average.load_state_dict(weights)

    def train_step(self, batch: Batch, generator: torch.Generator, step: int) -> dict[str, float]:
        """One step of the autoencoder and, once they are in, of the discriminators.

        Raises:
            FloatingPointError: The loss is not finite; no weight was changed.
        """
        video = read_video(batch)
        if self.codec is not None and not self.is_fitted:
            self.fit_linear([video])
        draws = torch.Generator().manual_seed(_draw_seed(generator))
        video = self.augment(video * 2 - 1, step, draws).to(self.device)
        noise = torch.randn(self._latent_shape(video), generator=draws).to(self.device)
        with_gan = len(self.module.discriminators) > 0 and self._is_past(
            step, self.recipe.gan_start
        )
        self._set_learning_rates(step)

        self.module.discriminators.requires_grad_(False)
        with self._autocast():
            terms, result = self.module(video, noise, with_gan)
            loss = self.module.total(terms)
        metrics = {"loss": loss.item(), **{name: value.item() for name, value in terms.items()}}
        if not math.isfinite(metrics["loss"]):
            raise FloatingPointError(f"loss is not finite at step {step}: {metrics}")
        self._zero_grad()
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self._generator().parameters(), self.recipe.clip_norm)
        self.muon.step()
        self.adamw.step()
        self._update_average(step)
        if with_gan:
            metrics["discriminator"] = self._train_discriminators(video, result.video.detach())
        return metrics | {
            "psnr": psnr(result.video.detach(), video).mean().item(),
            "gradient_norm": norm.item(),
            "learning_rate": self.recipe.learning_rate * self.schedule(step),
        }

    def _train_discriminators(self, real: Tensor, fake: Tensor) -> float:
        self.module.discriminators.requires_grad_(True)
        self._zero_grad()
        with self._autocast():
            loss = self.module.discriminate(real, fake)
        loss.backward()
        self.discriminator_adamw.step()
        return loss.item()

    def augment(
        self, video: Float[Tensor, "b 3 t h w"], step: int, generator: torch.Generator
    ) -> Float[Tensor, "n 3 t2 h2 w2"]:
        """Vary the clips, then crop them; whole clips in the last part of the training."""
        recipe, settings = self.recipe, self.recipe.augment
        is_whole = self._is_past(step, 1 - recipe.whole_fraction)
        if is_whole:
            video = video[: recipe.whole_batch_size]
        num_frames = video.shape[2] if is_whole else recipe.crop_frames
        size = (len(video), video.shape[2], num_frames)
        plain = random_frames(*size, (1.0, 1.0), generator)
        varied = random_frames(*size, settings.speed, generator)
        chosen = torch.rand(len(video), 1, generator=generator) < settings.speed_probability
        video = take_frames(video, torch.where(chosen, varied, plain))
        path = random_path(len(video), num_frames, settings.motion_px, generator)
        chosen = torch.rand(len(video), 1, 1, generator=generator) < settings.motion_probability
        video = translate(video, path * chosen)
        video = random_flip(video, settings.flip_probability, generator)
        video = random_colours(video, settings.colour_probability, generator)
        if is_whole:
            return video
        return random_crop(video, (recipe.crop_px, recipe.crop_px), generator)

    @torch.no_grad()
    def evaluate(
        self, batches: Iterable[Batch], generator: torch.Generator | None = None
    ) -> dict[str, float]:
        """Judge the averaged weights on whole clips, by posterior means.

        Returns:
            Means over clips: `psnr` (dB, of [0, 1]), `figure_psnr` (inside the masks), the same of
            the linear codec as `..._linear`, `psnr_window_i` of the i-th frame of every window
            (frame 0 is `psnr_first`), `latent_std` and `posterior_std`.
        """
        del generator  # nothing random
        sums: dict[str, list[Tensor]] = {}
        for batch in batches:
            video = read_video(batch).to(self.device) * 2 - 1
            posterior = self.average.encode(video)
            values = self._judge(self.average.decode(posterior.mean), video, batch.mask)
            values["latent_std"] = posterior.mean.flatten(1).std(dim=1)
            values["posterior_std"] = (posterior.logvar / 2).exp().flatten(1).mean(dim=1)
            if self.codec is not None and self.is_fitted:
                linear = self.codec.decode(self.codec.encode(video))
                judged = self._judge(linear, video, batch.mask)
                values |= {
                    f"{k}_linear": v for k, v in judged.items() if k in ("psnr", "figure_psnr")
                }
            for name, value in values.items():
                sums.setdefault(name, []).append(value)
        if not sums:
            raise ValueError("evaluation needs at least one batch, got none")
        return {name: torch.cat(value).mean().item() for name, value in sums.items()}

    def _judge(self, decoded: Tensor, video: Tensor, mask: Tensor | None) -> dict[str, Tensor]:
        decoded = decoded.clamp(-1, 1)
        values = {
            "psnr": psnr(decoded, video),
            "psnr_first": psnr(decoded[:, :, :1], video[:, :, :1]),
        }
        factor = self.recipe.model.time_factor
        if video.shape[2] > factor:
            for i in range(factor):
                place = slice(1 + i, None, factor)
                values[f"psnr_window_{i}"] = psnr(decoded[:, :, place], video[:, :, place])
        if mask is not None:
            figure = repeat(mask.to(video.device) > 0, "b t h w -> b c t h w", c=3)
            shown = figure.flatten(1).any(dim=1)
            if shown.any():
                values["figure_psnr"] = psnr(decoded[shown], video[shown], figure[shown])
        return values

    def schedule(self, step: int) -> float:
        """Share of the learning rates: warm-up, flat, then a cosine to the end of the recipe."""
        recipe = self.recipe
        warm = min(1.0, (step + 1) / max(1, recipe.warmup_steps))
        start = recipe.flat_fraction * recipe.num_steps
        fraction = (step - start) / max(1.0, recipe.num_steps - start)
        cosine = (1 + math.cos(math.pi * min(1.0, max(0.0, fraction)))) / 2
        floor = recipe.final_learning_rate
        return warm * (floor + (1 - floor) * cosine)

    def weights(self) -> dict[str, Tensor]:
        """The averaged autoencoder: state of `VideoVAE(recipe.model)`."""
        return self.average.state_dict()

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed run needs to continue bit for bit."""
        return {
            "module": self.module.state_dict(),
            "average": self.average.state_dict(),
            "codec": {} if self.codec is None else self.codec.state_dict(),
            "is_fitted": self.is_fitted,
            "muon": self.muon.state_dict(),
            "adamw": self.adamw.state_dict(),
            "discriminator_adamw": self.discriminator_adamw.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from `state_dict` of a task with the same recipe."""
        self.module.load_state_dict(state["module"])
        self.average.load_state_dict(state["average"])
        if self.codec is not None:
            self.codec.load_state_dict(state["codec"])
        self.is_fitted = bool(state["is_fitted"])
        self.muon.load_state_dict(state["muon"])
        self.adamw.load_state_dict(state["adamw"])
        self.discriminator_adamw.load_state_dict(state["discriminator_adamw"])

    def _set_learning_rates(self, step: int) -> None:
        share = self.schedule(step)
        for group in self.adamw.param_groups:
            group["lr"] = self.recipe.learning_rate * group["share"] * share
        for group in self.muon.param_groups:
            group["lr"] = self.recipe.muon_learning_rate * share

    def _zero_grad(self) -> None:
        for optimizer in (self.muon, self.adamw, self.discriminator_adamw):
            optimizer.zero_grad(set_to_none=True)

    @torch.no_grad()
    def _update_average(self, step: int) -> None:
        decay = min(self.recipe.ema_decay, (1 + step) / (10 + step))
        for slow, fast in zip(self.average.parameters(), self.vae.parameters(), strict=True):
            slow.lerp_(fast, 1 - decay)

    def _is_past(self, step: int, fraction: float) -> bool:
        return step >= fraction * self.recipe.num_steps

    def _latent_shape(self, video: Tensor) -> tuple[int, ...]:
        config = self.recipe.model
        b, _, t, h, w = video.shape
        cells = (h // config.space_factor, w // config.space_factor)
        return (b, config.latent_channels, 1 + (t - 1) // config.time_factor, *cells)

    def _autocast(self) -> torch.autocast:
        """bfloat16 where the device multiplies it fast, else float32 as it is."""
        has_amx = torch.cpu._is_amx_tile_supported()  # pyright: ignore[reportPrivateUsage]
        is_fast = self.device.type == "cuda" or has_amx
        return torch.autocast(self.device.type, torch.bfloat16, enabled=is_fast)


def read_video(batch: Batch) -> Float[Tensor, "b 3 t h w"]:
    """The clips of a batch in [0, 1].

    Raises:
        ValueError: The batch holds latents only.
    """
    if batch.video is None:
        raise ValueError("the autoencoder trains on video, got a batch of latents only")
    return batch.video


def psnr(
    decoded: Float[Tensor, "b 3 t h w"],
    video: Float[Tensor, "b 3 t h w"],
    where: Tensor | None = None,
) -> Float[Tensor, " b"]:
    """Peak signal-to-noise ratio per clip in dB, of values in [-1, 1] (peak 2)."""
    error = rearrange((decoded - video).square(), "b c t h w -> b (c t h w)")
    if where is None:
        mean = error.mean(dim=1)
    else:
        chosen = rearrange(where, "b c t h w -> b (c t h w)")
        mean = (error * chosen).sum(dim=1) / chosen.sum(dim=1)
    return 10 * torch.log10(4 / mean.clamp_min(1e-10))


def _draw_seed(generator: torch.Generator) -> int:
    """Augmentation draws on the CPU, wherever the step's generator lives."""
    return int(torch.randint(2**62, (), generator=generator, device=generator.device))
