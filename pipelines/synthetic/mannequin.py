"""The neutral body as clothes and hair see it, and the meshes that are worn on it."""

from dataclasses import dataclass

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Float, Int
from scipy.spatial import KDTree

from models.body.model import BodyModel

NUM_SMOOTHINGS = 40


HOLLOW_SMOOTHINGS = (4, 40)


"""Reach of the hollows that painters darken: wrinkles and lips; eye sockets and armpits."""


Vertices = Float[np.ndarray, "verts 3"]


@dataclass(frozen=True, kw_only=True)
class Mesh:
    """Geometry of a part before it has a name and a texture; fields as in `MeshPart`."""

    vertices: Vertices
    weights: Float[np.ndarray, "verts 24"]
    faces: Int[np.ndarray, "faces 3"]
    uv: Float[np.ndarray, "verts 2"]
    normals: Vertices | None = None


class Mannequin:
    """The neutral body as garments see it, prepared once per body."""

    def __init__(self, body: BodyModel):
        look = body.appearance
        if "uv" not in look:
            raise ValueError(
                f"body {body.name} brings no UVs; clothes are cut on the shipped free body: take "
                "that, or give texture_folder with the UV layout of this one"
            )
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
        self.hollow_m = {count: self._hollow(count) for count in HOLLOW_SMOOTHINGS}

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

    def _smoothed(
        self, values: Float[np.ndarray, "verts k"], count: int = NUM_SMOOTHINGS
    ) -> Float[np.ndarray, "verts k"]:
        for _ in range(count):
            values = self.smoothing @ values
        return values

    def _hollow(self, count: int) -> Float[np.ndarray, "verts"]:
        """How deep each vertex lies below its surroundings: where light hardly comes."""
        lifted = self._smoothed(self.template, count) - self.template
        return (lifted * vertex_normals(self.template, self.faces)).sum(1)

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
