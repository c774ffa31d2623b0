"""Data assets: rendered clips, and the published data set of all clips."""

from collections.abc import Mapping

import dagster as dg
from pydantic import Field

from orchestration.assets.footage import labels
from orchestration.metadata import (
    AGAIN,
    NOTHING_FAILED,
    NOTHING_FAILED_MEANS,
    check_accounts,
    clear_failure,
    results_version,
    show_accounts,
    show_picture,
)
from orchestration.partitions import seed_ranges, seeds_of
from orchestration.resources import Workspace
from orchestration.steps import training_scenes
from pipelines.clip_files import ReadMember, clip_reader
from pipelines.pack import PackSettings, pack
from pipelines.reel import make_reel
from pipelines.report import rendered_sheet
from pipelines.statistics_page import make_statistics
from pipelines.synthetic.produce import render_clips, scene_items
from pipelines.synthetic.render import CODE_VERSION
from pipelines.synthetic.scene import sample_scene
from storage_schemas import shards
from storage_schemas.dataset import publish, read_manifest, verify
from storage_schemas.store import Store

RANGES_PER_RUN = 8
EVERY_BYTE = "every_byte_as_published"


class RenderConfig(dg.Config):
    """What is rendered."""

    size_px: int = Field(96, description="Side of the square pictures.")
    num_frames: int = Field(17, description="1 + 4 k, as the video VAE takes them.")
    most_people: int = Field(1, description="People in a clip: from one to this many.")


@dg.asset(
    partitions_def=seed_ranges,
    backfill_policy=dg.BackfillPolicy.multi_run(RANGES_PER_RUN),
    group_name="data",
    code_version=CODE_VERSION,
    retry_policy=AGAIN,
    pool="data",
    check_specs=[
        dg.AssetCheckSpec(NOTHING_FAILED, asset="synthetic_clips", description=NOTHING_FAILED_MEANS)
    ],
)
def synthetic_clips(
    context: dg.AssetExecutionContext, config: RenderConfig, workspace: Workspace
) -> dg.MaterializeResult:
    """Rendered humans with exact ground truth, a range of seeds per partition."""
    with clear_failure():
        settings = training_scenes(config.size_px, config.num_frames, config.most_people)
    seeds = [seed for key in context.partition_keys for seed in seeds_of(key)]
    account = render_clips(workspace.store, seeds, settings, workspace.workers)
    sheet = rendered_sheet(workspace.store, seeds[:4], settings)
    clip_ids = [sample_scene(seed, settings).clip_id for seed in seeds]
    clips = {
        clip_id: clip_reader(workspace.store, clip_id)
        for clip_id in clip_ids
        if workspace.store.exists(f"clips/{clip_id}/{shards.CLIP}")
    }
    return dg.MaterializeResult(
        metadata=show_accounts([account])
        | ({} if sheet is None else {"sheet": show_picture("clips", sheet)})
        | (_show_corpus(workspace.store, clips, context.partition_keys[0]) if clips else {}),
        data_version=results_version(
            workspace.store, "render", [item.key for item in scene_items(seeds, settings)]
        ),
        check_results=[check_accounts([account])],
    )


def _show_corpus(
    store: Store, clips: Mapping[str, ReadMember], name: str
) -> dict[str, dg.MetadataValue]:
    """The reel and the numbers of some rendered clips; both files go under `reports/`."""
    reel, found = make_reel(clips), make_statistics(clips)
    folder = f"reports/synthetic_clips/{name}"
    store.write(f"{folder}.mp4", reel.mp4)
    store.write(f"{folder}.html", found.page.encode())
    return {
        "reel": show_picture(f"{reel.num_clips} clips with their labels", reel.poster),
        "reel_file": dg.MetadataValue.path(f"{store.root}/{folder}.mp4"),
        "statistics": dg.MetadataValue.path(f"{store.root}/{folder}.html"),
        "poses": show_picture("poses", found.plots["poses"]),
        "frames": show_picture("people in the frame", found.plots["frames"]),
        **{name: dg.MetadataValue.float(float(value)) for name, value in found.numbers.items()},
    }


class DatasetConfig(dg.Config):
    """What the data set is called."""

    name: str = Field("demo", description="Lower-case letters, digits, - and _.")
    validation_share: float = Field(0.05, description="Of the sources, held out to choose by.")
    test_share: float = Field(0.05, description="Of the sources, held out to the end.")
    rendered_px: int = Field(
        0, description="Width of the rendered clips to take; 0 takes all, a seed only once."
    )


@dg.asset(
    deps=[synthetic_clips, labels],
    group_name="data",
    code_version="1",
    retry_policy=AGAIN,
    pool="data",
    # Most ranges of seeds are never asked for, and there may be no footage: neither missing ones
    # nor checks that never ran hold a version back.
    automation_condition=dg.AutomationCondition.eager().without(
        ~dg.AutomationCondition.any_deps_missing()
    )
    & ~dg.AutomationCondition.any_deps_match(
        dg.AutomationCondition.any_checks_match(
            dg.AutomationCondition.check_failed(), blocking_only=True
        )
    ),
    check_specs=[
        dg.AssetCheckSpec(
            EVERY_BYTE,
            asset="dataset",
            blocking=True,
            description="Every shard, read again from where it lies, has the bytes published.",
        )
    ],
)
def dataset(config: DatasetConfig, workspace: Workspace) -> dg.MaterializeResult:
    """Every finished clip as WebDataset shards, published as an immutable version."""
    with clear_failure():
        settings = PackSettings(
            validation_share=config.validation_share,
            test_share=config.test_share,
            rendered_px=config.rendered_px,
        )
        report = pack(workspace.store, config.name, settings=settings, workers=workspace.workers)
        version = publish(workspace.store, config.name)
    return dg.MaterializeResult(
        metadata={
            **show_accounts([report.accounting]),
            "version": version.version,
            "shards": len(version.shards),
            "size_mb": sum(shard.size_bytes for shard in version.shards) / 1e6,
        },
        data_version=dg.DataVersion(str(version.version)),
        check_results=[_check_bytes(workspace, f"{version.name}@{version.version}")],
    )


def _check_bytes(workspace: Workspace, reference: str) -> dg.AssetCheckResult:
    try:
        verify(workspace.store, read_manifest(workspace.store, reference))
    except (ValueError, OSError) as error:
        return dg.AssetCheckResult(
            passed=False, check_name=EVERY_BYTE, metadata={"finding": str(error)}
        )
    return dg.AssetCheckResult(passed=True, check_name=EVERY_BYTE)
