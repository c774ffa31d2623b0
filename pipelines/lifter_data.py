"""What the detector says about rendered people, beside where their joints are.

A shot is one picture of one to three people in poses of `pipelines.synthetic.poses`, each person
looked at through a window as the tracker would hold it. The pairs train `models.lifter`.
Camera frame: OpenCV, metres.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel, PosedBody
from pipelines.annotate.backends.mediapipe_pose import MediaPipePose
from pipelines.annotate.backends.observation import Roi
from pipelines.annotate.body_landmarks import NUM_KEYPOINTS, map_landmarks
from pipelines.synthetic.actor import Actor
from pipelines.synthetic.camera_path import OutOfFrame
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.poses import Poses, pose_library, sample_poses
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, View
from pipelines.synthetic.scene import SceneSettings, sample_scene
from pipelines.synthetic.world import World, build_world
from storage_schemas.arrays import read_npz, write_npz

SOLE_M = 0.07
"""From the lowest joint of a body to the floor."""
LOST = 0.35
"""A detection farther from the person than this share of its size is of somebody else."""


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Detections and truths of single person-frames."""

    keypoints_px: Float32[np.ndarray, "pairs 33 2"]
    confidence: Float32[np.ndarray, "pairs 33"]
    world_m: Float32[np.ndarray, "pairs 33 3"]
    K: Float32[np.ndarray, "pairs 3 3"]
    points_m: Float32[np.ndarray, "pairs 57 3"]
    """24 SMPL joints, then the 33 landmarks of `body_landmarks`, camera frame."""

    def to_npz(self) -> bytes:
        """As a file."""
        return write_npz({field.name: getattr(self, field.name) for field in fields(self)})

    @staticmethod
    def join(files: Sequence[Path]) -> "Pairs":
        """All pairs of some files.

        Raises:
            ValueError: If there are none.
        """
        arrays = [read_npz(path.read_bytes()) for path in files]
        if not arrays:
            raise ValueError(
                "no pairs to train on; make some with `python -m pipelines.lifter_data`"
            )
        return Pairs(**{name: np.concatenate([a[name] for a in arrays]) for name in arrays[0]})


def make_pairs(seed: int, num_frames: int, size_px: int = 256) -> Pairs | None:
    """Pairs from one drawn world; None where its camera cannot hold the people."""
    settings = SceneSettings(
        width=size_px,
        height=size_px,
        num_frames=num_frames,
        fps=6.0,
        num_people=(2, 2),
        framing="fill",
    )
    rng = np.random.default_rng((seed, 0x11F7))
    try:
        world = build_world(sample_scene(seed, settings))
    except OutOfFrame:
        return None
    actors = tuple(_repose(rng, actor) for actor in world.actors)
    rows = [row for shot in _draw(rng, replace(world, actors=actors)) for row in shot]
    if not rows:
        return None
    columns = zip(*rows, strict=True)
    names = [field.name for field in fields(Pairs)]
    return Pairs(**{n: np.stack(c).astype(np.float32) for n, c in zip(names, columns, strict=True)})


def _repose(rng: np.random.Generator, actor: Actor) -> Actor:
    """The actor in another pose in every frame, about where it was, on the floor."""
    body, betas = _body(), actor.character.betas
    frames = len(actor.motion.transl)
    poses = sample_poses(rng, _library(), frames, Skeleton.of(body, betas))
    transl = actor.motion.transl.copy()

    def place(transl: np.ndarray) -> PosedBody:
        return body.subset(body.surface_points(1)).pose(
            *(
                torch.as_tensor(a, dtype=torch.float32)
                for a in (betas, poses.global_orient, poses.body_pose, transl)
            )
        )

    lowest = place(transl).joints[..., 1].amin(-1).numpy()
    transl[:, 1] += (
        SOLE_M - lowest + np.abs(rng.normal(0, 0.1, frames)) * (rng.random(frames) < 0.3)
    )
    posed = place(transl)
    motion = replace(
        actor.motion, global_orient=poses.global_orient, body_pose=poses.body_pose, transl=transl
    )
    return replace(
        actor, motion=motion, joints=posed.joints.numpy(), T_world_joint=posed.T_world_joint.numpy()
    )


@cache
def _body() -> BodyModel:
    return BodyModel.load()


@cache
def _library() -> Poses:
    body = _body()
    return pose_library(1, Skeleton.of(body, np.zeros(10, np.float32)), 40)


Row = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def _draw(rng: np.random.Generator, world: World) -> Iterator[list[Row]]:
    spec, detector = world.spec, _detector()
    points = [_points(actor) for actor in world.actors]
    with OpenGLRenderer(
        width=spec.width,
        height=spec.height,
        still=world.environment.still,
        people=[actor.surfaces for actor in world.actors],
        lighting=world.environment.lighting,
        shadow_centre=world.shadow_centre,
        shadow_radius_m=world.shadow_radius_m,
    ) as renderer:
        for frame in range(spec.num_frames):
            for person, actor in enumerate(world.actors):
                for part in range(len(actor.surfaces)):
                    renderer.pose(person, part, *actor.posed(part, frame))
            view = _vary(rng, world, frame)
            picture = renderer.render(view).rgb
            in_camera = [p[frame] @ view.T_camera_world[:3, :3].T + view.T_camera_world[:3, 3]
                         for p in points]  # fmt: skip
            yield [row for p in in_camera if (row := _look(rng, detector, picture, view.K, p))]


