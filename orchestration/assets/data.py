"""Data assets: rendered clips, ingested footage, labels, and the published data set."""

import dagster as dg

from models.body.model import BodyModel
from orchestration.metadata import check_accounts, show_accounts, show_picture
from orchestration.partitions import seed_ranges, seeds_of
from orchestration.resources import Workspace
from orchestration.steps import training_scenes
from pipelines.annotate.clip import annotate_clips
from pipelines.ingest.stage import IngestSettings, ingest
from pipelines.pack import pack
from pipelines.report import ClipView, rendered_sheet
from pipelines.run import read_results
from pipelines.synthetic.produce import render_clips
from storage_schemas.dataset import publish, read_manifest, verify

NOTHING_FAILED = "nothing_failed"


class RenderConfig(dg.Config):
    """What is rendered."""

    size_px: int = 96
    num_frames: int = 17
    most_people: int = 1


@dg.asset(
    partitions_def=seed_ranges,
    group_name="data",
    code_version="1",
    check_specs=[dg.AssetCheckSpec(NOTHING_FAILED, asset="synthetic_clips")],
)
def synthetic_clips(
    context: dg.AssetExecutionContext, config: RenderConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """Rendered humans with exact ground truth, a range of seeds per partition."""
    settings = training_scenes(config.size_px, config.num_frames, config.most_people)
    seeds = seeds_of(context.partition_key)
    account = render_clips(workspace.store, seeds, settings, workspace.workers)
    sheet = rendered_sheet(workspace.store, seeds[:4], settings)
    return dg.MaterializeResult(
        metadata=show_accounts([account])
        | ({} if sheet is None else {"sheet": show_picture("clips", sheet)}),
        check_results=[check_accounts([account])],
    )


class FootageConfig(dg.Config):
    """Where footage lies."""

    sources: list[str]
    """Files, folders, globs or lists."""
    licence: str = "unknown"


@dg.asset(
    group_name="data",
    code_version="1",
    check_specs=[dg.AssetCheckSpec(NOTHING_FAILED, asset="footage_clips")],
)
def footage_clips(config: FootageConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Footage cut into clips; every source is kept, filtered or failed, with a reason."""
    settings = IngestSettings(licence=config.licence)
    account = ingest(config.sources, workspace.store, settings, workspace.workers)
    return dg.MaterializeResult(
        metadata=show_accounts([account]), check_results=[check_accounts([account])]
    )


@dg.asset(
    deps=[footage_clips],
    group_name="data",
    code_version="1",
    check_specs=[dg.AssetCheckSpec(NOTHING_FAILED, asset="labels")],
)
def labels(workspace: Workspace) -> dg.MaterializeResult:
    """People, masks, cameras, backgrounds, points, bodies and quality of the footage."""
    accounts = annotate_clips(workspace.store, workers=workspace.workers)
    kept = [r.key for r in read_results(workspace.store, "quality") if r.status == "kept"]
    metadata = show_accounts(accounts)
    if kept:
        sheet = ClipView(workspace.store, kept[0], BodyModel.load()).sheet()
        metadata["sheet"] = show_picture(f"clip {kept[0]}", sheet)
    return dg.MaterializeResult(metadata=metadata, check_results=[check_accounts(accounts)])


class DatasetConfig(dg.Config):
    """What the data set is called."""

    name: str = "demo"


@dg.asset(
    deps=[synthetic_clips, labels],
    group_name="data",
    code_version="1",
    check_specs=[dg.AssetCheckSpec("every_byte_as_published", asset="dataset", blocking=True)],
)
def dataset(config: DatasetConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Every finished clip as WebDataset shards, published as an immutable version."""
    report = pack(workspace.store, config.name, workers=workspace.workers)
    version = publish(workspace.store, config.name)
    verify(workspace.store, read_manifest(workspace.store, f"{version.name}@{version.version}"))
    return dg.MaterializeResult(
        metadata={
            **show_accounts([report.accounting]),
            "version": version.version,
            "shards": len(version.shards),
            "size_mb": sum(shard.size_bytes for shard in version.shards) / 1e6,
        },
        data_version=dg.DataVersion(str(version.version)),
        check_results=[dg.AssetCheckResult(passed=True, check_name="every_byte_as_published")],
    )
