from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.geometry import look_at, project
from pipelines.synthetic.renderers import device
from pipelines.synthetic.renderers.mesh import Lighting, SurfaceMesh
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, View
from pipelines.synthetic.renderers.projection import FAR_M, NEAR_M
from pipelines.synthetic.truth import hidden_there, pixel_truth

WIDTH, HEIGHT = 80, 60
K = np.array([[70.0, 0.0, 38.0], [0.0, 75.0, 33.0], [0.0, 0.0, 1.0]])


def _square(half_m: float, y_m: float, z_m: float, alpha: bool = False) -> SurfaceMesh:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half_m
    texture = np.full((64, 64, 4 if alpha else 3), 200, np.uint8)
    if alpha:
        texture[:, 32:, 3] = 0  # the right half (u > 0.5) is cut away
    return SurfaceMesh(
        vertices=np.concatenate([corners + np.array([0, y_m]), np.full((4, 1), z_m)], axis=1),
        normals=np.tile([0.0, 0.0, 1.0], (4, 1)),
        uv=np.array([[0.0, 1], [1, 1], [1, 0], [0, 0]]),
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        texture=texture,
    )


def _box(centre, half) -> SurfaceMesh:
    corners = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)], float)
    hull = np.array(
        [[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]]
    )
    return SurfaceMesh(
        vertices=corners * np.array(half) + np.array(centre),
        normals=corners / np.sqrt(3.0),
        uv=(corners[:, :2] + 1) / 2,
        faces=np.concatenate([hull[:, [0, 1, 2]], hull[:, [0, 2, 3]]]),
        texture=np.full((4, 4, 3), 90, np.uint8),
    )


def _ground() -> SurfaceMesh:
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * 40.0
    return SurfaceMesh(
        vertices=np.insert(corners, 1, 0.0, axis=1),
        normals=np.tile([0.0, 1.0, 0.0], (4, 1)),
        uv=corners,
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        texture=np.random.default_rng(0).integers(90, 160, (64, 64, 3)).astype(np.uint8),
    )


def _renderer(people, props=()) -> OpenGLRenderer:
    sh = np.zeros((9, 3))
    sh[0] = 0.4
    return OpenGLRenderer(
        width=WIDTH,
        height=HEIGHT,
        still=[_ground(), *props],
        people=people,
        lighting=Lighting(
            sun_direction=np.array([0.48, 0.8, 0.36]),
            sun_rgb=np.full(3, 1.5),
            ambient_sh=sh,
            panorama=np.full((8, 16, 3), 0.5, np.float32),
            haze_rgb=np.full(3, 0.5),
        ),
        shadow_centre=np.array([0.0, 1.0, 0.0]),
        shadow_radius_m=2.0,
    )


def _view(eye=(0.7, 1.6, 3.0), target=(0.0, 1.0, 0.0)) -> View:
    return View(K=K, T_camera_world=_camera(eye, target))


def _camera(eye=(0.7, 1.6, 3.0), target=(0.0, 1.0, 0.0)) -> np.ndarray:
    return look_at(torch.tensor(eye).double(), torch.tensor(target).double()).numpy()


def _instance(frame) -> np.ndarray:
    return frame.normal_instance[..., 3]


def _depth_m(frame) -> np.ndarray:
    return np.where(frame.depth[..., 0] > 0, frame.depth[..., 0], np.inf)


def _unproject(depth_m: np.ndarray, T_camera_world: np.ndarray) -> np.ndarray:
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    finite_m = np.where(np.isfinite(depth_m), depth_m, 0.0)
    return (rays * finite_m[..., None] - T_camera_world[:3, 3]) @ T_camera_world[:3, :3]


def test_pixels_are_where_the_one_projection_puts_them():
    """Each pixel of a slanted view of a square, with K off the centre, lifted back to 3D."""
    T = _camera()
    with _renderer([[_square(0.4, 1.0, 0.0)]]) as renderer:
        frame = renderer.render(View(K=K, T_camera_world=T))
    points = _unproject(_depth_m(frame), T)[_instance(frame) == 1]
    assert np.abs(points[:, 2]).max() < 1e-3  # on its plane to the millimetre
    assert np.abs(points[:, 0]).max() <= 0.4
    assert np.abs(points[:, 1] - 1.0).max() <= 0.4
    corners = torch.tensor([[-0.4, 0.6, 0], [0.4, 0.6, 0], [0.4, 1.4, 0], [-0.4, 1.4, 0]])
    xy_px, _ = project(corners.double(), torch.tensor(K), torch.tensor(T))
    x, y = xy_px.numpy().T
    area_px = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert (_instance(frame) == 1).sum() == pytest.approx(area_px, rel=0.03)


