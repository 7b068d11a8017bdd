"""Randomness, layout, schedules, lattices, losses and embeddings, one by one."""

from math import pi, sqrt

import pytest
import torch
from scipy import stats

from matkit.data.ase import from_ase
from matkit.errors import ConfigError
from matkit.generative.parts.embedding import embed_time, withhold
from matkit.generative.parts.lattice import BASIS, from_logarithm, to_logarithm
from matkit.generative.parts.layout import (
    atom_mask,
    crystals,
    fractional_coordinates,
    pad,
    standard_orientation,
)
from matkit.generative.parts.losses import atom_error, system_error
from matkit.generative.parts.randomness import Noise, noise_for
from matkit.generative.parts.schedules import cosine_signal, geometric_sigma, time_grid
from tests.generative.crystals import batch, normal, rotation, salt, seeded, titania

F64 = torch.float64


# Randomness


def test_noise_follows_its_distributions():
    noise = Noise(torch.arange(50))
    assert stats.kstest(noise.uniform(400).flatten().numpy(), "uniform").pvalue > 1e-3
    assert stats.kstest(noise.normal(400).flatten().numpy(), "norm").pvalue > 1e-3


def test_the_stream_of_seed_zero_is_no_end_of_the_distribution():
    # The first outputs of SplitMix64 from state 0.
    outputs = 0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F
    expected = torch.tensor([((bits >> 11) + 0.5) * 2.0**-53 for bits in outputs], dtype=F64)
    assert torch.equal(Noise(torch.zeros(1, dtype=torch.long)).uniform(3)[0], expected)
    assert Noise(torch.arange(1000)).normal(3).abs().max() < 5


def test_numbers_of_crystals_calls_and_places_are_independent():
    noise = Noise(torch.arange(200))
    a, b = noise.normal(100), noise.normal(100)
    limit = 5 / sqrt(a.numel())
    for other in (b, a.roll(1, 0), a.roll(1, 1), a.roll((1, 1), (0, 1))):
        assert (a * other).mean().abs() < limit


def test_noise_does_not_depend_on_padding_or_on_the_batch():
    seeds = torch.tensor([5, 17, 11])
    wide, narrow, single = (Noise(s) for s in (seeds, seeds, seeds[1:2]))
    for _ in range(2):
        a, b, c = wide.normal(7, 3), narrow.normal(4, 3), single.normal(7, 3)
        assert torch.equal(a[:, :4], b)
        assert torch.equal(a[1:2], c)


def test_streams_come_one_by_one_from_the_generator():
    device, rng = torch.device("cpu"), seeded(4)
    together = noise_for(5, seeded(4), device).uniform()
    parts = [noise_for(n, rng, device).uniform() for n in (2, 3)]
    assert torch.equal(together, torch.cat(parts))


# Layout


def test_padding_and_back():
    structures = batch(titania(), salt())
    mask = atom_mask(structures.n_atoms)
    fractional = fractional_coordinates(structures)
    made = crystals(pad(fractional, mask), structures.cell, pad(structures.species, mask), mask)
    assert mask.sum(dim=1).tolist() == [6, 2]
    assert torch.equal(made.species, structures.species)
    assert torch.equal(made.n_atoms, structures.n_atoms)
    assert torch.allclose(fractional_coordinates(made), fractional, rtol=0, atol=1e-12)
    assert torch.allclose(made.volume, structures.volume, rtol=1e-12)


def test_fractional_coordinates_are_ases():
    atoms = titania()
    atoms.positions += [3.3, -20.1, 0.7]
    expected = torch.tensor(atoms.get_scaled_positions())
    assert torch.allclose(fractional_coordinates(from_ase(atoms)), expected, rtol=0, atol=1e-12)


def test_standard_orientation_keeps_lengths_and_angles():
    cell = normal(20, 3, 3)  # of both hands
    turned = standard_orientation(cell)
    assert torch.allclose(turned @ turned.mT, cell @ cell.mT, rtol=0, atol=1e-12)
    assert (turned.diagonal(dim1=1, dim2=2) > 0).all()
    assert (turned.triu(1).abs() < 1e-12).all()


def test_a_flat_cell_does_not_stop_the_batch():
    cell = torch.stack([torch.eye(3, dtype=F64), torch.ones(3, 3, dtype=F64)])
    turned = standard_orientation(cell)
    assert torch.allclose(turned[0], cell[0])
    assert torch.allclose(turned @ turned.mT, cell @ cell.mT, rtol=0, atol=1e-12)


# Schedules


