"""The world around the people: a place, its sky and its light, all drawn from a seed.

World frame: metres, y up, the floor under the people at y = 0. Colours of textures are sRGB uint8,
colours of light are linear.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.asset import Asset, list_files, round_
from pipelines.synthetic.renderers.opengl import Lighting, SurfaceMesh
from pipelines.synthetic.surroundings.clearing import Clearing
from pipelines.synthetic.surroundings.outdoors import OUTDOORS, make_outside
from pipelines.synthetic.surroundings.panorama import (
    PANORAMA_SUFFIXES,
    ambient,
    direction_of_pixels,
    ground_of,
    irradiance_sh,
    read_panorama,
    split_sun,
)
from pipelines.synthetic.surroundings.room import ROOMS, Interior, make_room
from pipelines.synthetic.surroundings.shade import sunlit_share
from pipelines.synthetic.surroundings.shape import Shapes, merge
from pipelines.synthetic.surroundings.sky import SKIES, Sky, make_sky
from pipelines.synthetic.surroundings.studio import make_studio

STUDIO, PHOTOGRAPHED = "studio", "photographed"
ENVIRONMENT_KINDS = (*OUTDOORS, *ROOMS, STUDIO)
"""Places that can be made; `photographed` ones come from files."""
PLACES: Mapping[str, str] = {
    "street": "on a street",
    "square": "on a town square",
    "parking lot": "in a parking lot",
    "park": "in a park",
    "garden": "in a garden",
    "beach": "on a beach",
    "desert": "in a desert",
    "snow field": "in the snow",
    "living room": "in a living room",
    "bedroom": "in a bedroom",
    "kitchen": "in a kitchen",
    "office": "in an office",
    "gym": "in a gym",
    "corridor": "in a corridor",
    "loft": "in a loft",
    "studio": "in a photo studio",
    "photographed": "in a photographed place",
}
"""What a caption says about a kind."""
WHITE = 0.62
"""What a white surface that faces the camera shows before the tone curve."""
WINDOW_GAIN = 2.2
"""How much brighter it is outside than inside, as a picture shows it."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """The still world."""

    seed: int
    kind: str
    """One of ENVIRONMENT_KINDS, or PHOTOGRAPHED with a panorama."""
    sky: str
    """One of SKIES; unused with a panorama."""
    free_radius_m: float
    """About the world origin nothing stands."""
    sun_azimuth_deg: float
    """Of a made-up sky or a room's light, from +z towards +x."""
    panorama: Asset | None = None

    def __post_init__(self) -> None:
        """Validate."""
        if (self.kind == PHOTOGRAPHED) != (self.panorama is not None):
            raise ValueError(f"a panorama belongs to kind {PHOTOGRAPHED!r} only, got {self.kind!r}")
        if self.kind not in PLACES:
            raise ValueError(
                f"kind must be one of {ENVIRONMENT_KINDS} or {PHOTOGRAPHED!r}, got {self.kind!r}"
            )
        if self.sky not in SKIES:
            raise ValueError(f"sky must be one of {SKIES}, got {self.sky!r}")
        if not self.free_radius_m >= 0:
            raise ValueError(f"free_radius_m must not be negative, got {self.free_radius_m}")

    @property
    def place(self) -> str:
        """Where it is, in words."""
        return PLACES[self.kind]


