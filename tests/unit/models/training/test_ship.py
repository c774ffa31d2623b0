"""What is shipped is the run: half precision, and the recipe and log that made it."""

import json

import pytest
import torch

from models.recipes import find_recipe, recipe_to_json
from models.trained import load_vae
from models.training.checkpoint import save_weights
from models.training.ship import ship
from models.vae.model import VideoVAE


def test_shipped_weights_equal_the_run_within_half_precision(tmp_path):
    torch.manual_seed(0)
    recipe = find_recipe("vae_debug")
    run, out = tmp_path / "run", tmp_path / "shipped"
    run.mkdir()
    (run / "recipe.json").write_text(recipe_to_json(recipe))
    records = [{"step": 1, "loss": 2.0}, {"step": 2, "val_psnr": 31.5}]
    (run / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    vae = VideoVAE(recipe.model)
    save_weights(run / "model.safetensors", vae.state_dict())
    digest = ship(run, out, "two steps of nothing, seed 0")
    shipped, shipped_recipe, shipped_digest = load_vae(out)
    assert (shipped_digest, shipped_recipe) == (digest, recipe)
    weights = vae.state_dict()
    for name, value in shipped.state_dict().items():
        torch.testing.assert_close(
            value, weights[name], rtol=2**-11, atol=1e-7, msg=lambda text, n=name: f"{n}: {text}"
        )
    origin = (out / "ORIGIN.txt").read_text()
    assert origin.startswith("two steps of nothing")
    assert "val_psnr 31.5" in origin


def test_an_unfinished_run_is_not_shipped(tmp_path):
    run, out = tmp_path / "run", tmp_path / "shipped"
    run.mkdir()
    (run / "recipe.json").write_text(recipe_to_json(find_recipe("vae_debug")))
    with pytest.raises(ValueError, match="--resume"):
        ship(run, out, "nothing")
    assert not out.exists()
