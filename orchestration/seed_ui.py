"""Give the Dagster UI something to see at its first start: `python -m orchestration.seed_ui`.

What `make demo` rendered and published there is taken as it is; otherwise one range is rendered,
which the demo will then reuse.
"""

import warnings

import dagster as dg

from orchestration.assets.data import DatasetConfig, dataset, synthetic_clips
from orchestration.definitions import defs
from orchestration.partitions import seed_ranges


def seed_instance(instance: dg.DagsterInstance) -> bool:
    """Materialize the first range of seeds and the data set of all clips.

    Args:
        instance: Where the UI looks for runs.

    Returns:
        Whether anything was done: an instance that saw a run is left alone.
    """
    if instance.get_runs_count() > 0:
        return False
    job = defs.get_implicit_global_asset_job_def()
    # The shares of the demo: what it published then stays the newest version.
    config = DatasetConfig(name="demo", validation_share=0.15, test_share=0.0)
    for asset, key in ((synthetic_clips, seed_ranges.get_first_partition_key()), (dataset, None)):
        job.execute_in_process(
            instance=instance,
            partition_key=key,
            asset_selection=[asset.key],
            run_config=dg.RunConfig({"dataset": config} if key is None else {}),
        )
    return True


if __name__ == "__main__":
    warnings.filterwarnings("ignore", category=dg.PreviewWarning)
    with dg.DagsterInstance.get() as found:
        seed_instance(found)
