import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk
from ase.spacegroup import crystal
from pymatgen.core import Structure
from pymatgen.core.structure_matcher import StructureMatcher

from matkit.errors import StructureError
from matkit.symmetry.assignments import Assignments
from matkit.symmetry.cells import orbit
from matkit.symmetry.generic import generic_group
from matkit.symmetry.genes import gene_of
from matkit.symmetry.wyckoff import wyckoff_positions


def made(symbols, basis, group, cellpar) -> Atoms:
    return crystal(symbols, basis, spacegroup=group, cellpar=cellpar, primitive_cell=True)


PROTOTYPES = {
    "copper": (225, bulk("Cu")),
    "iron": (229, bulk("Fe")),
    "magnesium": (194, bulk("Mg")),
    "diamond": (227, bulk("C")),
    "rock salt": (225, bulk("NaCl", "rocksalt", a=5.64)),
    "rock salt, conventional": (225, bulk("NaCl", "rocksalt", a=5.64, cubic=True)),
    "zinc blende": (216, bulk("ZnS", "zincblende", a=5.41)),
    "wurtzite": (186, bulk("ZnO", "wurtzite", a=3.25, c=5.2)),
    "fluorite": (225, bulk("CaF2", "fluorite", a=5.46)),
    "caesium chloride": (221, bulk("CsCl", "cesiumchloride", a=4.12)),
    "perovskite": (
        221,
        made(
            ["Sr", "Ti", "O"],
            [(0, 0, 0), (0.5, 0.5, 0.5), (0.5, 0.5, 0)],
            221,
            [3.9] * 3 + [90] * 3,
        ),
    ),
    "rutile": (
        136,
        made(["Ti", "O"], [(0, 0, 0), (0.305, 0.305, 0)], 136, [4.59, 4.59, 2.96, 90, 90, 90]),
    ),
    "anatase": (
        141,
        made(["Ti", "O"], [(0, 0, 0), (0, 0, 0.208)], 141, [3.78, 3.78, 9.51, 90, 90, 90]),
    ),
    "corundum": (
        167,
        made(["Al", "O"], [(0, 0, 0.352), (0.306, 0, 0.25)], 167, [4.76, 4.76, 12.99, 90, 90, 120]),
    ),
    "quartz": (
        154,
        made(["Si", "O"], [(0.47, 0, 0), (0.41, 0.27, 0.12)], 154, [4.91, 4.91, 5.4, 90, 90, 120]),
    ),
    "pyrite": (205, made(["Fe", "S"], [(0, 0, 0), (0.385,) * 3], 205, [5.42] * 3 + [90] * 3)),
    "spinel": (
        227,
        made(
            ["Mg", "Al", "O"], [(0, 0, 0), (0.625,) * 3, (0.387,) * 3], 227, [8.08] * 3 + [90] * 3
        ),
    ),
    "olivine": (
        62,
        made(
            ["Mg", "Mg", "Si", "O", "O", "O"],
            [
                *[(0, 0, 0), (0.28, 0.25, 0.99), (0.09, 0.25, 0.43), (0.09, 0.25, 0.77)],
                *[(0.45, 0.25, 0.22), (0.16, 0.03, 0.28)],
            ],
            62,
            [10.2, 5.98, 4.76, 90, 90, 90],
        ),
    ),
    "baddeleyite": (
        14,
        made(
            ["Zr", "O", "O"],
            [(0.275, 0.04, 0.208), (0.07, 0.33, 0.345), (0.45, 0.757, 0.479)],
            14,
            [5.15, 5.21, 5.32, 90, 99.2, 90],
        ),
    ),
    "without symmetry": (
        1,
        Atoms(
            "HCNO",
            scaled_positions=[[0, 0, 0], [0.2, 0.3, 0.4], [0.55, 0.5, 0.61], [0.8, 0.1, 0.7]],
            cell=[[5, 0, 0], [1.1, 5.5, 0], [0.7, 1.3, 6.2]],
            pbc=True,
        ),
    ),
}


@pytest.mark.parametrize("name", PROTOTYPES)
def test_a_crystal_comes_back_from_its_orbits(name):
    group, atoms = PROTOTYPES[name]
    gene = gene_of(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    assert gene.number == group
    ways, places, numbers = Assignments(group, (1,)), [], []
    for place, species, position in zip(gene.places, gene.species, gene.position, strict=True):
        one = orbit(ways, int(position), np.eye(3))
        operations = zip(one.rotations, one.translations, strict=True)
        # The place may be of any atom; all are made of the one on the representative.
        anchors = (np.linalg.inv(rotation) @ (place - shift) for rotation, shift in operations)
        anchor = next(x for x in anchors if lies_on(x, one))
        places.append(one.rotations @ anchor + one.translations)
        numbers += [species] * len(one.rotations)
    back = Structure(gene.cell, numbers, np.concatenate(places))
    cell, fractional, elements = parts(atoms)
    matcher = StructureMatcher(ltol=1e-3, stol=1e-3, angle_tol=0.1, scale=False)
    assert matcher.fit(back, Structure(cell, elements, fractional))


def lies_on(x, one) -> bool:
    offset = x - one.origin
    rest = offset - offset.round() - one.projector @ (offset - offset.round())
    near = [offset - shift - one.projector @ (offset - shift) for shift in SHIFTS]
    return np.abs(rest).max() < 1e-5 or min(np.abs(r).max() for r in near) < 1e-5


SHIFTS = np.array(np.meshgrid(*[range(-2, 3)] * 3)).reshape(3, -1).T


def test_atoms_of_one_orbit_have_one_number():
    gene = gene_of(*parts(PROTOTYPES["rutile"][1]))
    assert gene.orbit.tolist() == [0, 0, 1, 1, 1, 1]
    assert gene.species.tolist() == [22, 8]
    sizes = [wyckoff_positions(136)[p].multiplicity for p in gene.position]
    assert sizes == [2, 4]


def test_a_distorted_crystal_is_symmetric_within_the_tolerance():
    atoms = PROTOTYPES["perovskite"][1].copy()
    atoms.rattle(0.01, seed=0)
    assert gene_of(*parts(atoms)).number == 221
    atoms.rattle(0.3, seed=0)
    assert gene_of(*parts(atoms)).number == 1


def test_atoms_that_lie_on_each_other_have_no_symmetry():
    with pytest.raises(StructureError, match="Found no space group for a crystal of 2 atoms"):
        gene_of(np.eye(3) * 4, np.zeros((2, 3)), np.array([11, 11]))


@pytest.mark.parametrize(
    ("number", "orbits", "expected"),
    [
        (225, [(0, 0), (1, 1)], True),
        (216, [(0, 0), (2, 1)], False),  # rock salt in F-43m
        (216, [(0, 0), (1, 1)], True),  # zinc blende
        (1, [(0, 0)], False),
        (227, [(2, 0), (3, 0)], False),  # a simple cubic lattice
        (1, [(0, 0), (0, 1), (0, 2), (0, 3)], True),
    ],
)
def test_some_orbits_have_a_higher_symmetry_than_their_group(number, orbits, expected):
    assert (generic_group(number, tuple(orbits)) == number) == expected


def parts(atoms):
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers
