"""Laws of Muon."""

import pytest
import torch
from torch import nn

from models.vae.muon import Muon, orthogonalise


@pytest.mark.parametrize("shape", [(8, 8), (4, 20), (20, 4)])
def test_updates_have_singular_values_near_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.5
    assert values.max() < 1.3


def test_scale_of_the_gradient_does_not_matter():
    matrix = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(orthogonalise(matrix), orthogonalise(1000 * matrix))


def test_first_step_is_the_orthogonal_gradient_scaled_for_tall_weights():
    weight = nn.Parameter(torch.zeros(18, 2, 1, 1, 1))
    weight.grad = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    gradient = weight.grad.flatten(1).clone()
    Muon([weight], lr=0.1).step()
    expected = -0.1 * (18 / 2) ** 0.5 * orthogonalise(gradient)
    torch.testing.assert_close(weight.data.flatten(1), expected)


def test_weights_without_gradient_stay():
    weight = nn.Parameter(torch.ones(2, 2))
    Muon([weight]).step()
    assert (weight == 1).all()
