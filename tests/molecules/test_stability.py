import pytest
import torch
from ase.build import molecule

from matkit.errors import StructureError
from matkit.molecules.stability import table_stability
from matkit.testing.systems import batch


def test_true_molecules_are_stable():
    names = ("CH4", "C2H4", "C2H2", "NH3", "H2O", "CH3OH", "HCN", "H2CO", "C2H6", "HF")
    found = table_stability(batch(*map(molecule, names)))
    assert bool(found.molecules.all())
    assert bool(found.atoms.all())


def test_one_atom_too_few_makes_its_neighbour_unstable():
    methane, radical = molecule("CH4"), molecule("CH4")[[0, 1, 2, 3]]
    found = table_stability(batch(methane, radical))
    assert found.molecules.tolist() == [True, False]
    assert found.atoms.tolist() == [True] * 5 + [False] + [True] * 3


@pytest.mark.parametrize(
    ("length", "order"), [(1.65, 0), (1.63, 1), (1.40, 1), (1.38, 2), (1.24, 2), (1.22, 3)]
)
def test_orders_by_length(length, order):
    from ase import Atoms

    from matkit.molecules.stability import _orders

    pair = batch(Atoms("C2", [[0, 0, 0], [0, 0, length]]))
    distance = 100 * torch.cdist(pair.positions, pair.positions)
    assert _orders(distance, pair.species).tolist() == [[0, order], [order, 0]]


def test_elements_without_an_entry():
    with pytest.raises(StructureError, match="table knows H, C, N, O, F; got S, Cl"):
        table_stability(batch(molecule("CH3Cl"), molecule("SH2")))
