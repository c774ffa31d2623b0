"""A published version as training data: the same samples wherever labels and videos lie."""

import logging

import pytest
import torch

from models.data import ClipDataset
from models.published import PublishedData, held_data
from models.window import ClipSettings
from pipelines.pack import PackSettings, pack
from storage_schemas.collect import collect
from storage_schemas.dataset import publish, rollback, tag
from storage_schemas.lease import live_leases
from storage_schemas.refs import give_up
from storage_schemas.shards import read_shard
from storage_schemas.store import Store


@pytest.fixture
def store(tmp_path, write_toy_shard):
    """Versions 1, whole, and 2, with videos apart, of the same clips."""
    store = Store(tmp_path / "root")
    for clip_id, parts in read_shard(write_toy_shard(tmp_path / "toy.tar", count=4)):
        for name, content in parts.items():
            store.write(f"clips/{clip_id}/{name}", content)
    for labels_apart in (False, True):
        settings = PackSettings(
            samples_per_shard=2, labels_apart=labels_apart, validation_share=0.0, test_share=0.0
        )
        pack(store, "toy", settings=settings)
        publish(store, "toy")
    return store


def test_samples_are_the_same_whether_videos_lie_apart_or_not(store):
    settings = ClipSettings(num_frames=5, size_px=32)
    sets = [
        ClipDataset(PublishedData.pin(store.root, f"toy@{version}").shards(), settings, "train")
        for version in (1, 2)
    ]
    assert len(sets[0]) == len(sets[1]) == 4
    for index in range(4):
        one, other = (dataset.load(index, (0, 0, index)) for dataset in sets)
        assert one.clip_id == other.clip_id
        assert torch.equal(one.video, other.video)
        assert torch.equal(one.betas, other.betas)


def test_a_pinned_version_stays_whatever_the_name_comes_to_mean(store):
    tag(store, "toy@1", "prod")
    pinned = PublishedData.pin(store.root, "toy@prod")
    assert pinned.reference == "toy@1"
    assert PublishedData.pin(store.root, "toy").reference == "toy@2"
    rollback(store, "toy@1")
    assert PublishedData.pin(store.root, "toy").reference == "toy@1"
    assert pinned.reference == "toy@1"


def test_what_is_trained_on_is_not_collected(store):
    pinned = PublishedData.pin(store.root, "toy@1")
    with held_data(pinned):
        give_up(store, "toy", keep=1)
        assert collect(store, grace_s=0.0).garbage == ()
    assert live_leases(store) == []
    assert len(collect(store, grace_s=0.0).garbage) == 3  # two shards and a catalogue


def test_where_nothing_can_be_written_training_goes_on_with_a_warning(store, monkeypatch, caplog):
    def refuse(self, key, data):
        raise PermissionError("read only")

    monkeypatch.setattr(Store, "write", refuse)
    with caplog.at_level(logging.WARNING), held_data(PublishedData.pin(store.root, "toy")):
        pass
    assert "toy@2 is not protected from collection" in caplog.text
