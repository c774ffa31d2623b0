"""Laws of people with fewer triangles."""

from dataclasses import replace

import numpy as np

from pipelines.synthetic.detail import thinned, without_clear
from pipelines.synthetic.renderers.opengl import SurfaceMesh

CELL_M = 0.05


def _tube() -> tuple[SurfaceMesh, np.ndarray]:
    """A tube around y with a seam of the texture: its last column lies on its first."""
    v, u = np.meshgrid(np.linspace(0.0, 1.0, 101), np.linspace(0.0, 1.0, 121), indexing="ij")
    angle = 2.0 * np.pi * u
    normals = np.stack([np.cos(angle), 0.0 * angle, np.sin(angle)], axis=-1).reshape(-1, 3)
    vertices = 0.2 * normals + np.stack([0.0 * v, v, 0.0 * v], axis=-1).reshape(-1, 3)
    first = (np.arange(100)[:, None] * 121 + np.arange(120)).ravel()
    a = np.stack([first, first + 121, first + 1], axis=1)
    b = np.stack([first + 1, first + 121, first + 122], axis=1)
    weights = np.stack([v.ravel(), 1.0 - v.ravel()], axis=1)
    mesh = SurfaceMesh(
        vertices=vertices.astype(np.float32),
        normals=normals.astype(np.float32),
        uv=np.stack([u.ravel(), v.ravel()], axis=1),
        faces=np.concatenate([a, b]).astype(np.int32),
        texture=np.zeros((4, 4, 3), np.uint8),
    )
    return mesh, weights


def test_fewer_triangles_stay_within_a_cell_and_keep_texture_and_weights():
    mesh, weights = _tube()
    kept, kept_weights = thinned(mesh, weights, CELL_M)
    assert len(kept.faces) < len(mesh.faces) / 4
    radius_m = np.hypot(kept.vertices[:, 0], kept.vertices[:, 2])
    assert np.all(np.abs(radius_m - 0.2) < 0.2 * CELL_M)
    np.testing.assert_allclose(kept_weights.sum(1), 1.0, atol=1e-9)
    # what a place shows and how it moves is that of the old surface there
    np.testing.assert_allclose(kept.uv[:, 1], kept.vertices[:, 1], atol=1e-5)
    np.testing.assert_allclose(kept_weights[:, 0], kept.vertices[:, 1], atol=1e-5)


def test_no_triangle_reaches_across_a_seam_and_no_gap_opens_there():
    mesh, weights = _tube()
    kept, _ = thinned(mesh, weights, CELL_M)
    u = kept.uv[kept.faces][..., 0]
    assert np.all(np.ptp(u, axis=1) < 0.3)
    # every edge but those of the two rims has a triangle on either side, place by place
    place = np.unique(np.round(kept.vertices, 6), axis=0, return_inverse=True)[1].ravel()
    corners = place[kept.faces]
    edges = np.sort(np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]), 1)
    pairs, sides = np.unique(edges, axis=0, return_counts=True)
    y = np.zeros(place.max() + 1)
    y[place] = kept.vertices[:, 1]
    open_y = y[pairs[sides == 1]]
    assert np.all((open_y < CELL_M) | (open_y > 1.0 - CELL_M))


def test_a_cell_smaller_than_every_edge_changes_nothing():
    mesh, weights = _tube()
    kept, kept_weights = thinned(mesh, weights, 1e-4)
    assert len(kept.faces) == len(mesh.faces)
    np.testing.assert_allclose(kept_weights.sum(), weights.sum())


def test_triangles_without_a_shown_texel_go_and_no_other():
    """A grid of squares over a texture of which only one part shows: that part stays whole."""
    steps = np.linspace(0.0, 1.0, 33)
    u, v = (axis.ravel() for axis in np.meshgrid(steps, steps))
    corner = np.arange(33 * 33).reshape(33, 33)
    a, b, c, d = (
        corner[rows, columns].ravel()
        for rows in (slice(0, -1), slice(1, None))
        for columns in (slice(0, -1), slice(1, None))
    )
    texture = np.full((64, 64, 4), 255, np.uint8)
    texture[..., 3] = 0
    texture[20:40, 10:30, 3] = 255
    surface = SurfaceMesh(
        vertices=np.stack([u, v, np.zeros_like(u)], axis=1),
        normals=np.tile([0.0, 0.0, 1.0], (len(u), 1)),
        uv=np.stack([u, v], axis=1),
        faces=np.concatenate([np.stack([a, b, d], 1), np.stack([a, d, c], 1)]),
        texture=texture,
    )
    kept = without_clear(surface)
    middle = surface.uv[surface.faces].mean(1) * 64
    is_shown = texture[middle[:, 1].astype(int), middle[:, 0].astype(int), 3] > 0
    left = {tuple(face) for face in kept.faces.tolist()}
    assert {tuple(face) for face in surface.faces[is_shown].tolist()} <= left
    far = (np.abs(middle - (20, 30)) > 16).any(1)
    assert not {tuple(face) for face in surface.faces[far].tolist()} & left
    whole = replace(surface, texture=texture[..., :3])
    assert without_clear(whole) is whole
