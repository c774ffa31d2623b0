"""Where people of one scene are: near each other, in each other's way, never in each other, and
never behind each other all the time.

World frame: metres, y up; azimuths from +z towards +x. A place is (x, z) of the pelvis in the
middle of the clip, as in `PersonSpec`. Bodies are spheres along their bones, wide enough to hold
the skin; what is between them is checked at some frames of the clip.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float

from models.body.model import BodyModel
from pipelines.synthetic.asset import round_
from pipelines.synthetic.figure import BodyMotion
from pipelines.synthetic.gait import yaw_rotation

CLEARANCE_M = 0.08
"""Between two bodies' spheres: room for both people's clothes."""
SEEN_SHARE = 0.4
"""So much of everybody shows in some moment, past all others."""
NEAR_VIEW_M = 3.0
"""How near the camera is taken to come when that is looked at; the nearer, the more is hidden."""
ATTEMPTS = 12
SKIN_POINTS = 500
_ON_BONES: tuple[tuple[int, int, tuple[float, ...]], ...] = (
    (0, 3, (0.0,)), (3, 6, (0.0,)), (6, 9, (0.0,)), (9, 12, (0.0, 1.0)), (12, 15, (1.0, 2.2)),
    (1, 4, (0.0, 0.33, 0.66, 1.0)), (2, 5, (0.0, 0.33, 0.66, 1.0)),
    (4, 7, (0.33, 0.66, 1.0)), (5, 8, (0.33, 0.66, 1.0)),
    (7, 10, (0.6, 1.4)), (8, 11, (0.6, 1.4)),
    (16, 18, (0.0, 0.5, 1.0)), (17, 19, (0.0, 0.5, 1.0)),
    (18, 20, (0.5, 1.0)), (19, 21, (0.5, 1.0)), (20, 22, (1.0, 1.8)), (21, 23, (1.0, 1.8)),
)  # fmt: skip
"""Spheres' places: from a joint to another, in shares of the way."""


def _weights() -> np.ndarray:
    rows = []
    for a, b, shares in _ON_BONES:
        for share in shares:
            row = np.zeros(24)
            row[a], row[b] = 1.0 - share, share
            rows.append(row)
    return np.array(rows)


CENTRES_OF_JOINTS: Float[np.ndarray, "spheres 24"] = _weights()


@dataclass(frozen=True, kw_only=True)
class Mover:
    """A body at some moments, its pelvis at the origin in the middle of the clip, heading 0."""

    centres: Float[np.ndarray, "moments spheres 3"]
    radii: Float[np.ndarray, "spheres"]

    @property
    def extent_m(self) -> float:
        """How far from its place the body ever gets, over the floor."""
        return float((np.linalg.norm(self.centres[..., [0, 2]], axis=-1) + self.radii).max())

    def placed(self, stand: "Stand") -> Float[np.ndarray, "moments spheres 3"]:
        """Centres in the world."""
        R = yaw_rotation(np.array(np.radians(stand.heading_deg))).as_matrix()
        return self.centres @ R.T + np.array([stand.place_m[0], 0.0, stand.place_m[1]])


@dataclass(frozen=True, kw_only=True)
class Stand:
    """Where somebody is and how turned, in the middle of the clip."""

    place_m: tuple[float, float]
    heading_deg: float


def make_mover(
    body: BodyModel, betas: Float[np.ndarray, "10"], motion: BodyMotion, middle: int
) -> Mover:
    """Spheres of a body that moves; `middle` is the frame in which it stands in its place."""
    shape = torch.as_tensor(betas, dtype=torch.float32)
    points = body.subset(body.surface_points(SKIN_POINTS))
    rest = points.shape(shape)
    from_centres = rest.vertices.numpy()[:, None] - CENTRES_OF_JOINTS @ rest.joints.numpy()
    away = np.linalg.norm(from_centres, axis=-1)
    radii = np.full(len(CENTRES_OF_JOINTS), 0.03)
    np.maximum.at(radii, away.argmin(1), away.min(1))
    values = (motion.global_orient, motion.body_pose, motion.transl)
    posed = body.subset(body.surface_points(1)).pose(shape, *(torch.as_tensor(v) for v in values))
    joints = posed.joints.numpy().astype(float)
    centres = einsum(CENTRES_OF_JOINTS, joints, "s j, t j c -> t s c")
    centres = centres - joints[middle, 0] * np.array([1.0, 0.0, 1.0])
    between = 0.5 * (centres[1:] + centres[:-1])  # a fist is fast
    return Mover(centres=np.concatenate([centres, between]), radii=radii)


