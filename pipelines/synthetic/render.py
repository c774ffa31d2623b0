"""Synthetic clips with exact truth: a clip is a pure function of its scene record.

World frame: metres, y up. Camera: OpenCV. Frames are uint8 RGB; row 0 is the top.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from models.geometry import project
from pipelines.synthetic.actor import Actor, shipped_body
from pipelines.synthetic.renderers.opengl import FrameBuffers, OpenGLRenderer
from pipelines.synthetic.scene import SceneSpec
from pipelines.synthetic.world import Pictures, World, build_world
from pipelines.video_io import encode_mp4
from storage_schemas import shards
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.depth import DepthTrack
from storage_schemas.mask import MaskTrack
from storage_schemas.points import PointTracks

CODE_VERSION = "1"
NUM_POINTS = 96
POINT_FAR_M = 30.0
DEPTH_TOLERANCE = 0.02
"""Relative: a tracked point is seen when the depth map agrees this well with its own depth."""
VERBS = {
    "walk": "walks",
    "turn": "turns around",
    "wave": "waves",
    "squat": "squats",
    "dance": "dances",
    "mocap": "moves",
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What the OpenGL pass draws in one go: pictures, and the truth of every tier."""

    pictures: Pictures
    instance: UInt8[np.ndarray, "frames height width"]
    """0 background, p+1 person p."""
    depth_m: Float[np.ndarray, "frames height width"]
    """Camera z; inf where nothing is hit."""


@dataclass(frozen=True, kw_only=True)
class RenderedClip:
    """A clip and the truth about it; frame i of every field belongs together."""

    frames: UInt8[np.ndarray, "frames height width 3"]
    plate: UInt8[np.ndarray, "frames height width 3"]
    """The same without people and without their shadows."""
    instance: UInt8[np.ndarray, "frames height width"]
    """0 background, p+1 person p."""
    depth_m: Float[np.ndarray, "frames height width"]
    """Camera z; inf where nothing is hit."""
    body: BodyTracks
    camera: CameraTrack
    points: PointTracks


def draw_world(world: World) -> Drawing:
    """Pose everybody frame by frame and draw."""
    spec = world.spec
    with OpenGLRenderer(
        width=spec.width,
        height=spec.height,
        still=world.environment.still,
        people=[actor.surfaces for actor in world.actors],
        lighting=world.environment.lighting,
        shadow_centre=world.shadow_centre,
        shadow_radius_m=world.shadow_radius_m,
    ) as renderer:
        buffers = _draw_frames(renderer, world.actors, world.camera)
        plate = _draw_plate(renderer, world.camera)
    return Drawing(
        pictures=Pictures(frames=np.stack([b.rgb for b in buffers]), plate=plate),
        instance=np.stack([b.instance for b in buffers]),
        depth_m=np.stack([b.depth_m for b in buffers]),
    )


def draw_opengl(world: World) -> Pictures:
    """The pictures of the OpenGL pass."""
    return draw_world(world).pictures


OPENGL = "opengl"
TIERS: dict[str, Callable[[World], Pictures]] = {OPENGL: draw_opengl}
"""Where pictures come from; the truth comes from the OpenGL pass whichever is chosen."""


def render_clip(spec: SceneSpec, tier: str = OPENGL) -> RenderedClip:
    """Draw a scene; `tier` names the maker of its pictures.

    Raises:
        ValueError: If there is no such tier, or a file of the scene is missing, changed or
            malformed.
        RuntimeError: If there is no OpenGL.
    """
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {sorted(TIERS)}, got {tier!r}")
    world = build_world(spec)
    drawing = draw_world(world)  # its own pictures come almost free: people are posed once
    pictures = drawing.pictures if tier == OPENGL else TIERS[tier](world)
    instance, depth_m = drawing.instance, drawing.depth_m
    return RenderedClip(
        frames=pictures.frames,
        plate=pictures.plate,
        instance=instance,
        depth_m=depth_m,
        body=_body_tracks(spec, world.actors, world.camera, instance),
        camera=world.camera,
        points=_background_points(spec.seed, world.camera, instance, depth_m),
    )


def _draw_frames(
    renderer: OpenGLRenderer, actors: Sequence[Actor], camera: CameraTrack
) -> list[FrameBuffers]:
    buffers = []
    for frame in range(len(camera.K)):
        for person, actor in enumerate(actors):
            for part in range(len(actor.surfaces)):
                renderer.pose(person, part, *actor.posed(part, frame))
        buffers.append(renderer.render(camera.K[frame], camera.T_camera_world[frame]))
    return buffers


def _draw_plate(renderer: OpenGLRenderer, camera: CameraTrack) -> np.ndarray:
    """The empty scene; one picture serves every frame of a camera that does not move."""
    if camera.kind == "static":
        picture = renderer.render_plate(camera.K[0], camera.T_camera_world[0])
        return np.repeat(picture[None], len(camera.K), axis=0)
    views = zip(camera.K, camera.T_camera_world, strict=True)
    return np.stack([renderer.render_plate(K, T) for K, T in views])


