"""Meshes worn on the body: cloth layers, shoes, skirts, hair.

Everything is placed on the person's shaped rest body (T-pose, body frame, metres) but cut by
functions of the neutral body, so that a sleeve ends at the same place on everybody.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int
from scipy.spatial import ConvexHull, KDTree

from models.body import model as body_model
from models.body.model import BodyModel
from pipelines.synthetic.texture import edge, waves
from storage_schemas.arrays import read_npz

GARMENTS_PATH = Path(body_model.__file__).with_name("free_garments.npz")
CUT_MARGIN_M = 0.012
"""Triangles this far beyond a garment's edge stay in the mesh; the texture's alpha cuts them."""
HIDDEN_DEPTH_M = 0.035
"""Skin this far inside a garment's edge is left out: it could only poke through."""
NUM_SMOOTHINGS = 40
PELVIS, LEFT_HIP, RIGHT_HIP, LEFT_KNEE, RIGHT_KNEE = 0, 1, 2, 4, 5
HEAD, SPINE3 = 15, 9

Vertices = Float[np.ndarray, "verts 3"]


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Geometry of a part before it has a name and a texture; fields as in `MeshPart`."""

    vertices: Vertices
    weights: Float[np.ndarray, "verts 24"]
    faces: Int[np.ndarray, "faces 3"]
    uv: Float[np.ndarray, "verts 2"]


class Mannequin:
    """The neutral body as garments see it, prepared once per body."""

    def __init__(self, body: BodyModel):
        look = body.appearance
        self.template: Vertices = body.v_template.numpy()
        self.shapedirs = body.shapedirs.numpy()
        self.weights = body.weights.numpy()
        self.faces = body.faces.numpy()
        self.uv = look["uv"].astype(np.float32)
        self.uv_vertex = look["uv_vertex"].astype(np.int64)
        self.uv_faces = look["uv_faces"].astype(np.int64)
        self.region = look["region"]
        self.region_names = list(look["region_names"])
        self.ears = look["mask_ears"] > 100
        self.smoothing = self._smoothing()
        self.smooth_template = self._smoothed(self.template)
        self.smooth_shapedirs = self._smoothed(self.shapedirs.reshape(len(self.template), -1))
        self.tree = KDTree(self.template)
        self.garments = read_npz(GARMENTS_PATH.read_bytes())

    def _smoothing(self) -> scipy.sparse.csr_matrix:
        corners = np.concatenate(
            [self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]
        )
        count = len(self.template)
        links = scipy.sparse.coo_matrix(
            (np.ones(len(corners)), (corners[:, 0], corners[:, 1])), shape=(count, count)
        ).tocsr()
        links = ((links + links.T) > 0).astype(float)
        return scipy.sparse.diags(1 / np.asarray(links.sum(1)).ravel()) @ links

    def _smoothed(self, values: Float[np.ndarray, "verts k"]) -> Float[np.ndarray, "verts k"]:
        for _ in range(NUM_SMOOTHINGS):
            values = self.smoothing @ values
        return values

    def draped(self, betas: Float[np.ndarray, "10"]) -> Vertices:
        """Rest body averaged with its neighbours many times: how cloth spans it."""
        shapedirs = self.smooth_shapedirs.reshape(self.shapedirs.shape)
        return self.smooth_template + shapedirs @ betas

    def in_region(self, *names: str) -> Bool[np.ndarray, "verts"]:
        """Which vertices lie in any of the named regions."""
        return np.isin(self.region, [self.region_names.index(name) for name in names])

    def shaped(self, betas: Float[np.ndarray, "10"]) -> Vertices:
        """Rest body of a person."""
        return self.template + self.shapedirs @ betas

    def carry(
        self, points: Float[np.ndarray, "points 3"], shaped: Vertices
    ) -> Float[np.ndarray, "points 3"]:
        """Move points placed on the neutral body to a shaped one, with the nearest skin."""
        distance, nearest = self.tree.query(points, k=8)
        weight = 1 / (distance + 1e-3)
        weight /= weight.sum(1, keepdims=True)
        return points + np.einsum("nk,nkx->nx", weight, (shaped - self.template)[nearest])


def vertex_normals(vertices: Vertices, faces: Int[np.ndarray, "faces 3"]) -> Vertices:
    """Area-weighted unit normals."""
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    face_normal = np.cross(b - a, c - a)
    normal = np.stack(
        [
            np.bincount(faces.ravel(), np.repeat(face_normal[:, k], 3), len(vertices))
            for k in range(3)
        ],
        -1,
    )
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-12)


def _compact(mesh: Mesh, keep: Bool[np.ndarray, "faces"]) -> Mesh:
    """Drop faces and the vertices only they used."""
    used, faces = np.unique(mesh.faces[keep], return_inverse=True)
    return Mesh(
        vertices=mesh.vertices[used].astype(np.float32),
        weights=mesh.weights[used].astype(np.float32),
        faces=faces.reshape(-1, 3).astype(np.int32),
        uv=mesh.uv[used].astype(np.float32),
    )


def _on_atlas(mannequin: Mannequin, vertices: Vertices, keep: Bool[np.ndarray, "faces"]) -> Mesh:
    split = Mesh(
        vertices=vertices[mannequin.uv_vertex],
        weights=mannequin.weights[mannequin.uv_vertex],
        faces=mannequin.uv_faces,
        uv=mannequin.uv,
    )
    return _compact(split, keep)


def skin_mesh(
    mannequin: Mannequin, shaped: Vertices, covers: list[Float[np.ndarray, "verts"]]
) -> Mesh:
    """The body without eyes and without what the covers (edge distance per vertex) hide."""
    names = [f"{side}_eye_{part}" for side in ("left", "right") for part in ("front", "back")]
    hidden = mannequin.in_region(*names)
    for cover in covers:
        hidden = hidden | (cover > HIDDEN_DEPTH_M)
    return _on_atlas(mannequin, shaped, ~hidden[mannequin.faces].all(1))


def layer(
    mannequin: Mannequin,
    betas: Float[np.ndarray, "10"],
    inside_m: Float[np.ndarray, "verts"],
    thickness_m: Float[np.ndarray, "verts"],
    span_m: Float[np.ndarray, "verts"],
) -> Mesh:
    """A shell over part of the body, on its texture atlas.

    Args:
        mannequin: The neutral body.
        betas: The person's shape.
        inside_m: Distance of each body vertex from the edge, positive inside.
        thickness_m: Least distance of each body vertex' shell from the skin along its normal.
        span_m: How far above the bottom of a hollow the shell may hang beyond its thickness,
            metres, per body vertex.
    """
    shaped = mannequin.shaped(betas)
    normal = vertex_normals(shaped, mannequin.faces)
    hollow = np.clip(((mannequin.draped(betas) - shaped) * normal).sum(1), 0, span_m)
    cloth = shaped + normal * (thickness_m + hollow)[:, None]
    return _on_atlas(mannequin, cloth, (inside_m > -CUT_MARGIN_M)[mannequin.faces].any(1))


def lumps(
    points: Float[np.ndarray, "points 3"], rng: np.random.Generator
) -> Float[np.ndarray, "points"]:
    """Locks of hair: noise of about unit variance and 3 cm."""
    return waves(points.astype(np.float32), rng, 0.035)


def eyes(mannequin: Mannequin, shaped: Vertices) -> Mesh:
    """Both eyeballs, each mapped flat onto the same square as seen from the front."""
    uv = np.zeros((len(shaped), 2))
    eyes_of = np.zeros(len(shaped), bool)
    for side in ("left", "right"):
        eye = mannequin.in_region(f"{side}_eye_front", f"{side}_eye_back")
        centre = (mannequin.template[eye].max(0) + mannequin.template[eye].min(0)) / 2
        uv[eye] = (mannequin.template[eye] - centre)[:, :2] * (1, -1) / 0.032 + 0.5
        eyes_of |= eye
    mesh = Mesh(vertices=shaped, weights=mannequin.weights, faces=mannequin.faces, uv=uv)
    return _compact(mesh, eyes_of[mannequin.faces].all(1))


def shoes(mannequin: Mannequin, shaped: Vertices, top_m: float, thickness_m: float) -> Mesh:
    """Closed shoes: the convex hull of each foot below `top_m` above the ground, thickened.

    The texture is a side view: u from heel to toe, v from top to sole.
    """
    normal = vertex_normals(shaped, mannequin.faces)
    ground = mannequin.template[:, 1].min()
    foot = mannequin.template[:, 1] < ground + top_m
    parts = []
    for sign in (1, -1):
        ids = np.flatnonzero(foot & (sign * mannequin.template[:, 0] > 0))
        points = shaped[ids] + normal[ids] * thickness_m
        hull = ConvexHull(points)
        faces = hull.simplices.copy()
        a, b, c = (points[faces[:, k]] for k in range(3))
        inward = (np.cross(b - a, c - a) * hull.equations[:, :3]).sum(1) < 0
        faces[inward] = faces[inward][:, ::-1]
        low, high = points.min(0), points.max(0)
        relative = (points - low) / (high - low)
        mesh = Mesh(
            vertices=points,
            weights=mannequin.weights[ids],
            faces=faces,
            uv=np.stack([relative[:, 2], 1 - relative[:, 1]], -1),
        )
        parts.append(_compact(mesh, np.ones(len(faces), bool)))
    return join(parts)


def join(parts: list[Mesh]) -> Mesh:
    """One mesh of several that share a texture."""
    starts = np.cumsum([0] + [len(part.vertices) for part in parts[:-1]])
    return Mesh(
        vertices=np.concatenate([part.vertices for part in parts]),
        weights=np.concatenate([part.weights for part in parts]),
        faces=np.concatenate(
            [part.faces + start for part, start in zip(parts, starts, strict=True)]
        ).astype(np.int32),
        uv=np.concatenate([part.uv for part in parts]),
    )


def _skirt_weights(points: Vertices) -> Float[np.ndarray, "verts 24"]:
    """Hips at the waist, the thigh of each side further down, a little of the shins."""
    x, y, _ = points.T
    weights = np.zeros((len(points), 24))
    left = edge(x + 0.12, 0.24)
    leg = 0.95 * edge(-0.24 - y, 0.35)
    shin = 0.8 * edge(-0.70 - y, 0.3)
    weights[:, PELVIS] = 1 - leg
    weights[:, LEFT_HIP], weights[:, RIGHT_HIP] = leg * left, leg * (1 - left)
    for hip, knee in ((LEFT_HIP, LEFT_KNEE), (RIGHT_HIP, RIGHT_KNEE)):
        weights[:, knee] = weights[:, hip] * shin
        weights[:, hip] *= 1 - shin
    return weights


def skirt(
    mannequin: Mannequin, betas: Float[np.ndarray, "10"], top_y_m: float, hem_y_m: float
) -> Mesh:
    """A long skirt around both legs; u around, v from `top_y_m` (0) to `hem_y_m` (1)."""
    data = {
        name.removeprefix("skirt_"): value
        for name, value in mannequin.garments.items()
        if name.startswith("skirt_")
    }
    rest = data["v_template"].astype(np.float64)
    vertices = rest + data["shapedirs"].astype(np.float64) @ betas
    ids = data["uv_vertex"].astype(int)
    around = np.arctan2(rest[ids, 0], rest[ids, 2] - 0.03) / (2 * np.pi) + 0.5
    down = (top_y_m - rest[ids, 1]) / (top_y_m - hem_y_m)
    faces = data["uv_faces"].astype(int)
    # The back seam joins u = 1 to u = 0; the textures of skirts are mirror images about it.
    uv = np.stack([1 - 2 * np.abs(around - 0.5), down], -1)
    mesh = Mesh(vertices=vertices[ids], weights=_skirt_weights(rest[ids]), faces=faces, uv=uv)
    return _compact(mesh, (down[faces] < 1.15).any(1))


def _grid_faces(rows: int, columns: int) -> Int[np.ndarray, "faces 3"]:
    """Triangles of a grid of vertices in row-major order."""
    corner = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)).ravel()
    a, b, c, d = corner, corner + columns, corner + columns + 1, corner + 1
    return np.concatenate([np.stack([a, b, c], -1), np.stack([a, c, d], -1)])


def _head_weights(height_m: Float[np.ndarray, "verts"]) -> Float[np.ndarray, "verts 24"]:
    """All head above the chin, fading to the upper spine below the shoulders."""
    weights = np.zeros((len(height_m), 24))
    head = np.clip((height_m - 0.08) / 0.2, 0, 1)
    weights[:, HEAD], weights[:, SPINE3] = head, 1 - head
    return weights


def curtain(mannequin: Mannequin, shaped: Vertices, length_m: float) -> Mesh:
    """Hair hanging from the sides and the back of the head, `length_m` below the ears.

    Texture: u along the head from one temple to the other, v from the crown to the tips.
    """
    rows, columns = 14, 36
    angle = np.linspace(0.36, 1.64, columns) * np.pi
    down = np.linspace(0, 1, rows)[:, None]
    backness = np.clip((-np.cos(angle) + 0.15) / 0.6, 0, 1)
    bottom = 0.385 - np.minimum(length_m, 0.12 + (length_m - 0.12) * backness)
    y = 0.47 - down * (0.47 - bottom)
    drop = np.clip((0.40 - y) / 0.25, 0, 1)
    bulge = np.sin(np.clip((0.50 - y) / 0.10, 0, 1) * np.pi / 2)
    x = np.sin(angle) * (0.055 + 0.046 * bulge + 0.012 * drop)
    z = 0.078 + np.cos(angle) * (0.070 + 0.050 * bulge) - 0.055 * drop * backness
    y = np.broadcast_to(y, x.shape)
    points = np.stack([x, y, z], -1).reshape(-1, 3)
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    head = mannequin.carry(np.array([[0, 0.40, 0.0]]), shaped) - np.array([[0, 0.40, 0.0]])
    return _compact(
        Mesh(
            vertices=points + head,
            weights=_head_weights(points[:, 1]),
            faces=_grid_faces(rows, columns),
            uv=np.stack([u.ravel(), v.ravel()], -1),
        ),
        np.ones((rows - 1) * (columns - 1) * 2, bool),
    )


def tuft(
    mannequin: Mannequin, shaped: Vertices, centre: tuple[float, float, float],
    radius_m: float, tail_m: float,
) -> Mesh:  # fmt: skip
    """A bun (`tail_m` 0) or a ponytail behind the head; u around, v from top to tip."""
    rows, columns = 14, 20
    down = np.linspace(0, 1, rows)[:, None]
    angle = np.linspace(0, 2 * np.pi, columns)[None]
    width = radius_m * np.sin(np.pi * np.clip(down, 0.02, 0.995) ** (0.5 if tail_m else 1.0))
    y = centre[1] + radius_m * (1 - 2 * down) - tail_m * down
    sway = 0.5 * tail_m * np.sin(down * np.pi / 2) * 0.5
    x = centre[0] + width * np.sin(angle)
    z = centre[2] + width * np.cos(angle) * 0.9 - sway
    points = np.stack([x, np.broadcast_to(y, x.shape), z], -1).reshape(-1, 3)
    anchor = np.array([centre])
    points += mannequin.carry(anchor, shaped) - anchor
    u, v = np.meshgrid(np.linspace(0, 1, columns), np.linspace(0, 1, rows))
    weights = np.zeros((len(points), 24))
    weights[:, HEAD] = 1
    return _compact(
        Mesh(
            vertices=points,
            weights=weights,
            faces=_grid_faces(rows, columns),
            uv=np.stack([u.ravel(), v.ravel()], -1),
        ),
        np.ones((rows - 1) * (columns - 1) * 2, bool),
    )
