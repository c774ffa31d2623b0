"""Embeddings repeat, tell images apart, and say with which weights they were made."""

from pathlib import Path

import pytest
import torch

from models.embedding import ImageEmbedder


@pytest.fixture(scope="module")
def images():
    return torch.rand(3, 3, 40, 56, generator=torch.Generator().manual_seed(1))


def test_same_seed_same_vectors_of_unit_length_that_tell_images_apart(images):
    first, second = ImageEmbedder()(images), ImageEmbedder()(images)
    assert torch.equal(first, second)
    torch.testing.assert_close(first.norm(dim=-1), torch.ones(3))
    assert (first @ first.mT - torch.eye(3)).triu(1).max() < 0.9999
    assert not torch.equal(first, ImageEmbedder(seed=1)(images))


def test_random_weights_are_called_random_and_the_global_generator_is_left_alone(images):
    before = torch.get_rng_state()
    assert ImageEmbedder().source == "open_clip tiny, random weights (seed 0)"
    assert torch.equal(before, torch.get_rng_state())


def test_batch_size_does_not_matter(images):
    embed = ImageEmbedder()
    torch.testing.assert_close(embed(images)[1:2], embed(images[1:2]))


@pytest.mark.parametrize(
    ("architecture", "weights", "message"),
    [("ViT-9000", None, "one of open_clip"), ("tiny", Path("w"), "no published"),
     ("ViT-B-32", Path("/nowhere.safetensors"), "no weights at")],
)  # fmt: skip
def test_wrong_requests_say_what_to_do(architecture, weights, message):
    with pytest.raises(ValueError, match=message):
        ImageEmbedder(architecture, weights)
