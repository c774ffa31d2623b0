"""Rendering a range of seeds stops and goes on without doing anything twice."""

from pipelines.synthetic.produce import render_clips
from pipelines.synthetic.scene import SceneSettings
from storage_schemas.store import Store

SETTINGS = SceneSettings(width=32, height=32, num_frames=2, camera_kinds=("static",), characters=1)


def test_the_same_seeds_are_rendered_once_and_further_ones_added(tmp_path):
    store = Store(tmp_path)
    first = render_clips(store, [3], SETTINGS)
    assert (first.inputs, first.kept, first.reused) == (1, 1, 0)
    before = {key: store.read(key) for key in store.list("clips/")}
    again = render_clips(store, [3, 4], SETTINGS)
    assert (again.inputs, again.kept, again.reused) == (2, 2, 1)
    after = {key: store.read(key) for key in store.list("clips/")}
    assert before.items() <= after.items()
    assert len({key.split("/")[1] for key in after}) == 2


def test_a_clip_that_lost_a_member_is_made_again_to_the_same_bytes(tmp_path):
    store = Store(tmp_path)
    render_clips(store, [3], SETTINGS)
    key = next(key for key in store.list("clips/") if key.endswith("/body.npz"))
    before = store.read(key)
    store.delete(key)
    assert render_clips(store, [3], SETTINGS).reused == 0
    assert store.read(key) == before
