"""Recipes of the video autoencoder: what is built and how it is trained."""

from dataclasses import dataclass, field, replace

from models.vae.losses import LossWeights
from models.vae.model import VAEConfig, base_vae, full_vae, tiny_vae
from models.window import ClipSettings


@dataclass(frozen=True, kw_only=True)
class AugmentSettings:
    """How clips are varied; probabilities are per clip."""

    motion_probability: float = 0.25
    """Random structured motion: frames translated along a random path."""
    motion_px: float = 4.0
    """Fastest translation, pixels per frame."""
    speed_probability: float = 0.25
    """Dynamic speed: frames shown at another rate."""
    speed: tuple[float, float] = (0.5, 3.0)
    """Slowest and fastest rate."""
    flip_probability: float = 0.5
    colour_probability: float = 0.5
    """Shuffled colour channels."""


@dataclass(frozen=True, kw_only=True)
class VAERecipe:
    """One training run of a video autoencoder."""

    name: str
    model: VAEConfig
    clips: ClipSettings
    num_steps: int
    batch_size: int
    crop_px: int
    """Side of the random crops that most of the training sees."""
    crop_frames: int
    whole_fraction: float = 0.2
    """Last part of the steps, on whole clips; 0 trains on crops only."""
    whole_batch_size: int = 2
    """Clips of the batch used then."""
    seed: int = 0
    learning_rate: float = 2e-3
    """AdamW: biases, norms, first and last convolutions."""
    muon_learning_rate: float = 0.02
    """Muon: weights of inner convolutions; 0 gives them to AdamW."""
    linear_learning_rate: float = 0.1
    """Share of `learning_rate` for the linear skip, which starts where it should end."""
    weight_decay: float = 1e-4
    warmup_steps: int = 30
    flat_fraction: float = 0.3
    """Part of the steps after which the cosine begins."""
    final_learning_rate: float = 0.01
    """Share of the learning rates at the end of the cosine."""
    clip_norm: float = 1.0
    recompute: bool = False
    """Run the network's stages again in backward instead of keeping what they computed."""
    ema_decay: float = 0.99
    weights: LossWeights = field(default_factory=LossWeights)
    lpips_file: str = ""
    """torchvision's AlexNet or VGG-16 under its published name, for the perceptual term."""
    gan_start: float = 0.5
    """Part of the steps after which the discriminators come in."""
    discriminator_learning_rate: float = 1e-4
    discriminator_width: int = 64
    augment: AugmentSettings = field(default_factory=AugmentSettings)

    def __post_init__(self) -> None:
        if self.crop_frames % self.model.time_factor != 1:
            raise ValueError(
                f"crop_frames must be 1 + {self.model.time_factor}k, got {self.crop_frames}"
            )
        for name, size in {"crop_px": self.crop_px, "clips.size_px": self.clips.size_px}.items():
            if size % self.model.space_factor:
                raise ValueError(
                    f"{name} must be a multiple of {self.model.space_factor}, got {size}"
                )
        if self.crop_px > self.clips.size_px or self.crop_frames > self.clips.num_frames:
            raise ValueError(
                f"crops of {self.crop_frames} frames of {self.crop_px} px do not fit clips of "
                f"{self.clips.num_frames} frames of {self.clips.size_px} px"
            )
        if self.num_steps <= self.warmup_steps:
            raise ValueError(
                f"num_steps must exceed warmup_steps {self.warmup_steps}, got {self.num_steps}"
            )


def vae_tiny() -> VAERecipe:
    """The demo's: 64 x 64, 17 frames, 4x in space and time, on one CPU core.

    With the paper's image-decoding regularisation and both augmentations. The weights in
    `models/weights/vae_tiny` are 2600 steps of it.
    """
    return VAERecipe(
        name="vae_tiny",
        model=tiny_vae(),
        clips=ClipSettings(with_background=False),
        num_steps=2600,
        batch_size=8,
        crop_px=32,
        crop_frames=9,
        weights=LossWeights(image_decoding=0.5),
    )


def vae_tiny_continued() -> VAERecipe:
    """A visible minute of further training, from weights that are already good."""
    return replace(
        vae_tiny(), name="vae_tiny_continued", num_steps=60, warmup_steps=10,
        learning_rate=2e-4, muon_learning_rate=2e-3,
    )  # fmt: skip


def vae_tiny_unregularised() -> VAERecipe:
    """Ablation: without the image-decoding regularisation, a third faster."""
    return replace(vae_tiny(), name="vae_tiny_unregularised", weights=LossWeights())


def vae_tiny_without_augmentation() -> VAERecipe:
    """Ablation: neither structured motion nor dynamic speed."""
    recipe = vae_tiny()
    augment = replace(recipe.augment, motion_probability=0.0, speed_probability=0.0)
    return replace(recipe, name="vae_tiny_without_augmentation", augment=augment)


def vae_debug() -> VAERecipe:
    """Every term and network in seconds."""
    return replace(
        vae_tiny(),
        name="vae_debug",
        model=replace(tiny_vae(), widths=(8, 16)),
        num_steps=8,
        batch_size=2,
        crop_px=16,
        crop_frames=5,
        warmup_steps=2,
        weights=LossWeights(image_decoding=0.5, gan_2d=0.05, gan_3d=0.05),
        discriminator_width=8,
    )


def vae_base() -> VAERecipe:
    """256 x 256, 33 frames, 8x in space, 111 M parameters; one GPU with 80 GB."""
    return VAERecipe(
        name="vae_base",
        model=base_vae(),
        clips=ClipSettings(size_px=256, num_frames=33, crop="centre", with_background=False),
        num_steps=100_000,
        batch_size=8,
        crop_px=128,
        crop_frames=17,
        whole_batch_size=4,
        learning_rate=5e-4,
        muon_learning_rate=0.01,
        warmup_steps=500,
        ema_decay=0.999,
        weights=LossWeights(image_decoding=0.2, gan_2d=0.02, gan_3d=0.02),
        augment=AugmentSettings(motion_px=16.0),
    )


def vae_full() -> VAERecipe:
    """The paper's first stage: SD3 inflated, short clips of 33 frames."""
    return VAERecipe(
        name="vae_full",
        model=full_vae(),
        clips=ClipSettings(size_px=256, num_frames=33, crop="centre", with_background=False),
        num_steps=200_000,
        batch_size=8,
        crop_px=256,
        crop_frames=33,
        whole_fraction=0.0,
        recompute=True,
        learning_rate=5e-5,
        muon_learning_rate=0.0,
        warmup_steps=1000,
        ema_decay=0.999,
        weights=LossWeights(
            kl=1e-6, image_decoding=0.2, gan_2d=0.1, gan_3d=0.1, gan_adaptive=True, lecam=5e-3
        ),
        discriminator_learning_rate=1e-4,
        augment=AugmentSettings(motion_px=16.0, colour_probability=0.0),
    )


def vae_full_long() -> VAERecipe:
    """The paper's second stage: 97 frames, from the weights of `vae_full`."""
    recipe = vae_full()
    clips = replace(recipe.clips, num_frames=97)
    return replace(
        recipe, name="vae_full_long", clips=clips, crop_frames=97, num_steps=20_000, batch_size=2
    )
