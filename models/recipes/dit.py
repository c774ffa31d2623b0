"""Recipes of the generator: what is built and how it is trained."""

from dataclasses import dataclass, field, replace

from models.dit.config import ISADiTConfig
from models.window import ClipSettings


@dataclass(frozen=True, kw_only=True)
class DiTRecipe:
    """One training run of an ISA-DiT on latents of a frozen VAE."""

    name: str
    model: ISADiTConfig
    clips: ClipSettings
    """What the loader cuts; with latents, `clips.num_points` at least `model.num_points`."""
    spatial_factor: int
    """Pixels per latent cell of the VAE."""
    num_steps: int
    batch_size: int
    seed: int = 0
    learning_rate: float
    weight_decay: float = 0.01
    warmup_steps: int = 100
    final_learning_rate: float = 0.01
    """Share of the learning rate at the end of the cosine."""
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    figure_weight: float = 2.0
    """Weight in the loss of latent cells that people touch; 1 treats all cells alike."""
    channel_power: float = 0.5
    """Weight of a latent channel in the loss: its effect on pixels to this power; 0 for equal."""
    time_mean: float = 0.0
    time_std: float = 1.0
    time_shift: float = 1.0
    """Logit-normal time; a shift above 1 favours noise, as large latents need."""
    drop_probability: dict[str, float] = field(
        default_factory=lambda: {
            "body": 0.1, "camera": 0.1, "reference": 0.1, "image": 0.1, "background": 0.1,
        }
    )  # fmt: skip
    """How often each condition is dropped from a clip, independently."""
    shift_probability: float = 0.5
    """How often the reference of a clip is moved, so that its place is not copied."""
    drop_all_probability: float = 0.05
    """How often a clip is trained without any condition."""
    latent_std: float | None = None
    """Divides the latents; None measures it on the first batch."""

    def __post_init__(self) -> None:
        if self.clips.num_points < self.model.num_points:
            raise ValueError(
                f"clips.num_points must be at least model.num_points {self.model.num_points}, "
                f"got {self.clips.num_points}"
            )
        if self.clips.num_frames != self.model.max_frames:
            raise ValueError(
                f"clips.num_frames must be model.max_frames {self.model.max_frames}, "
                f"got {self.clips.num_frames}"
            )
        if self.clips.size_px % (self.spatial_factor * self.model.patch):
            raise ValueError(
                f"clips.size_px must be a multiple of spatial_factor x patch = "
                f"{self.spatial_factor * self.model.patch}, got {self.clips.size_px}"
            )
        if self.num_steps <= self.warmup_steps:
            raise ValueError(
                f"num_steps must exceed warmup_steps {self.warmup_steps}, got {self.num_steps}"
            )


def tiny_model() -> ISADiTConfig:
    """The demo's generator: 5 x 8 x 8 tokens on a laptop's CPU.

    Steps per second matter most at this size: patch 2, 24 points, no feed-forward layers in the
    3D stream. The local bias makes the body act within minutes of training. The width of the
    embedding is that of `models.embedding`'s tiny tower.
    """
    return ISADiTConfig(
        width=128, depth=4, heads=4, num_points=24, embedding_width=64, ffn_ratio=2.0,
        ffn_ratio_3d=0.0, local_bias=True, ispe_max_cycles=4.0,
    )  # fmt: skip


def base_model() -> ISADiTConfig:
    """One GPU: about 0.34 billion parameters."""
    return ISADiTConfig(
        width=768, depth=8, heads=12, num_points=128, max_frames=33, embedding_width=768,
        local_bias=True, qk_norm=True, ispe_max_cycles=16.0,
    )  # fmt: skip


def full_model() -> ISADiTConfig:
    """The paper's size: 24 layers of width 1536, about 4 billion parameters."""
    return ISADiTConfig(
        width=1536, depth=24, heads=24, num_points=256, max_frames=97, embedding_width=1024,
        qk_norm=True, ispe_max_cycles=32.0,
    )  # fmt: skip


def dit_tiny() -> DiTRecipe:
    """64 x 64, 17 frames, VAE x4 in space and time: about an hour on one CPU core."""
    return DiTRecipe(
        name="dit_tiny",
        model=tiny_model(),
        clips=ClipSettings(num_points=24, with_latents=True),
        spatial_factor=4,
        num_steps=8000,
        batch_size=4,
        learning_rate=2e-3,
    )


def dit_tiny_continued() -> DiTRecipe:
    """Two visible minutes of further training, from weights that are already good."""
    return replace(
        dit_tiny(), name="dit_tiny_continued", num_steps=200, warmup_steps=20, learning_rate=3e-4
    )


def dit_tiny_without_ispe() -> DiTRecipe:
    """Ablation of the paper: body tokens without any position in the picture."""
    recipe = dit_tiny()
    model = replace(recipe.model, use_ispe=False, local_bias=False)
    return replace(recipe, name="dit_tiny_without_ispe", model=model)


def dit_tiny_without_bias() -> DiTRecipe:
    """Ablation: the paper's ISPE alone, at the gain that learns soonest without the bias."""
    recipe = dit_tiny()
    model = replace(recipe.model, local_bias=False, ispe_gain=3.0)
    return replace(recipe, name="dit_tiny_without_bias", model=model)


def dit_tiny_without_reverse_flow() -> DiTRecipe:
    """Ablation of the paper: bodies tell the picture and are not told."""
    recipe = dit_tiny()
    model = replace(recipe.model, reverse_flow=False)
    return replace(recipe, name="dit_tiny_without_reverse_flow", model=model)


def dit_tiny_joint_attention() -> DiTRecipe:
    """Ablation: all 2D tokens of the clip see each other, in place of space, then time."""
    recipe = dit_tiny()
    model = replace(recipe.model, joint_attention=True)
    return replace(recipe, name="dit_tiny_joint_attention", model=model)


def dit_tiny_local() -> DiTRecipe:
    """Ablation: each tile of 2D tokens sees the points of half a person, those nearest to it."""
    recipe = dit_tiny()
    model = replace(recipe.model, isa_points=2 * recipe.model.num_points)
    return replace(recipe, name="dit_tiny_local", model=model)


def dit_base() -> DiTRecipe:
    """256 x 256, 33 frames, the paper's VAE; one GPU with 80 GB."""
    return DiTRecipe(
        name="dit_base",
        model=base_model(),
        clips=ClipSettings(num_frames=33, size_px=256, num_points=128, with_latents=True),
        spatial_factor=8,
        num_steps=200_000,
        batch_size=32,
        learning_rate=2e-4,
        warmup_steps=1000,
        ema_decay=0.9999,
    )


def dit_full() -> DiTRecipe:
    """512 x 512, 97 frames, about 4 billion parameters; many GPUs."""
    return DiTRecipe(
        name="dit_full",
        model=full_model(),
        clips=ClipSettings(num_frames=97, size_px=512, num_points=256, with_latents=True),
        spatial_factor=8,
        num_steps=500_000,
        batch_size=64,
        learning_rate=1e-4,
        warmup_steps=2000,
        time_shift=3.0,
        ema_decay=0.9999,
    )


def dit_debug() -> DiTRecipe:
    """Seconds on a CPU; the integration test of training."""
    model = replace(tiny_model(), width=32, depth=2, heads=2, num_points=8, max_frames=5)
    return replace(
        dit_tiny(),
        name="dit_debug",
        model=model,
        clips=ClipSettings(num_frames=5, size_px=32, num_points=8, with_latents=True),
        num_steps=20,
        batch_size=2,
        warmup_steps=2,
        ema_decay=0.9,
    )
