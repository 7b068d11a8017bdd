"""Elastic constants against closed forms and against energies."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from matkit.elastic import ElasticOptions, elastic
from matkit.elastic.moduli import moduli, smallest_stiffness
from matkit.elastic.strains import strain_matrix, strained
from matkit.errors import ConfigError, SimulationError, StructureError
from matkit.evaluate.physics.equation_of_state import energy_volume
from matkit.report.json_files import json_bytes, plain
from matkit.simulate import relax
from matkit.units import GPA
from tests.phonons.lattice import argon, morse, springs


def cubic(c11, c12, c44):
    """Elastic constants of a cubic crystal."""
    matrix = np.diag([c11 - c12] * 3 + [c44] * 3)
    matrix[:3, :3] += c12
    return matrix


def test_springs_between_nearest_neighbours_of_an_fcc_crystal():
    """C11 = √2 k/d and C12 = C44 = C11/2 (Born & Huang 1954): all sums of four components."""
    distance = argon().cell.lengths()[0]
    c11 = 2**0.5 * 0.5 / distance
    found = elastic(argon(), springs(), strain=1e-3)
    assert found.converged
    assert found.message == ""
    assert found.stiffness == pytest.approx(cubic(c11, c11 / 2, c11 / 2), abs=1e-4 * c11)
    assert found.asymmetry < 1e-5


def test_curvature_of_the_energy_is_the_same():
    copper = elastic(bulk("Cu", cubic=True), EMT())
    frame, size = copper.atoms, 0.005
    for component in (0, 4):
        energies = []
        for amount in (-size, 0.0, size):
            atoms = strained(frame, component, amount)
            atoms.calc = EMT()
            energies.append(atoms.get_potential_energy())
        curvature = (energies[0] - 2 * energies[1] + energies[2]) / size**2 / frame.get_volume()
        assert copper.stiffness[component, component] == pytest.approx(curvature, rel=0.01)


def test_the_bulk_modulus_is_the_one_of_the_equation_of_state():
    found = elastic(bulk("Cu"), EMT())
    curve = energy_volume(found.atoms, EMT())
    assert found.bulk_modulus / GPA == pytest.approx(curve["bulk_modulus"], rel=0.03)


def hexagonal():
    """Two layers, which a strain across moves against each other."""
    return bulk("Ar", "hcp", a=3.72, c=6.3)


def test_atoms_that_relax_make_a_crystal_softer():
    settings = {"optimizer": "BFGS", "relax_cell": True, "fmax": 1e-4, "smax": 1e-5}
    start = relax(hexagonal(), morse(), **settings).atoms
    options = ElasticOptions(relax=False, fmax=1e-4)
    relaxed = elastic(start, morse(), options)
    clamped = elastic(start, morse(), options, relax_ions=False)
    assert relaxed.smallest_stiffness < clamped.smallest_stiffness
    assert np.linalg.eigvalsh(clamped.stiffness - relaxed.stiffness).max() > 1e-3 * GPA


def test_a_supercell_has_the_same_constants():
    one = elastic(argon(), springs()).stiffness
    assert elastic(argon() * (2, 1, 1), springs()).stiffness == pytest.approx(one, abs=1e-5)


def test_a_turned_crystal_has_the_same_moduli():
    turned = bulk("Cu")
    turned.rotate(37, (1, 2, 3), rotate_cell=True)
    first, second = elastic(bulk("Cu"), EMT()), elastic(turned, EMT())
    assert np.abs(first.stiffness - second.stiffness).max() > 0.1
    for name in ("bulk", "shear", "young", "poisson", "anisotropy"):
        expected = getattr(first.moduli, name)
        assert getattr(second.moduli, name) == pytest.approx(expected, rel=1e-3), name


def test_moduli_of_a_cubic_crystal():
    """Copper, Voigt 1928 and Reuss 1929 in closed form."""
    c11, c12, c44 = 168.4, 121.4, 75.4
    found = moduli(cubic(c11, c12, c44))
    assert found.bulk_voigt == pytest.approx((c11 + 2 * c12) / 3)
    assert found.bulk_reuss == pytest.approx((c11 + 2 * c12) / 3)
    assert found.shear_voigt == pytest.approx((c11 - c12 + 3 * c44) / 5)
    soft = 5 * (c11 - c12) * c44 / (4 * c44 + 3 * (c11 - c12))
    assert found.shear_reuss == pytest.approx(soft)
    assert found.shear == pytest.approx((found.shear_voigt + soft) / 2)
    assert found.young == pytest.approx(2 * found.shear * (1 + found.poisson))


def test_an_isotropic_crystal_has_no_anisotropy():
    found = moduli(cubic(10.0, 4.0, 3.0))
    assert found.anisotropy == pytest.approx(0.0, abs=1e-12)
    assert (found.young, found.poisson) == pytest.approx((54 / 7, 2 / 7))


def test_what_is_not_stable_has_no_moduli():
    soft = cubic(1.0, 2.0, 3.0)  # C11 < C12: it shears by itself
    assert smallest_stiffness(soft) == pytest.approx(-1.0)
    assert moduli(soft) is None


def test_strains_are_those_of_voigt():
    strains = [strain_matrix(component, 0.1) for component in range(6)]
    for component, strain in enumerate(strains):
        assert strain == pytest.approx(strain.T)
        assert strain.sum() == pytest.approx(0.1), component
    places = [tuple(np.argwhere(strain)[0]) for strain in strains]
    assert places == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]


def test_a_stressed_crystal_says_so():
    atoms = bulk("Cu")
    found = elastic(atoms, EMT(), relax=False)
    assert "not relaxed" in found.message
    assert (found.reason, found.steps) == ("done", 0)


def test_the_row_is_in_gpa_and_fit_for_json():
    found = elastic(bulk("Cu"), EMT())
    row = json.loads(json_bytes(plain(found.row())))
    assert row["bulk"] == pytest.approx(found.moduli.bulk / GPA)
    assert row["stiffness"][0][0] == pytest.approx(found.stiffness[0, 0] / GPA)
    assert 100 < row["stiffness"][0][0] < 250
    assert row["converged"] is True


class Wrong(Calculator):
    """Energy and forces only, or stresses that are no numbers."""

    implemented_properties = ("energy", "forces")

    def __init__(self, stress=None):
        super().__init__()
        self.stress = stress
        if stress is not None:
            self.implemented_properties = ("energy", "forces", "stress")

    def calculate(self, atoms=None, properties=("energy",), system_changes=()):
        super().calculate(atoms, properties, system_changes)
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}
        if self.stress is not None:
            self.results["stress"] = np.full(6, self.stress)


def test_what_cannot_be_strained_is_refused():
    with pytest.raises(StructureError, match="pbc = True in three directions, got"):
        elastic(molecule("H2O"), EMT())
    held = bulk("Cu")
    held.set_constraint(FixAtoms([0]))
    with pytest.raises(StructureError, match="no constraints for elastic constants, got FixAtoms"):
        elastic(held, EMT())
    with pytest.raises(ConfigError, match="Wrong has none"):
        elastic(bulk("Cu"), Wrong())
    with pytest.raises(ConfigError, match="strian"):
        elastic(bulk("Cu"), EMT(), strian=0.1)
    with pytest.raises(StructureError):
        elastic(Atoms(), EMT())


def test_stresses_that_are_no_numbers_are_an_error():
    with pytest.raises(SimulationError, match="finite stresses"):
        elastic(bulk("Cu"), Wrong(np.nan), relax=False)
