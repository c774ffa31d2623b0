"""Two Ray Train workers draw the global batches of one process and leave a usable run."""

from dataclasses import replace

import pytest

from models.data import ClipDataset, ClipLoader
from models.train import resolve
from models.trained import load_vae
from models.training.metrics import read_metrics
from models.vae.losses import LossWeights


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore")
def test_two_workers_finish_a_run(tmp_path, write_toy_shard):
    import ray

    from models.training.launch import launch

    shard = write_toy_shard(tmp_path / "a.tar", count=6)
    recipe = resolve("vae_debug", 3)
    clips = replace(recipe.clips, num_frames=5, size_px=32)
    recipe = replace(recipe, clips=clips, weights=LossWeights())
    try:
        result = launch(recipe, [shard], tmp_path / "run", num_workers=2)
    finally:
        ray.shutdown()
    assert (result.status, result.step) == ("finished", 3)
    records = read_metrics(tmp_path / "run/metrics.jsonl")
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3]
    load_vae(tmp_path / "run")
    loader = ClipLoader(ClipDataset([shard], clips), recipe.batch_size, recipe.seed)
    batches = iter(loader)
    for _ in range(3):
        next(batches)
    assert loader.state_dict()["position"] == 3 * recipe.batch_size
    with pytest.raises(ValueError, match="multiple of the 4 workers"):
        launch(recipe, [shard], tmp_path / "other", num_workers=4)


def test_workers_that_cannot_share_the_batch_are_refused(tmp_path):
    from models.training.launch import launch

    with pytest.raises(ValueError, match="multiple of the 3 workers"):
        launch(resolve("vae_debug"), [tmp_path / "a.tar"], tmp_path / "run", num_workers=3)