def sample_environment(
    rng: np.random.Generator,
    *,
    kinds: Sequence[str],
    free_radius_m: float,
    azimuth_deg: float,
    panorama_folder: Path | None,
) -> EnvironmentSpec:
    """Draw a still world for people seen from `azimuth_deg`, whom the light shall not leave dark.

    Raises:
        ValueError: If the folder holds no panorama.
    """
    panorama, kind = None, str(rng.choice(list(kinds)))
    if panorama_folder is not None:
        choices = list_files(panorama_folder, PANORAMA_SUFFIXES)
        panorama, kind = Asset.of(choices[int(rng.integers(len(choices)))]), PHOTOGRAPHED
    return EnvironmentSpec(
        seed=int(rng.integers(2**31)),
        kind=kind,
        sky=str(rng.choice(SKIES, p=(0.28, 0.26, 0.18, 0.2, 0.08))),
        free_radius_m=round_(free_radius_m),
        sun_azimuth_deg=round_(azimuth_deg + rng.uniform(-100.0, 100.0)),
        panorama=panorama,
    )


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a clip shows besides people."""

    still: tuple[SurfaceMesh, ...]
    """World frame."""
    lighting: Lighting


def make_environment(
    spec: EnvironmentSpec, eyes: Float[np.ndarray, "eyes 3"], texture_px: int = 256
) -> Environment:
    """The still world of a clip; nothing of it hides the people from any eye.

    Args:
        spec: The record.
        eyes: Camera centres of all views over the whole clip, world metres.
        texture_px: Side of the textures.

    Raises:
        ValueError: If the panorama is not there or malformed.
    """
    rng = np.random.default_rng(spec.seed)
    eyes = eyes[np.lexsort(eyes.T)]  # every view of a performance sums its light alike
    clearing = Clearing(radius_m=spec.free_radius_m, eyes=eyes)
    if spec.panorama is not None:
        return _photographed(rng, spec.panorama.file, eyes)
    if spec.kind in OUTDOORS:
        place = make_outside(rng, spec.kind, clearing)
        sky = make_sky(rng, spec.sky, spec.sun_azimuth_deg, place.ground_rgb)
        return Environment(
            still=merge(place.shapes, texture_px),
            lighting=_daylight(rng, sky, eyes, place.shapes, spec.free_radius_m),
        )
    if spec.kind == STUDIO:
        room = make_studio(rng, clearing)
    else:
        room = make_room(rng, spec.kind, clearing)
    sky = make_sky(rng, spec.sky, spec.sun_azimuth_deg, np.array([0.16, 0.17, 0.12]))
    shell = [replace(mesh, casts_shadow=False) for mesh in merge(room.shell, texture_px)]
    things = merge(room.things, texture_px)
    return Environment(still=(*things, *shell), lighting=_lamplight(rng, spec, room, sky, eyes))


def _exposure(
    sh: Float[np.ndarray, "9 3"],
    sun: Float[np.ndarray, "3"],
    sun_rgb: Float[np.ndarray, "3"],
    eyes: Float[np.ndarray, "eyes 3"],
) -> float:
    """Exposure for what faces the cameras, and a little for what faces up."""
    levels = eyes * [1.0, 0.0, 1.0]
    facing = levels / np.maximum(np.linalg.norm(levels, axis=1, keepdims=True), 1e-6)
    normals = np.concatenate([np.tile([0.0, 1.0, 0.0], (len(eyes), 1)), facing])
    light = ambient(sh, normals) + np.maximum(normals @ sun, 0.0)[:, None] * sun_rgb
    up, towards = light[: len(eyes)].mean(), light[len(eyes) :].mean()
    return WHITE / max(float(0.35 * up + 0.65 * towards), 1e-6)


def _daylight(
    rng: np.random.Generator, sky: Sky, eyes: np.ndarray, shapes: Shapes, radius_m: float
) -> Lighting:
    sh = irradiance_sh(sky.panorama[::4, ::4])
    # exposed for people who may stand in the shade, not quite as much as for them alone
    sunlit = 0.2 + 0.8 * sunlit_share(shapes, sky.sun_direction, radius_m)
    exposure = _exposure(sh, sky.sun_direction, sunlit * sky.sun_rgb, eyes)
    return Lighting(
        sun_direction=sky.sun_direction,
        sun_rgb=sky.sun_rgb,
        ambient_sh=sh,
        panorama=sky.panorama,
        haze_rgb=sky.horizon_rgb,
        haze_per_m=float(rng.uniform(0.002, 0.008)),
        exposure=exposure * float(rng.uniform(0.9, 1.12)),
    )


def _lamplight(
    rng: np.random.Generator, spec: EnvironmentSpec, room: Interior, sky: Sky, eyes: np.ndarray
) -> Lighting:
    """Walls that scatter, a bright side where the window is, and a soft key from there."""
    d = direction_of_pixels(32, 64)
    warmth = np.array([1.0, rng.uniform(0.9, 1.0), rng.uniform(0.78, 1.0)])
    walls = room.wall_rgb * warmth
    level = np.where(d[..., 1:2] > 0.6, 1.5, np.where(d[..., 1:2] < -0.5, 0.55, 0.9))
    lobe = np.clip(d @ room.window_direction, 0.0, 1.0)[..., None] ** 4
    inside = walls * level + 1.6 * lobe * np.array([0.92, 0.97, 1.0])
    sh = irradiance_sh(inside)
    height = np.radians(rng.uniform(38.0, 62.0))
    if spec.kind == STUDIO:
        azimuth = np.radians(spec.sun_azimuth_deg)
        level_direction = np.array([np.sin(azimuth), np.cos(azimuth)])
    else:
        level_direction = room.window_direction[[0, 2]]
        level_direction = level_direction / np.linalg.norm(level_direction)
    x, z = np.cos(height) * level_direction
    sun = np.array([x, np.sin(height), z])
    sun_rgb = warmth * float(sh[0].mean()) * rng.uniform(0.6, 1.1)
    exposure = _exposure(sh, sun, sun_rgb, eyes) * float(rng.uniform(0.9, 1.1))
    shown = sky.panorama / max(float(sky.panorama.mean()), 1e-6) * 0.5 * WINDOW_GAIN / exposure
    return Lighting(
        sun_direction=sun,
        sun_rgb=sun_rgb,
        ambient_sh=sh,
        panorama=shown.astype(np.float32),
        haze_rgb=inside.mean((0, 1)),
        haze_per_m=0.0,
        exposure=exposure,
    )


def _photographed(rng: np.random.Generator, file: Path, eyes: np.ndarray) -> Environment:
    panorama = read_panorama(file)
    light = split_sun(panorama)
    lighting = Lighting(
        sun_direction=light.sun_direction,
        sun_rgb=light.sun_rgb,
        ambient_sh=light.ambient_sh,
        panorama=panorama,
        haze_rgb=np.zeros(3),
        haze_per_m=0.0,
        exposure=_exposure(light.ambient_sh, light.sun_direction, light.sun_rgb, eyes)
        * float(rng.uniform(0.85, 1.1)),
    )
    return Environment(still=(ground_of(panorama, light),), lighting=lighting)
