"""Directing cuts as the loader does, films everybody, and keeps motion, shape and floor apart."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from models.clip_index import index_clips
from models.geometry import project
from models.sample import SampleReader
from models.shot import cut_bodies
from models.window import ClipSettings
from pipelines.direct import (
    OUTLINE_POINTS,
    Reference,
    clip_window,
    keep_floor,
    make_camera,
    motion_from_name,
    pair_people,
    read_picture,
    read_window,
    with_joints,
)
from storage_schemas.body import BodyTracks
from storage_schemas.camera import CameraTrack
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

SETTINGS = ClipSettings(num_frames=5, size_px=32)
FPS = 12.0


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def walk(body, betas, frames=5) -> BodyTracks:
    return motion_from_name("walk", np.float32(betas), body, frames, FPS).bodies


def crowd(bodies: BodyTracks, people: int) -> BodyTracks:
    """The same person several times, side by side."""
    names = ("betas", "global_orient", "body_pose", "transl", "visible", "confidence", "joints_px")
    parts = {name: np.repeat(getattr(bodies, name), people, axis=0) for name in names}
    aside = np.arange(people, dtype=np.float32)[:, None, None]
    parts["transl"] = parts["transl"] + np.float32([1, 0, 0]) * aside
    return replace(bodies, person_id=np.arange(people), **parts)


def pose(body, bodies: BodyTracks):
    parts = (bodies.global_orient, bodies.body_pose, bodies.transl)
    with torch.no_grad():
        return body.pose(
            torch.tensor(bodies.betas)[:, None], *(torch.tensor(part) for part in parts)
        )


def test_a_clip_is_cut_as_the_loader_cuts_it(tmp_path, write_toy_shard):
    shard = write_toy_shard(tmp_path / "toy.tar", count=1)
    ((clip_id, members),) = read_shard(shard)
    store = Store(tmp_path / "data")
    for name, content in members.items():
        store.write(f"clips/{clip_id}/{name}", content)
    window, bodies, camera = clip_window(store, clip_id, SETTINGS)
    reader = SampleReader(SETTINGS)
    (entry,) = index_clips([shard])
    sample = reader.read_sample(entry, reader.read_labels(entry), window)
    for member, expected in (("video.mp4", sample.video), ("background.mp4", sample.background)):
        found = read_window(store, clip_id, member, window)
        np.testing.assert_array_equal(found, expected.permute(1, 2, 3, 0).numpy())
    np.testing.assert_allclose(camera.K, sample.K.numpy(), rtol=1e-6)
    np.testing.assert_array_equal(camera.T_camera_world, sample.T_camera_world.numpy())
    np.testing.assert_array_equal(bodies.transl, sample.transl.numpy())


def test_a_clip_without_labels_is_named(tmp_path):
    with pytest.raises(ValueError, match="annotate it first"):
        clip_window(Store(tmp_path), "0" * 32, SETTINGS)


@pytest.mark.parametrize("kind", ["static", "orbit", "follow", "crane", "hand_held"])
def test_a_made_camera_keeps_every_joint_in_the_frame(body, kind):
    bodies = crowd(walk(body, np.zeros(10), frames=9), 2)
    camera = make_camera(kind, bodies, body, SETTINGS, FPS)
    joints_px = with_joints(bodies, camera, body).joints_px
    assert joints_px.shape == (2, 9, 24, 2)
    assert joints_px.min() >= 0
    assert joints_px.max() <= SETTINGS.size_px
    moves = np.ptp(camera.T_camera_world, axis=0).max() > 1e-3
    assert moves == (kind != "static")


def test_joints_are_seen_by_the_one_projection(body):
    bodies = walk(body, np.linspace(-1, 1, 10))
    camera = make_camera("static", bodies, body, SETTINGS, FPS)
    expected, _ = project(
        pose(body, bodies).joints.double(),
        torch.from_numpy(camera.K.copy()),
        torch.from_numpy(camera.T_camera_world.copy()),
    )
    found = with_joints(bodies, camera, body).joints_px
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-3)


def test_people_keep_their_motion_and_take_the_shapes_of_the_reference(body):
    motion = crowd(walk(body, np.zeros(10)), 3)
    still = crowd(walk(body, np.zeros(10), frames=1), 2)
    still = replace(still, betas=np.float32([[1.5] * 10, [-0.5] * 10]))
    camera = CameraTrack(
        K=np.eye(3)[None], T_camera_world=np.eye(4)[None],
        kind="static", is_metric=False, source="test",
    )  # fmt: skip
    image = np.zeros((32, 32, 3), np.uint8)
    moved, seen = pair_people(Reference(image=image, bodies=still, camera=camera), motion)
    for name in ("global_orient", "body_pose", "transl", "visible"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(motion, name))
    np.testing.assert_array_equal(moved.betas[:, 0], np.float32([1.5, -0.5, -0.5]))
    np.testing.assert_array_equal(seen.betas, moved.betas)
    np.testing.assert_array_equal(seen.transl, still.transl[[0, 1, 1]])


def test_another_shape_stands_as_high_as_before(body):
    before = crowd(walk(body, np.zeros(10)), 2)
    after = replace(before, betas=np.float32([[2.0] + [0] * 9, [-2.0] + [0] * 9]))
    sampled = body.subset(body.surface_points(OUTLINE_POINTS))

    def lowest(bodies):
        return pose(sampled, bodies).vertices[..., 1].amin((1, 2)).numpy()

    assert np.abs(lowest(after) - lowest(before)).min() > 1e-3, "the shapes must differ"
    kept = keep_floor(before, after, body)
    np.testing.assert_allclose(lowest(kept), lowest(before), atol=1e-5)
    np.testing.assert_array_equal(kept.transl[..., [0, 2]], before.transl[..., [0, 2]])


def test_a_motion_that_is_none_names_those_there_are(body, tmp_path):
    betas = np.zeros(10, np.float32)
    with pytest.raises(ValueError, match=r"dance.*walk"):
        motion_from_name("fly", betas, body, 5, FPS)
    (tmp_path / "torn.bvh").write_text("HIERARCHY\nROOT Hips\n{\n")
    with pytest.raises(ValueError, match=r"torn\.bvh"):
        motion_from_name(str(tmp_path / "torn.bvh"), betas, body, 5, FPS)
    (tmp_path / "alone.amc").write_text(":FULLY-SPECIFIED\n")
    with pytest.raises(ValueError, match=r"alone\.amc: needs its skeleton"):
        motion_from_name(str(tmp_path / "alone.amc"), betas, body, 5, FPS)


def test_an_amass_file_moves_the_body_as_recorded(body, tmp_path):
    poses = np.zeros((20, 156))
    poses[:, 48] = np.linspace(0.0, 1.0, 20)  # the left shoulder
    np.savez(tmp_path / "a.npz", poses=poses, trans=np.zeros((20, 3)), mocap_framerate=FPS)
    name = str(tmp_path / "a.npz")
    moved = motion_from_name(name, np.zeros(10, np.float32), body, 20, FPS).bodies
    np.testing.assert_allclose(moved.body_pose[0, -1, 45], 1.0, atol=0.05)


def test_pictures_are_read_upright(shared_data):
    folder = shared_data / "images"
    turned = read_picture(folder / "curie_couple_exif6.jpg").astype(int)
    upright = read_picture(folder / "curie_couple_upright.jpg").astype(int)
    assert turned.shape == upright.shape
    assert np.abs(turned - upright).mean() < 8, "two compressions of one picture"


@pytest.mark.parametrize(
    "name",
    ["decompression_bomb.gif", "truncated_jpeg.jpg", "broken_80_bytes.png", "zero_bytes.webm",
     "damaged_heap_oob_1.exr", "PROVENANCE.md", "absent.png"],
)  # fmt: skip
def test_what_is_no_sound_picture_is_refused_by_name(shared_data, name):
    with pytest.raises(ValueError, match=name):
        read_picture(shared_data / "broken" / name)


def test_optional_fields_are_cut_and_paired_with_the_rest():
    people, frames = 2, 5
    bodies = BodyTracks(
        person_id=np.arange(people),
        betas=np.zeros((people, 10), np.float32),
        global_orient=np.zeros((people, frames, 3), np.float32),
        body_pose=np.zeros((people, frames, 69), np.float32),
        transl=np.zeros((people, frames, 3), np.float32),
        visible=np.ones((people, frames), np.bool_),
        confidence=np.ones((people, frames), np.float32),
        joints_px=np.zeros((people, frames, 24, 2), np.float32),
        body_model="toy",
        foot_contact=np.arange(people * frames * 4).reshape(people, frames, 4) % 3 == 0,
    )
    first = cut_bodies(bodies, slice(0, 1))
    assert first.foot_contact is not None
    assert bodies.foot_contact is not None
    np.testing.assert_array_equal(first.foot_contact, bodies.foot_contact[:, :1])
    camera = CameraTrack(
        K=np.eye(3)[None], T_camera_world=np.eye(4)[None], kind="static", is_metric=True, source="t"
    )
    reference = Reference(image=np.zeros((8, 8, 3), np.uint8), bodies=first, camera=camera)
    alone = replace(
        bodies,
        **{
            name: getattr(bodies, name)[:1]
            for name in (
                "person_id",
                "betas",
                "global_orient",
                "body_pose",
                "transl",
                "visible",
                "confidence",
                "joints_px",
                "foot_contact",
            )
        },
    )
    _, still = pair_people(reference, alone)
    assert still.foot_contact is not None
    np.testing.assert_array_equal(still.foot_contact, first.foot_contact[:1])
