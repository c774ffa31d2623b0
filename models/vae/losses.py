"""Losses of the autoencoder (ISA4D section 4.2): L1, KL, perceptual, image decoding, 2D and 3D GAN.

The weights of the terms are not in the paper; ours stand in `models/recipes/vae.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from models.vae.layers import FrameNorm, fold
from models.vae.model import Decoder, Posterior, Reconstruction, VAEConfig, VideoVAE, initialise

Perceptual = Callable[[Float[Tensor, "n 3 h w"], Float[Tensor, "n 3 h w"]], Float[Tensor, ""]]
"""Distance of images in [-1, 1], a scalar; LPIPS for instance. Bring the weights yourself."""


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """Weight of each term; 0 leaves a term and its networks out."""

    l1: float = 1.0
    kl: float = 1e-4
    """On the mean over latent elements (not the sum: 1e-4 here is 16-channel SD3's 1e-6 or so)."""
    perceptual: float = 0.0
    image_decoding: float = 0.0
    gan_2d: float = 0.0
    gan_3d: float = 0.0
    gan_adaptive: bool = False
    """Scale the adversarial terms so that the last convolution feels them as much as it feels the
    reconstruction (VQGAN, arXiv 2012.09841, equation 7); their weights are then shares of that."""
    r1: float = 0.0
    """Penalty on the slope of the discriminators at real clips (arXiv 1801.04406)."""
    lecam: float = 0.0
    """Penalty on answers of the discriminators that lie far apart (LeCam, arXiv 2104.03310)."""


def kl_loss(posterior: Posterior) -> Float[Tensor, ""]:
    """KL divergence to the standard normal in nats, mean per latent element."""
    variance = posterior.logvar.exp()
    return 0.5 * (posterior.mean.square() + variance - 1 - posterior.logvar).mean()


class ImageDecoder(nn.Module):
    """Auxiliary decoder of single frames from slices of a latent; dropped after training.

    Paper section 4.2: each 16-channel latent is four 4-channel slices, each of which decodes its
    own frame, so that no frame of the window (the last, by their account) owns the latent. Ours:
    slice i of latent j >= 1 gives frame 4(j - 1) + 1 + i. Latent 0 stands for frame 0 alone, and
    each of its slices gives frame 0.
    """

    def __init__(self, config: VAEConfig):
        super().__init__()
        if config.latent_channels % config.time_factor:
            raise ValueError(
                f"latent_channels {config.latent_channels} must be a multiple of the "
                f"{config.time_factor} frames of a latent"
            )
        self.num_slices = config.time_factor
        self.decoder = Decoder(
            replace(
                config,
                latent_channels=config.latent_channels // config.time_factor,
                decoder_blocks=(1,) * len(config.widths),
                strides=tuple((1, space) for _, space in config.strides),
                kernel_t=1,
                kernel_t_outer=1,
                has_middle=False,
                linear_skip=False,
            )
        )
        initialise(self)
        self.to(memory_format=torch.channels_last_3d)

    def forward(self, latent: Float[Tensor, "b c k y x"]) -> Float[Tensor, "b k f 3 h w"]:
        """Frame f of the window of each latent."""
        b, _, k, _, _ = latent.shape
        slices = rearrange(latent, "b (f c) k y x -> (b k f) c 1 y x", f=self.num_slices)
        frames = self.decoder(slices.contiguous(memory_format=torch.channels_last_3d))
        return rearrange(frames, "(b k f) c 1 h w -> b k f c h w", b=b, k=k)


def windows(video: Float[Tensor, "b 3 t h w"], length: int) -> Float[Tensor, "b k f 3 h w"]:
    """The frames of each latent; those of latent 0 are all frame 0."""
    folded = fold(video, length, 1, first=True)
    return rearrange(folded, "b (f c) k h w -> b k f c h w", f=length)


class PatchDiscriminator(nn.Module):
    """Judges patches: of single frames (kernel_t = 1) or of video, time shrinking twice (3).

    Layout of PatchGAN (arXiv 1611.07004); in time that of Open-Sora 2's video autoencoder. Norms
    are per frame, as everywhere here, in place of batch norm.
    """

    def __init__(self, kernel_t: int, width: int = 64, num_layers: int = 3):
        super().__init__()
        layers: list[nn.Module] = []
        c_in = 3
        for i in range(num_layers):
            c_out = width * 2 ** min(i, 3)
            stride = (2 if kernel_t > 1 and i < 2 else 1, 2, 2)
            pad = (kernel_t // 2, 1, 1)
            layers.append(nn.Conv3d(c_in, c_out, (kernel_t, 4, 4), stride, pad))
            if i > 0:
                layers.append(FrameNorm(c_out, 8))
            layers.append(nn.LeakyReLU(0.2))
            c_in = c_out
        layers.append(nn.Conv3d(c_in, 1, (kernel_t, 3, 3), 1, (kernel_t // 2, 1, 1)))
        self.layers = nn.Sequential(*layers)

    def forward(self, video: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, "b 1 t2 h2 w2"]:
        """Logits per patch: above 0 says real."""
        return self.layers(video)


def discriminator_loss(real: Float[Tensor, "*n"], fake: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Hinge loss (arXiv 1705.02894); 1 for an undecided discriminator."""
    return 0.5 * (F.relu(1 - real).mean() + F.relu(1 + fake).mean())


def r1_penalty(discriminator: nn.Module, real: Float[Tensor, "b 3 t h w"]) -> Float[Tensor, ""]:
    """Half the squared slope of the summed logits at real clips, mean over clips."""
    real = real.detach().requires_grad_()
    (slope,) = torch.autograd.grad(discriminator(real).sum(), real, create_graph=True)
    return 0.5 * slope.square().flatten(1).sum(dim=1).mean()


class LeCam(nn.Module):
    """Running means of what a discriminator says of real and of made clips.

    The penalty is on real clips above the mean of made ones, and on made clips below that of real
    ones: an undecided discriminator pays nothing.
    """

    DECAY = 0.99
    means: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("means", torch.zeros(2))

    def forward(self, real: Float[Tensor, "*n"], fake: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
        """The penalty; the means move first."""
        now = torch.stack([real.detach().mean(), fake.detach().mean()]).float()
        self.means.lerp_(now, 1 - self.DECAY)
        mean_real, mean_fake = self.means.clone()
        return F.relu(real - mean_fake).square().mean() + F.relu(mean_real - fake).square().mean()


def generator_loss(fake: Float[Tensor, "*n"]) -> Float[Tensor, ""]:
    """Hinge loss of the other side."""
    return -fake.mean()


class Objective(nn.Module):
    """The autoencoder and the networks that only train it; one pass gives every loss term."""

    def __init__(
        self,
        vae: VideoVAE,
        weights: LossWeights,
        discriminator_width: int = 64,
        perceptual: Perceptual | None = None,
    ) -> None:
        super().__init__()
        if weights.perceptual and perceptual is None:
            raise ValueError(
                "a perceptual weight needs a perceptual function; name LPIPS weights "
                "(--lpips FILE) or set the weight to 0"
            )
        self.vae = vae
        self.weights = weights
        # A bound method, no submodule: its frozen weights stay out of checkpoints.
        self.perceptual = perceptual.__call__ if isinstance(perceptual, nn.Module) else perceptual
        self.image_decoder = ImageDecoder(vae.config) if weights.image_decoding else None
        kernels_t = {"gan_2d": 1, "gan_3d": 3}
        self.discriminators = nn.ModuleDict(
            {
                name: PatchDiscriminator(kernel_t, discriminator_width)
                for name, kernel_t in kernels_t.items()
                if getattr(weights, name)
            }
        )
        names = self.discriminators if weights.lecam else ()
        self.lecam = nn.ModuleDict({name: LeCam() for name in names})

    def forward(
        self,
        video: Float[Tensor, "b 3 t h w"],
        noise: Float[Tensor, "b c k y x"],
        with_gan: bool = False,
    ) -> tuple[dict[str, Float[Tensor, ""]], Reconstruction]:
        """Terms by name, not yet weighted, and the reconstruction they are of."""
        result = self.vae(video, noise)
        terms = {"l1": F.l1_loss(result.video, video), "kl": kl_loss(result.posterior)}
        if self.image_decoder is not None:
            frames = self.image_decoder(result.latent)
            terms["image_decoding"] = F.l1_loss(frames, windows(video, frames.shape[2]))
        if self.weights.perceptual:
            assert self.perceptual is not None
            terms["perceptual"] = self.perceptual(
                rearrange(result.video, "b c t h w -> (b t) c h w"),
                rearrange(video, "b c t h w -> (b t) c h w"),
            )
        if with_gan:
            for name, discriminator in self.discriminators.items():
                terms[name] = generator_loss(discriminator(result.video))
        return terms, result

    def total(self, terms: dict[str, Float[Tensor, ""]]) -> Float[Tensor, ""]:
        """Weighted sum."""
        weighted = {name: getattr(self.weights, name) * value for name, value in terms.items()}
        made = [name for name in weighted if name in self.discriminators]
        if made and self.weights.gan_adaptive:
            share = self._gan_share(terms, made)
            weighted |= {name: share * weighted[name] for name in made}
        return torch.stack([*weighted.values()]).sum()

    def _gan_share(self, terms: dict[str, Tensor], made: Sequence[str]) -> Tensor:
        last = self.vae.decoder.conv_out.conv.weight
        pixels = terms["l1"] * self.weights.l1
        if "perceptual" in terms:
            pixels = pixels + terms["perceptual"] * self.weights.perceptual
        judged = torch.stack([terms[name] for name in made]).sum()
        slopes = [torch.autograd.grad(x, last, retain_graph=True)[0] for x in (pixels, judged)]
        return (slopes[0].norm() / (slopes[1].norm() + 1e-4)).clamp(max=1e4).detach()

    def discriminate(
        self, real: Float[Tensor, "b 3 t h w"], fake: Float[Tensor, "b 3 t h w"]
    ) -> Float[Tensor, ""]:
        """Loss of the discriminators, summed."""
        losses: list[Tensor] = []
        for name, discriminator in self.discriminators.items():
            said_real, said_fake = discriminator(real), discriminator(fake)
            losses.append(discriminator_loss(said_real, said_fake))
            if self.weights.lecam:
                losses.append(self.weights.lecam * self.lecam[name](said_real, said_fake))
            if self.weights.r1:
                losses.append(self.weights.r1 * r1_penalty(discriminator, real))
        return torch.stack(losses).sum()
