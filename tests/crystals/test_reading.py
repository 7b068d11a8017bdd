"""Folders, archives and tables; what cannot be used stays, with its reason."""

import csv
import json
import zipfile

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from ase import Atoms
from ase.build import molecule
from ase.io import write

from matkit.crystals.reading import crystal_of, read_crystals
from matkit.errors import DataError, MissingExtraError
from tests.crystals import samples


def cif(path, structure):
    path.write_text(structure.to(fmt="cif"))


@pytest.fixture
def folder(tmp_path):
    """Three crystals in natural order and a damaged one, with something that is no structure."""
    inner = tmp_path / "made"
    (inner / "deep").mkdir(parents=True)
    cif(inner / "10.cif", samples.salt())
    cif(inner / "2.cif", samples.perovskite())
    cif(inner / "deep" / "1.cif", samples.wurtzite())
    (inner / "3.cif").write_text("data_x\n_cell_length_a 5\n")
    (inner / "notes.txt").write_text("not a structure")
    (inner / ".2.cif").write_text("hidden")
    return inner


def test_a_folder(folder):
    found = read_crystals([folder])
    names = [crystal.source.split("made/")[1] for crystal in found]
    assert names == ["2.cif[0]", "3.cif[0]", "10.cif[0]", "deep/1.cif[0]"]
    assert [crystal.structure is not None for crystal in found] == [True, False, True, True]
    assert found[1].reason == "it has a cell and no atoms; is it cut off? (data_x)"
    assert not found[1].loaded
    assert found[2].structure.composition == samples.salt().composition


def test_results_beside_structures_are_not_taken_for_structures(folder):
    (folder / "metrics.json").write_text("{}")
    (folder / "structures.csv").write_text("source,formula\n2.cif,SrTiO3\n")
    (folder / "bad.csv.gz").write_bytes(b"not compressed")
    with open(folder / "rows.csv", "w", newline="") as file:
        csv.writer(file).writerows([["id", "cif"], [7, samples.salt().to(fmt="cif")]])
    found = {c.source.split("made/")[1]: c for c in read_crystals([folder])}
    assert {name for name in found if "cif[" not in name} == {"bad.csv.gz[0]", "rows.csv[0]"}
    assert found["rows.csv[0]"].structure is not None
    assert found["bad.csv.gz[0]"].reason


def test_an_archive(folder, tmp_path):
    archive = tmp_path / "made.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*.cif")):
            file.write(path, path.relative_to(folder))
    found = read_crystals(archive)
    assert [c.source for c in found][:2] == [f"{archive}:2.cif[0]", f"{archive}:3.cif[0]"]
    assert [c.numbers for c in found] == [c.numbers for c in read_crystals([folder])]


def test_a_damaged_archive(tmp_path):
    (tmp_path / "bad.zip").write_bytes(b"PK nothing")
    with pytest.raises(DataError, match=r"Cannot read the archive .*bad\.zip"):
        read_crystals([tmp_path / "bad.zip"])


def rows():
    structure = samples.perovskite()
    good = {
        "lattice": [*structure.lattice.abc, *structure.lattice.angles],
        "numbers": list(structure.atomic_numbers),
        "frac_coords": structure.frac_coords.ravel().tolist(),
    }
    return [good, {**good, "numbers": [1, 2]}, good]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_bad_row_does_not_end_a_table(tmp_path, ending):
    path = tmp_path / f"made.{ending}"
    if ending == "csv":
        with open(path, "w", newline="") as file:
            writer = csv.DictWriter(file, rows()[0])
            writer.writeheader()
            writer.writerows({k: json.dumps(v) for k, v in row.items()} for row in rows())
    else:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows()), path)
    found = read_crystals([path])
    assert [crystal.structure is not None for crystal in found] == [True, False, True]
    assert found[1].reason
    assert found[2].source == f"{path}[2]"
    np.testing.assert_allclose(
        found[2].structure.distance_matrix, samples.perovskite().distance_matrix, atol=1e-9
    )


def test_an_unreadable_frame_ends_a_file_and_is_counted(tmp_path):
    path = tmp_path / "made.extxyz"
    atoms = Atoms("NaCl", [[0, 0, 0], [2, 2, 2]], cell=[4, 4, 4], pbc=True)
    write(path, [atoms, atoms])
    path.write_text(path.read_text() + "5\ncut short\n")
    found = read_crystals([path])
    assert [crystal.structure is not None for crystal in found] == [True, True, False]
    assert found[2].source == f"{path}[2]"


def test_partial_occupancies_are_refused(tmp_path):
    alloy = samples.salt()
    alloy.replace_species({"Na": {"Na": 0.5, "K": 0.5}})
    cif(tmp_path / "mixed.cif", alloy)
    with open(tmp_path / "mixed.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerows([["cif"], [alloy.to(fmt="cif")]])
    for crystal in read_crystals([tmp_path]):
        assert crystal.structure is None
        assert "partial occupancies" in crystal.reason


@pytest.mark.parametrize(
    ("atoms", "reason"),
    [
        (Atoms(), "no atoms"),
        (molecule("H2O"), "periodic in three directions"),
        (Atoms("H", [[np.nan, 0, 0]], cell=[3, 3, 3], pbc=True), "not finite"),
        (Atoms("H", cell=[0.4, 0.4, 0.4], pbc=True), "volume 0.064"),
        (Atoms("X", cell=[4, 4, 4], pbc=True), "no element"),
    ],
)
def test_what_makes_no_crystal(atoms, reason):
    crystal = crystal_of(atoms, "made")
    assert crystal.structure is None
    assert reason in crystal.reason
    assert crystal.loaded is bool(len(atoms))


def test_atoms_outside_the_cell_are_wrapped():
    atoms = Atoms("NaCl", [[-1, 0, 0], [9, 2, 2]], cell=[4, 4, 4], pbc=True)
    places = crystal_of(atoms, "made").structure.frac_coords
    np.testing.assert_allclose(places, [[0.75, 0, 0], [0.25, 0.5, 0.5]])


def test_nothing_there(tmp_path):
    with pytest.raises(DataError, match="found no"):
        read_crystals([tmp_path / "absent"])
    with pytest.raises(DataError, match="found no file of structures"):
        read_crystals([tmp_path])


def test_a_missing_package_is_not_taken_for_a_bad_file(tmp_path, monkeypatch):
    (tmp_path / "made.parquet").write_bytes(b"x")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtraError, match="pyarrow"):
        read_crystals([tmp_path])
