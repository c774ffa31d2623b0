"""Every tracker's file gives back the bodies that were written into it, whatever its habits."""

import pickle
import zlib
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.body.pickle_reader import read_result_npz, read_result_pickle
from pipelines.annotate.importers.found import SMPL_PELVIS_M, SMPLX_PELVIS_M, rotvec_of
from pipelines.annotate.importers.readers import frame_number, read_found
from pipelines.annotate.importers.results import digest_of, find_results, result_for

HEIGHT, WIDTH, FRAMES = 720, 1280, 6


@pytest.fixture
def truth():
    """One person who turns and walks away, in the camera; and the camera in a world y up."""
    rng = np.random.default_rng(0)
    rotvec = rng.normal(0, 0.3, (FRAMES, 24, 3))
    rotvec[:, 22:] = 0
    rotvec[:, 0] = [np.pi, 0, 0]
    rotvec[:, 0, 1] += np.linspace(0, 0.5, FRAMES)
    line = np.linspace(0, 1, FRAMES)
    pelvis = np.column_stack([2 * line - 1, np.full(FRAMES, 0.2), 4 + 2 * line])
    path = np.tile(np.eye(4), (FRAMES, 1, 1))
    turns = [[180, angle] for angle in range(FRAMES)]
    path[:, :3, :3] = Rotation.from_euler("xy", turns, degrees=True).as_matrix()
    path[:, :3, 3] = np.column_stack([line / 2, np.full(FRAMES, 1.4), 0 * line])
    return SimpleNamespace(rotvec=rotvec, pelvis=pelvis, betas=rng.normal(size=10), path=path)


def in_world(truth, rest):
    """Root rotation and SMPL translation in the world of the path."""
    R = np.linalg.inv(truth.path[:, :3, :3])
    root = (Rotation.from_matrix(R) * Rotation.from_rotvec(truth.rotvec[:, 0])).as_rotvec()
    pelvis = np.einsum("tij,tj->ti", R, truth.pelvis - truth.path[:, :3, 3])
    return root, pelvis - rest


def matrices(truth):
    flat = Rotation.from_rotvec(truth.rotvec.reshape(-1, 3)).as_matrix()
    return flat.reshape(FRAMES, 24, 3, 3).astype(np.float32)


def write_phalp(folder, truth):
    rows = {}
    for t in range(FRAMES):
        R, place = matrices(truth)[t], (truth.pelvis[t] - SMPL_PELVIS_M).astype(np.float32)
        smpl = {"global_orient": R[:1], "body_pose": R[1:], "betas": truth.betas.astype(np.float32)}
        stale = {"global_orient": R[:1] * 0, "body_pose": R[1:], "betas": truth.betas}
        rows[f"_DEMO/a/img/{t + 1:06d}.jpg"] = {
            "tid": [3, 8], "tracked_ids": [3], "tracked_time": [0, 2], "smpl": [smpl, stale],
            "camera": [place, place], "size": [[HEIGHT, WIDTH], [HEIGHT, WIDTH]],
            "shot": 0, "bbox": [np.zeros(4)] * 2,
        }  # fmt: skip
    path = folder / "demo_walk.pkl"
    path.write_bytes(zlib.compress(pickle.dumps(rows), 3))
    return path


def write_wham(folder, truth):
    root, transl = in_world(truth, SMPL_PELVIS_M)
    pose = truth.rotvec.reshape(FRAMES, 72).astype(np.float32)
    world = pose.copy()
    world[:, :3] = root
    content = {0: {
        "pose": pose, "trans": (truth.pelvis - SMPL_PELVIS_M).astype(np.float32),
        "pose_world": world, "trans_world": transl.astype(np.float32),
        "betas": np.tile(truth.betas, (FRAMES, 1)), "verts": np.zeros((FRAMES, 10, 3)),
        "frame_ids": np.arange(FRAMES),
    }}  # fmt: skip
    path = folder / "wham_output.pkl"
    path.write_bytes(pickle.dumps(content))
    return path


def write_gvhmr(folder, truth):
    def params(root, transl):
        return {
            "body_pose": torch.tensor(truth.rotvec[:, 1:22].reshape(FRAMES, 63)).float(),
            "global_orient": torch.tensor(root).float(), "transl": torch.tensor(transl).float(),
            "betas": torch.tensor(np.tile(truth.betas, (FRAMES, 1))).float(),
        }  # fmt: skip

    f = float(np.hypot(HEIGHT, WIDTH))
    K = torch.tensor([[f, 0, WIDTH / 2], [0, f, HEIGHT / 2], [0, 0, 1]]).expand(FRAMES, 3, 3)
    path = folder / "hmr4d_results.pt"
    torch.save({
        "smpl_params_incam": params(truth.rotvec[:, 0], truth.pelvis - SMPLX_PELVIS_M),
        "smpl_params_global": params(*in_world(truth, SMPLX_PELVIS_M)),
        "K_fullimg": K, "net_outputs": {"static_conf_logits": torch.zeros(1)},
    }, path)  # fmt: skip
    return path


