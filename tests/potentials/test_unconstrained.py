"""Networks without symmetry of their own: what they must fulfil all the same."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.elements import SYMBOLS, period_and_group
from matkit.errors import ConfigError
from matkit.evaluator import predict
from matkit.models import checkpoint
from matkit.nn.orientations import random_turns
from matkit.structures import cat
from tests.symmetrize.skewed import SPECIES, turned

SMALL = {
    "faenet": {"hidden": 16, "filters": 16, "gaussians": 8, "layers": 2, "group_channels": 4},
    "transip": {"width": 24, "heads": 2, "layers": 2},
    "transip, distances": {"width": 32, "heads": 2, "layers": 2, "distances": True},
}


def built(name, **more):
    torch.manual_seed(0)
    settings = {"species": list(SPECIES), "cutoff": 4.0, **SMALL[name], **more}
    return force_field(checkpoint.build(family(name), settings)).double().eval()


def family(name):
    return name.partition(",")[0]


def energies(model, *structures):
    return predict(model, cat([from_ase(atoms) for atoms in structures]))["energy"].tolist()


names = pytest.mark.parametrize("name", SMALL)


@names
def test_they_depend_on_how_a_molecule_lies_until_they_are_averaged(name):
    alone, ethanol = built(name), molecule("CH3CH2OH")
    other = turned(ethanol, 3, mirrored=True)[0]
    a, b = energies(alone, ethanol, other)
    assert abs(a - b) > 1e-6
    backbone = {"name": family(name), "cutoff": 4.0, **SMALL[name]}
    settings = {"species": list(SPECIES), "mode": "frames", "backbone": backbone}
    averaged = force_field(checkpoint.build("symmetrized", settings)).double().eval()
    a, b = energies(averaged, ethanol, other)
    assert a == pytest.approx(b, abs=1e-10)


@names
def test_order_of_atoms_batches_and_place_do_not_matter(name):
    model, ethanol, water = built(name), molecule("CH3CH2OH"), molecule("H2O")
    order = np.random.default_rng(0).permutation(len(ethanol))
    moved = water.copy()
    moved.positions += [1.0, -2.0, 3.0]
    a, b, c, d = energies(model, ethanol, ethanol[order], water, moved)
    assert a == pytest.approx(b, abs=1e-10)
    assert c == pytest.approx(d, abs=1e-10)
    assert [a] == pytest.approx(energies(model, ethanol), abs=1e-10)


@names
def test_energies_are_extensive(name):
    model = built(name)
    salt, atom = bulk("NaCl", "rocksalt", a=5.6), Atoms("O")
    salt.rattle(0.1, seed=0)
    far = Atoms("O2", [[0, 0, 0], [0, 0, 50.0]])
    one, four, single, two = energies(model, salt, salt * (2, 2, 1), atom, far)
    assert four == pytest.approx(4 * one, abs=1e-9)
    assert two == pytest.approx(2 * single, abs=1e-10)


@names
def test_nothing_jumps_at_the_cutoff(name):
    pairs = [Atoms("OH", [[0, 0, 0], [0.6 * d, 0, 0.8 * d]]) for d in (3.9999, 4.0001)]
    found = predict(built(name), cat([from_ase(atoms) for atoms in pairs]))
    assert found["energy"][0] == pytest.approx(float(found["energy"][1]), abs=1e-9)
    assert found["forces"].abs().max() < 1e-6


@names
def test_forces_are_finite_differences(name):
    model, atoms, step = built(name), molecule("CH3CH2OH"), 1e-5
    forces = predict(model, from_ase(atoms))["forces"]
    for atom, axis in ((0, 1), (4, 2)):
        ends = []
        for sign in (1, -1):
            moved = atoms.copy()
            moved.positions[atom, axis] += sign * step
            ends.append(moved)
        plus, minus = energies(model, *ends)
        assert float(forces[atom, axis]) == pytest.approx((minus - plus) / (2 * step), abs=1e-7)


def test_the_penalty_is_of_training_alone_and_falls():
    model = built("transip").train()
    graph = model.featurize(from_ase(molecule("CH3CH2OH")))
    assert model.eval()(graph, ())["penalty"].tolist() == [0.0]
    model.train()
    learnt = torch.optim.Adam(model.parameters(), lr=3e-3)
    torch.manual_seed(0)
    penalties = []
    for _ in range(40):
        penalty = model(graph, ())["penalty"].sum()
        learnt.zero_grad()
        penalty.backward()
        learnt.step()
        penalties.append(float(penalty.detach()))
    assert np.mean(penalties[-10:]) < 0.3 * np.mean(penalties[:10])


class Unturned(torch.nn.Module):
    """Say that features of a turned copy are those of the first."""

    def forward(self, features, matrix):
        return features


def test_the_penalty_is_relative_to_what_tells_atoms_of_an_element_apart():
    network = built("transip").train().network.network
    graph = network.featurize(from_ase(molecule("H2O")))
    # Both hydrogens differ from their mean by 2; elements differ by 100, which does not count.
    turned_ones = torch.tensor([[100.0], [1.0], [5.0]]).double().expand(3, 24)
    given = iter([turned_ones + 0.5, turned_ones])
    network._features = lambda graph: next(given)
    network.turn = Unturned()
    found = network._penalty(graph, network._features(graph))
    assert found.tolist() == pytest.approx([0.5**2 / (2 * 2**2 / 3)], rel=1e-5)


def test_features_stay_without_a_turn():
    network = built("transip").network.network
    features = torch.randn(5, 24, dtype=torch.float64)
    same = torch.eye(3, dtype=torch.float64).expand(5, 3, 3)
    assert torch.equal(network.turn(features, same), features)
    assert built("transip", latent=False).network.network.turn is None


def test_random_turns_are_uniform():
    turns = random_turns(4000)
    eye = torch.eye(3, dtype=torch.float64).expand_as(turns)
    assert torch.allclose(turns @ turns.mT, eye, atol=1e-12)
    assert abs(float(torch.linalg.det(turns).mean())) < 0.08
    assert turns.mean(dim=0).abs().max() < 0.05
    assert (turns[:, 0, 0].square().mean() - 1 / 3).abs() < 0.03


def test_heads_turn_in_pairs_along_three_axes():
    with pytest.raises(ConfigError, match="multiple of 6 x 2 heads, got 16"):
        checkpoint.build("transip", {"species": [1], "width": 16, "heads": 2})
    more = {"distances": True, "width": 24}
    with pytest.raises(ConfigError, match="multiple of 8 x 2 heads, got 24"):
        checkpoint.build("transip", {"species": [1], "heads": 2, **more})


@pytest.mark.parametrize("given", [[30.0, 1.0], [0.0, 30.0], [30.0]])
def test_the_shortest_wavelength_comes_first(given):
    with pytest.raises(ConfigError, match="above zero and then the longest, got"):
        checkpoint.build("transip", {"species": [1], "wavelengths": given})


def test_periods_and_groups():
    from pymatgen.core import Element

    for z in range(1, 104):
        element = Element(SYMBOLS[z])
        assert period_and_group(z) == (element.row if z < 57 else expected_row(z), element.group)


def expected_row(z):
    """Periods of the elements that pymatgen puts into rows of their own."""
    return 6 if z <= 86 else 7