def _body_tracks(
    spec: SceneSpec, actors: Sequence[Actor], camera: CameraTrack, instance: np.ndarray
) -> BodyTracks:
    body = shipped_body()
    K, T = torch.tensor(camera.K), torch.tensor(camera.T_camera_world)
    people = np.arange(len(actors))
    seen = (instance[None] == (people + 1)[:, None, None, None]).any((-1, -2))
    joints_px = [project(torch.as_tensor(a.joints).double(), K, T)[0].numpy() for a in actors]
    return BodyTracks(
        person_id=people.astype(np.int64),
        betas=np.stack([a.character.betas for a in actors]).astype(np.float32),
        global_orient=np.stack([a.motion.global_orient for a in actors]),
        body_pose=np.stack([a.motion.body_pose for a in actors]),
        transl=np.stack([a.motion.transl for a in actors]),
        visible=seen,
        confidence=np.ones((len(actors), spec.num_frames), np.float32),
        joints_px=np.stack(joints_px).astype(np.float32),
        body_model=f"{body.name}:{body.digest}",
    )


def _background_points(
    seed: int, camera: CameraTrack, instance: np.ndarray, depth_m: np.ndarray
) -> PointTracks:
    """Tracks of still points picked in the first, middle and last frame."""
    rng = np.random.default_rng((seed, 0x907))
    frames, height, width = instance.shape
    world: list[np.ndarray] = []
    for frame in sorted({0, frames // 2, frames - 1}):
        usable = (instance[frame] == 0) & (depth_m[frame] < POINT_FAR_M)
        rows, columns = np.nonzero(usable)
        if len(rows) == 0:
            continue
        chosen = rng.choice(len(rows), size=min(NUM_POINTS // 3, len(rows)), replace=False)
        pixels = np.stack([columns[chosen] + 0.5, rows[chosen] + 0.5, np.ones(len(chosen))], 1)
        z = depth_m[frame][rows[chosen], columns[chosen]].astype(float)
        p_camera = pixels @ np.linalg.inv(camera.K[frame]).T * z[:, None]
        T = camera.T_camera_world[frame]
        world.append((p_camera - T[:3, 3]) @ T[:3, :3])
    points = np.concatenate(world) if world else np.zeros((0, 3))
    xy_px, z = project(
        torch.as_tensor(points)[None],
        torch.tensor(camera.K),
        torch.tensor(camera.T_camera_world),
    )
    xy, depth = xy_px.numpy(), z.numpy()
    inside = (depth > 0) & (xy >= 0).all(-1) & (xy < np.array([width, height])).all(-1)
    column = np.clip(xy[..., 0], 0, width - 1).astype(int)
    row = np.clip(xy[..., 1], 0, height - 1).astype(int)
    index = np.arange(frames)[:, None]
    agrees = np.abs(depth_m[index, row, column] - depth) < DEPTH_TOLERANCE * np.abs(depth)
    visible = inside & agrees & (instance[index, row, column] == 0)
    return PointTracks(
        xy_px=np.moveaxis(np.clip(xy, -1e6, 1e6), 0, 1).astype(np.float32),
        visible=np.moveaxis(visible, 0, 1),
    )


def caption(spec: SceneSpec) -> str:
    """What the scene shows, in a sentence."""
    acts = " and ".join(f"one person {VERBS[person.motion]}" for person in spec.people)
    camera = {"static": "the camera rests"}.get(spec.camera.kind, f"{spec.camera.kind} camera")
    return f"{acts} on {spec.environment.ground}, {camera}"


def clip_record(spec: SceneSpec, tier: str = OPENGL) -> ClipRecord:
    """The clip's record; its source is the scene itself."""
    stamps_ns = np.round(np.arange(spec.num_frames + 1) * 1e9 / spec.fps).astype(np.int64)
    body = shipped_body()
    return ClipRecord(
        clip_id=spec.clip_id,
        source="synthetic",
        uri=f"synthetic:seed={spec.seed}",
        source_sha256=spec.sha256,
        licence="CC0-1.0",
        start_ns=0,
        end_ns=int(stamps_ns[-1]),
        fps=spec.fps,
        num_frames=spec.num_frames,
        width=spec.width,
        height=spec.height,
        timestamps_ns=stamps_ns[:-1],
        caption=caption(spec),
        provenance={
            "render": {
                "backend": tier,
                "code_version": CODE_VERSION,
                "weights": body.digest,
                "parameters": asdict(spec),
            }
        },
    )


def render_members(spec: SceneSpec, tier: str = OPENGL) -> tuple[str, dict[str, bytes]]:
    """Clip id and the members of a finished shard sample, in shard order."""
    clip = render_clip(spec, tier)
    valid = BackgroundValid(valid=np.ones(clip.instance.shape, np.bool_))
    return spec.clip_id, {
        shards.CLIP: clip_record(spec, tier).to_json(),
        shards.VIDEO: encode_mp4(clip.frames, spec.fps),
        shards.BODY: clip.body.to_npz(),
        shards.CAMERA: clip.camera.to_npz(),
        shards.MASK: MaskTrack(instance=clip.instance).to_npz(),
        shards.BACKGROUND: encode_mp4(clip.plate, spec.fps),
        shards.BACKGROUND_VALID: valid.to_npz(),
        shards.POINTS: clip.points.to_npz(),
        shards.DEPTH: DepthTrack(depth_m=clip.depth_m).to_npz(),
    }
