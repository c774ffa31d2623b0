"""The asset graph: it loads, its lineage is the path, and a partition materializes."""

import itertools

import dagster as dg
import pytest

from orchestration.assets.data import RenderConfig, _check_bytes, dataset, synthetic_clips
from orchestration.assets.footage import (
    LABELS_AGREE,
    LabelConfig,
    _check_scores,
    footage_clips,
    footage_sources,
    labels,
)
from orchestration.assets.models import check_losses
from orchestration.metadata import MAX_WIDTH_PX, check_accounts, show_picture
from orchestration.partitions import footage_batches, seed_ranges, seeds_of
from orchestration.resources import Workspace
from pipelines.run import Accounting
from pipelines.synthetic.produce import render_clips

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LINEAGE = {
    "synthetic_clips": set(),
    "footage_sources": set(),
    "footage_clips": {"footage_sources"},
    "labels": {"footage_clips"},
    "dataset": {"synthetic_clips", "labels"},
    "vae": {"dataset"},
    "latents": {"dataset", "vae"},
    "dit": {"latents"},
    "evaluation": {"dit", "vae"},
    "report": {"evaluation"},
    "film": {"dit", "vae"},
}


def account(**changes):
    values = {
        "stage": "render", "inputs": 2, "kept": 2, "filtered": {}, "failed": {}, "reused": 0,
    }  # fmt: skip
    return Accounting(**(values | changes))


@pytest.fixture(scope="module")
def definitions():
    from orchestration.definitions import defs

    return defs


def test_the_lineage_is_the_path(definitions):
    dg.Definitions.validate_loadable(definitions)
    graph = definitions.get_repository_def().asset_graph
    found = {
        key.to_user_string(): {p.to_user_string() for p in graph.get(key).parent_keys}
        for key in graph.get_all_asset_keys()
    }
    assert found == LINEAGE


def test_ranges_of_seeds_neither_overlap_nor_leave_gaps():
    ranges = [seeds_of(key) for key in seed_ranges.get_partition_keys()]
    for before, after in itertools.pairwise(ranges):
        assert before.stop == after.start


def test_a_partition_materializes_with_counts_and_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr("orchestration.partitions.SEEDS_PER_RANGE", 2)
    workspace = Workspace(root=str(tmp_path / "root"), runs=str(tmp_path / "runs"))
    config = RenderConfig(size_px=32, num_frames=2)
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for reused in (0, 2):  # the second materialization renders nothing again
            result = dg.materialize(
                [synthetic_clips],
                partition_key=seed_ranges.get_partition_keys()[0],
                resources={"workspace": workspace},
                run_config=dg.RunConfig({"synthetic_clips": config}),
                instance=instance,
            )
            assert result.success
            (event,) = result.asset_materializations_for_node("synthetic_clips")
            assert event.metadata["kept"].value == 2
            assert event.metadata["sheet"].value.startswith("![clips](data:image/jpeg;base64,")
            (row,) = event.metadata["accounts"].records
            assert row.data["reused"] == reused
            (check,) = result.get_asset_check_evaluations()
            assert check.passed


@pytest.fixture
def workspace(tmp_path):
    return Workspace(root=str(tmp_path / "root"), runs=str(tmp_path / "runs"))


def materialize(assets, instance, workspace, selection=None, key=None, config=None):
    return dg.materialize(
        assets,
        selection=selection,
        partition_key=key,
        resources={"workspace": workspace},
        run_config={"ops": config or {}},
        instance=instance,
        raise_on_error=False,
    )


FOOTAGE = [footage_sources, footage_clips, labels]


