"""The labels of a synthetic clip, from what the OpenGL pass drew and from the scene itself.

World frame: metres, y up. Pixels: x right, y down, centres at half-integers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Int16, UInt8

from models.geometry import project
from pipelines.synthetic.actor import Actor
from pipelines.synthetic.renderers.opengl import FrameBuffers
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.flow import FLOW_STEPS_PER_PX, FlowTrack
from storage_schemas.normal import NormalTrack
from storage_schemas.points import PointTracks

SEEN_SHARE = 0.25
"""Share of a person's joints that must show in some frame, past other people and things."""
NUM_BACKGROUND_POINTS = 96
NUM_BODY_POINTS = 64
"""Per person."""
NUM_BODY_CANDIDATES = 512
POINT_FAR_M = 30.0
DEPTH_TOLERANCE = 0.002
"""Relative: a point this much farther than everything around its pixel is hidden."""
DEPTH_BITS = 0xFFFFFF80
"""Kept bits of a float32 depth: 1 part in 131072 (23 um at 3 m), half the bytes on disk."""


class Hidden(ValueError):
    """Somebody of the scene shows in no frame."""


@dataclass(frozen=True, kw_only=True)
class Truth:
    """What is known about every pixel."""

    instance: UInt8[np.ndarray, "frames height width"]
    """0 background, p+1 person p."""
    depth_m: Float32[np.ndarray, "frames height width"]
    """Camera z; inf where nothing is hit."""
    normal: NormalTrack
    flow: FlowTrack


def pixel_truth(frames: Iterable[FrameBuffers]) -> Truth:
    """Gather the truth of a clip's frames; what hides what is decided by their depths."""
    instance: list[np.ndarray] = []
    depth_m: list[np.ndarray] = []
    normal: list[np.ndarray] = []
    flow: list[np.ndarray] = []
    occluded: list[list[np.ndarray]] = [[], []]
    last: FrameBuffers | None = None
    for frame in frames:
        z_m = _rounded(frame.depth[..., 0])
        depth_m.append(np.where(z_m > 0.0, z_m, np.float32(np.inf)))
        instance.append(frame.normal_instance[..., 3].astype(np.uint8))
        normal.append(frame.normal_instance[..., :3])
        flow.append(frame.flow)
        everywhere = np.ones(z_m.shape, np.bool_)
        if last is not None:
            ahead = hidden_there(last.flow[..., :2], last.depth[..., 1], depth_m[-1])
            occluded[0].append(ahead)
        behind = (
            hidden_there(frame.flow[..., 2:], frame.depth[..., 2], depth_m[-2])
            if last is not None
            else everywhere
        )
        occluded[1].append(behind)
        last = frame
    occluded[0].append(np.ones_like(occluded[1][-1]))
    steps = np.stack(flow)
    return Truth(
        instance=np.stack(instance),
        depth_m=np.stack(depth_m),
        normal=NormalTrack(normal=np.stack(normal)),
        flow=FlowTrack(
            forward=steps[..., :2],
            backward=steps[..., 2:],
            forward_occluded=np.stack(occluded[0]),
            backward_occluded=np.stack(occluded[1]),
        ),
    )


def _rounded(depth_m: np.ndarray) -> np.ndarray:
    bits = np.ascontiguousarray(depth_m).view(np.uint32)
    return ((bits + np.uint32(64)) & np.uint32(DEPTH_BITS)).view(np.float32)


