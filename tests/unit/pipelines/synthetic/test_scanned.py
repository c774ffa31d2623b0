"""The user's SMPL body and skins in place of made-up people: the rendered body is the labelled."""

import pickle
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.geometry import project
from pipelines.synthetic.actor import make_actor
from pipelines.synthetic.characters import make_character
from pipelines.synthetic.render import clip_record, render_clip
from pipelines.synthetic.scanned import SMPL_LICENCE, check_scans, read_uv_layout, scan_betas
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene
from pipelines.synthetic.world import build_world

SIZE, FRAMES = 128, 3


def settings_for(body: Path, skins: Path) -> SceneSettings:
    return SceneSettings(
        width=SIZE, height=SIZE, num_frames=FRAMES, fps=8, num_people=(2, 2),
        camera_kinds=("orbit",), motion_kinds=("dance", "walk"), body_file=body, skin_folder=skins,
    )  # fmt: skip


@cache
def scene(body: Path, skins: Path) -> SceneSpec:
    return sample_scene(5, settings_for(body, skins))


@cache
def clip(body: Path, skins: Path):
    return render_clip(scene(body, skins))


def test_the_rendered_body_is_the_labelled_body_in_the_users_file(scans):
    """The label's parameters in the user's file give the drawn surface, to a hundredth of a mm."""
    spec, body = scene(*scans), BodyModel.load(scans[0])
    assert body.posedirs is not None
    labels = clip(*scans).body
    assert labels.body_model == f"smpl:{body.digest}"
    for person, who in enumerate(spec.people):
        values = (labels.betas[person], labels.global_orient[person], labels.body_pose[person])
        posed = body.pose(*(torch.tensor(v) for v in (*values, labels.transl[person])))
        actor = make_actor(who, spec.fps, spec.num_frames, 256)
        corners, _ = read_uv_layout(scans[1] / "smpl_uv.obj", body)
        owner = corners[..., 0]
        for frame in range(FRAMES):
            drawn, _ = actor.posed(0, frame)
            expected = posed.vertices[frame].numpy()[owner]
            np.testing.assert_allclose(drawn[actor.surfaces[0].faces], expected, atol=1e-5)
        flat = replace(body, posedirs=None).pose(*(torch.tensor(v) for v in values), torch.zeros(3))
        assert (flat.vertices + labels.transl[person][:, None] - posed.vertices).abs().max() > 0.005


def test_labels_project_onto_the_picture(scans):
    """Skin points of the label fall on the person's mask and are nowhere before its depth."""
    made, body = clip(*scans), BodyModel.load(scans[0])
    K, T = torch.tensor(made.camera.K), torch.tensor(made.camera.T_camera_world)
    skin = body.subset(body.surface_points(1000))
    for person in (0, 1):
        b = made.body
        values = (b.betas[person], b.global_orient[person], b.body_pose[person], b.transl[person])
        posed = skin.pose(*(torch.tensor(v) for v in values))
        joints_px, _ = project(posed.joints.double(), K, T)
        np.testing.assert_allclose(joints_px.numpy(), b.joints_px[person], atol=0.01)
        xy_px, z_m = (v.numpy() for v in project(posed.vertices.double(), K, T))
        for frame in range(FRAMES):
            x, y = np.floor(xy_px[frame]).astype(int).T
            near_m = cv2.erode(np.minimum(made.depth_m[frame], 99.0), np.ones((3, 3)))[y, x]
            assert (z_m[frame] > near_m - 0.03).mean() > 0.99
            on = cv2.dilate(made.instance[frame], np.ones((3, 3)))[y, x]
            assert (on > 0).mean() > 0.99
            inner = np.floor(b.joints_px[person, frame, [0, 3, 6, 9, 12]]).astype(int)
            assert (made.instance[frame][inner[:, 1], inner[:, 0]] > 0).all()


def test_the_clip_says_whose_licence_it_carries(scans):
    spec = scene(*scans)
    record = clip_record(spec, clip(*scans))
    assert record.licence == f"CC0-1.0 AND {SMPL_LICENCE} AND unknown"
    assert "non-commercial" in record.licence
    assert record.provenance["render"]["weights"] == BodyModel.load(scans[0]).digest
    told = replace(settings_for(*scans), body_licence="CC-BY-4.0", skin_licence="CC0-1.0")
    assert sample_scene(5, told).licence == "CC0-1.0 AND CC-BY-4.0"
    assert sample_scene(5, told).clip_id == spec.clip_id


def test_the_record_names_files_by_content_not_by_place(scans, tmp_path):
    spec = scene(*scans)
    assert SceneSpec.from_json(spec.to_json()) == spec
    shutil.copytree(scans[1], tmp_path / "elsewhere")
    body = Path(shutil.copy(scans[0], tmp_path / "renamed.npz"))
    moved = sample_scene(5, settings_for(body, tmp_path / "elsewhere"))
    assert moved.clip_id == spec.clip_id
    assert moved != spec
    made_up = sample_scene(5, replace(settings_for(*scans), body_file=None, skin_folder=None))
    assert made_up.clip_id != spec.clip_id
    assert [p.character for p in made_up.people] == [p.character for p in spec.people]


