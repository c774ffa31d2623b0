"""Clips of one performance differ in what their cameras see and in nothing else."""

import json
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from pipelines.pack import PackSettings
from pipelines.synthetic.render import RenderedClip, clip_record, render_clip
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene, sample_views
from pipelines.synthetic.world import build_world

SETTINGS = SceneSettings(width=48, height=48, num_frames=3, fps=8, num_people=(2, 2), characters=2)


@cache
def _views() -> tuple[tuple[SceneSpec, RenderedClip], ...]:
    return tuple((spec, render_clip(spec)) for spec in sample_views(11, SETTINGS, 3))


def test_people_and_time_are_the_same_in_every_view():
    (first_spec, first), *others = _views()
    record = clip_record(first_spec, first)
    for spec, clip in others:
        for name in ("betas", "global_orient", "body_pose", "transl"):
            np.testing.assert_array_equal(getattr(clip.body, name), getattr(first.body, name))
        other = clip_record(spec, clip)
        np.testing.assert_array_equal(other.timestamps_ns, record.timestamps_ns)
        assert other.clip_id != record.clip_id
        assert other.provenance["render"]["performance_id"] == first_spec.performance_id
        assert PackSettings().split(other.source_sha256) == PackSettings().split(
            record.source_sha256
        )
        assert other.source_sha256 == record.source_sha256, "the source of a view: its performance"
        json.loads(other.to_json())


@pytest.mark.parametrize("kind", ["street", "living room", "studio"])
def test_the_world_is_the_same_in_every_view(kind):
    settings = replace(SETTINGS, environment_kinds=(kind,))
    first, *others = (build_world(spec).environment for spec in sample_views(3, settings, 3))
    for other in others:
        np.testing.assert_array_equal(other.lighting.sun_direction, first.lighting.sun_direction)
        np.testing.assert_array_equal(other.lighting.panorama, first.lighting.panorama)
        assert len(other.still) == len(first.still)
        for there, here in zip(other.still, first.still, strict=True):
            np.testing.assert_array_equal(there.vertices, here.vertices)


def test_two_views_triangulate_the_joints_of_the_world():
    (spec, first), *others = _views()
    joints = np.stack([actor.joints for actor in build_world(spec).actors])
    rows = []
    for clip in (first, others[0][1]):
        P = clip.camera.K @ clip.camera.T_camera_world[:, :3]
        xy = clip.body.joints_px.astype(float)
        rows += [xy[..., k, None] * P[:, None, 2] - P[:, None, k] for k in (0, 1)]
    A = np.stack(rows, axis=-2)
    found = np.linalg.svd(A)[2][..., -1, :]
    found = found[..., :3] / found[..., 3:]
    assert np.abs(found - joints).max() < 1e-3


def test_people_who_wander_far_meet_no_furniture():
    far = SceneSettings(
        width=32, height=32, fps=1.0, num_frames=12, motion_kinds=("walk",),
        camera_kinds=("static",), environment_kinds=("living room", "office", "gym"),
    )  # fmt: skip
    for seed in range(4):
        spec = sample_scene(seed, far)
        world = build_world(replace(spec, environment=replace(spec.environment, free_radius_m=1.0)))
        walked = np.concatenate([actor.joints[:, 0, [0, 2]] for actor in world.actors])
        reach_m = np.linalg.norm(walked, axis=1).max()
        assert reach_m > 1.5
        places = np.concatenate([mesh.vertices for mesh in world.environment.still])
        is_thing = (places[:, 1] > 0.2) & (places[:, 1] < 1.8)
        assert np.linalg.norm(places[is_thing][:, [0, 2]], axis=1).min() > reach_m
