"""Recipe of the lifter: its size, what it is trained on and for how long."""

from dataclasses import dataclass, field

from models.lifter import LifterConfig


@dataclass(frozen=True, kw_only=True)
class LifterRecipe:
    """One training run of the lifter (`python -m pipelines.train_lifter`)."""

    name: str = "lifter"
    model: LifterConfig = field(default_factory=LifterConfig)
    worlds: int = 40
    """Rendered worlds."""
    shots: int = 40
    """Pictures of each world."""
    num_poses: int = 60_000
    """Poses without a picture; they borrow the errors of the pictures of similar poses."""
    posed_share: float = 0.5
    """Part of every batch that comes from them."""
    num_steps: int = 4000
    batch_size: int = 256
    seed: int = 0
    learning_rate: float = 1e-3
    weight_decay: float = 0.02
    focal_noise: float = 0.1
    """Of the logarithm: the focal length of footage is seldom known."""
    roll_deg: float = 12.0
    """Of the camera about its axis; one picture in ten is turned anyhow."""


def lifter() -> LifterRecipe:
    """The shipped one."""
    return LifterRecipe()
