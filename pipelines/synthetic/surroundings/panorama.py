"""Latitude-longitude maps: reading them, and the light and the ground that they hold.

As in OpenEXR: centre column +z, +x a quarter of the width to its left, first row +y. Values are
linear radiance.
"""

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.renderers.opengl import SurfaceMesh

PANORAMA_SUFFIXES = (".hdr", ".exr")
SUN_CONE_DEG = 12.0
"""Light within this angle of the brightest spot may be taken out as the sun."""
SUN_OVER_MEAN = 8.0
"""How many times brighter than the mean sky its pixels are."""
CAMERA_HEIGHT_M = 1.6
"""At which panoramas are photographed."""
GROUND_EDGE_M = 60.0


@cache
def direction_of_pixels(rows: int, columns: int) -> Float[np.ndarray, "rows columns 3"]:
    """World direction seen at each pixel centre of a latitude-longitude map."""
    phi = 2.0 * np.pi * (0.5 - (np.arange(columns) + 0.5) / columns)
    theta = np.pi * (np.arange(rows) + 0.5) / rows
    level = np.sin(theta)[:, None]
    x, z = level * np.sin(phi), level * np.cos(phi)
    directions = np.stack([x, np.broadcast_to(np.cos(theta)[:, None], x.shape), z], axis=-1)
    directions.flags.writeable = False  # shared by all callers
    return directions


def _solid_angle(rows: int, columns: int) -> Float[np.ndarray, "rows 1"]:
    theta = np.pi * (np.arange(rows) + 0.5) / rows
    return (np.sin(theta) * np.pi / rows * 2.0 * np.pi / columns)[:, None]


def irradiance_sh(panorama: Float[np.ndarray, "rows columns 3"]) -> Float[np.ndarray, "9 3"]:
    """Irradiance / pi of a panorama as nine polynomial coefficients of the normal.

    Ramamoorthi and Hanrahan 2001, "An Efficient Representation for Irradiance Environment Maps",
    with the band factors and the basis constants multiplied out and divided by pi.
    """
    x, y, z = np.moveaxis(direction_of_pixels(*panorama.shape[:2]), -1, 0)
    area = _solid_angle(*panorama.shape[:2])
    basis = [
        (0.282095, 1.0, np.ones_like(x)),
        (0.488603, 2 / 3, y),
        (0.488603, 2 / 3, z),
        (0.488603, 2 / 3, x),
        (1.092548, 0.25, x * y),
        (1.092548, 0.25, y * z),
        (0.315392, 0.25, 3 * z * z - 1),
        (1.092548, 0.25, x * z),
        (0.546274, 0.25, x * x - y * y),
    ]
    return np.stack(
        [
            constant**2 * band * np.einsum("rc,rck->k", polynomial * area, panorama)
            for constant, band, polynomial in basis
        ]
    )


def ambient(
    sh: Float[np.ndarray, "9 3"], normals: Float[np.ndarray, "normals 3"]
) -> Float[np.ndarray, "normals 3"]:
    """Irradiance / pi on surfaces with these normals."""
    x, y, z = normals.T
    terms = [np.ones_like(x), y, z, x, x * y, y * z, 3 * z * z - 1, x * z, x * x - y * y]
    return np.maximum(np.stack(terms, axis=1) @ sh, 0.0)


def read_panorama(path: Path) -> Float[np.ndarray, "rows columns 3"]:
    """A latitude-longitude .hdr or .exr file as linear RGB float32.

    Raises:
        ValueError: for another format, a damaged file, or a picture that is no such map.
    """
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # read by OpenCV at the first EXR it opens
    import cv2

    def refuse(finding: str) -> ValueError:
        return ValueError(
            f"panorama {path} {finding}; give a whole latitude-longitude "
            f"{' or '.join(PANORAMA_SUFFIXES)} map, or take this file out of the folder"
        )

    if path.suffix.lower() not in PANORAMA_SUFFIXES:
        raise refuse(f"ends in {path.suffix!r}")
    try:
        picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise refuse(f"cannot be decoded ({error.err})") from error
    if picture is None:
        raise refuse("cannot be decoded: it is damaged, cut short or of another format")
    if picture.ndim != 3 or picture.dtype != np.float32:
        raise refuse(f"holds {picture.dtype} of shape {picture.shape}, not float colours")
    if not np.isfinite(picture).all():
        raise refuse(f"holds {int((~np.isfinite(picture)).sum())} values that are not finite")
    rows, columns = picture.shape[:2]
    if abs(columns - 2 * rows) > 0.02 * columns:
        raise refuse(f"is {columns} x {rows}, not twice as wide as high")
    if not picture[..., :3].max() > 0:
        raise refuse("is black")
    return np.ascontiguousarray(np.maximum(picture[..., 2::-1], 0.0))


