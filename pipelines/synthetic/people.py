"""Who is in a scene, doing what, where.

World frame: metres, y up, floor at y = 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel
from pipelines.synthetic.asset import UNKNOWN, Asset, list_files, round_
from pipelines.synthetic.crowd import ANYBODY, TRAVELLERS, Mover, arrange, make_mover
from pipelines.synthetic.figure import BodyMotion, mirror
from pipelines.synthetic.gait import Skeleton, yaw_rotation
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.outfit import draw_outfit
from pipelines.synthetic.retarget import READERS, read_motion, retarget
from pipelines.synthetic.scanned import SMPL_LICENCE, ScanSpec, body_of, draw_scan, scan_betas

MOCAP = "mocap"
MOTION_KINDS = (*MOTIONS, MOCAP)
TRAVELLING = ("walk", "run")
CHECK_S = 0.1
"""Bodies are checked for overlap at moments so far apart."""


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
    is_mirrored: bool = False
    """Left and right are exchanged."""
    file: Asset | None = None
    """The .bvh, .amc (with its .asf beside it) or AMASS .npz file of a `mocap` motion."""
    scan: ScanSpec | None = None
    """The user's own body and skin; None for a made-up person."""

    def __post_init__(self) -> None:
        """Validate."""
        if self.motion not in MOTION_KINDS:
            raise ValueError(f"motion must be one of {MOTION_KINDS}, got {self.motion!r}")
        if (self.motion == MOCAP) != (self.file is not None):
            raise ValueError(f"a file belongs to motion {MOCAP!r} only, got {self.motion!r}")
        if not self.speed > 0:
            raise ValueError(f"speed must be positive, got {self.speed}")

    @property
    def assets(self) -> tuple[Asset, ...]:
        """Files that the person is made from."""
        motion = () if self.file is None else (self.file,)
        return motion if self.scan is None else (*motion, *self.scan.files)


@dataclass(frozen=True, kw_only=True)
class Cast:
    """Who may appear."""

    characters: int = 100_000
    """Number of different people."""
    body_file: Path | None = None
    """SMPL .npz or .pkl in place of the free body; together with `skin_folder`."""
    skin_folder: Path | None = None
    """One .obj with the UV layout and pictures of people in it."""
    body_licence: str = SMPL_LICENCE
    skin_licence: str = UNKNOWN

    def __post_init__(self) -> None:
        """Validate."""
        if (self.body_file is None) != (self.skin_folder is None):
            raise ValueError("body_file and skin_folder belong together, got one without the other")

    def scan(self, character: int) -> ScanSpec | None:
        """The user's body and skin of a character."""
        if self.body_file is None or self.skin_folder is None:
            return None
        licences = self.body_licence, self.skin_licence
        return draw_scan(character, self.body_file, self.skin_folder, *licences)


def shipped_body() -> BodyModel:
    """The free body, read once per process."""
    return body_of(None)


def character_betas(character: int) -> Float[np.ndarray, "10"]:
    """Body shape of a made-up character, without making it (`characters.make_character`)."""
    return draw_outfit(np.random.default_rng((character, 0x15A4D))).betas.astype(np.float32)


def person_betas(person: PersonSpec) -> Float[np.ndarray, "10"]:
    """Body shape of a person."""
    return (character_betas if person.scan is None else scan_betas)(person.character)


def make_motion(spec: PersonSpec, fps: float, num_frames: int, skeleton: Skeleton) -> BodyMotion:
    """The person's motion over the clip, at the world origin or where the recording has it.

    Raises:
        ValueError: If its file is malformed or holds no such body.
    """
    return _motion_at(spec, np.arange(num_frames) / fps, skeleton)


def _motion_at(spec: PersonSpec, clip_s: np.ndarray, skeleton: Skeleton) -> BodyMotion:
    times_s = spec.start_s + spec.speed * clip_s
    if spec.file is None:
        motion = MOTIONS[spec.motion](spec.motion_seed, times_s, skeleton)
    else:
        recording = read_motion(spec.file.file)
        # a recording shorter than the clip is played forth and back
        length_s = max((recording.num_frames - 1) / recording.fps, 1e-6)
        folded_s = length_s - np.abs(times_s % (2 * length_s) - length_s)
        motion = retarget(recording, folded_s, skeleton)
    return mirror(motion, skeleton) if spec.is_mirrored else motion


