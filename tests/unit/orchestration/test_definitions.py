"""The asset graph: it loads, its lineage is the path, and a partition materializes."""

import itertools

import dagster as dg
import pytest

from orchestration.assets.data import RenderConfig, footage_clips, synthetic_clips
from orchestration.metadata import MAX_WIDTH_PX, check_accounts, show_picture
from orchestration.partitions import seed_ranges, seeds_of
from orchestration.resources import Workspace
from pipelines.run import Accounting

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]

LINEAGE = {
    "synthetic_clips": set(),
    "footage_clips": set(),
    "labels": {"footage_clips"},
    "dataset": {"synthetic_clips", "labels"},
    "vae": {"dataset"},
    "latents": {"dataset", "vae"},
    "dit": {"latents"},
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


def test_broken_footage_is_counted_and_does_not_fail_the_asset(tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    workspace = Workspace(root=str(tmp_path / "root"), runs=str(tmp_path / "runs"))
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        result = dg.materialize(
            [footage_clips],
            resources={"workspace": workspace},
            run_config={"ops": {"footage_clips": {"config": {"sources": [str(broken)]}}}},
            instance=instance,
        )
    (event,) = result.asset_materializations_for_node("footage_clips")
    assert event.metadata["inputs"].value == 1
    assert event.metadata["kept"].value == 0


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
