"""Imported bodies stand where the clip shows them, in an upright metric world."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from models.body.model import BodyModel
from pipelines.annotate.importers.amass import write_amass
from pipelines.annotate.importers.found import FoundBodies, FoundPerson
from pipelines.annotate.importers.place import place_bodies, source_frames
from pipelines.annotate.people import PersonTrack
from pipelines.evaluate_labels import joints_in_camera
from pipelines.run import Rejected
from pipelines.synthetic.amass import read_amass
from storage_schemas.camera import CameraTrack
from storage_schemas.clip import ClipRecord
from storage_schemas.conventions import SMPL_JOINTS

HEIGHT, WIDTH, FRAMES, FOCAL = 480, 640, 8, 700.0
LANDMARK = {11: "left_shoulder", 12: "right_shoulder", 23: "left_hip", 24: "right_hip",
            25: "left_knee", 26: "right_knee"}  # fmt: skip


@pytest.fixture(scope="module")
def body():
    return BodyModel.load()


def person(x_m, frames=FRAMES, z_m=4.0):
    """Upright before the camera, walking towards it."""
    rotvec = np.zeros((frames, 24, 3))
    rotvec[:, 0, 0] = np.pi  # SMPL's y is up, the camera's is down
    rotvec[:, 16, 2] = -1.2
    place = np.column_stack([np.full(frames, x_m), np.zeros(frames), z_m - 0.1 * np.arange(frames)])
    return FoundPerson(frames=np.arange(frames), rotvec=rotvec, pelvis_m=place, betas=np.ones(10))


def part(p, frames):
    return replace(p, frames=p.frames[frames], rotvec=p.rotvec[frames], pelvis_m=p.pelvis_m[frames])


def camera(kind="static", T=None, focal=FOCAL):
    K = np.array([[focal, 0, WIDTH / 2], [0, focal, HEIGHT / 2], [0, 0, 1]])
    T = np.tile(np.eye(4), (FRAMES, 1, 1)) if T is None else T
    return CameraTrack(
        K=np.tile(K, (FRAMES, 1, 1)), T_camera_world=T, kind=kind, is_metric=False, source="test"
    )


def clip(**facts):
    return ClipRecord(
        clip_id="0" * 32, source="real", uri="walk.mp4", source_sha256="0" * 64, licence="CC0-1.0",
        start_ns=0, end_ns=FRAMES * 10**8, fps=10.0, num_frames=FRAMES, width=WIDTH, height=HEIGHT,
        timestamps_ns=np.arange(FRAMES) * 10**8,
        provenance={"ingest": {"source_fps": 10.0, "source_size_px": [HEIGHT, WIDTH], **facts}},
    )  # fmt: skip


def found(*people, focal_px=FOCAL, path=None):
    return FoundBodies(
        tracker="X", people=people, focal=focal_px / WIDTH, focal_side="longer",
        T_camera_world=path or {},
    )  # fmt: skip


def joints(found_person, body):
    flat = found_person.rotvec.reshape(-1, 72)
    args = (np.zeros((1, 10)), flat[:, :3], flat[:, 3:], np.zeros((len(flat), 3)))
    posed = body.subset(torch.arange(1)).pose(*(torch.tensor(a).float() for a in args))
    points = posed.joints.double().numpy()
    return points - points[:, :1] + found_person.pelvis_m[:, None]


def track_of(found_person, body, person_id, K, visible=True):
    points = np.einsum("ij,tnj->tni", K, joints(found_person, body))
    pixels = points[..., :2] / points[..., 2:]
    keypoints = np.zeros((FRAMES, 33, 2), np.float32)
    for landmark, name in LANDMARK.items():
        keypoints[:, landmark] = pixels[:, SMPL_JOINTS.index(name)]
    shown = np.full(FRAMES, visible)
    return PersonTrack(
        person_id=person_id, visible=shown, keypoints_px=keypoints,
        box_px=np.zeros((FRAMES, 4), np.float32), roi=np.zeros((FRAMES, 4), np.float32),
        keypoint_confidence=np.ones((FRAMES, 33), np.float32),
        world_keypoints_m=np.zeros((FRAMES, 33, 3), np.float32),
        mask_roi=np.zeros((FRAMES, 256, 256), np.uint8),
    )  # fmt: skip


@pytest.fixture(scope="module")
def two(body):
    left, right = person(-0.8), person(0.8)
    K = camera().K[0]
    return (left, right), (track_of(left, body, 5, K), track_of(right, body, 2, K))


def test_bodies_stand_where_the_tracker_saw_them_in_the_order_of_the_masks(body, two):
    (left, right), tracks = two
    fit = place_bodies(found(right, left), tracks, camera(), clip(), body)
    assert fit.bodies.person_id.tolist() == [5, 2]
    assert fit.bodies.visible.all()
    seen = joints_in_camera(fit.bodies, fit.camera, body)
    for mine, true in zip(seen, (left, right), strict=True):
        np.testing.assert_allclose(mine, joints(true, body), atol=1e-4)
    np.testing.assert_allclose(
        fit.bodies.joints_px[0, :, SMPL_JOINTS.index("left_knee")], tracks[0].keypoints_px[:, 25],
        atol=0.01,
    )  # fmt: skip


def test_the_world_is_upright_metric_and_people_stand_on_its_floor(body, two):
    people, tracks = two
    fit = place_bodies(found(*people), tracks, camera(), clip(), body)
    pose = (
        fit.bodies.betas[:, None],
        fit.bodies.global_orient,
        fit.bodies.body_pose,
        fit.bodies.transl,
    )
    world = body.subset(torch.arange(1)).pose(*(torch.tensor(a) for a in pose)).joints.numpy()
    assert fit.camera.is_metric
    assert (world[:, :, SMPL_JOINTS.index("head"), 1] > 1.2).all()
    feet = world[:, :, [SMPL_JOINTS.index("left_foot"), SMPL_JOINTS.index("right_foot")], 1]
    assert 0 < feet.min() < 0.06
    centre = -fit.camera.T_camera_world[0, :3, :3].T @ fit.camera.T_camera_world[0, :3, 3]
    assert 0.5 < centre[1] < 1.5  # the pelvis was at the height of the camera


@pytest.mark.parametrize("up", ["y", "-y", "z"])
def test_any_world_of_a_tracker_becomes_ours(body, two, up):
    """A moving camera whose path the tracker knows in a world of its own axes."""
    people, tracks = two
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    T[:, 0, 3] = np.linspace(0, 1, FRAMES)
    to_y_up = {
        "y": np.diag([1.0, -1, -1]),
        "-y": np.eye(3),
        "z": Rotation.from_euler("x", 90, degrees=True).as_matrix(),
    }[up]
    turn = np.eye(4)
    turn[:3, :3] = to_y_up
    path = {t: T[t] @ turn for t in range(FRAMES)}
    fit = place_bodies(found(*people, path=path), tracks, camera("moving"), clip(), body)
    assert fit.camera.kind == "moving"
    assert fit.camera.source.startswith("X: path")
    np.testing.assert_allclose(fit.camera.T_camera_world[:, 1, 1], -1, atol=1e-9)
    centres = -np.einsum(
        "tji,tj->ti", fit.camera.T_camera_world[:, :3, :3], fit.camera.T_camera_world[:, :3, 3]
    )
    assert np.linalg.norm(centres[-1] - centres[0]) == pytest.approx(1, abs=1e-9)
    seen = joints_in_camera(fit.bodies, fit.camera, body)
    np.testing.assert_allclose(seen[0], joints(people[0], body), atol=1e-4)


def test_a_tele_lens_of_the_tracker_becomes_the_clips_own(body, two):
    """PHALP sees through 3 degrees from tens of metres: the picture stays, the depth shrinks."""
    (left, right), tracks = two
    factor = 20.0

    def far(p):
        return replace(p, pelvis_m=p.pelvis_m * [1, 1, factor])

    tele = found(far(left), far(right), focal_px=FOCAL * factor)
    fit = place_bodies(tele, tracks, camera(), clip(), body)
    seen = joints_in_camera(fit.bodies, fit.camera, body)
    np.testing.assert_allclose(seen[0], joints(left, body), atol=1e-4)
    np.testing.assert_allclose(fit.camera.K, camera().K)


def test_a_clip_cut_out_of_the_footage_keeps_the_lens_on_the_footages_centre(body, two):
    """The footage is 1280 x 1440; the clip shows a 1280 x 960 part of it at half the size."""
    people, _ = two
    K = camera().K[0].copy()
    K[1, 2] = (720 - 300) / 2
    tracks = [track_of(p, body, i, K) for i, p in enumerate(people)]
    facts = {"source_size_px": [1440, 1280], "crop_px": [300, 0, 960, 1280]}
    tracker = FoundBodies(
        tracker="X", people=people, focal=2 * FOCAL / 1440, focal_side="longer",
        T_camera_world={t: np.eye(4) for t in range(FRAMES)},
    )  # fmt: skip
    fit = place_bodies(tracker, tracks, camera("moving"), clip(**facts), body)
    np.testing.assert_allclose(fit.camera.K[0], K)
    np.testing.assert_allclose(
        fit.bodies.joints_px[0, :, SMPL_JOINTS.index("left_hip")], tracks[0].keypoints_px[:, 23],
        atol=0.01,
    )  # fmt: skip


def test_frames_without_evidence_are_marked(body, two):
    (left, right), tracks = two
    half = FoundPerson(
        frames=left.frames[2:5],
        rotvec=left.rotvec[2:5],
        pelvis_m=left.pelvis_m[2:5],
        betas=left.betas,
    )
    fit = place_bodies(found(half, right), tracks, camera(), clip(), body)
    assert fit.bodies.visible[0].tolist() == [False, False, True, True, True, False, False, False]
    assert (fit.bodies.confidence[0] == fit.bodies.visible[0]).all()
    alone = place_bodies(found(right), tracks, camera(), clip(), body).bodies
    assert not alone.visible[0].any()
    assert alone.visible[1].all()


def test_clip_frames_are_counted_in_the_footage():
    later = clip(source_fps=30.0)
    assert source_frames(later).tolist() == [0, 3, 6, 9, 12, 15, 18, 21]


def test_people_of_another_film_are_rejected(body, two):
    _, tracks = two
    with pytest.raises(Rejected, match="bodies_elsewhere"):
        place_bodies(found(person(5.0, z_m=4)), tracks, camera(), clip(), body)


def test_the_scale_of_our_own_path_is_the_one_that_keeps_feet_still(body):
    """A person stands; the camera passes by 1.4 m, which its own path calls 0.2."""
    T_true = np.tile(np.eye(4), (FRAMES, 1, 1))
    T_true[:, 0, 3] = np.linspace(0.7, -0.7, FRAMES)
    still = person(0.0)
    pelvis = np.tile([0.0, 0.0, 4.0], (FRAMES, 1)) + T_true[:, :3, 3]
    walker = FoundPerson(
        frames=still.frames, rotvec=still.rotvec, pelvis_m=pelvis, betas=still.betas
    )
    T = T_true.copy()
    T[:, :3, 3] /= 7
    track = track_of(walker, body, 0, camera().K[0])
    fit = place_bodies(found(walker), [track], camera("moving", T), clip(), body)
    assert np.ptp(fit.bodies.transl[0], axis=0).max() < 1e-3


@pytest.mark.parametrize("first", [0, 2])
def test_amass_round_trip(tmp_path, body, two, first):
    people, tracks = two
    late = part(people[0], slice(first, None))
    bodies = place_bodies(found(late), tracks[:1], camera(), clip(), body).bodies
    write_amass(tmp_path / "a.npz", bodies, 0, 25.0)
    again = read_amass(tmp_path / "a.npz")
    assert again.fps == 25.0
    assert again.num_frames == FRAMES - first
    np.testing.assert_allclose(again.transl, bodies.transl[0, first:], atol=1e-6)
    mine = Rotation.from_rotvec(again.rotvec[:, 0])
    true = Rotation.from_rotvec(bodies.global_orient[0, first:])
    assert (mine.inv() * true).magnitude().max() < 1e-5
    np.testing.assert_allclose(
        again.rotvec[:, 1:22].reshape(-1, 63), bodies.body_pose[0, first:, :63], atol=1e-6
    )