@cache
def _detector() -> MediaPipePose:
    return MediaPipePose()


def _points(actor: Actor) -> np.ndarray:
    """The 57 points of every frame, world."""
    body = _body()
    betas = torch.as_tensor(actor.character.betas, dtype=torch.float32)
    T = torch.as_tensor(actor.T_world_joint)
    joints = torch.as_tensor(actor.joints)
    landmarks = map_landmarks(body).place(betas, body.shape(betas).joints, joints, T[..., :3, :3])
    return torch.cat([joints, landmarks[:, :NUM_KEYPOINTS]], 1).numpy()


def _vary(rng: np.random.Generator, world: World, frame: int) -> View:
    """The path's camera, shaken, turned about its axis and zoomed a little."""
    K, T = world.camera.K[frame].copy(), world.camera.T_camera_world[frame]
    K[(0, 1), (0, 1)] *= np.exp(rng.normal(0.0, 0.12))
    degrees = rng.normal(0.0, (2.0, 2.0, 5.0)) * (K[0, 2] / K[0, 0]) / 0.35
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_rotvec(np.radians(degrees)).as_matrix()
    return View(K=K, T_camera_world=turn @ T)


def _look(
    rng: np.random.Generator, detector: MediaPipePose, picture: np.ndarray, K: np.ndarray,
    points_m: np.ndarray,
) -> Row | None:  # fmt: skip
    """What the detector finds in a window that is as good as one of the tracker's."""
    if points_m[:, 2].min() < 0.3:
        return None
    xy_px = points_m[:, :2] / points_m[:, 2:] @ K[:2, :2].T + K[:2, 2]
    hips = xy_px[[1, 2]].mean(0)
    reach_px = float(np.linalg.norm(xy_px - hips, axis=1).max())
    up = xy_px[12] - hips
    roi = Roi(
        x_px=float(hips[0] + rng.normal(0, 0.06) * reach_px),
        y_px=float(hips[1] + rng.normal(0, 0.06) * reach_px),
        size_px=max(float(2.5 * reach_px * np.exp(rng.normal(0, 0.08))), 8.0),
        rotation_rad=float(np.arctan2(up[0], -up[1]) + rng.normal(0, 0.12)),
    )
    found = detector.follow(picture, roi)
    if found is None:
        return None
    error_px = np.linalg.norm(found.keypoints_px - xy_px[24:], axis=1).mean()
    if error_px > LOST * reach_px or float(found.keypoint_confidence.mean()) < 0.15:
        return None
    return found.keypoints_px, found.keypoint_confidence, found.world_keypoints_m, K, points_m


def posed_points(seed: int, count: int) -> Float32[np.ndarray, "poses 57 3"]:
    """Points of poses without a picture: axes of a camera that looks at them, metres."""
    rng, body = np.random.default_rng((seed, 0x905E)), _body()
    skeleton = Skeleton.of(body, np.zeros(10, np.float32))
    landmarks, rest = map_landmarks(body), body.subset(body.surface_points(1))
    parts = []
    for _ in range(0, count, 4000):
        poses = sample_poses(rng, _library(), 4000, skeleton)
        betas = torch.as_tensor(rng.normal(0.0, 1.0, (4000, 10)), dtype=torch.float32)
        orient, bent = (torch.tensor(a) for a in (poses.global_orient, poses.body_pose))
        posed = rest.pose(betas, orient, bent, torch.zeros(3))
        R = posed.T_world_joint[..., :3, :3]
        marks = landmarks.place(betas, body.shape(betas).joints, posed.joints, R)
        points = torch.cat([posed.joints, marks[:, :NUM_KEYPOINTS]], 1).numpy()
        raised = np.radians(rng.normal(8.0, 16.0, 4000))
        zero, one, c, s = 0 * raised, 0 * raised + 1, np.cos(raised), np.sin(raised)
        rows = [one, zero, zero, zero, -c, s, zero, -s, -c]
        R_camera_world = np.stack(rows, 1).reshape(-1, 3, 3)
        parts.append((points @ R_camera_world.transpose(0, 2, 1)).astype(np.float32))
    return np.concatenate(parts)[:count]


def make_world_files(out: Path, seeds: Sequence[int], num_frames: int) -> int:
    """One file of pairs per world, kept where it is there; returns how many pairs are new."""
    out.mkdir(parents=True, exist_ok=True)
    total = 0
    for seed in seeds:
        path = out / f"{seed:06d}.npz"
        pairs = None if path.exists() else make_pairs(seed, num_frames)
        if pairs is not None:
            temporary = path.with_suffix(".part")
            temporary.write_bytes(pairs.to_npz())
            temporary.rename(path)
            total += len(pairs.K)
    return total


def main(arguments: Sequence[str] | None = None) -> int:
    """Part of the worlds, so that several processes can share the work; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.lifter_data", description=__doc__)
    parser.add_argument("out", type=Path, help="folder of the pairs, one file per world")
    parser.add_argument("--seed", type=int, default=0, help="of the first world")
    parser.add_argument("--count", type=int, default=300, help="worlds")
    parser.add_argument("--frames", type=int, default=24, help="pictures of each world")
    options = parser.parse_args(arguments)
    seeds = range(options.seed, options.seed + options.count)
    new = make_world_files(options.out, seeds, options.frames)
    sys.stdout.write(f"{new} new pairs in {options.out}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
