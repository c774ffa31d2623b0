from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.body.model import BodyModel
from pipelines.synthetic.bvh import CMU_UNIT_M, forward_kinematics, read_bvh
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.retarget import retarget

SMALL = """HIERARCHY
ROOT Hips
{
  OFFSET 0 0 0
  CHANNELS 6 Xposition Yposition Zposition Zrotation Xrotation Yrotation
  JOINT Arm
  {
    OFFSET 1 0 0
    CHANNELS 3 Zrotation Yrotation Xrotation
    End Site
    {
      OFFSET 1 0 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.04
1 2 3 0 0 0 90 0 0
1 2 3 0 0 90 0 0 0
"""


@cache
def _body() -> BodyModel:
    return BodyModel.load()


@cache
def _skeleton() -> Skeleton:
    return Skeleton.of(_body(), np.zeros(10, np.float32))


def _write(folder: Path, text: str) -> Path:
    path = folder / "a.bvh"
    path.write_text(text)
    return path


def test_forward_kinematics_of_a_hand_made_file(tmp_path):
    recording = read_bvh(_write(tmp_path, SMALL))
    assert (recording.fps, recording.num_frames) == (25.0, 2)
    _, places = forward_kinematics(recording)
    np.testing.assert_allclose(places[0], [[1, 2, 3], [2, 2, 3], [2, 3, 3]], atol=1e-12)
    np.testing.assert_allclose(places[1], [[1, 2, 3], [1, 2, 2], [1, 2, 1]], atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "line", "finding"),
    [
        ("HIERARCHY", "NOTHING", 1, "starts with HIERARCHY"),
        ("OFFSET 0 0 0", "OFFSET 0 0", 4, "OFFSET needs 3 numbers, got 2"),
        ("OFFSET 0 0 0", "OFFSET 0 x 0", 4, "must be numbers"),
        ("CHANNELS 3", "CHANNELS 4", 9, "unreadable CHANNELS"),
        ("Frames: 2", "Frames: 3", 20, "promises 3 frames, the file holds 2"),
        ("Frame Time: 0.04", "Frame Time: 0", 18, "needs frames and time"),
        ("1 2 3 0 0 0 90 0 0", "1 2 3 0 0 0 90", 19, "needs 9 numbers, got 7"),
        ("1 2 3 0 0 0 90 0 0", "1 2 3 0 0 0 90 0 nan", 19, "must be finite"),
        ("  }\n}\nMOTION", "  }\nMOTION", 15, "brace is not closed"),
        (SMALL[SMALL.index("MOTION") :], "", 15, "the file ends where MOTION"),
        ("  JOINT Arm", "  ROOT Arm", 6, "ROOT does not belong here"),
    ],
)
def test_malformed_files_name_file_line_and_finding(tmp_path, old, new, line, finding):
    path = _write(tmp_path, SMALL.replace(old, new, 1))
    with pytest.raises(ValueError, match=finding) as caught:
        read_bvh(path)
    assert f"a.bvh:{line}:" in str(caught.value)


def test_cmu_rows_match_the_amc_of_the_same_take(shared_data):
    recording = read_bvh(shared_data / "mocap" / "cmu_bvh" / "02_01.bvh")
    lines = (shared_data / "mocap" / "cmu_asf_amc" / "02_01.amc").read_text().splitlines()
    rows = [line.split() for line in lines]
    roots = np.array([[float(v) for v in row[1:4]] for row in rows if row[0] == "root"])
    knees = np.array([float(row[1]) for row in rows if row[0] == "ltibia"])
    assert (recording.fps, recording.unit_m) == (120.0, CMU_UNIT_M)
    assert recording.num_frames == len(roots)  # the made-up T-pose is gone
    np.testing.assert_allclose(recording.values[:, :3], roots, atol=2e-4)
    rotations, _ = forward_kinematics(recording)
    hip, knee = (recording.names.index(name) for name in ("LeftUpLeg", "LeftLeg"))
    bend_deg = np.degrees((rotations[hip].inv() * rotations[knee]).magnitude())
    np.testing.assert_allclose(bend_deg, np.abs(knees), atol=0.01)


