"""Laws of the loader: order, draws, resume, substitution, and the geometry of crops."""

from dataclasses import fields, replace
from itertools import islice

import numpy as np
import pytest
import torch

from models.clip_index import ClipEntry, find_shards, index_clips
from models.data import Batch, ClipDataset, ClipLoader, epoch_order
from models.geometry import project
from models.sample import SampleReader
from models.window import ClipSettings, Window, crop_camera, crop_labels, crop_video, place_crop
from storage_schemas.body import BodyTracks
from storage_schemas.shards import BODY, index_shard

SETTINGS = ClipSettings(num_frames=5, size_px=32)


@pytest.fixture(scope="module")
def shard(tmp_path_factory, write_toy_shard):
    return write_toy_shard(tmp_path_factory.mktemp("shards") / "a.tar", count=7)


def take(loader, count):
    return list(islice(iter(loader), count))


def same(a: Batch, b: Batch) -> bool:
    for name in a.__dataclass_fields__:
        left, right = getattr(a, name), getattr(b, name)
        equal = torch.equal(left, right) if isinstance(left, torch.Tensor) else left == right
        if not equal:
            return False
    return True


def test_order_of_an_epoch_is_a_permutation_that_depends_on_seed_and_epoch():
    orders = [epoch_order(50, seed, epoch) for seed, epoch in ((0, 0), (0, 1), (1, 0))]
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    assert epoch_order(5, 3, 4).tolist() == [3, 2, 1, 4, 0]  # frozen: a resume years later


@pytest.mark.parametrize("num_threads", [0, 1, 3])
@pytest.mark.parametrize("num_ranks", [1, 2, 3])
def test_ranks_and_threads_do_not_change_the_global_batches(shard, num_ranks, num_threads):
    dataset = ClipDataset([shard], SETTINGS)
    whole = take(ClipLoader(dataset, 6, seed=3), 4)
    shares = [
        take(
            ClipLoader(dataset, 6, seed=3, rank=r, num_ranks=num_ranks, num_threads=num_threads), 4
        )
        for r in range(num_ranks)
    ]
    for step, batch in enumerate(whole):
        parts = [share[step] for share in shares]
        assert batch.clip_id == [name for part in parts for name in part.clip_id]
        for name in ("video", "background", "mask", "K", "transl", "reference_frame"):
            joined = torch.cat([getattr(part, name) for part in parts])
            assert torch.equal(getattr(batch, name), joined), name


def test_every_epoch_shows_every_clip_once(shard):
    dataset = ClipDataset([shard], SETTINGS)
    batches = take(ClipLoader(dataset, 4), 3)  # 12 samples = 2 epochs of 6 train clips
    names = [name for batch in batches for name in batch.clip_id]
    assert sorted(names[:6]) == sorted(names[6:]) == sorted(e.clip_id for e in dataset.entries)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_resume_in_mid_epoch_continues_with_the_same_batches(shard, num_threads):
    dataset = ClipDataset([shard], SETTINGS)
    straight = take(ClipLoader(dataset, 2, seed=1), 8)
    first = ClipLoader(dataset, 2, seed=1, num_threads=num_threads)
    take(first, 4)
    second = ClipLoader(ClipDataset([shard], SETTINGS), 2, seed=1, num_threads=num_threads)
    second.load_state_dict(first.state_dict())
    assert all(same(a, b) for a, b in zip(straight[4:], take(second, 4), strict=True))


def test_resume_with_other_data_or_seed_is_refused(shard, tmp_path, write_toy_shard):
    state = ClipLoader(ClipDataset([shard], SETTINGS), 2).state_dict()
    with pytest.raises(ValueError, match="seed"):
        ClipLoader(ClipDataset([shard], SETTINGS), 2, seed=5).load_state_dict(state)
    other = ClipDataset([write_toy_shard(tmp_path / "b.tar", count=3)], SETTINGS)
    with pytest.raises(ValueError, match="fingerprint"):
        ClipLoader(other, 2).load_state_dict(state)


def test_batch_that_ranks_cannot_share_is_refused(shard):
    with pytest.raises(ValueError, match="multiple of the 3 ranks"):
        ClipLoader(ClipDataset([shard], SETTINGS), 4, num_ranks=3)


def test_unreadable_clip_is_replaced_and_counted_the_same_on_any_thread_count(
    tmp_path, write_toy_shard
):
    path = write_toy_shard(tmp_path / "a.tar", count=5)
    clip_id, spans = list(index_shard(path).items())[2]
    with path.open("r+b") as file:
        file.seek(spans["video.mp4"].offset)
        file.write(bytes(spans["video.mp4"].size))
    runs = []
    for num_threads in (0, 2):
        loader = ClipLoader(ClipDataset([path], SETTINGS), 5, num_threads=num_threads)
        runs.append(take(loader, 2))
        assert loader.num_substituted == 2  # once in each of two epochs
        assert list(loader.bad_samples) == [clip_id]
        assert "not a readable video" in loader.bad_samples[clip_id]
    assert all(same(a, b) for a, b in zip(*runs, strict=True))
    assert clip_id not in {name for batch in runs[0] for name in batch.clip_id}


def test_set_of_broken_clips_raises_instead_of_hanging(tmp_path, write_toy_shard):
    path = write_toy_shard(tmp_path / "a.tar", count=2, frames=9)
    loader = ClipLoader(ClipDataset([path], ClipSettings(num_frames=13, size_px=32)), 2)
    with pytest.raises(RuntimeError, match="9 frames, the window wants 13"):
        take(loader, 1)


