"""Elastic constants against closed forms and against energies."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms
from pymatgen.core.elasticity import DeformedStructureSet
from pymatgen.core.elasticity import Strain as PymatgenStrain
from pymatgen.io.ase import AseAtomsAdaptor

from matkit.elastic import ElasticOptions, elastic
from matkit.elastic.moduli import moduli, smallest_stiffness
from matkit.elastic.strains import Strain, images, point_group, strain_set, strained, symmetric
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


SMALL = {"norm_strains": [-0.002, 0.002], "shear_strains": [-0.001, 0.001]}


def test_springs_between_nearest_neighbours_of_an_fcc_crystal():
    """C11 = √2 k/d and C12 = C44 = C11/2 (Born & Huang 1954): all sums of four components."""
    distance = argon().cell.lengths()[0]
    c11 = 2**0.5 * 0.5 / distance
    found = elastic(argon(), springs(), **SMALL)
    assert found.converged
    assert found.message == ""
    assert found.stiffness == pytest.approx(cubic(c11, c11 / 2, c11 / 2), abs=1e-4 * c11)
    assert found.asymmetry < 1e-5


def test_constants_are_those_of_matcalc():
    """Its ElasticityCalc: strains of pymatgen, whose cells are turned, stresses, linear fits."""
    ours = elastic(bulk("Cu"), EMT())
    options = ElasticOptions()
    strains, stresses = [], []
    crystal = AseAtomsAdaptor.get_structure(ours.atoms)
    sets = DeformedStructureSet(crystal, options.norm_strains, options.shear_strains)
    for deformation, structure in zip(sets.deformations, sets, strict=True):
        atoms = AseAtomsAdaptor.get_atoms(structure)
        atoms.calc = EMT()
        strains.append(PymatgenStrain.from_deformation(deformation).voigt)
        stresses.append(atoms.get_stress())
    strains, stresses = np.array(strains), np.array(stresses)
    for i, j in ((0, 0), (0, 1), (3, 3)):
        chosen = np.abs(strains[:, j]) > 1e-9
        slope = np.polyfit(strains[chosen, j], stresses[chosen, i], 1)[0]
        assert ours.stiffness[i, j] == pytest.approx(slope, rel=0.01), (i, j)


def test_curvature_of_the_energy_is_the_same():
    copper = elastic(bulk("Cu", cubic=True), EMT(), **SMALL)
    frame, size = copper.atoms, 0.005
    for component in (0, 4):
        energies = []
        for amount in (-size, 0.0, size):
            atoms = strained(frame, Strain(component, amount))
            atoms.calc = EMT()
            energies.append(atoms.get_potential_energy())
        step = Strain(component, size).voigt
        curvature = (energies[0] - 2 * energies[1] + energies[2]) / step**2 / frame.get_volume()
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
    first, second = (elastic(atoms, EMT(), **SMALL) for atoms in (bulk("Cu"), turned))
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
    strains = strain_set([0.1], [0.1])
    places = [tuple(np.argwhere(strain.tensor)[0]) for strain in strains]
    assert places == [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
    assert [strain.voigt for strain in strains] == pytest.approx([0.1] * 3 + [0.2] * 3)


def test_a_strained_cell_is_strained_and_not_turned():
    """``E = (F^T F - 1) / 2`` with a symmetric F."""
    strain = Strain(4, 0.05)
    deformation = np.linalg.solve(np.eye(3), strained(Atoms(cell=np.eye(3)), strain).cell.array)
    assert deformation == pytest.approx(deformation.T)
    assert (deformation @ deformation - np.eye(3)) / 2 == pytest.approx(strain.tensor)


def test_symmetry_leaves_few_strains():
    strains = strain_set([-0.01, 0.01], [-0.01, 0.01])
    for atoms, count in ((argon(), 3), (hexagonal(), 9), (triclinic(), 12)):
        same = images(strains, point_group(atoms, 1e-3))
        assert len({source for source, _ in same}) == count
        for (source, turn), strain in zip(same, strains, strict=True):
            assert turn @ strains[source].tensor @ turn.T == pytest.approx(strain.tensor, abs=1e-6)


def triclinic():
    atoms = argon()
    atoms.set_cell(atoms.cell.array + np.diag([0.1, 0.2, 0.4]) + np.eye(3, k=1) * 0.3, True)
    return atoms


@pytest.mark.parametrize("relax_ions", [True, False])
def test_symmetry_changes_nothing_but_the_work(relax_ions):
    settings = {"relax_ions": relax_ions, "fmax": 1e-5}
    fast = elastic(hexagonal(), morse(), **settings, **SMALL)
    all_strains = elastic(hexagonal(), morse(), symmetry=False, **settings, **SMALL)
    assert (fast.strains, all_strains.strains) == (9, 12)
    tolerance = 2e-4 * all_strains.stiffness.max()
    assert fast.stiffness == pytest.approx(all_strains.stiffness, abs=tolerance)
    c = fast.stiffness
    assert c[5, 5] == pytest.approx((c[0, 0] - c[0, 1]) / 2, rel=1e-9)  # hexagonal


def test_constants_are_made_symmetric_by_the_point_group():
    noise = np.random.default_rng(0).normal(size=(6, 6))
    mean = symmetric(cubic(10.0, 4.0, 3.0) + noise, point_group(argon(), 1e-3))
    assert mean == pytest.approx(cubic(mean[0, 0], mean[0, 1], mean[3, 3]), abs=1e-12)


def test_one_sided_strains_are_measured_from_the_unstrained_crystal():
    one = {"norm_strains": [0.002], "shear_strains": [0.001]}
    both = elastic(argon(), springs(), **SMALL).stiffness
    assert elastic(argon(), springs(), **one).stiffness == pytest.approx(both, rel=0.02, abs=1e-4)


def test_strains_too_large_for_a_straight_line_are_told():
    """The cubic fit comes near the constants of small strains, and the message says so."""
    large = elastic(bulk("Cu"), EMT())
    small = elastic(bulk("Cu"), EMT(), **SMALL)
    assert "not linear in these strains: C" in large.message
    assert small.message == ""
    apart, corrected = (
        abs(found[3, 3] - small.stiffness[3, 3]) for found in (large.stiffness, large.limit)
    )
    assert corrected < apart / 3


def test_a_crystal_under_stress_is_refused_unless_that_is_meant():
    squeezed = bulk("Cu", a=3.5)
    with pytest.raises(StructureError, match=r"largest stress is .* GPa.*Let it relax"):
        elastic(squeezed, EMT(), relax=False)
    with pytest.raises(StructureError, match="Raise steps"):
        elastic(squeezed, EMT(), steps=0)
    found = elastic(squeezed, EMT(), relax=False, max_stress=0.5)
    assert "not relaxed" in found.message
    assert (found.reason, found.steps) == ("done", 0)


def test_strained_cells_that_do_not_relax_are_counted():
    start = relax(hexagonal(), morse(), optimizer="BFGS", relax_cell=True, fmax=1e-4, smax=1e-5)
    found = elastic(start.atoms, morse(), relax=False, steps=0, fmax=1e-6)
    assert found.reason == "max_steps"
    assert "strained cells are not relaxed within the number of steps" in found.message


class Biased(EMT):
    """Stresses that are no derivatives of the energy."""

    def calculate(self, atoms=None, properties=("energy",), system_changes=("positions",)):
        super().calculate(atoms, properties, system_changes)
        self.results["stress"] = self.results["stress"] * [1, 2, 1, 1, 1, 1]


def test_stresses_that_are_no_derivatives_are_told():
    assert "across the diagonal" in elastic(bulk("Cu"), Biased(), symmetry=False).message


def test_what_is_not_stable_is_told():
    simple = Atoms("Ar", cell=3.9 * np.eye(3), pbc=True)
    found = elastic(simple, morse(), relax=False, max_stress=1.0, **SMALL)
    assert not found.stable
    assert "not stable" in found.message
    assert "bulk" not in found.row()


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ([], "at least one strain"),
        ([0.01, 0.01], "every one once"),
        ([0.0], "not zero"),
        ([0.3], "at most 0.2"),
    ],
)
def test_impossible_strains_are_refused(values, match):
    with pytest.raises(ConfigError, match=match):
        elastic(bulk("Cu"), EMT(), norm_strains=values)


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
