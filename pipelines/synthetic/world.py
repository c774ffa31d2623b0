"""A scene made ready to be drawn, and the pictures a renderer makes of it.

World frame: metres, y up. Every renderer draws the same `World`; the truth never depends on it.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.synthetic.actor import Actor, make_actor, outline_points
from pipelines.synthetic.camera_path import camera_centres, camera_path
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
    """Radius of a ball that holds the people of any one frame."""


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
    views = [camera_path(c, outline, spec.width, spec.height, spec.fps) for c in spec.cameras]
    # in an order of their own: the world is the same, to the last bit, whichever view is drawn
    centres = sorted((camera_centres(view.T_camera_world) for view in views), key=np.ndarray.tolist)
    eyes = np.concatenate(centres)
    return World(
        spec=spec,
        actors=actors,
        environment=_environment(spec, eyes),
        camera=views[0],
        shadow_centre=0.5 * (low + high),
        shadow_radius_m=0.5 * float(np.linalg.norm(np.ptp(outline, axis=1), axis=-1).max()) + 0.2,
    )


def _check_assets(spec: SceneSpec) -> None:
    for asset in spec.assets:
        asset.verify()


def _environment(spec: SceneSpec, eyes: np.ndarray) -> Environment:
    """The still world; it is the same for every view of a performance."""
    texture_px = 256 if max(spec.width, spec.height) <= 256 else 512
    return make_environment(spec.environment, eyes, texture_px)
