"""The small record from which a synthetic clip follows, and how one is drawn from a seed.

World: metres, y up, floor at y = 0, people about the origin. Azimuths turn about the vertical
from +z towards +x: a person of heading 0 faces +z, a camera of azimuth 0 stands on +z and sees its
front.
"""

import hashlib
import json
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from types import UnionType
from typing import Any, Literal, cast, get_args, get_origin, get_type_hints

import numpy as np

from pipelines.synthetic.asset import UNKNOWN, Asset, round_
from pipelines.synthetic.camera_path import CameraSpec
from pipelines.synthetic.camera_program import CAMERA_KINDS, sample_camera
from pipelines.synthetic.environment import ENVIRONMENT_KINDS, EnvironmentSpec, sample_environment
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.people import MOCAP, Cast, PersonSpec, sample_people
from pipelines.synthetic.scanned import SMPL_LICENCE

SPEC_VERSION = 2
LATER = ("scan",)
"""Fields that joined this version of the record."""
OWN_LICENCE = "CC0-1.0"
"""Of what is made here: characters, procedural motion and worlds."""
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
    siblings: tuple[CameraSpec, ...] = ()
    """Further cameras that film the same performance at the same time, each in a clip of its own;
    the world leaves the view of all of them free."""
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
            raise ValueError(
                f"scene version must be {SPEC_VERSION}, got {self.version}; sample the scene anew"
            )
        cameras = {repr(camera) for camera in self.cameras}
        if len(cameras) != len(self.cameras):
            raise ValueError("cameras of one performance must differ, got one of them twice")
        if len({person.scan and person.scan.body.sha256 for person in self.people}) > 1:
            raise ValueError("people of a scene must share one body file, got different ones")

    @property
    def clip_id(self) -> str:
        """32 hex digits of the content: files count by their content, not by their path."""
        return self.sha256[:32]

    @property
    def sha256(self) -> str:
        """Hash of the record without the paths and licences of its files."""
        return _sha256(asdict(self))

    @property
    def cameras(self) -> tuple[CameraSpec, ...]:
        """This clip's camera and its siblings."""
        return (self.camera, *self.siblings)

    @property
    def performance_id(self) -> str:
        """32 hex digits that all views of one performance share, and no other clip has."""
        return self.performance_sha256[:32]

    @property
    def performance_sha256(self) -> str:
        """Hash of the record without which of its cameras is whose: what the clips come from."""
        content = asdict(self)
        del content["camera"], content["siblings"]
        content["cameras"] = sorted(_sha256(asdict(camera)) for camera in self.cameras)
        return _sha256(content)

    @property
    def assets(self) -> tuple[Asset, ...]:
        """Files from outside."""
        files = [asset for person in self.people for asset in person.assets]
        panorama = self.environment.panorama
        return tuple(files) if panorama is None else (*files, panorama)

    @property
    def licence(self) -> str:
        """Of the clip: our own CC0 and what its files add; their `unknown` is passed on."""
        return " AND ".join(
            [OWN_LICENCE, *sorted({a.licence for a in self.assets} - {OWN_LICENCE})]
        )

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
        except ValueError as error:
            raise ValueError(f"a scene record is not JSON: {error}") from error
        version = content.get("version") if isinstance(content, dict) else None
        if version not in (SPEC_VERSION, None):
            raise ValueError(
                f"scene version must be {SPEC_VERSION}, got {version}; sample the scene anew"
            )
        return _read(SceneSpec, content, "scene")


def _read(kind: Any, content: Any, where: str) -> Any:
    """JSON as a record of records; what is wrong is named by its place."""
    if is_dataclass(kind):
        return _read_record(kind, content, where)
    if get_origin(kind) is UnionType:
        return None if content is None else _read(get_args(kind)[0], content, where)
    if get_origin(kind) is tuple:
        if not isinstance(content, list):
            raise ValueError(f"{where} must be a list, got {content!r}")
        first, *others = get_args(kind)
        each = [first] * len(content) if others == [...] else [first, *others]
        if len(each) != len(content):
            raise ValueError(f"{where} must hold {len(each)} values, got {len(content)}")
        values = zip(each, cast(list[Any], content), strict=True)
        return tuple(_read(one, value, f"{where}[{i}]") for i, (one, value) in enumerate(values))
    return content


def _read_record(kind: Any, content: Any, where: str) -> Any:
    if not isinstance(content, dict):
        raise ValueError(f"{where} must be an object, got {content!r}")
    values = cast(dict[str, Any], content)
    types = get_type_hints(kind)
    needed = {f.name for f in fields(kind) if f.default is MISSING and f.default_factory is MISSING}
    if needed - values.keys() or values.keys() - types.keys():
        raise ValueError(
            f"{where} is no {kind.__name__}: it lacks {sorted(needed - values.keys())} and has "
            f"unknown {sorted(values.keys() - types.keys())}"
        )
    read = {name: _read(types[name], value, f"{where}.{name}") for name, value in values.items()}
    try:
        return kind(**read)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where}: {error}") from error


def _sha256(content: Any) -> str:
    return hashlib.sha256(json.dumps(_without_paths(content), sort_keys=True).encode()).hexdigest()


