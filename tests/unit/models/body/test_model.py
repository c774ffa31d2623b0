"""Laws of the body model, on the shipped free body."""

import contextlib
import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from models.body.model import FREE_BODY_PATH, BodyModel, skin
from models.geometry import so3_exp
from storage_schemas.conventions import SMPL_JOINTS, SMPL_PARENTS


@pytest.fixture(scope="module")
def body() -> BodyModel:
    return BodyModel.load()


def random_pose(batch: tuple[int, ...], dtype: torch.dtype = torch.float32) -> dict:
    generator = torch.Generator().manual_seed(0)
    sizes = {
        "betas": (10, 1.0),
        "global_orient": (3, 1.0),
        "body_pose": (69, 0.3),
        "transl": (3, 1.0),
    }
    return {
        name: scale * torch.randn(*batch, size, generator=generator, dtype=dtype)
        for name, (size, scale) in sizes.items()
    }


def smpl_dict(body: BodyModel, posedirs: np.ndarray) -> dict:
    """The body under SMPL's names; the regressor reproduces template and shaped joints."""
    from models.body.files import read_body_file

    file = read_body_file(FREE_BODY_PATH)
    parents = np.array([SMPL_PARENTS, range(24)], dtype=np.int64)
    return {
        "v_template": file.v_template,
        "shapedirs": file.shapedirs,
        "posedirs": posedirs,
        "J_regressor": file.J_regressor,
        "weights": file.weights,
        "kintree_table": parents,
        "f": body.faces.numpy().astype(np.uint32),
    }


