"""Facet with the total charge of a structure."""

import pytest
import torch
from ase.build import molecule

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative
from matkit.errors import IgnoredConditionError
from matkit.models import checkpoint
from matkit.nn.embedding import ChargeEmbedding
from matkit.structures import cat
from tests.potentials.test_facet import GATE

BOTH = ("energy", "forces")


def potential(**changes):
    torch.manual_seed(0)
    return Conservative(checkpoint.build("facet", GATE | {"charge": True} | changes).double())


def charged(formula, charge):
    atoms = molecule(formula)
    atoms.rattle(0.05, seed=1)
    structures = from_ase(atoms)
    if charge is None:
        return structures
    return structures.replace(system={"charge": torch.tensor([float(charge)]).double()})


def results(model, structures):
    found = model(model.featurize(structures), BOTH)
    return found["energy"].detach(), found["forces"].detach()


def test_what_has_no_charge_is_neutral():
    model = potential().eval()
    neutral, _ = results(model, charged("H2O", 0))
    for charge in (None, float("nan")):
        assert torch.equal(results(model, charged("H2O", charge))[0], neutral)
    energies = torch.cat([results(model, charged("H2O", q))[0] for q in (-2, -1, 0, 1, 2)])
    assert energies.diff().abs().min() > 1e-3


def test_every_structure_of_a_batch_has_its_own_charge():
    model = potential().eval()
    parts = [charged("H2O", 1), charged("OH", -1), charged("H2O", 0), charged("HCl", 2)]
    energies, forces = results(model, cat(parts))
    singles = [results(model, part) for part in parts]
    torch.testing.assert_close(energies, torch.cat([e for e, _ in singles]))
    torch.testing.assert_close(forces, torch.cat([f for _, f in singles]))


def test_layers_for_inference_and_for_training_give_what_autograd_gives():
    parts = cat([charged("H2O", 1), charged("OH", -1)])
    model = potential()
    graph = model.featurize(parts)
    model.eval()
    model.analytic = False
    expected = model(graph, BOTH, True)
    model.analytic = True
    for _ in range(2):  # the second time as recorded launches
        found = model(graph, BOTH)
        for key in BOTH:
            torch.testing.assert_close(found[key], expected[key].detach(), atol=1e-8, rtol=1e-8)
    loss = expected["energy"].square().sum()
    plain = torch.autograd.grad(loss, model.network.of_charge.values, retain_graph=True)[0]
    model.train()
    trained = model(graph, BOTH, True)
    torch.testing.assert_close(trained["forces"].detach(), expected["forces"].detach())
    by_hand = torch.autograd.grad(trained["energy"].square().sum(), model.network.of_charge.values)[
        0
    ]
    torch.testing.assert_close(by_hand, plain)
    assert plain.abs().max() > 1e-6


def test_forces_are_the_derivative():
    model = potential().eval()
    start = charged("OH", -1)
    _, forces = results(model, start)
    step = 1e-5
    for atom, axis in ((0, 2), (1, 0)):
        ends = []
        for sign in (1, -1):
            moved = start.positions.clone()
            moved[atom, axis] += sign * step
            ends.append(float(results(model, start.replace(positions=moved))[0]))
        slope = (ends[0] - ends[1]) / (2 * step)
        assert float(forces[atom, axis]) == pytest.approx(-slope, abs=1e-7)


def test_the_charge_is_shared_out():
    torch.manual_seed(0)
    embedding = ChargeEmbedding(8).double()
    for charge, row in ((2, 0), (-1, 1)):
        structures = charged("H2O", charge)
        added = embedding(torch.randn(3, 1, 8).double(), structures)
        torch.testing.assert_close(added.sum(0)[0], abs(charge) * embedding.values[row])


def test_calculators_take_charges_where_the_network_does():
    ion = molecule("OH")
    ion.info["charge"] = -1
    plain = Conservative(checkpoint.build("facet", GATE).double())
    ion.calc = MatkitCalculator(plain, device="cpu")
    with pytest.raises(IgnoredConditionError):
        ion.get_potential_energy()
    ion.calc = MatkitCalculator(potential(), device="cpu")
    before = ion.get_potential_energy()
    ion.info["charge"] = 1
    assert abs(ion.get_potential_energy() - before) > 1e-3
