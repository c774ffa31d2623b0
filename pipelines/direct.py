"""Directing: what a user asks for (reference, motion, camera, background) becomes a Shot.

Each wish is a clip of the store, a file, or a word: a reference is a clip or a picture, a motion
is a clip, a motion file (.bvh, .amc, .npz) or a procedural gait, a camera is `clip` or one of
CAMERA_KINDS.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, ImageOps, UnidentifiedImageError

from models.body.model import BodyModel
from models.geometry import project
from models.shot import cut_bodies, cut_camera, per_frame
from models.window import ClipSettings, Window, choose_window, crop_camera, crop_video, place_crop
from pipelines.annotate.body import fit_bodies
from pipelines.annotate.camera import assumed_intrinsics
from pipelines.annotate.people import detect_people_with_report
from pipelines.annotate.tracking import TrackingSettings
from pipelines.synthetic.camera_path import camera_path
from pipelines.synthetic.camera_program import CAMERA_KINDS, named_camera
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import MOTIONS, BodyMotion
from pipelines.synthetic.retarget import READERS, read_motion, retarget
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.store import Store

CAMERAS = ("clip", *CAMERA_KINDS)
CAMERA_FOV_DEG = 40.0
LARGEST_PICTURE_PX = 50_000_000
OUTLINE_POINTS = 200


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Who is to be seen: a picture, and the people in it."""

    image: UInt8[np.ndarray, "size size 3"]
    bodies: BodyTracks
    """One frame."""
    camera: CameraTrack
    """One frame."""


@dataclass(frozen=True, kw_only=True)
class Motion:
    """What the people do, with the camera that filmed it where there was one."""

    bodies: BodyTracks
    camera: CameraTrack | None
    background: UInt8[np.ndarray, "frames size size 3"] | None
    truth: UInt8[np.ndarray, "frames size size 3"] | None
    """The footage itself, to compare with."""


def clip_window(
    store: Store, clip_id: str, settings: ClipSettings
) -> tuple[Window, BodyTracks, CameraTrack]:
    """The square and the frames of a clip that generation works on, with their labels.

    Raises:
        ValueError: If the clip lacks labels or people, or is too short.
    """
    try:
        clip = ClipRecord.from_json(store.read(f"clips/{clip_id}/{shards.CLIP}"))
        bodies = BodyTracks.from_npz(store.read(f"clips/{clip_id}/{shards.BODY}"))
        camera = CameraTrack.from_npz(store.read(f"clips/{clip_id}/{shards.CAMERA}"))
    except FileNotFoundError as error:
        raise ValueError(f"clip {clip_id} has no labels ({error}); annotate it first") from error
    if not len(bodies.person_id):
        raise ValueError(f"clip {clip_id} shows nobody; choose another clip")
    window = choose_window(clip, bodies, settings, np.random.default_rng(0))
    K = crop_camera(torch.from_numpy(camera.K[window.frames].copy()), window).numpy()
    cut = replace(camera, K=K, T_camera_world=camera.T_camera_world[window.frames])
    return window, cut_bodies(bodies, window.frames), cut


def read_window(store: Store, clip_id: str, member: str, window: Window) -> np.ndarray:
    """The window's pixels of one video of a clip, frames first."""
    data = store.read(f"clips/{clip_id}/{member}")
    frames = decode_mp4(data, window.start, window.stop)[:: window.stride]
    return np.ascontiguousarray(crop_video(frames, window).permute(1, 2, 3, 0).numpy())


def reference_from_clip(store: Store, clip_id: str, settings: ClipSettings) -> Reference:
    """The first frame of a clip's window."""
    window, bodies, camera = clip_window(store, clip_id, settings)
    image = read_window(store, clip_id, shards.VIDEO, window)[0]
    return Reference(
        image=image,
        bodies=cut_bodies(bodies, slice(0, 1)),
        camera=cut_camera(camera, slice(0, 1)),
    )