def test_broken_footage_is_counted_and_does_not_fail_the_asset(tmp_path, workspace):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    config = {"footage_sources": {"config": {"sources": [str(broken)]}}}
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        for new in (1, 0):  # planning again finds nothing new
            result = materialize(FOOTAGE, instance, workspace, [footage_sources], None, config)
            (event,) = result.asset_materializations_for_node("footage_sources")
            assert event.metadata["new_batches"].value == new
        (key,) = instance.get_dynamic_partitions(footage_batches.name)
        assert key.startswith("broken-")
        result = materialize(FOOTAGE, instance, workspace, [footage_clips, labels], key)
        assert result.success
        (event,) = result.asset_materializations_for_node("footage_clips")
        assert event.metadata["inputs"].value == 1
        assert event.metadata["kept"].value == 0
        assert "not_a_video" in event.metadata["reasons"].value
        (event,) = result.asset_materializations_for_node("labels")
        assert event.metadata["clips"].value == 0


def test_sources_that_are_not_there_fail_once_with_the_way_out(tmp_path, workspace):
    config = {"footage_sources": {"config": {"sources": [str(tmp_path / "*.nothing")]}}}
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = materialize(FOOTAGE, instance, workspace, [footage_sources], None, config)
        assert not result.success
        failure = result.failure_data_for_node("footage_sources")
        assert "nothing names no files" in failure.user_failure_data.description
        assert not [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]


def test_what_may_pass_is_tried_again(tmp_path, workspace, monkeypatch):
    looks = []

    def unlucky(*arguments):
        looks.append(arguments)
        if len(looks) == 1:
            raise OSError("connection lost")
        return render_clips(*arguments)

    monkeypatch.setattr("orchestration.partitions.SEEDS_PER_RANGE", 2)
    monkeypatch.setattr("orchestration.assets.data.render_clips", unlucky)
    config = {"synthetic_clips": {"config": {"size_px": 32, "num_frames": 2}}}
    key = seed_ranges.get_partition_keys()[0]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = materialize([synthetic_clips], instance, workspace, None, key, config)
        assert result.success
        retries = [e for e in result.all_events if e.event_type_value == "STEP_UP_FOR_RETRY"]
        assert len(retries) == 1


def test_labels_that_disagree_stop_what_lies_downstream():
    poor = _check_scores([0.1, 0.2, 0.9], LabelConfig(lowest_median_score=0.4))
    assert not poor.passed
    assert _check_scores([0.1, 0.5, 0.9], LabelConfig(lowest_median_score=0.4)).passed
    blocking = {spec.name for spec in labels.check_specs if spec.blocking}
    assert blocking == {LABELS_AGREE}


@pytest.mark.parametrize(
    ("losses", "is_sound"),
    [([3.0, 2.0, 1.0], True), ([1.0, 2.0, 3.0], False), ([1.0, float("nan"), 0.5], False)],
)
def test_losses_are_sound_when_finite_and_not_rising(losses, is_sound):
    assert check_losses([{"loss": loss} for loss in losses]).passed == is_sound


def test_a_data_set_that_lost_a_byte_is_not_passed_on(tmp_path, workspace, monkeypatch):
    monkeypatch.setattr("orchestration.partitions.SEEDS_PER_RANGE", 2)
    key = seed_ranges.get_partition_keys()[0]
    config = {"synthetic_clips": {"config": {"size_px": 32, "num_frames": 2}}}
    assets = [synthetic_clips, dataset]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        upstream = [synthetic_clips]
        assert materialize(assets, instance, workspace, upstream, key, config).success
        result = materialize(assets, instance, workspace, [dataset])
        (check,) = result.get_asset_check_evaluations()
        assert check.passed
        assert check.blocking
    (shard,) = (tmp_path / "root" / "versions" / "objects").rglob("*.tar")
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.unlink()
    shard.write_bytes(bytes(data))
    check = _check_bytes(workspace, "demo@1")
    assert not check.passed
    assert shard.stem in check.metadata["finding"].value