def test_every_real_file_reads(shared_data):
    for path in sorted((shared_data / "mocap").glob("*_bvh/*.bvh")):
        recording = read_bvh(path)
        assert recording.num_frames > 2
        assert 20 < recording.fps < 121


def _joints(motion) -> np.ndarray:
    values = (motion.global_orient, motion.body_pose, motion.transl)
    feet = torch.nonzero(_body().weights[:, [7, 8, 10, 11]].sum(1) > 0.9)[::8, 0]
    posed = _body().subset(feet).pose(torch.zeros(10), *(torch.as_tensor(v) for v in values))
    return posed.joints.numpy(), posed.vertices.numpy()


def test_cartwheel_turns_the_body_over_also_after_retargeting(shared_data):
    recording = read_bvh(shared_data / "mocap" / "cmu_bvh" / "49_06.bvh")
    _, places = forward_kinematics(recording)
    head, hips = (recording.names.index(name) for name in ("Head", "Hips"))
    below = places[:, head, 1] < places[:, hips, 1]
    assert 0.25 < below.mean() < 0.29  # golden: 27 %
    times = np.arange(recording.num_frames) / recording.fps
    joints, _ = _joints(retarget(recording, times, _skeleton()))
    agreement = (joints[:, 15, 1] < joints[:, 0, 1]) == below
    assert agreement.mean() > 0.97


def test_retargeted_walk_keeps_directions_scale_and_floor(shared_data):
    recording = read_bvh(shared_data / "mocap" / "cmu_bvh" / "02_01.bvh")
    times = np.linspace(0.0, 2.8, 60)
    joints, feet = _joints(retarget(recording, times, _skeleton()))
    index = np.round(times * recording.fps).astype(int)
    places = forward_kinematics(recording)[1][index]
    names = recording.names
    for (a, b), (source_a, source_b) in {
        (1, 4): ("LeftUpLeg", "LeftLeg"),
        (5, 8): ("RightLeg", "RightFoot"),
        (16, 18): ("LeftArm", "LeftForeArm"),
        (19, 21): ("RightForeArm", "RightHand"),
    }.items():
        ours = joints[:, b] - joints[:, a]
        theirs = places[:, names.index(source_b)] - places[:, names.index(source_a)]
        cosine = (ours * theirs).sum(-1) / np.linalg.norm(ours, axis=-1)
        assert (cosine / np.linalg.norm(theirs, axis=-1)).min() > np.cos(np.radians(3))
    for hip, knee, ankle, foot in ((1, 4, 7, 10), (2, 5, 8, 11)):
        toes = joints[:, foot] - joints[:, ankle]
        middle = 0.5 * (joints[:, hip] + joints[:, ankle])
        assert ((joints[:, knee] - middle) * toes).sum(-1).min() > -0.015  # knees go ahead
    way_m = np.linalg.norm(joints[-1, 0] - joints[0, 0])
    assert 2.0 < way_m < 5.0  # 2.8 s of brisk walking
    lowest = feet[..., 1].min(1)
    assert lowest.min() > -0.02
    assert lowest.max() < 0.03


def test_other_skeletons_retarget_by_name_or_say_what_is_missing(shared_data):
    folder = shared_data / "mocap" / "other_bvh"
    for name in ("jumping_jacks_cmu", "wave_hello_fair"):
        recording = read_bvh(folder / f"{name}.bvh")
        joints, _ = _joints(retarget(recording, np.linspace(0, 3, 20), _skeleton()))
        assert (joints[:, 15, 1] - joints[:, 0, 1]).min() > 0.4  # upright, y up
        assert (joints[:, 1] - joints[:, 2])[:, 0].std() < 0.1
    with pytest.raises(ValueError, match="no joint found for left_thigh"):
        retarget(read_bvh(folder / "rotation_first_root.bvh"), np.zeros(1), _skeleton())
