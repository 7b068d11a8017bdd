"""The orientation of lowest energy: invariance, derivatives, and the closed form of a dipole."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.calculator import Calculator
from ase.calculators.fd import calculate_numerical_forces
from ase.calculators.lj import LennardJones

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.errors import ConfigError
from matkit.evaluator import predict
from matkit.hessians.potentials import autograd_hessian, finite_difference_hessian
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.building import model_class
from matkit.nn.lowest_orientations import rotation
from matkit.structures import cat
from matkit.symmetrize import rotational_residual, symmetrize
from tests.symmetrize.skewed import SPECIES, Skewed, SkewedCalculator, generic, symmetric, turned
from tests.symmetrize.test_symmetrized import change, results, wrapped


class Fielded(Skewed):
    """Energies a·r of the edges, weighted: the dipole of a molecule in a field."""

    def _energy(self, graph, vectors):
        near = (1 - vectors.square().sum(dim=1) / self.cutoff**2).clamp(min=0) ** 3
        charge = graph.species[graph.neighbor].double()
        along = near * charge * (vectors @ self.weight)
        return torch.zeros(len(graph.species)).double().index_add(0, graph.center, along)


class Nameless(Potential):
    """A network without energies."""

    provides = frozenset({"features"})
    cutoff, species = 4.0, SPECIES

    def forward(self, graph):
        """Return nothing of interest."""
        return {"features": graph.positions}


@pytest.fixture(scope="module")
def lopsided():
    """Structures without any symmetry: no two orientations of them are equally low."""
    found = generic()
    for atoms in found.values():
        atoms.rattle(0.1, seed=1)
    return found


@pytest.fixture(scope="module")
def model():
    return wrapped("energy")


@pytest.mark.parametrize("name", generic())
def test_energies_and_forces_do_not_depend_on_how_a_structure_lies(name, model, lopsided):
    energy, forces = change(model, lopsided[name], mirrored=True)
    assert energy < 1e-10
    assert forces < 1e-6


def test_no_copy_is_lower(model, lopsided):
    atoms = lopsided["ethanol"]
    alone = force_field(Skewed())
    grid = model.network.orientations.matrix.numpy()
    copies = []
    for matrix in (*grid, *(turned(atoms, seed)[1] for seed in range(100))):
        copies.append(atoms.copy())
        copies[-1].positions = atoms.positions @ matrix
    others = predict(alone, cat([from_ase(copy) for copy in copies]))["energy"]
    assert float(results(model, atoms)["energy"]) < float(others.min())


def test_a_dipole_turns_into_its_field():
    """The energy -|a||p| is known, and so are forces, whose derivative it is."""
    torch.manual_seed(1)
    cls = model_class("symmetrized", Potential)
    lowest = force_field(cls(SPECIES, Fielded(), "energy")).double().eval()
    atoms, field = molecule("CH3CH2OH"), Fielded().weight.detach().norm()
    parts = [
        float(results(force_field(Fielded()), turned_to(atoms, k))["energy"]) for k in range(3)
    ]
    dipole = np.linalg.norm(parts) / float(field)
    assert float(results(lowest, atoms)["energy"]) == pytest.approx(
        -float(field) * dipole, abs=1e-9
    )


def turned_to(atoms, axis):
    """Return a molecule turned so that its axis of that number lies along the field."""
    field = Fielded().weight.detach().numpy()
    first = field / np.linalg.norm(field)
    second = np.cross(first, [1.0, -2.0, 1.0])
    second /= np.linalg.norm(second)
    frame = np.roll([first, second, np.cross(first, second)], axis, axis=0)
    other = atoms.copy()
    other.positions = atoms.positions @ frame
    return other


@pytest.mark.parametrize("analytic", [True, False], ids=["fast", "autograd"])
def test_forces_and_stress_are_finite_differences(analytic, lopsided):
    model, atoms, step = wrapped("energy", analytic=analytic), lopsided["salt"], 2e-5
    found = results(model, atoms)
    shift = np.array([[0.3, -0.5, 0.8]])
    strain = np.array([[0.2, 0.1, 0], [0.1, -0.3, 0.2], [0, 0.2, 0.4]])
    ends = []
    for sign in (1, -1):
        moved, strained = atoms.copy(), atoms.copy()
        moved.positions[1] += sign * step * shift[0]
        strained.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
        ends.append([float(results(model, part)["energy"]) for part in (moved, strained)])
    by_shift, by_strain = (np.array(ends[0]) - np.array(ends[1])) / (2 * step)
    assert by_shift == pytest.approx(-float((found["forces"][1].numpy() * shift).sum()), abs=1e-6)
    stress = float((found["stress"][0].numpy() * strain).sum()) * atoms.get_volume()
    assert by_strain == pytest.approx(stress, rel=1e-6, abs=1e-6)
    assert float(rotational_residual(model, from_ase(atoms))) < 1e-6


def test_second_derivatives_see_the_orientation_turn(model, lopsided):
    water = from_ase(lopsided["water"])
    exact, numeric = autograd_hessian(model, water), finite_difference_hessian(model, water)
    assert torch.allclose(exact, numeric, atol=1e-4)


@pytest.mark.parametrize("name", symmetric())
def test_symmetric_structures_have_one_energy_and_finite_forces(name, model):
    atoms = symmetric()[name]
    found = results(model, atoms)
    assert found["forces"].isfinite().all()
    assert change(model, atoms)[0] < 1e-10


def test_a_batch_gives_what_its_structures_do(model, lopsided):
    several = [from_ase(atoms) for atoms in (*lopsided.values(), Atoms("O"))]
    whole, singles = predict(model, cat(several)), [predict(model, one) for one in several]
    for name in ("energy", "forces"):
        apart = torch.cat([one[name] for one in singles])
        assert torch.allclose(whole[name], apart, atol=1e-6)


def test_an_invariant_network_stays_as_it_is():
    torch.manual_seed(0)
    sizes = {"cutoff": 4.0, "irreps": ["4x0e", "4x0e+3x1o", "4x0e"], "lmax": 1}
    inner = force_field(checkpoint.build("facet", {"species": [1, 8], **sizes})).double().eval()
    before, after = (results(m, molecule("H2O")) for m in (inner, symmetrize(inner, "energy")))
    assert torch.allclose(before["energy"], after["energy"], atol=1e-10)
    assert torch.allclose(before["forces"], after["forces"], atol=1e-9)


def test_a_network_in_single_precision():
    torch.manual_seed(0)
    backbone = {"name": "faenet", "cutoff": 4.0, "hidden": 8, "filters": 8, "layers": 1}
    settings = {"species": list(SPECIES), "mode": "energy", "backbone": backbone}
    lowest = force_field(checkpoint.build("symmetrized", settings)).eval()
    assert change(lowest, molecule("H2O"))[0] < 1e-6


@pytest.mark.parametrize("seed", range(3))
def test_a_small_turn_is_a_cross_product(seed):
    torch.manual_seed(seed)
    turn, place = 1e-5 * torch.randn(1, 3).double(), torch.randn(1, 3).double()
    moved = place @ rotation(turn)[0] - place
    assert torch.allclose(moved, torch.linalg.cross(turn, place), atol=1e-9)


def test_any_calculator():
    atoms = molecule("H2O")
    atoms.rattle(0.1, seed=0)
    other, matrix = turned(atoms, 7, mirrored=True)
    atoms.calc, other.calc = (symmetrize(SkewedCalculator(), "energy") for _ in range(2))
    energy = atoms.get_potential_energy()
    assert energy == pytest.approx(other.get_potential_energy(), abs=1e-8)
    assert atoms.get_forces() @ matrix == pytest.approx(other.get_forces(), abs=1e-5)
    assert atoms.calc.results["energy_std"] > 0.01
    assert "forces_std" not in atoms.calc.implemented_properties
    numeric = calculate_numerical_forces(atoms, eps=1e-4, iatoms=[1], icarts=[0])
    assert atoms.get_forces()[1:2, :1] == pytest.approx(numeric, abs=1e-5)


class WithoutForces(Calculator):
    """A calculator of energies alone."""

    implemented_properties = ("energy",)


def test_what_has_no_lowest_orientation():
    with pytest.raises(ConfigError, match="Expected a network with energies, got features"):
        wrapped_nameless()
    with pytest.raises(ConfigError, match="Expected a calculator with forces, got WithoutForces"):
        symmetrize(WithoutForces(), "energy")
    copper = Atoms("Cu", cell=[3.0] * 3, pbc=True)
    copper.calc = symmetrize(LennardJones(), "energy")
    with pytest.raises(ConfigError, match="and so does their lowest energy"):
        copper.get_potential_energy()


def wrapped_nameless():
    return model_class("symmetrized", Potential)(SPECIES, Nameless(), "energy")
