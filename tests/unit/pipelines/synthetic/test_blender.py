import sys
import tempfile
from dataclasses import replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from pipelines.synthetic.render import Drawing, draw_world, render_clip
from pipelines.synthetic.renderers import blender
from pipelines.synthetic.renderers.blender import draw_blender, trace_truth
from pipelines.synthetic.scene import SceneSettings, sample_scene
from pipelines.synthetic.world import World, build_world

needs_blender = pytest.mark.skipif(
    find_spec("bpy") is None, reason="no Blender: pip install 'bpy==4.5.*'"
)
SETTINGS = SceneSettings(
    width=160,
    height=144,
    num_frames=2,
    fps=8,
    num_people=(2, 2),
    camera_kinds=("orbit",),
    framing="free",
    characters=10,
)
LONG_HAIR = 9
"""A character whose hair is cut out of sheets."""


def _world(kind: str, **changes) -> World:
    spec = sample_scene(7, replace(SETTINGS, camera_kinds=(kind,), **changes))
    people = (replace(spec.people[0], character=LONG_HAIR), spec.people[1])
    return build_world(replace(spec, people=people))


@cache
def _still_scene() -> tuple[World, Drawing]:
    world = _moved(_world("static"), 0.0, 30.0)  # the sky comes into the picture
    return world, draw_world(world)


def _moved(world: World, right_px: float, down_px: float, taller: float = 1.0) -> World:
    shift = np.zeros((3, 3))
    shift[:2, 2] = right_px, down_px
    K = np.diag([1.0, taller, 1.0]) @ world.camera.K + shift
    return replace(world, camera=replace(world.camera, K=K))


@needs_blender
def test_rays_hit_what_the_labels_say():
    """Two people, one with cut-out hair, before a moving camera with uneven, off-centre pixels."""
    world = _world("orbit", width=288, height=256, framing="fill")
    assert any(mesh.texture[..., 3:].min(initial=255) < 128 for mesh in world.actors[0].surfaces)
    world = _moved(world, 9.0, -21.0, taller=1.2)
    labels, traced = draw_world(world).truth, trace_truth(world)
    person = np.round(traced[..., 0])
    either = (labels.instance > 0) | (person > 0)
    assert {0, 1, 2} == set(np.unique(person))
    assert (labels.instance == person)[either].mean() > 0.995
    same = (labels.instance == person) & (labels.depth_m < 30)
    error_m = np.abs(labels.depth_m - traced[..., 1])[same]
    assert np.median(error_m) < 1e-3
    # Beyond these lie edges of leaves: what is cut out is looked up a part of a pixel apart.
    assert np.quantile(error_m, 0.97) < 0.05


@needs_blender
def test_joints_lie_just_under_the_surface_that_rays_hit():
    world = _world("orbit")
    clip, traced = render_clip(world.spec), trace_truth(world)
    depths_m = []
    for person, actor in enumerate(world.actors):
        T = world.camera.T_camera_world
        joints_m = np.einsum("tij,tkj->tki", T[:, :3, :3], actor.joints) + T[:, None, :3, 3]
        for frame in range(2):
            x, y = np.floor(clip.body.joints_px[person, frame]).astype(int).T
            hits = traced[frame][y, x]
            own = np.round(hits[:, 0]) == person + 1
            depths_m += list((joints_m[frame, :, 2] - hits[:, 1])[own])
    assert len(depths_m) > 60
    assert (np.array(depths_m) > -0.02).mean() > 0.97
    assert np.median(depths_m) < 0.12


@needs_blender
def test_light_comes_from_where_it_does_in_opengl():
    world, ours = _still_scene()
    theirs = draw_blender(world)
    sky = np.isinf(ours.truth.depth_m)
    assert sky.mean() > 0.1
    difference = np.abs(ours.pictures.frames.astype(int) - theirs.frames)
    # two renderers filter the same map; one also denoises
    assert np.median(difference[sky]) <= 2
    assert abs(float(ours.pictures.frames.mean()) - float(theirs.frames.mean())) < 15
    body = np.stack([cv2.dilate(i, np.ones((7, 7))) for i in ours.truth.instance]) > 0
    ours_darker = ours.pictures.plate.astype(int) - ours.pictures.frames
    theirs_darker = theirs.plate.astype(int) - theirs.frames
    shadow, clear = (ours_darker.sum(-1) > 60) & ~body, (ours_darker.max(-1) == 0) & ~body
    assert shadow.sum() > 50
    assert np.median(theirs_darker[shadow].sum(-1)) > 30
    assert np.median(np.abs(theirs_darker[clear])) <= 2


@needs_blender
def test_one_world_always_gives_the_same_pixels():
    world = _still_scene()[0]
    first, again = draw_blender(world, samples=2), draw_blender(world, samples=2)
    np.testing.assert_array_equal(first.frames, again.frames)
    np.testing.assert_array_equal(first.plate, again.plate)
    assert (first.frames[0] != first.frames[1]).any()


def test_missing_blender_is_one_error_with_the_way_out(monkeypatch):
    monkeypatch.setattr(blender, "find_spec", lambda name: None)
    monkeypatch.setattr(blender.shutil, "which", lambda name: None)
    with pytest.raises(RuntimeError, match=r"pip install 'bpy==4\.5\.\*'"):
        draw_blender(_still_scene()[0])


def test_a_blender_on_the_path_is_used_when_the_module_is_absent(monkeypatch):
    monkeypatch.setattr(blender, "find_spec", lambda name: None)
    monkeypatch.setattr(blender.shutil, "which", lambda name: f"/opt/{name}")
    command = blender.blender_command()
    assert command[:2] == ["/opt/blender", "--background"]
    assert command[-2:] == [str(blender.SCRIPT), "--"]


def test_a_crash_names_the_log_that_outlives_it(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    crash = "print('reading'); raise SystemExit('out of memory')"
    monkeypatch.setattr(blender, "blender_command", lambda: [sys.executable, "-c", crash])
    with pytest.raises(RuntimeError, match="code 1 \\(out of memory\\); its log: ") as error:
        draw_blender(_still_scene()[0])
    log = Path(str(error.value).split("its log: ")[1])
    assert "reading" in log.read_text()
    assert list(tmp_path.iterdir()) == [log]  # and nothing else is left behind
