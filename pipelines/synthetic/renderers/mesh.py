"""What a renderer is given: surfaces with pictures on them, and the light. World frame, metres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8


@dataclass(frozen=True, kw_only=True)
class SurfaceMesh:
    """Triangles with a picture on them, in the world frame (rest pose for parts that move)."""

    vertices: Float[np.ndarray, "vertices 3"]
    normals: Float[np.ndarray, "vertices 3"]
    uv: Float[np.ndarray, "vertices 2"]
    """Texture coordinates: (0, 0) is the first row and column of `texture`; values wrap."""
    faces: Int[np.ndarray, "faces 3"]
    texture: UInt8[np.ndarray, "rows columns channels"]
    """sRGB, three channels, or four: where the fourth is below 128 there is no surface."""
    gloss: float = 0.0
    variation: float = 0.0
    """Strength of the slow brightness change that hides the repetition of a tiled texture."""
    tint: Float[np.ndarray, "vertices 3"] | None = None
    """Linear factor on the texture's colour, for shades and baked ambient occlusion; None: 1."""
    emission: float = 0.0
    """Light that the surface gives off itself, as a factor on its colour (lamps, lit windows)."""
    is_two_sided: bool = True
    """False where nobody can see the inside of the surface: that is then not drawn."""
    casts_shadow: bool = True
    """False for the walls of rooms, whose light comes from everywhere inside."""


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """The light of a scene, linear RGB."""

    sun_direction: Float[np.ndarray, "3"]
    """Unit vector from the scene to the sun, world frame."""
    sun_rgb: Float[np.ndarray, "3"]
    ambient_sh: Float[np.ndarray, "9 3"]
    """Irradiance / pi as polynomial of the normal: 1, y, z, x, xy, yz, 3zz-1, xz, xx-yy."""
    panorama: Float[np.ndarray, "rows columns 3"]
    """Latitude-longitude map: centre column +z, a quarter to its left +x, top row +y."""
    haze_rgb: Float[np.ndarray, "3"]
    haze_per_m: float = 0.035
    """How fast what lies more than 12 m away takes the colour of the haze; 0: clear air."""
    exposure: float = 1.0
