"""What networks declare is what they return, and what they cannot do is refused or left out."""

import logging

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matkit import md
from matkit.calculator import MatkitCalculator, NoStressError
from matkit.data.ase import from_ase
from matkit.derivatives import Conservative, Direct, Referenced, force_field
from matkit.errors import ConfigError, ModelError
from matkit.interfaces import Potential
from matkit.nn.references import references_of


class Springs(Potential):
    """Attraction of all pairs within the cutoff; what it returns besides can be chosen."""

    def __init__(self, provides, species=(1, 8, 13), **more):
        super().__init__()
        self.species, self.cutoff = species, 3.0
        self.provides, self.more = frozenset(provides), more
        self.weight = torch.nn.Parameter(torch.ones((), dtype=torch.float64))

    def forward(self, graph):
        n, count = len(graph.species), len(graph)
        reach = (self.cutoff**2 - graph.vectors.square().sum(1)).clamp(min=0)
        pair = -0.5 * self.weight * reach**3 / 100
        slope = 6 * self.weight * (reach**2)[:, None] * graph.vectors / 100
        everything = {
            "atom_energy": pair.new_zeros(n).index_add(0, graph.center, pair),
            "forces": pair.new_zeros(n, 3).index_add(0, graph.center, slope),
            "stress": graph.cell.new_zeros(count, 3, 3),
        }
        everything["energy"] = pair.new_zeros(count).index_add(
            0, graph.batch, everything["atom_energy"]
        )
        made = {key: value for key, value in everything.items() if key in self.provides}
        return made | {key: change(graph) for key, change in self.more.items()}


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=2)
    return atoms


def test_an_energy_network_is_differentiated():
    field = force_field(Springs({"atom_energy"}))
    assert isinstance(field, Conservative)
    assert field.conservative
    assert field.provides == {"atom_energy", "energy", "forces", "stress"}


def test_forces_of_its_own_are_those_that_the_calculator_gives():
    network = Springs({"atom_energy", "forces"})
    atoms = water()
    own = network(network.featurize(from_ase(atoms)))["forces"].detach().numpy()
    atoms.calc = MatkitCalculator(network, device="cpu")
    assert np.abs(own).max() > 0.1
    assert atoms.get_forces() == pytest.approx(own)
    exact = Conservative(Springs({"atom_energy"}))
    assert atoms.get_forces() == pytest.approx(
        exact(exact.featurize(from_ase(atoms)))["forces"].detach().numpy()
    )


@pytest.mark.parametrize("energy", ["atom_energy", "energy"])
def test_a_direct_model_says_what_it_is_and_gives_no_stress(energy):
    atoms = bulk("Al", cubic=True)
    atoms.calc = calc = MatkitCalculator(Springs({energy, "forces"}), device="cpu")
    assert isinstance(calc.potentials[0], Direct)
    assert calc.info["conservative"] is False
    assert atoms.get_potential_energy() < -0.1
    assert "stress" not in calc.implemented_properties
    assert ("energies" in calc.implemented_properties) == (energy == "atom_energy")
    with pytest.raises(NoStressError, match="predicts forces of its own and no stress"):
        atoms.get_stress()
    with pytest.raises(ConfigError, match="Use method 'finite-difference'"):
        calc.get_hessian(atoms)
    assert calc.get_hessian(atoms, method="finite-difference").shape == (12, 12)


def test_a_stress_of_its_own_is_kept():
    atoms = bulk("Al", cubic=True)
    atoms.calc = MatkitCalculator(Springs({"atom_energy", "forces", "stress"}), device="cpu")
    assert not atoms.get_stress().any()


def test_dynamics_with_direct_forces_warn(caplog):
    calc = MatkitCalculator(Springs({"atom_energy", "forces"}), device="cpu")
    with caplog.at_level(logging.WARNING):
        md(water(), calc, steps=1, timestep=0.1, ensemble="nve")
    assert "the energy is not conserved" in caplog.text


