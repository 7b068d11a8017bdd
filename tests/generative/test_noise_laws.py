from math import inf, log2

import numpy as np
import pytest
import torch
from scipy.stats import betaprime, kstest

from matkit.errors import ConfigError
from matkit.generative.parts.noise_laws import law_noise
from matkit.generative.parts.preconditioning import heun, noise_levels, preconditioning
from tests.generative.crystals import normal


def noise(count, extra, n=18, seed=0):
    """Noise of 3 n dimensions."""
    drawn, mask = normal(count, n, 3, seed=seed), torch.ones(count, n).bool()
    return law_noise(drawn, mask, torch.full((count,), 3 * n), extra)


@pytest.mark.parametrize(("extra", "spread"), [(16, 1.069), (64, 1.016), (256, 1.004)])
def test_moments_of_the_law(extra, spread):
    drawn = noise(20_000, extra)
    square = drawn.square().sum(dim=(1, 2))
    # E |noise|^2 = N D / (D - 2) in units of sigma^2.
    assert square.mean() == pytest.approx(54 * extra / (extra - 2), rel=0.02)
    assert drawn.square().mean().sqrt() == pytest.approx(spread, rel=0.01)
    radius = square.sqrt()
    expected = {16: 0.215, 64: 0.132, 256: 0.106}[extra]
    assert radius.std() / radius.mean() == pytest.approx(expected, rel=0.05)


def test_the_radius_has_its_published_distribution():
    square = noise(4000, 24).square().sum(dim=(1, 2)) / 24
    assert kstest(square.numpy(), betaprime(54 / 2, 24 / 2).cdf).pvalue > 0.01


def test_the_law_of_many_dimensions_is_gaussian():
    drawn = normal(50, 18, 3)
    assert torch.equal(noise(50, inf), drawn)
    assert torch.allclose(noise(50, 1e9), drawn, rtol=1e-6, atol=0)


def test_padding_and_single_atoms():
    drawn = normal(2, 4, 3)
    mask = torch.tensor([[True, True, False, False], [True, False, False, False]])
    drawn[1] = 0  # one atom about its centre
    found = law_noise(drawn, mask, torch.tensor([6, 0]), 16.0)
    assert not found[0, 2:].any()
    assert found[0, :2].any()
    assert torch.equal(found[1], torch.zeros(4, 3).double())
    alone = law_noise(drawn[:1, :2], mask[:1, :2], torch.tensor([6]), 16.0)
    assert torch.allclose(alone[0], found[0, :2])


def test_dimensions_that_are_none():
    with pytest.raises(ConfigError, match="more than 0 extra dimensions"):
        noise(1, 0.0)


def test_preconditioning():
    sigma = torch.tensor([1e-3, 1.0, 1e3], dtype=torch.float64)
    found = preconditioning(sigma, 0.5)
    assert found.skip.flatten()[0] == pytest.approx(1, abs=1e-4)
    assert found.skip.flatten()[2] == pytest.approx(0, abs=1e-4)
    # What goes into the network has unit variance, what is asked of it too.
    assert torch.allclose(found.into.flatten().square() * (sigma**2 + 0.25), torch.ones(3).double())
    target = ((1 - found.skip) * 0.5).square() + (found.skip * sigma.view(-1, 1, 1)).square()
    assert torch.allclose(target / found.out.square(), torch.ones(3, 1, 1).double())
    assert torch.allclose(found.weight * found.out.square(), torch.ones(3, 1, 1).double())


def test_noise_levels():
    levels = noise_levels(0.002, 80.0, 18)
    assert len(levels) == 19
    assert levels[0] == pytest.approx(80)
    assert levels[-2] == pytest.approx(0.002)
    assert levels[-1] == 0
    assert bool((levels.diff() < 0).all())
    assert noise_levels(0.002, 80.0, 1).tolist() == pytest.approx([80.0, 0.0])


def test_the_sampler_is_of_second_order():
    # Of normal data of unit variance the denoiser is x / (1 + sigma^2), the flow x / sqrt(1 + s^2).
    def end(steps):
        levels = np.linspace(2.0, 0.5, steps + 1).tolist()
        (x,) = heun([torch.ones(1).double()], levels, lambda x, s: [x[0] / (1 + s**2)])
        return abs(float(x) - (1.25 / 5) ** 0.5)

    assert log2(end(10) / end(20)) == pytest.approx(2, abs=0.15)


def test_a_set_of_points_is_drawn_by_its_own_denoiser():
    points = torch.tensor([[-1.0], [0.5], [2.0]], dtype=torch.float64)

    def denoise(state, sigma):
        weight = (-((state[0] - points.T) ** 2) / (2 * sigma**2)).softmax(dim=1)
        return [weight @ points]

    levels = noise_levels(0.002, 80.0, 40).tolist()
    (found,) = heun([80 * normal(64, 1)], levels, denoise)
    near = (found - points.T).abs().amin(dim=1)
    assert near.max() < 1e-2
    assert len(set((found - points.T).abs().argmin(dim=1).tolist())) == 3
