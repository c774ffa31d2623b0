"""Dressed, textured people for the synthetic renderer, each a pure function of a seed."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int32, UInt8


@dataclass(frozen=True, kw_only=True)
class MeshPart:
    """One skinned mesh of a character; all parts move with the same `T_world_joint`."""

    name: str
    """What it is: skin, hair, top, bottom, shoes, skirt ..."""
    vertices_rest: Float[np.ndarray, "verts 3"]
    """Rest vertices of this character (betas already applied), body frame in T-pose, metres.

    The same frame as `BodyModel.shape(betas)`: pose them with `models.body.model.skin`.
    """
    weights: Float[np.ndarray, "verts 24"]
    """Skinning weights, rows sum to 1."""
    faces: Int32[np.ndarray, "faces 3"]
    """Triangles, counter-clockwise seen from outside."""
    uv: Float[np.ndarray, "verts 2"]
    """Texture position of each vertex in [0, 1]; (0, 0) is the upper left texel corner."""
    texture: UInt8[np.ndarray, "height width 4"]
    """RGBA, sRGB; alpha is a cut-out mask (0 or 255): discard fragments below 128."""
    is_two_sided: bool = False
    """True for open cloth (skirt, hair sheets): draw both sides, flip the normal of back faces."""


@dataclass(frozen=True, kw_only=True)
class Character:
    """One synthetic person: a body shape and what is worn on it."""

    name: str
    betas: Float[np.ndarray, "10"]
    """Body shape, same meaning as in `BodyTracks`."""
    parts: tuple[MeshPart, ...]
    """Meshes to draw; together they are the person's silhouette."""
