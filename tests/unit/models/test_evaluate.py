"""Metrics of known values, and the programs that report them."""

from dataclasses import replace

import pytest
import torch

from models.dit.judge import evaluate_dit
from models.published import latent_shards
from models.recipes import find_recipe, recipe_to_json
from models.scores import psnr_db, ssim, summarise
from models.shot import SampleSettings
from models.training.checkpoint import save_weights
from models.vae.judge import evaluate_vae, is_moving, window_r2
from models.vae.model import VideoVAE
from pipelines.encode import encode_latents
from storage_schemas.store import Store


def test_psnr_of_a_known_error():
    truth = torch.full((2, 3, 5, 16, 16), 0.5)
    made = truth + torch.tensor([0.1, 0.01])[:, None, None, None, None]
    torch.testing.assert_close(psnr_db(made, truth), torch.tensor([20.0, 40.0]))
    assert psnr_db(truth, truth).tolist() == [100, 100]


def test_psnr_of_chosen_pixels_leaves_out_the_others():
    truth = torch.zeros(2, 3, 2, 4, 4)
    made = truth.clone()
    made[..., :2] = 0.1
    where = torch.zeros(2, 1, 2, 4, 4, dtype=torch.bool)
    where[0, ..., :2] = True
    assert psnr_db(made, truth, where)[0] == pytest.approx(20)
    assert psnr_db(made, truth, where)[1].isnan()
    assert psnr_db(made, truth, ~where)[0] == 100


def test_what_changes_moves_in_both_frames():
    video = torch.zeros(1, 3, 4, 2, 2)
    video[:, 1, 2:, 0, 0] = 0.2
    video[:, 2, :, 1, 1] = torch.tensor([0.0, 0.04, 0.08, 0.12])
    assert is_moving(video)[0, 0, :, 0, 0].tolist() == [False, True, True, False]
    assert is_moving(video).sum() == 2


def test_similarity_is_one_for_itself_and_falls_with_noise():
    truth = torch.rand(2, 3, 2, 32, 32, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(ssim(truth, truth), torch.ones(2))
    noise = torch.rand(truth.shape, generator=torch.Generator().manual_seed(1))
    assert (ssim(0.8 * truth + 0.2 * noise, truth) < 0.99).all()


def test_window_probe_sees_which_frames_a_latent_knows():
    generator = torch.Generator().manual_seed(0)
    video = torch.rand(4, 3, 9, 16, 16, generator=generator)
    first = video[:, :, 1::4, ::4, ::4]  # one pixel per cell of the first frame of each window
    last = video[:, :, 4::4, ::4, ::4]
    blocky = video[:, :, :, ::4, ::4].repeat_interleave(4, 3).repeat_interleave(4, 4)

    def ratio(*known):
        latents = torch.cat(known, 1)
        mean = torch.cat([latents[:, :, :1], latents], 2)
        scores = window_r2([(mean, blocky)], 4, 4)
        assert scores is not None
        return min(scores) / max(scores)

    every = [video[:, :, i::4, ::4, ::4] for i in range(1, 5)]
    assert ratio(*every) == pytest.approx(1, abs=0.02)
    assert ratio(first) < 0.1
    assert ratio(last) < 0.1
    assert window_r2([(torch.zeros(1, 2, 3, 4, 4), video[:1])], 4, 4) is None


def test_summary_counts_what_it_averages():
    assert summarise({"a": [1.0, 3.0]}) == {"a": {"mean": 2.0, "std": 1.0, "n": 2}}


def save(folder, recipe, module):
    folder.mkdir()
    (folder / "recipe.json").write_text(recipe_to_json(recipe))
    save_weights(folder / "model.safetensors", module.state_dict())
    return folder


def test_reports_name_split_digests_and_what_is_absent(tmp_path, write_toy_shard):
    from models.dit.model import ISADiT

    write_toy_shard(tmp_path / "shards/a/0.tar", count=4, frames=5, first=4)
    torch.manual_seed(0)
    generator = find_recipe("dit_debug")
    recipe = find_recipe("vae_debug")
    recipe = replace(
        recipe, clips=replace(generator.clips, num_points=0, with_latents=False), crop_frames=5
    )
    vae = save(tmp_path / "vae", recipe, VideoVAE(recipe.model))
    dit = save(tmp_path / "dit", generator, ISADiT(generator.model))
    store = Store(tmp_path)
    encode_latents(store, "a", ["shards/a/0.tar"], vae, generator.clips)
    shards = [store.local_path(key) for key in ("shards/a/0.tar", *latent_shards(store, "a"))]

    found = evaluate_vae(vae, shards)
    assert found["settings"]["split"] == "validation"
    judged = {"psnr{}_db", "psnr_fast{}_db", "psnr_first{}_db", "ssim{}"}
    judged |= {"psnr_moving{}_db", "psnr_still{}_db"}
    judged |= {f"psnr_window_{i}{{}}_db" for i in range(4)}
    names = {name.format(tag) for name in judged for tag in ("", "_pca")}
    assert set(found["metrics"]) == names | {"latent_mean", "latent_std"}
    learned = {"lpips_alex", "lpips_vgg", "fvd_videogpt", "fvd_styleganv"}
    assert set(found["settings"]["absent"]) == learned | {"window_r2"}
    assert found["metrics"]["psnr_db"]["n"] == 1
    clips = torch.rand(2, 3, 5, *[recipe.clips.size_px] * 2)
    named = evaluate_vae(vae, shards, videos=[clips])
    assert named["settings"]["split"] == "videos"
    assert named["metrics"]["psnr_db"]["n"] == 2
    assert set(named["metrics"]) > {f"window_r2_{i}" for i in range(4)}
    with pytest.raises(ValueError, match="got none"):
        evaluate_vae(vae, shards, videos=[])

    sampling = SampleSettings(num_steps=2)
    made = evaluate_dit(dit, vae, shards, sampling=sampling)
    shown = {"psnr_db", "ssim", "psnr_vae_db", "drift_db", "figure_psnr_db", "background_psnr_db"}
    assert set(made["metrics"]) == shown
    assert "wrong_pose_gap" in made["settings"]["absent"]
    assert made["settings"]["vae_digest"] == found["settings"]["vae_digest"]
    assert made == evaluate_dit(dit, vae, shards, sampling=sampling)

    (vae / "model.safetensors").unlink()
    save_weights(vae / "model.safetensors", VideoVAE(recipe.model).state_dict())
    with pytest.raises(ValueError, match="name the VAE they were encoded with"):
        evaluate_dit(dit, vae, shards, sampling=sampling)
