import re

import pytest
import torch
from ase.build import molecule

from matkit.builders.conformers import embedded
from matkit.errors import StructureError
from matkit.molecules.perception import structures_of
from matkit.molecules.validity import judge_bonds, to_rdkit
from matkit.structures import cat
from matkit.testing.systems import bonded
from tests.molecules.files import perceived


def known(name):
    return structures_of(perceived(molecule(name)))


@pytest.mark.parametrize(
    ("name", "smiles"),
    [
        ("C6H6", "c1ccccc1"),
        ("C5H5N", "c1ccncc1"),
        ("C4H4NH", "c1cc[nH]c1"),
        ("CH3NO2", "C[N+](=O)[O-]"),
        ("HCN", "C#N"),
        ("H2O", "O"),
    ],
)
def test_true_molecules_are_valid(name, smiles):
    (verdict,) = judge_bonds(known(name))
    assert verdict.valid, verdict.reason
    assert verdict.smiles == smiles


def test_hydrogens_at_double_bonds_make_no_other_molecule():
    smiles = {
        judge_bonds(structures_of(embedded(text, 1)[0]))[0].smiles
        for text in (r"C/C=N/[H]", r"C/C=N\[H]")
    }
    assert smiles == {"CC=N"}


def test_what_is_wrong_is_said():
    methane = known("CH4")
    too_many = methane.replace(bond={"order": methane.bond["order"] * 2})
    lacking = methane.replace(bonds=methane.bonds[1:], bond={"order": methane.bond["order"][1:]})
    ethene = known("C2H4")
    aromatic = ethene.replace(bond={"order": ethene.bond["order"].clamp(max=1.5)})
    apart = cat([methane, methane])
    apart = apart.replace(
        n_atoms=torch.tensor([10]), cell=apart.cell[:1], pbc=apart.pbc[:1], system={}
    )
    for structures, message in [
        (too_many, "valence"),
        (lacking, "unpaired|parts"),
        (aromatic, "aromatic"),
        (apart, "2 parts"),
    ]:
        (verdict,) = judge_bonds(structures)
        assert not verdict.valid
        assert verdict.smiles == ""
        assert re.search(message, verdict.reason), verdict.reason


def test_molecules_without_bonds_cannot_be_judged():
    full = bonded(molecule("CH4"))
    for lacking in (
        full.replace(atom={}),
        full.replace(bonds=None, bond={}),
        full.replace(bond={}),
    ):
        with pytest.raises(StructureError, match="with bonds, their order"):
            to_rdkit(lacking)
    with pytest.raises(StructureError, match="order 1, 1.5, 2 or 3, got 4"):
        to_rdkit(full.replace(bond={"order": 4 * full.bond["order"]}))
