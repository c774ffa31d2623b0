"""Rendering a range of seeds stops and goes on without doing anything twice."""

from dataclasses import replace

import pytest

import pipelines.synthetic.produce as produce
from pipelines.pack import pack
from pipelines.run import Rejected, StageStopped, read_results
from pipelines.synthetic.camera_path import OutOfFrame
from pipelines.synthetic.produce import RenderSettings, render_clips, render_shards
from pipelines.synthetic.scene import SceneSettings, sample_scene, sample_views
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import publish, read_packed, verify
from storage_schemas.shards import CLIP, read_shard
from storage_schemas.store import Store

SETTINGS = SceneSettings(width=32, height=32, num_frames=2, camera_kinds=("static",), characters=1)


def test_the_same_seeds_are_rendered_once_and_further_ones_added(tmp_path):
    store = Store(tmp_path)
    first = render_clips(store, [3], SETTINGS)
    assert (first.inputs, first.kept, first.reused) == (1, 1, 0)
    before = {key: store.read(key) for key in store.list("clips/")}
    again = render_clips(store, [3, 4], SETTINGS)
    assert (again.inputs, again.kept, again.reused) == (2, 2, 1)
    after = {key: store.read(key) for key in store.list("clips/")}
    assert before.items() <= after.items()
    assert len({key.split("/")[1] for key in after}) == 2


def test_a_clip_that_lost_a_member_is_made_again_to_the_same_bytes(tmp_path):
    store = Store(tmp_path)
    render_clips(store, [3], SETTINGS)
    key = next(key for key in store.list("clips/") if key.endswith("/body.npz"))
    before = store.read(key)
    store.delete(key)
    assert render_clips(store, [3], SETTINGS).reused == 0
    assert store.read(key) == before


def test_scenes_are_drawn_where_they_are_rendered_and_not_at_all_when_they_stand(
    tmp_path, monkeypatch
):
    steps = []
    draw, make = produce.sample_views, produce.render_members

    def sample_views(seed, *others):
        steps.append(f"draw {seed}")
        return draw(seed, *others)

    def render_members(spec, **options):
        steps.append(f"render {spec.seed}")
        return make(spec, **options)

    monkeypatch.setattr(produce, "sample_views", sample_views)
    monkeypatch.setattr(produce, "render_members", render_members)
    store = Store(tmp_path)
    render_clips(store, [7, 8], SETTINGS)
    checked = ["draw 7"]
    assert steps == [*checked, "draw 7", "render 7", "draw 8", "render 8"]
    steps.clear()
    assert render_clips(store, [7, 8], SETTINGS).reused == 2
    assert steps == checked
    steps.clear()
    assert render_clips(store, [7], SETTINGS, how=RenderSettings(views=3)).kept == 3
    assert steps == ["draw 7", "draw 7", "render 7", "render 7", "render 7"]


def test_clips_of_other_settings_stay_beside_each_other(tmp_path):
    store, wider = Store(tmp_path), replace(SETTINGS, width=48)
    for settings in (SETTINGS, wider, SETTINGS):
        account = render_clips(store, [3], settings)
    assert account.reused == 1
    assert {key.split("/")[1] for key in store.list("clips/")} == {
        sample_scene(3, settings).clip_id for settings in (SETTINGS, wider)
    }


def test_a_file_of_other_content_is_another_input(tmp_path, shared_data):
    """Even with the same name and size, in clips and in shards."""
    folder = tmp_path / "motion"
    folder.mkdir()
    (source,) = shared_data.glob("mocap/cmu_bvh/02_01.bvh")
    motion = folder / "walk.bvh"
    motion.write_bytes(source.read_bytes())
    store = Store(tmp_path / "root")
    settings = replace(SETTINGS, motion_kinds=("mocap",), mocap_folder=folder)
    assert render_clips(store, [3], settings).reused == 0
    assert render_shards(store, "set", [3], settings).reused == 0
    (tmp_path / "motion").rename(tmp_path / "moved")
    moved = replace(settings, mocap_folder=tmp_path / "moved")
    assert render_clips(store, [3], moved).reused == 1
    assert render_shards(store, "set", [3], moved).reused == 1
    motion = tmp_path / "moved" / "walk.bvh"
    data = motion.read_bytes()
    digit = data.rindex(b"1")
    motion.write_bytes(data[:digit] + b"2" + data[digit + 1 :])
    assert render_clips(store, [3], moved).reused == 0
    assert render_shards(store, "set", [3], moved).reused == 0


def test_a_view_that_is_rejected_leaves_the_others(tmp_path, monkeypatch):
    make = produce.render_members

    def render_members(spec, **options):
        if spec.clip_id == sample_views(0, SETTINGS, 2)[1].clip_id:
            raise OutOfFrame("too far")
        return make(spec, **options)

    monkeypatch.setattr(produce, "render_members", render_members)
    for account in (
        render_clips(Store(tmp_path / "a"), [0], SETTINGS, how=RenderSettings(views=2)),
        render_shards(Store(tmp_path / "b"), "s", [0], SETTINGS, how=RenderSettings(views=2)),
    ):
        assert (account.inputs, account.kept) == (2, 1)
        assert account.filtered == {"out_of_frame": 1}


