from dataclasses import asdict, replace
from pathlib import Path

import pytest

from pipelines.synthetic.asset import Asset
from pipelines.synthetic.camera_path import CAMERA_KINDS
from pipelines.synthetic.motion import MOTIONS
from pipelines.synthetic.people import PersonSpec
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene


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
        replace(spec, environment=replace(spec.environment, num_props=0)),
        replace(spec, people=(replace(spec.people[0], heading_deg=1.5), *spec.people[1:])),
    ]
    assert len({spec.clip_id, *(other.clip_id for other in changed)}) == 5


def test_files_count_by_content_not_by_place(tmp_path):
    places = []
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.bvh").write_text("same")
        places.append(tmp_path / folder)
    first, second = (
        sample_scene(1, _settings(motion_kinds=("mocap",), mocap_folder=place)) for place in places
    )
    assert first != second
    assert first.clip_id == second.clip_id
    (places[0] / "x.bvh").write_text("other")
    with pytest.raises(ValueError, match="changed since"):
        first.people[0].file.verify()
    (places[0] / "x.bvh").unlink()
    with pytest.raises(ValueError, match="not there"):
        first.people[0].file.verify()


def test_settings_are_respected():
    settings = _settings(motion_kinds=("walk", "squat"), grounds=("grass",), speed=(0.5, 0.6))
    for seed in range(30):
        spec = sample_scene(seed, settings)
        assert 1 <= len(spec.people) <= 3
        assert spec.environment.ground == "grass"
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
    ],
)
def test_impossible_settings_are_refused(changes, finding):
    with pytest.raises(ValueError, match=finding):
        sample_scene(0, SceneSettings(**changes))


def test_an_empty_mocap_folder_is_named(tmp_path):
    settings = SceneSettings(motion_kinds=("mocap",), mocap_folder=tmp_path)
    with pytest.raises(ValueError, match=r"holds no \.bvh file"):
        sample_scene(0, settings)


def test_a_file_belongs_to_mocap_only():
    person = asdict(sample_scene(0, SceneSettings()).people[0])
    person["file"] = Asset(path=str(Path("a.bvh")), sha256="0")
    assert person["motion"] in MOTIONS
    with pytest.raises(ValueError, match="belongs to motion 'mocap' only"):
        PersonSpec(**person)
    with pytest.raises(ValueError, match="not a scene record"):
        SceneSpec.from_json(b'{"seed": 1}')
