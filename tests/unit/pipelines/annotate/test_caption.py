"""Words agree with the geometry of the camera."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.annotate.caption import describe_camera, write_caption
from storage_schemas.camera import CameraTrack


def track(kind, rotvec_deg=(0, 0, 0), centre_m=(0, 0, 0)):
    """Last pose: the world turned by the vector in camera axes, camera at `centre_m` of frame 0."""
    T = np.tile(np.eye(4), (2, 1, 1))
    T[1, :3, :3] = Rotation.from_rotvec(rotvec_deg, degrees=True).as_matrix()
    T[1, :3, 3] = -T[1, :3, :3] @ np.array(centre_m)
    K = np.tile(np.diag([100.0, 100.0, 1.0]), (2, 1, 1))
    return CameraTrack(K=K, T_camera_world=T, kind=kind, is_metric=False, source="test")


@pytest.mark.parametrize(
    ("camera", "words"),
    [
        (track("static"), "static camera"),
        (track("unknown"), "unknown camera motion"),
        # what lies ahead goes to the left of the picture
        (track("rotation", (0, -20, 0)), "the camera pans right"),
        (track("rotation", (0, 20, 0)), "the camera pans left"),
        # what lies ahead goes up in the picture
        (track("rotation", (20, 0, 0)), "the camera tilts down"),
        (track("rotation", (0, 0, 1)), "the camera turns slightly"),
        (track("moving", centre_m=(0, 0, 1)), "the camera moves forwards"),
        (track("moving", (0, -20, 0), (-1, 0, 0)), "the camera moves left and pans right"),
    ],
)
def test_camera_words(camera, words):
    assert describe_camera(camera) == words


def test_right_pan_sends_a_point_ahead_to_the_left():
    ahead = track("rotation", (0, -20, 0)).T_camera_world[1, :3, :3] @ np.array([0.0, 0, 1])
    assert ahead[0] < 0


def test_people_are_counted():
    assert write_caption(track("static"), 0) == "nobody, static camera"
    assert write_caption(track("static"), 2) == "two people, static camera"
    assert write_caption(track("static"), 11) == "11 people, static camera"
