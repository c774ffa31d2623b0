"""Measures of a corpus: what they must be where the answer is known."""

import dataclasses

import numpy as np
import pytest

from pipelines.clip_files import open_clips
from pipelines.pack import pack
from pipelines.statistics_page import compare, make_statistics, summarise
from pipelines.synthetic.naming import camera_name
from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from pipelines.synthetic.statistics import (
    _hidden_and_cut,
    joint_angles_deg,
    measure_clip,
    nearest_pose_deg,
    principal_components,
)
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import publish
from storage_schemas.shards import CLIP
from storage_schemas.store import Store

SETTINGS = SceneSettings(width=64, height=64, num_frames=5, camera_kinds=("orbit",))


def poses(*elbows_deg):
    made = np.zeros((len(elbows_deg), 23, 3))
    made[:, 17, 1] = np.radians(elbows_deg)
    return made


def test_an_angle_is_that_of_the_rotation():
    assert joint_angles_deg(poses(0, 90))[:, 17] == pytest.approx([0, 90])
    assert joint_angles_deg(poses(90))[0].sum() == pytest.approx(90)


def test_the_nearest_pose_is_sought_in_other_clips_only():
    found = nearest_pose_deg(poses(0, 0, 46, 23), np.array([0, 0, 1, 1]))
    assert found == pytest.approx(np.array([1, 1, 2, 1]))  # 23 degrees over 23 joints
    assert np.isinf(nearest_pose_deg(poses(0, 5), np.array([0, 0]))).all()


def test_poses_that_differ_in_one_joint_lie_on_a_curve():
    places, shares = principal_components(poses(*range(0, 60, 5)))
    assert shares.sum() == pytest.approx(1)
    assert shares[0] > 0.9
    assert (np.diff(places[:, 0]) > 0).all() or (np.diff(places[:, 0]) < 0).all()


def test_hidden_and_cut_joints_are_counted_apart():
    joints_px = np.full((1, 24, 2), 1.5)
    joints_px[0, :6] = (-3, 1)  # outside the picture
    joints_px[0, 6:12] = (5.5, 1.5)  # inside, where somebody else is
    is_own = np.zeros((1, 8, 8), bool)
    is_own[0, 1, 1] = True
    assert _hidden_and_cut(joints_px, is_own) == pytest.approx((6 / 18, 6 / 24))


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    store = Store(tmp_path_factory.mktemp("rendered"))
    assert render_clips(store, range(2), SETTINGS).kept == 2
    return store


def test_a_rendered_clip_tells_its_scene(root):
    for read in open_clips(root).values():
        clip = measure_clip(read)
        record = ClipRecord.from_json(read(CLIP))
        assert (clip.num_frames, clip.size_px) == (5, (64, 64))
        assert clip.duration_s == pytest.approx(5 / record.fps)
        assert clip.camera.startswith("orbit")
        assert clip.camera_turn_deg > 5
        assert clip.camera_travel_m > 0.1
        (person,) = clip.people
        assert 0.1 < person.height_share <= 1
        assert person.hidden_share < 0.3
        assert person.cut_share == 0
        assert person.poses.shape[1:] == (23, 3)


def test_the_page_counts_every_rendered_clip_packed_published_or_neither(root, tmp_path):
    found = make_statistics(open_clips(root))
    numbers = found.numbers
    assert (numbers["clips"], numbers["people"], numbers["environments"]) == (2, 2, 2)
    pack(root, "set")
    publish(root, "set")
    for packed in ("set", "set@1"):
        assert make_statistics(open_clips(root, packed)).numbers == numbers
    found.write(tmp_path / "deep" / "page.html")
    assert "digital humans" in (tmp_path / "deep" / "page.html").read_text()
    assert len(list(tmp_path.glob("deep/page_*.png"))) == 5


def test_footage_does_not_count_as_rendered(root, tmp_path):
    store = Store(tmp_path)
    for clip_id, read in open_clips(root).items():
        for member in ("body.npz", "camera.npz", "mask.npz", "video.mp4"):
            store.write(f"clips/{clip_id}/{member}", read(member))
        record = ClipRecord.from_json(read(CLIP))
        record = dataclasses.replace(record, source="real", provenance={})
        store.write(f"clips/{clip_id}/{CLIP}", record.to_json())
    with pytest.raises(ValueError, match="no rendered clip"):
        make_statistics(open_clips(store))


def test_equal_clips_count_as_one_character_motion_and_world(root):
    clip = measure_clip(next(iter(open_clips(root).values())))
    numbers = summarise([clip, clip, clip])
    assert (numbers["clips"], numbers["people"]) == (3, 3)
    assert numbers["characters"] == numbers["motions"] == numbers["environments"] == 1
    assert numbers["nearest_pose_median_deg"] == 0
    rows = {row[0]: row for row in compare([clip], ["body", "camera"]).rows}
    assert rows["digital humans"][1:] == ("200", "1 different")
    assert rows["truth"][2] == "body, camera"


@pytest.mark.parametrize(
    ("moves", "follow", "shake_deg", "name"),
    [
        ((), "none", 0.0, "static"),
        (("orbit",), "none", 0.0, "orbit"),
        (("zoom", "dolly", "zoom"), "none", 0.0, "dolly + zoom"),
        ((), "turn", 0.4, "follow, hand-held"),
    ],
)
def test_a_program_is_named_by_its_moves(moves, follow, shake_deg, name):
    camera = {"moves": [{"kind": k} for k in moves], "follow": follow, "shake_deg": shake_deg}
    assert camera_name(camera) == name
