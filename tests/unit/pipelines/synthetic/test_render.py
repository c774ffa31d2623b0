from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import torch

from models.geometry import project
from pipelines.synthetic import render
from pipelines.synthetic.actor import make_actor
from pipelines.synthetic.camera_path import CAMERA_KINDS
from pipelines.synthetic.render import RenderedClip, render_clip, render_members
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene
from pipelines.synthetic.world import Pictures, World
from pipelines.video_io import decode_mp4
from storage_schemas import shards
from storage_schemas.body import BodyTracks
from storage_schemas.clip import ClipRecord
from storage_schemas.mask import MaskTrack

SETTINGS = SceneSettings(
    width=96,
    height=96,
    num_frames=4,
    fps=8,
    num_people=(2, 2),
    camera_kinds=("orbit",),
    characters=2,
)


@cache
def _spec() -> SceneSpec:
    spec = sample_scene(7, SETTINGS)
    people = tuple(
        replace(p, motion=m) for p, m in zip(spec.people, ("walk", "dance"), strict=True)
    )
    return replace(spec, people=people, camera=replace(spec.camera, fill=0.9))


@cache
def _clip() -> RenderedClip:
    return render_clip(_spec())


def _vertices_px(person: int, clip: RenderedClip) -> tuple[np.ndarray, np.ndarray]:
    """Every vertex of what a person wears, [frame, vertex, 2] pixels and depth."""
    actor = make_actor(_spec().people[person], 8.0, 4, 256)
    parts = range(len(actor.surfaces))
    world = [np.concatenate([actor.posed(p, f)[0] for p in parts]) for f in range(4)]
    xy_px, depth_m = project(
        torch.as_tensor(np.stack(world)).double(),
        torch.tensor(clip.camera.K),
        torch.tensor(clip.camera.T_camera_world),
    )
    return xy_px.numpy(), depth_m.numpy()


def test_masks_are_the_projected_bodies_frame_by_frame():
    clip = _clip()
    for person in (0, 1):
        xy_px, depth_m = _vertices_px(person, clip)
        for frame in range(4):
            pixels = np.floor(xy_px[frame]).astype(int)
            # a vertex on the outline may fall into the next pixel: the 3 x 3 around it counts
            x, y = pixels.T
            seen = cv2.dilate(clip.instance[frame], np.ones((3, 3)))[y, x]
            nearest_m = cv2.erode(np.minimum(clip.depth_m[frame], 99.0), np.ones((3, 3)))[y, x]
            behind = depth_m[frame] > nearest_m - 0.03
            assert behind.mean() > 0.97  # nothing of the body is in front of the picture
            assert (seen > 0).mean() > 0.97
            rows, columns = np.nonzero(clip.instance[frame] == person + 1)
            box = [columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]
            low, high = xy_px[frame].min(0), xy_px[frame].max(0)
            hidden = (seen != person + 1).mean() > 0.05
            if not hidden:
                np.testing.assert_allclose(box, [low[0], high[0], low[1], high[1]], atol=1.5)


def test_depth_on_people_is_the_depth_of_their_surface():
    clip = _clip()
    for person in (0, 1):
        xy_px, depth_m = _vertices_px(person, clip)
        for frame in (0, 3):
            nearest = np.full((96, 96), np.inf)
            pixels = np.floor(xy_px[frame]).astype(int)
            np.minimum.at(nearest, (pixels[:, 1], pixels[:, 0]), depth_m[frame])
            both = (clip.instance[frame] == person + 1) & np.isfinite(nearest)
            error_m = np.abs(clip.depth_m[frame][both] - nearest[both])
            assert np.median(error_m) < 0.012  # a pixel is 2 cm wide here
            assert both.sum() > 100


def test_joint_labels_lie_inside_their_persons_mask():
    clip = _clip()
    inside = []
    for person in (0, 1):
        for frame in range(4):
            x, y = np.floor(clip.body.joints_px[person, frame, [0, 3, 6, 9, 12]]).astype(int).T
            inside.append(clip.instance[frame][y, x] > 0)
    assert np.mean(inside) == 1.0
    assert clip.body.visible.all()


def test_plate_differs_only_at_people_and_by_darker_shadows():
    clip = _clip()
    for frame in range(4):
        near = cv2.dilate(clip.instance[frame], np.ones((5, 5))) > 0
        change = clip.frames[frame].astype(int) - clip.plate[frame]
        assert (change[~near] > 2).mean() < 0.001  # cut-out edges of the larger colour picture
        assert (change[~near] == 0).all(-1).mean() > 0.7
        assert np.abs(change[clip.instance[frame] > 0]).mean() > 10


