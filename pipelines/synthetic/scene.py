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

from pipelines.synthetic.asset import Asset
from pipelines.synthetic.camera_path import CameraSpec, sample_camera
from pipelines.synthetic.environment import GROUNDS, EnvironmentSpec, sample_environment
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.people import MOCAP, PersonSpec, sample_people

SPEC_VERSION = 1
Framing = Literal["fill", "free"]


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


def sample_scene(seed: int, settings: SceneSettings) -> SceneSpec:
    """Draw a scene; the same seed and settings give the same scene.

    Raises:
        ValueError: If a folder of the settings holds nothing usable.
    """
    rng = np.random.default_rng((seed, 0x15A4D))
    count = int(rng.integers(settings.num_people[0], settings.num_people[1] + 1))
    camera = sample_camera(rng, settings.camera_kinds, settings.framing == "fill")
    people = sample_people(
        rng,
        count=count,
        azimuth_deg=camera.azimuth_deg,
        motion_kinds=settings.motion_kinds,
        speed=settings.speed,
        characters=settings.characters,
        mocap_folder=settings.mocap_folder,
    )
    duration_s = settings.num_frames / settings.fps
    environment = sample_environment(
        rng,
        grounds=settings.grounds,
        num_props=settings.num_props,
        free_radius_m=1.2 + 0.5 * count + min(0.8 * duration_s, 3.0),
        azimuth_deg=camera.azimuth_deg,
        panorama_folder=settings.panorama_folder,
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