def test_another_file_in_the_place_of_the_named_one_is_refused(scans, tmp_path):
    body = Path(shutil.copy(scans[0], tmp_path / "SMPL_NEUTRAL.npz"))
    spec = sample_scene(5, settings_for(body, scans[1]))
    with body.open("ab") as file:
        file.write(b"\0")
    with pytest.raises(ValueError, match=r"SMPL_NEUTRAL\.npz changed since the scene was drawn"):
        build_world(spec)
    body.unlink()
    with pytest.raises(ValueError, match=r"needs .*SMPL_NEUTRAL\.npz, which is not there"):
        build_world(spec)


def test_a_pickle_gives_the_same_people_as_the_npz(scans, tmp_path):
    body = tmp_path / "SMPL_NEUTRAL.pkl"
    with np.load(scans[0]) as arrays:
        body.write_bytes(pickle.dumps(dict(arrays), protocol=2))
    pickled, plain = sample_scene(5, settings_for(body, scans[1])), scene(*scans)
    for one, other in zip(pickled.people, plain.people, strict=True):
        assert replace(one, scan=None) == replace(other, scan=None)
        a, b = (make_actor(who, 8.0, 2, 64) for who in (one, other))
        np.testing.assert_allclose(a.posed(0, 1)[0], b.posed(0, 1)[0], atol=1e-6)


def test_characters_differ_in_skin_and_shape(scans):
    cast = settings_for(*scans).cast
    people = [cast.scan(character) for character in range(20)]
    assert people == [cast.scan(character) for character in range(20)]
    assert {person.skin.file.stem for person in people} == {"anna", "bert", "cleo"}
    body, scan = BodyModel.load(scans[0]), people[3]
    one = make_character(3, body, 16, scan)
    assert one.name == f"000003-{scan.skin.file.stem}"
    (part,) = one.parts
    np.testing.assert_array_equal(one.betas, scan_betas(3))
    rest = body.shape(torch.as_tensor(one.betas)).vertices.numpy()
    np.testing.assert_array_equal(part.vertices_rest[part.faces], rest[_owner(scans, body)])
    assert part.texture.shape == (16, 16, 4)
    assert not np.allclose(scan_betas(3), scan_betas(4))


def _owner(scans, body: BodyModel) -> np.ndarray:
    return read_uv_layout(scans[1] / "smpl_uv.obj", body)[0][..., 0]


def test_people_of_one_scene_share_the_body(scans):
    spec = scene(*scans)
    one, other = spec.people
    with pytest.raises(ValueError, match="share one body file"):
        replace(spec, people=(one, replace(other, scan=None)))


def spoil(kind: str, body: Path, skins: Path) -> tuple[Path, Path]:
    """Copies in which one thing is wrong."""
    layout = skins / "smpl_uv.obj"
    if kind == "keys":
        np.savez(body, v_template=np.zeros((10, 3)), weights=np.zeros((10, 24)))
    elif kind == "no npz":
        body.write_bytes(b"not a body")
    elif kind == "no pictures":
        for picture in skins.glob("*.png"):
            picture.unlink()
    elif kind == "no picture":
        (skins / "bert.png").write_text("this is no picture")
    elif kind == "other layout":
        layout.write_text(layout.read_text().replace("v 0 0 0\n", "", 1))
    elif kind == "no uvs":
        layout.write_text("v 0 0 0\nf 1 2 3\n")
    elif kind == "two layouts":
        shutil.copy(layout, skins / "other.obj")
    return body, skins


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("keys", r"SMPL_NEUTRAL\.npz must hold .*missing \['shapedirs'"),
        ("no npz", r"SMPL_NEUTRAL\.npz is not a readable body file"),
        ("no pictures", "at least one picture"),
        ("no picture", r"bert\.png is not a readable picture"),
        ("other layout", r"smpl_uv\.obj lays out 13491 vertices .* has 13492"),
        ("no uvs", r"smpl_uv\.obj must hold triangles with UVs"),
        ("two layouts", "got 2 .obj files"),
    ],
)
def test_what_is_wrong_with_the_files_is_told_before_anything_is_drawn(scans, tmp_path, kind, told):
    skins = tmp_path / "skins"
    shutil.copytree(scans[1], skins)
    body = Path(shutil.copy(scans[0], tmp_path))
    with pytest.raises(ValueError, match=told):
        check_scans(*spoil(kind, body, skins))


def test_missing_files_are_named(scans, tmp_path):
    check_scans(*scans)
    with pytest.raises(ValueError, match=r"no body file at .*SMPL_MALE\.pkl"):
        check_scans(tmp_path / "SMPL_MALE.pkl", scans[1])
    with pytest.raises(ValueError, match=r"no texture folder at .*absent"):
        check_scans(scans[0], tmp_path / "absent")
    with pytest.raises(ValueError, match="belong together"):
        sample_scene(0, SceneSettings(skin_folder=scans[1]))