def clearance_m(movers: Sequence[Mover], stands: Sequence[Stand]) -> float:
    """Least distance between the spheres of any two people; negative where bodies overlap."""
    placed = [mover.placed(stand) for mover, stand in zip(movers, stands, strict=True)]
    least = np.inf
    for one, other in combinations(range(len(movers)), 2):
        a, b = placed[one], placed[other]
        squared = (a**2).sum(-1)[:, :, None] + (b**2).sum(-1)[:, None] - 2 * a @ b.swapaxes(1, 2)
        reach = movers[one].radii[:, None] + movers[other].radii
        least = min(least, float((np.sqrt(np.maximum(squared, 0.0)) - reach).min()))
    return least


def seen_share(movers: Sequence[Mover], stands: Sequence[Stand], azimuth_deg: float) -> float:
    """How much of whoever shows least is not behind others, in that person's best moment.

    Seen from the azimuth at which the camera stands, by the spheres' centres.
    """
    placed = np.stack([mover.placed(stand) for mover, stand in zip(movers, stands, strict=True)])
    radii = np.stack([mover.radii for mover in movers])
    aside, view = _direction(azimuth_deg + 90.0), _direction(azimuth_deg)
    floor = placed[..., [0, 2]]
    away = NEAR_VIEW_M + (floor @ view).max() - floor @ view
    height = placed[..., 1] - placed[..., 1].mean()
    picture = np.stack([floor @ aside, height], axis=-1) / away[..., None]
    least = 1.0
    for person in range(len(movers)):
        is_hidden = np.zeros(away.shape[1:], np.bool_)
        for other in set(range(len(movers))) - {person}:
            between = np.linalg.norm(picture[person][:, :, None] - picture[other][:, None], axis=-1)
            is_over = between < (radii[other] / away[other])[:, None]
            is_hidden |= (is_over & (away[other][:, None] < away[person][:, :, None])).any(-1)
        least = min(least, float((~is_hidden).mean(1).max()))
    return least


def arrange(
    rng: np.random.Generator, movers: Sequence[Mover], layout: str, azimuth_deg: float
) -> tuple[Stand, ...]:
    """Stands of a layout in which nobody is in anybody or hidden: drawn, checked, drawn wider.

    Args:
        rng: Always used equally often per attempt.
        movers: The people.
        layout: One of LAYOUTS.
        azimuth_deg: Where the camera stands.
    """
    stands: tuple[Stand, ...] = ()
    for attempt in range(ATTEMPTS):
        stands = _rounded(LAYOUTS[layout](rng, len(movers), azimuth_deg, 1.0 + 0.15 * attempt))
        if clearance_m(movers, stands) < CLEARANCE_M:
            continue
        if seen_share(movers, stands, azimuth_deg) >= SEEN_SHARE:
            return stands
    return _spread(movers, stands, azimuth_deg)


def _spread(
    movers: Sequence[Mover], stands: Sequence[Stand], azimuth_deg: float
) -> tuple[Stand, ...]:
    """Side by side across the view, at last so far apart that no motion reaches another's."""
    reach = np.array([mover.extent_m for mover in movers])
    steps = np.concatenate([[0.0], reach[:-1] + reach[1:] + 2 * CLEARANCE_M])
    aside = np.cumsum(steps)
    spread = stands
    for share in (0.3, 0.45, 0.6, 0.8, 1.0):
        places = share * (aside - aside.mean())[:, None] * _direction(azimuth_deg + 90.0)
        spread = _rounded([_stand(p, s.heading_deg) for p, s in zip(places, stands, strict=True)])
        if clearance_m(movers, spread) >= CLEARANCE_M:
            break
    return spread


