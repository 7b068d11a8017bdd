import gzip
import os

import pytest
import torch
from ase.build import bulk, molecule
from ase.io import write

from matkit.errors import DataError
from matkit.molecules.reading import read_molecules
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets
from tests.molecules.files import sdf_file


def entries(*paths):
    return list(read_molecules(paths))


def test_sdf_keeps_bonds_and_properties(tmp_path):
    ethene, cyanide = entries(sdf_file(tmp_path / "a.sdf", "C2H4", "HCN"))
    assert sorted(ethene.structures.bond["order"].tolist()) == [1, 1, 1, 1, 2]
    assert cyanide.carried["gap"] == 2.5
    assert cyanide.source.endswith("a.sdf[1]")


def test_compressed_sdf(tmp_path):
    plain = sdf_file(tmp_path / "a.sdf", "C2H4", "HCN")
    with gzip.open(tmp_path / "b.sdf.gz", "wb") as stream:
        stream.write(plain.read_bytes())
    before, after = entries(plain), entries(tmp_path / "b.sdf.gz")
    assert [
        torch.equal(a.structures.positions, b.structures.positions)
        for a, b in zip(before, after, strict=True)
    ] == [True, True]


def test_a_broken_block_costs_no_other(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4", "HCN", "CH4")
    blocks = path.read_text().split("$$$$\n")
    blocks[1] = blocks[1].replace("V2000", "V9")
    path.write_text("$$$$\n".join(blocks))
    good, bad, last = entries(path)
    assert good.structures is not None
    assert last.structures is not None
    assert bad.reason == "no molecule can be read from it"


@pytest.mark.parametrize("name", ["a.sdf.gz", "a.smi.gz"])
def test_a_file_that_breaks_off_is_an_entry(tmp_path, name):
    path = sdf_file(tmp_path / "a.sdf", "C2H4", "HCN", *["CH4"] * 300)
    content = path.read_bytes() if "sdf" in name else b"CO\n" * 3 + os.urandom(9000)
    packed = gzip.compress(content)
    (tmp_path / name).write_bytes(packed[: len(packed) // 2])
    *good, last = entries(tmp_path / name)
    assert last.source.endswith(name)
    assert "it is damaged" in last.reason
    assert name == "a.smi.gz" or good[0].structures is not None


def test_titles_in_another_encoding_do_no_harm(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4")
    path.write_bytes("Äthen".encode("latin-1") + path.read_bytes())
    (entry,) = entries(path)
    assert len(entry.structures.species) == 6


def test_impossible_valences_are_named(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4")
    path.write_text(path.read_text().replace("  1  2  2", "  1  2  3"))
    (entry,) = entries(path)
    assert "valence" in entry.reason


@pytest.mark.parametrize("text", ["", "rubbish\n", "$$$$\n"])
def test_files_that_hold_nothing(tmp_path, text):
    path = tmp_path / "a.sdf"
    path.write_text(text)
    if text:
        assert not any(entry.structures for entry in entries(path))
    else:
        with pytest.raises(DataError, match="empty"):
            entries(path)


def test_geometries_get_bonds(tmp_path):
    frames = [molecule("C2H4"), molecule("OH"), bulk("Cu"), molecule("CH3")]
    frames[0].info["gap"] = 4.0
    frames[1].info["charge"] = -1
    write(tmp_path / "a.xyz", frames, format="extxyz")
    good, ion, crystal, radical = entries(tmp_path / "a.xyz")
    assert good.carried["gap"] == 4.0
    assert ion.structures.atom["formal_charge"].sum() == -1
    assert crystal.reason == "it is periodic"
    assert radical.structures is None


@pytest.mark.parametrize("name", ["a.csv", "a.smi"])
def test_smiles_get_conformers(tmp_path, name):
    lines = "CCO\nnonsense\n\nC[N+](C)(C)CC(=O)[O-] betaine\n"
    table = "id,SMILES,gap\n1,CCO,5.0\n2,nonsense,\n3,,1.0\n4,C[N+](C)(C)CC(=O)[O-],x\n"
    path = tmp_path / name
    path.write_text(table if name == "a.csv" else lines)
    found = entries(path)
    ethanol, bad, betaine = found[0], found[1], found[-1]
    assert len(ethanol.structures.species) == 9
    assert bad.reason == "not a SMILES: 'nonsense'"
    assert betaine.structures.atom["formal_charge"].abs().sum() == 2
    if name == "a.csv":
        assert ethanol.carried["gap"] == 5.0
        assert found[2].reason.startswith("not a SMILES")
    again = entries(path)[0]
    assert torch.equal(again.structures.positions, ethanol.structures.positions)


def test_a_table_of_positions_is_no_table_of_smiles(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('smiles,numbers,positions\nO,"[8,1,1]","[0,0,0,0,0.76,0.59,0,-0.76,0.59]"\n')
    (entry,) = entries(path)
    assert entry.structures.positions[1].tolist() == [0, 0.76, 0.59]


def test_folders(tmp_path):
    sdf_file(tmp_path / "10.sdf", "HCN")
    sdf_file(tmp_path / "2.sdf", "CH4")
    (tmp_path / "notes.txt").write_text("nothing")
    assert [len(entry.structures.species) for entry in entries(tmp_path)] == [5, 3]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"Expected files of molecules in .*empty, found none"):
        entries(tmp_path / "empty")


def test_a_missing_file(tmp_path):
    for name in ("a.sdf", "a.smi", "a.csv", "a.xyz", "a.whl"):
        with pytest.raises(DataError, match="no file"):
            entries(tmp_path / name)


def test_a_file_of_empty_lines_is_no_training_set(tmp_path):
    (tmp_path / "a.smi").write_text("\n\n")
    given = {"train_file": [str(tmp_path / "a.smi")]}
    with pytest.raises(DataError, match=r"Expected molecules in .*a.smi, found none"):
        read_generator_sets(build(GeneratorOptions, given), "molecule")


def test_training_sets_of_every_kind(tmp_path):
    path = sdf_file(tmp_path / "a.sdf", "C2H4", "HCN", "CH4")
    path.write_text(path.read_text() + "rubbish\n$$$$\n")
    given = {"train_file": [str(path)], "valid_fraction": 0, "properties": ["gap"]}
    with pytest.raises(DataError, match=r"1 of 4 entries are no molecules: .*a.sdf\[3\]"):
        read_generator_sets(build(GeneratorOptions, given), "molecule")
    sets = read_generator_sets(build(GeneratorOptions, given | {"allow_missing": True}), "molecule")
    structures = sets.train.structures
    assert structures.n_atoms.tolist() == [6, 3, 5]
    assert structures.bonds.max() == 13
    assert structures.system["gap"].tolist() == [1.5, 2.5, 3.5]
    assert any("1 of 4 entries" in note for note in sets.notes)
