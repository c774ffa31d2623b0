"""Render many scenes into a store: as clips, or straight to shards.

`render_clips` writes the members of each clip under `clips/`, where the other stages and `pack`
find them. `render_shards` writes each clip once, into its shard, for corpora that are packed as
they are rendered. Both draw their scenes where they render them, stop anywhere and go on, clip by
clip, to the same bytes.
"""

import dataclasses
import hashlib
import json
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pipelines.h264 import X264, choose_encoder
from pipelines.pack import PackSettings
from pipelines.run import (
    Accounting,
    Item,
    Rejected,
    Stage,
    StageStopped,
    last_line,
    run_stage,
    sha256_file,
    try_again,
)
from pipelines.synthetic.camera_path import OutOfFrame
from pipelines.synthetic.growing_shard import (
    ClipOutcome,
    GrowingShard,
    ShardLog,
    last_failures,
    read_entries,
)
from pipelines.synthetic.render import CODE_VERSION, OPENGL, TIERS, render_members, renderer
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_views
from pipelines.synthetic.truth import Hidden
from storage_schemas import shards as layout
from storage_schemas.clip import ClipRecord
from storage_schemas.dataset import Manifest, ShardEntry, check_name, index_key
from storage_schemas.store import Store

CLIPS = "render"
SHARDS = "render_shards"
MAX_FAILURES_IN_A_ROW = 5


@dataclass(frozen=True, kw_only=True, slots=True)
class RenderSettings:
    """How scenes are rendered."""

    tier: str = OPENGL
    """One of `TIERS`; the labels are the same."""
    views: int = 1
    """Cameras that film each performance, a clip each."""
    encoder: str = X264
    """Of `h264.choose_encoder`; x264 gives the same bytes on every machine."""

    def __post_init__(self) -> None:
        """Validate."""
        if self.views < 1:
            raise ValueError(f"views must be at least 1, got {self.views}")
        if self.tier not in TIERS:
            raise ValueError(f"tier must be one of {sorted(TIERS)}, got {self.tier!r}")
        object.__setattr__(self, "encoder", choose_encoder(self.encoder))  # what auto is here

    @property
    def parameters(self) -> dict[str, Any]:
        """What a result depends on besides its scene."""
        return {**asdict(self), **renderer(self.tier)}


def draw_scenes(seed: int, settings: SceneSettings, how: RenderSettings) -> list[SceneSpec]:
    """The scenes of a seed, one per view.

    Raises:
        Rejected: A file that the seed draws is unusable.
        ValueError: The settings ask for what there is not.
    """
    try:
        return list(sample_views(seed, settings, how.views))
    except ValueError as error:
        folders = [settings.mocap_folder, settings.panorama_folder]
        files = [path for folder in folders if folder for path in folder.rglob("*.*")]
        _reject_bad_file(error, [path.name for path in files])
        raise


def check_settings(seeds: Sequence[int], settings: SceneSettings, how: RenderSettings) -> None:
    """Draw one scene, so that settings which fit no seed are told before any work.

    Raises:
        ValueError: If the settings ask for what there is not.
    """
    with suppress(Rejected):  # one seed's bad luck: counted when its turn comes
        draw_scenes(seeds[0], settings, how)


def render(spec: SceneSpec, how: RenderSettings) -> dict[str, bytes]:
    """Members of a clip.

    Raises:
        Rejected: The scene cannot be shown, or a file that it needs is unusable.
    """
    try:
        return render_members(spec, tier=how.tier, encoder=how.encoder)[1]
    except OutOfFrame as error:
        raise Rejected("out_of_frame", str(error)) from error
    except Hidden as error:
        raise Rejected("hidden", str(error)) from error
    except ValueError as error:
        _reject_bad_file(error, [asset.file.name for asset in spec.assets])
        raise


def _reject_bad_file(error: ValueError, names: Sequence[str]) -> None:
    """An error that names a file of the scene is about that file, not about our code."""
    if any(name in str(error) for name in names):
        raise Rejected("bad_file", str(error)) from error


