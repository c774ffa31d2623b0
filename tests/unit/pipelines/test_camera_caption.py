"""Words agree with the path of the camera, whoever made it."""

from collections import Counter

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.camera_caption import WORDS, describe_camera
from pipelines.synthetic.camera_path import CameraSpec, Move, camera_path
from pipelines.synthetic.camera_program import CAMERA_KINDS, sample_camera
from storage_schemas.camera import CameraTrack

FPS = 24.0


def track(kind, rotvec_deg=(0, 0, 0), centre_m=(0, 0, 0)):
    """Last pose: the world turned by the vector in camera axes, camera at `centre_m` of frame 0."""
    T = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (2, 1, 1))
    T[1, :3, :3] = Rotation.from_rotvec(rotvec_deg, degrees=True).as_matrix() @ T[0, :3, :3]
    T[1, :3, 3] = -T[1, :3, :3] @ T[0, :3, :3].T @ np.array(centre_m)
    K = np.tile(np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), (2, 1, 1))
    return CameraTrack(K=K, T_camera_world=T, kind=kind, is_metric=False, source="test")


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (track("static"), "static camera"),
        (track("unknown"), "unknown camera motion"),
        # what lies ahead goes to the left of the picture
        (track("rotation", (0, -20, 0)), "pans right"),
        (track("rotation", (0, 20, 0)), "pans left"),
        # what lies ahead goes up in the picture
        (track("rotation", (20, 0, 0)), "tilts down"),
        (track("rotation", (0, 0, 1)), "hardly moves"),
        (track("moving", centre_m=(0, 0, 1)), "pushes in"),
        (track("moving", centre_m=(-1, 0, 0)), "moves left"),
        (track("moving", (0, -20, 0), (-1, 0, 0)), "orbits left"),
        (track("moving", (0, 20, 0), (-1, 0, 0)), "pans left"),
    ],
)
def test_two_poses_are_put_into_words(camera, words):
    assert words in describe_camera(camera, 2.0)


def person(frames, way_m_s):
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.3, 0.0, -0.2), (0.3, 1.7, 0.2), (12, 3))
    time_s = (np.arange(frames) / FPS - frames / FPS / 2)[:, None, None]
    return points + time_s * np.array([way_m_s[0], 0.0, way_m_s[1]])


def drawn(seed: int, kind: str) -> tuple[CameraSpec, CameraTrack, np.ndarray]:
    """A program of two to four seconds about a person who walks or stands."""
    rng = np.random.default_rng((seed, CAMERA_KINDS.index(kind)))
    frames = int(rng.choice([49, 73, 97]))
    spec = sample_camera(
        rng, (kind,), fills=bool(rng.random() < 0.5), duration_s=frames / FPS, aspect=1.0
    )
    walks = spec.follow != "none" or rng.random() < 0.3
    towards = rng.uniform(0, 2 * np.pi)
    way_m_s = rng.uniform(0.7, 1.5) * np.array([np.sin(towards), np.cos(towards)]) * walks
    points = person(frames, way_m_s)
    return spec, camera_path(spec, points, 96, 96, FPS), points.mean(1)[None]


def expected(spec: CameraSpec) -> list[tuple[str, ...]]:
    """For every part of a program the words of which one must be said."""
    kinds = {move.kind: move.amount for move in spec.moves}
    if kinds.get("dolly", 0.0) == -kinds.get("zoom", 1.0):
        kinds = {"dolly_zoom": kinds["dolly"]}
    words = [WORDS[kind][:2] if amount > 0 else WORDS[kind][2:] for kind, amount in kinds.items()]
    words += [("follow",)] if spec.follow != "none" else []
    words += [("hand-held",)] if spec.shake_deg else []
    return words or [("static camera",)]


def test_words_name_the_moves_of_drawn_programs():
    right, missed = Counter(), []
    for kind in CAMERA_KINDS:
        for seed in range(12):
            spec, camera, people = drawn(seed, kind)
            text = describe_camera(camera, FPS, people)
            named = all(any(word in text for word in words) for words in expected(spec))
            if named and ("hand-held" in text) == bool(spec.shake_deg):
                right[kind] += 1
            else:
                missed.append((kind, text, spec))
    assert sum(right.values()) >= 0.95 * 12 * len(CAMERA_KINDS), missed
    for kind in set(CAMERA_KINDS) - {"blend"}:
        assert right[kind] >= 11, missed


def test_single_moves_are_named_without_knowing_where_people_are():
    kinds = ("pan", "tilt", "zoom", "dolly", "truck", "orbit", "crane", "static")
    missed = []
    for kind in kinds:
        for seed in range(8):
            spec, camera, _ = drawn(seed, kind)
            text = describe_camera(camera, FPS)
            if not any(word in text for word in expected(spec)[0]):
                missed.append((text, spec))
    assert len(missed) <= 2, missed


def test_the_other_side_is_never_named():
    for kind in ("pan", "truck", "orbit", "tilt", "crane", "dolly", "zoom"):
        for seed in range(10):
            spec, camera, people = drawn(seed, kind)
            (move,) = spec.moves
            others = WORDS[kind][2:] if move.amount > 0 else WORDS[kind][:2]
            text = describe_camera(camera, FPS, people)
            assert not any(word in text for word in others), (text, spec)


def test_the_scale_of_the_world_changes_no_word():
    for kind in ("orbit", "truck", "dolly", "crane", "follow", "pan"):
        _, camera, people = drawn(1, kind)
        T = camera.T_camera_world.copy()
        T[:, :3, 3] *= 7.0
        larger = CameraTrack(
            K=camera.K, T_camera_world=T, kind=camera.kind, is_metric=False, source="test"
        )
        text = describe_camera(camera, FPS, people)
        assert describe_camera(larger, FPS, 7.0 * people) == text


def test_moves_in_turn_are_told_in_turn():
    points = person(72, (0.0, 0.0))
    moves = (Move(kind="orbit", amount=-50.0, end=0.5), Move(kind="dolly", amount=0.7, start=0.5))
    spec = CameraSpec(fov_deg=40.0, azimuth_deg=20.0, elevation_deg=5.0, fill=0.8, moves=moves)
    text = describe_camera(camera_path(spec, points, 96, 96, FPS), FPS, points.mean(1)[None])
    assert text == "the camera orbits left, then pushes in"