def write_tram(folder, truth):
    (folder / "hps").mkdir()
    world_camera = np.linalg.inv(truth.path)
    np.save(folder / "camera.npy", {
        "world_cam_R": world_camera[:, :3, :3], "world_cam_T": world_camera[:, :3, 3],
        "img_focal": 1100.0, "img_center": np.array([WIDTH / 2, HEIGHT / 2]),
    }, allow_pickle=True)  # fmt: skip
    np.save(folder / "hps" / "hps_track_0.npy", {
        "pred_rotmat": torch.tensor(matrices(truth)), "frame": torch.arange(FRAMES),
        "pred_trans": torch.tensor(truth.pelvis - SMPL_PELVIS_M).float()[:, None],
        "pred_shape": torch.tensor(np.tile(truth.betas, (FRAMES, 1))).float(),
    }, allow_pickle=True)  # fmt: skip
    return folder


def write_romp(folder, truth):
    results = {
        f"{t:08d}.png": {
            "smpl_thetas": truth.rotvec[t].reshape(1, 72), "smpl_betas": truth.betas[None],
            "cam_trans": (truth.pelvis[t] - SMPL_PELVIS_M)[None], "track_ids": np.array([4]),
        }
        for t in range(FRAMES)
    }  # fmt: skip
    path = folder / "walk_results.npz"
    np.savez(path, results=np.array(results, dtype=object))
    return path


FOCALS = {
    "phalp": 5000 / 256 * WIDTH, "wham": np.hypot(HEIGHT, WIDTH), "gvhmr": np.hypot(HEIGHT, WIDTH),
    "tram": 1100.0, "romp": WIDTH / 2 / np.tan(np.radians(30)),
}  # fmt: skip
WRITERS = {
    "phalp": write_phalp, "wham": write_wham, "gvhmr": write_gvhmr, "tram": write_tram,
    "romp": write_romp,
}  # fmt: skip
WITH_PATH = {"wham", "gvhmr", "tram"}