def reference_from_picture(path: Path, settings: ClipSettings, body: BodyModel) -> Reference:
    """The people of a picture, their bodies estimated by our annotator.

    Raises:
        ValueError: If the file is no picture or shows nobody.
    """
    picture = read_picture(path)
    people, _ = detect_people_with_report(picture[None], 1.0, settings=STILL)
    if not people:
        raise ValueError(f"{path} shows no person that can be found; choose another picture")
    height, width = picture.shape[:2]
    camera = CameraTrack(
        K=assumed_intrinsics(height, width, 50.0)[None],
        T_camera_world=np.diag([1.0, -1.0, -1.0, 1.0])[None],
        kind="static",
        is_metric=False,
        source="fov 50 deg assumed",
    )
    fit = fit_bodies(people, camera, (height, width), 1.0, body)
    boxes = np.stack([person.box_px[0] for person in people])
    box = (*boxes[:, :2].min(0).tolist(), *boxes[:, 2:].max(0).tolist())
    x0, y0, side = place_crop(box, width, height, settings.people_fill)
    window = Window(
        start=0, stride=1, num_frames=1, x0_px=x0, y0_px=y0, side_px=side, size_px=settings.size_px
    )
    K = crop_camera(torch.from_numpy(fit.camera.K.copy()), window).numpy()
    image = crop_video(picture[None], window)[:, 0].permute(1, 2, 0).numpy()
    return Reference(
        image=np.ascontiguousarray(image), bodies=fit.bodies, camera=replace(fit.camera, K=K)
    )


STILL = TrackingSettings(min_visible_s=0.0)
"""A picture shows everybody for one frame only."""


def read_picture(path: Path) -> UInt8[np.ndarray, "height width 3"]:
    """A picture file upright as RGB; transparency becomes white.

    Raises:
        ValueError: If it is no picture, is damaged, or is too large to open safely.
    """
    try:
        with Image.open(path) as file:
            if file.width * file.height > LARGEST_PICTURE_PX:
                raise ValueError(
                    f"{path} has {file.width}x{file.height} pixels, at most {LARGEST_PICTURE_PX} "
                    "are opened; make it smaller"
                )
            upright = ImageOps.exif_transpose(file).convert("RGBA")
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError, SyntaxError) as error:
        raise ValueError(f"{path} is not a readable picture: {error}") from error
    white = Image.new("RGBA", upright.size, "white")
    return np.array(Image.alpha_composite(white, upright).convert("RGB"))


def motion_from_clip(store: Store, clip_id: str, settings: ClipSettings) -> Motion:
    """What the people of a clip do."""
    window, bodies, camera = clip_window(store, clip_id, settings)
    return Motion(
        bodies=bodies,
        camera=camera,
        background=read_window(store, clip_id, shards.BACKGROUND, window),
        truth=read_window(store, clip_id, shards.VIDEO, window),
    )


def motion_from_name(
    name: str, betas: np.ndarray, body: BodyModel, num_frames: int, fps: float
) -> Motion:
    """A motion file (.bvh, .amc, .npz) or a procedural motion by its name, on a body of a shape.

    Raises:
        ValueError: If the name is neither, or the file is malformed.
    """
    skeleton = Skeleton.of(body, betas.copy())  # records are read-only
    times_s = np.arange(num_frames) / fps
    if Path(name).suffix.lower() in READERS:
        moved = retarget(read_motion(Path(name)), times_s, skeleton)
    elif name in MOTIONS:
        moved = MOTIONS[name](0, times_s, skeleton)
    else:
        raise ValueError(
            f"motion must be a clip id, a {', '.join(READERS)} file or one of {sorted(MOTIONS)}"
        )
    bodies = tracks_of(moved, betas, f"{body.name}:{body.digest[:8]}")
    return Motion(bodies=bodies, camera=None, background=None, truth=None)


