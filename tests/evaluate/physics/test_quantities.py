"""Quantities beside numbers by hand, most of them of EMT."""

import importlib.util
from functools import cache

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, fcc111, molecule
from ase.calculators.emt import EMT
from ase.calculators.lj import LennardJones
from ase.optimize import BFGS
from scipy.stats import special_ortho_group

from matkit.elastic.strains import point_group
from matkit.errors import ConfigError, MissingExtraError, SimulationError, UnknownNameError
from matkit.evaluate.physics.comparison.items import places
from matkit.evaluate.physics.crystals import KNOWN, simple_crystals
from matkit.evaluate.physics.options import COMPARED
from matkit.evaluate.physics.quantities import (
    conductivity,
    elastic,
    molecules,
    phonons,
    quantity_names,
    reactions,
    surface,
    vacancy,
    volume,
)
from matkit.evaluate.physics.quantity import Sample, mean_absolute, quantities, quantity
from matkit.evaluate.physics.relaxation import CRYSTAL, at_rest
from matkit.hessians.calculators import hessian
from matkit.phonons import phonons as phonons_of
from matkit.simulate.options import RelaxOptions
from tests.phonons.lattice import morse

needs_phono3py = pytest.mark.skipif(
    importlib.util.find_spec("phono3py") is None, reason="phono3py is not installed"
)


@cache
def copper():
    start = bulk("Cu")
    return Sample("Cu", start, at_rest(start, EMT(), CRYSTAL), min_length=4.0)


def by_hand(atoms):
    """The energy after a relaxation of the positions."""
    atoms.calc = EMT()
    BFGS(atoms, logfile=None).run(fmax=1e-4)
    return atoms.get_potential_energy()


def test_volume():
    found = volume.numbers(copper(), EMT())["volume"][""]
    assert found == pytest.approx(copper().atoms.get_volume())


def test_surface_energy():
    a = float(copper().atoms.cell.lengths()[0] * np.sqrt(2))
    slab = fcc111("Cu", (1, 1, surface.LAYERS), a=a, vacuum=8.0)
    area = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    bulk_energy = len(slab) * copper().atoms.get_potential_energy()
    expected = (by_hand(slab) - bulk_energy) / (2 * area) / (units.J / units.m**2)
    found = surface.numbers(copper(), EMT())["surface energy"]
    assert found == {"(111)": pytest.approx(expected, rel=1e-4)}


@pytest.mark.parametrize(
    ("formula", "structure", "a", "area"),
    [
        ("Cu", "fcc", 3.6, np.sqrt(3) / 4),
        ("W", "bcc", 3.2, np.sqrt(2) / 2),
        ("MgO", "rocksalt", 4.2, 1 / 2),
        ("GaAs", "zincblende", 5.6, np.sqrt(2) / 2),
    ],
)
def test_slabs_have_whole_layers_of_the_smallest_area(formula, structure, a, area):
    atoms = bulk(formula, structure, a=a)
    slab = surface.slab_of(atoms)
    assert len(slab) == surface.LAYERS * len(atoms)
    found = np.linalg.norm(np.cross(slab.cell[0], slab.cell[1]))
    assert found == pytest.approx(area * a**2)
    heights = np.sort(slab.positions[:, 2])
    assert slab.cell[2, 2] - np.ptp(heights) > 10.0
    layers = np.unique(heights.round(3))
    assert len(layers) == surface.LAYERS


def test_crystals_without_a_simple_surface_have_none():
    crystals = {"Si2": bulk("Si"), "Cu": bulk("Cu"), "Cu4": bulk("Cu", cubic=True)}
    assert list(surface.subjects(crystals)) == ["Cu", "Cu4"]
    skewed = bulk("Cu")
    skewed.positions += 0.2
    skewed.set_cell(skewed.cell @ special_ortho_group.rvs(3, random_state=0), scale_atoms=True)
    assert len(surface.slab_of(skewed)) == surface.LAYERS


def test_vacancy_energy():
    supercell = copper().atoms.repeat(4)
    perfect = by_hand(supercell.copy())
    vacant = supercell.copy()
    del vacant[10]
    found = vacancy.numbers(copper(), EMT())["vacancy energy"][""]
    assert found == pytest.approx(by_hand(vacant) - 63 / 64 * perfect, abs=1e-4)
    crystals = {"Cu": bulk("Cu"), "NaCl": bulk("NaCl", "rocksalt", a=5.6)}
    assert list(vacancy.subjects(crystals)) == ["Cu"]


