"""Footage assets: batches of sources become clips, and clips get labels."""

import json
from collections.abc import Sequence

import dagster as dg
import numpy as np
from pydantic import Field

from models.body.model import BodyModel
from orchestration.metadata import (
    AGAIN,
    NOTHING_FAILED,
    check_accounts,
    clear_failure,
    results_version,
    show_accounts,
    show_picture,
)
from orchestration.partitions import footage_batches
from orchestration.resources import Workspace
from pipelines.annotate.clip import QUALITY, STEPS, annotate_clips
from pipelines.clip_files import clip_reader
from pipelines.ingest.batches import plan_batches, read_batch
from pipelines.ingest.settings import IngestSettings
from pipelines.ingest.stage import VERSION, ingest_sources
from pipelines.report import ClipView
from pipelines.run import read_results
from storage_schemas import shards
from storage_schemas.store import Store

LABELS_AGREE = "labels_agree"
BATCHES_PER_RUN = 8


class SourcesConfig(dg.Config):
    """Where footage lies."""

    sources: list[str] = Field(
        description="Files, folders, globs, csv lists with columns path and licence, s3://..."
    )
    licence: str = Field("unknown", description="Licence of sources whose list states none.")
    allow: list[str] = Field(
        [], description="Folders and s3 prefixes that lists may name besides their own folder."
    )


@dg.asset(group_name="data", code_version="1", retry_policy=AGAIN)
def footage_sources(
    context: dg.AssetExecutionContext, config: SourcesConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """New footage, put into batches; each becomes a partition of the assets downstream."""
    with clear_failure():
        names = plan_batches(config.sources, workspace.store, config.licence, allowed=config.allow)
    context.instance.add_dynamic_partitions(str(footage_batches.name), names)
    listed = "\n".join(f"- {name}" for name in names) or "nothing new"
    return dg.MaterializeResult(
        metadata={"new_batches": len(names), "batches": dg.MetadataValue.md(listed)}
    )


class IngestConfig(dg.Config):
    """How footage is cut; what is left out follows the defaults of `isa4d ingest`."""

    fps: float = Field(24.0, description="Frame rate of the clips; slower sources keep theirs.")
    max_short_side_px: int = Field(720, description="Larger footage is scaled down to this.")
    max_clip_s: float = Field(10.0, description="Longer shots are split evenly.")


@dg.asset(
    deps=[footage_sources],
    partitions_def=footage_batches,
    backfill_policy=dg.BackfillPolicy.multi_run(BATCHES_PER_RUN),
    group_name="data",
    code_version=VERSION,
    retry_policy=AGAIN,
    pool="data",
    check_specs=[dg.AssetCheckSpec(NOTHING_FAILED, asset="footage_clips")],
)
def footage_clips(
    context: dg.AssetExecutionContext, config: IngestConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """Footage cut into clips; every source is kept, filtered or failed, with a reason."""
    store = workspace.store
    with clear_failure():
        sources = [s for name in context.partition_keys for s in read_batch(store, name)]
        settings = IngestSettings(
            fps=config.fps,
            max_short_side_px=config.max_short_side_px,
            max_clip_s=config.max_clip_s,
        )
    accounts = ingest_sources(sources, store, settings, workspace.workers)
    return dg.MaterializeResult(
        metadata={
            **show_accounts(accounts),
            "reasons": _reasons(store, [source.key for source in sources]),
        },
        data_version=results_version(store, "ingest", [source.key for source in sources]),
        check_results=[check_accounts(accounts)],
    )


def _reasons(store: Store, keys: Sequence[str]) -> dg.MetadataValue:
    wanted = set(keys)
    lines = [
        f"- {result.reason}: {result.detail.strip().splitlines()[-1]}"
        for result in read_results(store, "ingest")
        if result.key in wanted and result.status != "kept" and result.detail
    ]
    return dg.MetadataValue.md("\n".join(lines[:100]) or "nothing was left out")


class LabelConfig(dg.Config):
    """What labels must reach for anything downstream to be built."""

    lowest_median_score: float = Field(
        0.4, description="The median `overall` quality of a batch below which it is stopped."
    )


@dg.asset(
    deps=[footage_clips],
    partitions_def=footage_batches,
    backfill_policy=dg.BackfillPolicy.multi_run(BATCHES_PER_RUN),
    group_name="data",
    code_version=" ".join(f"{step.name}={step.version}" for step in STEPS),
    retry_policy=AGAIN,
    pool="data",
    automation_condition=dg.AutomationCondition.eager(),
    check_specs=[
        dg.AssetCheckSpec(NOTHING_FAILED, asset="labels"),
        dg.AssetCheckSpec(LABELS_AGREE, asset="labels", blocking=True),
    ],
)
def labels(
    context: dg.AssetExecutionContext, config: LabelConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """People, masks, cameras, backgrounds, points, bodies and quality of a batch of footage."""
    store = workspace.store
    clip_ids = _clips_of(store, context.partition_keys)
    if not clip_ids:
        return dg.MaterializeResult(
            metadata={"clips": 0},
            check_results=[
                check_accounts([]),
                dg.AssetCheckResult(passed=True, check_name=LABELS_AGREE),
            ],
        )
    accounts = annotate_clips(store, clip_ids, workers=workspace.workers)
    wanted = set(clip_ids)
    kept = [r.key for r in read_results(store, "quality") if r.status == "kept" and r.key in wanted]
    scores = [json.loads(store.read(f"clips/{key}/{QUALITY}"))["overall"] for key in kept]
    metadata = show_accounts(accounts)
    if kept:
        sheet = ClipView(clip_reader(store, kept[0]), BodyModel.load()).sheet()
        metadata["sheet"] = show_picture(f"clip {kept[0]}", sheet)
        metadata["median_score"] = float(np.median(scores))
    return dg.MaterializeResult(
        metadata=metadata,
        data_version=results_version(store, "quality", clip_ids),
        check_results=[check_accounts(accounts), _check_scores(scores, config)],
    )


def _clips_of(store: Store, batches: Sequence[str]) -> list[str]:
    sources = {source.key for name in batches for source in read_batch(store, name)}
    return sorted(
        key.split("/")[1]
        for result in read_results(store, "ingest")
        if result.key in sources and result.status == "kept"
        for key in result.outputs
        if key.endswith(f"/{shards.CLIP}")
    )


def _check_scores(scores: Sequence[float], config: LabelConfig) -> dg.AssetCheckResult:
    median = float(np.median(scores)) if scores else None
    return dg.AssetCheckResult(
        passed=median is None or median >= config.lowest_median_score,
        check_name=LABELS_AGREE,
        metadata={
            "clips": len(scores),
            "median_score": "no labelled clip" if median is None else median,
            "lowest_median_score": config.lowest_median_score,
        },
    )
