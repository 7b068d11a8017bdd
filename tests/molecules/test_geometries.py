"""Molecules of anybody's files as they are, to be judged, and known ones as SMILES."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from matkit.errors import DataError
from matkit.molecules.geometries import read_geometries, read_known
from matkit.molecules.judging import judge_molecules
from tests.molecules.files import qm9_file, sdf_file


def test_xyz_has_no_bonds_and_is_not_given_any(tmp_path):
    write(tmp_path / "a.xyz", [molecule("CH4"), molecule("CH3"), bulk("Cu"), Atoms("X")])
    methane, radical, metal, dummy = read_geometries(tmp_path / "a.xyz")
    assert methane.source.endswith("a.xyz[0]")
    assert "formal_charge" not in methane.atoms.arrays
    assert len(radical.atoms) == 4
    assert metal.reason == "it is periodic"
    assert "no chemical symbol" in dummy.reason


def test_sdf_keeps_its_bonds_even_if_they_are_wrong(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4", "CH4")
    path.write_text(path.read_text().replace("  1  2  2", "  1  2  3") + "rubbish\n$$$$\n")
    wrong, good, rubbish = read_geometries(path)
    assert sorted(wrong.atoms.info["bond_order"]) == [1, 1, 1, 1, 3]
    assert rubbish.reason == "no molecule can be read from it"
    first, second, third = judge_molecules([wrong, good, rubbish])
    assert "valence" in first.own.reason
    assert second.own.valid
    assert third.own is None


def test_sdf_without_its_hydrogens_says_so(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "CH4")
    lines = path.read_text().splitlines()
    (tmp_path / "b.sdf").write_text(
        "\n".join([*lines[:3], lines[3].replace("  5  4", "  1  0"), lines[4], "M  END", "$$$$"])
    )
    (bare,) = read_geometries(tmp_path / "b.sdf")
    assert bare.reason == "4 hydrogens have no positions; add them with coordinates"


def test_bonds_of_other_kinds_are_named(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4")
    path.write_text(path.read_text().replace("  1  2  2", "  1  2  9"))
    (dative,) = read_geometries(path)
    assert dative.atoms is None
    assert "order" in dative.reason or "hydrogens" in dative.reason


def test_smiles_have_no_geometry(tmp_path):
    (tmp_path / "a.smi").write_text("CO\n")
    with pytest.raises(DataError, match="Expected molecules with coordinates, got a SMILES"):
        list(read_geometries(tmp_path / "a.smi"))


def test_atoms_without_an_element_are_an_entry(tmp_path):
    write(tmp_path / "a.traj", Atoms("X"))
    (entry,) = read_geometries(tmp_path / "a.traj")
    assert "atom 0 has no element" in entry.reason


def test_bonds_that_are_none_are_an_entry(tmp_path):
    atoms = next(iter(read_geometries(sdf_file(tmp_path / "a.sdf", "CH4")))).atoms
    atoms.info["bonds"] = atoms.info["bonds"] + 1
    write(tmp_path / "a.xyz", atoms)
    (entry,) = read_geometries(tmp_path / "a.xyz")
    assert "Expected pairs of atoms below 5" in entry.reason


def test_positions_that_are_not_finite_are_an_entry(tmp_path):
    write(tmp_path / "a.xyz", Atoms("H2", [[0, 0, 0], [0, 0, np.inf]]))
    (entry,) = read_geometries(tmp_path / "a.xyz")
    assert "finite" in entry.reason


def test_known_molecules_of_every_kind_of_file(tmp_path):
    (tmp_path / "a.smi").write_text("OC\nnonsense\nC(=C)\n")
    write(tmp_path / "a.xyz", [molecule("H2O"), molecule("CH3")])
    sdf_file(tmp_path / "a.sdf", "CH4")
    files = [tmp_path / name for name in ("a.smi", "a.xyz", "a.sdf")]
    assert read_known(files) == {"CO", "C=C", "O", "C"}


def test_known_molecules_must_be_some(tmp_path):
    (tmp_path / "a.smi").write_text("nonsense\n")
    with pytest.raises(DataError, match="Expected known molecules in .*a.smi.*, found none"):
        read_known(tmp_path / "a.smi")


def test_held_out_molecules_of_qm9_are_not_among_the_known(tmp_path):
    wheel = qm9_file(tmp_path / "qm9.whl", {1: molecule("CH4"), 7: molecule("NH3")})
    assert read_known(wheel) == {"C"}
    assert [one.source for one in read_geometries(wheel)] == ["QM9[1]"]