@dataclass(frozen=True, kw_only=True)
class PhotographedLight:
    """The light of a panorama, parted into a sun and the rest; together they are all of it."""

    sun_direction: Float[np.ndarray, "3"]
    sun_rgb: Float[np.ndarray, "3"]
    """Irradiance / pi at right angles."""
    ambient_sh: Float[np.ndarray, "9 3"]


def split_sun(panorama: Float[np.ndarray, "rows columns 3"]) -> PhotographedLight:
    """Take the brightest spot above the horizon out of a panorama.

    Its direction is the mean of what is bright about it, weighted by light.
    """
    rows, columns = panorama.shape[:2]
    d, area = direction_of_pixels(rows, columns), _solid_angle(rows, columns)
    brightness = panorama.mean(-1)
    upper = brightness[: rows // 2]
    peak = d[np.unravel_index(int(upper.argmax()), upper.shape)]
    threshold = SUN_OVER_MEAN * float((brightness * area).sum() / (4.0 * np.pi))
    near = d @ peak > np.cos(np.radians(SUN_CONE_DEG))
    excess = np.where(
        (near & (brightness > threshold))[..., None],
        panorama * (1.0 - threshold / np.maximum(brightness, 1e-9))[..., None],
        0.0,
    )
    flux = np.einsum("rc,rck->k", np.broadcast_to(area, (rows, columns)), excess)
    towards = np.einsum("rc,rcx->x", area * excess.mean(-1), d)
    length = float(np.linalg.norm(towards))
    return PhotographedLight(
        sun_direction=towards / length if length > 0 else peak.astype(float),
        sun_rgb=flux / np.pi,
        ambient_sh=irradiance_sh(panorama - excess.astype(np.float32)),
    )


def ground_of(
    panorama: Float[np.ndarray, "rows columns 3"], light: PhotographedLight
) -> SurfaceMesh:
    """The lower half of a panorama laid out on the floor, as it was seen from 1.6 m above it.

    Its albedo is what the panorama shows over the light that falls on the floor, so that the drawn
    floor shows the panorama again, where no shadow falls, and meets it at the horizon.
    """
    rows, columns = panorama.shape[:2]
    up = np.array([[0.0, 1.0, 0.0]])
    light_up = ambient(light.ambient_sh, up)[0] + light.sun_rgb * max(light.sun_direction[1], 0.0)
    albedo = np.clip(panorama[rows // 2 :] / np.maximum(light_up, 1e-6), 0.0, 1.0)
    texture = (255.0 * albedo ** (1.0 / 2.2) + 0.5).astype(np.uint8)
    radius = np.concatenate([[0.02], np.geomspace(0.15, GROUND_EDGE_M, 40)])
    angle = np.linspace(-np.pi, np.pi, 97)
    r, a = np.meshgrid(radius, angle, indexing="ij")
    below = np.arctan2(CAMERA_HEIGHT_M, r) / (np.pi / 2)  # 0 at the horizon, 1 at the nadir
    half_texel = 0.5 / texture.shape[0]
    v = np.clip(below, half_texel, 1.0 - half_texel)
    points = np.stack([r * np.sin(a), np.zeros_like(r), r * np.cos(a)], axis=-1)
    low = (np.arange(len(radius) - 1)[:, None] * len(angle) + np.arange(len(angle) - 1)).ravel()
    n = len(angle)
    faces = np.concatenate(
        [np.stack([low, low + n, low + n + 1], 1), np.stack([low, low + n + 1, low + 1], 1)]
    )
    del columns
    return SurfaceMesh(
        vertices=points.reshape(-1, 3),
        normals=np.tile(up, (points.size // 3, 1)),
        uv=np.stack([0.5 - a / (2.0 * np.pi), v], axis=-1).reshape(-1, 2),
        faces=faces,
        texture=texture,
    )
