"""A Shot: everything a generated picture depends on besides the weights.

It goes to JSON and back without loss: the same JSON and weights give the same video.
"""

import base64
import json
import zlib
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Float32, UInt8

from models.dit.conditions import CONDITION_NAMES
from models.flow import SAMPLERS
from storage_schemas.body import OPTIONAL_SHAPES, BodyTracks
from storage_schemas.camera import CameraTrack

SHOT_VERSION = 1
Record = TypeVar("Record", CameraTrack, BodyTracks)
ALL = "all"
"""Guidance name for every condition at once."""


@dataclass(frozen=True, kw_only=True)
class SampleSettings:
    """How the flow is followed."""

    seed: int = 0
    num_steps: int = 30
    guidance: dict[str, float] = field(default_factory=lambda: {ALL: 2.0})
    """Strength per condition, or for `all` at once: v + sum of (strength - 1) (v - v without it).
    1 is plain conditional sampling; each other entry costs one more evaluation per step."""
    sampler: str = "euler"
    time_shift: float = 1.0
    tells_camera: bool = True
    """Whether the camera enters as rays; bodies are projected by it in any case."""
    held_latents: int = 2
    """Of a video longer than the model's clips: latents that a window shares with the one before,
    beside the frame it starts from; at most two fewer than a window has."""

    def __post_init__(self) -> None:
        if self.num_steps < 1:
            raise ValueError(f"num_steps must be at least 1, got {self.num_steps}")
        unknown = sorted(set(self.guidance) - {*CONDITION_NAMES, ALL})
        if unknown:
            raise ValueError(f"guidance must name {ALL} or {CONDITION_NAMES}, got {unknown}")
        if self.sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {sorted(SAMPLERS)}, got {self.sampler!r}")
        if self.held_latents < 0:
            raise ValueError(f"held_latents must be 0 or more, got {self.held_latents}")


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One video to generate."""

    size_px: tuple[int, int]
    """Height and width."""
    camera: CameraTrack
    """Its number of frames, 1 + 4k, is the length of the video."""
    bodies: BodyTracks | None = None
    reference_image: UInt8[np.ndarray, "h w 3"] | None = None
    """Who is to be seen; RGB, of the size of the video."""
    reference_bodies: BodyTracks | None = None
    """The people of `bodies`, in the same order, as they stand in the reference: one frame."""
    reference_camera: CameraTrack | None = None
    """One frame."""
    image_embedding: Float32[np.ndarray, "e"] | None = None
    background: UInt8[np.ndarray, "t h w 3"] | None = None
    """The scene without people; None lets the model invent it."""
    settings: SampleSettings = field(default_factory=SampleSettings)
    weights: dict[str, str] = field(default_factory=dict)
    """Digests of the weights it was made with, for the record."""

    def __post_init__(self) -> None:
        frames = len(self.camera.K)
        if frames % 4 != 1:
            raise ValueError(
                f"a shot must have 1 + 4k frames, got {frames}; cut the tracks to "
                f"{frames - (frames - 1) % 4}"
            )
        _check("reference_image", self.reference_image, (*self.size_px, 3))
        _check("background", self.background, (frames, *self.size_px, 3))
        if self.bodies is not None:
            _check("bodies.visible", self.bodies.visible, (len(self.bodies.person_id), frames))
        if (self.reference_bodies is None) != (self.reference_camera is None):
            raise ValueError("reference_bodies and reference_camera must be given together")
        if self.reference_bodies is not None:
            people = 0 if self.bodies is None else len(self.bodies.person_id)
            _check("reference_bodies.visible", self.reference_bodies.visible, (people, 1))

    def cut(self, start: int, stop: int) -> "Shot":
        """The same shot from frame `start` to before `stop`."""
        frames = slice(start, stop)
        return replace(
            self,
            camera=cut_camera(self.camera, frames),
            bodies=None if self.bodies is None else cut_bodies(self.bodies, frames),
            background=None if self.background is None else self.background[frames],
        )

    def to_json(self) -> str:
        """All of it, arrays compressed, so that `from_json` gives an equal shot."""
        return json.dumps(
            {
                "version": SHOT_VERSION,
                "size_px": list(self.size_px),
                "settings": asdict(self.settings),
                "weights": self.weights,
                **{name: _pack(getattr(self, name)) for name in RECORDS},
                **{name: _pack_array(getattr(self, name)) for name in ARRAYS},
            },
            indent=1,
        )

    @classmethod
    def from_json(cls, text: str) -> "Shot":
        """Read what `to_json` wrote.

        Raises:
            ValueError: If the version is unknown or a value is not what a shot allows.
        """
        values = json.loads(text)
        if values.get("version") != SHOT_VERSION:
            raise ValueError(f"shot version must be {SHOT_VERSION}, got {values.get('version')}")
        height, width = values["size_px"]
        camera = _unpack(values["camera"], CameraTrack)
        if camera is None:
            raise ValueError("a shot must have a camera, got null")
        return cls(
            size_px=(height, width),
            settings=SampleSettings(**values["settings"]),
            weights=values["weights"],
            camera=camera,
            bodies=_unpack(values["bodies"], BodyTracks),
            reference_bodies=_unpack(values["reference_bodies"], BodyTracks),
            reference_camera=_unpack(values["reference_camera"], CameraTrack),
            reference_image=_unpack_array(values["reference_image"]),
            image_embedding=_unpack_array(values["image_embedding"]),
            background=_unpack_array(values["background"]),
        )


RECORDS = ("camera", "bodies", "reference_bodies", "reference_camera")
ARRAYS = ("reference_image", "image_embedding", "background")


def cut_camera(camera: CameraTrack, frames: slice | np.ndarray) -> CameraTrack:
    """The camera over some frames."""
    return replace(camera, K=camera.K[frames], T_camera_world=camera.T_camera_world[frames])


def cut_bodies(bodies: BodyTracks, frames: slice | np.ndarray) -> BodyTracks:
    """The tracks over some frames."""
    return replace(bodies, **{name: getattr(bodies, name)[:, frames] for name in per_frame(bodies)})


def per_frame(bodies: BodyTracks) -> list[str]:
    """Fields with an axis of people and one of frames, those left out by these tracks excepted."""
    names = ("global_orient", "body_pose", "transl", "visible", "confidence", "joints_px")
    return [*names, *(n for n in OPTIONAL_SHAPES if getattr(bodies, n) is not None)]


def _check(name: str, array: np.ndarray | None, shape: tuple[int, ...]) -> None:
    if array is not None and array.shape != shape:
        raise ValueError(f"{name} must have shape {shape}, got {array.shape}")


def _pack(record: CameraTrack | BodyTracks | None) -> str | None:
    return None if record is None else base64.b64encode(record.to_npz()).decode()


def _unpack(text: str | None, kind: type[Record]) -> Record | None:
    return None if text is None else kind.from_npz(base64.b64decode(text, validate=True))


def _pack_array(array: np.ndarray | None) -> dict[str, Any] | None:
    if array is None:
        return None
    data = base64.b64encode(zlib.compress(np.ascontiguousarray(array).tobytes())).decode()
    return {"dtype": array.dtype.name, "shape": list(array.shape), "zlib_base64": data}


def _unpack_array(packed: dict[str, Any] | None) -> np.ndarray | None:
    if packed is None:
        return None
    if packed["dtype"] not in ("uint8", "float32"):
        raise ValueError(f"array dtype must be uint8 or float32, got {packed['dtype']}")
    data = zlib.decompress(base64.b64decode(packed["zlib_base64"], validate=True))
    return np.frombuffer(data, dtype=packed["dtype"]).reshape(packed["shape"])
