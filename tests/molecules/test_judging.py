"""Molecules judged by every protocol that is cheap, and shares of a set that pass."""

import pytest
from ase.build import molecule

from matkit.data.ase import to_ase
from matkit.molecules import ceilings
from matkit.molecules.evaluation import share_scores
from matkit.molecules.judging import DrawnMolecule, judge_molecules
from matkit.molecules.perception import structures_of
from tests.molecules.files import perceived


def with_bonds(name):
    (atoms,) = to_ase(structures_of(perceived(molecule(name))))
    return atoms


def judged(*molecules, known=None):
    drawn = [DrawnMolecule(str(i), atoms, "torn") for i, atoms in enumerate(molecules)]
    return judge_molecules(drawn, known)


def shares(found, reference=None):
    return {score.name: score.value for score in share_scores(found, reference)}


def test_scores_of_true_molecules():
    found = judged(*map(with_bonds, ("CH4", "C2H4", "CH4", "H2O")), known={"O"})
    assert [one.verdict.smiles for one in found] == ["C", "C=C", "C", "O"]
    expected = {"valid": 1, "perceived": 1, "perceived by RDKit": 1, "unique": 0.75, "novel": 0.5}
    assert shares(found) == expected | {"atoms stable": 1, "molecules stable": 1}


def test_scores_of_broken_molecules():
    good, far, bare = (with_bonds("CH4") for _ in range(3))
    far.positions *= 2
    del bare.info["bonds"], bare.info["bond_order"]
    found = shares(judged(good, far, bare))
    assert found["valid"] == pytest.approx(2 / 3)
    assert found["unique"] == pytest.approx(1 / 3)
    assert found["perceived"] == pytest.approx(2 / 3)
    assert found["molecules stable"] == pytest.approx(2 / 3)
    assert "novel" not in found


def test_molecules_without_bonds_are_judged_by_distances():
    found = judged(molecule("CH4"), molecule("CH3"))
    assert [one.own for one in found] == [None, None]
    assert [one.verdict.valid for one in found] == [True, False]
    assert "valid" not in shares(found)
    assert shares(found)["unique"] == 0.5


def test_what_could_not_be_read_counts_as_bad():
    found = judged(molecule("CH4"), None, known=())
    assert found[1].verdict.reason == "torn"
    assert shares(found)["perceived"] == shares(found)["novel"] == 0.5
    assert shares(found)["molecules stable"] == 0.5
    assert shares(found)["atoms stable"] == 1


def test_charges_are_told_by_the_file():
    ion = molecule("OH")
    assert not judged(ion)[0].perceived.valid
    ion.info["charge"] = -1
    assert judged(ion)[0].perceived.smiles == "[OH-]"
    ion.info["charge"] = 0.5
    (found,) = judged(ion)
    assert "whole number as charge of a molecule, got 0.5" in found.verdict.reason


def test_both_ways_to_find_bonds_have_limits_of_their_own():
    ethane = molecule("C2H6")
    ethane.positions *= 1.14
    (found,) = judged(ethane)
    assert not found.perceived.valid
    assert found.by_rdkit.valid


def test_elements_that_edm_does_not_know_have_no_stability():
    assert "atoms stable" not in shares(judged(molecule("CH4"), molecule("SH2")))


def test_true_molecules_stand_beside():
    found, reference = judged(molecule("CH3"), known=()), judged(molecule("CH4"))
    beside = {score.name: score.reference for score in share_scores(found, reference)}
    expected = {"perceived": 1, "perceived by RDKit": 1, "unique": 1, "novel": None}
    assert beside == expected | {"atoms stable": 1, "molecules stable": 1}


def test_without_true_molecules_qm9_stands_beside(monkeypatch):
    monkeypatch.setitem(ceilings.CEILINGS, "perceived", 0.99)
    scores = {score.name: score for score in share_scores(judged(molecule("CH4")))}
    assert (scores["perceived"].reference, scores["perceived"].of_reference) == (0.99, "QM9")