def hidden_there(
    flow_steps: Int16[np.ndarray, "height width 2"],
    inverse_depth_there: Float32[np.ndarray, "height width"],
    depth_there_m: Float32[np.ndarray, "height width"],
) -> Bool[np.ndarray, "height width"]:
    """Which pixels' surface points are outside of another frame, or behind what it shows.

    Args:
        flow_steps: From each pixel to its place there, steps of 1 / FLOW_STEPS_PER_PX.
        inverse_depth_there: 1 / z of the same points there; negative behind the camera.
        depth_there_m: What the other frame shows, inf for nothing.
    """
    height, width = flow_steps.shape[:2]
    farthest, _ = _extremes(depth_there_m)
    # in whole steps all is exact: pixel x has its centre at x + 1 / 2
    x, y = _centre_steps(width, height)
    x, y = x + flow_steps[..., 0], y + flow_steps[..., 1]
    is_outside = (x < 0) | (y < 0)
    is_outside |= (x >= width * FLOW_STEPS_PER_PX) | (y >= height * FLOW_STEPS_PER_PX)
    half = FLOW_STEPS_PER_PX // 2
    column = np.clip((x + half) // FLOW_STEPS_PER_PX, 0, width)
    row = np.clip((y + half) // FLOW_STEPS_PER_PX, 0, height)
    is_behind = inverse_depth_there * (1 + DEPTH_TOLERANCE) < farthest.take(
        row * (width + 2) + column
    )
    return is_outside | is_behind


@cache
def _centre_steps(width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    half = FLOW_STEPS_PER_PX // 2
    x, y = (np.arange(n, dtype=np.int32) * FLOW_STEPS_PER_PX + half for n in (width, height))
    return x, y[:, None]


def _is_outside(xy_px: np.ndarray, width: int, height: int) -> np.ndarray:
    x, y = xy_px[..., 0], xy_px[..., 1]
    return (x < 0) | (y < 0) | (x >= width) | (y >= height)


def _around(xy_px: np.ndarray, depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """1 / z of the farthest and nearest of the four pixels around each place.

    1 / z is linear over the picture of a plane, so a plane's own point always lies between them.
    """
    height, width = depth_m.shape
    corner = np.clip(np.floor(xy_px + 0.5), 0, (width, height)).astype(np.int32)
    place = corner[..., 1] * (width + 2) + corner[..., 0]
    low, high = _extremes(depth_m)
    return low.take(place), high.take(place)


def _extremes(depth_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least and largest 1 / z of the four pixels around each corner, [height + 2, width + 2]."""
    inverse = cv2.copyMakeBorder(1.0 / depth_m, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    square = np.ones((2, 2), np.uint8)
    low = cv2.erode(inverse, square, anchor=(0, 0))
    return low, cv2.dilate(inverse, square, anchor=(0, 0))


@dataclass(frozen=True, kw_only=True)
class Candidates:
    """Points of one person's surface that may be tracked, chosen evenly over its area."""

    parts: tuple[tuple[int, np.ndarray], ...]
    """Part and the numbers of its vertices, in an order of their own."""

    @staticmethod
    def of(actor: Actor, seed: int, person: int) -> "Candidates":
        """Draw them from the rest pose."""
        rng = np.random.default_rng((seed, 0xB0D1, person))
        areas = [_vertex_areas(s.vertices, s.faces) for s in actor.surfaces]
        owner = np.repeat(np.arange(len(areas)), [len(area) for area in areas])
        area = np.concatenate(areas)
        count = min(NUM_BODY_CANDIDATES, np.count_nonzero(area))
        chosen = rng.choice(len(area), size=count, replace=False, p=area / area.sum())
        first = np.concatenate([[0], np.cumsum([len(a) for a in areas])])
        parts = [(p, chosen[owner[chosen] == p] - first[p]) for p in range(len(areas))]
        return Candidates(parts=tuple(parts))

    def places(
        self, posed: Sequence[tuple[np.ndarray, np.ndarray]]
    ) -> Float[np.ndarray, "points 6"]:
        """World places and normals in one frame, from `Actor.posed` of every part."""
        picked = [np.concatenate([posed[p][0][i], posed[p][1][i]], 1) for p, i in self.parts]
        return np.concatenate(picked).astype(np.float64)


def _vertex_areas(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    corners = vertices[faces].astype(np.float64)
    sides = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    face_area = np.repeat(np.linalg.norm(sides, axis=1), 3)
    return np.bincount(faces.ravel(), weights=face_area, minlength=len(vertices))


def point_tracks(
    seed: int,
    camera: CameraTrack,
    truth: Truth,
    people: Sequence[Float[np.ndarray, "frames points 6"]],
) -> PointTracks:
    """Tracks of still points and of people's, seen in the first, the middle or the last frame.

    Args:
        seed: Of the scene.
        camera: Of the clip.
        truth: Of the same frames.
        people: Places and normals of every person's candidates.
    """
    still = np.repeat(_still_points(seed, camera, truth)[None], len(camera.K), axis=0)
    xy_px, visible = _seen(still, camera, truth, 0)
    tracks = [(xy_px, visible, np.zeros(len(still[0]), np.uint8))]
    for person, places in enumerate(people):
        xy_px, visible = _seen(places[..., :3], camera, truth, person + 1)
        visible &= _faces_camera(places, camera)
        shown = visible[:, _key_frames(len(camera.K))].any(1)
        chosen = np.flatnonzero(shown)
        chosen = np.random.default_rng((seed, 0xB0D2, person)).permutation(chosen)[:NUM_BODY_POINTS]
        ids = np.full(len(chosen), person + 1, np.uint8)
        tracks.append((xy_px[chosen], visible[chosen], ids))
    xy, visible, instance = (np.concatenate(group) for group in zip(*tracks, strict=True))
    return PointTracks(xy_px=xy, visible=visible, instance=instance)


def _key_frames(frames: int) -> list[int]:
    return sorted({0, frames // 2, frames - 1})


def _still_points(seed: int, camera: CameraTrack, truth: Truth) -> np.ndarray:
    rng = np.random.default_rng((seed, 0x907))
    world = [np.zeros((0, 3))]
    for frame in _key_frames(len(camera.K)):
        usable = (truth.instance[frame] == 0) & (truth.depth_m[frame] < POINT_FAR_M)
        rows, columns = np.nonzero(usable)
        if len(rows) == 0:
            continue
        count = min(NUM_BACKGROUND_POINTS // 3, len(rows))
        chosen = rng.choice(len(rows), size=count, replace=False)
        pixels = np.stack([columns[chosen] + 0.5, rows[chosen] + 0.5, np.ones(count)], 1)
        z = truth.depth_m[frame][rows[chosen], columns[chosen]].astype(float)
        p_camera = pixels @ np.linalg.inv(camera.K[frame]).T * z[:, None]
        T = camera.T_camera_world[frame]
        world.append((p_camera - T[:3, 3]) @ T[:3, :3])
    return np.concatenate(world)


def _seen(
    points: np.ndarray, camera: CameraTrack, truth: Truth, instance: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels [points, frames, 2] of moving points, and where they are the surface that is seen."""
    xy_px, z = project(
        torch.as_tensor(points), torch.tensor(camera.K), torch.tensor(camera.T_camera_world)
    )
    xy, depth = np.clip(xy_px.numpy(), -1e6, 1e6), z.numpy()
    height, width = truth.instance.shape[1:]
    visible = np.zeros(depth.shape, np.bool_)
    for frame in range(len(depth)):
        farthest, nearest = _around(xy[frame], truth.depth_m[frame])
        inverse = 1.0 / np.where(depth[frame] > 0, depth[frame], np.inf)
        column = np.clip(xy[frame, :, 0], 0, width - 1).astype(np.intp)
        row = np.clip(xy[frame, :, 1], 0, height - 1).astype(np.intp)
        visible[frame] = (
            (depth[frame] > 0)
            & ~_is_outside(xy[frame], width, height)
            & (inverse * (1 + DEPTH_TOLERANCE) >= farthest)
            & (inverse <= nearest * (1 + DEPTH_TOLERANCE))
            & (truth.instance[frame][row, column] == instance)
        )
    return np.moveaxis(xy, 0, 1).astype(np.float32), np.moveaxis(visible, 0, 1)


def _faces_camera(places: np.ndarray, camera: CameraTrack) -> np.ndarray:
    T = camera.T_camera_world
    eyes = -np.einsum("tij,ti->tj", T[:, :3, :3], T[:, :3, 3])
    to_eye = eyes[:, None] - places[..., :3]
    return np.einsum("tpi,tpi->pt", places[..., 3:], to_eye) > 0


def body_tracks(
    actors: Sequence[Actor],
    camera: CameraTrack,
    instance: UInt8[np.ndarray, "frames height width"],
) -> BodyTracks:
    """Bodies in the world, their joints in the picture, and when they are seen.

    Args:
        actors: At least one; all have the same body model.
        camera: Of the clip.
        instance: Of the same frames.
    """
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
        confidence=np.ones(seen.shape, np.float32),
        joints_px=np.stack(joints_px).astype(np.float32),
        body_model=actors[0].body_model,
        foot_contact=np.stack([a.foot_contact for a in actors]),
    )


def require_seen(body: BodyTracks, instance: UInt8[np.ndarray, "frames height width"]) -> None:
    """Check that everybody can be seen: SEEN_SHARE of the joints on the own mask in some frame.

    Raises:
        Hidden: Naming who is not.
    """
    frames, height, width = instance.shape
    frame = np.arange(frames)[:, None]
    for person, joints_px in enumerate(body.joints_px):
        column, row = np.floor(np.clip(joints_px, 0, (width - 1, height - 1))).astype(int).T
        share = (instance[frame, row.T, column.T] == person + 1).mean(1).max()
        if share < SEEN_SHARE:
            raise Hidden(
                f"person {person} shows at most {share:.0%} in any frame, less than "
                f"{SEEN_SHARE:.0%}: others or things stand before it all the time"
            )
