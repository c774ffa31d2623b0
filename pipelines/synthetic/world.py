"""A scene made ready to be drawn, and the pictures a renderer makes of it.

World frame: metres, y up. Every renderer draws the same `World`; the truth never depends on it.
"""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.synthetic.actor import Actor, make_actor, outline_points
from pipelines.synthetic.camera_path import camera_centres, camera_path
from pipelines.synthetic.environment import Environment, make_environment
from pipelines.synthetic.scene import SceneSpec
from storage_schemas.camera import CameraTrack

SMALL_PX = 256
"""Frames up to this size get smaller textures, which are a third of the cost of a short clip."""

DETAIL_PX = 0.9
"""Details of people smaller than this at their nearest are left out."""
MIN_CELL_M, MAX_CELL_M = 0.004, 0.02


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
    cell_m = min(_pixel_m(view, outline) for view in views) * DETAIL_PX
    cell_m = min(np.floor(cell_m * 1e3) * 1e-3, MAX_CELL_M)
    return World(
        spec=spec,
        actors=tuple(a.with_detail(cell_m) for a in actors) if cell_m >= MIN_CELL_M else actors,
        environment=_environment(spec, eyes, outline),
        camera=views[0],
        shadow_centre=0.5 * (low + high),
        shadow_radius_m=0.5 * float(np.linalg.norm(np.ptp(outline, axis=1), axis=-1).max()) + 0.2,
    )


def _pixel_m(view: CameraTrack, outline: Float[np.ndarray, "frames points 3"]) -> float:
    """Width of a pixel where somebody is nearest to the camera, metres."""
    axis, t = view.T_camera_world[:, 2, :3], view.T_camera_world[:, 2, 3]
    z_m = np.einsum("tpi,ti->tp", outline, axis) + t[:, None]
    return float((np.maximum(z_m.min(1), 0.0) / view.K[:, 0, 0]).min())


def _check_assets(spec: SceneSpec) -> None:
    for asset in spec.assets:
        asset.verify()


def _environment(spec: SceneSpec, eyes: np.ndarray, outline: np.ndarray) -> Environment:
    """The still world; it is the same for every view of a performance."""
    far_m = float(np.linalg.norm(outline[..., [0, 2]], axis=-1).max())  # recordings wander off
    place = replace(
        spec.environment, free_radius_m=max(spec.environment.free_radius_m, far_m + 0.1)
    )
    texture_px = 256 if max(spec.width, spec.height) <= SMALL_PX else 512
    return make_environment(place, eyes, texture_px)
