"""Laws of people tracking, on an imagined detector and on real photographs."""

import cv2
import numpy as np
import pytest

from pipelines.annotate.backends.observation import MASK_SIZE, Observation, Roi
from pipelines.annotate.identity import link, settle_crossings
from pipelines.annotate.people import (
    detect_people,
    detect_people_with_report,
    people_from_npz,
    people_to_npz,
    track_people,
)
from pipelines.annotate.tracking import TrackingSettings, Tracklet

HEIGHT, WIDTH, SIZE = 240, 640, 200.0
COLOURS = ((200, 30, 30), (30, 60, 220))
# upright figure in window coordinates, rows as in MediaPipe's list: 0 nose, 11.. arms, 23.. legs
FIGURE = np.full((33, 2), (0.5, 0.2))
FIGURE[11:23] = [(0.45, 0.3), (0.55, 0.3)] + [(0.42, 0.4), (0.58, 0.4)] * 5
FIGURE[23:33] = [(0.47, 0.5), (0.53, 0.5), (0.47, 0.65), (0.53, 0.65)] + [
    (0.46, 0.8),
    (0.54, 0.8),
] * 3


def figure_mask() -> np.ndarray:
    mask = np.zeros((MASK_SIZE, MASK_SIZE), np.uint8)
    mask[
        int(0.15 * MASK_SIZE) : int(0.85 * MASK_SIZE), int(0.4 * MASK_SIZE) : int(0.6 * MASK_SIZE)
    ] = 255
    return mask


class ImaginedDetector:
    """Sees flat coloured figures by colour; of two figures that meet only the nearer one."""

    def __init__(self, frames, centres, hidden=()):
        self.frames, self.centres, self.hidden = frames, centres, set(hidden)

    def _time(self, frame):
        return next(
            t
            for t, other in enumerate(self.frames)
            if other is frame or np.shares_memory(other, frame)
        )

    def _seen(self, t):
        shown = [
            (p, x)
            for p, x in enumerate(self.centres[:, t])
            if np.isfinite(x) and (p, t) not in self.hidden
        ]
        return [
            (p, x)
            for p, x in shown
            if not any(q < p and abs(y - x) < 0.12 * SIZE for q, y in shown)
        ]

    def propose(self, frame, scales, near):
        return [Roi(x_px=x, y_px=120.0, size_px=SIZE) for _, x in self._seen(self._time(frame))]

    def follow(self, frame, roi):
        seen = self._seen(self._time(frame))
        if not seen:
            return None
        person, x = min(seen, key=lambda s: abs(s[1] - roi.x_px))
        if abs(x - roi.x_px) > 0.3 * SIZE:
            return None
        true = Roi(x_px=float(x), y_px=120.0, size_px=SIZE)
        return Observation(
            keypoints_px=(FIGURE - 0.5) * SIZE + [x, 120.0],
            keypoint_confidence=np.full(33, 0.9),
            world_keypoints_m=np.zeros((33, 3)) + person,
            mask=figure_mask(),
            roi=true,
            next_roi=true,
        )


def film(centres):
    frames = np.full((centres.shape[1], HEIGHT, WIDTH, 3), 128, np.uint8)
    for t in range(len(frames)):
        for person in reversed(range(len(centres))):
            if np.isfinite(centres[person, t]):
                left = int(centres[person, t] - 0.1 * SIZE)
                frames[t, 50:190, max(left, 0) : left + int(0.2 * SIZE)] = COLOURS[person]
    return frames


def follow(centres, hidden=()):
    frames = film(centres)
    return track_people(frames, 25.0, ImaginedDetector(frames, centres, hidden), TrackingSettings())


def test_two_people_who_cross_keep_their_identities():
    time = np.linspace(0, 1, 60)
    centres = np.stack([120 + 400 * time, 520 - 400 * time])
    tracks, counts = follow(centres)
    assert [t.person_id for t in tracks] == [0, 1]
    assert counts["kept"] == 2
    for track, truth in zip(
        sorted(tracks, key=lambda t: t.keypoints_px[0, 23, 0]), centres, strict=True
    ):
        hips = track.keypoints_px[:, [23, 24], 0].mean(axis=1)
        np.testing.assert_allclose(hips[track.visible], truth[track.visible], atol=1e-3)
        assert track.visible.mean() > 0.85


def run_of(start, hips_px, facing=1, colour=0):
    """A tracklet at given hip positions; `facing` -1 mirrors left and right, as from behind."""
    figure = (FIGURE - 0.5) * [facing, 1] * SIZE
    look = np.zeros((3, 144))
    look[:, colour] = 1
    observations = []
    for x in hips_px:
        roi = Roi(x_px=float(x), y_px=120.0, size_px=SIZE)
        observations.append(
            Observation(
                keypoints_px=figure + np.array([x, 120.0]),
                keypoint_confidence=np.full(33, 0.9),
                world_keypoints_m=np.zeros((33, 3)),
                mask=figure_mask(),
                roi=roi,
                next_roi=roi,
            )
        )
    return Tracklet(start, observations, [look] * len(observations), searches=10, hits=10)


def frames_of(chains):
    return sorted([(run.start, run.end) for run in chain] for chain in chains)


