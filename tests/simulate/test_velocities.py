import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.constraints import FixAtoms

from matkit.simulate.velocities import set_velocities


def test_temperature_is_exact_and_nothing_drifts():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    set_velocities(atoms, 450.0, np.random.default_rng(0))
    assert atoms.get_temperature() == pytest.approx(450)
    assert atoms.get_momenta().sum(axis=0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("name", ["CH3CH2OH", "CO2", "N2"])
def test_molecules_do_not_rotate(name):
    atoms = molecule(name)
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    assert atoms.get_temperature() == pytest.approx(300)
    assert atoms.get_angular_momentum() == pytest.approx(0, abs=1e-10)
    assert atoms.get_momenta().sum(axis=0) == pytest.approx(0, abs=1e-10)


def test_a_crystal_keeps_its_angular_momentum():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    assert np.abs(atoms.get_angular_momentum()).max() > 0.1


def test_a_single_atom_moves():
    atoms = Atoms("Ar")
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    assert np.all(atoms.get_momenta() != 0)


def test_fixed_atoms_rest():
    atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    atoms.set_constraint(FixAtoms([0, 1]))
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    assert not atoms.get_momenta()[:2].any()
    assert atoms.get_temperature() == pytest.approx(300)


def test_everything_fixed_or_cold_is_at_rest():
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.set_constraint(FixAtoms([0, 1]))
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    assert not atoms.get_momenta().any()
    cold = bulk("NaCl", "rocksalt", a=5.6)
    set_velocities(cold, 0.0, np.random.default_rng(0))
    assert not cold.get_momenta().any()


def test_the_width_is_that_of_maxwell_and_boltzmann():
    atoms = Atoms("Ar1000", positions=np.random.default_rng(1).random((1000, 3)), pbc=True)
    set_velocities(atoms, 300.0, np.random.default_rng(0))
    speeds = np.linalg.norm(atoms.get_velocities(), axis=1)
    expected = np.sqrt(8 / np.pi / 3) * np.sqrt((speeds**2).mean())
    assert speeds.mean() == pytest.approx(expected, rel=0.03)
