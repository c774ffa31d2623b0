"""What asks for what by itself: each change once, and nothing past a failed check."""

import dagster as dg
import pytest

from orchestration.assets.data import dataset, synthetic_clips
from orchestration.assets.footage import LABELS_AGREE, footage_clips, footage_sources, labels
from orchestration.partitions import footage_batches, seed_ranges
from orchestration.resources import Workspace

pytestmark = [
    pytest.mark.filterwarnings("ignore::dagster.BetaWarning"),
    pytest.mark.filterwarnings("ignore::dagster.PreviewWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Dagster's event log on SQLite
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]
BATCH, RANGES = "a", seed_ranges.get_partition_keys()


class House:
    """An instance in which things happen, and the conditions are looked at in turn."""

    def __init__(self, instance, root):
        self.instance, self.cursor = instance, None
        self.definitions = dg.Definitions(
            [footage_sources, footage_clips, labels, synthetic_clips, dataset],
            resources={"workspace": Workspace(root=root, runs=root)},
        )
        instance.add_dynamic_partitions(str(footage_batches.name), [BATCH])

    def report(self, asset, partition=None):
        event = dg.AssetMaterialization(asset.key, partition=partition)
        self.instance.report_runless_asset_event(event)

    def report_check(self, passed):
        event = dg.AssetCheckEvaluation(
            asset_key=labels.key, check_name=LABELS_AGREE, passed=passed, metadata={}
        )
        self.instance.report_runless_asset_event(event)

    def look(self):
        """Names of the assets that are asked for, each with its partitions."""
        found = dg.evaluate_automation_conditions(
            self.definitions, self.instance, cursor=self.cursor
        )
        self.cursor = found.cursor
        counts = {
            asset.key.to_user_string(): found.get_num_requested(asset.key)
            for asset in (labels, dataset)
        }
        return {name: count for name, count in counts.items() if count}


@pytest.fixture
def house(tmp_path):
    with dg.instance_for_test(temp_dir=str(tmp_path)) as instance:
        yield House(instance, str(tmp_path / "root"))


def test_new_clips_of_footage_ask_for_their_labels_once(house):
    assert not house.look()
    house.report(footage_clips, BATCH)
    assert house.look() == {"labels": 1}
    assert not house.look()


def test_a_new_range_of_rendered_clips_asks_for_the_data_set_once(house):
    house.look()
    house.report(synthetic_clips, RANGES[0])
    assert house.look() == {"dataset": 1}
    assert not house.look()
    house.report(dataset)
    assert not house.look()
    house.report(synthetic_clips, RANGES[1])
    assert house.look() == {"dataset": 1}


def test_the_data_set_waits_for_labels_that_agree(house):
    house.look()
    house.report(footage_clips, BATCH)
    house.look()
    house.report(labels, BATCH)
    house.report_check(passed=False)
    assert not house.look()
    house.report_check(passed=True)
    assert house.look() == {"dataset": 1}
    assert not house.look()