def test_follower_that_slid_to_another_person_is_cut_where_it_jumped():
    # a stands, b walks in front of a; a's window slides to b at frame 16; c is a again
    a = np.concatenate([np.full(16, 90.0), np.full(14, 110.0), 110 + 2.0 * np.arange(30)])
    stander_and_walker = run_of(0, a)
    mirrored = run_of(0, a, facing=-1).observations
    stander_and_walker.observations[16:] = mirrored[16:]
    walker = run_of(0, 300 - 12.0 * np.arange(14), facing=-1)
    stander_again = run_of(38, np.full(22, 88.0))
    runs = [stander_and_walker, walker, stander_again]
    chains = settle_crossings(runs, 25.0, TrackingSettings())
    assert frames_of(chains) == [[(0, 14), (16, 60)], [(0, 16), (38, 60)]]
    assert frames_of(link(runs, 25.0, TrackingSettings())) == frames_of(chains)
    assert (stander_and_walker.start, stander_and_walker.end) == (0, 60)


@pytest.mark.parametrize("colour", [0, 7])
def test_people_who_pass_each_other_stay_who_they_are(colour):
    time = np.arange(60)
    near = run_of(0, 100 + 4.0 * time)
    far = 340 - 4.0 * time
    runs = [near, run_of(0, far[:27], colour=colour), run_of(34, far[34:], colour=colour)]
    chains = link(runs, 25.0, TrackingSettings())
    assert frames_of(chains) == [[(0, 27), (34, 60)], [(0, 60)]]


def test_colour_finds_a_swap_that_motion_does_not():
    still = np.full(30, 100.0)
    a = run_of(0, np.concatenate([still, still + 6]))
    a.appearances[30:] = run_of(0, still, colour=7).appearances
    runs = [a, run_of(5, np.full(22, 106.0), colour=7), run_of(40, np.full(20, 103.0))]
    chains = settle_crossings(runs, 25.0, TrackingSettings())
    assert frames_of(chains) == [[(0, 30), (40, 60)], [(5, 27), (30, 60)]]


def test_ends_and_starts_are_assigned_together():
    # b2 lies nearest to the end of a, but then b would have no continuation
    a, b = run_of(0, np.full(20, 100.0)), run_of(0, np.full(20, 190.0))
    a2, b2 = run_of(24, np.full(20, 42.0)), run_of(24, np.full(20, 140.0))
    chains = link([a, b, a2, b2], 25.0, TrackingSettings())
    first = next(chain for chain in chains if chain[0].observations[0] is a.observations[0])
    assert first[-1].observations[0] is a2.observations[0]
    assert len(chains) == 2


def test_person_who_leaves_and_comes_back_is_the_same_and_invisible_between():
    centres = np.full((1, 110), np.nan)
    centres[0, :30] = np.linspace(300, 400, 30)
    centres[0, 80:] = np.linspace(200, 300, 30)
    tracks, _ = follow(centres)
    assert len(tracks) == 1
    np.testing.assert_array_equal(tracks[0].visible, np.isfinite(centres[0]))
    assert (tracks[0].keypoint_confidence[~tracks[0].visible] == 0).all()
    assert np.isfinite(tracks[0].keypoints_px).all()


def test_another_person_in_the_same_place_later_gets_another_identity():
    centres = np.full((2, 110), np.nan)
    centres[0, :40] = 300
    centres[1, 70:] = 300
    tracks, _ = follow(centres)
    assert [t.visible.sum() for t in tracks] == [40, 40]


def test_glimpse_is_dropped_and_counted():
    centres = np.full((1, 60), np.nan)
    centres[0, 15:18] = 300  # the detector is asked at frame 16
    tracks, counts = follow(centres)
    assert not tracks
    assert counts["short"] == 1


def test_people_survive_the_npz_and_equal_tracks_give_equal_bytes():
    tracks, _ = follow(np.stack([np.full(12, 150.0), np.full(12, 450.0)]))
    data = people_to_npz(tracks)
    again = people_from_npz(data)
    assert [t.person_id for t in again] == [0, 1]
    np.testing.assert_array_equal(again[1].mask_roi, tracks[1].mask_roi)
    assert people_to_npz(again) == data
    assert people_from_npz(people_to_npz([])) == []


def test_mask_lies_on_the_person():
    tracks, _ = follow(np.full((1, 12), 300.0))
    rows, columns = np.nonzero(tracks[0].mask(0, HEIGHT, WIDTH) > 127)
    assert abs(columns.mean() + 0.5 - 300) < 1.0
    assert abs(rows.mean() + 0.5 - 120) < 1.0


def test_unknown_backend_and_bad_rate_are_refused():
    frames = np.zeros((1, 32, 32, 3), np.uint8)
    with pytest.raises(ValueError, match="backend"):
        detect_people(frames, 25.0, backend="nothing")
    with pytest.raises(ValueError, match="fps"):
        detect_people(frames, 0.0)


def test_noise_holds_nobody():
    frames = np.random.default_rng(0).integers(0, 256, (8, 96, 128, 3), dtype=np.uint8)
    assert detect_people(frames, 25.0) == []


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("nobody_cat.png", 0),
        ("astronaut_portrait.png", 1),
        ("coco_skier.jpg", 1),
        ("fullbody_woman_white.png", 1),
        ("curie_couple_upright.jpg", 2),
    ],
)
def test_photographs_hold_as_many_people_as_one_sees(shared_data, name, count):
    image = cv2.cvtColor(cv2.imread(str(shared_data / "images" / name)), cv2.COLOR_BGR2RGB)
    tracks, _ = detect_people_with_report(image[None], 25.0)
    assert len(tracks) == count
