from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from pipelines.synthetic.bvh import CMU_UNIT_M, read_bvh

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


def _write(folder: Path, text: str) -> Path:
    path = folder / "a.bvh"
    path.write_text(text)
    return path


def test_forward_kinematics_of_a_hand_made_file(tmp_path):
    recording = read_bvh(_write(tmp_path, SMALL))
    assert (recording.fps, recording.num_frames) == (25.0, 2)
    places = recording.places
    np.testing.assert_allclose(recording.rest, [[0, 0, 0], [1, 0, 0], [2, 0, 0]])
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
    np.testing.assert_allclose(recording.places[:, 0], roots, atol=2e-4)
    joints = (recording.names.index(name) for name in ("LeftUpLeg", "LeftLeg"))
    hip, knee = (Rotation.from_quat(recording.quaternions[:, joint]) for joint in joints)
    bend_deg = np.degrees((hip.inv() * knee).magnitude())
    np.testing.assert_allclose(bend_deg, np.abs(knees), atol=0.01)


def test_every_real_file_reads(shared_data):
    for path in sorted((shared_data / "mocap").glob("*_bvh/*.bvh")):
        recording = read_bvh(path)
        assert recording.num_frames > 2
        assert 20 < recording.fps < 121
