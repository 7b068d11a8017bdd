"""Single perturbations of crystals."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.data import covalent_radii

from matkit.builders.crystals import deformed, shear, slab, substituted, supercell, vacancy
from matkit.builders.geometry import DRAWS, approach, displaced, drawn
from matkit.builders.options import PerturbOptions

RNG = np.random.default_rng


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64)


def test_displacements_have_the_amplitude_that_was_asked_for():
    atoms = bulk("Cu", cubic=True).repeat(10)
    moved = displaced(atoms, 0.2, RNG(0))
    away = np.linalg.norm(moved.positions - atoms.positions, axis=1)
    assert np.sqrt((away**2).mean()) == pytest.approx(0.2, rel=0.02)


@pytest.mark.parametrize("seed", range(3))
def test_closest_approach_against_all_images(seed):
    atoms = displaced(salt(), 0.6, RNG(seed))
    radii, shifts = covalent_radii[atoms.numbers], np.mgrid[-2:3, -2:3, -2:3].reshape(3, -1).T
    ratios = [
        np.linalg.norm(atoms.positions[j] + shift @ atoms.cell.array - atoms.positions[i])
        / (radii[i] + radii[j])
        for i in range(2)
        for j in range(2)
        for shift in shifts
        if i != j or shift.any()
    ]
    found = approach(atoms)
    assert found == (pytest.approx(min(ratios)) if min(ratios) < 1 else np.inf)


def test_structures_with_atoms_too_close_are_drawn_again():
    calls = []

    def make():
        calls.append(0)
        return Atoms("H2", [(0, 0, 0), (0, 0, 0.1 * len(calls))])

    assert drawn(make, 0.5).get_distance(0, 1) == pytest.approx(0.4)  # radii of 0.31 Å
    calls.clear()
    assert drawn(lambda: calls.append(0) or Atoms("H2"), 0.5) is None
    assert len(calls) == DRAWS


def test_deformations_keep_fractional_coordinates():
    atoms = salt()
    made = deformed(atoms, np.eye(3) * 1.2 ** (1 / 3))
    assert made.cell.volume == pytest.approx(1.2 * atoms.cell.volume)
    np.testing.assert_allclose(made.get_scaled_positions(), atoms.get_scaled_positions())


def test_shear_keeps_the_volume():
    matrix = shear(0.1, RNG(1))
    assert np.linalg.det(matrix) == pytest.approx(1)
    np.testing.assert_allclose(matrix, matrix.T)
    strains = np.linalg.eigvalsh(matrix) - 1
    assert np.abs(strains).max() == pytest.approx(0.1, rel=0.15)


def test_supercells_grow_where_they_are_short():
    flat = Atoms("H", cell=(2, 2, 10), pbc=True)
    assert supercell(flat, 16, 64).cell.lengths() == pytest.approx([8, 8, 10])
    assert len(supercell(flat, 16, 15)) == 1  # it would be too large
    assert len(supercell(salt(), 1, 64)) == 2


def test_a_vacancy_is_one_atom_less():
    options = PerturbOptions()
    made = vacancy(salt(), options, RNG(0))
    assert len(made) == options.supercell_atoms - 1
    with pytest.raises(ValueError, match="none to take out"):
        vacancy(bulk("Cu"), PerturbOptions(supercell_atoms=1), RNG(0))


def test_substitutes_are_similar():
    found = {
        str(substituted(salt(), [11, 17, 19, 35, 26, 8, 9, 3, 37, 53, 55], RNG(seed)).symbols)
        for seed in range(60)
    }
    assert found <= {
        *("KCl", "LiCl", "RbCl", "CsCl"),
        *("NaBr", "NaI", "NaF", "NaO"),
    }
    assert {"KCl", "NaBr"} <= found
    assert not {"FeCl", "NaFe"} & found


def test_a_larger_substitute_needs_more_room():
    made = substituted(bulk("Cu"), [29, 79], RNG(0))
    assert str(made.symbols) == "Au"
    ratio = covalent_radii[79] / covalent_radii[29]
    assert made.cell.volume == pytest.approx(bulk("Cu").cell.volume * ratio**3)
    with pytest.raises(ValueError, match="no other element"):
        substituted(bulk("Cu"), [29], RNG(0))


@pytest.mark.parametrize("seed", range(4))
def test_slabs_have_vacuum_and_the_same_elements(seed):
    made = slab(bulk("NaCl", "rocksalt", a=5.64, cubic=True), RNG(seed))
    assert {*made.symbols} == {"Na", "Cl"}
    assert made.pbc.all()
    normal = np.cross(made.cell[0], made.cell[1])
    heights = made.positions @ normal / np.linalg.norm(normal)
    thickness = made.cell.volume / np.linalg.norm(normal)
    assert thickness - np.ptp(heights) > 10
    assert np.ptp(heights) > 4
