"""Named camera programs, and how they are drawn from a seed.

Left and right, up and down are the camera's own; units of the amounts stand in `MOVES`.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from pipelines.synthetic.asset import round_
from pipelines.synthetic.camera_path import CameraSpec, Follow, Move

CAMERA_WEIGHTS = {
    "static": 2.0,
    "pan": 1.0,
    "tilt": 0.7,
    "zoom": 0.8,
    "dolly": 1.2,
    "truck": 1.2,
    "orbit": 2.0,
    "crane": 0.8,
    "follow": 1.5,
    "hand_held": 1.5,
    "dolly_zoom": 0.5,
    "blend": 2.0,
}
"""How often each kind is drawn, relative to the others that are asked for."""
CAMERA_KINDS = tuple(CAMERA_WEIGHTS)
LENSES_DEG = ((6.0, 30.0, 55.0), (2.0, 55.0, 72.0), (2.0, 16.0, 30.0))
"""Weight, narrowest and widest vertical field of view: normal, wide and tele lenses."""
AMOUNTS = {
    "pan": (0.18, 0.6, 0.35),
    "tilt": (0.18, 0.45, 0.3),
    "zoom": (0.35, 1.1, 0.6),
    "dolly": (0.35, 1.0, 0.6),
    "truck": (0.45, 1.8, 0.9),
    "orbit": (15.0, 110.0, 50.0),
    "crane": (0.16, 0.6, 0.3),
}
"""Least and most amount of each move, and the most per second where that is more than the least;
pan and tilt as shares of the field of view that people may fill, crane as a share of the distance
at which a standing person does so."""
HIGHEST_CRANE_M = 4.0
HELD = {"static": 4.0, "follow": 4.0, "pan": 1.0, "dolly": 1.0, "truck": 1.0, "orbit": 1.0}
"""What a hand-held camera does besides trembling."""
BLENDED = (("orbit", "truck", "pan"), ("crane", "tilt"), ("dolly", "zoom"))
"""A blend takes at most one move of each group: those of one group would hide each other."""


def sample_camera(
    rng: np.random.Generator,
    kinds: Sequence[str],
    *,
    fills: bool,
    duration_s: float,
    aspect: float,
) -> CameraSpec:
    """Draw a program.

    Args:
        rng: Draws.
        kinds: Some of CAMERA_KINDS; drawn by their weights.
        fills: Whether people fill the frame, or take anything from 45 to 95 % of it.
        duration_s: Length of the clip, which bounds how far a camera can go.
        aspect: Width of the picture by its height.

    Raises:
        ValueError: For a kind that is none.
    """
    for kind in kinds:
        if kind not in CAMERA_KINDS:
            raise ValueError(f"camera kind must be one of {CAMERA_KINDS}, got {kind!r}")
    kind = _draw(rng, {kind: CAMERA_WEIGHTS[kind] for kind in kinds})
    _, narrow, wide = LENSES_DEG[rng.choice(3, p=_shares([lens[0] for lens in LENSES_DEG]))]
    spec = CameraSpec(
        fov_deg=round_(rng.uniform(narrow, wide)),
        azimuth_deg=round_(rng.uniform(-180.0, 180.0)),
        elevation_deg=round_(rng.uniform(-2.0, 22.0)),
        fill=0.97 if fills else round_(rng.uniform(0.45, 0.95)),
        eases=bool(rng.random() < 0.5),
    )
    return _Draw(rng, spec, duration_s, aspect).program(kind)


def named_camera(
    kind: str, *, fov_deg: float, azimuth_deg: float, elevation_deg: float, fill: float
) -> CameraSpec:
    """A typical program of one of CAMERA_KINDS, for somebody who directs by a word.

    Raises:
        ValueError: For a kind that is none.
    """
    if kind not in CAMERA_KINDS:
        raise ValueError(f"camera kind must be one of {CAMERA_KINDS}, got {kind!r}")
    spec = CameraSpec(
        fov_deg=fov_deg, azimuth_deg=azimuth_deg, elevation_deg=elevation_deg, fill=fill
    )
    typical = {
        "pan": 0.3 * fov_deg * fill, "tilt": 0.2 * fov_deg * fill, "zoom": 0.7, "dolly": 0.7,
        "truck": 1.0, "orbit": 40.0, "crane": 1.0,
    }  # fmt: skip
    if kind in typical:
        return replace(spec, moves=(Move(kind=kind, amount=typical[kind]),))
    if kind == "dolly_zoom":
        return replace(spec, moves=_dolly_zoom(0.8))
    if kind == "blend":
        first = Move(kind="orbit", amount=40.0, end=0.6)
        return replace(spec, moves=(first, Move(kind="dolly", amount=0.5, start=0.5)))
    follow: Follow = "travel" if kind == "follow" else "none"
    return replace(spec, follow=follow, shake_deg=0.6 if kind == "hand_held" else 0.0)


def _dolly_zoom(octaves: float) -> tuple[Move, Move]:
    return Move(kind="dolly", amount=octaves), Move(kind="zoom", amount=-octaves)


def _shares(weights: Sequence[float]) -> list[float]:
    return [weight / sum(weights) for weight in weights]


def _draw(rng: np.random.Generator, weights: dict[str, float]) -> str:
    return str(rng.choice(list(weights), p=_shares(list(weights.values()))))


class _Draw:
    """Draws the moves of a program."""

    def __init__(
        self, rng: np.random.Generator, spec: CameraSpec, duration_s: float, aspect: float
    ) -> None:
        self.rng, self.spec, self.duration_s, self.aspect = rng, spec, duration_s, aspect

    def program(self, kind: str) -> CameraSpec:
        """The drawn program of a kind."""
        rng, spec = self.rng, self.spec
        if kind == "static":
            return spec
        if kind == "hand_held":
            return self._shaken(self.program(_draw(rng, HELD)))
        if kind == "follow":
            return replace(spec, follow="travel" if rng.random() < 0.6 else "turn")
        if kind == "dolly_zoom":
            return replace(spec, moves=_dolly_zoom(self._amount("dolly")))
        if kind == "blend":
            return self._blend()
        return replace(spec, moves=(Move(kind=kind, amount=self._amount(kind)),))

    def _blend(self) -> CameraSpec:
        rng = self.rng
        groups = rng.permutation(len(BLENDED))[: 2 if rng.random() < 0.7 else 3]
        kinds = [str(rng.choice(BLENDED[group])) for group in groups]
        cut = round_(rng.uniform(0.4, 0.6))
        in_turn = rng.random() < 0.5
        moves = []
        for place, kind in enumerate(kinds):
            span = {} if not in_turn else ({"end": cut} if place == 0 else {"start": cut})
            moves.append(Move(kind=kind, amount=self._amount(kind), **span))
        follow: Follow = "travel" if rng.random() < 0.25 else "none"
        eases = in_turn or self.spec.eases
        spec = replace(self.spec, moves=tuple(moves), follow=follow, eases=eases)
        return self._shaken(spec) if rng.random() < 0.2 else spec

    def _shaken(self, spec: CameraSpec) -> CameraSpec:
        # a shake looks as strong through a tele lens as through a wide one
        rms_deg = self.rng.uniform(0.25, 0.8) * spec.fov_deg / 40.0
        return replace(spec, shake_deg=round_(rms_deg), shake_seed=int(self.rng.integers(2**31)))

    def _amount(self, kind: str) -> float:
        least, most, per_s = AMOUNTS[kind]
        amount = self.rng.uniform(least, max(least, min(most, per_s * self.duration_s)))
        if kind in ("pan", "tilt"):
            half_height = np.tan(np.radians(self.spec.fov_deg / 2))
            half = half_height * (self.aspect if kind == "pan" else 1.0)
            amount *= 2.0 * np.degrees(np.arctan(half * self.spec.fill))
        if kind == "crane":
            half = np.tan(np.radians(self.spec.fov_deg / 2)) * self.spec.fill
            amount = min(amount * 0.9 / half, HIGHEST_CRANE_M)
        return round_(amount * self.rng.choice([-1.0, 1.0]))
