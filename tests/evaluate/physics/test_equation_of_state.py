import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.eos import EquationOfState

from matkit.evaluate.physics.equation_of_state import (
    energy_volume,
    fit_birch_murnaghan,
    widest_gap,
)
from matkit.units import GPA


def test_the_curve_is_the_one_of_ase():
    atoms = bulk("Cu", cubic=True)
    curve = energy_volume(atoms, EMT())
    volumes, energies = np.array(curve["volume"]), np.array(curve["energy"])
    assert volumes[[0, -1]] == pytest.approx(np.array([0.85, 1.15]) * atoms.get_volume() / 4)
    scaled = bulk("Cu", a=(4 * volumes[0]) ** (1 / 3))
    scaled.calc = EMT()
    assert energies[0] == pytest.approx(scaled.get_potential_energy())
    volume, _, modulus = EquationOfState(volumes, energies, "birchmurnaghan").fit(warn=False)
    assert curve["equilibrium_volume"] == pytest.approx(volume, rel=1e-3)
    assert curve["bulk_modulus"] == pytest.approx(modulus / GPA, rel=5e-3)


def test_birch_murnaghan_is_fitted_exactly():
    # Birch (1947), with V0 = 16 Å³, B0 = 100 GPa, B0' = 5.
    volumes = np.linspace(14.0, 18.0, 13)
    x = (16.0 / volumes) ** (2 / 3)
    energies = 9 * 16 * 100 * GPA / 16 * ((x - 1) ** 3 * 5 + (x - 1) ** 2 * (6 - 4 * x))
    found = fit_birch_murnaghan(volumes, energies)
    assert found["equilibrium_volume"] == pytest.approx(16.0, rel=1e-6)
    assert found["bulk_modulus"] == pytest.approx(100.0, rel=1e-5)


@pytest.mark.parametrize("energies", [np.arange(13.0), -np.arange(13.0)])
def test_no_minimum_inside_no_equilibrium(energies):
    assert fit_birch_murnaghan(np.linspace(14.0, 18.0, 13), energies) == {}


def test_no_curve_for_what_has_no_volume():
    slab = fcc111("Cu", (1, 1, 3), vacuum=6.0)
    assert "not periodic" in energy_volume(molecule("H2O"), EMT())["skipped"]
    assert "not periodic" in energy_volume(slab, EMT())["skipped"]
    slab.pbc = True
    assert "gap of 12.0 Å" in energy_volume(slab, EMT())["skipped"]


def test_the_gap_is_measured_across_the_boundary():
    atoms = Atoms("H2", positions=[[0, 0, 1], [0, 0, 9]], cell=[3, 3, 12], pbc=True)
    assert widest_gap(atoms) == pytest.approx(8.0)
    atoms.positions[1, 2] = 4
    assert widest_gap(atoms) == pytest.approx(9.0)
