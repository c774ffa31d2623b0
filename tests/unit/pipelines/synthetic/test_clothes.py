"""Laws of clothes in motion: what they cover stays covered, however the body bends."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from models.body.model import BodyModel, skin
from pipelines.synthetic.characters import Character, MeshPart, make_character
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.mannequin import vertex_normals
from pipelines.synthetic.motion import MOTIONS

LAYERS = ("skin", "bottom", "top", "jacket", "skirt")
"""From the inside out; a skirt is the lower part of a coat too."""
MOMENTS = {"walk": 0.7, "run": 0.4, "sit": 2.4, "squat": 1.1, "reach": 1.4, "dance": 1.9}
AROUND_M = 0.12
THROUGH_M = 0.04
NUM_POINTS = 300
NUM_NEAR = 64


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.load()


def _hits(starts: np.ndarray, directions: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Distance along each ray to the nearest of its own triangles, inf where it meets none."""
    a, b = corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0]
    d = np.broadcast_to(directions[:, None], a.shape)
    p = np.cross(d, b)
    area = (a * p).sum(-1)
    inverse = 1.0 / np.where(abs(area) > 1e-14, area, np.inf)
    s = starts[:, None] - corners[:, :, 0]
    q = np.cross(s, a)
    u, v, far = (s * p).sum(-1) * inverse, (d * q).sum(-1) * inverse, (b * q).sum(-1) * inverse
    meets = (u >= -1e-6) & (v >= -1e-6) & (u + v <= 1 + 1e-6) & (far > 0) & (inverse != 0)
    return np.where(meets, far, np.inf).min(1)


def _drawn(part: MeshPart) -> np.ndarray:
    """Triangles that the texture's alpha does not cut away."""
    size = np.array(part.texture.shape[1::-1])
    column, row = np.clip((part.uv * size).astype(int), 0, size - 1).T
    return part.faces[(part.texture[row, column, 3] >= 128)[part.faces].all(1)]


def _areas_m2(part: MeshPart, faces: np.ndarray) -> np.ndarray:
    """Area that belongs to each vertex."""
    a, b, c = (part.vertices_rest[faces[:, k]].astype(float) for k in range(3))
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6.0
    return np.bincount(faces.ravel(), np.repeat(area, 3), len(part.vertices_rest))


class _Worn:
    """A layer and what is worn over it, posed together."""

    def __init__(self, inner: MeshPart, outer: list[MeshPart]) -> None:
        self.inner, self.outer = inner, outer
        self.every = max(1, len(inner.vertices_rest) // NUM_POINTS)
        self.points = np.arange(0, len(inner.vertices_rest), self.every)
        outside, inside = self._to_cloth(None)
        self.points = self.points[(outside < AROUND_M) & ~(inside < THROUGH_M)]

    def _to_cloth(self, T: torch.Tensor | None) -> tuple[np.ndarray, np.ndarray]:
        def posed(part: MeshPart) -> np.ndarray:
            if T is None:
                return part.vertices_rest.astype(float)
            rest, weights = torch.as_tensor(part.vertices_rest), torch.as_tensor(part.weights)
            return skin(rest, weights, T).numpy().astype(float)

        vertices = posed(self.inner)
        normals = vertex_normals(vertices, self.inner.faces)[self.points]
        triangles = np.concatenate([posed(part)[_drawn(part)] for part in self.outer])
        starts = vertices[self.points]
        near = KDTree(triangles.mean(1)).query(starts, k=min(NUM_NEAR, len(triangles)))[1]
        corners = triangles[near]
        return _hits(starts, normals, corners), _hits(starts, -normals, corners)

    def poking_m2(self, T: torch.Tensor) -> float:
        """Area that was covered at rest and shows through now, estimated from the points."""
        outside, inside = self._to_cloth(T)
        through = self.points[(outside > AROUND_M) & (inside < THROUGH_M)]
        return float(_areas_m2(self.inner, self.inner.faces)[through].sum()) * self.every


def poke_through(person: Character, body: BodyModel) -> dict[str, tuple[float, float]]:
    """Per pair of layers: area that shows through what covers it at rest, area of the cover."""
    parts = {part.name: part for part in person.parts}
    worn = [name for name in LAYERS if name in parts]
    skeleton, counts = Skeleton.of(body, person.betas), {}
    for place, name in enumerate(worn[:-1]):
        for above in worn[place + 1 :]:
            pair = _Worn(parts[name], [parts[above]])
            shown = 0.0
            for seed, (kind, moment_s) in enumerate(MOMENTS.items()):
                motion = MOTIONS[kind](seed, np.array([moment_s]), skeleton)
                values = (torch.as_tensor(v[0]) for v in vars(motion).values())
                T = body.pose(torch.as_tensor(person.betas), *values).T_world_joint
                shown += pair.poking_m2(T)
            cover = float(_areas_m2(parts[above], _drawn(parts[above])).sum())
            counts[f"{name} through {above}"] = shown, cover * len(MOMENTS)
    return counts


def test_nothing_shows_through_clothes_in_motion(body: BodyModel):
    shown: dict[str, float] = {}
    cover_m2 = 0.0
    for seed in (0, 4, 8, 10, 21):
        for pair, (poking_m2, of_m2) in poke_through(make_character(seed, body, 256), body).items():
            shown[pair] = shown.get(pair, 0.0) + poking_m2
            cover_m2 += of_m2
    assert sum(shown.values()) / cover_m2 < 1e-3, shown
    assert all(area == 0.0 for pair, area in shown.items() if pair.startswith("skin")), shown


def test_a_shirt_that_is_too_tight_is_seen(body: BodyModel):
    person = make_character(0, body, 256)
    top = next(part for part in person.parts if part.name == "top")
    normals = vertex_normals(top.vertices_rest, top.faces)
    tight = replace(top, vertices_rest=(top.vertices_rest - 0.025 * normals).astype(np.float32))
    inner = next(part for part in person.parts if part.name == "skin")
    pair = _Worn(inner, [top])
    pair.outer = [tight]
    zeros = torch.zeros(3), torch.zeros(69), torch.zeros(3)
    T = body.pose(torch.as_tensor(person.betas), *zeros).T_world_joint
    assert pair.poking_m2(T) > 0.5 * pair.every * _areas_m2(inner, inner.faces)[pair.points].sum()
