import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from pipelines.synthetic.asset import Asset
from pipelines.synthetic.camera_program import CAMERA_KINDS
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.people import PersonSpec
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene, sample_views


def _settings(**changes) -> SceneSettings:
    return SceneSettings(num_people=(1, 3), camera_kinds=CAMERA_KINDS, **changes)


def test_json_round_trip_keeps_the_scene_and_its_id():
    for seed in range(20):
        spec = sample_scene(seed, _settings())
        again = SceneSpec.from_json(spec.to_json())
        assert again == spec
        assert again.clip_id == spec.clip_id
        assert len(spec.clip_id) == 32


def test_same_seed_same_scene_other_seed_other_scene():
    ids = [sample_scene(seed, _settings()).clip_id for seed in range(40)]
    assert len(set(ids)) == 40
    assert ids == [sample_scene(seed, _settings()).clip_id for seed in range(40)]


def test_every_field_counts_in_the_id():
    spec = sample_scene(0, _settings())
    changed = [
        replace(spec, num_frames=spec.num_frames + 1),
        replace(spec, camera=replace(spec.camera, fov_deg=50.5)),
        replace(spec, environment=replace(spec.environment, seed=0)),
        replace(spec, siblings=(replace(spec.camera, fov_deg=50.5),)),
        replace(spec, people=(replace(spec.people[0], heading_deg=1.5), *spec.people[1:])),
    ]
    assert len({spec.clip_id, *(other.clip_id for other in changed)}) == 6


def test_files_count_by_content_not_by_place(tmp_path):
    places = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.hdr").write_text("same")
        places.append(tmp_path / folder)
    first, second = (sample_scene(1, _settings(panorama_folder=place)) for place in places)
    assert first != second
    assert first.clip_id == second.clip_id
    (places[0] / "x.hdr").write_text("other")
    with pytest.raises(ValueError, match="changed since"):
        first.assets[0].verify()
    (places[0] / "x.hdr").unlink()
    with pytest.raises(ValueError, match="not there"):
        first.assets[0].verify()


def test_settings_are_respected():
    settings = _settings(
        motion_kinds=("walk", "squat"), environment_kinds=("park",), speed=(0.5, 0.6)
    )
    for seed in range(30):
        spec = sample_scene(seed, settings)
        assert 1 <= len(spec.people) <= 3
        assert spec.environment.kind == "park"
        for person in spec.people:
            assert person.motion in ("walk", "squat")
            assert 0.5 <= person.speed <= 0.6


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"motion_kinds": ("mocap",)}, "needs mocap_folder"),
        ({"num_people": (2, 1)}, "low <= high"),
        ({"motion_kinds": ()}, "at least one"),
        ({"width": 63}, "even"),
        ({"motion_kinds": ("fly",)}, "motion must be one of"),
        ({"camera_kinds": ("handheld",)}, "camera kind must be one of"),
        ({"most_frames": 5}, "most_frames must be at least"),
    ],
)
def test_impossible_settings_are_refused(changes, finding):
    with pytest.raises(ValueError, match=finding):
        sample_scene(0, SceneSettings(**changes))


def test_an_empty_mocap_folder_is_named(tmp_path):
    settings = SceneSettings(motion_kinds=("mocap",), mocap_folder=tmp_path)
    with pytest.raises(ValueError, match=r"holds no \.bvh"):
        sample_scene(0, settings)


def test_a_file_belongs_to_mocap_only():
    person = asdict(sample_scene(0, SceneSettings()).people[0])
    person["file"] = Asset(path=str(Path("a.bvh")), sha256="0")
    assert person["motion"] in MOTIONS
    with pytest.raises(ValueError, match="belongs to motion 'mocap' only"):
        PersonSpec(**person)


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (lambda c: {"seed": 1}, "scene is no SceneSpec: it lacks .*'camera'"),
        (lambda c: [], "scene must be an object"),
        (lambda c: c | {"version": 1}, "scene version must be 2, got 1; sample the scene anew"),
        (lambda c: c | {"mood": 3}, "unknown .*'mood'"),
        (lambda c: c | {"width": 63}, "scene: width must be even"),
        (lambda c: c | {"people": 3}, "scene.people must be a list"),
        (lambda c: c | {"camera": c["camera"] | {"fill": 7.0}}, "scene.camera: fill must lie in"),
        (lambda c: c | {"people": [c["people"][0] | {"place_m": [1]}]}, r"people\[0\].place_m"),
    ],
)
def test_other_json_is_refused_by_what_is_wrong_with_it(change, finding):
    content = json.loads(sample_scene(0, SceneSettings()).to_json())
    with pytest.raises(ValueError, match=finding):
        SceneSpec.from_json(json.dumps(change(content)).encode())


def test_what_is_no_json_is_refused():
    with pytest.raises(ValueError, match="not JSON"):
        SceneSpec.from_json(b"{")


def test_the_first_view_is_the_scene_itself_but_for_its_siblings():
    settings = _settings()
    assert sample_views(5, settings, 1) == (sample_scene(5, settings),)
    first, *_ = sample_views(5, settings, 3)
    assert replace(first, siblings=()) == sample_scene(5, settings)
    with pytest.raises(ValueError, match="num_views"):
        sample_views(5, settings, 0)


def test_views_differ_in_their_camera_only_and_share_a_performance():
    for seed in range(10):
        views = sample_views(seed, _settings(), 4)
        assert len({view.clip_id for view in views}) == 4
        assert len({view.performance_id for view in views}) == 1
        assert len({frozenset(map(repr, view.cameras)) for view in views}) == 1
        still = {repr(replace(v, camera=views[0].camera, siblings=())) for v in views}
        assert len(still) == 1
        assert all(SceneSpec.from_json(view.to_json()) == view for view in views)
        azimuth = sorted(view.camera.azimuth_deg for view in views)
        assert min(np.diff([*azimuth, azimuth[0] + 360.0])) > 25.0
    assert sample_views(0, _settings(), 2)[0].performance_id != views[0].performance_id


def test_one_camera_cannot_film_twice():
    spec = sample_scene(0, SceneSettings())
    with pytest.raises(ValueError, match="must differ"):
        replace(spec, siblings=(spec.camera,))


def test_formats_are_drawn_from_what_is_allowed_and_change_nothing_else():
    wide = _settings(more_sizes=((96, 160),), more_fps=(25.0, 30.0), most_frames=33)
    specs = [sample_scene(seed, wide) for seed in range(60)]
    assert {(s.width, s.height) for s in specs} == {(128, 128), (96, 160)}
    assert {s.fps for s in specs} == {24.0, 25.0, 30.0}
    assert {s.num_frames for s in specs} == {17, 21, 25, 29, 33}
    for seed, spec in enumerate(specs):
        if (spec.fps, spec.num_frames) == (24.0, 17):
            assert spec.people == sample_scene(seed, _settings()).people


def test_licences_are_passed_on_and_do_not_change_the_id(tmp_path):
    (tmp_path / "x.hdr").write_text("same")
    settings = _settings(panorama_folder=tmp_path)
    unknown = sample_scene(1, settings)
    known = sample_scene(1, replace(settings, panorama_licence="CC-BY-4.0"))
    assert sample_scene(1, _settings()).licence == "CC0-1.0"
    assert unknown.licence == "CC0-1.0 AND unknown"
    assert known.licence == "CC0-1.0 AND CC-BY-4.0"
    assert known.clip_id == unknown.clip_id
    assert sample_scene(1, replace(settings, panorama_licence="CC0-1.0")).licence == "CC0-1.0"
