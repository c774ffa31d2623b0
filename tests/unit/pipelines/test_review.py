"""Pictures show what the labels say, and pages carry everything inside."""

import re

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.geometry import look_at, project
from pipelines.page import Section, Table, metrics_table, picture, render_page, video
from pipelines.review import (
    COLOURS,
    contact_sheet,
    draw_bodies,
    draw_masks,
    draw_skeletons,
    fit_height,
    pick,
    plot_camera_path,
    side_by_side,
)
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack

FRAMES = 2


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


@pytest.fixture(scope="module")
def camera():
    eye = torch.tensor([0.0, 0.0, 3.5], dtype=torch.float64)
    T_camera_world = look_at(eye, torch.zeros(3, dtype=torch.float64)).numpy()
    return CameraTrack(
        K=np.tile(np.array([[120.0, 0, 48], [0, 120, 48], [0, 0, 1]]), (FRAMES, 1, 1)),
        T_camera_world=np.tile(T_camera_world, (FRAMES, 1, 1)),
        kind="static",
        is_metric=True,
        source="test",
    )


@pytest.fixture(scope="module")
def tracks(body, camera):
    zeros = np.zeros((1, FRAMES, 3), np.float32)
    with torch.no_grad():
        joints = body.pose(*(torch.zeros(n) for n in (10, 3, 69, 3))).joints
        xy_px, _ = project(
            joints.double(), torch.tensor(camera.K[0]), torch.tensor(camera.T_camera_world[0])
        )
    return BodyTracks(
        person_id=np.array([0]),
        betas=np.zeros((1, 10), np.float32),
        global_orient=zeros,
        body_pose=np.zeros((1, FRAMES, 69), np.float32),
        transl=zeros,
        visible=np.array([[True, False]]),
        confidence=np.ones((1, FRAMES), np.float32),
        joints_px=np.tile(xy_px.numpy()[None, None], (1, FRAMES, 1, 1)).astype(np.float32),
        body_model="free_body:test",
    )


def test_a_drawn_body_covers_its_joints_and_leaves_the_rest(body, camera, tracks):
    frames = np.full((FRAMES, 96, 96, 3), 100, np.uint8)
    drawn = draw_bodies(frames, tracks, camera, body)
    touched = (drawn[0] != frames[0]).any(-1)
    for x, y in tracks.joints_px[0, 0]:
        assert touched[int(y), int(x)]
    assert 0.02 < touched.mean() < 0.3
    assert not touched[:8].any()  # nothing over the head
    np.testing.assert_array_equal(drawn[1], frames[1])  # an unseen person is not drawn
    np.testing.assert_array_equal(frames, 100)  # the input is left alone


def test_a_skeleton_is_drawn_at_the_joints_of_visible_people_only(tracks):
    frames = np.zeros((FRAMES, 96, 96, 3), np.uint8)
    drawn = draw_skeletons(frames, tracks)
    for x, y in tracks.joints_px[0, 0]:
        assert drawn[0, round(float(y)), round(float(x))].min() > 200
    assert not drawn[1].any()


def test_masks_tint_people_and_nothing_else():
    frames = np.zeros((1, 4, 4, 3), np.uint8)
    instance = np.zeros((1, 4, 4), np.uint8)
    instance[0, 1, 1], instance[0, 2, 2] = 1, 2
    drawn = draw_masks(frames, instance, opacity=1.0)
    np.testing.assert_array_equal(drawn[0, 1, 1], COLOURS[0])
    np.testing.assert_array_equal(drawn[0, 2, 2], COLOURS[1])
    assert not drawn[instance == 0].any()


def test_enlarging_repeats_pixels_and_invents_none():
    frames = np.random.default_rng(0).integers(0, 255, (2, 8, 8, 3), np.uint8)
    np.testing.assert_array_equal(fit_height(frames, 16), frames.repeat(2, 1).repeat(2, 2))


def test_picked_frames_hold_the_first_and_the_last():
    frames = np.arange(30, dtype=np.uint8)[:, None, None, None].repeat(3, -1)
    picked = pick(frames, 4)[:, 0, 0, 0]
    assert (picked[0], picked[-1], len(picked)) == (0, 29, 4)
    assert len(pick(frames[:2], 8)) == 2


def test_sheets_and_joint_videos_hold_every_row_and_even_sides(camera, tracks):
    frames = np.zeros((5, 33, 31, 3), np.uint8)
    sheet = contact_sheet([("a", frames), ("b", frames[:2])], columns=4, height_px=40)
    assert sheet.shape[0] == 2 * (40 + 18)
    joined = side_by_side([("a", frames), ("b", frames[:1])], height_px=41)
    assert len(joined) == 5
    assert not joined.shape[1] % 2
    assert not joined.shape[2] % 2
    assert plot_camera_path(camera, tracks).std() > 5


def test_a_page_is_one_file_and_escapes_what_it_is_given():
    frames = np.zeros((3, 17, 17, 3), np.uint8)
    metrics = {"psnr_db": {"mean": 31.25, "std": 0.5, "n": 8}}
    sections = [
        Section(
            title="<script>alert(1)</script>",
            text="a & b",
            tables=[
                Table(caption="t", header=["x"], rows=[["<b>"]]),
                metrics_table("quality", metrics),
            ],
            figures=[picture("still", frames[0]), video("moving", frames, 8.0)],
        )
    ]
    page = render_page("report", ["one line"], sections)
    assert "<script>" not in page
    assert "&lt;b&gt;" in page
    assert "31.25" in page
    sources = re.findall(r'src="([^"]{0,20})', page)
    assert len(sources) == 2
    assert all(source.startswith("data:") for source in sources)