@pytest.mark.parametrize("tracker", WRITERS)
def test_what_was_written_is_found(tmp_path, truth, tracker):
    found = read_found(WRITERS[tracker](tmp_path, truth))
    (person,) = found.people  # PHALP's ghost is not one
    np.testing.assert_array_equal(person.frames, np.arange(FRAMES))
    mine, true = (Rotation.from_rotvec(r.reshape(-1, 3)) for r in (person.rotvec, truth.rotvec))
    assert (mine.inv() * true).magnitude().max() < 1e-3
    np.testing.assert_allclose(person.pelvis_m, truth.pelvis, atol=1e-5)
    np.testing.assert_allclose(person.betas, truth.betas, atol=1e-6)
    assert found.focal_px(HEIGHT, WIDTH) == pytest.approx(FOCALS[tracker], rel=1e-6)
    assert found.focal_px(HEIGHT // 2, WIDTH // 2) == pytest.approx(FOCALS[tracker] / 2, rel=1e-6)
    assert set(found.T_camera_world) == (set(range(FRAMES)) if tracker in WITH_PATH else set())
    for t, T in found.T_camera_world.items():
        np.testing.assert_allclose(T, truth.path[t], atol=1e-5)


def test_romp_photograph_projects_where_romp_says(shared_data):
    path = shared_data / "mocap/smpl_results/romp_output.npz"
    found = read_found(path)
    raw = read_result_npz(path, "results")
    (person,) = found.people
    root = person.pelvis_m[0]
    np.testing.assert_allclose(root, raw["joints"][0, 0] + raw["cam_trans"][0], atol=0.03)
    f = found.focal_px(720, 1280)
    points = raw["joints"][0, :24] - raw["joints"][0, 0] + root
    pixels = points[:, :2] / points[:, 2:] * f + [640, 360]
    apart = np.linalg.norm(pixels - raw["pj2d_org"][0, :24], axis=1)
    assert np.median(apart) < 12  # ROMP's own two cameras differ by as much


def test_joblib_file_of_phalp_is_read_to_its_end(shared_data):
    content = read_result_pickle(shared_data / "mocap/smpl_results/phalp_gt_tracks.pkl")
    assert len(content) == 263
    first = content["000001.jpg"]
    np.testing.assert_allclose(first["gt_bbox"][0], [587.50494, 240.77202, 115.63898, 323.0976])
    assert first["extra_data"]["gt_track_id"].tolist() == [1, 2, 3, 4, 5]
    for frame in content.values():
        boxes = frame["gt_bbox"]
        assert boxes.shape == (len(frame["extra_data"]["gt_track_id"]), 4)
        assert (boxes[:, 2:] > 0).all()


@pytest.mark.parametrize(("first", "shift"), [(0, 0), (1, 1)])
def test_frames_count_from_0_or_1(tmp_path, truth, first, shift):
    source = pickle.loads(zlib.decompress(write_phalp(tmp_path, truth).read_bytes()))
    renamed = {f"{t + first:06d}.jpg": frame for t, frame in enumerate(source.values())}
    path = tmp_path / "renamed.pkl"
    path.write_bytes(pickle.dumps(renamed))
    assert read_found(path).people[0].frames.tolist() == list(range(FRAMES))
    assert frame_number(next(iter(renamed))) == shift


def test_degrees_and_no_rotations_are_refused():
    with pytest.raises(ValueError, match="radians"):
        rotvec_of(np.full((2, 72), 90.0))
    with pytest.raises(ValueError, match="rotation matrices"):
        rotvec_of(np.full((2, 24, 3, 3), 0.5))
    with pytest.raises(ValueError, match="22 joints"):
        rotvec_of(np.zeros((2, 30)))


def test_numbers_as_text_and_missing_names_are_told(tmp_path, truth):
    content = pickle.loads(zlib.decompress(write_phalp(tmp_path, truth).read_bytes()))
    for frame in content.values():
        frame["tid"] = ["3.0", "8.0"]
    path = tmp_path / "text.pkl"
    path.write_bytes(pickle.dumps(content))
    assert len(read_found(path).people) == 1
    wham = pickle.loads(write_wham(tmp_path, truth).read_bytes())
    del wham[0]["betas"]
    path.write_bytes(pickle.dumps(wham))
    with pytest.raises(ValueError, match=r"text\.pkl: there is no 'betas'"):
        read_found(path)
    wham[0] |= {"betas": truth.betas, "trans": np.full((FRAMES, 3), np.nan)}
    path.write_bytes(pickle.dumps(wham))
    with pytest.raises(ValueError, match=r"text\.pkl: pelvis_m must be finite"):
        read_found(path)


def test_amass_motion_is_sent_where_it_belongs(tmp_path):
    path = tmp_path / "walk.npz"
    np.savez(path, poses=np.zeros((2, 156)), trans=np.zeros((2, 3)))
    with pytest.raises(ValueError, match="without a camera"):
        read_found(path)


class Danger:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return exec, (f"open({self.marker!r}, 'w').close()",)


@pytest.mark.parametrize("name", ["a.pkl", "z.pkl", "a.npz", "a.pt", "tram"])
def test_a_malicious_result_is_refused_before_it_acts(tmp_path, name):
    marker, path = tmp_path / "ran", tmp_path / name
    if name == "tram":
        (path / "hps").mkdir(parents=True)
        np.save(path / "camera.npy", {"world_cam_R": Danger(marker)}, allow_pickle=True)
    elif name == "a.npz":
        np.savez(path, results=np.array({"smpl_thetas": Danger(marker)}, dtype=object))
    elif name == "a.pt":
        torch.save({"smpl_params_incam": Danger(marker)}, path)
    else:
        data = pickle.dumps({0: {"pose": Danger(marker)}})
        path.write_bytes(zlib.compress(data) if name == "z.pkl" else data)
    with pytest.raises(ValueError, match="refused"):
        read_found(path)
    assert not marker.exists()


@pytest.mark.parametrize("cut", [0, 1, 50, 300])
def test_a_damaged_result_is_named(tmp_path, truth, cut):
    whole = write_wham(tmp_path, truth).read_bytes()
    path = tmp_path / "cut.pkl"
    path.write_bytes(whole[:cut])
    with pytest.raises(ValueError, match=r"cut\.pkl"):
        read_found(path)


def test_results_are_matched_to_footage_by_name(tmp_path, truth):
    (tmp_path / "runs" / "dance").mkdir(parents=True)
    (tmp_path / "runs" / "jump").mkdir()
    phalp = write_phalp(tmp_path / "runs", truth)
    wham = write_wham(tmp_path / "runs" / "dance", truth)
    tram = write_tram(tmp_path / "runs" / "jump", truth)
    place = tmp_path / "runs"
    results = find_results(place)
    assert set(results) == {phalp, wham, tram}
    assert result_for(results, place, "film/walk.mp4") == phalp
    assert result_for(results, place, "s3://x/dance.mov") == wham
    assert result_for(results, place, "jump.mp4") == tram
    assert result_for(results, place, "other.mp4") is None
    before = digest_of(results)
    wham.write_bytes(wham.read_bytes() + b" ")
    assert digest_of(results) != before
    with pytest.raises(ValueError, match="all about runs"):
        result_for(results, place, "runs.mp4")
