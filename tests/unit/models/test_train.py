"""A recipe is trained by name, leaves all that is needed to use it, and refuses to be mixed up."""

import json
from dataclasses import replace

import pytest
import torch

from models.published import PublishedData
from models.recipes import find_recipe, recipe_from_json, recipe_functions, recipe_to_json
from models.train import begin_with, estimate, main, resolve, run_recipe
from models.trained import load_dit, load_vae, read_recipe, weights_digest
from models.training.checkpoint import load_weights
from models.training.launch import launch
from models.training.metrics import read_metrics
from models.vae.losses import LossWeights
from models.vae.task import VAETask


@pytest.fixture(scope="module")
def shard(tmp_path_factory, write_toy_shard):
    folder = tmp_path_factory.mktemp("shards")
    return write_toy_shard(folder / "a.tar", count=6, frames=17, size_px=(64, 64))


def small():
    recipe = resolve("vae_debug", 3)
    clips = replace(recipe.clips, num_frames=5, size_px=32)
    return replace(recipe, weights=LossWeights(), clips=clips)


@pytest.fixture(scope="module")
def finished(shard, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    return run_recipe(small(), [shard], out), out


@pytest.mark.parametrize("name", sorted(recipe_functions()))
def test_every_recipe_returns_from_json_unchanged(name):
    recipe = find_recipe(name)
    assert recipe.name == name
    assert recipe_from_json(recipe_to_json(recipe)) == recipe


def test_unknown_recipe_names_those_there_are():
    with pytest.raises(ValueError, match=r"dit_tiny.*vae_tiny"):
        find_recipe("vea_tiny")


@pytest.mark.parametrize(
    "text", ["{}", "x", '{"kind": "os:system", "settings": {}}', '{"kind": 1, "settings": {}}']
)
def test_text_that_is_no_recipe_is_refused(text):
    with pytest.raises(ValueError, match="not a recipe"):
        recipe_from_json(text)


def test_shorter_run_shortens_its_warm_up():
    recipe = resolve("vae_tiny", 20)
    assert (recipe.num_steps, recipe.warmup_steps) == (20, 2)


def test_finished_run_holds_what_rebuilds_it(finished):
    result, out = finished
    assert (result.status, result.step) == ("finished", 3)
    names = {path.name for path in out.iterdir()}
    assert names >= {"recipe.json", "settings.json", "git_commit.txt", "git_diff.txt",
                     "environment.txt", "metrics.jsonl", "model.safetensors"}  # fmt: skip
    assert read_recipe(out) == small()
    vae, _, digest = load_vae(out)
    assert not vae.training
    assert len(digest) == 64
    assert vae(torch.zeros(1, 3, 5, 32, 32), torch.zeros(1, 16, 2, 8, 8)) is not None
    records = read_metrics(out / "metrics.jsonl")
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3]
    assert "val_psnr_linear" in records[-1], "the linear skip was fitted before the first step"


def test_run_begins_with_the_weights_of_another(finished, shard, tmp_path):
    """Through Ray Train's local mode too: the demo once trained from nothing this way."""
    _, before = finished
    recipe = replace(small(), learning_rate=0.0, muon_learning_rate=0.0, weight_decay=0.0)
    assert launch(recipe, [shard], tmp_path, start=before).status == "finished"
    assert (tmp_path / "start.txt").read_text().startswith(weights_digest(before))
    for name, weight in load_weights(before).items():
        torch.testing.assert_close(load_weights(tmp_path)[name], weight, msg=name)


def test_weights_of_another_model_are_no_start(finished, shard, tmp_path):
    recipe = replace(small(), model=replace(small().model, widths=(16, 16)))
    with pytest.raises(ValueError, match="whose model differs"):
        run_recipe(recipe, [shard], tmp_path, start=finished[1])


def test_run_is_not_taken_for_another_kind(finished):
    with pytest.raises(ValueError, match="must hold an ISA-DiT"):
        load_dit(finished[1])


def test_run_folder_is_not_written_over_or_resumed_with_another_recipe(finished, shard):
    _, out = finished
    with pytest.raises(ValueError, match="already holds a run"):
        run_recipe(small(), [shard], out)
    with pytest.raises(ValueError, match="other settings"):
        run_recipe(replace(small(), learning_rate=1.0), [shard], out, resume=True)


