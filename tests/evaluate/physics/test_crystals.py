import pytest
from ase.data import atomic_numbers

from matkit.evaluate.physics.crystals import KNOWN, simple_crystals


@pytest.mark.parametrize(
    ("symbols", "formulas"),
    [
        (["Cu", "Si", "Na", "Cl"], ["Cu", "Si2", "NaCl"]),
        (["Na", "Cl"], ["NaCl", "Na"]),
        (["Pd"], ["Pd"]),
        (["Mg", "O"], ["MgO", "Mg2"]),
        (["H", "O"], []),
    ],
)
def test_crystals_are_of_known_elements_alone(symbols, formulas):
    found = simple_crystals([atomic_numbers[symbol] for symbol in symbols], 3)
    assert [str(atoms.symbols) for atoms in found] == formulas
    assert all(atoms.pbc.all() for atoms in found)


def test_elements_beyond_the_tables_are_no_error():
    assert simple_crystals([118], 3) == []


def test_every_known_crystal_can_be_built():
    assert len(simple_crystals(range(1, 100), len(KNOWN))) == len(KNOWN)
