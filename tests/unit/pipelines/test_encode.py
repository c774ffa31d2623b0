"""Latents are those of the clip's own window, and join it again in training."""

import json
from dataclasses import replace
from itertools import islice

import pytest
import torch

from models.data import ClipDataset, ClipLoader
from models.published import latent_shards
from models.recipes import find_recipe, recipe_to_json
from models.sample import SampleReader
from models.trained import load_vae
from models.training.checkpoint import save_weights
from models.vae.model import VideoVAE
from models.window import ClipSettings, Window
from pipelines.encode import draw_of, encode_latents
from storage_schemas.latent import LatentRecord
from storage_schemas.shards import read_shard
from storage_schemas.store import Store

SETTINGS = ClipSettings(num_frames=5, size_px=32)


@pytest.fixture(scope="module")
def vae(tmp_path_factory):
    folder = tmp_path_factory.mktemp("vae")
    recipe = find_recipe("vae_debug")
    torch.manual_seed(0)
    (folder / "recipe.json").write_text(recipe_to_json(recipe))
    model = VideoVAE(replace(recipe.model, linear_skip=True))
    save_weights(folder / "model.safetensors", model.state_dict())
    return folder


@pytest.fixture
def store(tmp_path, write_toy_shard):
    write_toy_shard(tmp_path / "shards/a/shard-000000.tar", count=4)
    write_toy_shard(tmp_path / "shards/a/shard-000001.tar", count=1, frames=3, first=4)
    return Store(tmp_path)


def encode(store, vae):
    shards = [key for key in store.list("shards/a/") if key.endswith(".tar")]
    return encode_latents(store, "a", shards, vae, SETTINGS)


def test_latents_are_those_of_the_window_and_join_the_clip(store, vae, tmp_path):
    account = encode(store, vae)
    assert account.summary() == (
        "encode: 5 inputs = 4 kept + 1 filtered (too_short 1) + 0 failed; 0 reused"
    )
    paths = [
        store.local_path(key) for key in (*store.list("shards/a/"), *latent_shards(store, "a"))
    ]
    dataset = ClipDataset(paths, replace(SETTINGS, with_latents=True, num_points=7))
    loader = ClipLoader(dataset, 2)
    model, _, digest = load_vae(vae)
    plain = SampleReader(SETTINGS)
    for batch in islice(loader, 2):
        assert batch.video is None
        assert batch.points_world.shape[2:] == (5, 7, 3)
        for number, clip_id in enumerate(batch.clip_id):
            entry = next(e for e in dataset.entries if e.clip_id == clip_id)
            labels = plain.read_labels(entry)
            sample = plain.read_sample(entry, labels, plain.window(labels, draw_of(clip_id)))
            video = sample.video[None].float() / 255 * 2 - 1
            expected = model.encode(video).mean[0]
            torch.testing.assert_close(batch.latent_mean[number], expected)
            torch.testing.assert_close(batch.K[number], sample.K)
            torch.testing.assert_close(batch.mask[number], sample.mask)
            frame = int(batch.reference_frame[number])
            image = model.encode(video[:, :, frame : frame + 1]).mean[0, :, 0]
            torch.testing.assert_close(batch.reference_latent[number], image)
            plate = sample.background[None].float() / 255 * 2 - 1
            torch.testing.assert_close(batch.background_latent[number], model.encode(plate).mean[0])
    record = LatentRecord.from_npz(next(read_shard(paths[-2]))[1]["latent.npz"])
    assert record.vae_digest == digest
    assert "random weights (seed 0)" in record.embedding_source
    assert record.reference_frames.tolist() == [0, 1, 3, 4]
    assert Window.from_json(record.window).num_frames == 5


def test_encoding_again_reuses_and_other_weights_encode_again(store, vae, tmp_path):
    encode(store, vae)
    before = [store.read(key) for key in latent_shards(store, "a")]
    again = encode(store, vae)
    assert again.reused == again.kept == 4
    assert [store.read(key) for key in latent_shards(store, "a")] == before
    for key in latent_shards(store, "a"):
        store.delete(key)
    assert encode(store, vae).reused == 0
    assert [store.read(key) for key in latent_shards(store, "a")] == before
    report = json.loads(store.read("latents/a/shard-000001.json"))
    assert list(report["left_out"].values()) == ["too_short"]


def test_latents_of_another_length_are_refused_with_the_way_out(store, vae):
    encode(store, vae)
    paths = [
        store.local_path(key) for key in (*store.list("shards/a/"), *latent_shards(store, "a"))
    ]
    longer = replace(SETTINGS, num_frames=9, with_latents=True)
    with pytest.raises(RuntimeError, match="encode again"):
        next(iter(ClipLoader(ClipDataset(paths, longer), 1)))


def test_nothing_to_encode_says_what_to_run(store, vae):
    with pytest.raises(ValueError, match="isa4d pack a"):
        encode_latents(store, "a", [], vae, SETTINGS)
