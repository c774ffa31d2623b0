"""The world around the people: ground, props, sky and light, all drawn from a seed.

World frame: metres, y up, ground at y = 0. Colours of textures are sRGB uint8, colours of light
are linear. Panoramas are latitude-longitude maps as in OpenEXR: centre column +z, +x a quarter of
the width to its left, first row +y.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from einops import rearrange
from jaxtyping import Float, UInt8

from pipelines.synthetic.asset import Asset, list_files, round_
from pipelines.synthetic.renderers.opengl import Lighting, SurfaceMesh

GROUNDS = ("tiles", "wood", "concrete", "grass")
PANORAMA_SUFFIXES = (".hdr", ".exr")
TILE_M = {"tiles": 2.4, "wood": 2.0, "concrete": 4.0, "grass": 2.5}
"""World length covered by one repetition of the ground texture, metres."""


@dataclass(frozen=True, kw_only=True)
class EnvironmentSpec:
    """The still world."""

    seed: int
    ground: str
    num_props: int
    free_radius_m: float
    sun_azimuth_deg: float
    panorama: Asset | None = None


def sample_environment(
    rng: np.random.Generator,
    *,
    grounds: Sequence[str],
    num_props: tuple[int, int],
    free_radius_m: float,
    azimuth_deg: float,
    panorama_folder: Path | None,
) -> EnvironmentSpec:
    """Draw a still world that leaves room for people seen from `azimuth_deg`.

    Raises:
        ValueError: If the folder holds no panorama.
    """
    panorama = None
    if panorama_folder is not None:
        choices = list_files(panorama_folder, PANORAMA_SUFFIXES)
        panorama = Asset.of(choices[int(rng.integers(len(choices)))])
    return EnvironmentSpec(
        seed=int(rng.integers(2**31)),
        ground=str(rng.choice(list(grounds))),
        num_props=int(rng.integers(num_props[0], num_props[1] + 1)),
        free_radius_m=round_(free_radius_m),
        sun_azimuth_deg=round_(azimuth_deg + rng.uniform(-100.0, 100.0)),
        panorama=panorama,
    )


@dataclass(frozen=True, kw_only=True)
class Environment:
    """What a clip shows besides people."""

    still: tuple[SurfaceMesh, ...]
    """Props first, then the ground; world frame."""
    lighting: Lighting


def fractal_noise(
    rng: np.random.Generator, size: int, octaves: int = 5, first: int = 4
) -> Float[np.ndarray, "size size"]:
    """Smooth noise in [0, 1] that repeats at its borders, made of `octaves` doubled frequencies."""
    import cv2

    total = np.zeros((size, size), np.float32)
    for octave in range(octaves):
        cells = min(first * 2**octave, size)
        lattice = np.tile(rng.random((cells, cells), np.float32), (3, 3))
        wide = cv2.resize(lattice, (3 * size, 3 * size), interpolation=cv2.INTER_CUBIC)
        total += wide[size : 2 * size, size : 2 * size] * 0.5**octave
    low, high = np.percentile(total, (0.5, 99.5))
    return np.clip((total - low) / (high - low), 0.0, 1.0)


def _to_texture(colour: np.ndarray) -> np.ndarray:
    return np.clip(colour * 255.0, 0.0, 255.0).astype(np.uint8)


def ground_texture(
    kind: str, rng: np.random.Generator, size: int = 256
) -> UInt8[np.ndarray, "size size 3"]:
    """A repeating picture of a ground: one of GROUNDS."""
    if kind not in GROUNDS:
        raise ValueError(f"ground must be one of {GROUNDS}, got {kind!r}")
    noise = fractal_noise(rng, size)
    fine = fractal_noise(rng, size, octaves=3, first=32)
    rows, columns = np.mgrid[0:size, 0:size] / size
    if kind == "grass":
        base = np.array([0.25, 0.40, 0.14]) + rng.uniform(-0.05, 0.06, 3)
        return _to_texture(base * (0.55 + 0.5 * noise + 0.5 * fine)[..., None])
    if kind == "concrete":
        base = np.full(3, rng.uniform(0.45, 0.68)) + rng.uniform(-0.03, 0.03, 3)
        return _to_texture(base * (0.75 + 0.35 * noise + 0.12 * fine)[..., None])
    if kind == "tiles":
        return _tiles(rng, rows, columns, noise)
    return _planks(rng, rows, columns, noise)


def _tiles(
    rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    count = 4
    colours = rng.uniform(0.35, 0.8, (2, 3)) * 0.5 + rng.uniform(0.2, 0.45, (2, 1))
    r, c = (rows * count).astype(int), (columns * count).astype(int)
    tint = rng.uniform(0.9, 1.1, (count, count))[r, c][..., None]
    picture = colours[(r + c) % 2] * tint * (0.85 + 0.25 * noise)[..., None]
    edge = np.minimum((rows * count) % 1.0, (columns * count) % 1.0) < 0.04
    picture[edge] = rng.uniform(0.2, 0.45)
    return _to_texture(picture)


def _planks(
    rng: np.random.Generator, rows: np.ndarray, columns: np.ndarray, noise: np.ndarray
) -> np.ndarray:
    count, size = 10, len(rows)
    base = np.array([0.55, 0.38, 0.22]) * rng.uniform(0.7, 1.3) + rng.uniform(-0.03, 0.05, 3)
    plank = (columns * count).astype(int)
    shift = rng.random(count)[plank]
    tint = rng.uniform(0.75, 1.15, (count, 2))[plank, ((rows + shift) % 1.0 < 0.5).astype(int)]
    grain = noise[(np.arange(size) // 12)[:, None], (np.arange(size) * 7 % size)[None, :]]
    picture = base * (tint * (0.8 + 0.3 * grain))[..., None]
    along = (rows + shift) % 0.5 < 0.008
    picture[((columns * count) % 1.0 < 0.06) | along] *= 0.45
    return _to_texture(picture)


def prop_texture(rng: np.random.Generator, size: int = 128) -> UInt8[np.ndarray, "size size 3"]:
    """A picture for boxes and columns: bricks, stripes, panels or stains."""
    noise = fractal_noise(rng, size)
    first, second = rng.uniform(0.15, 0.85, (2, 3))
    rows, columns = np.mgrid[0:size, 0:size] / size
    pattern = rng.integers(4)
    if pattern == 0:
        brick = (rows * 8) % 1.0
        beside = (columns * 4 + 0.5 * ((rows * 8).astype(int) % 2)) % 1.0
        mask = (brick > 0.1) & (beside > 0.05)
    elif pattern == 1:
        mask = ((rows + columns) * rng.integers(3, 8)) % 1.0 > 0.5
    elif pattern == 2:
        mask = ((rows * 4) % 1.0 > 0.08) & ((columns * 4) % 1.0 > 0.08)
    else:
        mask = noise > 0.5
    picture = np.where(mask[..., None], first, second) * (0.7 + 0.45 * noise)[..., None]
    return _to_texture(picture)


def ground_mesh(kind: str, rng: np.random.Generator, size_px: int) -> SurfaceMesh:
    """A square ground of 120 m at y = 0."""
    half = 60.0
    corners = np.array([[-1, 0, -1], [1, 0, -1], [1, 0, 1], [-1, 0, 1]]) * half
    return SurfaceMesh(
        vertices=corners,
        normals=np.tile([0.0, 1.0, 0.0], (4, 1)),
        uv=corners[:, [0, 2]] / TILE_M[kind],
        faces=np.array([[0, 1, 2], [0, 2, 3]]),
        texture=ground_texture(kind, rng, size_px),
        gloss=0.15 if kind in ("tiles", "wood") else 0.0,
        variation=0.3,
    )


def box_mesh(
    centre: Float[np.ndarray, "3"],
    size_m: Float[np.ndarray, "3"],
    yaw_deg: float,
    texture: UInt8[np.ndarray, "rows columns 3"],
) -> SurfaceMesh:
    """A textured box turned about the vertical; 24 vertices, so edges are sharp."""
    vertices, normals, uv = [], [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            normal = np.zeros(3)
            normal[axis] = sign
            a, b = np.roll(np.eye(3), 1, axis=0)[axis], np.roll(np.eye(3), 2, axis=0)[axis]
            for s, t in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
                vertices.append(0.5 * size_m * (normal + s * a + t * b))
                normals.append(normal)
                uv.append(np.array([s, t]) * 0.5 * max(1.0, float(size_m.max()) / 2))
    faces = [[4 * k + i for i in corner] for k in range(6) for corner in ((0, 1, 2), (0, 2, 3))]
    angle = np.radians(yaw_deg)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return SurfaceMesh(
        vertices=np.array(vertices) @ R.T + centre,
        normals=np.array(normals) @ R.T,
        uv=np.array(uv),
        faces=np.array(faces),
        texture=texture,
    )


def column_mesh(
    base: Float[np.ndarray, "3"],
    radius_m: float,
    height_m: float,
    texture: UInt8[np.ndarray, "rows columns 3"],
) -> SurfaceMesh:
    """A textured upright cylinder without lids."""
    sides = 24
    angle = np.linspace(0.0, 2.0 * np.pi, sides + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], axis=1)
    top = np.array([0.0, height_m, 0.0])
    around = np.linspace(0.0, 2.0, sides + 1)
    low = np.arange(sides)
    quads = np.stack([low, low + 1, low + sides + 2, low + sides + 1], axis=1)
    return SurfaceMesh(
        vertices=np.concatenate([ring * radius_m, ring * radius_m + top]) + base,
        normals=np.concatenate([ring, ring]),
        uv=np.concatenate(
            [np.stack([around, np.full(sides + 1, v)], axis=1) for v in (height_m / 2, 0.0)]
        ),
        faces=rearrange(
            quads[:, [0, 1, 2, 0, 2, 3]], "side (two corner) -> (side two) corner", two=2
        ),
        texture=texture,
    )


def make_props(
    rng: np.random.Generator, free_radius_m: float, count: int, view_deg: tuple[float, float]
) -> tuple[SurfaceMesh, ...]:
    """Boxes and columns around a free disc about the world origin, behind people mostly.

    Args:
        rng: Draws places, sizes and textures.
        free_radius_m: Radius of the disc.
        count: How many.
        view_deg: First and last azimuth of the camera; nothing stands within 50 degrees of it.
    """
    middle, half = 0.5 * sum(view_deg), 0.5 * abs(view_deg[1] - view_deg[0])
    free_deg = min(half + 50.0, 150.0)
    props = []
    for _ in range(count):
        aside = rng.uniform(free_deg, 180.0) * rng.choice([-1.0, 1.0])
        angle, distance = np.radians(middle + aside), free_radius_m + rng.uniform(0.9, 6.0)
        texture = prop_texture(rng)
        place = np.array([np.sin(angle) * distance, 0.0, np.cos(angle) * distance])
        if rng.random() < 0.7:
            size = rng.uniform((0.4, 0.4, 0.4), (1.5, 2.4, 1.5))
            centre = place + np.array([0.0, size[1] / 2, 0.0])
            props.append(box_mesh(centre, size, float(rng.uniform(0, 90)), texture))
        else:
            radius, height = float(rng.uniform(0.12, 0.35)), float(rng.uniform(2.0, 4.0))
            props.append(column_mesh(place, radius, height, texture))
    return tuple(props)


def direction_of_pixels(rows: int, columns: int) -> Float[np.ndarray, "rows columns 3"]:
    """World direction seen at each pixel centre of a latitude-longitude map."""
    phi = 2.0 * np.pi * (0.5 - (np.arange(columns) + 0.5) / columns)
    theta = np.pi * (np.arange(rows) + 0.5) / rows
    level = np.sin(theta)[:, None]
    return np.stack(
        [
            level * np.sin(phi),
            np.repeat(np.cos(theta)[:, None], columns, axis=1),
            level * np.cos(phi),
        ],
        axis=-1,
    )


def irradiance_sh(panorama: Float[np.ndarray, "rows columns 3"]) -> Float[np.ndarray, "9 3"]:
    """Irradiance / pi of a panorama as nine polynomial coefficients of the normal.

    Ramamoorthi and Hanrahan 2001, "An Efficient Representation for Irradiance Environment Maps",
    with the band factors and the basis constants multiplied out and divided by pi.
    """
    d = direction_of_pixels(*panorama.shape[:2])
    x, y, z = np.moveaxis(d, -1, 0)
    theta = np.pi * (np.arange(panorama.shape[0]) + 0.5) / panorama.shape[0]
    area = (np.sin(theta) * np.pi / panorama.shape[0] * 2.0 * np.pi / panorama.shape[1])[:, None]
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
            constant**2 * band * ((polynomial * area)[..., None] * panorama).sum((0, 1))
            for constant, band, polynomial in basis
        ]
    )


def sky_panorama(rng: np.random.Generator, rows: int = 128) -> Float[np.ndarray, "rows columns 3"]:
    """A day sky: gradient from horizon to zenith with clouds, grey below the horizon."""
    import cv2

    d = direction_of_pixels(rows, 2 * rows)
    up = d[..., 1:2]
    zenith = np.array([0.16, 0.36, 0.75]) * rng.uniform(0.7, 1.2)
    horizon = np.array([0.75, 0.82, 0.92]) * rng.uniform(0.85, 1.1) + rng.uniform(-0.1, 0.1, 3)
    sky = horizon + (zenith - horizon) * np.clip(up, 0.0, 1.0) ** 0.6
    cover = fractal_noise(rng, 2 * rows, octaves=5, first=4)[:rows]
    cover = cv2.GaussianBlur(np.clip((cover - rng.uniform(0.45, 0.8)) * 3.0, 0.0, 1.0), (0, 0), 1.0)
    sky = sky + (np.array([1.0, 1.0, 1.0]) - sky) * (cover[..., None] * np.clip(up * 3, 0, 1))
    below = np.array([0.32, 0.3, 0.28])
    return np.where(up > 0.0, sky, below).astype(np.float32)


def read_panorama(path: Path) -> Float[np.ndarray, "rows columns 3"]:
    """A latitude-longitude .hdr or .exr file as linear RGB float32.

    Raises:
        ValueError: for another format or a file OpenCV cannot decode.
    """
    os.environ["OPENCV_IO_ENABLE_OPENEXR"] = "1"  # read by OpenCV at the first EXR it opens
    import cv2

    if path.suffix.lower() not in PANORAMA_SUFFIXES:
        raise ValueError(f"panorama must be one of {PANORAMA_SUFFIXES}, got {path}")
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.dtype != np.float32:
        raise ValueError(f"panorama must be a readable float colour image, got {path}")
    return np.ascontiguousarray(picture[..., 2::-1])


def make_lighting(
    rng: np.random.Generator,
    panorama: Float[np.ndarray, "rows columns 3"],
    sun_azimuth_deg: float | None,
) -> Lighting:
    """Sun, ambient light and exposure; without an azimuth the sun is the sky's brightest spot."""
    if sun_azimuth_deg is None:
        brightness = panorama.sum(-1)  # a fresh array
        brightness[panorama.shape[0] // 2 :] = 0.0
        row, column = np.unravel_index(int(brightness.argmax()), brightness.shape)
        sun = direction_of_pixels(*panorama.shape[:2])[row, column]
        sun = np.array([sun[0], max(sun[1], 0.35), sun[2]])
        soft = np.minimum(panorama, 8.0)
    else:
        azimuth, height = np.radians(sun_azimuth_deg), np.radians(rng.uniform(28.0, 65.0))
        flat = np.cos(height)
        sun = np.array([flat * np.sin(azimuth), np.sin(height), flat * np.cos(azimuth)])
        soft = panorama
    ambient = irradiance_sh(soft)
    level = float(ambient[0].mean())
    ambient = ambient / level * 0.55
    warm = np.array([1.0, 0.95, 0.86]) + rng.uniform(-0.05, 0.05, 3)
    horizon = soft[soft.shape[0] * 7 // 16 : soft.shape[0] // 2].mean((0, 1))
    return Lighting(
        sun_direction=sun / np.linalg.norm(sun),
        sun_rgb=warm * rng.uniform(0.7, 1.25),
        ambient_sh=ambient,
        panorama=soft * (0.55 / level),
        haze_rgb=horizon * (0.55 / level),
        exposure=float(rng.uniform(0.75, 0.95)),
    )


def make_environment(
    *,
    seed: int,
    ground: str,
    num_props: int,
    free_radius_m: float,
    view_deg: tuple[float, float],
    sun_azimuth_deg: float,
    panorama: Path | None,
    texture_px: int = 256,
) -> Environment:
    """The still world of a clip.

    Args:
        seed: Decides textures, places, sky and sun.
        ground: One of GROUNDS.
        num_props: Boxes and columns around the people.
        free_radius_m: Radius about the world origin that stays empty.
        view_deg: First and last azimuth of the camera, kept free of props.
        sun_azimuth_deg: Where the sun of a made-up sky stands, from +z towards +x.
        panorama: A .hdr or .exr file, or None for a made-up sky.
        texture_px: Side of the ground texture.
    """
    rng = np.random.default_rng(seed)
    sky = sky_panorama(rng) if panorama is None else read_panorama(panorama)
    lighting = make_lighting(rng, sky, sun_azimuth_deg if panorama is None else None)
    floor = ground_mesh(ground, rng, texture_px)
    still = (*make_props(rng, free_radius_m, num_props, view_deg), floor)
    return Environment(still=still, lighting=lighting)
