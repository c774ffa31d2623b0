"""The chain of labels accounts for every clip, also for those it leaves."""

import pytest

from pipelines.annotate.clip import STEPS, _chosen, annotate_clips
from pipelines.run import read_results
from storage_schemas.shards import read_shard
from storage_schemas.store import Store


@pytest.fixture
def store(tmp_path, write_toy_shard):
    store = Store(tmp_path / "data")
    for clip_id, members in read_shard(write_toy_shard(tmp_path / "toy.tar", count=1)):
        for name in ("clip.json", "video.mp4"):
            store.write(f"clips/{clip_id}/{name}", members[name])
    return store


def test_a_clip_without_people_is_filtered_and_goes_no_further(store):
    clip_id = store.list("clips/")[0].split("/")[1]
    accounts = annotate_clips(store, [clip_id])
    assert [account.stage for account in accounts] == [step.name for step in STEPS]
    people, *rest = accounts
    assert (people.inputs, people.kept) == (1, 0)
    assert (people.filtered, people.failed) == ({"no_person": 1}, {})
    assert all(account.inputs == 0 for account in rest)
    (result,) = read_results(store, "people")
    assert (result.key, result.reason, result.outputs) == (clip_id, "no_person", {})
    assert annotate_clips(store, [clip_id])[0].reused == 1


def test_each_step_reads_only_what_an_earlier_one_wrote():
    """In the order of the steps; ingest wrote the first two."""
    written = {
        "people": {"people.npz"}, "mask": {"mask.npz"}, "camera": {"camera_ladder.npz"},
        "background": {"background.mp4", "background_valid.npz"}, "points": {"points.npz"},
        "body": {"body.npz", "camera.npz"}, "quality": {"quality.json"},
    }  # fmt: skip
    there = {"clip.json", "video.mp4"}
    for step in STEPS:
        assert set(step.reads) <= there, step.name
        there |= written[step.name]


@pytest.mark.parametrize(
    ("backends", "message"),
    [({"nothing": "x"}, "no step with backends"), ({"people": "x"}, "x.*mediapipe|mediapipe.*x")],
)
def test_unknown_steps_and_backends_are_refused_before_any_work(store, backends, message):
    clip_id = store.list("clips/")[0].split("/")[1]
    with pytest.raises(ValueError, match=message):
        annotate_clips(store, [clip_id], backends)
    assert store.list("results/") == []


def test_weights_and_results_are_checked_before_any_work(store, tmp_path):
    clip_id = store.list("clips/")[0].split("/")[1]
    with pytest.raises(ValueError, match="no weights file"):
        annotate_clips(store, [clip_id], {"people": "yolo"}, {"people": tmp_path / "none.pt"})
    with pytest.raises(ValueError, match="no step with backends"):
        annotate_clips(store, [clip_id], weights={"camera": tmp_path})
    with pytest.raises(ValueError, match="there is no result"):
        annotate_clips(store, [clip_id], bodies=tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no result"):
        annotate_clips(store, [clip_id], bodies=tmp_path / "empty")
    other = tmp_path / "another_film.pkl"
    other.write_bytes(b"x")
    with pytest.raises(ValueError, match=r"named after footage .*\(toy\)"):
        annotate_clips(store, [clip_id], bodies=other)
    assert store.list("results/") == []


def test_provenance_names_the_file_and_the_address_its_bytes(tmp_path):
    path = tmp_path / "small-pose.pt"
    path.write_bytes(b"one")
    people, mask, *_ = _chosen({"people": "yolo"}, {"people": path})
    assert people.parameters == {"backend": "yolo", "weights": str(path)}
    assert people.weights.startswith("small-pose.pt sha256 ")
    assert mask == STEPS[1]
    path.write_bytes(b"two")
    assert _chosen({"people": "yolo"}, {"people": path})[0].weights != people.weights
    *_, quality = _chosen({}, {"quality": path})
    assert "video.mp4" in quality.reads  # a captioner looks at the picture
