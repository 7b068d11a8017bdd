"""Corruptions, paths, pairings and steps of single fields against closed forms."""

from itertools import permutations
from math import pi, sqrt

import pytest
import torch
from scipy import stats

from matkit.generative.parts import gaussian, wrapped_normal
from matkit.generative.parts.layout import atom_mask
from matkit.generative.parts.masked import cover, covered_error, uncover
from matkit.generative.parts.pairing import nearest_pairs
from matkit.generative.parts.schedules import cosine_signal, geometric_sigma
from matkit.generative.parts.straight import straight_path
from matkit.generative.parts.torus import mean_free, shortest, torus_path, wrap
from tests.generative.crystals import normal, uniform

F64 = torch.float64


# Torus


def test_shortest_way():
    a, b = uniform(100, 3), uniform(100, 3, seed=1)
    way = shortest(b - a)
    assert way.abs().max() <= 0.5
    assert torch.allclose(wrap(a + way), b, rtol=0, atol=1e-12)
    images = torch.cartesian_prod(*[torch.arange(-2, 3, dtype=F64)] * 3)
    nearest = ((b - a).unsqueeze(1) + images).norm(dim=2).min(dim=1).values
    assert torch.allclose(way.norm(dim=1), nearest, rtol=0, atol=1e-12)


def test_torus_path_ends_in_the_crystal_up_to_a_shift_at_constant_velocity():
    mask = atom_mask(torch.tensor([4, 2]))
    start, end = uniform(2, 4, 3), uniform(2, 4, 3, seed=1)
    time = torch.tensor([0.3, 0.8], dtype=F64)
    now, velocity = torus_path(start, end, time, mask)
    later, same = torus_path(start, end, time + 1e-3, mask)
    assert torch.equal(velocity, same)
    assert torch.allclose(shortest(later - now)[mask], 1e-3 * velocity[mask], rtol=0, atol=1e-12)
    assert torch.allclose(velocity.sum(dim=1), torch.zeros(2, 3, dtype=F64), atol=1e-12)
    first, _ = torus_path(start, end, torch.zeros(2, dtype=F64), mask)
    assert torch.allclose(first[mask], start[mask], rtol=0, atol=1e-12)
    last, _ = torus_path(start, end, torch.ones(2, dtype=F64), mask)
    shift = shortest((last - end) - (last - end)[:, :1])
    assert shift[mask].abs().max() < 1e-12


def test_marginal_of_the_torus_path_is_a_shrinking_box():
    # The difference of two atoms is uniform at first; at time t it is within (1 - t) / 2 of that
    # in the crystal.
    count, time = 4000, 0.6
    mask = torch.ones(count, 2, dtype=torch.bool)
    end = torch.tensor([[0.1, 0.9, 0.3], [0.8, 0.2, 0.35]], dtype=F64).expand(count, 2, 3)
    start = torch.cat([end[:, :1], uniform(count, 1, 3)], dim=1)  # the first is there already
    now, _ = torus_path(start, end, torch.full((count,), time, dtype=F64), mask)
    gap = shortest((now[:, 1] - now[:, 0]) - (end[:, 1] - end[:, 0])).flatten()
    width = 1 - time
    assert stats.kstest(gap.numpy(), "uniform", args=(-width / 2, width)).pvalue > 1e-3


def test_mean_free_leaves_padding_out():
    mask = atom_mask(torch.tensor([3, 2]))
    free = mean_free(normal(2, 3, 3), mask)
    assert free.sum(dim=1).abs().max() < 1e-12
    assert (free[1, 2] == 0).all()


# Wrapped normal


@pytest.mark.parametrize("sigma", [0.02, 0.1, 0.5])
def test_score_is_the_derivative_of_the_log_density(sigma):
    x = torch.linspace(-0.6, 0.6, 41, dtype=F64)
    width, step = torch.tensor(sigma, dtype=F64), 1e-6

    def log_density(x):
        images = x.unsqueeze(-1) + torch.arange(-30, 31)
        return torch.logsumexp(-(images**2) / (2 * sigma**2), dim=-1)

    expected = (log_density(x + step) - log_density(x - step)) / (2 * step)
    found = wrapped_normal.score(x, width)
    assert torch.allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert torch.allclose(wrapped_normal.score(x + 7, width), found, rtol=1e-8, atol=1e-8)


def test_narrow_scores_are_finite_in_single_precision():
    score = wrapped_normal.score(torch.linspace(-3, 3, 101), torch.tensor(0.005))
    assert torch.isfinite(score).all()


def test_mean_square_score_is_the_average_over_draws():
    sigma = torch.tensor([0.005, 0.06, 0.2, 0.5], dtype=F64)
    draws = sigma * normal(200_000, 4)
    square = wrapped_normal.score(draws, sigma).square()
    expected, error = square.mean(dim=0), square.std(dim=0) / sqrt(len(draws))
    found = wrapped_normal.mean_square_score(sigma)
    assert ((found - expected).abs() < 5 * error).all()
    assert found[0].item() == pytest.approx(1 / 0.005**2, rel=1e-10)  # a plain normal


def test_langevin_steps_keep_the_wrapped_normal():
    sigma, count = torch.tensor(0.2, dtype=F64), 5000
    x = (sigma * normal(count, 1, 3)).contiguous()
    size = torch.tensor(5e-4, dtype=F64)
    for step in range(40):
        slope = wrapped_normal.score(x, sigma)
        x = wrapped_normal.langevin_step(x, slope, size, normal(count, 1, 3, seed=step + 1))
    spread = torch.cos(2 * pi * x).mean().item()
    assert spread == pytest.approx(torch.exp(-2 * pi**2 * sigma**2).item(), abs=0.02)


