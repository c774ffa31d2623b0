"""What a camera does, in words, read from its path: true or estimated alike.

World: metres (or any unit), y up. Left, right, up and down are the camera's own. An orbit is what
the place and the heading of the camera have in common as seen from what it looks at; what place
does beyond that is a sideways move, what heading does beyond that is a pan.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from storage_schemas.camera import CameraTrack

WORDS = {
    "pan": ("pans right", "panning right", "pans left", "panning left"),
    "tilt": ("tilts up", "tilting up", "tilts down", "tilting down"),
    "zoom": ("zooms in", "zooming in", "zooms out", "zooming out"),
    "dolly": ("pushes in", "pushing in", "pulls back", "pulling back"),
    "truck": ("moves right", "moving right", "moves left", "moving left"),
    "orbit": ("orbits right", "orbiting right", "orbits left", "orbiting left"),
    "crane": ("rises", "rising", "sinks", "sinking"),
    "dolly_zoom": (
        "pushes in while zooming out (dolly zoom)", "pushing in while zooming out (dolly zoom)",
        "pulls back while zooming in (dolly zoom)", "pulling back while zooming in (dolly zoom)",
    ),
}  # fmt: skip
"""Verb and participle of a positive and of a negative amount."""
NOTABLE = {"zoom": 0.15, "dolly": 0.15, "orbit": 6.0, "crane": 3.0}
"""Octaves and degrees from which a move is worth a word; see NOTABLE_SHARE for the others."""
NOTABLE_SHARE = 0.07
"""Of the field of view: from here on a pan, a tilt or a sideways move is worth a word."""
SLOW_PER_S, QUICK_PER_S = 1.5, 10.0
"""Notable amounts per second."""
LEAST_FRAMES = 12
"""Fewer frames cannot tell a move from a tremble, nor one move after another."""
TREMBLE_DEG = 0.025
"""Root mean square of the turning that is left when a smooth path is taken away."""
FAR, LEAST_FAR = 4.0, 1.0
"""Where nothing says what the camera looks at, it is this many lengths of the path away, and at
least this far in units of the world (metres, or of the size of what was reconstructed)."""


def describe_camera(
    camera: CameraTrack,
    fps: float,
    people_world: Float[np.ndarray, "people frames 3"] | None = None,
) -> str:
    """A few words, for example `the camera orbits left, slowly rising`.

    Args:
        camera: The path.
        fps: Frame rate.
        people_world: Where people are in the camera's world, if known: what the camera moves about
            and may follow.
    """
    if camera.kind == "static":
        return "static camera"
    if camera.kind == "unknown":
        return "unknown camera motion"
    path = _Path.of(camera)
    trembles = False
    if len(path.centre) >= LEAST_FRAMES:
        path, trembles = path.smoothed()
    people = None if people_world is None or len(people_world) == 0 else people_world
    phases = _phases(path, people, len(path.centre) / fps, 1.5 if trembles else 1.0)
    if not phases:
        return "hand-held camera" if trembles else "the camera hardly moves"
    words = ", then ".join(_sentence(phase) for phase in phases)
    return f"the {'hand-held ' if trembles else ''}camera {words}"


@dataclass(frozen=True, kw_only=True)
class _Path:
    """The camera frame by frame; angles in radians and unwrapped."""

    centre: np.ndarray
    heading: np.ndarray
    """From +z towards +x."""
    pitch: np.ndarray
    """Upwards."""
    roll: np.ndarray
    octaves: np.ndarray
    """Of focal length, against the first frame."""
    fov: np.ndarray
    """Horizontal and vertical, in the first frame; the principal point is the middle."""

    @staticmethod
    def of(camera: CameraTrack) -> "_Path":
        T, K = camera.T_camera_world, camera.K
        x, z = T[:, 0, :3], T[:, 2, :3]
        return _Path(
            centre=-np.einsum("tji,tj->ti", T[:, :3, :3], T[:, :3, 3]),
            heading=np.unwrap(np.arctan2(z[:, 0], z[:, 2])),
            pitch=np.arcsin(np.clip(z[:, 1], -1.0, 1.0)),
            roll=np.arcsin(np.clip(x[:, 1], -1.0, 1.0)),
            octaves=np.log2(K[:, 0, 0] / K[0, 0, 0]),
            fov=2.0 * np.arctan(K[0, (0, 1), 2] / K[0, (0, 1), (0, 1)]),
        )

    def smoothed(self) -> tuple["_Path", bool]:
        """The path as a cubic spline of six pieces, and whether the rest is a tremble."""
        angles = np.stack([self.heading, self.pitch, self.roll], axis=1)
        smooth = _spline_fit(np.concatenate([self.centre, angles], axis=1))
        rest_deg = np.degrees(np.sqrt(np.mean((angles - smooth[:, 3:]) ** 2, axis=0)))
        # a hand trembles about every axis, a machine leaves a rest about those that it turns
        least_deg = np.maximum(TREMBLE_DEG, 0.01 * np.degrees(np.ptp(smooth[:, 3:], axis=0)))
        path = _Path(
            centre=smooth[:, :3], heading=smooth[:, 3], pitch=smooth[:, 4], roll=smooth[:, 5],
            octaves=self.octaves, fov=self.fov,
        )  # fmt: skip
        return path, bool(np.median(rest_deg / least_deg) > 1.0)


def _spline_fit(values: np.ndarray) -> np.ndarray:
    time = np.linspace(0.0, 1.0, len(values))[:, None]
    powers = time ** np.arange(4)
    bends = np.maximum(time - np.array([0.2, 0.35, 0.5, 0.65, 0.8]), 0.0) ** 3
    basis = np.concatenate([powers, bends], axis=1)
    return basis @ np.linalg.lstsq(basis, values, rcond=None)[0]


@dataclass(frozen=True, kw_only=True)
class _Act:
    """Something worth a word."""

    size: float
    """In notable amounts."""
    verb: str
    participle: str


def _sentence(acts: Sequence[_Act]) -> str:
    """The largest as a verb, the others as participles."""
    first, *others = sorted(acts, key=lambda act: -act.size)
    return ", ".join([first.verb, *(act.participle for act in others)])


def _phases(
    path: _Path, people: np.ndarray | None, duration_s: float, least: float
) -> list[list[_Act]]:
    """What happens all the time or first, and what happens then; nothing below `least`."""
    middle = None if people is None else people.mean(0)
    anchor = _anchor(path, middle)
    follow = "" if middle is None else _follow(path, middle)
    if middle is not None and follow == "travel":
        anchor = np.where([True, False, True], middle, anchor)
    amounts = dict(_amounts(path, anchor))
    always: list[_Act] = []
    if follow:
        person = "the person" if people is not None and len(people) == 1 else "the people"
        turn = float(amounts["pan"].sum())
        if follow == "turn":
            del amounts["pan"], amounts["tilt"]
        always.append(_following(follow, turn, person))
    _join_dolly_zoom(amounts, knows_size=middle is not None)
    largest = max((float(np.abs(a).max()) for a in amounts.values()), default=0.0)
    # a wide orbit is never exactly about the people's middle: what remains is no move of its own
    rest = {"pan": 0.25, "truck": 0.25} if float(np.abs(amounts["orbit"]).max()) == largest else {}
    first: list[_Act] = []
    then: list[_Act] = []
    for kind, (one, two) in amounts.items():
        whole = one + two
        if max(abs(one), abs(two), abs(whole)) < max(least, rest.get(kind, 0.12) * largest):
            continue
        turns_back = one * two < 0 and min(abs(one), abs(two)) >= least
        if turns_back or abs(two) < 0.2 * abs(one):
            first.append(_act(kind, one, duration_s / 2))
        if turns_back or abs(one) < 0.2 * abs(two):
            then.append(_act(kind, two, duration_s / 2))
        elif abs(two) >= 0.2 * abs(one):
            always.append(_act(kind, whole, duration_s))
    if first and then:
        return [always + first, then]
    acts = always + first + then
    return [acts] if acts else []


def _act(kind: str, amount: float, duration_s: float) -> _Act:
    verb, participle = WORDS[kind][:2] if amount > 0 else WORDS[kind][2:]
    rate = abs(amount) / duration_s
    adverb = "slowly " if rate < SLOW_PER_S else "quickly " if rate > QUICK_PER_S else ""
    return _Act(size=abs(amount), verb=adverb + verb, participle=adverb + participle)


def _following(follow: str, turn: float, person: str) -> _Act:
    if follow == "travel":
        verb, participle = f"follows {person}", f"following {person}"
    elif abs(turn) < 1.0:
        verb, participle = f"turns to follow {person}", f"turning to follow {person}"
    else:
        side = "right" if turn > 0 else "left"
        verb = f"pans {side} to follow {person}"
        participle = f"panning {side} to follow {person}"
    return _Act(size=np.inf, verb=verb, participle=participle)


def _join_dolly_zoom(amounts: dict[str, np.ndarray], knows_size: bool) -> None:
    """Coming nearer while the picture widens (or the reverse), so that people keep their size."""
    dolly, zoom = float(amounts["dolly"].sum()), float(amounts["zoom"].sum())
    strength = min(abs(dolly), abs(zoom)) if dolly * zoom < 0 else 0.0
    if strength >= 1.0 and (not knows_size or abs(dolly + zoom) < 0.5 * strength):
        amounts["dolly_zoom"] = amounts.pop("dolly")
        del amounts["zoom"]


def _anchor(path: _Path, middle: np.ndarray | None) -> np.ndarray:
    """What the camera looks at, [frame, 3], resting in the world."""
    if middle is not None:
        return np.repeat(middle.mean(0)[None], len(path.centre), axis=0)
    forward = _forward(path)
    across = np.eye(3) - forward[:, :, None] * forward[:, None, :]
    spread = np.linalg.eigvalsh(across.mean(0))[0]
    met = np.linalg.lstsq(across.sum(0), np.einsum("tij,tj->i", across, path.centre), rcond=None)[0]
    ahead = ((met - path.centre) * forward).sum(1)
    way = float(np.linalg.norm(np.ptp(path.centre, axis=0)))
    if spread < np.sin(np.radians(1.5)) ** 2 or ahead.min() <= 0.3 * way:
        met = path.centre.mean(0) + forward.mean(0) * max(FAR * way, LEAST_FAR)
    return np.repeat(met[None], len(path.centre), axis=0)


def _forward(path: _Path) -> np.ndarray:
    level = np.cos(path.pitch)
    return np.stack(
        [level * np.sin(path.heading), np.sin(path.pitch), level * np.cos(path.heading)], axis=1
    )


def _seen_from(path: _Path, anchor: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Azimuth of the camera about the anchor, unwrapped, and level distance."""
    away = path.centre - anchor
    return np.unwrap(np.arctan2(away[:, 0], away[:, 2])), np.hypot(away[:, 0], away[:, 2])