def tracks_of(motion: BodyMotion, betas: np.ndarray, body_model: str) -> BodyTracks:
    """One moving body as tracks; joints in pixels are filled when a camera is chosen."""
    frames = len(motion.transl)
    return BodyTracks(
        person_id=np.zeros(1, np.int64),
        betas=betas[None].astype(np.float32),
        global_orient=motion.global_orient[None].astype(np.float32),
        body_pose=motion.body_pose[None].astype(np.float32),
        transl=motion.transl[None].astype(np.float32),
        visible=np.ones((1, frames), np.bool_),
        confidence=np.ones((1, frames), np.float32),
        joints_px=np.zeros((1, frames, 24, 2), np.float32),
        body_model=body_model,
    )


def make_camera(
    kind: str, bodies: BodyTracks, body: BodyModel, settings: ClipSettings, fps: float
) -> CameraTrack:
    """A camera that keeps the people in frame.

    Args:
        kind: One of CAMERA_KINDS.
        bodies: Whom to film.
        body: Their body model.
        settings: Size of the picture and how much of it people fill.
        fps: Frames per second.
    """
    spec = named_camera(
        kind,
        fov_deg=CAMERA_FOV_DEG,
        azimuth_deg=_facing_deg(bodies),
        elevation_deg=8.0,
        fill=settings.people_fill,
    )
    sampled = body.subset(body.surface_points(OUTLINE_POINTS))
    posed = _pose(sampled, bodies).vertices.numpy()
    points = np.concatenate(list(posed), axis=1)
    return camera_path(spec, points, settings.size_px, settings.size_px, fps)


def _facing_deg(bodies: BodyTracks) -> float:
    """Azimuth that the first person faces in the middle of the motion."""
    from scipy.spatial.transform import Rotation

    orient = bodies.global_orient[0, bodies.global_orient.shape[1] // 2]
    facing = Rotation.from_rotvec(orient).apply([0.0, 0.0, 1.0])
    return float(np.degrees(np.arctan2(facing[0], facing[2])))


def _pose(body: BodyModel, bodies: BodyTracks) -> Any:
    with torch.no_grad():
        return body.pose(
            torch.from_numpy(bodies.betas.copy())[:, None],
            torch.from_numpy(bodies.global_orient.copy()),
            torch.from_numpy(bodies.body_pose.copy()),
            torch.from_numpy(bodies.transl.copy()),
        )


def with_joints(bodies: BodyTracks, camera: CameraTrack, body: BodyModel) -> BodyTracks:
    """The tracks with their joints seen through a camera."""
    joints = _pose(body.subset(body.surface_points(1)), bodies).joints.double()
    xy_px, _ = project(
        joints, torch.from_numpy(camera.K.copy()), torch.from_numpy(camera.T_camera_world.copy())
    )
    return replace(bodies, joints_px=xy_px.numpy().astype(np.float32))


def pair_people(reference: Reference, bodies: BodyTracks) -> tuple[BodyTracks, BodyTracks]:
    """Motion and reference with the same people in the same order.

    Person p of the motion looks like person p of the reference; further people share the last
    one. The motion takes the shape of the reference's people, feet kept on the floor.
    """
    people = len(bodies.person_id)
    source = np.minimum(np.arange(people), len(reference.bodies.person_id) - 1)
    names = ("betas", *per_frame(reference.bodies))
    still = replace(
        reference.bodies,
        person_id=np.arange(people),
        **{name: getattr(reference.bodies, name)[source] for name in names},
    )
    return replace(bodies, betas=still.betas), still


def keep_floor(before: BodyTracks, after: BodyTracks, body: BodyModel) -> BodyTracks:
    """Lift or lower people whose shape changed so that their lowest points stay as high."""
    sampled = body.subset(body.surface_points(OUTLINE_POINTS))
    lowest = [_pose(sampled, b).vertices[..., 1].amin((1, 2)).numpy() for b in (before, after)]
    transl = after.transl.copy()
    transl[..., 1] += (lowest[0] - lowest[1])[:, None]
    return replace(after, transl=transl)
