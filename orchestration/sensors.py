"""What starts by itself: new footage, and a nightly look at the published data set."""

import hashlib
import json
from pathlib import Path

import dagster as dg

from orchestration.assets.data import dataset
from orchestration.assets.footage import footage_clips, labels
from orchestration.partitions import footage_batches
from orchestration.resources import Workspace
from pipelines.ingest.batches import plan_batches
from storage_schemas.store import Store

footage_job = dg.define_asset_job(
    "footage",
    selection=dg.AssetSelection.assets(footage_clips, labels),
    description="Cut a batch of footage into clips and label them.",
)

nightly_dataset = dg.ScheduleDefinition(
    name="nightly_dataset",
    target=dg.AssetSelection.assets(dataset),
    cron_schedule="0 3 * * *",
    description="Publish what is new, and read every byte of the newest version.",
)


@dg.sensor(
    job=footage_job,
    minimum_interval_seconds=30,
    description="Watches ISA4D_FOOTAGE, a folder or s3 prefix; new files become batches.",
)
def new_footage(
    context: dg.SensorEvaluationContext, workspace: Workspace
) -> dg.SensorResult | dg.SkipReason:
    """Batches of files that have not changed between two looks: a copy under way is left alone."""
    if not workspace.footage:
        return dg.SkipReason("set ISA4D_FOOTAGE to a folder or an s3 prefix to watch it")
    seen = snapshot(workspace.footage)
    before = json.loads(context.cursor or "{}")
    cursor = json.dumps({**before, "seen": seen})
    if not seen or seen == before.get("batched"):
        return _nothing(context, cursor, f"nothing new in {workspace.footage}")
    if seen != before.get("seen"):
        return _nothing(context, cursor, f"{workspace.footage} is changing; waiting for it to rest")
    names = plan_batches([workspace.footage], workspace.store)
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=name, partition_key=name) for name in names],
        dynamic_partitions_requests=[footage_batches.build_add_request(names)],
        cursor=json.dumps({"seen": seen, "batched": seen}),
    )


def _nothing(context: dg.SensorEvaluationContext, cursor: str, why: str) -> dg.SkipReason:
    context.update_cursor(cursor)
    return dg.SkipReason(why)


def snapshot(place: str) -> str:
    """Digest of names (locally with sizes and times) of all files there; empty without any.

    An object on S3 appears whole and is taken for immutable: there the name says it all.
    """
    if place.startswith("s3://"):
        listed = Store(place).list()
    else:
        files = sorted(p for p in Path(place).rglob("*") if p.is_file() and p.name[0] != ".")
        stats = [(file, file.stat()) for file in files]
        listed = [f"{file} {stat.st_size} {stat.st_mtime_ns}" for file, stat in stats]
    return hashlib.sha256("\n".join(listed).encode()).hexdigest() if listed else ""
