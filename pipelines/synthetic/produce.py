"""Render many scenes into a store: one stage, resumable clip by clip."""

from collections.abc import Iterator, Sequence

from pipelines.run import Accounting, Item, Stage, run_stage
from pipelines.synthetic.render import CODE_VERSION, render_members
from pipelines.synthetic.scene import SceneSettings, SceneSpec, sample_scene
from storage_schemas.store import Store


def render_scene(item: Item, store: Store) -> Iterator[tuple[str, bytes]]:
    """Members of one scene under `clips/<id>/`; the clip record comes last."""
    spec: SceneSpec = item.value
    clip_id, members = render_members(spec)
    for name in sorted(members, reverse=True):
        yield f"clips/{clip_id}/{name}", members[name]


def render_clips(
    store: Store, seeds: Sequence[int], settings: SceneSettings, workers: int = 0
) -> Accounting:
    """Render one clip per seed; clips that are there already are not rendered again.

    Raises:
        ValueError: If the settings name a folder that holds nothing usable.
    """
    specs = [sample_scene(seed, settings) for seed in seeds]
    items = [Item(key=spec.clip_id, content=spec.sha256, value=spec) for spec in specs]
    stage = Stage(name="render", version=CODE_VERSION, work=render_scene)
    return run_stage(stage, items, store, workers=workers)
