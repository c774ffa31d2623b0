"""Laws of rotations, rigid motions and projection, and agreement with scipy's golden values."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from models.geometry import (
    crop_resize_intrinsics,
    invert_rigid,
    look_at,
    matrix_to_quaternion,
    ndc,
    plucker_rays,
    project,
    quaternion_to_matrix,
    rigid,
    so3_exp,
    so3_log,
    transform,
)

BATCHES = [(), (2,), (3, 1)]
K = torch.tensor([[100.0, 0, 32], [0, 110.0, 24], [0, 0, 1]], dtype=torch.float64)


def random_rotvec(batch, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*batch, 3, generator=generator, dtype=dtype)


def random_camera(seed=0):
    return rigid(so3_exp(random_rotvec((), seed=seed)), random_rotvec((), seed=seed + 1))


@pytest.mark.parametrize("name", ["rotmat_to_axisangle", "rotmat_to_quat", "euler_zyx_to_rotmat"])
def test_rotations_equal_the_golden_values(shared_data, name):
    golden = np.load(shared_data / f"golden/rotations/{name}.npz", allow_pickle=False)
    R = torch.from_numpy(golden["rotmat"])
    if name == "rotmat_to_axisangle":
        rotvec = torch.from_numpy(golden["rotvec"])
        torch.testing.assert_close(so3_exp(rotvec), R, atol=1e-9, rtol=0)
        # at angle pi both signs of the axis are right, so compare what the vectors mean
        torch.testing.assert_close(so3_exp(so3_log(R)), R, atol=1e-9, rtol=0)
        is_away_from_pi = rotvec.norm(dim=-1) < np.pi - 1e-4
        assert is_away_from_pi.sum() > 80
        torch.testing.assert_close(
            so3_log(R)[is_away_from_pi], rotvec[is_away_from_pi], atol=1e-7, rtol=0
        )
    elif name == "rotmat_to_quat":
        wxyz = torch.from_numpy(golden["quat_wxyz"])
        torch.testing.assert_close(matrix_to_quaternion(R), wxyz, atol=1e-9, rtol=0)
        torch.testing.assert_close(quaternion_to_matrix(wxyz), R, atol=1e-9, rtol=0)
    else:
        z, y, x = torch.from_numpy(golden["euler"]).unbind(-1)
        zero = torch.zeros_like(x)
        axes = [torch.stack(v, -1) for v in ((zero, zero, z), (zero, y, zero), (x, zero, zero))]
        composed = so3_exp(axes[0]) @ so3_exp(axes[1]) @ so3_exp(axes[2])
        torch.testing.assert_close(composed, R, atol=1e-9, rtol=0)


def test_rigid_motions_agree_with_the_golden_se3_exponential(shared_data):
    golden = np.load(shared_data / "golden/rotations/se3_exp_log.npz", allow_pickle=False)
    twist, T = torch.from_numpy(golden["twist"]), torch.from_numpy(golden["transform"])
    torch.testing.assert_close(so3_exp(twist[:, :3]), T[:, :3, :3], atol=1e-7, rtol=0)
    identity = torch.eye(4, dtype=T.dtype).expand_as(T)
    torch.testing.assert_close(T @ invert_rigid(T), identity, atol=1e-6, rtol=0)


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_exp_and_log_are_inverse(batch, dtype):
    rotvec = random_rotvec(batch, dtype)
    atol = 1e-5 if dtype == torch.float32 else 1e-10
    torch.testing.assert_close(so3_log(so3_exp(rotvec)), rotvec, atol=atol, rtol=0)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3),
    st.sampled_from([0.0, 1e-12, 1e-6, 1e-3, 1.0, 3.0, np.pi]),
)
def test_exp_is_a_rotation_at_every_angle(axis, angle):
    vector = torch.tensor(axis, dtype=torch.float64)
    rotvec = angle * vector / vector.norm().clamp_min(1e-9)
    R = so3_exp(rotvec)
    torch.testing.assert_close(R @ R.mT, torch.eye(3, dtype=R.dtype), atol=1e-9, rtol=0)
    torch.testing.assert_close(so3_exp(so3_log(R)), R, atol=1e-7, rtol=0)


def test_the_gradient_of_exp_is_finite_at_zero():
    rotvec = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    so3_exp(rotvec)[0, 1].backward()
    torch.testing.assert_close(rotvec.grad, torch.tensor([0.0, 0, -1], dtype=torch.float64))


def test_moving_world_and_camera_together_moves_no_pixel():
    points, T_camera_world = random_rotvec((7,), seed=3), random_camera(4)
    T_new_world = random_camera(9)
    xy, depth = project(points, K, T_camera_world)
    moved = project(transform(T_new_world, points), K, T_camera_world @ invert_rigid(T_new_world))
    torch.testing.assert_close(moved[0], xy)
    torch.testing.assert_close(moved[1], depth)


def test_opencv_axes_right_is_plus_x_and_down_is_plus_y():
    eye = torch.tensor([0.0, 1, 5], dtype=torch.float64)
    T_camera_world = look_at(eye, torch.tensor([0.0, 1, 0], dtype=torch.float64))
    points = torch.tensor([[0.0, 1, 0], [1, 1, 0], [0, 2, 0]], dtype=torch.float64)
    xy, depth = project(points, K, T_camera_world)
    torch.testing.assert_close(depth, torch.full((3,), 5.0, dtype=torch.float64))
    torch.testing.assert_close(xy[0], torch.tensor([32.0, 24], dtype=torch.float64))
    assert xy[1, 0] > xy[0, 0]  # world +x is on the right of a camera that looks along -z
    assert xy[2, 1] < xy[0, 1]  # world up is up in the image


def test_ndc_is_minus_one_to_one_and_zero_at_the_reference_depth():
    corners = torch.tensor([[0.0, 0], [64, 48]], dtype=torch.float64)
    depth = 3.0
    rays = torch.cat([corners, torch.ones(2, 1, dtype=torch.float64)], 1)
    points = depth * rays @ torch.linalg.inv(K).mT
    eye = torch.eye(4, dtype=torch.float64)
    result = ndc(points, K, eye, (48, 64), 1.0, 9.0, reference_depth_m=depth)
    expected = torch.tensor([[-1.0, -1, 0], [1, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(result, expected, atol=1e-12, rtol=0)
    planes = torch.tensor([[0.0, 0, 1], [0, 0, 9], [0, 0, 1.8]], dtype=torch.float64)
    z = ndc(planes, K, eye, (48, 64), 1.0, 9.0)[:, 2]
    torch.testing.assert_close(z, torch.tensor([-1.0, 1, 0], dtype=torch.float64))


@pytest.mark.parametrize("stride", [1, 4])
def test_plucker_rays_pass_through_the_points_that_project_to_their_cells(stride):
    T_camera_world = random_camera(2)
    rays = plucker_rays(K, T_camera_world, 48, 64, stride)
    assert rays.shape == (6, 48 // stride, 64 // stride)
    direction, moment = rays[:3], rays[3:]
    origin = invert_rigid(T_camera_world)[:3, 3]
    points = origin + 2.5 * direction.permute(1, 2, 0).reshape(-1, 3)
    xy, _ = project(points, K, T_camera_world)
    y, x = torch.meshgrid(
        torch.arange(0, 48, stride) + stride / 2,
        torch.arange(0, 64, stride) + stride / 2,
        indexing="ij",
    )
    expected = torch.stack([x, y], -1).reshape(-1, 2).double()
    torch.testing.assert_close(xy, expected, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        torch.linalg.cross(points, direction.permute(1, 2, 0).reshape(-1, 3)),
        moment.permute(1, 2, 0).reshape(-1, 3),
        atol=1e-9,
        rtol=0,
    )


def test_cropped_intrinsics_project_to_cropped_pixels():
    points = torch.tensor([[0.1, 0.2, 2.0]], dtype=torch.float64)
    eye = torch.eye(4, dtype=torch.float64)
    xy, _ = project(points, K, eye)
    cropped, _ = project(points, crop_resize_intrinsics(K, 10.0, 4.0, 0.5), eye)
    expected = (xy - torch.tensor([10.0, 4], dtype=torch.float64)) * 0.5
    torch.testing.assert_close(cropped, expected)


def test_a_real_reconstruction_projects_into_its_own_images(shared_data):
    path = shared_data / "golden/cameras/opensfm_berlin_reconstruction.json"
    reconstruction = json.loads(path.read_text())[0]
    points = torch.tensor([p["coordinates"] for p in reconstruction["points"].values()])
    for shot in reconstruction["shots"].values():
        camera = reconstruction["cameras"][shot["camera"]]
        focal = camera["focal"] * max(camera["width"], camera["height"])
        intrinsics = torch.tensor(
            [[focal, 0, camera["width"] / 2], [0, focal, camera["height"] / 2], [0, 0, 1]]
        )
        T = rigid(so3_exp(torch.tensor(shot["rotation"])), torch.tensor(shot["translation"]))
        xy, depth = project(points, intrinsics, T)
        assert (depth > 0).float().mean() > 0.99
        size = torch.tensor([camera["width"], camera["height"]])
        inside = ((xy > -0.5 * size) & (xy < 1.5 * size)).all(-1)
        assert inside.float().mean() > 0.9
