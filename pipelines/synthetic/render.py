"""Synthetic clips with exact truth: a clip is a pure function of its scene record.

World frame: metres, y up. Camera: OpenCV. Frames are uint8 RGB; row 0 is the top.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
from jaxtyping import Float, UInt8

from pipelines.camera_caption import describe_camera
from pipelines.h264 import X264
from pipelines.synthetic.actor import Actor
from pipelines.synthetic.renderers.blender import (
    EEVEE_SAMPLES,
    SAMPLES,
    blender_version,
    draw_blender,
    draw_eevee,
)
from pipelines.synthetic.renderers.opengl import FrameBuffers, OpenGLRenderer, View
from pipelines.synthetic.scanned import body_of
from pipelines.synthetic.scene import SceneSpec
from pipelines.synthetic.truth import (
    Candidates,
    Truth,
    body_tracks,
    pixel_truth,
    point_tracks,
    require_seen,
)
from pipelines.synthetic.world import Pictures, World, build_world
from pipelines.video_io import encode_mp4
from storage_schemas import shards
from storage_schemas.background import BackgroundValid
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.depth import DepthTrack
from storage_schemas.flow import FlowTrack
from storage_schemas.mask import MaskTrack
from storage_schemas.normal import NormalTrack
from storage_schemas.points import PointTracks

CODE_VERSION = "4"
PRESET = "veryfast"
VERBS = {
    "walk": "walks",
    "run": "runs",
    "turn": "turns around",
    "jump": "jumps",
    "squat": "squats",
    "sit": "sits down on the floor",
    "dance": "dances",
    "wave": "waves",
    "point": "points",
    "clap": "claps",
    "stretch": "stretches",
    "reach": "reaches for something",
    "bow": "bows",
    "kick": "kicks",
    "box": "boxes",
    "mocap": "moves",
}


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """What the OpenGL pass draws in one go: pictures, and the truth of every tier."""

    pictures: Pictures
    truth: Truth
    candidates: tuple[Float[np.ndarray, "frames points 6"], ...]
    """Per person: places and normals of points that may be tracked, world metres."""


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
    normal: NormalTrack
    flow: FlowTrack
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
        chosen = [Candidates.of(a, spec.seed, p) for p, a in enumerate(world.actors)]
        moments = _Moments(world.actors, chosen)
        pictures: list[tuple[np.ndarray, np.ndarray]] = []
        truth = pixel_truth(_draw_frames(renderer, world.camera, moments, pictures))
    return Drawing(
        pictures=Pictures(
            frames=np.stack([rgb for rgb, _ in pictures]),
            plate=np.stack([plate for _, plate in pictures]),
        ),
        truth=truth,
        candidates=tuple(np.stack(places) for places in moments.places),
    )


class _Moments:
    """Everybody's surfaces frame after frame, posed once; the candidates' places are kept."""

    def __init__(self, actors: Sequence[Actor], chosen: Sequence[Candidates]) -> None:
        self._actors, self._chosen = actors, chosen
        self.places: list[list[np.ndarray]] = [[] for _ in actors]

    def pose(self, frame: int) -> list[list[tuple[np.ndarray, np.ndarray]]]:
        """Vertices and normals of every part of every person; call it with 0, 1, 2 ..."""
        people: list[list[tuple[np.ndarray, np.ndarray]]] = []
        for actor, chosen, places in zip(self._actors, self._chosen, self.places, strict=True):
            parts = [actor.posed(part, frame) for part in range(len(actor.surfaces))]
            places.append(chosen.places(parts))
            people.append(parts)
        return people


def _draw_frames(
    renderer: OpenGLRenderer,
    camera: CameraTrack,
    moments: _Moments,
    pictures: list[tuple[np.ndarray, np.ndarray]],
) -> Iterator[FrameBuffers]:
    """Each frame with the frames beside it, which the flow needs; its pictures go to the list."""
    views = [
        View(K=K, T_camera_world=T) for K, T in zip(camera.K, camera.T_camera_world, strict=True)
    ]
    if camera.kind == "static":
        views = [views[0]] * len(views)
    last = len(views) - 1
    now = before = moments.pose(0)
    for frame, view in enumerate(views):
        after = moments.pose(frame + 1) if frame < last else now
        for person, parts in enumerate(now):
            for part, (vertices, normals) in enumerate(parts):
                places = after[person][part][0], before[person][part][0]
                renderer.pose(person, part, vertices, normals, *places)
        beside = {"after": views[min(frame + 1, last)], "before": views[max(frame - 1, 0)]}
        drawn = renderer.render(view, **beside)
        pictures.append((drawn.rgb, drawn.plate))
        yield drawn
        before, now = now, after


def draw_opengl(world: World) -> Pictures:
    """The pictures of the OpenGL pass."""
    return draw_world(world).pictures


OPENGL = "opengl"
TIERS: dict[str, Callable[[World], Pictures]] = {
    OPENGL: draw_opengl,
    "blender": draw_blender,
    "eevee": draw_eevee,
}
"""Where pictures come from; the truth comes from the OpenGL pass whichever is chosen."""


def renderer(tier: str) -> dict[str, str | int]:
    """What determines the pixels of a tier besides the scene and our code.

    Raises:
        RuntimeError: If the tier needs Blender and there is none.
    """
    samples = {"blender": SAMPLES, "eevee": EEVEE_SAMPLES}
    if tier not in samples:
        return {}
    return {"blender": blender_version(), "samples": samples[tier]}


def render_clip(spec: SceneSpec, tier: str = OPENGL) -> RenderedClip:
    """Draw a scene; `tier` names the maker of its pictures.

    Raises:
        ValueError: If there is no such tier, or a file of the scene is missing, changed or
            malformed.
        Hidden: If somebody is never seen.
        RuntimeError: If there is no OpenGL.
    """
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {sorted(TIERS)}, got {tier!r}")
    world = build_world(spec)
    drawing = draw_world(world)  # its own pictures come almost free: people are posed once
    body = body_tracks(world.actors, world.camera, drawing.truth.instance)
    require_seen(body, drawing.truth.instance)
    pictures = drawing.pictures if tier == OPENGL else TIERS[tier](world)
    truth = drawing.truth
    return RenderedClip(
        frames=pictures.frames,
        plate=pictures.plate,
        instance=truth.instance,
        depth_m=truth.depth_m,
        normal=truth.normal,
        flow=truth.flow,
        body=body,
        camera=world.camera,
        points=point_tracks(spec.seed, world.camera, truth, drawing.candidates),
    )


def caption(spec: SceneSpec, clip: RenderedClip) -> str:
    """What the scene shows, in a sentence; what the camera does is read from its path."""
    acts = " and ".join(f"one person {VERBS[person.motion]}" for person in spec.people)
    camera = describe_camera(clip.camera, spec.fps, clip.body.transl.astype(float))
    return f"{acts} {spec.environment.place}, {camera}"


def clip_record(
    spec: SceneSpec, clip: RenderedClip, tier: str = OPENGL, encoder: str = X264
) -> ClipRecord:
    """The clip's record; its source is the scene itself."""
    stamps_ns = np.round(np.arange(spec.num_frames + 1) * 1e9 / spec.fps).astype(np.int64)
    return ClipRecord(
        clip_id=spec.clip_id,
        source="synthetic",
        uri=f"synthetic:seed={spec.seed}",
        source_sha256=spec.performance_sha256,
        licence=spec.licence,
        start_ns=0,
        end_ns=int(stamps_ns[-1]),
        fps=spec.fps,
        num_frames=spec.num_frames,
        width=spec.width,
        height=spec.height,
        timestamps_ns=stamps_ns[:-1],
        caption=caption(spec, clip),
        provenance={
            "render": {
                "backend": tier,
                "encoder": encoder,
                **renderer(tier),
                "code_version": CODE_VERSION,
                "weights": body_of(spec.people[0].scan).digest,
                "performance_id": spec.performance_id,
                "parameters": asdict(spec),
            }
        },
    )


def render_members(
    spec: SceneSpec, tier: str = OPENGL, encoder: str = X264
) -> tuple[str, dict[str, bytes]]:
    """Clip id and the members of a finished shard sample, in shard order."""
    encode = partial(encode_mp4, fps=spec.fps, preset=PRESET, encoder=encoder)
    clip = render_clip(spec, tier)
    valid = BackgroundValid(valid=np.ones(clip.instance.shape, np.bool_))
    return spec.clip_id, {
        shards.CLIP: clip_record(spec, clip, tier, encoder).to_json(),
        shards.VIDEO: encode(clip.frames),
        shards.BODY: clip.body.to_npz(),
        shards.CAMERA: clip.camera.to_npz(),
        shards.MASK: MaskTrack(instance=clip.instance).to_npz(),
        shards.BACKGROUND: encode(clip.plate),
        shards.BACKGROUND_VALID: valid.to_npz(),
        shards.POINTS: clip.points.to_npz(),
        shards.DEPTH: DepthTrack(depth_m=clip.depth_m).to_npz(),
        shards.FLOW: clip.flow.to_npz(),
        shards.NORMAL: clip.normal.to_npz(),
    }