def test_ground_lies_at_zero_with_its_normal_up():
    T = _camera()
    with _renderer([]) as renderer:
        frame = renderer.render(View(K=K, T_camera_world=T))
    hit = _depth_m(frame) < 20
    assert hit.mean() > 0.3
    assert np.abs(_unproject(_depth_m(frame), T)[hit][:, 1]).max() < 2e-3
    np.testing.assert_allclose(
        frame.normal_instance[hit][:, :3] / 127, np.tile([0, 1, 0], (hit.sum(), 1)), atol=1e-6
    )
    assert np.isinf(_depth_m(frame)[:3]).all()  # sky at the top: row 0 is the top row


def test_the_nearer_person_hides_the_farther_whatever_their_order():
    for nearer in (0, 1):
        squares = [_square(0.3, 1.0, 0.5), _square(0.5, 1.0, -0.5)]
        people = [[squares[0]], [squares[1]]] if nearer == 0 else [[squares[1]], [squares[0]]]
        with _renderer(people) as renderer:
            frame = renderer.render(View(K=K, T_camera_world=_camera((0.0, 1.0, 3.0))))
        assert set(np.unique(_instance(frame))) == {0, 1, 2}
        assert _depth_m(frame)[_instance(frame) == nearer + 1] == pytest.approx(2.5, abs=1e-3)
        assert _depth_m(frame)[_instance(frame) == 2 - nearer] == pytest.approx(3.5, abs=1e-3)


def test_cut_out_texels_are_neither_seen_nor_labelled():
    T = _camera((0.0, 1.0, 3.0))
    counts = []
    for alpha in (False, True):
        with _renderer([[_square(0.5, 1.0, 0.0, alpha)]]) as renderer:
            frame = renderer.render(View(K=K, T_camera_world=T))
        counts.append(int((_instance(frame) == 1).sum()))
        right = np.array([0.25, 1.0, 0.0, 1.0])
        x, y, z = K @ (T @ right)[:3]
        pixel = frame.rgb[int(y / z), int(x / z)].astype(int)
        assert (
            np.abs(pixel - frame.plate[int(y / z), int(x / z)]).max() < 30
        ) == alpha or not alpha
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.05)


def test_plate_equals_the_picture_except_for_people_and_their_shadows():
    box = _box((0.0, 0.5, 0.0), (0.25, 0.5, 0.25))
    T = _camera()
    with _renderer([[box]]) as renderer:
        frame = renderer.render(View(K=K, T_camera_world=T))
    body = np.pad(_instance(frame) > 0, 1)
    near = np.max([body[i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)], axis=0)
    change = frame.rgb.astype(int) - frame.plate
    assert change[~near].max() <= 0  # outside of people only shadows: darker, never brighter
    assert (change[~near].sum(-1) < -30).any()  # there is a shadow
    assert (change[~near] == 0).all(-1).mean() > 0.6


def test_light_on_people_and_their_shadows_is_all_that_changes_the_picture(monkeypatch):
    """The picture is lit anew in a box only; with everything lit anew it is the same bits."""
    box = _box((0.3, 0.5, 0.0), (0.25, 0.5, 0.25))
    pictures = []
    for is_everywhere in (False, True):
        if is_everywhere:
            monkeypatch.setattr(OpenGLRenderer, "_shaded_box_px", lambda *_: (0, 0, WIDTH, HEIGHT))
        for eye in ((0.7, 1.6, 3.0), (-4.0, 3.0, -3.0), (0.0, 0.4, 1.2)):
            with _renderer([[box]], props=[_box((-0.6, 0.3, -0.4), (0.2, 0.3, 0.2))]) as renderer:
                *_, width, height = renderer._shaded_box_px(_view(eye))
                pictures.append(renderer.render(_view(eye)).rgb)
            assert is_everywhere or width * height < WIDTH * HEIGHT
    for part, whole in zip(pictures[:3], pictures[3:], strict=True):
        np.testing.assert_array_equal(part, whole)


