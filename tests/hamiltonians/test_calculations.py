"""Kohn-Sham calculations, what follows from their matrices, and the calculator of a network."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.units import Debye

pytest.importorskip("pyscf")

from matkit.errors import (
    ConfigError,
    ModelError,
    SimulationError,
    StructureError,
    UnknownElementError,
)
from matkit.hamiltonians.calculator import HamiltonianCalculator
from matkit.hamiltonians.orders import from_pyscf
from matkit.hamiltonians.pyscf import check_functional, kohn_sham, shells_of, solver_of
from matkit.hamiltonians.states import density, mulliken_charges, orbitals
from matkit.interop.pyscf import guess
from matkit.models import checkpoint
from matkit.models.zoo import load_calculator

METHOD = ("pbe", "sto-3g")
SHELLS = {1: (0,), 8: (0, 0, 1)}


@pytest.fixture(scope="module")
def water():
    atoms = molecule("H2O")
    atoms.rattle(0.05, seed=1)
    return atoms


@pytest.fixture(scope="module")
def result(water):
    return kohn_sham(water, *METHOD, with_forces=True)


class Perfect(torch.nn.Module):
    """Stands for a network that has learnt one matrix exactly."""

    provides = frozenset({"hamiltonian"})
    shells = SHELLS

    def __init__(self, matrix):
        super().__init__()
        self.matrix = torch.from_numpy(matrix)

    def featurize(self, structures):
        return structures

    def forward(self, _graph):
        class Blocks:
            dense = staticmethod(lambda: [self.matrix])

        return {"hamiltonian": Blocks}


@pytest.fixture(scope="module")
def calculator(water, result):
    made = HamiltonianCalculator.__new__(HamiltonianCalculator)
    super(HamiltonianCalculator, made).__init__()
    made.network = Perfect(from_pyscf(result.hamiltonian, water.numbers, SHELLS))
    made.method, (made.functional, made.basis) = "/".join(METHOD), METHOD
    return made


def test_orbitals_solve_the_generalised_problem(result):
    levels, coefficients = orbitals(result.hamiltonian, result.overlap)
    np.testing.assert_allclose(levels, result.levels, atol=1e-4)
    identity = coefficients.T @ result.overlap @ coefficients
    np.testing.assert_allclose(identity, np.eye(len(levels)), atol=1e-10)


def test_charges_add_up_to_none(result):
    _, coefficients = orbitals(result.hamiltonian, result.overlap)
    matrix = density(coefficients, 10)
    charges = mulliken_charges(matrix, result.overlap, [8, 1, 1], [5, 1, 1])
    assert charges.sum() == pytest.approx(0, abs=1e-10)
    assert charges[0] < -0.1 < 0.1 < charges[1]


def test_the_true_matrix_gives_the_true_energy_forces_and_dipole(water, result, calculator):
    atoms = water.copy()
    atoms.calc = calculator
    assert atoms.get_potential_energy() == pytest.approx(result.energy, abs=1e-7)
    np.testing.assert_allclose(atoms.get_forces(), result.forces, atol=2e-4)
    solver = solver_of(water, *METHOD)
    solver.kernel()
    np.testing.assert_allclose(
        atoms.get_dipole_moment(), solver.dip_moment(verbose=0) * Debye, atol=1e-4
    )
    np.testing.assert_allclose(calculator.get_hamiltonian(water), result.hamiltonian, atol=1e-9)
    assert calculator.states(water).gap == pytest.approx(result.gap, abs=1e-4)


def test_forces_are_the_derivative_of_the_energy(water, result):
    step = 1e-3
    ends = []
    for sign in (1, -1):
        moved = water.copy()
        moved.positions[1, 2] += sign * step
        ends.append(kohn_sham(moved, *METHOD).energy)
    assert result.forces[1, 2] == pytest.approx((ends[1] - ends[0]) / (2 * step), abs=5e-3)


def test_a_predicted_density_saves_cycles(water, result, calculator):
    again = kohn_sham(water, *METHOD, guess=guess(water, calculator))
    assert again.energy == pytest.approx(result.energy, abs=1e-6)
    assert again.cycles < result.cycles / 2


def test_shells_are_those_of_the_basis():
    assert shells_of([8, 1, 8], "def2-svp") == {1: (0, 0, 1), 8: (0, 0, 0, 1, 1, 2)}
    with pytest.raises(ConfigError, match="no basis 'nonsense' for H"):
        shells_of([1], "nonsense")


def test_radicals_are_refused():
    with pytest.raises(SimulationError, match="CH3 has an odd number of electrons"):
        kohn_sham(molecule("CH3"), *METHOD)


@pytest.mark.parametrize(
    ("info", "pbc", "reason"),
    [({"charge": 2}, False, "charge 2"), ({"spin": 3}, False, "multiplicity 3"), ({}, True, "pbc")],
)
def test_a_calculator_refuses_what_it_would_take_for_something_else(
    water, calculator, info, pbc, reason
):
    atoms = water.copy()
    atoms.info |= info
    atoms.cell, atoms.pbc = [9, 9, 9], pbc
    with pytest.raises(StructureError, match=reason):
        calculator.states(atoms)


def test_functionals_that_do_not_exist_are_refused_at_once():
    check_functional("b3lyp")
    with pytest.raises(ConfigError, match="no functional 'nonsense'"):
        check_functional("nonsense")


def test_what_does_not_converge_is_no_result():
    with pytest.raises(SimulationError, match="did not converge in 50 cycles"):
        kohn_sham(Atoms("N2", [[0, 0, 0], [0, 0, 1.1]]), *METHOD, tolerance=0.0)


def network(path, card, **more):
    given = {"species": [1, 8], "shells": SHELLS, "lmax": 2, "channels": 4, "pair_channels": 4}
    model = checkpoint.build("qhnet", {**given, "layers": 1, "pair_layers": 1, **more})
    return checkpoint.save(model, path, card)


def test_a_file_is_used_with_the_method_of_its_card(tmp_path, water):
    path = network(tmp_path / "m.safetensors", {"level": "/".join(METHOD)})
    calculator = HamiltonianCalculator(path)
    assert calculator.get_hamiltonian(water).shape == (7, 7)
    with pytest.raises(UnknownElementError, match="C"):
        calculator.states(molecule("CH4"))


def test_the_calculator_of_potentials_names_this_one(tmp_path):
    path = network(tmp_path / "m.safetensors", {"level": "/".join(METHOD)})
    with pytest.raises(ModelError, match=r"Use it through .*\.HamiltonianCalculator"):
        load_calculator(path)


def test_files_without_method_or_matrices_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="of which functional and basis"):
        HamiltonianCalculator(network(tmp_path / "m.safetensors", {}))
    given = {"species": [1, 8], "irreps": ["4x0e", "4x0e"], "lmax": 1}
    other = checkpoint.save(checkpoint.build("nequip", given), tmp_path / "n.safetensors", {})
    with pytest.raises(ConfigError, match="predicts no Kohn-Sham matrices"):
        HamiltonianCalculator(other)