def test_a_failed_check_keeps_everything_downstream_from_being_built(
    tmp_path, workspace, monkeypatch
):
    monkeypatch.setattr("orchestration.partitions.SEEDS_PER_RANGE", 2)
    key = seed_ranges.get_partition_keys()[0]
    config = {"synthetic_clips": {"config": {"size_px": 32, "num_frames": 2}}}

    @dg.asset(deps=[dataset])
    def trained_on_it():
        pass

    assets = [synthetic_clips, dataset, trained_on_it]
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        upstream = [synthetic_clips]
        assert materialize(assets, instance, workspace, upstream, key, config).success
        downstream = [dataset, trained_on_it]
        assert materialize(assets, instance, workspace, downstream).success
        (shard,) = (tmp_path / "root" / "versions" / "objects").rglob("*.tar")
        data = shard.read_bytes()
        shard.unlink()
        shard.write_bytes(data[:-1])
        result = materialize(assets, instance, workspace, downstream)
        assert not result.success
        assert not [c for c in result.get_asset_check_evaluations() if c.passed]
        assert not result.asset_materializations_for_node("trained_on_it")


def stale_causes(definitions, instance, key):
    from dagster._core.definitions.data_version import CachingStaleStatusResolver
    from dagster._core.loader import LoadingContextForTest

    graph = definitions.get_repository_def().asset_graph
    resolver = CachingStaleStatusResolver(instance, graph, LoadingContextForTest(instance))
    return resolver.get_stale_causes(dg.AssetKey(key))


def test_what_depends_on_other_bytes_is_out_of_date_and_says_why(tmp_path, workspace, monkeypatch):
    monkeypatch.setattr("orchestration.partitions.SEEDS_PER_RANGE", 2)
    key = seed_ranges.get_partition_keys()[0]

    @dg.asset(deps=[dataset])
    def trained_on_it():
        pass

    assets = [dataset, trained_on_it]
    definitions = dg.Definitions(
        [synthetic_clips, labels, footage_clips, footage_sources, *assets],
        resources={"workspace": workspace},
    )
    config = {"synthetic_clips": {"config": {"size_px": 32, "num_frames": 2}}}
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:

        def render():
            done = materialize([synthetic_clips], instance, workspace, None, key, config)
            (event,) = done.asset_materializations_for_node("synthetic_clips")
            return event.metadata["reused"].value

        assert render() == 0
        materialize(assets, instance, workspace)
        assert render() == 2  # nothing to do: nothing downstream is out of date
        materialize([dataset], instance, workspace)
        assert not stale_causes(definitions, instance, "trained_on_it")
        config["synthetic_clips"]["config"]["size_px"] = 48
        assert render() == 0
        assert not materialize([dataset], instance, workspace).success  # a seed in two sizes
        assert not stale_causes(definitions, instance, "trained_on_it")
        chosen = {"dataset": {"config": {"rendered_px": 48}}}
        assert materialize([dataset], instance, workspace, config=chosen).success
        (cause,) = stale_causes(definitions, instance, "trained_on_it")
        assert cause.reason == "has a new dependency data version"
        assert cause.dependency.asset_key == dataset.key


def test_a_backfill_puts_at_most_eight_of_all_ranges_into_a_run(definitions):
    graph = definitions.get_repository_def().asset_graph
    node = graph.get(synthetic_clips.key)
    assert len(node.partitions_def.get_partition_keys()) == 320
    assert node.backfill_policy.max_partitions_per_run == 8


def test_failures_fail_the_check_and_are_named():
    check = check_accounts([account(), account(kept=1, failed={"OSError": 1})])
    assert not check.passed
    assert "OSError" in check.metadata["failed"].value
    assert check_accounts([account(kept=1, filtered={"too_short": 1})]).passed


def test_pictures_stay_small_enough_for_the_event_log():
    import numpy as np

    noise = np.random.default_rng(0).integers(0, 255, (600, 2 * MAX_WIDTH_PX, 3), np.uint8)
    smooth = np.repeat(np.repeat(noise[::40, ::40], 40, 0), 40, 1)
    assert len(show_picture("x", smooth).value) < 200_000
