"""Structures with columns of values, from every kind of file."""

import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write

pytest.importorskip("rdkit")

from matkit.errors import DataError
from matkit.interfaces.property_model import Target
from matkit.molecules.qm9 import LABELS, read_held_out_qm9
from matkit.properties.checks import remarks_on_charges
from matkit.properties.columns import targets_in, values_of
from matkit.properties.identity import families, identities, molecule_names
from matkit.properties.reading import molecule_of, read_property_entries
from tests.molecules.files import sdf_file


@pytest.fixture
def smiles_file(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("name,SMILES,gap\na,CCO,1.5\nb,OCC,1.5\nc,c1ccccc1C,\nd,C(C)(C)(C)(C)C,2\n")
    return str(path)


@pytest.mark.parametrize("conformers", [True, False])
def test_smiles_of_a_table(smiles_file, conformers):
    entries = read_property_entries([smiles_file], conformers)
    assert entries.structures.n_atoms.tolist() == [9, 9, 15]
    assert entries.smiles == ("CCO", "CCO", "Cc1ccccc1")
    assert entries.columns["gap"] == [1.5, 1.5, None]
    assert len(entries.faults) == 1
    assert "a.csv[3] (" in entries.faults[0]
    assert bool(entries.structures.positions.any()) == conformers
    assert len(entries.structures.bonds) == 8 + 8 + 15
    again = read_property_entries([smiles_file], conformers)  # from the cache
    assert torch.equal(again.structures.positions, entries.structures.positions)


def test_the_same_molecule_has_one_name(smiles_file):
    entries = read_property_entries([smiles_file], False)
    assert molecule_names(entries)[0] == molecule_names(entries)[1] == "CCO"
    assert len(set(identities(entries))) == 2
    assert families(entries, "scaffold")[2] == "c1ccccc1"
    assert families(entries, "formula") == ["C2H6O", "C2H6O", "C7H8"]
    assert families(entries, "group") == ["CCO", "CCO", "Cc1ccccc1"]


def test_parquet_with_smiles(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    table = arrow.table({"smiles": ["C", "O"], "gap": [1.0, 2.0]})
    parquet.write_table(table, tmp_path / "a.parquet")
    entries = read_property_entries([str(tmp_path / "a.parquet")], False)
    assert entries.structures.n_atoms.tolist() == [5, 3]
    assert entries.columns["gap"] == [1.0, 2.0]


def test_cif_texts_of_a_table(tmp_path):
    write(tmp_path / "one.cif", bulk("NaCl", "rocksalt", a=5.6))
    text = (tmp_path / "one.cif").read_text()
    (tmp_path / "one.cif").unlink()
    text = text.replace('"', '""')
    (tmp_path / "a.csv").write_text(f'material_id,band_gap,cif\nmp-1,5.0,"{text}"\n')
    entries = read_property_entries([str(tmp_path / "a.csv")])
    assert sorted(entries.structures.species.tolist()) == [11, 17]
    assert entries.columns["band_gap"] == [5.0]


def test_a_folder_of_cif_files_with_a_table(tmp_path):
    folder = tmp_path / "cifs"
    folder.mkdir()
    for name, a in (("b", 5.6), ("a", 4.0)):
        write(folder / f"{name}.cif", bulk("NaCl", "rocksalt", a=a))
    table = tmp_path / "values.csv"
    table.write_text("id,gap\na.cif,1.0\nb,2.0\n")
    entries = read_property_entries([str(folder)], table=str(table))
    assert entries.columns["gap"] == [1.0, 2.0]
    table.write_text("id,gap\na,1.0\n")
    with pytest.raises(DataError, match="Expected a row for b in"):
        read_property_entries([str(folder)], table=str(table))
    table.write_text("id\na\n")
    with pytest.raises(DataError, match="names of files and columns of values"):
        read_property_entries([str(folder)], table=str(table))


def test_sdf_brings_its_bonds_and_values(tmp_path):
    entries = read_property_entries([str(sdf_file(tmp_path / "a.sdf", "CH4", "H2O"))])
    assert entries.smiles == ("C", "O")
    assert entries.columns["gap"] == [1.5, 2.5]
    assert len(entries.structures.bonds) == 6


def test_structures_with_and_without_bonds_have_none_together(tmp_path):
    write(tmp_path / "b.extxyz", molecule("CH4"))
    files = [str(sdf_file(tmp_path / "a.sdf", "H2O")), str(tmp_path / "b.extxyz")]
    entries = read_property_entries(files)
    assert entries.structures.bonds is None
    assert entries.smiles == ("O", "")


def test_six_numbers_are_a_symmetric_matrix():
    target = Target("a", "polarizability", 9)
    (row,) = values_of([target], {"a": [[1, 2, 3, 4, 5, 6]]}, ["x"])
    assert row.view(3, 3).tolist() == [[1, 6, 5], [6, 2, 4], [5, 4, 3]]


def test_files_without_structures(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,gap\nnothing,1\n")
    with pytest.raises(DataError, match="found none: .*not a SMILES: 'nothing'"):
        read_property_entries([str(tmp_path / "a.csv")], False)
    with pytest.raises(DataError, match="alone, got"):
        read_property_entries([str(tmp_path / "qm9.whl"), str(tmp_path / "a.csv")])


def test_values_with_another_number_of_components():
    with pytest.raises(DataError, match=r"Expected 1 component\(s\) of a, got others for y"):
        values_of([Target("a", "intensive")], {"a": [1.0, [1.0, 2.0]]}, ["x", "y"])


def test_components_must_be_as_many_everywhere():
    with pytest.raises(DataError, match="same number of components of a everywhere, got 1 and 3"):
        targets_in(["a"], {"a": [1.0, [1.0, 2.0, 3.0]]}, ["x", "y"])


def test_charges_are_known_and_said(tmp_path):
    (tmp_path / "a.csv").write_text("smiles,gap\n[NH4+],1\nO,2\n")
    entries = read_property_entries([str(tmp_path / "a.csv")], False)
    assert entries.structures.system["charge"].tolist() == [1, 0]
    (said,) = remarks_on_charges(entries.structures, ())
    assert "1 of 2 structures are charged" in said
    assert not remarks_on_charges(entries.structures, {"charge"})
    charged = molecule("H2O")
    charged.info["charge"] = -1
    write(tmp_path / "b.extxyz", [charged, molecule("CH4")])
    found = read_property_entries([str(tmp_path / "b.extxyz")]).structures
    assert found.system["charge"].tolist() == [-1, 0]


def test_conformers_of_a_smiles_are_always_the_same():
    one, two = (molecule_of("CCO", True).positions for _ in range(2))
    assert torch.equal(one, two)


def test_qm9_has_its_twelve_values_and_keeps_its_test_molecules_back(tmp_path):
    path = full_qm9(tmp_path / "qm9pack.whl", {1: "CH4", 6: "H2O", 7: "NH3"})
    entries = read_property_entries([str(path)])
    assert entries.sources == ("QM9[1]", "QM9[6]")
    assert set(entries.columns) == set(LABELS)
    assert entries.columns["gap"][0] == pytest.approx(0.5 * 27.211386)
    assert entries.columns["mu"] == [0.0, 0.0]
    assert entries.structures.n_atoms.tolist() == [5, 3]
    assert entries.structures.bonds[-1].tolist() in ([5, 6], [5, 7]), "numbered over all atoms"
    ((row, values),) = read_held_out_qm9(path)
    assert (row.index, len(values)) == (7, 12)


def full_qm9(path, names):
    """A wheel of molecules with all columns."""
    import zipfile

    import numpy as np

    columns = [key for key, _ in LABELS.values()]
    lines = [f"Index,SMILES,Elements,XYZ_Ang,{','.join(columns)}\n"]
    for index, name in names.items():
        atoms = molecule(name)
        symbols = ",".join(f"'{symbol}'" for symbol in atoms.symbols)
        places = np.array2string(atoms.positions, separator=",").replace("\n", "").replace(" ", "")
        values = ",".join("0." if key == "Dipole_debye" else "0.5" for key in columns)
        lines.append(f'{index},C,"[{symbols}]","{places}",{values}\n')
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr("qm9pack/data/qm9_part1.csv", "".join(lines))
    return path