def test_elastic_constants_and_moduli():
    found = elastic.numbers(copper(), EMT())
    constants = found["elastic constants"]
    assert list(constants) == ["C11", "C12", "C44"]
    assert found["bulk modulus"][""] == pytest.approx((constants["C11"] + 2 * constants["C12"]) / 3)
    low = 5 / (4 / (constants["C11"] - constants["C12"]) + 3 / constants["C44"])
    high = (constants["C11"] - constants["C12"] + 3 * constants["C44"]) / 5
    assert found["shear modulus"][""] == pytest.approx((low + high) / 2)


@pytest.mark.parametrize(
    ("atoms", "count"),
    [
        (bulk("Mg"), 5),
        (Atoms("Cu", cell=np.eye(3) * [3, 3, 4], pbc=True), 6),
        (Atoms("Cu", cell=np.eye(3) * [3, 3.5, 4], pbc=True), 9),
        (Atoms("CuAu", [[0, 0, 0], [1, 1.2, 1.4]], cell=[[3, 0, 0], [1, 4, 0], [0.5, 1, 5]]), 21),
    ],
    ids=["hexagonal", "tetragonal", "orthorhombic", "triclinic"],
)
def test_symmetry_leaves_as_many_constants_as_the_textbooks_say(atoms, count):
    atoms.pbc = True
    assert len(elastic.independent(np.asarray(point_group(atoms, 1e-3)))) == count


def test_a_crystal_that_a_strain_destroys_has_no_moduli():
    start = Atoms("Ar", cell=3.64 * np.eye(3), pbc=True)
    simple = at_rest(start, morse(), CRYSTAL)
    with pytest.raises(SimulationError, match="Expected Ar to be stable"):
        elastic.numbers(Sample("Ar", simple, simple), morse())


def test_frequencies_are_those_of_the_supercell():
    found = phonons.numbers(copper(), EMT())["phonon frequencies"]
    supercell = copper().atoms.repeat(copper().repeats)
    matrix = hessian(supercell, EMT(), "finite-difference")
    masses = np.repeat(supercell.get_masses(), 3)
    squares = np.linalg.eigvalsh(matrix / np.sqrt(np.outer(masses, masses)))
    expected = np.sqrt(squares[3:]) * 1e10 * np.sqrt(units._e / units._amu) / (2e12 * np.pi)
    assert copper().repeats == [2, 2, 2]
    assert np.sort(list(found.values())) == pytest.approx(expected, abs=2e-3)


def test_the_heat_capacity_is_that_of_phonons():
    found = phonons.numbers(copper(), EMT())["heat capacity at 300 K"][""]
    thermal = phonons_of(copper().atoms, EMT(), relax=False, min_length=4.0).thermal
    at_300 = thermal.heat_capacity[thermal.temperatures == 300.0]
    assert found == pytest.approx(at_300 * units.mol / units.J, rel=1e-6)


def test_a_bond_of_two_atoms():
    frame = molecule("N2")
    by_hand(frame)
    found = molecules.numbers(Sample("N2", frame, frame), EMT())
    assert found["bond length"][""] == pytest.approx(frame.get_distance(0, 1), abs=1e-5)
    matrix = hessian(frame, EMT(), "finite-difference")
    stiffness = np.linalg.eigvalsh(matrix)[-1] / 2
    expected = np.sqrt(stiffness / (frame.get_masses()[0] / 2))
    expected *= units._hbar * 1e10 / np.sqrt(units._e * units._amu) / units.invcm
    assert found["vibration"][""] == pytest.approx(expected, rel=1e-4)


def test_atoms_without_a_bond_have_no_vibration():
    pair = molecule("N2")
    with pytest.raises(SimulationError, match="Expected a stable bond of N2"):
        molecules.numbers(Sample("N2", pair, pair), LennardJones(epsilon=0.0))


def test_a_reaction_is_products_less_reactants():
    name = "CO + H2O -> CO2 + H2"
    energy = {part: by_hand(molecule(part)) for part in ("CO", "H2O", "CO2", "H2")}
    expected = energy["CO2"] + energy["H2"] - energy["CO"] - energy["H2O"]
    start = reactions.subjects({})[name]
    found = reactions.numbers(Sample(name, start, start), EMT())["reaction energy"][""]
    assert found == pytest.approx(expected, abs=1e-4)
    assert set(start.symbols) == {"C", "O", "H"}