def render_scene(
    item: Item, store: Store, *, settings: SceneSettings, how: RenderSettings
) -> Iterator[tuple[str, bytes]]:
    """Members of one scene under `clips/<id>/`; the clip record comes last."""
    seed, view = item.value
    spec = _views(seed, settings, how)[view]
    members = render(spec, how)
    for name in sorted(members, reverse=True):
        yield f"clips/{spec.clip_id}/{name}", members[name]


def render_clips(
    store: Store,
    seeds: Sequence[int],
    settings: SceneSettings,
    workers: int = 0,
    how: RenderSettings | None = None,
) -> Accounting:
    """Render the clips of every seed; clips that are there already are not rendered again.

    Raises:
        ValueError: If the settings name a folder that holds nothing usable.
    """
    how = how or RenderSettings()
    check_settings(seeds, settings, how)
    work = partial(render_scene, settings=settings, how=how)
    stage = Stage(name=CLIPS, version=CODE_VERSION, parameters=how.parameters, work=work)
    return run_stage(stage, scene_items(seeds, settings, how), store, workers=workers)


def scene_items(
    seeds: Sequence[int], settings: SceneSettings, how: RenderSettings | None = None
) -> list[Item]:
    """One item per seed and view; its scene, and so the clip's id, is drawn where it is rendered.

    Raises:
        ValueError: If a folder of the settings is none.
    """
    how = how or RenderSettings()
    drawn_from = _fingerprint(settings)
    return [
        Item(key=f"{name}-{drawn_from[:12]}", content=f"{drawn_from} {name}", value=(seed, view))
        for seed in seeds
        for view, name in enumerate(_view_names(seed, how))
    ]


def _view_names(seed: int, how: RenderSettings) -> list[str]:
    """Stand for the clips of a seed while their ids are not known."""
    return [f"seed-{seed}" if how.views == 1 else f"seed-{seed}-view-{v}" for v in range(how.views)]


@lru_cache(maxsize=1)
def _views(seed: int, settings: SceneSettings, how: RenderSettings) -> list[SceneSpec]:
    """The views of a performance follow each other: it is drawn once for all."""
    return draw_scenes(seed, settings, how)


@dataclass(frozen=True, kw_only=True, slots=True)
class ShardPlan:
    """Which seeds go into one shard, and where it lies."""

    name: str
    number: int
    seeds: tuple[int, ...]
    address: str
    """Hash of all that determines the shard's bytes."""

    @property
    def item_key(self) -> str:
        """Names the result."""
        return f"{self.name}-{self.number:06d}"

    @property
    def key(self) -> str:
        """Of the shard; its log lies beside it."""
        return f"shards/{self.name}/shard-{self.number:06d}.tar"

    @property
    def log_key(self) -> str:
        """Of the log: what became of every clip."""
        return self.key.removesuffix(".tar") + ".jsonl"

    def read_log(self, store: Store) -> ShardLog:
        """The log of the finished shard; empty where there is none of this address."""
        try:
            log = ShardLog.parse(store.read(self.log_key))[0]
        except FileNotFoundError:
            return ShardLog(address=self.address)
        return log if log.address == self.address else ShardLog(address=self.address)