def test_a_sample_keeps_depth_and_materials_apart():
    """A lamp shines, what is of the same colour beside it does not."""
    wall = _square(5.0, 1.0, -2.0)
    lamp = replace(_square(0.3, 1.0, -1.9), emission=3.0)
    with _renderer([], props=[wall, lamp]) as renderer:
        frame = renderer.render(_view((0.0, 1.0, 3.0)))
    lit = frame.rgb.sum(-1)
    middle, side = lit[int(K[1, 2]), int(K[0, 2])], lit[int(K[1, 2]), 4]
    assert middle > side + 60


def test_shaders_measure_depth_between_the_planes_of_the_camera():
    text = (Path(device.__file__).parent / "shaders" / "sample.glsl").read_text()
    assert f"LOG_FAR = {np.log2(FAR_M):.6f}" in text
    assert f"LOG_RANGE = {np.log2(FAR_M / NEAR_M):.6f}" in text


def test_pose_moves_a_person_and_nothing_else():
    square = _square(0.3, 1.0, 0.0)
    T = _camera()
    with _renderer([[square]]) as renderer:
        before = renderer.render(View(K=K, T_camera_world=T))
        renderer.pose(0, 0, square.vertices + np.array([9.0, 0.0, 0.0]), square.normals)
        away = renderer.render(View(K=K, T_camera_world=T))
        renderer.pose(0, 0, square.vertices, square.normals)
        again = renderer.render(View(K=K, T_camera_world=T))
    assert (_instance(before) == 1).any()
    assert not _instance(away).any()
    np.testing.assert_array_equal(away.rgb, away.plate)
    for name in ("rgb", "normal_instance", "flow", "depth"):
        np.testing.assert_array_equal(getattr(before, name), getattr(again, name))


def test_without_people_picture_and_plate_are_equal():
    with _renderer([], props=[_box((0.5, 0.4, -0.5), (0.3, 0.4, 0.3))]) as renderer:
        frame = renderer.render(_view())
    np.testing.assert_array_equal(frame.rgb, frame.plate)


def test_flow_is_the_motion_of_the_surface_point_seen_by_a_moving_camera():
    """A slanted square that turns and moves, the ground and the sky, against plain geometry."""
    square = _square(0.5, 1.0, 0.0)
    view, after, before = _view(), _view((0.9, 1.5, 2.9), (0.1, 1.0, 0.0)), _view((0.4, 1.7, 3.0))
    motions = [np.eye(4), np.eye(4)]
    for motion, angle, shift in zip(
        motions, (0.1, -0.07), ((0.1, 0.03, 0.0), (-0.1, 0.0, 0.05)), strict=True
    ):
        c, s = np.cos(angle), np.sin(angle)
        motion[:3, :3] = [[c, 0, s], [0, 1, 0], [-s, 0, c]]
        motion[:3, 3] = shift
    moved = [square.vertices @ m[:3, :3].T + m[:3, 3] for m in motions]
    with _renderer([[square]]) as renderer:
        renderer.pose(0, 0, square.vertices, square.normals, *moved)
        frame = renderer.render(view, after=after, before=before)
    depth_m = _depth_m(frame)
    points = _unproject(depth_m, view.T_camera_world)
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    centres = np.stack([x, y], -1)
    rays = np.concatenate([centres, np.ones_like(x)[..., None]], -1) @ np.linalg.inv(K).T
    far = rays @ view.T_camera_world[:3, :3] * 1e7  # the sky
    for beside, motion, flow, inverse in (
        (after, motions[0], frame.flow[..., :2], frame.depth[..., 1]),
        (before, motions[1], frame.flow[..., 2:], frame.depth[..., 2]),
    ):
        there = np.where(
            (_instance(frame) == 1)[..., None], points @ motion[:3, :3].T + motion[:3, 3], points
        )
        there = np.where(np.isinf(depth_m)[..., None], far, there)
        xy_px, z = project(
            torch.tensor(there.reshape(1, -1, 3)),
            torch.tensor(K)[None],
            torch.tensor(beside.T_camera_world)[None],
        )
        expected = xy_px.numpy().reshape(HEIGHT, WIDTH, 2) - centres
        error = np.abs(flow / 64 - expected).max(-1)
        assert error[_instance(frame) == 1].max() < 0.5 / 64 + 0.003
        assert error[np.isinf(depth_m)].max() < 0.5 / 64 + 0.003
        assert error[depth_m < 20].max() < 0.5 / 64 + 0.02  # depth itself limits the far ground
        near = depth_m < 10
        np.testing.assert_allclose(
            inverse[near], 1 / z.numpy().reshape(HEIGHT, WIDTH)[near], rtol=1e-3
        )


