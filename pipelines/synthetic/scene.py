"""The small record from which a synthetic clip follows, and how one is drawn from a seed.

World: metres, y up, floor at y = 0, people about the origin. Azimuths turn about the vertical
from +z towards +x: a person of heading 0 faces +z, a camera of azimuth 0 stands on +z and sees its
front.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np

from pipelines.synthetic.environment import GROUNDS, PANORAMA_SUFFIXES
from pipelines.synthetic.motion import MOTIONS

SPEC_VERSION = 1
CAMERA_KINDS = ("static", "orbit", "dolly", "pan")
MOCAP = "mocap"
MOTION_KINDS = (*MOTIONS, MOCAP)
Framing = Literal["fill", "free"]


@dataclass(frozen=True, kw_only=True)
class Asset:
    """A file that a scene reads; its content counts, not where it lies."""

    path: str
    sha256: str

    @staticmethod
    def of(path: Path) -> "Asset":
        """Describe a file."""
        return Asset(path=str(path), sha256=hashlib.sha256(path.read_bytes()).hexdigest())

    @property
    def file(self) -> Path:
        """Where it lies."""
        return Path(self.path)

    def verify(self) -> None:
        """Check that the file is there and unchanged.

        Raises:
            ValueError: If it is not.
        """
        if not self.file.is_file():
            raise ValueError(f"the scene needs {self.path}, which is not there")
        if Asset.of(self.file).sha256 != self.sha256:
            raise ValueError(
                f"{self.path} changed since the scene was drawn; sample the scene anew"
            )


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


@dataclass(frozen=True, kw_only=True)
class CameraSpec:
    """A camera program about the people; the distance follows from how they shall be framed."""

    kind: str
    """static; orbit: about the people by `arc_deg`; dolly: sideways by `travel_m`; pan: fixed
    place, follows the people by turning."""
    fov_deg: float
    """Vertical field of view."""
    azimuth_deg: float
    elevation_deg: float
    fill: float
    """Share of the frame height or width, whichever binds, that the people take over the clip."""
    arc_deg: float = 0.0
    travel_m: float = 0.0

    def __post_init__(self) -> None:
        """Validate."""
        if self.kind not in CAMERA_KINDS:
            raise ValueError(f"camera kind must be one of {CAMERA_KINDS}, got {self.kind!r}")
        if not 5.0 <= self.fov_deg <= 120.0:
            raise ValueError(f"fov_deg must lie in [5, 120], got {self.fov_deg}")
        if not 0.05 <= self.fill <= 1.0:
            raise ValueError(f"fill must lie in [0.05, 1], got {self.fill}")


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """The still world."""

    seed: int
    ground: str
    num_props: int
    free_radius_m: float
    sun_azimuth_deg: float
    panorama: Asset | None = None


@dataclass(frozen=True, kw_only=True)
class SceneSpec:
    """Everything a synthetic clip follows from."""

    seed: int
    people: tuple[PersonSpec, ...]
    camera: CameraSpec
    environment: EnvironmentSpec
    width: int
    height: int
    fps: float
    num_frames: int
    version: int = SPEC_VERSION

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("width", "height"):
            value = getattr(self, name)
            if value < 16 or value % 2:
                raise ValueError(f"{name} must be even and at least 16, got {value}")
        if self.num_frames < 1 or not self.fps > 0:
            raise ValueError(
                f"num_frames and fps must be positive, got {self.num_frames}, {self.fps}"
            )
        if self.version != SPEC_VERSION:
            raise ValueError(f"scene version must be {SPEC_VERSION}, got {self.version}")

    @property
    def clip_id(self) -> str:
        """32 hex digits of the content: files count by their content, not by their path."""
        return self.sha256[:32]

    @property
    def sha256(self) -> str:
        """Hash of the record without the paths of its files."""
        return hashlib.sha256(
            json.dumps(_without_paths(asdict(self)), sort_keys=True).encode()
        ).hexdigest()

    def to_json(self) -> bytes:
        """UTF-8 JSON with sorted names."""
        return json.dumps(asdict(self), sort_keys=True).encode()

    @staticmethod
    def from_json(data: bytes) -> "SceneSpec":
        """Read what `to_json` wrote.

        Raises:
            ValueError: for other content, naming it.
        """
        try:
            content = json.loads(data)
            people = tuple(
                PersonSpec(**{**p, "place_m": tuple(p["place_m"]), "file": _asset(p["file"])})
                for p in content.pop("people")
            )
            around = content.pop("environment")
            environment = EnvironmentSpec(**{**around, "panorama": _asset(around["panorama"])})
            camera = CameraSpec(**content.pop("camera"))
            return SceneSpec(people=people, camera=camera, environment=environment, **content)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a scene record: {error!r}") from error


def _asset(content: Mapping[str, str] | None) -> Asset | None:
    return None if content is None else Asset(**content)


def _without_paths(content: Any) -> Any:
    if isinstance(content, dict):
        items = cast(dict[str, Any], content).items()
        return {k: _without_paths(v) for k, v in items if k != "path"}
    return [_without_paths(v) for v in content] if isinstance(content, list | tuple) else content


@dataclass(frozen=True, kw_only=True)
class SceneSettings:
    """What scenes may be drawn from."""

    width: int = 128
    height: int = 128
    fps: float | int = 24.0
    num_frames: int = 17
    num_people: tuple[int, int] = (1, 1)
    """Fewest and most people."""
    camera_kinds: tuple[str, ...] = ("static", "orbit")
    framing: Framing = "free"
    """`fill`: the figures fill at least 80 % of the frame; `free`: anything from 45 to 95 %."""
    motion_kinds: tuple[str, ...] = tuple(MOTIONS)
    speed: tuple[float, float] = (0.85, 1.15)
    num_props: tuple[int, int] = (4, 9)
    grounds: tuple[str, ...] = GROUNDS
    characters: int = 100_000
    """Number of different people to draw from."""
    mocap_folder: Path | None = None
    """Folder of BVH files for motion `mocap`."""
    panorama_folder: Path | None = None
    """Folder of .hdr and .exr skies; None for made-up ones."""

    def __post_init__(self) -> None:
        """Validate."""
        if MOCAP in self.motion_kinds and self.mocap_folder is None:
            raise ValueError(f"motion kind {MOCAP!r} needs mocap_folder, a folder of .bvh files")
        if not 1 <= self.num_people[0] <= self.num_people[1] <= 8:
            raise ValueError(f"num_people must be 1 <= low <= high <= 8, got {self.num_people}")
        for name in ("camera_kinds", "motion_kinds", "grounds"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one kind")


def _files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in suffixes)
    if not files:
        raise ValueError(f"{folder} holds no {' or '.join(suffixes)} file")
    return files


def sample_scene(seed: int, settings: SceneSettings) -> SceneSpec:
    """Draw a scene; the same seed and settings give the same scene.

    Raises:
        ValueError: If a folder of the settings holds nothing usable.
    """
    rng = np.random.default_rng((seed, 0x15A4D))
    count = int(rng.integers(settings.num_people[0], settings.num_people[1] + 1))
    camera = _sample_camera(rng, settings)
    people = _sample_people(rng, settings, count, camera.azimuth_deg)
    duration_s = settings.num_frames / settings.fps
    panorama = None
    if settings.panorama_folder is not None:
        choices = _files(settings.panorama_folder, PANORAMA_SUFFIXES)
        panorama = Asset.of(choices[int(rng.integers(len(choices)))])
    environment = EnvironmentSpec(
        seed=int(rng.integers(2**31)),
        ground=str(rng.choice(settings.grounds)),
        num_props=int(rng.integers(settings.num_props[0], settings.num_props[1] + 1)),
        free_radius_m=_round(1.2 + 0.5 * count + min(0.8 * duration_s, 3.0)),
        sun_azimuth_deg=_round(camera.azimuth_deg + rng.uniform(-100.0, 100.0)),
        panorama=panorama,
    )
    return SceneSpec(
        seed=seed,
        people=people,
        camera=camera,
        environment=environment,
        width=settings.width,
        height=settings.height,
        fps=float(settings.fps),
        num_frames=settings.num_frames,
    )


def _round(value: float) -> float:
    return round(float(value), 4)


def _sample_camera(rng: np.random.Generator, settings: SceneSettings) -> CameraSpec:
    kind = str(rng.choice(settings.camera_kinds))
    fill = 0.97 if settings.framing == "fill" else _round(rng.uniform(0.45, 0.95))
    arc = rng.uniform(25.0, 90.0) * rng.choice([-1.0, 1.0]) if kind == "orbit" else 0.0
    travel = rng.uniform(0.4, 1.4) * rng.choice([-1.0, 1.0]) if kind == "dolly" else 0.0
    return CameraSpec(
        kind=kind,
        fov_deg=_round(rng.uniform(30.0, 55.0)),
        azimuth_deg=_round(rng.uniform(-180.0, 180.0)),
        elevation_deg=_round(rng.uniform(-2.0, 22.0)),
        fill=fill,
        arc_deg=_round(arc),
        travel_m=_round(travel),
    )


def _sample_people(
    rng: np.random.Generator, settings: SceneSettings, count: int, azimuth_deg: float
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
        motion = str(rng.choice(settings.motion_kinds))
        towards = azimuth_deg + rng.normal(0.0, 45.0)
        heading = shared + rng.normal(0.0, 12.0) if motion == "walk" and count > 1 else towards
        if count == 1 and rng.random() < 0.3:
            heading = rng.uniform(-180.0, 180.0)
        file = None
        if motion == MOCAP and settings.mocap_folder is not None:
            choices = _files(settings.mocap_folder, (".bvh",))
            file = Asset.of(choices[int(rng.integers(len(choices)))])
        people.append(
            PersonSpec(
                character=int(rng.integers(settings.characters)),
                motion=motion,
                motion_seed=int(rng.integers(2**31)),
                start_s=_round(rng.uniform(0.0, 4.0)),
                speed=_round(rng.uniform(*settings.speed)),
                place_m=(_round(place[0]), _round(place[1])),
                heading_deg=_round(heading),
                file=file,
            )
        )
    return tuple(people)