def test_a_committee_gives_what_all_members_give():
    both = [Springs({"atom_energy"}), Springs({"atom_energy", "forces"})]
    calc = MatkitCalculator(both, device="cpu")
    assert calc.info["conservative"] is False
    assert "stress" not in calc.implemented_properties
    assert "stress_std" not in calc.implemented_properties
    assert "energy_std" in calc.implemented_properties


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Springs({"hamiltonian"}), "predicts hamiltonian and no energy"),
        (Springs({"features"}), "predicts features and no energy"),
        (Springs({"energy"}), "a total energy without forces"),
        (Springs({"atom_energy", "stress"}), "a stress of its own without forces"),
        (Springs(set()), "declares in `provides` nothing"),
        (
            Springs({"atom_energy", "force"}),
            "declares 'force' in `provides`. Did you mean 'forces'",
        ),
        (Springs({"atom_energy", "features"}), "features is missing and nothing was not declared"),
        (
            Springs({"atom_energy"}, features=lambda graph: graph.positions),
            "nothing is missing and features was not declared",
        ),
        (
            Springs({"atom_energy", "forces"}, forces=lambda graph: graph.positions[:1]),
            r"returned forces of \(1, 3\); expected a tensor of \('N', 3\), here \(3, 3\)",
        ),
        (
            Springs({"atom_energy", "features"}, features=lambda graph: None),
            "returned features of NoneType",
        ),
        (
            Springs({"atom_energy", "features"}, features=lambda graph: graph.species[:, None]),
            r"returned features as torch.int64; expected real numbers",
        ),
        (
            Springs({"atom_energy", "hessian"}, hessian=lambda graph: None),
            "returned NoneType as hessian; expected PairBlocks",
        ),
        (
            Springs({"atom_energy", "features"}, features=lambda graph: graph.positions.mul_(1.1)),
            "changes positions of the graph",
        ),
        (
            Springs({"atom_energy", "features"}, features=lambda graph: 1 / 0),
            "fails on two atoms of an element it knows: ZeroDivisionError",
        ),
    ],
)
def test_what_is_not_as_declared_is_refused_with_a_reason(network, message):
    with pytest.raises(ModelError, match=message):
        MatkitCalculator(network, device="cpu")


def test_a_network_that_returns_no_dictionary():
    network = Springs({"atom_energy"})
    network.forward = lambda graph: graph.positions[:, 0]
    with pytest.raises(ModelError, match="returned Tensor; expected a dictionary of properties"):
        force_field(network)


def test_the_check_leaves_the_mode_of_the_network():
    network = Springs({"atom_energy"}).train()
    force_field(network)
    assert network.training


def test_references_are_added_to_energies_and_to_nothing_else():
    plain = Springs({"atom_energy", "energy", "forces"})
    network = Referenced(plain)
    references_of(network).set(shift=[-10.0, -100.0, 5.0])
    graph = plain.featurize(from_ase([water(), bulk("Al")]))
    before, after = plain(graph), network(graph)
    assert torch.allclose(after["energy"], before["energy"] + torch.tensor([-120.0, 5.0]))
    shifts = torch.tensor([-100.0, -10.0, -10.0, 5.0])
    assert torch.allclose(after["atom_energy"], before["atom_energy"] + shifts)
    assert torch.equal(after["forces"], before["forces"])


def test_references_keep_their_precision_and_follow_the_network():
    network = Referenced(Springs({"atom_energy"})).float()
    references = references_of(network)
    references.set(scale=[0.1, 0.2, 0.3], shift=[-1e6 + 1e-6, 0.0, 0.0])
    assert references.shift.dtype == torch.float64
    assert float(references.shift[0]) == -1e6 + 1e-6
    assert references.scale.tolist() == [0.1, 0.2, 0.3]


class WithGradient(Springs):
    """The same with its derivative written out."""

    def edge_gradient(self, graph):
        vectors = graph.vectors.detach().requires_grad_()
        reach = (self.cutoff**2 - vectors.square().sum(1)).clamp(min=0)
        (gradient,) = torch.autograd.grad((-0.5 * reach**3 / 100).sum(), vectors)
        return self(graph), gradient


@pytest.mark.parametrize("scale", [[0.3] * 3, [0.3, 0.4, 0.5]])
def test_a_derivative_of_its_own_is_used_in_the_units_of_the_references(scale):
    network = Referenced(WithGradient({"atom_energy"}))
    references_of(network).set(scale=scale, shift=[0.0] * 3)
    field = force_field(network)
    structures = from_ase(water())
    fast = field(field.featurize(structures), differentiable=False)["forces"]
    field.analytic = False
    exact = field(field.featurize(structures), differentiable=False)["forces"]
    assert (network.edge_gradient(field.featurize(structures)) is None) == (len(set(scale)) > 1)
    assert torch.allclose(fast, exact, rtol=0, atol=1e-12)