def test_reverse_steps_undo_the_noise():
    sigmas, count = geometric_sigma(0.01, 0.5, 60), 500
    x = wrap(0.5 * normal(count, 1, 3))
    for i in range(60, 0, -1):
        pair = (sigmas[i], sigmas[i - 1])
        slope = wrapped_normal.score(x, pair[0])
        x = wrapped_normal.reverse_step(x, slope, pair, normal(count, 1, 3, seed=i))
    assert shortest(x).abs().max() < 1e-6  # the last step, to no noise, is exact


# Gaussian diffusion and straight flow


def test_corruption_has_the_share_of_signal():
    data = torch.full((20_000, 2), 3.0, dtype=F64)
    signal = torch.full((20_000,), 0.36, dtype=F64)
    noisy = gaussian.corrupt(data, normal(20_000, 2), signal)
    assert noisy.mean().item() == pytest.approx(0.6 * 3, abs=0.02)
    assert noisy.std().item() == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("stride", [1, 10])
def test_reverse_diffusion_with_the_exact_noise_gives_the_distribution(stride):
    # Data of the normal distribution N(2, 0.3): the best prediction of the noise is linear.
    signal, count = cosine_signal(200), 4000
    mean, variance = 2.0, 0.09
    x = normal(count, 1)
    for i in range(200, 0, -stride):
        late, early = signal[i], signal[i - stride]
        total = late * variance + 1 - late
        noise = (1 - late).sqrt() * (x - late.sqrt() * mean) / total
        x = gaussian.reverse_step(x, noise, (late, early), normal(count, 1, seed=i))
    assert x.mean().item() == pytest.approx(mean, abs=0.03)
    # Few steps take some of the spread away.
    assert x.std().item() == pytest.approx(sqrt(variance), rel=0.05 if stride == 1 else 0.3)


def test_straight_path():
    start, end = normal(3, 6), normal(3, 6, seed=1)
    time = torch.tensor([0.0, 0.25, 1.0], dtype=F64)
    now, velocity = straight_path(start, end, time)
    assert torch.equal(now[0], start[0])
    assert torch.allclose(now[2], end[2], rtol=0, atol=1e-12)
    assert torch.allclose(now[1] + 0.75 * velocity[1], end[1], rtol=0, atol=1e-12)


# Masked flow of species


def one_hot(*indices: int) -> torch.Tensor:
    return torch.nn.functional.one_hot(torch.tensor(indices), 4).to(F64)


def test_species_are_known_as_often_as_time_says():
    count = 4000
    species = one_hot(0, 2, 3).expand(count, 3, 4)
    mask = torch.tensor([True, True, False]).expand(count, 3)
    time = torch.full((count,), 0.3, dtype=F64)
    seen, covered = cover(species, time, uniform(count, 3), mask)
    assert not covered[:, 2].any()
    assert (1 - covered[:, :2].double().mean()) == pytest.approx(0.3, abs=4 * 0.5 / count**0.5)
    assert torch.equal(seen[~covered], species[~covered])
    assert not seen[covered].any()


def test_uncovering_reproduces_the_distribution_in_any_number_of_steps():
    count, logits = 20_000, torch.tensor([0.1, -1.0, 2.0, 0.5], dtype=F64)
    for steps in (1, 7):
        state = torch.zeros(count, 1, 4, dtype=F64)
        for done in range(steps):
            draw = uniform(count, 1, 5, seed=done)
            later = uncover(state, logits.expand(count, 1, 4), 1 / (steps - done), draw)
            known = state.sum(dim=2) == 1
            assert torch.equal(later[known], state[known])
            state = later
            share = (done + 1) / steps  # of the atoms is known: time itself
            assert state.sum(dim=2).mean().item() == pytest.approx(share, abs=0.02)
        frequencies = state.mean(dim=(0, 1))
        assert torch.allclose(frequencies, logits.softmax(dim=0), rtol=0, atol=0.015)


def test_only_covered_species_are_an_error():
    logits = normal(2, 3, 4)
    species = one_hot(0, 2, 3).expand(2, 3, 4)
    mask = torch.tensor([[True, True, True], [True, True, False]])
    covered = torch.tensor([[True, False, True], [False, False, False]])
    wrong = -logits[0].log_softmax(dim=1)
    expected = (wrong[0, 0] + wrong[2, 3]) / 3
    error = covered_error(logits, species, covered, mask)
    assert torch.allclose(error, torch.stack([expected, torch.zeros((), dtype=F64)]))


# Pairing


def test_pairs_are_the_nearest_of_each_species():
    start, end = uniform(3, 5, 3), uniform(3, 5, 3, seed=1)
    species = torch.stack([one_hot(0, 1, 1, 0, 1), one_hot(2, 2, 2, 2, 2), one_hot(0, 1, 2, 3, 0)])
    mask = atom_mask(torch.tensor([5, 4, 5]))
    species = species * mask.unsqueeze(2)
    found = nearest_pairs(start, end, species, mask)
    for b, n in enumerate([5, 4, 5]):
        kinds = species[b, :n].argmax(dim=1)
        orders = [list(o) for o in permutations(range(n)) if torch.equal(kinds[list(o)], kinds)]
        costs = [shortest(end[b, :n] - start[b, o]).square().sum() for o in orders]
        best = orders[int(torch.stack(costs).argmin())]
        assert torch.equal(found[b, :n], start[b, best])
    assert torch.equal(found[1, 4], start[1, 4])  # padding stays
    assert any(not torch.equal(found[b], start[b]) for b in range(3))