def _rounded(stands: Sequence[Stand]) -> tuple[Stand, ...]:
    return tuple(
        Stand(
            place_m=(round_(s.place_m[0]), round_(s.place_m[1])), heading_deg=round_(s.heading_deg)
        )
        for s in stands
    )


def _direction(azimuth_deg: float) -> np.ndarray:
    return np.array([np.sin(np.radians(azimuth_deg)), np.cos(np.radians(azimuth_deg))])


def _stand(place: np.ndarray, heading_deg: float) -> Stand:
    return Stand(place_m=(float(place[0]), float(place[1])), heading_deg=float(heading_deg))


def _row(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """Next to each other across the view, facing the camera more often."""
    aside, view = _direction(azimuth_deg + 90.0), _direction(azimuth_deg)
    gap = wide * rng.uniform(0.65, 1.1)
    stands = []
    for k in range(count):
        place = (k - (count - 1) / 2) * gap * aside + rng.uniform(-0.4, 0.4) * view
        stands.append(_stand(place, azimuth_deg + rng.normal(0.0, 45.0)))
    return stands


def _circle(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """Facing each other."""
    radius = wide * rng.uniform(0.4, 0.6) * max(1.0, count / 2.6)
    first = azimuth_deg + rng.uniform(0.0, 360.0)
    stands = []
    for k in range(count):
        angle = first + 360.0 * k / count + rng.normal(0.0, 6.0)
        stands.append(_stand(radius * _direction(angle), angle + 180.0 + rng.normal(0.0, 10.0)))
    return stands


def _depth(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """One behind the other as the camera sees it, each partly hidden."""
    aside, view = _direction(azimuth_deg + 90.0), _direction(azimuth_deg)
    stands = []
    for k in range(count):
        away = (k - (count - 1) / 2) * wide * rng.uniform(0.65, 0.95)
        shift = rng.uniform(0.1, 0.45) * (1.0 if k % 2 else -1.0)
        stands.append(_stand(away * view + shift * aside, azimuth_deg + rng.normal(0.0, 60.0)))
    return stands


def _abreast(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """Going the same way side by side."""
    heading = azimuth_deg + rng.uniform(-180.0, 180.0)
    aside, ahead = _direction(heading + 90.0), _direction(heading)
    gap = wide * rng.uniform(0.6, 0.85)
    return [
        _stand((k - (count - 1) / 2) * gap * aside + rng.uniform(-0.15, 0.15) * ahead, heading)
        for k in range(count)
    ]


def _file(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """Going the same way behind each other."""
    heading = azimuth_deg + rng.uniform(-180.0, 180.0)
    aside, ahead = _direction(heading + 90.0), _direction(heading)
    gap = wide * rng.uniform(0.9, 1.4)
    return [
        _stand((k - (count - 1) / 2) * gap * ahead + rng.uniform(-0.2, 0.2) * aside, heading)
        for k in range(count)
    ]


def _crossing(rng: np.random.Generator, count: int, azimuth_deg: float, wide: float) -> list[Stand]:
    """Passing across the view in both directions, one in front of the other."""
    view = _direction(azimuth_deg)
    gap = wide * rng.uniform(0.6, 0.9)
    return [
        _stand(
            (k - (count - 1) / 2) * gap * view,
            azimuth_deg + (90.0 if k % 2 else -90.0) + rng.normal(0.0, 8.0),
        )
        for k in range(count)
    ]


Layout = Callable[[np.random.Generator, int, float, float], list[Stand]]
ANYBODY = ("row", "circle", "depth")
TRAVELLERS = ("abreast", "file", "crossing")
"""Layouts for people who go somewhere."""
LAYOUTS: dict[str, Layout] = {
    "row": _row,
    "circle": _circle,
    "depth": _depth,
    "abreast": _abreast,
    "file": _file,
    "crossing": _crossing,
}
