from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from models.body.model import PosedBody
from pipelines.synthetic.crowd import (
    ANYBODY,
    CLEARANCE_M,
    LAYOUTS,
    SEEN_SHARE,
    TRAVELLERS,
    Stand,
    arrange,
    clearance_m,
    seen_share,
)
from pipelines.synthetic.figure import MIRRORED, mirror
from pipelines.synthetic.gait import Skeleton
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.people import (
    MOCAP,
    Cast,
    PersonSpec,
    character_betas,
    make_motion,
    make_person_mover,
    place_motion,
    sample_people,
    shipped_body,
)

FPS, FRAMES = 24.0, 33
CLIP_S = np.arange(FRAMES) / FPS
CLOTHES_M = 0.02
"""What two people's clothes may need between their skins."""


def _people(seed: int, count: int, kinds=tuple(MOTIONS)) -> tuple[PersonSpec, ...]:
    return sample_people(
        np.random.default_rng(seed),
        count=count,
        azimuth_deg=40.0,
        motion_kinds=kinds,
        speed=(0.85, 1.15),
        cast=Cast(characters=1000),
        mocap_folder=None,
        clip_s=CLIP_S,
    )


@cache
def _skeleton(character: int) -> Skeleton:
    return Skeleton.of(shipped_body(), character_betas(character))


def _posed(person: PersonSpec, points: int = 300) -> PosedBody:
    skeleton = _skeleton(person.character)
    motion = make_motion(person, FPS, FRAMES, skeleton)
    motion = place_motion(motion, skeleton, person.heading_deg, person.place_m)
    values = (motion.global_orient, motion.body_pose, motion.transl)
    body = shipped_body().subset(shipped_body().surface_points(points))
    betas = torch.as_tensor(character_betas(person.character))
    return body.pose(betas, *(torch.as_tensor(v) for v in values))


def _least_apart_m(people: tuple[PersonSpec, ...]) -> float:
    """Least distance between points of the skins of any two, over all frames."""
    clouds = [_posed(person).vertices for person in people]
    pairs = [(a, b) for k, a in enumerate(clouds) for b in clouds[:k]]
    return min(float(torch.cdist(a, b).min()) for a, b in pairs)


def test_no_two_people_are_in_each_other():
    for seed in (1, 3):
        assert _least_apart_m(_people(seed, 2 + seed % 4)) > CLOTHES_M


@pytest.mark.slow
def test_no_two_people_are_in_each_other_in_fifty_scenes_and_some_are_close():
    apart = [_least_apart_m(_people(seed, 2 + seed % 4)) for seed in range(50)]
    assert min(apart) > CLOTHES_M
    assert np.median(apart) < 0.6  # near each other
    assert sum(d < 0.3 for d in apart) >= 8


def test_bodies_never_cross_either():
    """Pelvises on the same side of each other's skin: no one walks through anyone unseen."""
    for seed in range(6):
        people = _people(seed, 3, ("walk", "run"))
        roots = [_posed(person, 1).joints[:, 0, [0, 2]] for person in people]
        pairs = [(a, b) for k, a in enumerate(roots) for b in roots[:k]]
        assert min(float((a - b).norm(dim=-1).min()) for a, b in pairs) > 0.3


def test_some_hide_others_from_the_camera():
    azimuth = np.radians(40.0)
    aside = np.array([np.cos(azimuth), -np.sin(azimuth)])
    hidden = 0
    for seed in range(20):
        places = np.array([p.place_m for p in _people(seed, 2, ("walk", "wave", "clap"))])
        hidden += abs((places[0] - places[1]) @ aside) < 0.35
    assert hidden >= 3


def test_nobody_is_behind_others_all_the_time():
    for seed in range(12):
        people = _people(seed, 2 + seed % 4)
        movers = [make_person_mover(person, CLIP_S) for person in people]
        stands = [Stand(place_m=p.place_m, heading_deg=p.heading_deg) for p in people]
        assert seen_share(movers, stands, 40.0) >= SEEN_SHARE


def test_the_seen_share_is_that_past_all_others():
    movers = [make_person_mover(_people(0, 1, ("clap",))[0], CLIP_S)] * 3
    azimuth = np.radians(30.0)

    def stands(*places: tuple[float, float]) -> list[Stand]:
        """Places as metres towards the camera and to its side."""
        turn = np.array([[np.sin(azimuth), np.cos(azimuth)], [np.cos(azimuth), -np.sin(azimuth)]])
        xz = np.array(places) @ turn
        return [Stand(place_m=(float(x), float(z)), heading_deg=30.0) for x, z in xz]

    assert seen_share(movers[:1], stands((0, 0)), 30.0) == 1.0
    assert seen_share(movers, stands((0, -2), (0, 0), (0, 2)), 30.0) == 1.0
    assert seen_share(movers[:2], stands((0, 0), (0.8, 0)), 30.0) < 0.1
    assert seen_share(movers[:2], stands((0, 0), (0.8, 0)), 120.0) == 1.0
    part = seen_share(movers[:2], stands((0, 0), (0.8, 0.3)), 30.0)
    assert 0.1 < part < 0.95


