import shutil

import numpy as np
import pytest

from pipelines.synthetic.amc import read_amc
from pipelines.synthetic.asset import Asset
from pipelines.synthetic.bvh import CMU_UNIT_M, read_bvh

SKELETON = """:units
  length 0.45
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    name arm
    direction 1 0 0
    length 2
    axis 0 0 90 XYZ
    dof rx ry
  end
:hierarchy
  begin
    root arm
  end
"""
MOTION = (
    ":FULLY-SPECIFIED\n:DEGREES\n7\nroot 1 2 3 0 0 0\narm 0 0\n8\nroot 1 2 3 0 0 90\narm 90 0\n"
)


def _write(folder, skeleton=SKELETON, motion=MOTION):
    (folder / "s.asf").write_text(skeleton)
    (folder / "s_1.amc").write_text(motion)
    return folder / "s_1.amc"


def test_kinematics_of_a_hand_made_file(tmp_path):
    recording = read_amc(_write(tmp_path))
    assert (recording.names, recording.parents) == (("Hips", "arm", "arm_end"), (-1, 0, 1))
    assert recording.unit_m == pytest.approx(CMU_UNIT_M, rel=1e-4)
    np.testing.assert_allclose(recording.rest, [[0, 0, 0], [0, 0, 0], [2, 0, 0]], atol=1e-12)
    np.testing.assert_allclose(recording.places[0, 2], [3, 2, 3], atol=1e-12)
    # the bone's own x axis is the root's y: +x goes to -z; the root does not turn that
    np.testing.assert_allclose(recording.places[1, 2], [1, 2, 1], atol=1e-12)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("arm 0 0\n", "arm 0\n", "s_1.amc:5: arm needs 2 numbers, got 1"),
        ("arm 0 0\n", "arm 0 nan\n", "s_1.amc:5: arm must be finite"),
        ("arm 0 0\n", "leg 0 0\n", "s_1.amc:5: 'leg' is no moving bone"),
        ("8\n", "9\n", "frame 9 follows frame 7"),
        ("arm 90 0\n", "", "frame row 2 lacks arm; the file may be truncated"),
        (MOTION[MOTION.index("7") :], "", "there is no frame of motion"),
    ],
)
def test_malformed_motion_names_file_line_and_finding(tmp_path, old, new, finding):
    path = _write(tmp_path, motion=MOTION.replace(old, new))
    with pytest.raises(ValueError, match=finding):
        read_amc(path)


@pytest.mark.parametrize(
    ("old", "new", "finding"),
    [
        ("    root arm\n", "", "bones .'arm'. hang nowhere"),
        ("root arm", "root leg", "'leg', which is no bone"),
        ("direction 1 0 0", "direction 1 0", "direction needs 3 numbers"),
        ("dof rx ry", "dof rx rw", "unreadable degrees of freedom"),
        ("length 0.45", "length 0", "length must be positive"),
        (SKELETON[SKELETON.index("    length 2") :], "", "the file ends where the end of a bone"),
    ],
)
def test_malformed_skeletons_name_file_and_finding(tmp_path, old, new, finding):
    path = _write(tmp_path, skeleton=SKELETON.replace(old, new))
    with pytest.raises(ValueError, match=finding) as caught:
        read_amc(path)
    assert "s.asf:" in str(caught.value)


def test_the_skeleton_is_found_by_name_or_is_missed(tmp_path):
    path = _write(tmp_path)
    shutil.copy(tmp_path / "s.asf", tmp_path / "other.asf")
    assert read_amc(path).num_frames == 2
    (tmp_path / "s.asf").rename(tmp_path / "third.asf")
    read_amc.cache_clear()
    with pytest.raises(ValueError, match=r"found 2 .asf files"):
        read_amc(path)


@pytest.mark.parametrize(("take", "first"), [("02_01", 0), ("16_31", 129), ("35_01", 134)])
def test_bones_agree_with_the_bvh_of_the_same_take(shared_data, take, first):
    ours = read_amc(shared_data / "mocap" / "cmu_asf_amc" / f"{take}.amc")
    theirs = read_bvh(shared_data / "mocap" / "cmu_bvh" / f"{take}.bvh")
    rows = slice(first, first + ours.num_frames)
    for bone in ("LeftLeg", "RightToeBase", "Spine1", "LeftForeArm", "RightHand", "Head"):
        a, b = ours.names.index(bone), theirs.names.index(bone)
        bone_a = ours.places[:, a] - ours.places[:, ours.parents[a]]
        bone_b = theirs.places[rows, b] - theirs.places[rows, theirs.parents[b]]
        np.testing.assert_allclose(bone_a, bone_b, atol=3e-4)
    np.testing.assert_allclose(ours.places[:, 0], theirs.places[rows, 0], atol=1e-3)


def test_a_changed_skeleton_is_a_changed_asset(tmp_path):
    asset = Asset.of(_write(tmp_path))
    asset.verify()
    _write(tmp_path, SKELETON.replace("length 2", "length 3"))
    with pytest.raises(ValueError, match=r"s_1\.amc changed"):
        asset.verify()