def test_what_is_hidden_beside_is_told_by_depth():
    """A square moves to the right in front of a wall: it uncovers what it leaves."""
    square, wall = _square(0.3, 1.0, 0.0), _square(5.0, 1.0, -2.0)
    view = _view((0.0, 1.0, 3.0))
    step = np.array([0.2, 0.0, 0.0])
    places = [square.vertices + k * step for k in range(3)]
    frames = []
    with _renderer([[square]], props=[wall]) as renderer:
        for k in range(3):
            renderer.pose(
                0, 0, places[k], square.normals, places[min(k + 1, 2)], places[max(k - 1, 0)]
            )
            frames.append(renderer.render(view))
    truth = pixel_truth(frames)
    seen = truth.instance == 1
    gained, left = seen[1] & ~seen[0], seen[0] & ~seen[1]
    inner = cv2.erode(gained.astype(np.uint8), np.ones((3, 3))) > 0
    assert inner.any()
    assert truth.flow.forward_occluded[0][inner].all()  # the wall that gets covered
    assert not truth.flow.forward_occluded[0][~gained & ~seen[0]].any()
    assert not truth.flow.forward_occluded[0][seen[0]].any()
    inner = cv2.erode(left.astype(np.uint8), np.ones((3, 3))) > 0
    assert truth.flow.backward_occluded[1][inner].all()  # the wall that was covered
    assert truth.flow.backward_occluded[0].all()
    assert truth.flow.forward_occluded[2].all()
    forward = truth.flow.forward_px[0][seen[0]]
    np.testing.assert_allclose(
        forward, np.tile([K[0, 0] * 0.2 / 3.0, 0.0], (len(forward), 1)), atol=0.01
    )


def test_inner_sides_of_one_sided_surfaces_are_not_drawn():
    square = _square(0.3, 1.0, 0.0)
    for is_two_sided, eye_z, expected in (
        (True, -3.0, True),
        (False, -3.0, False),
        (False, 3.0, True),
    ):
        with _renderer([[replace(square, is_two_sided=is_two_sided)]]) as renderer:
            frame = renderer.render(_view((0.0, 1.0, eye_z)))
        assert (_instance(frame) == 1).any() == expected


def test_hidden_is_what_lies_behind_all_four_pixels_around_its_place():
    """Whole steps against plain geometry, places on pixel borders and outside included."""
    rng = np.random.default_rng(4)
    flow = rng.integers(-40 * 64, 40 * 64, (HEIGHT, WIDTH, 2)).astype(np.int16)
    flow[::2] = flow[::2] // 32 * 32
    there_m = rng.uniform(1.0, 9.0, (HEIGHT, WIDTH)).astype(np.float32)
    inverse = (1.0 / rng.uniform(0.5, 12.0, (HEIGHT, WIDTH))).astype(np.float32)
    hidden = hidden_there(flow, inverse, there_m)
    for row, column in rng.integers((HEIGHT, WIDTH), size=(500, 2)):
        x, y = np.array([column, row]) + 0.5 + flow[row, column] / 64
        expected = not (0 <= x < WIDTH and 0 <= y < HEIGHT)
        if not expected:
            rows = np.clip([np.floor(y - 0.5), np.floor(y + 0.5)], 0, HEIGHT - 1).astype(int)
            columns = np.clip([np.floor(x - 0.5), np.floor(x + 0.5)], 0, WIDTH - 1).astype(int)
            farthest = (1.0 / there_m[np.ix_(rows, columns)]).min()
            expected = inverse[row, column] * np.float32(1.002) < farthest
        assert hidden[row, column] == expected
