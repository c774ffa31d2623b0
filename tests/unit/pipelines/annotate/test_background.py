"""The plate shows what was seen, and owns up to what was not."""

import cv2
import numpy as np
from scipy.spatial.transform import Rotation

from pipelines.annotate.background import build_background, inpaint
from storage_schemas.camera import CameraTrack
from storage_schemas.mask import MaskTrack

HEIGHT, WIDTH, FRAMES = 90, 120, 24


def camera(kind, R=None):
    T = np.tile(np.eye(4), (FRAMES, 1, 1))
    if R is not None:
        T[:, :3, :3] = R
    K = np.tile(np.array([[120.0, 0, WIDTH / 2], [0, 120, HEIGHT / 2], [0, 0, 1]]), (FRAMES, 1, 1))
    return CameraTrack(K=K, T_camera_world=T, kind=kind, is_metric=True, source="test")


def wall(height=HEIGHT, width=WIDTH):
    coarse = np.random.default_rng(0).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def walker(frames, step):
    instance = np.zeros(frames.shape[:3], np.uint8)
    for t in range(len(frames)):
        left = 10 + step * t
        frames[t, 30:70, left : left + 16] = (255, 0, 255)
        instance[t, 30:70, left : left + 16] = 1
    return MaskTrack(instance=instance)


def test_static_plate_is_exact_where_seen():
    frames = np.repeat(wall()[None], FRAMES, axis=0)
    masks = walker(frames, step=3)
    plates, valid = build_background(frames, masks, camera("static"))
    assert valid.valid.all()
    np.testing.assert_array_equal(plates, np.repeat(wall()[None], FRAMES, axis=0))


def test_what_nobody_saw_is_invalid_and_holds_no_person():
    frames = np.repeat(wall()[None], FRAMES, axis=0)
    masks = walker(frames, step=0)
    plates, valid = build_background(frames, masks, camera("static"))
    assert not valid.valid[:, 30:70, 10:26].any()
    np.testing.assert_array_equal(plates[valid.valid], frames[valid.valid])
    assert np.abs(plates[0, 40:60, 14:22].astype(int) - (255, 0, 255)).sum(axis=-1).min() > 60


def test_turning_camera_fills_holes_from_other_frames():
    angles = np.radians(np.linspace(0, 8, FRAMES))
    R = Rotation.from_rotvec(np.stack([0 * angles, -angles, 0 * angles], axis=1)).as_matrix()
    track = camera("rotation", R)
    big, offset = (
        wall(3 * HEIGHT, 3 * WIDTH),
        np.array([[1, 0, -WIDTH], [0, 1, -HEIGHT], [0, 0, 1]]),
    )
    half = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])
    truth = np.stack(
        [
            cv2.warpPerspective(
                big,
                np.linalg.inv(half) @ K @ r @ np.linalg.inv(K) @ offset @ half,
                (WIDTH, HEIGHT),
            )
            for K, r in zip(track.K, R, strict=True)
        ]
    )
    frames = truth.copy()
    masks = walker(frames, step=3)
    plates, valid = build_background(frames, masks, track)
    filled = valid.valid & (masks.instance > 0)
    assert filled.sum() > 0.9 * (masks.instance > 0).sum()
    assert np.abs(plates[filled].astype(int) - truth[filled]).mean() < 6


def test_picture_alignment_serves_when_the_camera_is_unknown():
    frames = np.repeat(wall()[None], FRAMES, axis=0)
    truth = frames.copy()
    masks = walker(frames, step=3)
    plates, valid = build_background(frames, masks, camera("unknown"))
    filled = valid.valid & (masks.instance > 0)
    assert filled.sum() > 0.9 * (masks.instance > 0).sum()
    assert np.abs(plates[filled].astype(int) - truth[filled]).mean() < 6


def test_without_people_the_plate_is_the_clip():
    frames = np.repeat(wall()[None], FRAMES, axis=0)
    masks = MaskTrack(instance=np.zeros(frames.shape[:3], np.uint8))
    plates, valid = build_background(frames, masks, camera("moving"))
    np.testing.assert_array_equal(plates, frames)
    assert valid.valid.all()


def test_inpainting_touches_holes_only():
    picture, holes = wall(), np.zeros((HEIGHT, WIDTH), bool)
    holes[20:40, 20:60] = True
    np.testing.assert_array_equal(inpaint(picture, holes)[~holes], picture[~holes])
