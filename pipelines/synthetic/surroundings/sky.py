"""Skies made of a gradient, clouds and a sun, as latitude-longitude maps of linear radiance."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from jaxtyping import Float

from pipelines.synthetic.surroundings.noise import fractal_noise
from pipelines.synthetic.surroundings.panorama import direction_of_pixels

SKIES = ("clear", "cloudy", "overcast", "low sun", "dusk")
ROWS = 256
NOISE_PX = 512


@dataclass(frozen=True, kw_only=True)
class Sky:
    """A sky and its sun; the sun's disc is not painted."""

    panorama: Float[np.ndarray, "rows columns 3"]
    sun_direction: Float[np.ndarray, "3"]
    sun_rgb: Float[np.ndarray, "3"]
    """Irradiance / pi at right angles."""
    horizon_rgb: Float[np.ndarray, "3"]


@dataclass(frozen=True, kw_only=True)
class _Weather:
    zenith: tuple[float, float, float]
    horizon: tuple[float, float, float]
    sun: tuple[float, float, float]
    height_deg: tuple[float, float]
    cover: tuple[float, float]
    """Share of the sky under clouds."""
    glow: float
    """How much the horizon takes the sun's colour on the sun's side."""


_WEATHER = {
    "clear": _Weather(
        zenith=(0.09, 0.2, 0.46), horizon=(0.55, 0.68, 0.85), sun=(1.5, 1.38, 1.18),
        height_deg=(30.0, 62.0), cover=(0.0, 0.25), glow=0.1,
    ),
    "cloudy": _Weather(
        zenith=(0.12, 0.24, 0.48), horizon=(0.62, 0.72, 0.85), sun=(1.15, 1.08, 0.95),
        height_deg=(28.0, 60.0), cover=(0.35, 0.65), glow=0.1,
    ),
    "overcast": _Weather(
        zenith=(0.62, 0.65, 0.69), horizon=(0.72, 0.74, 0.76), sun=(0.16, 0.16, 0.15),
        height_deg=(40.0, 70.0), cover=(0.8, 1.0), glow=0.0,
    ),
    "low sun": _Weather(
        zenith=(0.12, 0.22, 0.42), horizon=(0.72, 0.66, 0.6), sun=(1.25, 0.88, 0.55),
        height_deg=(12.0, 24.0), cover=(0.1, 0.5), glow=0.7,
    ),
    "dusk": _Weather(
        zenith=(0.1, 0.14, 0.28), horizon=(0.5, 0.42, 0.42), sun=(0.3, 0.19, 0.13),
        height_deg=(8.0, 14.0), cover=(0.2, 0.6), glow=1.0,
    ),
}  # fmt: skip


@cache
def _noise() -> Float[np.ndarray, "size size"]:
    return fractal_noise(np.random.default_rng(77), NOISE_PX, 6, 4).astype(np.float32)


def make_sky(
    rng: np.random.Generator,
    kind: str,
    sun_azimuth_deg: float,
    ground_rgb: Float[np.ndarray, "3"],
) -> Sky:
    """A sky of one of SKIES over ground of a colour, linear.

    Raises:
        ValueError: for another kind.
    """
    if kind not in _WEATHER:
        raise ValueError(f"sky must be one of {SKIES}, got {kind!r}")
    weather = _WEATHER[kind]
    azimuth, height = np.radians(sun_azimuth_deg), np.radians(rng.uniform(*weather.height_deg))
    sun = np.array(
        [np.cos(height) * np.sin(azimuth), np.sin(height), np.cos(height) * np.cos(azimuth)]
    )
    d = direction_of_pixels(ROWS, 2 * ROWS).astype(np.float32)
    up = np.clip(d[..., 1:2], 0.0, 1.0)
    sun_rgb, horizon = np.array(weather.sun), np.array(weather.horizon)
    towards = np.clip(d @ sun.astype(np.float32), 0.0, 1.0)[..., None]
    warm = horizon + weather.glow * towards**3 * (1.3 * sun_rgb / sun_rgb.max() - horizon)
    picture = warm + (np.array(weather.zenith) - warm) * up**0.55
    picture = picture + 0.5 * sun_rgb * (towards**40 + 0.3 * towards**8) * (weather.glow + 0.25)
    picture = _clouded(rng, picture, d, towards, rng.uniform(*weather.cover))
    mist = picture[ROWS // 2 - 6 : ROWS // 2].mean((0, 1))
    lit = ground_rgb * (picture[: ROWS // 2].mean((0, 1)) + sun_rgb * sun[1])
    fade = np.exp(np.clip(d[..., 1:2], -1.0, 0.0) * 12.0)
    picture = np.where(d[..., 1:2] > 0.0, picture, lit + (mist - lit) * fade)
    return Sky(
        panorama=picture.astype(np.float32),
        sun_direction=sun / np.linalg.norm(sun),
        sun_rgb=sun_rgb * (1.0 + rng.uniform(-0.08, 0.08, 3)),
        horizon_rgb=mist,
    )


def _clouded(
    rng: np.random.Generator,
    picture: np.ndarray,
    d: np.ndarray,
    towards: np.ndarray,
    cover: float,
) -> np.ndarray:
    """Clouds on a flat layer, so that they crowd towards the horizon."""
    import cv2

    plane = d[..., [0, 2]] / (np.clip(d[..., 1:2], 0.0, 1.0) + 0.14)
    shift, scale = rng.uniform(0, NOISE_PX, 2), rng.uniform(45.0, 90.0)
    at = ((plane * scale + shift) % NOISE_PX).astype(np.float32)
    density = cv2.remap(_noise(), at[..., 0], at[..., 1], cv2.INTER_LINEAR, None, cv2.BORDER_WRAP)
    depth = np.clip((density - (1.0 - cover)) * 4.0, 0.0, 1.0)[..., None]
    light = picture.mean(-1, keepdims=True) * 0.3 + 0.62 + 0.3 * towards**4
    shade = light * (1.0 - 0.28 * depth * rng.uniform(0.6, 1.2))
    amount = depth * np.clip(d[..., 1:2] * 7.0, 0.0, 1.0) * 0.92
    return picture + (shade * np.array([1.0, 0.99, 0.98]) - picture) * amount
