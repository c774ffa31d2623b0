import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel
from pipelines.synthetic.amass import R_Y_UP, read_amass
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.retarget import read_motion, retarget

FRAMES = 30


def _arrays(width: int = 156) -> dict[str, np.ndarray]:
    """A person who stands in a z-up world, faces -y and lifts an arm while moving along x."""
    poses = np.zeros((FRAMES, width))
    poses[:, 0] = np.pi / 2  # the body's y up to the world's z up
    poses[:, 3 * 16 + 2] = np.linspace(-1.2, 0.5, FRAMES)
    poses[:, 66:] = 0.3  # fingers
    trans = np.zeros((FRAMES, 3))
    trans[:, 2], trans[:, 0] = 1.2, np.linspace(0.0, 0.1, FRAMES)
    return {"poses": poses, "trans": trans, "mocap_framerate": np.array(60.0)}


def _write(folder, arrays):
    path = folder / "a.npz"
    np.savez(path, **arrays)
    return path


def test_both_spellings_and_widths_give_the_same_motion(tmp_path):
    arrays = _arrays()
    first = read_amass(_write(tmp_path, arrays))
    other = {"poses": arrays["poses"][:, :72], "trans": arrays["trans"]}
    other["mocap_frame_rate"] = np.array([60])
    (tmp_path / "b").mkdir()
    second = read_amass(_write(tmp_path / "b", other))
    assert first.fps == second.fps == 60.0
    np.testing.assert_array_equal(first.rotvec, second.rotvec)
    assert not first.rotvec[:, 22:].any()  # fingers are left out


def test_turning_the_world_turns_every_joint_by_the_same(tmp_path):
    """t' = R (J0 + t) - J0: the body posed in z up and turned is the body posed in y up."""
    arrays = _arrays()
    recording = read_amass(_write(tmp_path, arrays))
    root = np.array([0.0, 0.1, 0.02])
    z_up = root + arrays["trans"]
    np.testing.assert_allclose(R_Y_UP.apply(z_up), recording.transl + R_Y_UP.apply(root))
    turned = R_Y_UP * Rotation.from_rotvec(arrays["poses"][:, :3])
    np.testing.assert_allclose(
        (turned.inv() * Rotation.from_rotvec(recording.rotvec[:, 0])).magnitude(), 0, atol=1e-12
    )


def test_retargeted_it_stands_upright_on_the_floor_and_faces_as_it_did(tmp_path):
    skeleton = Skeleton.of(BodyModel.load(), np.zeros(10, np.float32))
    recording = read_motion(_write(tmp_path, _arrays()))
    motion = retarget(recording, np.arange(12) / 24.0, skeleton)
    face = Rotation.from_rotvec(motion.global_orient).apply([0.0, 0.0, 1.0])
    np.testing.assert_allclose(face, np.tile([0.0, 0.0, 1.0], (12, 1)), atol=1e-6)
    soles = motion.transl[:, 1] + skeleton.heels[:, 1].mean()
    assert np.abs(soles).max() < 0.02


def _without(name):
    return {k: v for k, v in _arrays().items() if k != name}


@pytest.mark.parametrize(
    ("arrays", "finding"),
    [
        (_without("mocap_framerate"), "neither mocap_framerate nor mocap_frame_rate"),
        (_arrays() | {"mocap_framerate": np.array(np.nan)}, "mocap_framerate is not finite"),
        (_arrays() | {"mocap_framerate": np.array(0.0)}, "must be one positive number"),
        (_without("poses"), "no array 'poses'"),
        (_arrays(60), r"poses must be \[30, 66 or more\]"),
        (_arrays() | {"trans": np.zeros((29, 3))}, r"poses must be \[29"),
        (_arrays() | {"trans": np.full((30, 3), np.nan)}, "trans is not finite in 30 of 30 frames"),
        (_arrays() | {"poses": np.array([{}], dtype=object)}, "no readable .npz"),
    ],
)
def test_unusable_files_are_named_with_the_finding(tmp_path, arrays, finding):
    path = _write(tmp_path, arrays)
    with pytest.raises(ValueError, match=finding) as caught:
        read_amass(path)
    assert str(path) in str(caught.value)


def test_truncated_and_foreign_files_are_named(tmp_path):
    path = _write(tmp_path, _arrays())
    path.write_bytes(path.read_bytes()[:2000])
    for content in (path.read_bytes(), b"", b"text"):
        path.write_bytes(content)
        read_amass.cache_clear()
        with pytest.raises(ValueError, match=r"a.npz: no readable .npz"):
            read_amass(path)
    with pytest.raises(ValueError, match=r"a motion file ends in .bvh, .amc, .npz, not '.fbx'"):
        read_motion(tmp_path / "a.fbx")
