"""The ladder static, rotation, moving on textured scenes made here."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.annotate.camera import (
    R_CAMERA_WORLD_UPRIGHT,
    CameraSettings,
    assumed_intrinsics,
    estimate_camera,
    interpolate_poses,
)
from pipelines.evaluate_labels import camera_errors

HEIGHT, WIDTH = 180, 240


def texture(height, width, seed=0):
    coarse = np.random.default_rng(seed).integers(
        0, 256, (height // 6, width // 6, 3), dtype=np.uint8
    )
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def turning_film(angles_deg, K):
    """A wall infinitely far away seen while turning; rotation vectors in degrees."""
    wall, offset = (
        texture(3 * HEIGHT, 3 * WIDTH),
        np.array([[1, 0, -WIDTH], [0, 1, -HEIGHT], [0, 0, 1]]),
    )
    frames = []
    for angle in angles_deg:
        R = Rotation.from_rotvec(np.radians(angle)).as_matrix()
        H = K @ R @ np.linalg.inv(K) @ offset
        half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
        frames.append(cv2.warpPerspective(wall, np.linalg.inv(half) @ H @ half, (WIDTH, HEIGHT)))
    return np.stack(frames)


def board_texture(rng, height, width):
    """Blots of all sizes: corners and blobs that feature detectors love."""
    image = np.full((height, width, 3), rng.integers(60, 200, 3), np.uint8)
    for _ in range(height * width // 500):
        centre = (int(rng.integers(width)), int(rng.integers(height)))
        axes = tuple(int(a) for a in rng.integers(2, 14, 2))
        colour = tuple(int(c) for c in rng.integers(0, 256, 3))
        cv2.ellipse(image, centre, axes, float(rng.uniform(0, 180)), 0, 360, colour, -1)
    return image


def dolly_film(num_frames, size, K):
    """A floor, a wall and standing boards seen from a camera that moves along; exact truth.

    Camera frame of the first camera: x right, y down, z forward, metres.
    """
    rng = np.random.default_rng(3)
    x, up, forward = np.eye(3) * [[1], [-1], [1]]
    planes = [(np.array([-6.0, 4.0, 8.0]), x, up, 12.0, 8.0)]  # corner, axes, width, height
    planes.append((np.array([-4.0, 1.2, 1.6]), x, forward, 8.0, 6.4))
    for left, depth in ((-2.6, 6.0), (1.4, 5.2), (-1.0, 4.4), (0.9, 3.4)):
        planes.append((np.array([left, 1.2, depth]), x, up, 0.9, 1.7))
    boards = [(c, a, b, board_texture(rng, int(90 * h), int(90 * w))) for c, a, b, w, h in planes]
    frames, poses = [], []
    for s in np.linspace(0, 1, num_frames):
        T = np.eye(4)
        T[:3, :3] = Rotation.from_euler("yx", [8 * s, 2 * np.sin(4 * s)], degrees=True).as_matrix()
        T[:3, 3] = -T[:3, :3] @ [1.1 * s, -0.1 * s * s, 0.3 * s]
        frame = np.full((size, size, 3), 128, np.uint8)
        for corner, a, b, picture in boards:
            plane = np.column_stack([a / 90, b / 90, corner])
            H = K @ (T[:3, :3] @ plane + np.outer(T[:3, 3], [0, 0, 1]))
            half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
            H = np.linalg.inv(half) @ H @ half
            cv2.warpPerspective(picture, H, (size, size), frame, borderMode=cv2.BORDER_TRANSPARENT)
        frames.append(cv2.GaussianBlur(frame, (0, 0), 0.6))
        poses.append(T)
    return np.stack(frames), np.stack(poses)


def no_people(frames):
    return np.zeros(frames.shape[:3], bool)


def test_still_camera_with_noise_and_a_passer_by_is_static():
    rng = np.random.default_rng(1)
    frames = np.repeat(texture(HEIGHT, WIDTH)[None], 20, axis=0)
    frames = np.clip(frames + rng.normal(0, 4, frames.shape), 0, 255).astype(np.uint8)
    people = no_people(frames)
    for t in range(20):
        frames[t, 60:150, 8 * t : 8 * t + 40] = 10
        people[t, 60:150, 8 * t : 8 * t + 40] = True
    camera, facts = estimate_camera(frames, people)
    assert camera.kind == "static"
    assert not camera.is_metric  # its world has no floor until bodies stand on it
    np.testing.assert_array_equal(
        camera.T_camera_world[:, :3, :3], np.tile(R_CAMERA_WORLD_UPRIGHT, (20, 1, 1))
    )
    assert facts["camera_quality"] > 0.5


def test_turning_camera_is_recovered_within_half_a_degree():
    K = assumed_intrinsics(HEIGHT, WIDTH, 50.0)
    angles = np.linspace(0, 1, 16)[:, None] * np.array([4.0, -14.0, 2.0])
    frames = turning_film(angles, K)
    camera, _ = estimate_camera(frames, no_people(frames), K)
    assert camera.kind == "rotation"
    R = camera.T_camera_world[:, :3, :3] @ camera.T_camera_world[0, :3, :3].T
    error = Rotation.from_matrix(R).inv() * Rotation.from_rotvec(np.radians(angles))
    assert np.degrees(error.magnitude()).max() < 0.5
    assert "intrinsics given" in camera.source


def test_slow_drift_is_not_static():
    K = assumed_intrinsics(HEIGHT, WIDTH, 50.0)
    frames = turning_film(np.linspace(0, 1, 20)[:, None] * np.array([0.0, 2.0, 0.0]), K)
    assert estimate_camera(frames, no_people(frames), K)[0].kind == "rotation"


def test_nothing_to_see_is_unknown_and_says_so():
    frames = np.full((5, HEIGHT, WIDTH, 3), 200, np.uint8)
    camera, facts = estimate_camera(frames, no_people(frames))
    assert camera.kind == "unknown"
    assert "texture" in camera.source
    assert facts["camera_quality"] == 0.0


def test_moving_camera_is_recovered_to_the_published_accuracy():
    K = np.array([[560.0, 0, 256], [0, 560, 256], [0, 0, 1]])
    frames, truth = dolly_film(36, 512, K)
    settings = CameraSettings(timeout_s=240.0)  # a busy machine is no reason to fail
    camera, facts = estimate_camera(frames, no_people(frames), K, settings)
    assert camera.kind == "moving"
    assert not camera.is_metric
    assert facts["registered_share"] == 1.0
    upright = np.eye(4)
    upright[:3, :3] = R_CAMERA_WORLD_UPRIGHT
    true_track = replace(camera, T_camera_world=truth @ upright, is_metric=True)
    errors = camera_errors(camera, true_track)
    assert errors["camera_rotation_deg"] < 0.1
    assert errors["camera_ate_pct"] < 0.3


def test_reconstruction_from_few_points_is_not_believed(monkeypatch):
    def reconstruct(frames, people, focal_px, timeout_s, focal_range_px):
        return {
            "index": np.arange(len(frames)),
            "T_camera_world": np.tile(np.eye(4), (len(frames), 1, 1)),
            "focal_px": np.float64(focal_px),
            "error_px": np.float64(0.9),
            "num_points": np.int64(50),
        }

    monkeypatch.setattr("pipelines.annotate.camera.reconstruct", reconstruct)
    frames = np.random.default_rng(0).integers(0, 256, (6, 96, 128, 3), dtype=np.uint8)
    camera, facts = estimate_camera(frames, no_people(frames))
    assert camera.kind == "unknown"
    assert "50 points" in camera.source
    assert facts["camera_quality"] == 0.0


def test_failed_reconstruction_is_unknown_never_a_pose():
    frames = np.random.default_rng(0).integers(0, 256, (6, 96, 128, 3), dtype=np.uint8)
    camera, facts = estimate_camera(frames, no_people(frames))
    assert camera.kind == "unknown"
    assert facts["camera_quality"] == 0.0
    np.testing.assert_array_equal(
        camera.T_camera_world, camera.T_camera_world[:1].repeat(6, axis=0)
    )


def test_interpolation_keeps_known_poses_and_goes_straight_between():
    poses = np.tile(np.eye(4), (2, 1, 1))
    poses[1, :3, :3] = Rotation.from_euler("y", 40, degrees=True).as_matrix()
    poses[1, :3, 3] = -poses[1, :3, :3] @ [2.0, 0, 0]
    dense = interpolate_poses(np.array([0, 4]), poses, 6)
    np.testing.assert_allclose(dense[[0, 4]], poses, atol=1e-12)
    np.testing.assert_allclose(dense[5], dense[4])
    centre = -dense[2, :3, :3].T @ dense[2, :3, 3]
    np.testing.assert_allclose(centre, [1.0, 0, 0], atol=1e-12)
    turned = Rotation.from_matrix(dense[2, :3, :3]).as_rotvec(degrees=True)
    np.testing.assert_allclose(turned, [0, 20, 0], atol=1e-9)


@pytest.mark.parametrize("fov_deg", [34.0, 66.0])
def test_a_turn_tells_the_focal_length_that_nobody_gave(fov_deg):
    K = assumed_intrinsics(HEIGHT, WIDTH, fov_deg)
    angles = np.linspace(0, 1, 16)[:, None] * np.array([4.0, -14.0, 2.0]) * fov_deg / 50
    frames = turning_film(angles, K)
    camera, facts = estimate_camera(frames, no_people(frames))
    assert camera.kind == "rotation"
    assert facts["focal_known"] == 1.0
    assert "focal length from the rotation" in camera.source
    assert abs(camera.K[0, 0, 0] / K[0, 0] - 1) < 0.05


def test_where_nothing_tells_the_focal_length_it_is_said_to_be_assumed():
    K = assumed_intrinsics(HEIGHT, WIDTH, 34.0)
    frames = turning_film(np.zeros((6, 3)), K)
    camera, facts = estimate_camera(frames, no_people(frames))
    assert facts["focal_known"] == 0.0
    assert "assumed" in camera.source