def test_cosine_signal():
    signal = cosine_signal(1000)
    assert signal[0] == 1
    assert signal[500] == pytest.approx(
        torch.cos(torch.tensor((0.5 + 0.008) / 1.008 * pi / 2)).item() ** 2, rel=1e-3
    )
    assert (signal.diff() < 0).all()
    added = 1 - signal[1:] / signal[:-1]
    assert added.min() >= 1e-4 - 1e-12
    assert added.max() <= 0.9999 + 1e-12
    assert signal[-1] < 1e-6


def test_geometric_sigma():
    sigma = geometric_sigma(0.005, 0.5, 1000)
    assert sigma[0] == 0
    assert sigma[1].item() == pytest.approx(0.005)
    assert sigma[-1].item() == pytest.approx(0.5)
    ratio = sigma[2:] / sigma[1:-1]
    assert torch.allclose(ratio, ratio[0].expand_as(ratio), rtol=1e-10)


@pytest.mark.parametrize("steps", [1, 7, 50])
def test_time_grid_descends_to_the_data(steps):
    grid = time_grid(50, steps)
    assert (grid[0], grid[-1], len(grid)) == (50, 0, steps + 1)
    assert (grid.diff() < 0).all()


@pytest.mark.parametrize("steps", [0, 51])
def test_time_grid_out_of_range(steps):
    with pytest.raises(ConfigError, match=f"1 to 50 sampling steps.*got {steps}"):
        time_grid(50, steps)


# Lattices


def test_logarithm_and_back_keeps_lengths_and_angles():
    cell = batch(titania(), salt()).cell
    back = from_logarithm(to_logarithm(cell))
    assert torch.allclose(back @ back.mT, cell @ cell.mT, rtol=1e-10, atol=1e-10)
    assert torch.allclose(to_logarithm(cell @ -rotation()), to_logarithm(cell), atol=1e-10)


def test_logarithm_of_known_cells():
    cube = torch.eye(3, dtype=F64).unsqueeze(0) * 4.2
    expected = torch.tensor([0.0, 0, 0, 0, 0, torch.log(torch.tensor(4.2, dtype=F64))], dtype=F64)
    assert torch.allclose(to_logarithm(cube)[0], expected, atol=1e-12)
    # Hexagonal, angle 120 degrees: k_1 = -log(3) / 4 whatever the lengths (DiffCSP++).
    hexagon = torch.tensor([[[3.0, 0, 0], [-1.5, 1.5 * sqrt(3), 0], [0, 0, 5.0]]], dtype=F64)
    k = to_logarithm(hexagon)[0]
    assert k[0].item() == pytest.approx(-torch.log(torch.tensor(3.0)).item() / 4)
    assert k[1:4].abs().max() < 1e-12


def test_volume_is_the_exponential_of_the_trace():
    k = 0.5 * normal(10, 6)
    assert torch.allclose(torch.linalg.det(from_logarithm(k)), torch.exp(3 * k[:, 5]), rtol=1e-10)
    overlap = torch.einsum("aij,bij->ab", BASIS, BASIS)
    assert torch.equal(overlap, torch.diag(overlap.diagonal()))


# Losses and embeddings


def test_errors_are_means_over_the_atoms_of_a_crystal():
    mask = atom_mask(torch.tensor([3, 1]))
    a, b = normal(2, 3, 3), normal(2, 3, 3, seed=1)
    error = atom_error(a, b, mask)
    assert error[0].item() == pytest.approx((a[0] - b[0]).square().mean().item())
    assert error[1].item() == pytest.approx((a[1, 0] - b[1, 0]).square().mean().item())
    whole = system_error(a, b)
    assert whole[1].item() == pytest.approx((a[1] - b[1]).square().mean().item())


def test_embedding_of_time():
    found = embed_time(torch.tensor([0.0, 0.25], dtype=F64), 8)
    assert found[0].tolist() == [0] * 4 + [1] * 4
    slowest = 250 / 10000
    expected = torch.tensor([slowest], dtype=F64)
    assert found[1, 3].item() == pytest.approx(expected.sin().item())
    assert found[1, 4].item() == pytest.approx(torch.cos(torch.tensor(250.0, dtype=F64)).item())


def test_properties_are_withheld_from_some():
    values = {"gap": torch.ones(5000), "density": torch.ones(5000)}
    values["density"][::2] = torch.nan
    told = withhold(values, 0.3, Noise(torch.arange(5000)))
    known = {name: value.isfinite() for name, value in told.items()}
    assert not known["density"][::2].any()
    assert known["gap"].double().mean().item() == pytest.approx(0.7, abs=0.03)
    assert known["density"][1::2].double().mean().item() == pytest.approx(0.7, abs=0.03)
    both = (known["gap"] & known["density"])[1::2]  # each by itself
    assert both.double().mean().item() == pytest.approx(0.49, abs=0.04)
    none = withhold({"gap": values["gap"]}, 0.0, Noise(torch.arange(5000)))
    assert none["gap"].isfinite().all()