def test_people_are_a_pure_function_of_the_generator():
    assert _people(3, 4) == _people(3, 4) != _people(4, 4)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_comes_clear_also_where_it_is_crowded(layout):
    kinds = ("walk", "run") if layout in TRAVELLERS else ("stretch", "kick", "box")
    people = _people(1, 1, kinds) + _people(2, 1, kinds) + _people(3, 1, kinds)
    people += _people(4, 1, kinds) + _people(5, 1, kinds)
    movers = [make_person_mover(person, CLIP_S) for person in people]
    stands = arrange(np.random.default_rng(0), movers, layout, 0.0)
    assert clearance_m(movers, stands) >= CLEARANCE_M
    assert seen_share(movers, stands, 0.0) >= SEEN_SHARE
    assert set(ANYBODY) | set(TRAVELLERS) == set(LAYOUTS)


def test_the_spheres_hold_the_skin():
    person = _people(0, 1, ("dance",))[0]
    mover = make_person_mover(person, CLIP_S)
    stand = Stand(place_m=person.place_m, heading_deg=person.heading_deg)
    last = len(mover.centres) // 2  # behind the checked frames are those between
    centres = torch.as_tensor(mover.placed(stand)[last]).float()
    vertices = _posed(person).vertices[-1]
    outside = torch.cdist(vertices, centres) - torch.as_tensor(mover.radii).float()
    assert outside.min(dim=1).values.max() < 0.03  # skin stretches about bent joints
    same = clearance_m([mover, mover], [stand, stand])
    assert same < -0.1
    moved = Stand(place_m=(person.place_m[0] + 5.0, person.place_m[1]), heading_deg=0.0)
    assert clearance_m([mover, mover], [stand, moved]) > 1.5


def test_shapes_are_those_of_the_characters():
    from pipelines.synthetic.characters import make_character

    for seed in (0, 7):
        made = make_character(seed, shipped_body(), 64)
        np.testing.assert_array_equal(made.betas, character_betas(seed))


@pytest.mark.parametrize("kind", ["walk", "kick", "point"])
def test_mirroring_swaps_sides_and_twice_is_the_identity(kind):
    skeleton = Skeleton.of(shipped_body(), np.zeros(10, np.float32))
    motion = MOTIONS[kind](3, CLIP_S, skeleton)
    once = mirror(motion, skeleton)
    twice = mirror(once, skeleton)
    for name in ("global_orient", "body_pose", "transl"):
        np.testing.assert_allclose(getattr(twice, name), getattr(motion, name), atol=1e-6)
    body = shipped_body().subset(shipped_body().surface_points(1))

    def joints(m):
        values = (m.global_orient, m.body_pose, m.transl)
        return body.pose(torch.zeros(10), *(torch.as_tensor(v) for v in values)).joints.numpy()

    flipped = joints(motion)[:, list(MIRRORED)] * np.array([-1.0, 1.0, 1.0])
    np.testing.assert_allclose(joints(once), flipped, atol=0.004)  # the body is nearly even


def test_a_mirrored_person_moves_the_other_hand():
    person = replace(_people(0, 1, ("walk",))[0], is_mirrored=False)
    skeleton = _skeleton(person.character)
    plain = make_motion(person, FPS, FRAMES, skeleton)
    other = make_motion(replace(person, is_mirrored=True), FPS, FRAMES, skeleton)
    assert not np.allclose(plain.body_pose, other.body_pose, atol=0.05)


def test_twice_the_speed_is_every_second_frame():
    person = replace(_people(0, 1, ("dance",))[0], speed=1.0)
    skeleton = _skeleton(person.character)
    slow = make_motion(person, FPS, 21, skeleton)
    fast = make_motion(replace(person, speed=2.0), FPS, 11, skeleton)
    np.testing.assert_allclose(slow.body_pose[::2], fast.body_pose, atol=0.02)


def test_recordings_are_drawn_from_every_kind_of_file(shared_data):
    for name in ("cmu_bvh", "cmu_asf_amc"):
        people = sample_people(
            np.random.default_rng(0),
            count=2,
            azimuth_deg=0.0,
            motion_kinds=(MOCAP,),
            speed=(1.0, 1.0),
            cast=Cast(characters=10),
            mocap_folder=shared_data / "mocap" / name,
            clip_s=CLIP_S,
        )
        assert _least_apart_m(people) > CLOTHES_M
