"""Rotations, rigid motions, projection, normalised device coordinates and Plücker rays.

Frames and units are those of `storage_schemas.conventions`: world right-handed, metres, y up;
camera OpenCV (x right, y down, z forward); pixel centres at half-integers, the image spans
[0, W] x [0, H]. `T_a_b` maps coordinates of b to coordinates of a. Every function takes any
leading batch axes and works in the precision it is given.
"""

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

SMALL_ANGLE = 1e-4
MIN_DEPTH_M = 1e-6


def skew(vector: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Matrix of the cross product with `vector`."""
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    rows = [zero, -z, y, z, zero, -x, -y, x, zero]
    return rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=3)


def so3_exp(rotvec: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of an axis-angle vector in radians (Rodrigues' formula).

    Near zero the coefficients come from their Taylor series, so the gradient is finite there.
    """
    angle2 = (rotvec * rotvec).sum(-1)[..., None, None]
    is_small = angle2 < SMALL_ANGLE**2
    safe2 = torch.where(is_small, torch.ones_like(angle2), angle2)
    angle = safe2.sqrt()
    sinc = torch.where(is_small, 1 - angle2 / 6, torch.sin(angle) / angle)
    cosc = torch.where(is_small, 0.5 - angle2 / 24, (1 - torch.cos(angle)) / safe2)
    K = skew(rotvec)
    identity = torch.eye(3, dtype=rotvec.dtype, device=rotvec.device)
    return identity + sinc * K + cosc * (K @ K)


def matrix_to_quaternion(R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 4"]:
    """Unit quaternion wxyz with w >= 0 of a rotation matrix.

    Takes, per matrix, the numerically best of the four candidates (Shepperd 1978), so it holds
    for every angle including pi.
    """
    m = rearrange(R, "... i j -> ... (i j)")
    m00, m01, m02, m10, m11, m12, m20, m21, m22 = m.unbind(-1)
    squares = torch.stack(
        [1 + m00 + m11 + m22, 1 + m00 - m11 - m22, 1 - m00 + m11 - m22, 1 - m00 - m11 + m22], -1
    )
    candidates = torch.stack(
        [
            torch.stack([squares[..., 0], m21 - m12, m02 - m20, m10 - m01], -1),
            torch.stack([m21 - m12, squares[..., 1], m10 + m01, m02 + m20], -1),
            torch.stack([m02 - m20, m10 + m01, squares[..., 2], m12 + m21], -1),
            torch.stack([m10 - m01, m02 + m20, m12 + m21, squares[..., 3]], -1),
        ],
        -2,
    )
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = candidates.gather(-2, best).squeeze(-2)
    quaternion = quaternion / quaternion.norm(dim=-1, keepdim=True)
    return torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)


def quaternion_to_matrix(wxyz: Float[Tensor, "*batch 4"]) -> Float[Tensor, "*batch 3 3"]:
    """Rotation matrix of a quaternion wxyz; the quaternion is normalised first."""
    w, x, y, z = (wxyz / wxyz.norm(dim=-1, keepdim=True)).unbind(-1)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return rearrange(torch.stack(rows, -1), "... (i j) -> ... i j", i=3)


def so3_log(R: Float[Tensor, "*batch 3 3"]) -> Float[Tensor, "*batch 3"]:
    """Axis-angle vector in radians, angle in [0, pi], of a rotation matrix."""
    w, vector = matrix_to_quaternion(R).split([1, 3], -1)
    length = vector.norm(dim=-1, keepdim=True)
    is_small = length < SMALL_ANGLE
    safe = torch.where(is_small, torch.ones_like(length), length)
    factor = torch.where(is_small, 2 / w.clamp_min(0.5), 2 * torch.atan2(safe, w) / safe)
    return factor * vector


def rigid(
    R: Float[Tensor, "*batch 3 3"], t: Float[Tensor, "*batch 3"]
) -> Float[Tensor, "*batch 4 4"]:
    """Homogeneous matrix that rotates by R, then adds t."""
    top = torch.cat([R, t[..., None]], -1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 0, 3] = 1
    return torch.cat([top, bottom], -2)


def invert_rigid(T_a_b: Float[Tensor, "*batch 4 4"]) -> Float[Tensor, "*batch 4 4"]:
    """T_b_a, exactly orthogonal: no matrix is inverted numerically."""
    R_b_a = T_a_b[..., :3, :3].mT
    return rigid(R_b_a, -(R_b_a @ T_a_b[..., :3, 3:])[..., 0])


def transform(
    T_a_b: Float[Tensor, "*#batch 4 4"], p_b: Float[Tensor, "*#batch points 3"]
) -> Float[Tensor, "*batch points 3"]:
    """Points of frame b in frame a."""
    return p_b @ T_a_b[..., :3, :3].mT + T_a_b[..., None, :3, 3]


def project(
    points_world: Float[Tensor, "*#batch points 3"],
    K: Float[Tensor, "*#batch 3 3"],
    T_camera_world: Float[Tensor, "*#batch 4 4"],
) -> tuple[Float[Tensor, "*batch points 2"], Float[Tensor, "*batch points"]]:
    """Pixels and depth of world points: the one projection of the project.

    ISPE, Plücker rays, identity sampling, the renderer and every importer agree with it.

    Args:
        points_world: World frame, metres.
        K: Intrinsics in pixels.
        T_camera_world: World to camera.

    Returns:
        Pixel positions and depths along the optical axis in metres. A point with depth <= 0 is
        behind the camera: its pixel means nothing and the caller must mask it.
    """
    p_camera = transform(T_camera_world, points_world)
    depth_m = p_camera[..., 2]
    safe = torch.where(depth_m.abs() < MIN_DEPTH_M, MIN_DEPTH_M, depth_m)
    xy_px = (p_camera / safe[..., None]) @ K[..., :2, :].mT
    return xy_px, depth_m


def ndc(
    points_world: Float[Tensor, "*#batch points 3"],
    K: Float[Tensor, "*#batch 3 3"],
    T_camera_world: Float[Tensor, "*#batch 4 4"],
    size_px: tuple[int, int],
    near_m: float,
    far_m: float,
    reference_depth_m: float | None = None,
) -> Float[Tensor, "*batch points 3"]:
    """Normalised device coordinates of world points (ISA4D eq. 10).

    x and y run over [-1, 1] across the image, y down as pixels. z is that of OpenGL for the
    stated near and far planes, shifted so that 0 is the reference depth; by default that depth is
    the planes' harmonic mean, where OpenGL's own z is 0. Differs from the paper in stating
    the planes, which it leaves open.

    Args:
        points_world: World frame, metres.
        K: Intrinsics in pixels.
        T_camera_world: World to camera.
        size_px: Height and width of the image.
        near_m: Depth of z = -1 before the shift.
        far_m: Depth of z = +1 before the shift.
        reference_depth_m: Depth that gets z = 0.
    """
    height, width = size_px
    xy_px, depth_m = project(points_world, K, T_camera_world)
    span = far_m - near_m
    depth = torch.where(depth_m.abs() < MIN_DEPTH_M, MIN_DEPTH_M, depth_m)
    z = (far_m + near_m) / span - 2 * far_m * near_m / (span * depth)
    if reference_depth_m is not None:
        z = z - ((far_m + near_m) / span - 2 * far_m * near_m / (span * reference_depth_m))
    x = 2 * xy_px[..., 0] / width - 1
    y = 2 * xy_px[..., 1] / height - 1
    return torch.stack([x, y, z], -1)


def plucker_rays(
    K: Float[Tensor, "*#batch 3 3"],
    T_camera_world: Float[Tensor, "*#batch 4 4"],
    height: int,
    width: int,
    stride: int = 1,
) -> Float[Tensor, "*batch 6 rows columns"]:
    """Unit direction d and moment o x d, in the world frame, of the ray through each cell centre.

    Args:
        K: Intrinsics in pixels of the full image.
        T_camera_world: World to camera.
        height: Image height in pixels, a multiple of `stride`.
        width: Image width in pixels, a multiple of `stride`.
        stride: Pixels per cell side.
    """
    if height % stride or width % stride:
        raise ValueError(f"image {height}x{width} must be a multiple of the stride {stride}")
    offset = stride / 2
    y_px = torch.arange(0, height, stride, dtype=K.dtype, device=K.device) + offset
    x_px = torch.arange(0, width, stride, dtype=K.dtype, device=K.device) + offset
    y_px, x_px = torch.meshgrid(y_px, x_px, indexing="ij")
    pixels = torch.stack([x_px, y_px, torch.ones_like(x_px)], -1)
    T_world_camera = invert_rigid(T_camera_world)
    rays_camera = rearrange(pixels, "h w c -> (h w) c") @ torch.linalg.inv(K).mT
    rays_world = rays_camera @ T_world_camera[..., :3, :3].mT
    direction = rays_world / rays_world.norm(dim=-1, keepdim=True)
    origin = T_world_camera[..., None, :3, 3].expand_as(direction)
    moment = torch.linalg.cross(origin, direction)
    rows = height // stride
    return rearrange(torch.cat([direction, moment], -1), "... (h w) c -> ... c h w", h=rows)


def look_at(
    eye: Float[Tensor, "*#batch 3"],
    target: Float[Tensor, "*#batch 3"],
    up: Float[Tensor, "*#batch 3"] | None = None,
) -> Float[Tensor, "*batch 4 4"]:
    """T_camera_world of an OpenCV camera at `eye` that looks at `target`, world `up` upwards.

    Raises:
        ValueError: If eye and target coincide or the view is parallel to `up`.
    """
    if up is None:
        up = eye.new_tensor([0.0, 1.0, 0.0])
    forward = target - eye
    right = torch.linalg.cross(forward, up.expand_as(forward))
    if (right.norm(dim=-1) < 1e-9).any():
        raise ValueError("look_at needs eye != target and a view that is not parallel to up")
    z = forward / forward.norm(dim=-1, keepdim=True)
    x = right / right.norm(dim=-1, keepdim=True)
    y = torch.linalg.cross(z, x)
    R_camera_world = torch.stack([x, y, z], -2)
    t_camera = -(R_camera_world @ eye.expand_as(z)[..., None])[..., 0]
    return rigid(R_camera_world, t_camera)


def crop_resize_intrinsics(
    K: Float[Tensor, "*batch 3 3"], x0_px: float, y0_px: float, scale: float
) -> Float[Tensor, "*batch 3 3"]:
    """Intrinsics after cropping at (x0, y0) and resizing the crop by `scale`.

    The image spans [0, W], so a pixel position p moves to (p - p0) * scale with no half-pixel term.
    """
    change = K.new_tensor([[scale, 0, -x0_px * scale], [0, scale, -y0_px * scale], [0, 0, 1]])
    return change @ K
