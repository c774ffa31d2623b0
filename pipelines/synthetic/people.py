"""Who is in a scene, doing what, where."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pipelines.synthetic.asset import Asset, list_files, round_
from pipelines.synthetic.motion import MOTIONS

MOCAP = "mocap"
MOTION_KINDS = (*MOTIONS, MOCAP)


@dataclass(frozen=True, kw_only=True)
class PersonSpec:
    """Who does what, where."""

    character: int
    """Seed of the character."""
    motion: str
    """One of MOTION_KINDS."""
    motion_seed: int
    start_s: float
    """Time within the motion at which the clip starts."""
    speed: float
    """Playing speed of the motion, 1 as made."""
    place_m: tuple[float, float]
    """Where (x, z) the pelvis is in the middle of the clip."""
    heading_deg: float
    file: Asset | None = None
    """The BVH file of a `mocap` motion."""

    def __post_init__(self) -> None:
        """Validate."""
        if self.motion not in MOTION_KINDS:
            raise ValueError(f"motion must be one of {MOTION_KINDS}, got {self.motion!r}")
        if (self.motion == MOCAP) != (self.file is not None):
            raise ValueError(f"a file belongs to motion {MOCAP!r} only, got {self.motion!r}")
        if not self.speed > 0:
            raise ValueError(f"speed must be positive, got {self.speed}")


def sample_people(
    rng: np.random.Generator,
    *,
    count: int,
    azimuth_deg: float,
    motion_kinds: Sequence[str],
    speed: tuple[float, float],
    characters: int,
    mocap_folder: Path | None,
) -> tuple[PersonSpec, ...]:
    """People side by side across the view, with some depth; facing the camera more often."""
    across = np.radians(azimuth_deg + 90.0)
    shared = rng.uniform(-180.0, 180.0)
    people = []
    for k in range(count):
        aside = (k - (count - 1) / 2.0) * rng.uniform(0.85, 1.15)
        depth = rng.uniform(-0.35, 0.35) if count > 1 else 0.0
        axis, view = np.array([np.sin(across), np.cos(across)]), np.radians(azimuth_deg)
        place = aside * axis + depth * np.array([np.sin(view), np.cos(view)])
        motion = str(rng.choice(list(motion_kinds)))
        towards = azimuth_deg + rng.normal(0.0, 45.0)
        heading = shared + rng.normal(0.0, 12.0) if motion == "walk" and count > 1 else towards
        if count == 1 and rng.random() < 0.3:
            heading = rng.uniform(-180.0, 180.0)
        file = None
        if motion == MOCAP and mocap_folder is not None:
            choices = list_files(mocap_folder, (".bvh",))
            file = Asset.of(choices[int(rng.integers(len(choices)))])
        people.append(
            PersonSpec(
                character=int(rng.integers(characters)),
                motion=motion,
                motion_seed=int(rng.integers(2**31)),
                start_s=round_(rng.uniform(0.0, 4.0)),
                speed=round_(rng.uniform(*speed)),
                place_m=(round_(place[0]), round_(place[1])),
                heading_deg=round_(heading),
                file=file,
            )
        )
    return tuple(people)