def _without_paths(content: Any) -> Any:
    if isinstance(content, dict):
        items = cast(dict[str, Any], content).items()
        # what came later counts only where it says something, so that older ids stand
        said = {k: v for k, v in items if not (k in LATER and v is None)}
        return {k: _without_paths(v) for k, v in said.items() if k not in ("path", "licence")}
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
    more_sizes: tuple[tuple[int, int], ...] = ()
    """(width, height) drawn as often as the one above."""
    more_fps: tuple[float | int, ...] = ()
    """Frame rates drawn as often as the one above."""
    most_frames: int | None = None
    """num_frames is then the fewest; lengths differ by fours, so that 1 + 4k stays 1 + 4k."""
    camera_kinds: tuple[str, ...] = CAMERA_KINDS
    framing: Framing = "free"
    """`fill`: the figures fill at least 80 % of the frame; `free`: anything from 45 to 95 %."""
    motion_kinds: tuple[str, ...] = tuple(MOTIONS)
    speed: tuple[float, float] = (0.85, 1.15)
    environment_kinds: tuple[str, ...] = ENVIRONMENT_KINDS
    characters: int = 100_000
    """Number of different people to draw from."""
    mocap_folder: Path | None = None
    """Folder of BVH files for motion `mocap`."""
    panorama_folder: Path | None = None
    """Folder of .hdr and .exr skies; None for made-up ones."""
    mocap_licence: str = UNKNOWN
    """What the motion files may be used for; every clip made with one says so."""
    panorama_licence: str = UNKNOWN
    body_file: Path | None = None
    """SMPL .npz or .pkl in place of the free body; together with `skin_folder`."""
    skin_folder: Path | None = None
    """One .obj with the UV layout of that body, and pictures of people in it."""
    body_licence: str = SMPL_LICENCE
    skin_licence: str = UNKNOWN

    def __post_init__(self) -> None:
        """Validate."""
        if MOCAP in self.motion_kinds and self.mocap_folder is None:
            raise ValueError(f"motion kind {MOCAP!r} needs mocap_folder, a folder of .bvh files")
        if not 1 <= self.num_people[0] <= self.num_people[1] <= 8:
            raise ValueError(f"num_people must be 1 <= low <= high <= 8, got {self.num_people}")
        if self.most_frames is not None and self.most_frames < self.num_frames:
            raise ValueError(
                f"most_frames must be at least num_frames {self.num_frames}, got {self.most_frames}"
            )
        for name in ("camera_kinds", "motion_kinds", "environment_kinds"):
            if not getattr(self, name):
                raise ValueError(f"{name} must name at least one kind")

    @property
    def cast(self) -> Cast:
        """Who may appear."""
        names = (field.name for field in fields(Cast))
        return Cast(**{name: getattr(self, name) for name in names})


def sample_scene(seed: int, settings: SceneSettings) -> SceneSpec:
    """Draw a scene; the same seed and settings give the same scene.

    Raises:
        ValueError: If a folder of the settings holds nothing usable.
    """
    (spec,) = sample_views(seed, settings, 1)
    return spec


def sample_views(seed: int, settings: SceneSettings, num_views: int) -> tuple[SceneSpec, ...]:
    """Draw a performance and cameras all around it; the first view is as for `sample_scene`.

    Returns:
        One scene per view; people, world and time are the same, and `performance_id` too.

    Raises:
        ValueError: If a folder of the settings holds nothing usable.
    """
    if num_views < 1:
        raise ValueError(f"num_views must be at least 1, got {num_views}")
    rng = np.random.default_rng((seed, 0x15A4D))
    width, height, fps, num_frames = _sample_format(rng, settings)
    count = int(rng.integers(settings.num_people[0], settings.num_people[1] + 1))

    def draw_camera(rng: np.random.Generator) -> CameraSpec:
        return sample_camera(
            rng, settings.camera_kinds, fills=settings.framing == "fill",
            duration_s=num_frames / fps, aspect=width / height,
        )  # fmt: skip

    camera = draw_camera(rng)
    people = sample_people(
        rng,
        count=count,
        azimuth_deg=camera.azimuth_deg,
        motion_kinds=settings.motion_kinds,
        speed=settings.speed,
        cast=settings.cast,
        mocap_folder=settings.mocap_folder,
        clip_s=np.arange(num_frames) / fps,
    )
    environment = sample_environment(
        rng,
        kinds=settings.environment_kinds,
        free_radius_m=1.2 + 0.5 * count + min(0.8 * num_frames / fps, 3.0),
        azimuth_deg=camera.azimuth_deg,
        panorama_folder=settings.panorama_folder,
    )
    cameras = [camera]
    for view in range(1, num_views):
        rng = np.random.default_rng((seed, 0x71E35, view))
        apart_deg = 360.0 * (view + rng.uniform(-0.3, 0.3)) / num_views
        azimuth_deg = (camera.azimuth_deg + apart_deg + 180.0) % 360.0 - 180.0
        cameras.append(replace(draw_camera(rng), azimuth_deg=round_(azimuth_deg)))
    return tuple(
        SceneSpec(
            seed=seed,
            people=tuple(_licensed(p, "file", settings.mocap_licence) for p in people),
            camera=camera,
            siblings=tuple(cameras[:view] + cameras[view + 1 :]),
            environment=_licensed(environment, "panorama", settings.panorama_licence),
            width=width,
            height=height,
            fps=fps,
            num_frames=num_frames,
        )
        for view, camera in enumerate(cameras)
    )


def _sample_format(
    rng: np.random.Generator, settings: SceneSettings
) -> tuple[int, int, float, int]:
    """Width, height, frame rate, length."""
    rng = rng.spawn(1)[0]  # a wider choice of formats changes nothing else of a scene
    sizes = ((settings.width, settings.height), *settings.more_sizes)
    width, height = sizes[int(rng.integers(len(sizes)))]
    fps = float(rng.choice([settings.fps, *settings.more_fps]))
    most = settings.num_frames if settings.most_frames is None else settings.most_frames
    steps = (most - settings.num_frames) // 4
    return width, height, fps, settings.num_frames + 4 * int(rng.integers(steps + 1))


def _licensed(record: Any, field: str, licence: str) -> Any:
    asset: Asset | None = getattr(record, field)
    return record if asset is None else replace(record, **{field: replace(asset, licence=licence)})