def test_media_and_labels_in_separate_shards_are_joined_and_doubles_refused(shard, tmp_path):
    from storage_schemas.shards import read_shard, write_shard

    media, labels = [], []
    for clip_id, members in read_shard(shard):
        names = ("clip.json", "video.mp4")
        media.append((clip_id, {n: members[n] for n in names}))
        labels.append((clip_id, {n: b for n, b in members.items() if n not in names}))
    with (tmp_path / "media.tar").open("wb") as file:
        write_shard(media, file)
    entries = index_clips([tmp_path / "media.tar"])
    assert all(set(entry.members) == {"clip.json", "video.mp4"} for entry in entries)
    with pytest.raises(ValueError, match="one version only"):
        index_clips([shard, tmp_path / "media.tar"])


def test_cache_changes_speed_only(shard):
    cached = ClipLoader(ClipDataset([shard], SETTINGS), 3)
    plain = ClipLoader(ClipDataset([shard], SETTINGS, cache_mb=0), 3)
    assert all(same(a, b) for a, b in zip(take(cached, 6), take(plain, 6), strict=True))


def test_cropped_camera_projects_to_the_resized_pixels():
    generator = torch.Generator().manual_seed(0)
    K = torch.tensor([[100.0, 0, 64], [0, 100, 36], [0, 0, 1]]).double()
    window = Window(start=0, stride=1, num_frames=1, x0_px=37, y0_px=5, side_px=60, size_px=24)
    points = torch.randn(20, 3, generator=generator).double() + torch.tensor([0, 0, 5.0])
    T_camera_world = torch.eye(4).double()
    before, _ = project(points, K, T_camera_world)
    after, _ = project(points, crop_camera(K[None], window)[0], T_camera_world)
    corner = torch.tensor([37.0, 5.0]).double()
    torch.testing.assert_close(after, (before - corner) * 24 / 60)


def test_crop_moves_pictures_and_labels_to_where_the_camera_says():
    frames = np.zeros((1, 90, 160, 3), np.uint8)
    frames[0, 40:46, 100:106] = 255  # a square whose centre is (103, 43)
    window = Window(start=0, stride=1, num_frames=1, x0_px=70, y0_px=10, side_px=72, size_px=48)
    picture = crop_video(frames, window)[0, 0].double()
    labels = crop_labels(frames[..., 0], window)[0].double()
    centre = torch.tensor([(103 - 70) * 48 / 72, (43 - 10) * 48 / 72]).double()
    positions = torch.arange(48).double() + 0.5
    for image in (picture, labels):
        x = (image.sum(0) * positions).sum() / image.sum()
        y = (image.sum(1) * positions).sum() / image.sum()
        torch.testing.assert_close(torch.stack([x, y]), centre, atol=0.02, rtol=0)


def test_person_fills_the_crop_and_joints_follow(shard):
    dataset = ClipDataset([shard], SETTINGS)
    batch = next(dataset.batches(6))
    assert batch.mask is not None
    assert batch.video is not None
    for number, entry in enumerate(dataset.entries):
        rows = torch.nonzero(batch.mask[number].amax((0, 2)))[:, 0]
        assert rows.max() - rows.min() > 0.5 * SETTINGS.size_px, entry.clip_id
    root = batch.transl[:, 0]  # the middle of the box, in the world
    pixels, _ = project(root[:, :, None], batch.K, batch.T_camera_world)
    columns = torch.arange(32) + 0.5
    weights = (batch.mask == 1).float().sum(2)
    middle = (weights * columns).sum(-1) / weights.sum(-1)
    torch.testing.assert_close(pixels[:, :, 0, 0], middle, atol=1.2, rtol=0)


# box, image, fill -> corner and side
@pytest.mark.parametrize(
    ("box", "size", "fill", "expected"),
    [
        ((10.0, 10.0, 30.0, 50.0), (100, 80), 0.8, (0, 5, 50)),  # pushed inside on the left
        (None, (100, 80), 0.8, (10, 0, 80)),  # nobody: the largest centred square
        ((0.0, 0.0, 100.0, 80.0), (100, 80), 0.8, (10, 0, 80)),  # never beyond the image
        ((50.0, 50.0, 51.0, 51.0), (100, 80), 0.8, (42, 42, 16)),  # never smaller than 16
    ],
)
def test_crop_is_a_square_inside_the_image(box, size, fill, expected):
    assert place_crop(box, *size, fill) == expected


def test_folder_without_shards_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match="isa4d pack"):
        find_shards(tmp_path)


def test_bodies_of_a_licensed_file_are_not_posed_as_the_free_body(tmp_path, write_toy_shard):
    (entry, *_) = index_clips([write_toy_shard(tmp_path / "a.tar", count=1)])

    class Licensed(ClipEntry):
        def read(self, names):
            data = super().read(names)
            body = BodyTracks.from_npz(data[BODY])
            return data | {BODY: replace(body, body_model="smpl:0123").to_npz()}

    licensed = Licensed(**{f.name: getattr(entry, f.name) for f in fields(entry)})
    assert SampleReader(ClipSettings()).read_labels(licensed).body is not None
    with pytest.raises(ValueError, match="bodies of a licensed file"):
        SampleReader(ClipSettings(num_points=4)).read_labels(licensed)
