"""Cameras keep people in the frame, and every move does what its name says and nothing else."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from models.geometry import project
from pipelines.synthetic.camera_path import (
    LOWEST_EYE_M,
    MOVES,
    CameraSpec,
    Move,
    OutOfFrame,
    camera_centres,
    camera_path,
    path_kind,
)
from pipelines.synthetic.camera_program import CAMERA_KINDS, named_camera, sample_camera
from storage_schemas.camera import CameraTrack

SPEC = CameraSpec(fov_deg=40.0, azimuth_deg=30.0, elevation_deg=8.0, fill=0.9)
FPS = 24.0
FRAMES = 48


def person(frames=FRAMES, fps=FPS, way_m_s=(0.0, 0.0)):
    """Points on a standing or gliding figure of 1.7 m, symmetric about its own middle plane."""
    rng = np.random.default_rng(0)
    points = rng.uniform((-0.3, 0.0, -0.15), (0.3, 1.7, 0.15), (30, 3))
    points[0], points[1] = (-0.3, 0.0, -0.15), (0.3, 1.7, 0.15)
    points = np.concatenate([points, points * [-1.0, 1.0, 1.0]])
    time_s = (np.arange(frames) / fps - 1.0)[:, None, None]
    return points + time_s * np.array([way_m_s[0], 0.0, way_m_s[1]])


def film(spec, points=None, width=160, height=120, fps=FPS) -> CameraTrack:
    return camera_path(spec, person() if points is None else points, width, height, fps)


def seen(track, points):
    xy_px, depth_m = project(
        torch.as_tensor(points), torch.tensor(track.K), torch.tensor(track.T_camera_world)
    )
    return xy_px.numpy(), depth_m.numpy()


def with_moves(*moves, **changes):
    return replace(SPEC, moves=tuple(Move(kind=k, amount=float(a)) for k, a in moves), **changes)


def heading_deg(track):
    z = track.T_camera_world[:, 2, :3]
    return np.degrees(np.unwrap(np.arctan2(z[:, 0], z[:, 2])))


@pytest.mark.parametrize("kind", CAMERA_KINDS)
@pytest.mark.parametrize("aspect", [(160, 120), (90, 160)])
def test_people_stay_within_the_fill_and_reach_it(kind, aspect):
    width, height = aspect
    for seed in range(5):
        rng = np.random.default_rng(seed)
        spec = sample_camera(
            rng, (kind,), fills=seed % 2 == 0, duration_s=2.0, aspect=width / height
        )
        points = person(way_m_s=tuple(rng.uniform(-1, 1, 2)))
        track = film(spec, points, width, height)
        xy_px, depth_m = seen(track, points)
        share = np.abs(xy_px / np.array([width / 2, height / 2]) - 1.0).max()
        assert spec.fill - 0.01 < share <= spec.fill + 1e-9
        assert depth_m.min() > 0.2
        assert camera_centres(track.T_camera_world)[:, 1].min() > 0.5 * LOWEST_EYE_M
        rows = track.T_camera_world[:, 1, 1]
        assert rows.max() < 0, "upright: the y axis of the camera points down"


def test_a_resting_camera_is_constant_to_the_last_bit():
    track = film(SPEC, person(way_m_s=(0.7, 0.2)))
    assert track.kind == "static"
    assert np.ptp(track.K, axis=0).max() == 0
    assert np.ptp(track.T_camera_world, axis=0).max() == 0


@pytest.mark.parametrize("kind", ["pan", "tilt", "zoom"])
def test_pan_tilt_and_zoom_leave_the_centre_in_place(kind):
    amount = 0.6 if kind == "zoom" else 8.0
    track = film(with_moves((kind, amount)))
    assert np.ptp(camera_centres(track.T_camera_world), axis=0).max() < 1e-9
    assert track.kind == "rotation"
    rests = np.ptp(track.T_camera_world, axis=0).max() < 1e-12
    assert rests == (kind == "zoom")
    assert (np.ptp(track.K, axis=0).max() == 0) == (kind != "zoom")


def test_signs_are_those_of_the_cameras_own_left_and_right():
    point = np.array([[[0.0, 1.0, 0.0]]])
    points = np.repeat(point, FRAMES, axis=0)
    for kind, axis, sign in (("pan", 0, -1), ("tilt", 1, 1), ("truck", 0, -1)):
        xy_px, _ = seen(film(with_moves((kind, 6.0 if kind != "truck" else 1.0)), points), points)
        way = xy_px[-1, 0] - xy_px[0, 0]
        assert np.argmax(np.abs(way)) == axis, kind
        assert np.sign(way[axis]) == sign, f"{kind} moves what it sees the other way"
    right = film(with_moves(("orbit", 30.0)))
    start = camera_centres(right.T_camera_world)[0]
    way = right.T_camera_world[0, :3, :3] @ (camera_centres(right.T_camera_world)[-1] - start)
    assert way[0] > 0
    up = camera_centres(film(with_moves(("crane", 1.0))).T_camera_world)
    assert up[-1, 1] > up[0, 1] + 0.8
    zoomed = film(with_moves(("zoom", 0.5)))
    assert zoomed.K[-1, 0, 0] > zoomed.K[0, 0, 0]
    nearer = seen(film(with_moves(("dolly", 0.5))), person())[1].mean(1)
    assert nearer[-1] < nearer[0]


def test_an_orbit_keeps_its_distance_and_its_aim():
    points = person()
    track = film(with_moves(("orbit", 80.0)), points)
    middle = np.array([0.0, 0.85, 0.0])
    distance = np.linalg.norm(camera_centres(track.T_camera_world) - middle, axis=1)
    assert np.ptp(distance) < 1e-9
    xy_px, _ = seen(track, np.repeat(middle[None, None], FRAMES, axis=0))
    np.testing.assert_allclose(xy_px[:, 0], np.tile([80.0, 60.0], (FRAMES, 1)), atol=1e-6)
    assert track.kind == "moving"


@pytest.mark.parametrize("octaves", [0.9, -0.9])
def test_a_dolly_zoom_keeps_the_figure_and_changes_the_rest(octaves):
    points = person()
    track = film(with_moves(("dolly", octaves), ("zoom", -octaves)), points)
    xy_px, depth_m = seen(track, points)
    height_px = np.ptp(xy_px[..., 1], axis=1)
    assert np.ptp(height_px) / 2 < 0.03 * height_px.mean()
    assert depth_m.mean(1).max() > 1.6 * depth_m.mean(1).min()


def test_following_cameras_move_with_the_person():
    points = person(way_m_s=(1.2, 0.4))
    place = points.mean(1)
    resting, turning, travelling = (
        film(replace(SPEC, follow=follow), points) for follow in ("none", "turn", "travel")
    )
    assert (resting.kind, turning.kind, travelling.kind) == ("static", "rotation", "moving")
    away = camera_centres(travelling.T_camera_world) - place
    assert np.ptp(away, axis=0).max() < 0.01
    spread = [np.ptp(seen(t, place[:, None])[0][:, 0, 0]) for t in (resting, turning, travelling)]
    assert max(spread[1:]) < 0.3 * spread[0]


def test_shake_is_bounded_smooth_and_zero_in_the_mean():
    for seed in range(8):
        shaken = film(replace(SPEC, shake_deg=0.5, shake_seed=seed), person(240), fps=FPS)
        turn_deg = heading_deg(shaken) - SPEC.azimuth_deg
        turn_deg -= 360.0 * np.round(turn_deg / 360.0) + 180.0
        turn_deg -= 360.0 * np.round(turn_deg / 360.0)
        assert abs(turn_deg.mean()) < 0.05
        assert 0.2 < turn_deg.std() < 0.8
        assert np.abs(turn_deg).max() < 0.5 * np.sqrt(2 * 7) + 0.2
        # six hertz at 24 frames per second: neighbours agree
        assert np.abs(np.diff(turn_deg)).max() < 2 * np.pi * 6.0 / FPS * 0.5 * np.sqrt(2 * 7)
        assert np.corrcoef(turn_deg[1:], turn_deg[:-1])[0, 1] > 0.7
        centres = camera_centres(shaken.T_camera_world)
        assert 0.001 < centres.std(0).max() < 0.03


def test_a_mirrored_program_gives_the_mirrored_path():
    for seed in range(10):
        rng = np.random.default_rng(seed)
        spec = sample_camera(rng, ("blend",), fills=True, duration_s=2.0, aspect=1.0)
        spec = replace(spec, shake_deg=0.0)
        sideways = ("pan", "truck", "orbit")
        mirrored = replace(
            spec,
            azimuth_deg=-spec.azimuth_deg,
            moves=tuple(
                replace(m, amount=-m.amount if m.kind in sideways else m.amount) for m in spec.moves
            ),
        )
        flip = np.diag([-1.0, 1.0, 1.0])
        points = person(way_m_s=(0.5, 0.3))
        there, here = (
            film(mirrored, points @ flip).T_camera_world,
            film(spec, points).T_camera_world,
        )
        np.testing.assert_allclose(there[:, :3, :3], flip @ here[:, :3, :3] @ flip, atol=1e-9)
        np.testing.assert_allclose(there[:, :3, 3], here[:, :3, 3] @ flip, atol=1e-9)


@pytest.mark.parametrize("kind", CAMERA_KINDS)
def test_a_path_is_a_function_of_time(kind):
    spec = named_camera(kind, fov_deg=40.0, azimuth_deg=10.0, elevation_deg=5.0, fill=0.9)
    once = film(spec)
    twice = film(spec, person(2 * FRAMES, 2 * FPS), fps=2 * FPS)
    # the distance is fitted to the frames there are, and frames in between may ask for more of it
    tolerance = {"hand_held": 0.05, "dolly": 0.02, "blend": 0.02}.get(kind, 0.002)
    np.testing.assert_allclose(twice.T_camera_world[::2], once.T_camera_world, atol=tolerance)
    np.testing.assert_allclose(twice.K[::2], once.K)


def test_named_cameras_do_what_they_are_named_after():
    kinds = {}
    for kind in CAMERA_KINDS:
        spec = named_camera(kind, fov_deg=40.0, azimuth_deg=0.0, elevation_deg=5.0, fill=0.9)
        kinds[kind] = film(spec, person(way_m_s=(1.0, 0.0))).kind
    assert kinds == {
        "static": "static", "pan": "rotation", "tilt": "rotation", "zoom": "rotation",
        "dolly": "moving", "truck": "moving", "orbit": "moving", "crane": "moving",
        "follow": "moving", "hand_held": "moving", "dolly_zoom": "moving", "blend": "moving",
    }  # fmt: skip


def test_moves_in_turn_happen_in_turn():
    spec = replace(
        SPEC,
        moves=(
            Move(kind="pan", amount=10.0, end=0.5),
            Move(kind="zoom", amount=0.5, start=0.5),
        ),
    )
    track = film(spec)
    heading, focal_px = heading_deg(track), track.K[:, 0, 0]
    half = FRAMES // 2
    assert np.ptp(focal_px[: half + 1]) == 0
    assert np.ptp(heading[half:]) < 1e-9
    np.testing.assert_allclose(heading[0] - heading[-1], 10.0, atol=1e-6)


def test_the_kind_of_a_path_follows_from_the_path():
    assert path_kind(film(SPEC).K, film(SPEC).T_camera_world) == "static"
    held = film(replace(SPEC, follow="travel"))
    assert held.kind == "static", "nobody moves, so a following camera rests"


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"fov_deg": 2.0}, "fov_deg must lie in"),
        ({"fill": 1.2}, "fill must lie in"),
        ({"elevation_deg": 89.0}, "elevation_deg must lie in"),
        ({"follow": "chase"}, "follow must be none, turn or travel"),
        ({"shake_deg": -1.0}, "shake_deg must lie in"),
    ],
)
def test_impossible_programs_are_refused(changes, finding):
    content = {name: getattr(SPEC, name) for name in CameraSpec.__dataclass_fields__} | changes
    if "follow" in changes:
        content["follow"] = changes["follow"]
    with pytest.raises(Exception, match=finding if "follow" not in changes else "follow"):
        CameraSpec(**content)


def test_impossible_moves_are_refused():
    with pytest.raises(ValueError, match="move must be one of"):
        Move(kind="roll", amount=1.0)
    with pytest.raises(ValueError, match="must be finite"):
        Move(kind="pan", amount=float("nan"))
    with pytest.raises(ValueError, match="start < end"):
        Move(kind="pan", amount=1.0, start=0.5, end=0.5)
    assert set(MOVES) <= set(CAMERA_KINDS)


def test_a_pan_away_from_everybody_is_named():
    with pytest.raises(OutOfFrame, match="no distance up to 80 m"):
        film(with_moves(("pan", 90.0)))
