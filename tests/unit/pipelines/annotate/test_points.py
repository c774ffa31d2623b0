"""Background points stay on the background."""

import cv2
import numpy as np

from pipelines.annotate.points import track_points


def wall(height, width):
    coarse = np.random.default_rng(0).integers(0, 256, (height // 6, width // 6, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def test_points_follow_a_shift():
    big = wall(160, 260)
    frames = np.stack([big[20:140, 3 * t : 3 * t + 180] for t in range(16)])
    points = track_points(frames, np.zeros(frames.shape[:3], bool))
    assert 5 <= len(points.xy_px) <= 32
    for xy, seen in zip(points.xy_px, points.visible, strict=True):
        t = np.flatnonzero(seen)
        moved = xy[t] - xy[t[0]]
        np.testing.assert_allclose(moved[:, 0], -3.0 * (t - t[0]), atol=1.0)
        np.testing.assert_allclose(moved[:, 1], 0, atol=1.0)


def test_no_visible_point_lies_on_a_person():
    frames = np.repeat(wall(120, 180)[None], 16, axis=0)
    people = np.zeros(frames.shape[:3], bool)
    for t in range(16):
        people[t, 20:100, 8 * t : 8 * t + 40] = True
        frames[t][people[t]] = np.random.default_rng(t).integers(0, 255, (people[t].sum(), 3))
    points = track_points(frames, people)
    for xy, seen in zip(points.xy_px, points.visible, strict=True):
        for t in np.flatnonzero(seen):
            x, y = np.clip(xy[t].astype(int), 0, [179, 119])
            assert not people[t, y, x]
    assert len(points.xy_px) >= 5


def test_plain_wall_gives_no_points():
    frames = np.full((4, 64, 64, 3), 90, np.uint8)
    points = track_points(frames, np.zeros(frames.shape[:3], bool))
    assert points.xy_px.shape == (0, 4, 2)