def render_shards(
    store: Store,
    name: str,
    seeds: Sequence[int],
    settings: SceneSettings,
    workers: int = 0,
    how: RenderSettings | None = None,
    seeds_per_shard: int = 64,
) -> Accounting:
    """Render the clips of every seed straight into shards/<name>/, ready to publish.

    A shard holds a range of seeds, clips by id, in the very bytes that `pack` gives these clips.
    More seeds later add shards and leave the others as they are. Every clip is accounted for in
    the log beside its shard; one that failed is tried again by the next run.

    Raises:
        ValueError: If the settings name a folder that holds nothing usable, or nothing was kept.
        StageStopped: Clip after clip failed.
    """
    how = how or RenderSettings()
    check_name(name)
    check_settings(seeds, settings, how)
    stage = Stage(
        name=SHARDS,
        version=CODE_VERSION,
        parameters=how.parameters,
        work=partial(render_shard, settings=settings, how=how),
    )
    plans, items = _plan(stage, name, seeds, settings, seeds_per_shard)
    before: set[str] = set()
    for plan in plans:
        outcomes = plan.read_log(store).outcomes
        before |= {outcome.clip_id for outcome in outcomes if outcome.status != "failed"}
        if any(outcome.status == "failed" for outcome in outcomes):
            store.delete(f"results/{SHARDS}/{plan.item_key}.json")  # so that it is made again
    store.delete(index_key(name))  # while there is none, nobody reads half-replaced shards
    shard_run = run_stage(stage, items, store, workers=workers)
    if shard_run.kept != len(items):
        raise StageStopped(f"{shard_run.summary()}; see results/{SHARDS}/{name}-*.json")
    logs = [plan.read_log(store) for plan in plans]
    index = _index(store, name, plans, logs)
    _remove_older(store, name, plans)
    store.write(index_key(name), index.to_json())
    return _account(logs, before)


def _plan(
    stage: Stage, name: str, seeds: Sequence[int], settings: SceneSettings, seeds_per_shard: int
) -> tuple[list[ShardPlan], list[Item]]:
    if seeds_per_shard < 1:
        raise ValueError(f"seeds_per_shard must be at least 1, got {seeds_per_shard}")
    drawn_from = _fingerprint(settings)
    plans: list[ShardPlan] = []
    items: list[Item] = []
    for first in range(0, len(seeds), seeds_per_shard):
        part = tuple(seeds[first : first + seeds_per_shard])
        content = json.dumps([drawn_from, part])
        number = len(plans)
        plan = ShardPlan(name=name, number=number, seeds=part, address=stage.address([content]))
        plans.append(plan)
        items.append(Item(key=plan.item_key, content=content, value=plan))
    return plans, items


def _fingerprint(settings: SceneSettings) -> str:
    """Hash of what scenes are drawn from; files and folders count by content, not by place.

    To read a folder takes less than to draw 100,000 scenes only to know which files they name.
    """
    content = {}
    for name, value in asdict(settings).items():
        if isinstance(value, Path):
            files = sorted(value.rglob("*")) if value.is_dir() else [value]
            value = [
                (path.relative_to(value).as_posix(), sha256_file(path))
                for path in files
                if path.is_file()
            ]
        content[name] = value
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def read_shard_logs(store: Store, name: str | None = None) -> dict[str, list[ClipOutcome]]:
    """What became of every clip rendered straight to shards, by the name of the set."""
    outcomes: dict[str, list[ClipOutcome]] = {}
    for key in store.list("shards/" if name is None else f"shards/{name}/"):
        if key.endswith(".jsonl"):
            log = ShardLog.parse(store.read(key))[0]
            outcomes.setdefault(key.split("/")[1], []).extend(log.outcomes)
    return outcomes


def tell_failed_clips(store: Store, name: str) -> Iterator[str]:
    """One line per clip that failed: the error, and where the rest lies."""
    for outcome in read_shard_logs(store, name).get(name, []):
        if outcome.status == "failed":
            where = f"shards/{name}/*.jsonl"
            yield f"clip {outcome.clip_id} failed: {last_line(outcome.detail)}; see {where}"