def test_resuming_a_finished_run_does_nothing(finished, shard):
    _, out = finished
    before = (out / "model.safetensors").read_bytes()
    assert run_recipe(small(), [shard], out, resume=True).step == 3
    assert (out / "model.safetensors").read_bytes() == before


def test_estimate_measures_small_models_and_only_counts_large_ones(shard):
    measured = estimate(small(), [shard])
    assert measured["step_s"] > 0
    assert measured["total_h"] == pytest.approx(measured["step_s"] * 3 / 3600)
    large = estimate(find_recipe("dit_full"), [shard])
    assert large["parameters"] > 3e9
    assert "step_s" not in large or torch.cuda.is_available()


# arguments, and what the program says before it returns 2
@pytest.mark.parametrize(
    ("recipe", "data", "message"),
    [("nothing", "shards", "no recipe"), ("vae_tiny", "nowhere", "no such shard")],
)
def test_wrong_request_returns_2_and_says_why(recipe, data, message, tmp_path, caplog):
    arguments = [recipe, "--data", str(tmp_path / data), "--out", str(tmp_path / "out")]
    assert main(arguments) == 2
    assert message in caplog.text
    assert not (tmp_path / "out").exists()


def test_dry_run_prints_and_writes_nothing(shard, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["dit_full", "--data", str(shard), "--out", str(out), "--dry-run"]) == 0
    assert json.loads(capsys.readouterr().out)["recipe"] == "dit_full"
    assert not out.exists()


def test_a_run_keeps_to_the_version_it_began_with(tmp_path, write_toy_shard):
    shard = write_toy_shard(tmp_path / "a.tar", count=6)
    out = tmp_path / "run"
    run_recipe(small(), [shard], out)
    (out / "data.json").write_text('{"root": "r", "reference": "clips@1"}')
    with pytest.raises(ValueError, match="was trained on clips@1, not on clips@2"):
        run_recipe(small(), PublishedData(root="r", reference="clips@2"), out, resume=True)


def test_an_autoencoder_trains_with_lpips_and_leaves_it_out_of_its_checkpoints(shard, tmp_path):
    import torchvision

    features = torchvision.models.alexnet(weights=None).features.state_dict()
    file = tmp_path / "alexnet-owt-7be5be79.pth"  # random, in the published layout
    torch.save({f"features.{name}": value for name, value in features.items()}, file)
    recipe = resolve("vae_debug", 2, file)
    small_enough = replace(recipe, clips=replace(recipe.clips, size_px=64), crop_px=64)
    assert run_recipe(small_enough, [shard], tmp_path / "out").metrics["perceptual"] > 0
    saved = load_weights(tmp_path / "out")
    assert not [name for name in saved if "perceptual" in name]
    task = VAETask(small_enough)
    assert not [name for name in task.state_dict()["module"] if "perceptual" in name]
    with pytest.raises(ValueError, match="loss of autoencoders"):
        resolve("dit_debug", 2, file)


def test_a_video_autoencoder_starts_as_the_image_one(tmp_path):
    import diffusers

    torch.manual_seed(0)
    image = diffusers.AutoencoderKL(
        block_out_channels=(8, 8, 8, 8), norm_num_groups=4, latent_channels=16, layers_per_block=2,
        down_block_types=("DownEncoderBlock2D",) * 4, up_block_types=("UpDecoderBlock2D",) * 4,
        use_quant_conv=False, use_post_quant_conv=False,
    )  # fmt: skip
    image.save_pretrained(tmp_path)
    recipe = find_recipe("vae_full")
    task = VAETask(replace(recipe, model=replace(recipe.model, widths=(8, 8, 8, 8), groups=4)))
    begin_with(task, tmp_path / "diffusion_pytorch_model.safetensors")
    picture = torch.rand(1, 3, 1, 32, 32) * 2 - 1
    with torch.no_grad():
        expected = image.eval().encode(picture[:, :, 0]).latent_dist.mode()
        torch.testing.assert_close(task.average.encode(picture).mean[:, :, 0], expected)
    with pytest.raises(ValueError, match="to start from must be SD3"):
        begin_with(task, tmp_path / "config.json")
    (tmp_path / "broken.safetensors").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="no safetensors file"):
        begin_with(task, tmp_path / "broken.safetensors")
