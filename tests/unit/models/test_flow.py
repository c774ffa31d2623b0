"""Laws of the flow: the sign of v, exactness on straight paths, order of the samplers."""

import pytest
import torch

from models.flow import (
    SAMPLERS,
    flow_loss,
    interpolate,
    sample_time,
    shift_time,
    time_grid,
    velocity,
)


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 4, 5, generator=generator), torch.randn(3, 4, 5, generator=generator)


def test_path_starts_at_data_and_ends_at_noise(pair):
    x_0, noise = pair
    assert torch.equal(interpolate(x_0, noise, torch.zeros(3)), x_0)
    assert torch.equal(interpolate(x_0, noise, torch.ones(3)), noise)


def test_velocity_is_minus_the_time_derivative_of_the_path(pair):
    x_0, noise = (x.double() for x in pair)
    time, step = torch.full((3,), 0.4, dtype=torch.float64), 1e-6
    change = interpolate(x_0, noise, time + step) - interpolate(x_0, noise, time - step)
    torch.testing.assert_close(velocity(x_0, noise), -change / (2 * step), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("name", SAMPLERS)
@pytest.mark.parametrize("num_steps", [1, 7])
@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_true_velocity_of_one_pair_leads_from_noise_to_data(pair, name, num_steps, shift):
    x_0, noise = pair
    found = SAMPLERS[name](lambda x, t: velocity(x_0, noise), noise, num_steps, shift)
    torch.testing.assert_close(found, x_0, atol=1e-5, rtol=1e-5)


def gaussian_velocity(mean, std):
    """E[x_0 - eps | x_t] when data is N(mean, std^2): a known flow, linear in x."""

    def v(x, t):
        variance = (1 - t) ** 2 * std**2 + t**2
        gain = ((1 - t) * std**2 - t) / variance
        return mean + gain * (x - (1 - t) * mean)

    return v


@pytest.mark.parametrize("name", SAMPLERS)
def test_sampler_carries_noise_onto_a_gaussian(name):
    noise = torch.randn(20_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = SAMPLERS[name](gaussian_velocity(2.0, 0.5), noise, 200)
    # The flow of a Gaussian is affine: x_0 = mean + std * noise, sample by sample.
    torch.testing.assert_close(found, 2.0 + 0.5 * noise, atol=0.05, rtol=0.02)


def test_heun_is_second_order_and_beats_euler():
    noise = torch.linspace(-2, 2, 9, dtype=torch.float64)
    exact = 2.0 + 0.5 * noise

    def error(name, num_steps):
        found = SAMPLERS[name](gaussian_velocity(2.0, 0.5), noise, num_steps)
        return (found - exact).abs().max()

    assert error("heun", 20) < error("euler", 40)
    assert error("heun", 40) < error("heun", 20) / 3
    assert error("euler", 40) < error("euler", 20) / 1.5
    assert error("unipc", 20) < error("euler", 40) / 3


def test_shift_keeps_the_ends_and_moves_towards_noise():
    time = torch.tensor([0.0, 0.3, 0.7, 1.0])
    moved = shift_time(time, 3.0)
    assert moved[0] == 0
    assert moved[-1] == 1
    assert (moved[1:3] > time[1:3]).all()
    grid = time_grid(10, 3.0)
    assert grid == sorted(grid, reverse=True)
    assert (grid[0], grid[-1]) == (1.0, 0.0)


def test_sampled_times_are_reproducible_and_inside_the_interval():
    first = sample_time(1000, torch.Generator().manual_seed(5))
    assert torch.equal(first, sample_time(1000, torch.Generator().manual_seed(5)))
    assert 0 < first.min() < 0.2
    assert 0.8 < first.max() < 1


def test_weight_counts_cells_and_uniform_weight_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(2, 4, 3, 5, 5, generator=generator)
    target = torch.zeros_like(predicted)
    plain = flow_loss(predicted, target)
    torch.testing.assert_close(flow_loss(predicted, target, torch.full((2, 3, 5, 5), 2.0)), plain)
    weight = torch.zeros(2, 3, 5, 5)
    weight[0, 0, 0, 0] = 1.0
    one_cell = predicted[0, :, 0, 0, 0].square().mean()
    torch.testing.assert_close(flow_loss(predicted, target, weight), one_cell)


def test_only_ratios_of_channel_weights_matter():
    generator = torch.Generator().manual_seed(0)
    predicted = torch.randn(2, 4, 3, 5, 5, generator=generator)
    target = torch.zeros_like(predicted)
    plain = flow_loss(predicted, target)
    equal = flow_loss(predicted, target, channel_weight=torch.full((4,), 7.0))
    torch.testing.assert_close(equal, plain)
    one = flow_loss(predicted, target, channel_weight=torch.tensor([1.0, 0, 0, 0]))
    torch.testing.assert_close(one, predicted[:, 0].square().mean())
