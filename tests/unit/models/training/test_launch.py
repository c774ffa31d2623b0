"""The launcher never writes over what a run left."""

from dataclasses import replace

import pytest

from models.recipes import find_recipe
from models.training.checkpoint import refuse_second_run
from models.training.launch import launch, parse_workers


@pytest.mark.parametrize("workers", [-1, 3, (1, 3), (2, 1), (0, 2)])
def test_workers_that_cannot_share_the_batch_are_refused(workers, tmp_path):
    recipe = replace(find_recipe("vae_debug"), batch_size=4)
    with pytest.raises(ValueError, match="workers"):
        launch(recipe, [], tmp_path, num_workers=workers)


@pytest.mark.parametrize("resume", [False, True])
def test_finished_weights_without_checkpoints_are_never_written_over(tmp_path, resume):
    (tmp_path / "model.safetensors").write_bytes(b"kept")
    with pytest.raises(ValueError, match="--start from this one"):
        launch(find_recipe("vae_debug"), [], tmp_path, resume)
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_a_run_is_continued_only_on_request(tmp_path):
    (tmp_path / "checkpoints/step-00000001").mkdir(parents=True)
    refuse_second_run(tmp_path, resume=True)
    with pytest.raises(ValueError, match="add --resume"):
        refuse_second_run(tmp_path, resume=False)


@pytest.mark.parametrize(("text", "workers"), [("0", 0), ("4", 4), ("1-4", (1, 4))])
def test_workers_are_a_number_or_a_range(text, workers):
    assert parse_workers(text) == workers


@pytest.mark.parametrize("text", ["many", "1-", "-", "1-2-3"])
def test_other_numbers_of_workers_are_refused(text):
    with pytest.raises(ValueError, match="a range like 1-4"):
        parse_workers(text)
