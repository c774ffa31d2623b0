"""The reel shows every label a clip has, for as long as the clips last."""

import numpy as np
import pytest

from pipelines.clip_files import list_members, open_clips
from pipelines.reel import PANELS, clip_panels, make_reel, reel_frames
from pipelines.review import draw_depth, draw_flow, draw_normals, draw_points
from pipelines.video_io import decode_mp4
from storage_schemas.shards import read_shard
from storage_schemas.store import Store


@pytest.fixture
def store(tmp_path, write_toy_shard):
    store = Store(tmp_path / "root")
    for clip_id, members in read_shard(write_toy_shard(tmp_path / "toy.tar", count=3, frames=5)):
        for name, data in members.items():
            store.write(f"clips/{clip_id}/{name}", data)
    return store


def test_a_label_that_is_not_there_leaves_out_its_panel(store):
    read = next(iter(open_clips(store).values()))
    panels = clip_panels(read)
    assert list(panels) == ["picture", "skeleton", "masks", "without people"]
    assert {len(frames) for frames in panels.values()} == {5}
    assert list_members(read) == ["video", "body", "camera", "mask", "background"]
    assert set(panels) <= set(PANELS)


def test_clips_play_one_after_the_other_in_one_size(store):
    reel = make_reel(open_clips(store), limit=2)
    film = decode_mp4(reel.mp4)
    assert reel.num_clips == 2
    assert len(film) == 2 * 5
    assert reel.poster.shape == film.shape[1:]
    assert film.std() > 10


def test_a_missing_panel_stays_empty_beside_clips_that_have_it(store):
    readers = list(open_clips(store).values())
    (first, *_) = reel_frames(readers[:1], ["picture", "depth"])
    top, bottom = np.split(first[first.shape[0] % 2 :], 2)
    assert top.std() > bottom.std()


def test_no_clip_is_an_error(tmp_path):
    with pytest.raises(ValueError, match="no labelled clip"):
        open_clips(Store(tmp_path))


def test_nearer_is_warmer_and_nothing_is_black():
    depth_m = np.array([[[1.0, 4.0, np.inf]]])
    near, far, nothing = draw_depth(depth_m)[0, 0].astype(int)
    assert near[0] > near[2]
    assert far[2] >= far[0]
    assert (nothing == 0).all()


def test_normals_are_colours_and_nothing_is_black():
    unit = np.array([[[[0, 1.0, 0], [0, 0, 0]]]])
    up, nothing = draw_normals(unit)[0, 0]
    assert up.tolist() == [127, 255, 127]
    assert not nothing.any()


def test_flow_shows_direction_as_hue_and_dims_what_is_occluded():
    flow_px = np.array([[[[3.0, 0], [-3, 0], [0, 0], [3, 0]]]])
    right, left, still, hidden = draw_flow(flow_px, np.array([[[False, False, False, True]]]))[0, 0]
    assert right.tolist() == [255, 0, 0]
    assert left.tolist() == [0, 255, 255]
    assert still.tolist() == [255, 255, 255]
    assert hidden.tolist() == [128, 0, 0]


def test_only_visible_points_are_drawn():
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    xy_px = np.full((1, 2, 2), 8.0)
    drawn = draw_points(frames, xy_px, np.array([[True, False]]))
    assert drawn[0].any()
    assert not drawn[1].any()
