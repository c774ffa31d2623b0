from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
import torch

from models.geometry import project
from pipelines.synthetic import render
from pipelines.synthetic.actor import make_actor
from pipelines.synthetic.render import RenderedClip, render_clip, render_members
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene
from pipelines.synthetic.truth import Hidden
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


def _away_from_people(instance: np.ndarray) -> np.ndarray:
    # a finger tip may cover a part of a pixel two away from the next centre on its person
    return cv2.dilate((instance > 0).astype(np.uint8), np.ones((5, 5))) == 0


def test_plate_equals_the_picture_except_at_people_and_their_shadows():
    clip = _clip()
    for frame in range(4):
        away = _away_from_people(clip.instance[frame])
        change = clip.frames[frame].astype(int) - clip.plate[frame]
        assert change[away].max() <= 0  # only shadows: darker, never brighter
        assert (change[away] == 0).all(-1).mean() > 0.7
        assert np.abs(change[clip.instance[frame] > 0]).mean() > 8


def _at(image: np.ndarray, xy_px: np.ndarray) -> np.ndarray:
    x, y = np.floor(xy_px).astype(int).T
    return image[y, x]


def test_points_stay_on_their_surface():
    """Every visible point lies on its own instance, at the depth that the picture has there."""
    clip = _clip()
    tracks = clip.points
    assert set(tracks.instance.tolist()) == {0, 1, 2}
    assert tracks.visible.any(1).all()
    for instance in (0, 1, 2):
        for frame in range(4):
            chosen = tracks.visible[:, frame] & (tracks.instance == instance)
            assert chosen.sum() >= 8
            assert (_at(clip.instance[frame], tracks.xy_px[chosen, frame]) == instance).all()


def _is_one_surface(clip: RenderedClip, frame: int) -> np.ndarray:
    """Where the 3 x 3 pixels around show one surface: neighbours may then be averaged."""
    inverse = (1.0 / clip.depth_m[frame]).astype(np.float32)
    near, far = cv2.dilate(inverse, np.ones((3, 3))), cv2.erode(inverse, np.ones((3, 3)))
    return near < 1.02 * far


def test_flow_carries_points_to_their_tracked_places():
    """Flow is that of pixel centres: four of them around a point foretell its own."""
    clip = _clip()
    tracks, errors_px = clip.points, {0: [], 1: []}
    directions = (
        (clip.flow.forward_px, clip.flow.forward_occluded, 1),
        (clip.flow.backward_px, clip.flow.backward_occluded, -1),
    )
    for flow_px, occluded, step in directions:
        for frame in range(4):
            if not 0 <= frame + step < 4:
                assert occluded[frame].all()
                continue
            both = tracks.visible[:, frame] & tracks.visible[:, frame + step]
            both[both] = _at(_is_one_surface(clip, frame), tracks.xy_px[both, frame])
            here, there = tracks.xy_px[both, frame], tracks.xy_px[both, frame + step]
            field = cv2.remap(
                flow_px[frame],
                here[None, :, 0] - 0.5,
                here[None, :, 1] - 0.5,
                cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REPLICATE,
            )[0]
            error = np.linalg.norm(here + field - there, axis=-1)
            for person in (0, 1):
                errors_px[person].append(error[(tracks.instance[both] > 0) == bool(person)])
            is_hidden = _at(occluded[frame], here)
            assert is_hidden.mean() < 0.05
    still, moving = (np.concatenate(errors_px[person]) for person in (0, 1))
    assert min(len(still), len(moving)) > 100
    assert np.percentile(still, 98) < 0.05
    assert np.median(moving) < 0.05
    assert np.percentile(moving, 90) < 0.3  # limbs that touch count as one surface


def test_forward_then_backward_flow_returns_where_nothing_is_hidden():
    clip = _clip()
    y, x = np.indices((96, 96), np.float32)
    for frame in range(3):
        there_x = x + clip.flow.forward_px[frame, ..., 0]
        there_y = y + clip.flow.forward_px[frame, ..., 1]
        back = cv2.remap(clip.flow.backward_px[frame + 1], there_x, there_y, cv2.INTER_LINEAR)
        error_px = np.linalg.norm(np.stack([there_x - x, there_y - y], -1) + back, axis=-1)
        seen = ~clip.flow.forward_occluded[frame]
        seen &= (there_x >= 0) & (there_x <= 95) & (there_y >= 0) & (there_y <= 95)
        around = cv2.erode(_is_one_surface(clip, frame + 1).astype(np.float32), np.ones((3, 3)))
        seen &= _is_one_surface(clip, frame) & (cv2.remap(around, there_x, there_y, 0) > 0)
        assert np.percentile(error_px[seen], 95) < 0.1
        assert seen.mean() > 0.15


