"""A caption counts people and says what the camera does."""

import numpy as np
import pytest

from pipelines.annotate.caption import write_caption
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack


def bodies(people: int, frames: int = 2) -> BodyTracks:
    return BodyTracks(
        person_id=np.arange(people),
        betas=np.zeros((people, 10), np.float32),
        global_orient=np.zeros((people, frames, 3), np.float32),
        body_pose=np.zeros((people, frames, 69), np.float32),
        transl=np.zeros((people, frames, 3), np.float32),
        visible=np.ones((people, frames), np.bool_),
        confidence=np.ones((people, frames), np.float32),
        joints_px=np.zeros((people, frames, 24, 2), np.float32),
        body_model="test",
    )


@pytest.mark.parametrize(
    ("people", "words"),
    [(0, "nobody"), (1, "one person"), (2, "two people"), (11, "11 people")],
)
def test_people_are_counted_and_the_camera_is_told(people, words):
    K = np.tile(np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), (2, 1, 1))
    T = np.tile(np.diag([1.0, -1.0, -1.0, 1.0]), (2, 1, 1))
    T[:, 2, 3] = 4.0
    still = CameraTrack(K=K, T_camera_world=T, kind="static", is_metric=True, source="test")
    assert write_caption(still, bodies(people), 24.0) == f"{words}, static camera"
    T[1, :3, 3] = 0.0, 0.0, 2.0
    moves = CameraTrack(K=K, T_camera_world=T, kind="moving", is_metric=True, source="test")
    assert write_caption(moves, bodies(people), 1.0) == f"{words}, the camera pushes in"
