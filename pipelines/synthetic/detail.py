"""Fewer triangles for people: none where their texture is cut away, and for those who are small in
the picture vertices that lie close become one.

Lengths in metres, in the rest pose.
"""

from dataclasses import replace

import cv2
import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from pipelines.synthetic.renderers.mesh import SurfaceMesh

STEPS_PER_M = 100_000
"""Vertices in the same step are at the same place."""

CUT_MARGIN_TEXELS = 2
"""Filtering takes what a texture shows this far beyond itself."""


def without_clear(surface: SurfaceMesh) -> SurfaceMesh:
    """The surface without the triangles on which its texture shows nothing."""
    if surface.texture.shape[2] < 4 or surface.texture[..., 3].min() >= 128:
        return surface
    rows, columns = surface.texture.shape[:2]
    shown = (surface.texture[..., 3] >= 128).astype(np.uint8)
    sums = cv2.integral(shown)  # of what lies above and to the left
    place = surface.uv[surface.faces] * (columns, rows)
    last = (columns, rows)
    left, top = np.clip(np.floor(place.min(1)) - CUT_MARGIN_TEXELS, 0, last).astype(int).T
    right, bottom = np.clip(np.ceil(place.max(1)) + CUT_MARGIN_TEXELS, 0, last).astype(int).T
    count = sums[bottom, right] - sums[top, right] - sums[bottom, left] + sums[top, left]
    return replace(surface, faces=surface.faces[count > 0])


def clusters(
    surface: SurfaceMesh, cell_m: float
) -> tuple[Int[np.ndarray, "vertices"], Int[np.ndarray, "vertices"]]:
    """Which vertices become one: the groups that share a place, and those that share a texture.

    Vertices are one if edges inside a cell of space join them, so that cloth and skin beneath it,
    or two fingers, stay apart. Where the texture has a seam, both of its sides keep one place.
    """
    # whole steps, lest the two sides of a seam fall into two cells by their last bits
    steps = np.round(surface.vertices * STEPS_PER_M).astype(np.int64)
    cell, place = _numbered(steps // round(cell_m * STEPS_PER_M)), _numbered(steps)
    sides = [surface.faces[:, pair] for pair in ([0, 1], [1, 2], [2, 0])]
    edges = np.concatenate(sides).astype(np.int64)
    edges = edges[cell[edges[:, 0]] == cell[edges[:, 1]]]
    same_place = _joined(place[edges], int(place.max()) + 1)[place]
    return same_place, _joined(edges, len(place))


def thinned(
    surface: SurfaceMesh, weights: Float[np.ndarray, "vertices joints"], cell_m: float
) -> tuple[SurfaceMesh, Float[np.ndarray, "kept joints"]]:
    """The surface with one vertex per cluster, at its mean, and its skinning weights."""
    same_place, same_texture = clusters(surface, cell_m)
    first = np.unique(same_texture, return_index=True)[1]
    owner = same_place[first]
    vertices = _means(surface.vertices, same_place)[owner]
    normals = _means(surface.normals, same_place)[owner]
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    normals = np.where(length > 0.1, normals / np.maximum(length, 0.1), surface.normals[first])
    faces = same_texture[surface.faces]
    a, b, c = same_place[surface.faces].T
    kept = replace(
        surface,
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        uv=_means(surface.uv, same_texture),
        faces=faces[(a != b) & (b != c) & (c != a)].astype(np.int32),
    )
    return kept, _means(weights, same_place)[owner]


def _numbered(rows: Int[np.ndarray, "rows 3"]) -> Int[np.ndarray, "rows"]:
    low = rows - rows.min(0)
    x, y, z = low.T
    size = low.max(0) + 1
    return np.unique((x * size[1] + y) * size[2] + z, return_inverse=True)[1]


def _joined(edges: Int[np.ndarray, "edges 2"], count: int) -> Int[np.ndarray, "nodes"]:
    ones = np.ones(len(edges), np.int8)
    graph = coo_array((ones, (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(graph, directed=False)[1].astype(np.int64)


def _means(
    values: Float[np.ndarray, "vertices channels"], group: Int[np.ndarray, "vertices"]
) -> Float[np.ndarray, "groups channels"]:
    counts = np.bincount(group)
    sums = [np.bincount(group, weights=column) for column in values.T]
    return np.stack(sums, axis=1) / counts[:, None]