def place_motion(
    motion: BodyMotion, skeleton: Skeleton, heading_deg: float, place_m: tuple[float, float]
) -> BodyMotion:
    """Turn a motion about its middle pelvis and move that to `place_m` (x, z); heights stay."""
    root = skeleton.joints[0]
    pelvis = motion.transl + root
    middle = pelvis[len(pelvis) // 2] * np.array([1.0, 0.0, 1.0])
    turn = yaw_rotation(np.array(np.radians(heading_deg)))
    moved = turn.apply(pelvis - middle) + np.array([place_m[0], 0.0, place_m[1]])
    orient = turn * Rotation.from_rotvec(motion.global_orient)
    return BodyMotion(
        global_orient=orient.as_rotvec().astype(np.float32),
        body_pose=motion.body_pose,
        transl=(moved - root).astype(np.float32),
    )


def sample_people(
    rng: np.random.Generator,
    *,
    count: int,
    azimuth_deg: float,
    motion_kinds: Sequence[str],
    speed: tuple[float, float],
    cast: Cast,
    mocap_folder: Path | None,
    clip_s: Float[np.ndarray, "frames"] | None = None,
) -> tuple[PersonSpec, ...]:
    """People who do something near each other, without ever being in each other.

    Alone they face the camera more often. Together they stand in a row, in a circle, behind each
    other, or go side by side, in a file, or across each other's way.

    Args:
        rng: Is used up by it.
        count: People.
        azimuth_deg: Where the camera stands.
        motion_kinds: Of MOTION_KINDS.
        speed: Slowest and fastest playing speed.
        cast: Who may appear.
        mocap_folder: Where motion files lie, for motion `mocap`.
        clip_s: Times of the clip's frames from 0 on, over which nobody gets into anybody; None for
            a single frame.

    Raises:
        ValueError: If a motion file is malformed, or the folder holds none.
    """
    walks = [kind for kind in motion_kinds if kind in TRAVELLING]
    layout = str(rng.choice((*ANYBODY, *(TRAVELLERS if walks else ()))))
    if count > 1 and layout in TRAVELLERS:
        motion_kinds = [str(rng.choice(walks))]
    together, pace = int(rng.integers(2**31)), rng.uniform(*speed)
    people = []
    for _ in range(count):
        person = _draw_person(rng, motion_kinds, speed, cast, mocap_folder)
        if count > 1 and layout in ("abreast", "file"):  # at one pace, each in its own step
            person = replace(person, motion_seed=together, speed=round_(pace), is_mirrored=False)
        people.append(person)
    if count == 1:
        facing = azimuth_deg + rng.normal(0.0, 45.0)
        heading = facing if rng.random() < 0.7 else rng.uniform(-180.0, 180.0)
        return (replace(people[0], heading_deg=round_(heading)),)
    times = np.zeros(1) if clip_s is None else clip_s
    movers = [make_person_mover(person, times) for person in people]
    stands = arrange(rng, movers, layout, azimuth_deg)
    return tuple(
        replace(person, place_m=stand.place_m, heading_deg=stand.heading_deg)
        for person, stand in zip(people, stands, strict=True)
    )


def make_person_mover(person: PersonSpec, clip_s: Float[np.ndarray, "frames"]) -> Mover:
    """A person's body at moments CHECK_S apart over a clip, without making its character."""
    body, betas = body_of(person.scan), person_betas(person)
    last, middle = len(clip_s) - 1, len(clip_s) // 2
    checks = int(np.ceil((clip_s[-1] - clip_s[0]) / CHECK_S)) + 1
    frames = np.union1d(np.linspace(0, last, checks).astype(int), [middle])
    motion = _motion_at(person, clip_s[frames], Skeleton.of(body, betas))
    return make_mover(body, betas, motion, int(np.searchsorted(frames, middle)))


def _draw_person(
    rng: np.random.Generator,
    motion_kinds: Sequence[str],
    speed: tuple[float, float],
    cast: Cast,
    mocap_folder: Path | None,
) -> PersonSpec:
    motion, file, latest_s = str(rng.choice(list(motion_kinds))), None, 4.0
    if motion == MOCAP and mocap_folder is not None:
        choices = list_files(mocap_folder, tuple(READERS))
        file = Asset.of(choices[int(rng.integers(len(choices)))])
        recording = read_motion(file.file)
        latest_s = recording.num_frames / recording.fps
    character = int(rng.integers(cast.characters))
    return PersonSpec(
        character=character,
        scan=cast.scan(character),
        motion=motion,
        motion_seed=int(rng.integers(2**31)),
        start_s=round_(rng.uniform(0.0, latest_s)),
        speed=round_(rng.uniform(*speed)),
        place_m=(0.0, 0.0),
        heading_deg=0.0,
        is_mirrored=bool(rng.random() < 0.5),
        file=file,
    )