def test_colours_follow_the_flow():
    """The next picture, fetched along the flow, is this picture: frames pair with their flow."""
    clip = _clip()
    y, x = np.indices((96, 96), np.float32)

    def error(frame: int, other: int, flow: int) -> float:
        forward = clip.flow.forward_px[flow]
        fetched = cv2.remap(
            clip.frames[other], x + forward[..., 0], y + forward[..., 1], cv2.INTER_LINEAR
        )
        seen = ~clip.flow.forward_occluded[flow] & (clip.instance[flow] > 0)
        return float(np.abs(fetched[seen].astype(int) - clip.frames[frame][seen]).mean())

    for frame in range(3):
        right = error(frame, frame + 1, frame)
        assert right < 0.6 * error(frame, frame, frame)  # people stay where they are
        assert right < 0.6 * error(frame, frame + 1, (frame + 1) % 3)


def test_frame_and_label_pair_only_in_their_order():
    """A vertex cloud fits the masks of its own frame better than those of any other."""
    clip = _clip()
    overlap = np.zeros((4, 4))
    for person in (0, 1):
        xy_px, _ = _vertices_px(person, clip)
        for frame in range(4):
            x, y = np.clip(np.floor(xy_px[frame]), 0, 95).astype(int).T
            covered = np.zeros((96, 96), np.uint8)
            covered[y, x] = 1
            for other in range(4):
                seen = clip.instance[other] == person + 1
                overlap[frame, other] += (covered * seen).sum() / (covered | seen).sum()
    assert (overlap.argmax(1) == np.arange(4)).all()


def test_normals_are_those_of_the_depth():
    """On smooth ground the normal is the cross product of neighbouring points."""
    clip = _clip()
    frame = 1
    K, T = clip.camera.K[frame], clip.camera.T_camera_world[frame]
    x, y = np.meshgrid(np.arange(96) + 0.5, np.arange(96) + 0.5)
    rays = np.stack([x, y, np.ones_like(x)], -1) @ np.linalg.inv(K).T
    z = np.where(np.isfinite(clip.depth_m[frame]), clip.depth_m[frame], 0.0)[..., None]
    points = (rays * z - T[:3, 3]) @ T[:3, :3]
    right, down = points[:-1, 1:] - points[:-1, :-1], points[1:, :-1] - points[:-1, :-1]
    normal = np.cross(down, right)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    unit = clip.normal.unit[frame][:-1, :-1]
    hit = (z[:-1, :-1, 0] > 0) & (z[:-1, :-1, 0] < 15)
    np.testing.assert_allclose(np.linalg.norm(unit[hit], axis=-1), 1.0, atol=1e-5)
    assert (np.abs((unit * normal).sum(-1))[hit] > 0.99).mean() > 0.6
    assert np.abs(clip.normal.normal[frame][np.isinf(clip.depth_m[frame])]).sum() == 0


def test_feet_in_contact_are_labelled():
    contact = _clip().body.foot_contact
    assert contact is not None
    assert contact.shape == (2, 4, 4)
    assert contact[0].any()  # somebody who walks always stands on something


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
    assert record.provenance["render"]["encoder"] == "x264"
    with pytest.raises(ValueError, match="tier must be one of"):
        render_clip(_spec(), "crayon")


def test_people_stay_whole_in_the_frame():
    settings = replace(SETTINGS, num_people=(1, 1), framing="fill", width=64, height=64)
    spec = sample_scene(3, settings)
    spec = replace(spec, people=(replace(spec.people[0], motion="dance", character=0),))
    seen = render_clip(spec).instance > 0
    assert not seen[:, [0, -1]].any()  # nobody touches the border
    assert not seen[:, :, [0, -1]].any()
    assert max(seen.any(2).mean(1).max(), seen.any(1).mean(1).max()) > 0.8


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


def test_a_clip_in_which_somebody_is_never_seen_is_refused():
    """One stands right behind another before a resting camera, then one step aside."""
    plain = replace(SETTINGS, width=48, height=48, num_frames=2, camera_kinds=("static",))
    spec = sample_scene(3, replace(plain, motion_kinds=("clap",)))
    turn = np.radians(spec.camera.azimuth_deg)
    front = replace(
        spec.people[0], place_m=(np.sin(turn), np.cos(turn)), heading_deg=spec.camera.azimuth_deg
    )
    behind = replace(front, place_m=(0.0, 0.0))
    aside = replace(front, place_m=(np.cos(turn), -np.sin(turn)))
    camera = replace(spec.camera, elevation_deg=0.0)
    with pytest.raises(Hidden, match="person 1 shows at most"):
        render_clip(replace(spec, people=(front, behind), camera=camera))
    seen = render_clip(replace(spec, people=(front, aside), camera=camera))
    assert seen.body.visible.all()