def test_background_points_stand_still_in_the_world():
    clip = _clip()
    visible = clip.points.visible
    assert visible.any(1).mean() > 0.9
    K, T = clip.camera.K, clip.camera.T_camera_world
    spread = []
    for point in range(len(visible)):
        world = []
        for frame in np.nonzero(visible[point])[0]:
            x, y = clip.points.xy_px[point, frame]
            z = clip.depth_m[frame][int(y), int(x)]
            ray = np.linalg.inv(K[frame]) @ np.array([x, y, 1.0]) * z
            world.append((ray - T[frame, :3, 3]) @ T[frame, :3, :3])
            assert clip.instance[frame][int(y), int(x)] == 0
        if len(world) > 1:
            spread.append(np.ptp(np.stack(world), axis=0).max() / z)
    assert np.median(spread) < 0.03


def test_one_scene_always_gives_the_same_bytes():
    first_id, first = render_members(_spec())
    again_id, again = render_members(SceneSpec.from_json(_spec().to_json()))
    assert first_id == again_id == _spec().clip_id
    assert first == again
    assert tuple(first) == tuple(m for m in shards.MEMBERS if m != shards.LATENT)
    record = ClipRecord.from_json(first[shards.CLIP])
    assert (record.clip_id, record.num_frames, record.fps) == (first_id, 4, 8.0)
    np.testing.assert_array_equal(record.timestamps_ns, np.arange(4) * 125_000_000)
    np.testing.assert_array_equal(MaskTrack.from_npz(first[shards.MASK]).instance, _clip().instance)
    body = BodyTracks.from_npz(first[shards.BODY])
    np.testing.assert_array_equal(body.transl, _clip().body.transl)
    video = decode_mp4(first[shards.VIDEO]).astype(int)
    assert np.abs(video - _clip().frames).mean() < 6


def test_a_tier_changes_the_pictures_and_no_label(monkeypatch):
    def grey(world: World) -> Pictures:
        shape = (world.spec.num_frames, world.spec.height, world.spec.width, 3)
        return Pictures(frames=np.full(shape, 90, np.uint8), plate=np.full(shape, 80, np.uint8))

    monkeypatch.setitem(render.TIERS, "grey", grey)
    clip = render_clip(_spec(), "grey")
    assert (clip.frames.max(), clip.plate.max()) == (90, 80)
    np.testing.assert_array_equal(clip.instance, _clip().instance)
    np.testing.assert_array_equal(clip.depth_m, _clip().depth_m)
    np.testing.assert_array_equal(clip.points.xy_px, _clip().points.xy_px)
    record = ClipRecord.from_json(render_members(_spec(), "grey")[1][shards.CLIP])
    assert record.provenance["render"]["backend"] == "grey"
    with pytest.raises(ValueError, match="tier must be one of"):
        render_clip(_spec(), "crayon")


@pytest.mark.parametrize("kind", CAMERA_KINDS)
def test_cameras_keep_people_whole_and_as_large_as_asked(kind):
    settings = replace(
        SETTINGS, camera_kinds=(kind,), num_people=(1, 1), framing="fill", width=64, height=64
    )
    spec = sample_scene(3, settings)
    spec = replace(spec, people=(replace(spec.people[0], motion="dance", character=0),))
    clip = render_clip(spec)
    seen = clip.instance > 0
    assert not seen[:, [0, -1]].any()  # nobody touches the border
    assert not seen[:, :, [0, -1]].any()
    assert max(seen.any(2).mean(1).max(), seen.any(1).mean(1).max()) > 0.8
    moves = np.abs(np.diff(clip.camera.T_camera_world, axis=0)).max()
    eyes = -np.einsum(
        "tij,ti->tj", clip.camera.T_camera_world[:, :3, :3], clip.camera.T_camera_world[:, :3, 3]
    )
    assert (moves == 0) == (kind == "static")
    assert (np.ptp(eyes, axis=0).max() < 1e-9) == (kind in ("static", "pan"))


def test_recorded_motion_is_rendered(shared_data):
    settings = replace(
        SETTINGS,
        motion_kinds=("mocap",),
        mocap_folder=shared_data / "mocap" / "cmu_bvh",
        panorama_folder=shared_data / "envmaps",
        num_people=(1, 1),
        width=64,
        height=64,
    )
    clip = render_clip(sample_scene(5, settings))
    assert clip.body.visible.all()
    assert clip.frames.mean() > 30
