"""Other people's camera files arrive in our conventions."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.annotate.camera_files import read_opensfm, read_re10k, read_tum, write_tum


def test_tum_quaternions_are_xyzw_and_the_round_trip_is_exact_to_the_print(shared_data, tmp_path):
    path = shared_data / "golden/trajectories/freiburg1_xyz-groundtruth.txt"
    times_ns, T_world_camera = read_tum(path)
    assert len(times_ns) == 3000
    first = T_world_camera[0]
    np.testing.assert_allclose(first[:3, 3], [1.3563, 0.6305, 1.6380])
    quaternion = Rotation.from_matrix(first[:3, :3]).as_quat()
    expected = np.array([0.6132, 0.5962, -0.3311, -0.3986])
    expected = expected / np.linalg.norm(expected)
    assert abs(abs(quaternion @ expected) - 1) < 1e-9
    write_tum(tmp_path / "copy.txt", times_ns, T_world_camera)
    times_again, T_again = read_tum(tmp_path / "copy.txt")
    np.testing.assert_allclose(T_again, T_world_camera, atol=1e-8)
    assert np.abs(times_again - times_ns).max() <= 1000


def test_re10k_rows_are_normalised_world_to_camera(shared_data):
    path = shared_data / "golden/cameras/re10k_0bf152ef84195293.txt"
    track = read_re10k(path, 1280, 720)
    np.testing.assert_allclose(track.K[0, 0, 0], 0.474812461 * 1280)
    np.testing.assert_allclose(track.K[0, 1, 1], 0.844111024 * 720)
    np.testing.assert_allclose(track.K[0, :2, 2], [640, 360])
    matrix = [
        [0.780003667, 0.059620168, -0.622928321, 0.726968666],
        [-0.062449891, 0.997897983, 0.017311305, 0.217967188],
        [0.622651041, 0.025398925, 0.782087326, -1.002211444],
    ]
    np.testing.assert_allclose(track.T_camera_world[0, :3], matrix, atol=1e-7)


def test_opensfm_points_lie_before_its_cameras(shared_data):
    names, track, points = read_opensfm(
        shared_data / "golden/cameras/opensfm_berlin_reconstruction.json"
    )
    assert names == sorted(names)
    depth = (points @ track.T_camera_world[:, 2, :3].T) + track.T_camera_world[:, 2, 3]
    assert (depth > 0).mean() > 0.99


@pytest.mark.parametrize(
    ("content", "finding"),
    [
        ("1 2 3\n", ":1: expected 8 numbers, got 3"),
        ("# nothing\n", "no camera in this file"),
        ("1 2 3 4 5 6 7 x\n", ":1: could not convert"),
    ],
)
def test_a_malformed_file_is_named_with_line_and_finding(tmp_path, content, finding):
    path = tmp_path / "bad.txt"
    path.write_text(content)
    with pytest.raises(ValueError, match=finding):
        read_tum(path)