def _follow(path: _Path, middle: np.ndarray) -> str:
    """`travel`, `turn` or nothing: whether the picture explains itself better with people's way."""
    if len(middle) >= LEAST_FRAMES:
        middle = _spline_fit(middle)
    level = [0, 2]
    way_m = np.linalg.norm(np.ptp(middle[:, level], axis=0))
    still = np.repeat(middle.mean(0)[None], len(middle), axis=0)
    azimuth, distance = _seen_from(path, middle)
    still_azimuth, still_distance = _seen_from(path, still)
    if way_m < 0.06 * distance.mean():
        return ""
    aim, still_aim = np.std(path.heading - azimuth), np.std(path.heading - still_azimuth)
    if np.linalg.norm(np.ptp(path.centre[:, level], axis=0)) < 0.25 * way_m:
        turns = np.ptp(path.heading) > 0.5 * NOTABLE_SHARE * path.fov[0]
        return "turn" if turns and aim < 0.5 * np.std(path.heading) else ""
    size, still_size = np.std(np.log(distance)), np.std(np.log(still_distance))
    return "travel" if aim + size < 0.5 * (still_aim + still_size) else ""


def _common(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """What two signed amounts share."""
    return np.where(one * two > 0, np.sign(one) * np.minimum(np.abs(one), np.abs(two)), 0.0)


def _amounts(path: _Path, anchor: np.ndarray) -> Mapping[str, np.ndarray]:
    """Notable amounts of every kind of move in the first and second half of the clip."""
    frames = len(path.centre)
    ends = [0, (frames - 1) // 2, frames - 1]

    def change(values: np.ndarray) -> np.ndarray:
        return np.diff(values[ends])

    azimuth, level_m = _seen_from(path, anchor)
    # people are known by their hips, so what the camera aims at tells how high it looks
    aim_m = path.centre[ends[1], 1] + level_m[ends[1]] * np.tan(path.pitch[ends[1]])
    height_m = path.centre[:, 1] - aim_m - (anchor[:, 1] - anchor[ends[1], 1])
    distance_m = np.hypot(level_m, height_m)
    elevation = np.arctan2(height_m, level_m)
    lifted = change(height_m) / distance_m.mean()
    around, heading, pitch = change(azimuth), change(path.heading), change(path.pitch)
    orbit = _common(around, heading)
    wide, high = NOTABLE_SHARE * path.fov
    return {
        "pan": -(heading - orbit) / wide,
        "tilt": (pitch + _common(change(elevation), -pitch)) / high,
        "zoom": change(path.octaves) / NOTABLE["zoom"],
        "dolly": -change(np.log2(distance_m)) / NOTABLE["dolly"],
        "truck": (around - orbit) / wide,
        "orbit": np.degrees(orbit) / NOTABLE["orbit"],
        "crane": np.degrees(_common(lifted, change(elevation))) / NOTABLE["crane"],
    }
