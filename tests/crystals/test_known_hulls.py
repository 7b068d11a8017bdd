"""The table of phases that comes with the default potential."""

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from pymatgen.core import Composition
from pymatgen.io.ase import AseAtomsAdaptor

from matkit.crystals.known_hulls import known_hull
from matkit.crystals.stability import read_hull
from matkit.errors import ConfigError
from matkit.models.zoo import load_calculator


@pytest.fixture(scope="module")
def calc():
    return load_calculator(dtype="float64")


@pytest.fixture(scope="module")
def hull(calc):
    return read_hull(["default"], calc)


def test_every_element_has_a_pure_phase(hull):
    phases = [Composition(formula) for formula, _ in hull.phases]
    elements = {element for phase in phases for element in phase}
    assert {phase.elements[0] for phase in phases if phase.is_element} == elements
    assert len(elements) == 88


@pytest.mark.parametrize(
    ("name", "structure", "a"),
    [("NaCl", "rocksalt", 5.69), ("MgO", "rocksalt", 4.25), ("CdTe", "zincblende", 6.62)],
)
def test_known_compounds_are_on_the_hull(calc, hull, name, structure, a):
    # Near their best lattice constants; what is left of the stress costs less than 5 meV/atom.
    atoms = bulk(name, structure, a=a)
    atoms.calc = calc
    above = hull.above(AseAtomsAdaptor.get_structure(atoms), atoms.get_potential_energy() / 2)
    assert 0 <= above + 1e-4 < 5e-3


def test_other_potentials_have_none():
    with pytest.raises(ConfigError, match="nequip-universal.*not of LennardJones.*--hull FILES"):
        known_hull(LennardJones())


def test_nothing_may_be_added_to_the_potential(calc):
    corrected = LennardJones()
    corrected.info = {**calc.info, "dispersion": "d3"}
    with pytest.raises(ConfigError, match="nothing added to it"):
        known_hull(corrected)
