"""Open ground: what stands where, the ground itself, and what lies far away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.noise import fractal_noise
from pipelines.synthetic.surroundings.shape import Number, Shape, Shapes, grid, placed

EDGE_M = 110.0


@dataclass(frozen=True, kw_only=True)
class Outside:
    """An open place."""

    shapes: Shapes
    ground_rgb: Float[np.ndarray, "3"]
    """Mean colour of the ground, linear: it lights things from below."""


@dataclass
class Plot:
    """What stands where, while a place is being laid out; world frame."""

    clearing: Clearing
    shapes: list[Shape]
    circles: list[tuple[np.ndarray, float]]

    def put(self, thing: Shapes, place: np.ndarray, yaw_deg: Number, radius_m: Number) -> bool:
        """Place a thing unless it stands in the way of sight or, by its radius, of another."""
        if not self.clearing.is_free(place, max(self.clearing.width_of(thing), 0.5 * radius_m)):
            return False
        if any(np.linalg.norm(place - p) < radius_m + r for p, r in self.circles):
            return False
        self.shapes += placed(thing, (place[0], 0.0, place[1]), yaw_deg)
        self.circles.append((np.asarray(place, float), radius_m))
        return True


def make_ground(
    rng: np.random.Generator,
    material: str,
    tint: np.ndarray,
    circles: Sequence[tuple[np.ndarray, float]],
    relief_m: Number = 0.0,
    flat_m: Number = 0.0,
    way_deg: Number | None = None,
) -> Shape:
    """Ground to the horizon: fine near the people, coarse far away, shaded below what stands on it.

    Args:
        rng: Draws its stains and hills.
        material: Name of its material.
        tint: Its colour.
        circles: Things that stand on it: (x, z) and radius.
        relief_m: Height of its hills.
        flat_m: Distance from the origin up to which there are none.
        way_deg: Direction of a way through the origin that no hill blocks.
    """
    steps = np.sinh(np.linspace(-1.0, 1.0, 53) * 4.2) / np.sinh(4.2) * EDGE_M
    x, z = np.meshgrid(steps, steps[::-1])
    noise = fractal_noise(rng, 64, 4, 4)
    wide = fractal_noise(rng, 64, 3, 3)

    def at(values: np.ndarray, span_m: float) -> np.ndarray:
        """Nearest values of a repeating map, which the coarse mesh blurs."""
        i, k = (np.floor(c / span_m * 64).astype(int) % 64 for c in (x, z))
        return values[k, i]

    distance = np.hypot(x, z)
    hills = (at(wide, 90.0) - 0.35) * relief_m
    rise = np.clip((distance - flat_m - 1.0) / 18.0, 0.0, 1.0) ** 2
    if way_deg is not None:
        a = np.radians(way_deg)
        beside = abs(x * np.cos(a) - z * np.sin(a)) - 5.0 - 0.12 * distance
        rise = rise * np.clip(beside / 8.0, 0.0, 1.0)
    height = rise * np.maximum(hills, 0.0)  # no hollows: what stands there would hover
    shade = 0.86 + 0.28 * at(noise, 40.0)
    for place, radius in circles:
        gap = np.hypot(x - place[0], z - place[1]) - 0.5 * radius
        shade = shade * (1.0 - 0.35 * np.exp(-np.maximum(gap, 0.0) / (0.4 * radius + 0.1)))
    points = np.stack([x, height, z], axis=-1)
    return grid(material, points, np.stack([x, z], -1), shade[..., None] * np.asarray(tint))


def far_ring(
    material: str, radius_m: Number, height_m: Number, tint: np.ndarray, turn_deg: Number
) -> Shape:
    """An upright band all around with a picture of what lies far away."""
    angle = np.linspace(0.0, -2.0 * np.pi, 65) + np.radians(turn_deg)
    ring = radius_m * np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], axis=-1)
    points = ring + np.array([-1.0, height_m])[:, None, None] * np.array([0.0, 1.0, 0.0])
    turns = round(2.0 * np.pi * radius_m / (5.0 * height_m))
    span = 60.0 if material == "skyline" else 30.0
    u = np.linspace(0.0, turns * span, 65)
    v = np.array([0.999, 0.03]) * span
    shape = grid(material, points, np.stack(np.broadcast_arrays(u[None], v[:, None]), -1), tint)
    return replace(shape, normals=np.tile([0.0, 1.0, 0.0], (len(shape.vertices), 1)))


def level_strip(
    material: str, x: tuple[Number, Number], z: tuple[Number, Number], y: Number, tint: np.ndarray
) -> Shape:
    """A level rectangle; long ones are cut, so that their shading stays fine."""
    xs = np.linspace(*x, max(2, int((x[1] - x[0]) / 3.0) + 1))
    zs = np.linspace(z[1], z[0], max(2, int((z[1] - z[0]) / 4.0) + 1))
    gx, gz = np.meshgrid(xs, zs)
    points = np.stack([gx, np.full_like(gx, y), gz], axis=-1)
    return grid(material, points, np.stack([gx, gz], -1), tint)