def render_shard(
    item: Item, store: Store, *, settings: SceneSettings, how: RenderSettings
) -> Iterator[tuple[str, bytes | Path]]:
    """One shard with its log; goes on from the clip at which a killed run was."""
    plan: ShardPlan = item.value
    earlier = _earlier_entries(store, plan)
    with GrowingShard(store.scratch_path(plan.key), plan.address) as shard:
        done = {outcome.clip_id for outcome in shard.outcomes}
        specs: list[SceneSpec] = []
        for seed in plan.seeds:
            try:
                specs += draw_scenes(seed, settings, how)
            except Rejected as rejected:
                for name in _view_names(seed, how):
                    if name not in done:
                        shard.leave_out(name, "filtered", rejected.reason, rejected.detail)
        for spec in sorted(specs, key=lambda spec: spec.clip_id):
            if spec.clip_id not in done:
                _add_clip(shard, spec, how, earlier.get(spec.clip_id))
        # The log first: until the result is recorded, the tar of a killed run still lies in
        # the scratch folder or, complete, in the store.
        yield plan.log_key, shard.finish()
        if any(outcome.status == "kept" for outcome in shard.outcomes):
            yield plan.key, shard.path
        shard.forget()


def _earlier_entries(store: Store, plan: ShardPlan) -> dict[str, bytes]:
    """Clips of a finished shard that is made again, because some clips failed."""
    log = plan.read_log(store)
    if not log.kept:
        return {}
    try:
        return read_entries(store.local_path(plan.key), log)
    except (FileNotFoundError, ValueError):
        return {}  # another shard, or none: its clips are rendered


def _add_clip(
    shard: GrowingShard, spec: SceneSpec, how: RenderSettings, entries: bytes | None
) -> None:
    # views of one performance stay together, or a test would hold what training has seen
    split = PackSettings().split(spec.performance_sha256)
    try:
        if entries is None:
            members = try_again(lambda: render(spec, how))
            record = ClipRecord.from_json(members[layout.CLIP])
            members[layout.CLIP] = dataclasses.replace(record, split=split).to_json()
            entries = layout.clip_entries(spec.clip_id, members)
    except Rejected as rejected:
        shard.leave_out(spec.clip_id, "filtered", rejected.reason, rejected.detail)
    except Exception as error:
        detail = "".join(traceback.format_exception(error))
        shard.leave_out(spec.clip_id, "failed", type(error).__name__, detail)
        row = last_failures(shard.outcomes)
        if len(row) >= MAX_FAILURES_IN_A_ROW:
            names = ", ".join(failure.clip_id for failure in row)
            raise RuntimeError(f"{len(row)} clips failed in a row ({names}): {error}") from error
    else:
        shard.add(spec.clip_id, split, entries)


def _index(
    store: Store, name: str, plans: Sequence[ShardPlan], logs: Sequence[ShardLog]
) -> Manifest:
    entries: list[ShardEntry] = []
    splits: Counter[str] = Counter()
    for plan, log in zip(plans, logs, strict=True):
        if log.kept:
            splits.update(outcome.split for outcome in log.kept)
            entries.append(
                ShardEntry(
                    key=plan.key,
                    sha256=log.sha256,
                    size_bytes=log.size_bytes,
                    clip_ids=tuple(outcome.clip_id for outcome in log.kept),
                )
            )
    if not entries:
        raise ValueError(f"no clip of {name!r} was kept; see shards/{name}/*.jsonl")
    return Manifest(
        name=name, version=0, parent="", created="", splits=dict(splits), shards=tuple(entries)
    )


def _remove_older(store: Store, name: str, plans: Sequence[ShardPlan]) -> None:
    """Shards of an earlier, larger run under the same name."""
    keys = {key for plan in plans for key in (plan.key, plan.log_key)}
    for key in store.list(f"shards/{name}/shard-"):
        if key not in keys:
            store.delete(key)


def _account(logs: Sequence[ShardLog], before: set[str]) -> Accounting:
    outcomes = [outcome for log in logs for outcome in log.outcomes]
    reasons = {
        status: Counter(outcome.reason for outcome in outcomes if outcome.status == status)
        for status in ("kept", "filtered", "failed")
    }
    return Accounting(
        stage=SHARDS,
        inputs=len(outcomes),
        kept=reasons["kept"].total(),
        filtered=dict(reasons["filtered"]),
        failed=dict(reasons["failed"]),
        reused=sum(outcome.clip_id in before for outcome in outcomes),
    )
