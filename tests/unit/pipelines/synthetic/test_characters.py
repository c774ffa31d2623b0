"""Laws of the characters: pure in the seed, all different, dressed, and fit to be drawn."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial import KDTree

from models.body.model import BodyModel, skin
from pipelines.synthetic.characters import Character, MeshPart, make_character
from pipelines.synthetic.fabric import PATTERNS
from pipelines.synthetic.garment import layer
from pipelines.synthetic.hair import make_hair
from pipelines.synthetic.haircut import HAIR_STYLES, draw_cut
from pipelines.synthetic.mannequin import Mannequin, vertex_normals
from pipelines.synthetic.outfit import CUTS, draw_outfit, thickness_m
from pipelines.synthetic.skin import EYE_Y_M

SEEDS = range(6)
SMALL_PX = 64
LAYERS = ("top", "bottom", "jacket", "hat")


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.load()


@pytest.fixture(scope="module")
def people(body: BodyModel) -> list[Character]:
    return [make_character(seed, body, SMALL_PX) for seed in SEEDS]


def digest(person: Character) -> str:
    content = hashlib.sha256(person.name.encode() + person.betas.tobytes())
    for part in person.parts:
        arrays = (part.vertices_rest, part.weights, part.faces, part.uv, part.texture)
        content.update(b"".join(np.ascontiguousarray(array).tobytes() for array in arrays))
    return content.hexdigest()


def test_the_same_seed_gives_the_same_bytes(body: BodyModel, people: list[Character]):
    assert digest(make_character(3, body, SMALL_PX)) == digest(people[3])


def test_200_seeds_give_200_outfits():
    outfits = [draw_outfit(np.random.default_rng(seed)) for seed in range(200)]
    betas = np.array([outfit.betas for outfit in outfits])
    distance = np.linalg.norm(betas[:, None] - betas, axis=-1)
    assert distance[~np.eye(200, dtype=bool)].min() > 0.3
    assert len({outfit.name for outfit in outfits}) > 100


@pytest.mark.slow
def test_200_seeds_look_different(body: BodyModel):
    people = [make_character(seed, body, 32) for seed in range(200)]
    looks = []
    for person in people:
        parts = {part.name: part for part in person.parts}
        colours = [
            parts[name].texture[..., :3].mean((0, 1)) if name in parts else np.zeros(3)
            for name in ("skin", "top", "bottom", "skirt", "jacket", "hair", "shoes")
        ]
        looks.append(np.concatenate(colours))
    distance = np.linalg.norm(np.array(looks)[:, None] - np.array(looks), axis=-1)
    assert distance[~np.eye(200, dtype=bool)].min() > 8
    assert len({digest(person) for person in people}) == 200
    for name in ("skin", "hair", "top", "shoes"):
        textures = [p.texture.tobytes() for who in people for p in who.parts if p.name == name]
        assert len(set(textures)) == len(textures), name


def test_the_wardrobe_is_used_in_full():
    outfits = [draw_outfit(np.random.default_rng(seed)) for seed in range(1000)]
    assert {outfit.hair.name for outfit in outfits} == set(HAIR_STYLES)
    assert {cloth.pattern for outfit in outfits for cloth in outfit.cloths} == set(PATTERNS)
    assert {cloth.name for outfit in outfits for cloth in outfit.cloths} == set(LAYERS)
    tones = np.array([outfit.face.tone.mean() for outfit in outfits])
    assert np.histogram(tones, 5, (0.17, 0.72))[0].min() > 20
    assert 0.02 < np.mean([outfit.skirt is not None for outfit in outfits]) < 0.4


def test_every_part_can_be_skinned_and_drawn(people: list[Character]):
    for person in people:
        for part in person.parts:
            where = f"{part.name} of {person.name}"
            np.testing.assert_allclose(part.weights.sum(1), 1, atol=1e-5, err_msg=where)
            assert part.weights.min() >= 0, where
            assert np.array_equal(np.unique(part.faces), np.arange(len(part.vertices_rest))), where
            assert np.isfinite(part.vertices_rest).all(), where
            assert part.texture[..., 3].max() == 255, where


def test_everybody_is_dressed_and_shod(people: list[Character]):
    for person in people:
        names = {part.name for part in person.parts}
        assert names >= {"skin", "eyes", "top", "shoes"}
        assert names & {"bottom", "skirt"}


def test_clothes_lie_outside_the_skin_and_over_each_other(body: BodyModel):
    mannequin = Mannequin(body)
    everywhere = np.ones(len(mannequin.template))
    for seed in SEEDS:
        outfit = draw_outfit(np.random.default_rng(seed))
        rest = mannequin.shaped(outfit.betas)
        normal = vertex_normals(rest, mannequin.faces)[mannequin.uv_vertex]
        below, below_inside = 0.003 * everywhere, everywhere
        for cloth in outfit.cloths:
            inside_m = CUTS[cloth.name](mannequin.template, cloth)
            thickness = thickness_m(mannequin.template, cloth)
            shell = layer(mannequin, outfit.betas, everywhere, thickness, 0.02 * everywhere)
            lift = ((shell.vertices - rest[mannequin.uv_vertex]) * normal).sum(1)
            assert (lift > thickness[mannequin.uv_vertex] - 1e-5).all(), cloth
            both = (inside_m > 0) & (below_inside > 0)
            assert (thickness > below)[both].all(), cloth
            below, below_inside = thickness, inside_m


def test_parts_follow_the_body(body: BodyModel, people: list[Character]):
    body_pose = torch.zeros(69)
    body_pose[:6] = torch.tensor([-0.5, 0, 0, 0.4, 0, 0])
    for person in people[:3]:
        betas = torch.as_tensor(person.betas)
        posed = body.pose(betas, torch.tensor([0.0, 1.0, 0.0]), body_pose, torch.zeros(3))
        nearest_skin = KDTree(posed.vertices.numpy())
        for part in person.parts:
            rest, weights = torch.as_tensor(part.vertices_rest), torch.as_tensor(part.weights)
            moved = skin(rest, weights, posed.T_world_joint)
            far_m = 0.3 if part.name in ("hair", "skirt") else 0.12
            assert nearest_skin.query(moved.numpy()[::5])[0].max() < far_m, part.name


def test_every_part_of_the_body_is_drawn_or_covered(body: BodyModel, people: list[Character]):
    outer = ~np.isin(body.appearance["region"], range(6, 13))
    for person in people:
        rest = body.shape(torch.as_tensor(person.betas)).vertices.numpy()
        drawn = np.concatenate([part.vertices_rest for part in person.parts])
        distance = KDTree(drawn).query(rest[outer])[0]
        limit_m = 0.25 if any(part.name == "skirt" for part in person.parts) else 0.08
        assert distance.max() < limit_m, person.name


def test_a_body_without_uvs_is_refused(body: BodyModel):
    bare = replace(body, appearance={}, digest="bare")
    with pytest.raises(ValueError, match="UVs"):
        make_character(0, bare, SMALL_PX)


def stretch(body: BodyModel, person: Character, part: MeshPart, pose: dict[int, float]) -> float:
    """Longest edge of a posed part against its own length at rest; pitch of joints in radians."""
    body_pose = torch.zeros(23, 3)
    for joint, pitch in pose.items():
        body_pose[joint - 1, 0] = pitch
    posed = body.pose(
        torch.as_tensor(person.betas), torch.zeros(3), body_pose.flatten(), torch.zeros(3)
    )
    rest = torch.as_tensor(part.vertices_rest)
    moved = skin(rest, torch.as_tensor(part.weights), posed.T_world_joint)
    edges = part.faces[:, [0, 1]].astype(int)
    length = [(v[edges[:, 0]] - v[edges[:, 1]]).norm(dim=1) for v in (rest, moved)]
    return float((length[1] / length[0]).max())


@pytest.mark.parametrize("pose", [{1: -0.6, 2: 0.5, 5: 0.6}, {1: -1.3, 2: -1.3, 4: 1.4, 5: 1.4}])
def test_skirts_do_not_tear_between_the_legs(body: BodyModel, pose: dict[int, float]):
    chosen = [
        seed for seed in range(60)
        if draw_outfit(np.random.default_rng((seed, 0x15A4D))).skirt is not None
    ][:3]  # fmt: skip
    for seed in chosen:
        person = make_character(seed, body, SMALL_PX)
        (part,) = [part for part in person.parts if part.name == "skirt"]
        assert stretch(body, person, part, pose) < 3.0, person.name


@pytest.mark.parametrize("style", [name for name in HAIR_STYLES if name != "bald"])
def test_hair_stays_outside_the_head_and_off_the_face(body: BodyModel, style: str):
    mannequin = Mannequin(body)
    rest = mannequin.shaped(np.zeros(10))
    rng = np.random.default_rng(1)
    mesh = make_hair(mannequin, rest, replace(draw_cut(style, rng), has_fringe=False), None, rng)
    normal = vertex_normals(rest, mannequin.faces)
    skull = ~mannequin.ears & ~mannequin.in_region("mouth_cavity", "left_eye_cavity")
    near = np.flatnonzero(skull)[KDTree(rest[skull]).query(mesh.vertices)[1]]
    depth_m = ((rest[near] - mesh.vertices) * normal[near]).sum(1)
    assert np.mean(depth_m > 0.004) < 0.03
    x, y, z = mesh.vertices.T
    on_face = (np.abs(x) < 0.045) & (y < EYE_Y_M + 0.02) & (y > 0.30) & (z > 0.1)
    assert on_face.mean() < 0.01