@pytest.mark.parametrize("name", reactions.REACTIONS)
def test_reactions_keep_their_atoms(name):
    sums = {}
    for part, count in reactions.REACTIONS[name].items():
        for symbol in molecule(part).symbols:
            sums[symbol] = sums.get(symbol, 0) + count
    assert set(sums.values()) == {0}


def test_srme_is_zero_for_equal_modes_and_follows_its_formula():
    one, other = {"1.1": 3.0, "1.2": 1.0}, {"1.1": 1.0, "1.2": 2.0}
    srme = conductivity.symmetric_relative_mean_error
    assert srme(one, one) == 0
    assert srme(one, other) == pytest.approx(2 * (2 + 1) / (4 + 3))
    assert srme(one, other) == srme(other, one)
    assert srme({"1.1": 5.0, "1.2": 0.0}, {"1.1": 0.0, "1.2": 5.0}) == 2
    assert conductivity.NUMBERS["mode conductivities"].failed == 2


def test_conductivity_is_of_usual_crystals_or_of_those_named():
    crystals = {"Cu": bulk("Cu"), "Si2": bulk("Si")}
    chosen = {"conductivity": conductivity, "volume": volume}

    def found(crystals, named):
        return [(place.quantity, place.subject) for place in places(chosen, crystals, named)]

    assert found(crystals, False) == [
        ("conductivity", "Si2"),
        ("volume", "Cu"),
        ("volume", "Si2"),
    ]
    assert found(crystals, True)[:2] == [("conductivity", "Cu"), ("conductivity", "Si2")]
    assert found({"Cu": bulk("Cu")}, False)[0] == ("conductivity", "Cu")


@needs_phono3py
def test_modes_add_up_to_the_conductivity(monkeypatch):
    monkeypatch.setattr(conductivity, "MESH", (3, 3, 3))
    found = conductivity.numbers(copper(), EMT())
    modes = found["mode conductivities"]
    total = found["thermal conductivity"][""]
    assert sum(modes.values()) == pytest.approx(total)
    assert total > 0
    assert len(modes) == 4 * 3  # Gamma and three more q-points by symmetry


@needs_phono3py
def test_an_unstable_crystal_has_no_conductivity(monkeypatch):
    monkeypatch.setattr(conductivity, "MESH", (3, 3, 3))
    simple = Atoms("Ar", cell=3.64 * np.eye(3), pbc=True)
    with pytest.raises(SimulationError, match="imaginary frequency"):
        conductivity.numbers(Sample("Ar", simple, simple, 4.0), morse())


def test_what_does_not_come_to_rest_is_said():
    with pytest.raises(SimulationError, match="Expected Cu to come to rest"):
        at_rest(bulk("Cu", a=3.9), EMT(), RelaxOptions(steps=0, relax_cell=True))


def test_quantities_are_found_by_name():
    assert "elastic" in quantity_names()
    assert list(quantities(["vacancy", "surface"])) == ["volume", "vacancy", "surface"]
    with pytest.raises(UnknownNameError, match="Did you mean 'elastic'"):
        quantity("elastics")
    with pytest.raises(ConfigError, match="Expected quantities, got none"):
        quantities([])


@pytest.mark.parametrize("name", quantity_names())
def test_every_quantity_says_what_it_is(name):
    one = quantity(name)
    assert one.NUMBERS
    assert bool(one.PACKAGES) == bool(one.EXTRA)
    assert one.subjects({"Cu": bulk("Cu")})


def test_a_quantity_whose_package_is_missing_says_how_to_get_it(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r'phono3py: pip install "matkit\[conductivity\]"'):
        quantities(["conductivity"])


def test_differences_are_means_over_components():
    assert mean_absolute({"a": 1.0, "b": 4.0}, {"a": 2.0, "b": 1.0}) == 2.0


def test_a_comparison_is_of_all_known_crystals_but_argon():
    assert len(KNOWN) == COMPARED + 1
    assert all(str(atoms.symbols) != "Ar" for atoms in simple_crystals(range(1, 100), COMPARED))
