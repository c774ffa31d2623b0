"""A scene made ready to be drawn, and the pictures a renderer makes of it.

World frame: metres, y up. Every renderer draws the same `World`; the truth never depends on it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.synthetic.actor import Actor, make_actor, outline_points
from pipelines.synthetic.camera_path import camera_path
from pipelines.synthetic.environment import Environment, make_environment
from pipelines.synthetic.scene import SceneSpec
from storage_schemas.camera import CameraTrack

SMALL_PX = 160
"""Frames up to this size get smaller textures, which are a third of the cost of a short clip."""


@dataclass(frozen=True, kw_only=True)
class World:
    """What a renderer needs for a clip."""

    spec: SceneSpec
    actors: tuple[Actor, ...]
    environment: Environment
    camera: CameraTrack
    shadow_centre: Float[np.ndarray, "3"]
    """Middle of the ball that holds the people over the whole clip, metres."""
    shadow_radius_m: float


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """What a render tier gives: sRGB frames of a world, row 0 at the top."""

    frames: UInt8[np.ndarray, "frames height width 3"]
    plate: UInt8[np.ndarray, "frames height width 3"]
    """The same without people and without their shadows."""


def build_world(spec: SceneSpec) -> World:
    """Make everything that the record names.

    Raises:
        ValueError: If a file of the scene is missing, changed or malformed.
    """
    _check_assets(spec)
    skin_px = 256 if max(spec.width, spec.height) <= SMALL_PX else 512
    actors = tuple(make_actor(p, spec.fps, spec.num_frames, skin_px) for p in spec.people)
    outline = np.concatenate([outline_points(actor) for actor in actors], axis=1)
    low, high = outline.min((0, 1)), outline.max((0, 1))
    return World(
        spec=spec,
        actors=actors,
        environment=_environment(spec),
        camera=camera_path(spec.camera, outline, spec.width, spec.height, spec.fps),
        shadow_centre=0.5 * (low + high),
        shadow_radius_m=0.5 * float(np.linalg.norm(high - low)) + 0.2,
    )


def _check_assets(spec: SceneSpec) -> None:
    files = [person.file for person in spec.people] + [spec.environment.panorama]
    for asset in files:
        if asset is not None:
            asset.verify()


def _environment(spec: SceneSpec) -> Environment:
    around = spec.environment
    half_arc = 0.5 * abs(spec.camera.arc_deg)
    azimuth = spec.camera.azimuth_deg
    return make_environment(
        seed=around.seed,
        ground=around.ground,
        num_props=around.num_props,
        free_radius_m=around.free_radius_m,
        view_deg=(azimuth - half_arc, azimuth + half_arc),
        sun_azimuth_deg=around.sun_azimuth_deg,
        panorama=None if around.panorama is None else around.panorama.file,
        texture_px=256 if max(spec.width, spec.height) <= 256 else 512,
    )