def test_settings_that_fit_no_seed_are_told_before_any_work(tmp_path):
    store = Store(tmp_path / "root")
    settings = replace(SETTINGS, motion_kinds=("mocap",), mocap_folder=tmp_path)
    for run in (
        lambda: render_clips(store, range(9), settings),
        lambda: render_shards(store, "set", range(9), settings),
    ):
        with pytest.raises(ValueError, match=r"holds no \.bvh or"):
            run()
    assert store.list() == []


def test_straight_to_a_shard_gives_the_bytes_of_render_and_pack(tmp_path):
    direct, by_clips = Store(tmp_path / "direct"), Store(tmp_path / "clips")
    account = render_shards(direct, "set", range(3), SETTINGS)
    render_clips(by_clips, range(3), SETTINGS)
    packed = pack(by_clips, "set").index
    assert (account.inputs, account.kept, account.reused) == (3, 3, 0)
    assert read_packed(direct, "set") == packed
    (shard,) = packed.shards
    assert direct.read(shard.key) == by_clips.read(shard.key)
    verify(direct, publish(direct, "set"))
    for _, members in read_shard(direct.local_path(shard.key)):
        told = ClipRecord.from_json(members[CLIP]).provenance["render"]["parameters"]
        assert told["people"][0]["motion"]  # the scene travels with the clip


def test_more_seeds_add_shards_and_leave_the_others(tmp_path):
    store = Store(tmp_path)
    render_shards(store, "set", range(2), SETTINGS, seeds_per_shard=2)
    before = {key: store.read(key) for key in store.list("shards/set/shard-")}
    account = render_shards(store, "set", range(3), SETTINGS, seeds_per_shard=2)
    assert (account.kept, account.reused) == (3, 2)
    assert before.items() <= {k: store.read(k) for k in store.list("shards/set/shard-")}.items()
    assert read_packed(store, "set").num_clips == 3
    render_shards(store, "set", range(2), SETTINGS, seeds_per_shard=2)
    assert store.list("shards/set/shard-") == sorted(before)
    assert not [path for path in (tmp_path / ".scratch").rglob("*") if path.is_file()]


@pytest.fixture
def spoilt(monkeypatch):
    """Make the renderer fail on chosen seeds; returns seed -> error, and the seeds rendered."""
    errors, rendered = {}, []
    render = produce.render_members

    def render_or_fail(spec, **options):
        rendered.append(spec.seed)
        if spec.seed in errors:
            raise errors[spec.seed]
        return render(spec, **options)

    monkeypatch.setattr(produce, "render_members", render_or_fail)
    return errors, rendered


def test_clips_that_fail_or_are_rejected_are_left_out_counted_and_tried_again(tmp_path, spoilt):
    errors, rendered = spoilt
    whole, store = Store(tmp_path / "whole"), Store(tmp_path / "spoilt")
    render_shards(whole, "set", range(5), SETTINGS)
    errors.update({1: Rejected("out_of_frame", "0.4 m"), 2: ZeroDivisionError("two")})
    account = render_shards(store, "set", range(5), SETTINGS)
    assert account.filtered == {"out_of_frame": 1}
    assert account.failed == {"ZeroDivisionError": 1}
    assert read_packed(store, "set").num_clips == account.kept == 3
    lost = {sample_scene(seed, SETTINGS).clip_id for seed in (1, 2)}
    told = store.read("shards/set/shard-000000.jsonl").decode()
    assert all(clip_id in told for clip_id in lost)
    del errors[2]
    rendered.clear()
    again = render_shards(store, "set", range(5), SETTINGS)
    assert sorted(rendered) == [1, 2]  # what was kept is copied
    assert (again.kept, again.reused, again.failed) == (4, 4, {})
    left = [c for c, _ in read_shard(store.local_path("shards/set/shard-000000.tar"))]
    every = [c for c, _ in read_shard(whole.local_path("shards/set/shard-000000.tar"))]
    assert left == [c for c in every if c != sample_scene(1, SETTINGS).clip_id]


def test_clip_after_clip_failing_stops_the_run(tmp_path, spoilt):
    spoilt[0].update({seed: ZeroDivisionError("always") for seed in range(9)})
    store = Store(tmp_path)
    with pytest.raises(StageStopped, match="1 failed"):
        render_shards(store, "set", range(9), SETTINGS)
    (result,) = read_results(store, "render_shards")
    assert "5 clips failed in a row" in result.detail


def test_every_view_of_a_performance_is_a_clip(tmp_path):
    store = Store(tmp_path)
    how = RenderSettings(views=2)
    assert render_shards(store, "set", range(2), SETTINGS, how=how).kept == 4
    (shard,) = read_packed(store, "set").shards
    records = [
        ClipRecord.from_json(members[CLIP])
        for _, members in read_shard(store.local_path(shard.key))
    ]
    performances = [record.provenance["render"]["performance_id"] for record in records]
    assert sorted(performances.count(name) for name in set(performances)) == [2, 2]


def test_an_unknown_tier_is_refused_at_once():
    with pytest.raises(ValueError, match="tier must be one of"):
        RenderSettings(tier="crayon")
