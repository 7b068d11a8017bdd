import numpy as np
import pytest
import torch
from ase.build import molecule

from matkit.builders.smiles import rdkit
from matkit.errors import StructureError
from matkit.molecules.perception import bare, perceive, structures_of
from tests.molecules.files import perceived


@pytest.mark.parametrize(
    ("name", "charge", "orders", "charges"),
    [
        ("C2H4", 0, [1, 1, 1, 1, 2], [0] * 6),
        ("HCN", 0, [1, 3], [0] * 3),
        ("C6H6", 0, [1] * 6 + [1.5] * 6, [0] * 12),
        ("CH3NO2", 0, [1] * 5 + [2], [-1, 0, 0, 0, 0, 0, 1]),
        ("OH", -1, [1], [-1, 0]),
    ],
)
def test_bonds_and_charges_of_known_molecules(name, charge, orders, charges):
    found = structures_of(perceived(molecule(name), charge))
    assert sorted(found.bond["order"].tolist()) == orders
    assert sorted(found.atom["formal_charge"].tolist()) == sorted(charges)
    assert torch.allclose(found.positions, torch.tensor(molecule(name).positions))
    assert found.species.tolist() == molecule(name).numbers.tolist()


def test_geometries_without_bonds_that_fit():
    broken = molecule("CH4")
    broken.positions[1] *= 5
    with pytest.raises(StructureError, match="no bonds fit|radical|2 parts"):
        structures_of(perceived(broken))
    with pytest.raises(StructureError, match="no bonds fit the geometry"):
        perceive(np.array([6, 1, 1, 1, 1, 1]), np.random.default_rng(0).normal(size=(6, 3)) * 0.5)


def test_what_cannot_be_learnt_from():
    chem = rdkit()
    flat = chem.AddHs(chem.MolFromSmiles("CO"))
    two = molecule("H2O") + molecule("H2O")
    two.positions[3:] += 5
    infinite = bare(np.array([1]), np.full((1, 3), np.inf))
    radical = chem.MolFromSmiles("[CH3]")
    wild = bare(np.array([0]), np.zeros((1, 3)))
    for made, message in [
        (chem.Mol(), "no atoms"),
        (wild, "no element"),
        (chem.MolFromSmiles("CO"), "4 hydrogens have no positions"),
        (flat, "no coordinates in three dimensions"),
        (perceived(two), "2 parts"),
        (infinite, "not finite"),
    ]:
        made.UpdatePropertyCache(strict=False)
        with pytest.raises(StructureError, match=message):
            structures_of(made)
    radical = bare(np.array([1]), np.zeros((1, 3)))
    chem.SanitizeMol(radical)
    radical.GetConformer().Set3D(True)
    with pytest.raises(StructureError, match="radical"):
        structures_of(radical)
