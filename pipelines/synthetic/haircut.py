"""Hair styles by name, and the numbers that make each person's own."""

from dataclasses import dataclass, replace

import numpy as np


@dataclass(frozen=True, kw_only=True)
class HairCut:
    """A hair style; lengths in metres."""

    name: str
    cap_m: float
    """Thickness of the closed hair on the top of the scalp."""
    side_cap_m: float
    """The same at the sides and the back."""
    num_locks: int = 0
    top_m: float = 0.0
    """Length of the locks on top."""
    side_m: float = 0.0
    level_y_m: float | None = None
    """Height of the tips of hanging hair, neutral body; then lengths follow from it."""
    lift: float = 0.0
    """0 combed flat, 1 standing on end."""
    weight: float = 0.5
    """How soon locks fall."""
    curl: float = 0.0
    parting_x_m: float | None = None
    """Where hair is parted in front; None: it grows away from the crown."""
    has_fringe: bool = False
    tail: str = ""
    """bun, ponytail or braids; the hair is combed back to it."""
    tail_m: float = 0.0
    recession_m: float = 0.0
    """How far the hairline lies back at the temples."""

    @property
    def covers_ears(self) -> bool:
        """Whether hair hangs over the ears."""
        return self.level_y_m is not None


BALD = HairCut(name="bald", cap_m=0.0, side_cap_m=0.0)


def draw_cut(name: str, rng: np.random.Generator) -> HairCut:
    """The style of a name with its numbers; consumes the generator."""
    curl = float(rng.choice([0.0, 0.2, 0.5], p=(0.55, 0.3, 0.15)))
    part = float(rng.choice([-0.022, 0.0, 0.022]))
    length = float(rng.random())
    base = HairCut(name=name, cap_m=0.010, side_cap_m=0.008, curl=curl, parting_x_m=part)
    cuts = {
        "bald": BALD,
        "buzz": HairCut(name=name, cap_m=0.004, side_cap_m=0.003, curl=0.3),
        "crop": replace(
            base, side_cap_m=0.004, num_locks=120, top_m=0.03 + 0.02 * length, side_m=0.012,
            lift=0.28 + 0.15 * length, weight=0.1, parting_x_m=None,
        ),
        "short": replace(
            base, cap_m=0.013, side_cap_m=0.007, num_locks=130, top_m=0.05 + 0.03 * length,
            side_m=0.03, lift=0.16, weight=0.25, parting_x_m=part or 0.022,
        ),
        "tousled": replace(
            base, cap_m=0.016, side_cap_m=0.012, num_locks=150, top_m=0.055 + 0.03 * length,
            side_m=0.045, lift=0.22, weight=0.5, curl=max(curl, 0.2), parting_x_m=None,
        ),
        "curly": replace(
            base, cap_m=0.024, side_cap_m=0.018, num_locks=220, top_m=0.035, side_m=0.03,
            lift=0.75, weight=0.2, curl=1.0, parting_x_m=None,
        ),
        "afro": replace(
            base, cap_m=0.03 + 0.035 * length, side_cap_m=0.025 + 0.03 * length, num_locks=260,
            top_m=0.03, side_m=0.03, lift=0.9, weight=0.05, curl=1.0, parting_x_m=None,
        ),
        "bob": replace(
            base, num_locks=130, level_y_m=0.34 - 0.08 * length, lift=0.1, weight=1.1,
            has_fringe=rng.random() < 0.4,
        ),
        "long": replace(
            base, num_locks=130, level_y_m=0.22 - 0.16 * length, lift=0.08, weight=1.2,
            has_fringe=rng.random() < 0.25,
        ),
        "ponytail": replace(
            base, side_cap_m=0.009, num_locks=40, top_m=0.06, side_m=0.04, lift=0.05, weight=0.0,
            tail=name, tail_m=0.16 + 0.16 * length, has_fringe=rng.random() < 0.2,
        ),
        "bun": replace(
            base, side_cap_m=0.009, num_locks=40, top_m=0.06, side_m=0.04, lift=0.05, weight=0.0,
            tail=name,
        ),
        "braids": replace(
            base, num_locks=40, top_m=0.05, side_m=0.04, lift=0.02, weight=0.3, tail=name,
            tail_m=0.22 + 0.1 * length, parting_x_m=0.0,
        ),
    }  # fmt: skip
    recession_m = float(rng.uniform(0.0, 0.012))
    return replace(cuts[name], recession_m=recession_m) if name != "bald" else BALD


HAIR_STYLES = (
    "bald", "buzz", "crop", "short", "tousled", "curly", "afro", "bob", "long", "ponytail", "bun",
    "braids",
)  # fmt: skip
