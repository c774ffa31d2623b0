import numpy as np
import pytest
import torch

from models.geometry import look_at, project
from pipelines.synthetic.environment import box_mesh, make_environment
from pipelines.synthetic.renderers.opengl import OpenGLRenderer, SurfaceMesh

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


def _renderer(people, num_props=3) -> OpenGLRenderer:
    world = make_environment(
        seed=1,
        ground="tiles",
        num_props=num_props,
        free_radius_m=3.0,
        view_deg=(0.0, 0.0),
        sun_azimuth_deg=30.0,
        panorama=None,
    )
    return OpenGLRenderer(
        width=WIDTH,
        height=HEIGHT,
        still=world.still,
        people=people,
        lighting=world.lighting,
        shadow_centre=np.array([0.0, 1.0, 0.0]),
        shadow_radius_m=2.0,
    )


def _camera(eye=(0.7, 1.6, 3.0), target=(0.0, 1.0, 0.0)) -> np.ndarray:
    return look_at(torch.tensor(eye).double(), torch.tensor(target).double()).numpy()


def _unproject(depth_m: np.ndarray, T_camera_world: np.ndarray) -> np.ndarray:
    x, y = np.meshgrid(np.arange(WIDTH) + 0.5, np.arange(HEIGHT) + 0.5)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    finite_m = np.where(np.isfinite(depth_m), depth_m, 0.0)
    return (rays * finite_m[..., None] - T_camera_world[:3, 3]) @ T_camera_world[:3, :3]


def test_pixels_are_where_the_one_projection_puts_them():
    """Each pixel of a slanted view of a square, with K off the centre, lifted back to 3D."""
    T = _camera()
    with _renderer([[_square(0.4, 1.0, 0.0)]]) as renderer:
        frame = renderer.render(K, T)
    points = _unproject(frame.depth_m, T)[frame.instance == 1]
    assert np.abs(points[:, 2]).max() < 1e-3  # on its plane to the millimetre
    assert np.abs(points[:, 0]).max() <= 0.4
    assert np.abs(points[:, 1] - 1.0).max() <= 0.4
    corners = torch.tensor([[-0.4, 0.6, 0], [0.4, 0.6, 0], [0.4, 1.4, 0], [-0.4, 1.4, 0]])
    xy_px, _ = project(corners.double(), torch.tensor(K), torch.tensor(T))
    x, y = xy_px.numpy().T
    area_px = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
    assert (frame.instance == 1).sum() == pytest.approx(area_px, rel=0.03)


def test_ground_lies_at_zero_with_its_normal_up():
    T = _camera()
    with _renderer([], num_props=0) as renderer:
        frame = renderer.render(K, T)
    hit = frame.depth_m < 20
    assert hit.mean() > 0.3
    assert np.abs(_unproject(frame.depth_m, T)[hit][:, 1]).max() < 2e-3
    np.testing.assert_allclose(frame.normal[hit], np.tile([0, 1, 0], (hit.sum(), 1)), atol=1e-6)
    assert np.isinf(frame.depth_m[:3]).all()  # sky at the top: row 0 is the top row


def test_the_nearer_person_hides_the_farther_whatever_their_order():
    for nearer in (0, 1):
        squares = [_square(0.3, 1.0, 0.5), _square(0.5, 1.0, -0.5)]
        people = [[squares[0]], [squares[1]]] if nearer == 0 else [[squares[1]], [squares[0]]]
        with _renderer(people) as renderer:
            frame = renderer.render(K, _camera((0.0, 1.0, 3.0)))
        assert set(np.unique(frame.instance)) == {0, 1, 2}
        assert frame.depth_m[frame.instance == nearer + 1] == pytest.approx(2.5, abs=1e-3)
        assert frame.depth_m[frame.instance == 2 - nearer] == pytest.approx(3.5, abs=1e-3)


def test_cut_out_texels_are_neither_seen_nor_labelled():
    T = _camera((0.0, 1.0, 3.0))
    counts = []
    for alpha in (False, True):
        with _renderer([[_square(0.5, 1.0, 0.0, alpha)]]) as renderer:
            frame, plate = renderer.render(K, T), renderer.render_plate(K, T)
        counts.append(int((frame.instance == 1).sum()))
        right = np.array([0.25, 1.0, 0.0, 1.0])
        x, y, z = K @ (T @ right)[:3]
        pixel = frame.rgb[int(y / z), int(x / z)].astype(int)
        assert (np.abs(pixel - plate[int(y / z), int(x / z)]).max() < 30) == alpha or not alpha
    assert counts[1] == pytest.approx(counts[0] / 2, rel=0.05)


def test_plate_equals_the_picture_except_for_people_and_their_shadows():
    box = box_mesh(
        np.array([0.0, 0.5, 0.0]), np.array([0.5, 1.0, 0.5]), 20.0, np.full((4, 4, 3), 90, np.uint8)
    )
    T = _camera()
    with _renderer([[box]]) as renderer:
        frame, plate = renderer.render(K, T), renderer.render_plate(K, T)
    body = np.pad(frame.instance > 0, 1)
    near = np.max([body[i : i + HEIGHT, j : j + WIDTH] for i in range(3) for j in range(3)], axis=0)
    change = frame.rgb.astype(int) - plate
    assert change[~near].max() <= 0  # outside of people only shadows: darker, never brighter
    assert (change[~near].sum(-1) < -30).any()  # there is a shadow
    assert (change[~near] == 0).all(-1).mean() > 0.6


def test_pose_moves_a_person_and_nothing_else():
    square = _square(0.3, 1.0, 0.0)
    T = _camera()
    with _renderer([[square]]) as renderer:
        before = renderer.render(K, T)
        renderer.pose(0, 0, square.vertices + np.array([9.0, 0.0, 0.0]), square.normals)
        away = renderer.render(K, T)
        plate = renderer.render_plate(K, T)
        renderer.pose(0, 0, square.vertices, square.normals)
        again = renderer.render(K, T)
    assert (before.instance == 1).any()
    assert not away.instance.any()
    np.testing.assert_array_equal(away.rgb, plate)
    for name in ("rgb", "instance", "depth_m", "normal"):
        np.testing.assert_array_equal(getattr(before, name), getattr(again, name))