@pytest.fixture(scope="module")
def smpl_file(body: BodyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The free body as SMPL is distributed, with random pose corrections to test those too."""
    path = tmp_path_factory.mktemp("smpl") / "SMPL_NEUTRAL.pkl"
    posedirs = np.random.default_rng(0).normal(0, 1e-3, (len(body.v_template), 3, 207))
    path.write_bytes(pickle.dumps(smpl_dict(body, posedirs), protocol=2))
    return path


def test_identity_pose_returns_rest_vertices(body: BodyModel):
    posed = body.pose(torch.zeros(10), torch.zeros(3), torch.zeros(69), torch.zeros(3))
    torch.testing.assert_close(posed.vertices, body.v_template)
    torch.testing.assert_close(posed.joints, body.J_template)
    torch.testing.assert_close(posed.T_world_joint, torch.eye(4).expand(24, 4, 4))


@pytest.mark.filterwarnings("ignore")
def test_skinning_equals_smplx_on_the_same_file(smpl_file: Path):
    import smplx

    with contextlib.redirect_stdout(io.StringIO()):
        reference = smplx.SMPL(str(smpl_file), batch_size=4).double()
    ours = BodyModel.load(smpl_file)
    pose = random_pose((4,))
    posed = ours.pose(**pose)
    expected = reference(**{key: value.double() for key, value in pose.items()})
    assert ours.posedirs is not None
    assert (posed.vertices - expected.vertices).abs().max() < 1e-5
    assert (posed.joints - expected.joints[:, :24]).abs().max() < 1e-5


@pytest.mark.filterwarnings("ignore")
def test_vertices_that_smplx_picks_by_number_have_their_meaning(body: BodyModel):
    from smplx.vertex_ids import vertex_ids

    at = {name: body.v_template[index] for name, index in vertex_ids["smplh"].items()}
    joint = dict(zip(SMPL_JOINTS, body.J_template, strict=True))
    for side, sign in (("l", 1), ("r", -1)):
        toe, heel = at[f"{side.upper()}BigToe"], at[f"{side.upper()}Heel"]
        ankle = joint["left_ankle" if side == "l" else "right_ankle"]
        assert toe[2] > ankle[2] > heel[2]
        assert sign * at[f"{side}ear"][0] > 0.05
        assert sign * at[f"{side}eye"][0] > 0.01
        hand = joint["left_hand" if side == "l" else "right_hand"]
        for finger in ("index", "middle", "ring", "pinky"):
            assert sign * (at[f"{side}{finger}"] - hand)[0] > 0.02
            assert (at[f"{side}{finger}"] - hand).norm() < 0.14
        assert (at[f"{side}thumb"] - hand)[2] > 0.02
    assert at["nose"][2] > at["leye"][2] > joint["head"][2]


def test_global_rotation_turns_about_the_pelvis(body: BodyModel):
    pose = random_pose(())
    pose["global_orient"] = torch.zeros(3)
    still = body.pose(**pose)
    turned = body.pose(**pose | {"global_orient": torch.tensor([0.3, -1.0, 0.5])})
    R = so3_exp(torch.tensor([0.3, -1.0, 0.5]))
    pelvis = still.joints[0]
    torch.testing.assert_close(turned.joints[0], pelvis)
    expected = (still.vertices - pelvis) @ R.T + pelvis
    torch.testing.assert_close(turned.vertices, expected, atol=1e-5, rtol=0)


def test_translation_moves_everything_alike(body: BodyModel):
    pose = random_pose((2,))
    moved = body.pose(**pose | {"transl": pose["transl"] + 3})
    torch.testing.assert_close(moved.vertices, body.pose(**pose).vertices + 3, atol=1e-5, rtol=0)


def test_weights_are_convex(body: BodyModel):
    torch.testing.assert_close(body.weights.sum(1), torch.ones(len(body.weights)))
    assert (body.weights >= 0).all()


def test_tree_is_that_of_smpl(body: BodyModel):
    assert body.parents == SMPL_PARENTS


def test_rest_pose_is_a_t_pose_with_left_on_positive_x(body: BodyModel):
    joint = dict(zip(SMPL_JOINTS, body.J_template, strict=True))
    for side, sign in (("left", 1), ("right", -1)):
        arm = joint[f"{side}_wrist"] - joint[f"{side}_shoulder"]
        assert sign * arm[0] / arm.norm() > 0.999
        leg = joint[f"{side}_ankle"] - joint[f"{side}_hip"]
        assert -leg[1] / leg.norm() > 0.99
        assert (joint[f"{side}_foot"] - joint[f"{side}_ankle"])[2] > 0.1
    assert (joint["head"] - joint["pelvis"])[1] > 0.5
    torch.testing.assert_close(joint["pelvis"], torch.tensor([0, -0.225, 0.028]), atol=5e-3, rtol=0)


def test_joints_lie_inside_the_body(body: BodyModel):
    low, high = body.v_template.amin(0), body.v_template.amax(0)
    assert ((body.J_template > low) & (body.J_template < high)).all()


def test_faces_point_outwards(body: BodyModel):
    a, b, c = (body.v_template[body.faces[:, k]] for k in range(3))
    signed_volume_m3 = (torch.linalg.cross(a, b) * c).sum() / 6
    assert 0.04 < signed_volume_m3 < 0.12


def test_first_shape_parameter_is_height(body: BodyModel):
    heights = [
        float(np.ptp(body.shape(torch.eye(10)[0] * beta).vertices[:, 1].numpy()))
        for beta in (-2.0, 0.0, 2.0)
    ]
    assert heights[0] < heights[1] - 0.2 < heights[2] - 0.4
    assert 1.6 < heights[1] < 1.85


def test_subset_equals_the_full_body_at_its_vertices(body: BodyModel, smpl_file: Path):
    for full in (body, BodyModel.load(smpl_file)):
        ids = full.surface_points(100)
        pose = random_pose((2,))
        part, whole = full.subset(ids).pose(**pose), full.pose(**pose)
        torch.testing.assert_close(part.vertices, whole.vertices[:, ids], atol=1e-5, rtol=0)
        torch.testing.assert_close(part.joints, whole.joints)


def test_surface_points_are_nested_distinct_and_spread(body: BodyModel):
    many, few = body.surface_points(1024), body.surface_points(64)
    assert torch.equal(many[:64], few)
    assert len(set(many.tolist())) == 1024
    distance = torch.cdist(body.v_template[few], body.v_template[few]) + torch.eye(64)
    assert distance.min() > 0.08
    with pytest.raises(ValueError, match=r"1\.\.1024"):
        body.surface_points(1025)


@pytest.mark.parametrize("batch", [(), (2,), (3, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_leading_axes(body: BodyModel, batch: tuple[int, ...], dtype: torch.dtype):
    small = body.subset(body.surface_points(16)).to(dtype)
    pose = random_pose(batch, dtype)
    posed = small.pose(**pose)
    assert posed.vertices.shape == (*batch, 16, 3)
    assert posed.T_world_joint.shape == (*batch, 24, 4, 4)
    assert posed.vertices.dtype == dtype
    flat = small.pose(**{key: value.reshape(-1, value.shape[-1]) for key, value in pose.items()})
    torch.testing.assert_close(posed.vertices.reshape(-1, 16, 3), flat.vertices)


def test_one_shape_serves_every_frame(body: BodyModel):
    small = body.subset(body.surface_points(16))
    pose = random_pose((2, 5))
    pose["betas"] = pose["betas"][:, :1]
    tiled = small.pose(**pose | {"betas": pose["betas"].expand(2, 5, 10)})
    torch.testing.assert_close(small.pose(**pose).vertices, tiled.vertices)


def test_gradient_reaches_every_argument_even_at_rest(body: BodyModel):
    small = body.subset(body.surface_points(64))
    pose = {
        key: torch.zeros_like(value, requires_grad=True) for key, value in random_pose(()).items()
    }
    posed = small.pose(**pose)
    (posed.vertices.square().sum() + posed.joints.square().sum()).backward()
    for name, value in pose.items():
        assert value.grad is not None, name
        assert value.grad.isfinite().all(), name
        assert value.grad.abs().sum() > 0, name


def test_other_meshes_follow_the_same_joints(body: BodyModel):
    pose = random_pose((2,))
    posed = body.pose(**pose)
    rest = body.shape(pose["betas"]).vertices
    torch.testing.assert_close(skin(rest, body.weights, posed.T_world_joint), posed.vertices)


def test_shipped_file_is_the_one_the_models_were_trained_with(body: BodyModel):
    # A new digest means new bodies: every dataset and checkpoint made with the old one is stale.
    assert FREE_BODY_PATH.stat().st_size < 1_600_000
    assert body.v_template.shape == (13492, 3)
    assert body.faces.shape == (26972, 3)
    assert body.name == "free_body"
    assert body.digest == "684ed3600664d2d6"


def test_uv_mesh_covers_the_body(body: BodyModel):
    appearance = body.appearance
    split = appearance["uv_vertex"].astype(int)[appearance["uv_faces"].astype(int)]
    assert np.array_equal(split, body.faces.numpy())
    assert appearance["uv"].min() >= 0
    assert appearance["uv"].max() <= 1
