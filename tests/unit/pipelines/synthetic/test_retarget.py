from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from models.body.model import BodyModel, PosedBody
from pipelines.synthetic.bvh import read_bvh
from pipelines.synthetic.contact import foot_contact, sole_points
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import BodyMotion
from pipelines.synthetic.retarget import read_motion, retarget

FPS = 30.0


@cache
def _body() -> BodyModel:
    return BodyModel.load()


@cache
def _skeleton() -> Skeleton:
    return Skeleton.of(_body(), np.zeros(10, np.float32))


def _joints(motion) -> np.ndarray:
    values = (motion.global_orient, motion.body_pose, motion.transl)
    feet = torch.nonzero(_body().weights[:, [7, 8, 10, 11]].sum(1) > 0.9)[::8, 0]
    posed = _body().subset(feet).pose(torch.zeros(10), *(torch.as_tensor(v) for v in values))
    return posed.joints.numpy(), posed.vertices.numpy()


def test_cartwheel_turns_the_body_over_also_after_retargeting(shared_data):
    recording = read_bvh(shared_data / "mocap" / "cmu_bvh" / "49_06.bvh")
    places = recording.places
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
    places = recording.places[index]
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
        assert (cosine / np.linalg.norm(theirs, axis=-1)).min() > np.cos(
            np.radians(10 if a in (1, 5) else 3)
        )
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


def _posed(motion: BodyMotion, joints: tuple[int, ...]) -> PosedBody:
    """The body with every sixth vertex that moves with the given joints."""
    values = (motion.global_orient, motion.body_pose, motion.transl)
    owned = torch.nonzero(_body().weights[:, list(joints)].sum(1) > 0.9)[::6, 0]
    return _body().subset(owned).pose(torch.zeros(10), *(torch.as_tensor(v) for v in values))


def _moved(path: Path) -> BodyMotion:
    recording = read_motion(path)
    times = np.arange(0.0, (recording.num_frames - 1) / recording.fps, 1 / FPS)
    return retarget(recording, times, _skeleton())


FEET, HANDS = (7, 8, 10, 11), (20, 21, 22, 23)
STANDING = ("02_01", "12_01", "16_31", "35_01", "49_14")
FLYING = {"02_03": 0.03, "35_17": 0.03, "02_04": 0.3, "49_02": 0.5, "49_04": 0.5}
"""Take -> how high all of the body must be over the floor at some time: runs, hops and leaps."""


@pytest.mark.parametrize("take", [*STANDING, *FLYING, "02_05", "05_02", "05_15", "49_06"])
def test_real_takes_neither_skate_nor_sink(shared_data, take):
    motion = _moved(shared_data / "mocap" / "cmu_bvh" / f"{take}.bvh")
    posed = _posed(motion, FEET)
    points = sole_points(posed.T_world_joint.numpy(), _skeleton())
    contact = foot_contact(points, FPS)
    in_contact = contact[1:] & contact[:-1]
    step_m = np.linalg.norm(np.diff(points, axis=0)[..., [0, 2]], axis=-1)
    assert step_m[in_contact].mean() < 0.0015  # per frame of 1/30 s
    lowest = posed.vertices[..., 1].amin(1).numpy()
    assert lowest.min() > -0.015
    if take in STANDING:
        assert lowest.max() < 0.01
        assert contact.any(1).all()
    if take in FLYING:
        assert lowest.max() > FLYING[take]
        assert not contact[lowest > 0.03].any()


def test_hands_of_a_cartwheel_lie_on_the_floor(shared_data):
    motion = _moved(shared_data / "mocap" / "cmu_bvh" / "49_06.bvh")
    lowest = _posed(motion, HANDS).vertices[..., 1].amin(1).numpy()
    assert lowest.min() > -0.02  # the thumb
    assert (lowest < 0.03).sum() > 0.3 * FPS
    everything = _posed(motion, tuple(range(24))).vertices[..., 1].amin(1)
    assert everything.max() < 0.03  # something always carries


def _hopping(folder: Path, apex_m: float) -> Path:
    """A figure of one unit per metre that stands, hops once with straight legs, and stands."""
    names = ("LeftUpLeg", "LeftLeg", "LeftFoot", "LeftToeBase")
    text = "HIERARCHY\nROOT Hips\n{\nOFFSET 0 0 0\nCHANNELS 3 Xposition Yposition Zposition\n"
    turn = "CHANNELS 3 Zrotation Xrotation Yrotation\n"

    def limb(bones: list[tuple[str, str]]) -> str:
        opened = "".join(f"JOINT {n}\n{{\nOFFSET {o}\n{turn}" for n, o in bones)
        return opened + "End Site\n{\nOFFSET 0 0 0.05\n}\n" + "}\n" * len(bones)

    for side, x in (("Left", 1), ("Right", -1)):
        offsets = (f"{0.1 * x} 0 0", "0 -0.4 0", "0 -0.4 0", "0 -0.06 0.12")
        text += limb([(n.replace("Left", side), o) for n, o in zip(names, offsets, strict=True)])
    text += f"JOINT Spine\n{{\nOFFSET 0 0.2 0\n{turn}"
    text += limb([("Head", "0 0.4 0")]) + "}\n"
    for side, x in (("Left", 1), ("Right", -1)):
        bones = (("Shoulder", 0.05), ("Arm", 0.1), ("ForeArm", 0.25), ("Hand", 0.25))
        text += limb([(side + n, f"{o * x} {0.3 if n == 'Shoulder' else 0} 0") for n, o in bones])
    times = np.arange(120) / 60.0
    flight_s = np.sqrt(8 * apex_m / 9.81)
    since = np.clip(times - 0.8, 0, flight_s)
    height = 0.86 + 0.5 * 9.81 * since * (flight_s - since)
    channels = text.count("Zrotation")
    rows = "".join(f"0 {y:.6f} 0 {'0 ' * 3 * channels}\n" for y in height)
    path = folder / f"hop_{apex_m}.bvh"
    path.write_text(f"{text}}}\nMOTION\nFrames: 120\nFrame Time: 0.0166667\n{rows}")
    return path


@pytest.mark.parametrize("apex_m", [0.04, 0.08, 0.3])
def test_a_hop_keeps_its_height_however_low(tmp_path, apex_m):
    motion = _moved(_hopping(tmp_path, apex_m))
    posed = _posed(motion, FEET)
    lowest = posed.vertices[..., 1].amin(1).numpy()
    scale = _skeleton().leg_m / 0.8
    np.testing.assert_allclose(lowest.max(), apex_m * scale, rtol=0.25, atol=0.002)
    stands = np.r_[0:20, -20:0]
    assert np.abs(lowest[stands]).max() < 0.006
    contact = foot_contact(sole_points(posed.T_world_joint.numpy(), _skeleton()), FPS)
    assert contact[stands].all()
    assert not contact[lowest > 0.03].any()


def test_knees_that_were_recorded_straight_do_not_pop(shared_data):
    motion = _moved(shared_data / "mocap" / "other_bvh" / "wave_hello_fair.bvh")
    joints = _posed(motion, FEET).joints.numpy()
    acceleration = np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1) * FPS**2
    assert acceleration[:, :16].max() < 20.0  # m/s^2, all but the waving arms; it was 212
