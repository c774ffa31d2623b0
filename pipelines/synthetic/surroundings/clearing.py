"""Room that the surroundings leave: to the people, to the cameras, and between both."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings.shape import Shape

EYE_RADIUS_M = 0.5
SIGHT_M = 2.6
"""What lies above it, and above every camera, hides nobody."""


@dataclass(frozen=True, kw_only=True)
class Clearing:
    """A disc about the people and the way to it from every camera; the order of eyes is nothing."""

    radius_m: float
    """Of the disc about the world origin in which the people move."""
    eyes: Float[np.ndarray, "eyes 3"]
    """Camera centres of all views over the whole clip, world metres."""

    def reach(self, direction: Float[np.ndarray, "2"]) -> float:
        """How far people and cameras go in a level direction (x, z) from the origin, metres."""
        return max(self.radius_m, float((self.eyes[:, [0, 2]] @ direction).max(initial=0.0)))

    @property
    def reach_m(self) -> float:
        """The same in any direction."""
        level = np.linalg.norm(self.eyes[:, [0, 2]], axis=1)
        return max(self.radius_m, float(level.max(initial=0.0)))

    @property
    def highest_m(self) -> float:
        """Height of the highest camera."""
        return float(self.eyes[:, 1].max(initial=0.0))

    def width_of(self, thing: Sequence[Shape]) -> float:
        """Radius about its own origin of what of a thing is low enough to hide people, metres."""
        vertices = np.concatenate([shape.vertices for shape in thing])
        low = vertices[vertices[:, 1] < max(SIGHT_M, self.highest_m)]
        return float(np.linalg.norm(low[:, [0, 2]], axis=1).max(initial=0.0))

    def is_free(self, place: Float[np.ndarray, "2"], radius_m: float) -> bool:
        """Whether a thing of a radius at (x, z) stands outside disc, cameras and lines of sight."""
        place = np.asarray(place, float)
        if np.linalg.norm(place) < self.radius_m + radius_m:
            return False
        eyes = self.eyes[:, [0, 2]]
        along = (eyes @ place) / np.maximum((eyes**2).sum(1), 1e-9)
        t = np.clip(along, 0.0, 1.0)
        width = self.radius_m + (EYE_RADIUS_M - self.radius_m) * t
        apart = np.linalg.norm(place - t[:, None] * eyes, axis=1)
        return bool((apart > width + radius_m).all())
