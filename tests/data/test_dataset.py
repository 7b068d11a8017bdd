import bz2
import gzip

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import read, write

from matkit.data import tables
from matkit.data.dataset import read_dataset
from matkit.data.labels import LabelKeys
from matkit.data.reading import read_atoms
from matkit.data.writing import write_dataset
from matkit.errors import DataError, MissingExtraError, OutputExistsError
from tests.data.sets import rattled_copper, save, strained_copper


def same(a, b) -> bool:
    ours, theirs = a.structures, b.structures
    return all(
        torch.allclose(x, y, atol=1e-6, equal_nan=True)
        for x, y in [
            (ours.positions, theirs.positions),
            (ours.cell, theirs.cell),
            *((ours.system[key], theirs.system[key]) for key in ("energy", "stress")),
            (ours.atom["forces"], theirs.atom["forces"]),
        ]
    )


@pytest.mark.parametrize("name", ["a.extxyz.gz", "a.xyz.bz2", "a.traj", "a.db", "a.json"])
def test_formats_of_ase(tmp_path, name):
    frames = strained_copper(2) + rattled_copper(2)
    plain = read_dataset(save(tmp_path / "a.extxyz", frames))
    path = tmp_path / name
    if name.endswith(("gz", "bz2")):
        opener = gzip.open if name.endswith("gz") else bz2.open
        with opener(path, "wt") as stream:
            stream.write((tmp_path / "a.extxyz").read_text())
    else:
        write(path, frames)
    assert same(read_dataset(path), plain)
    assert read_dataset(path).sources[-1] == f"{path}[3]"


def test_columns_of_a_database_are_info(tmp_path):
    with connect(tmp_path / "a.db") as db:
        db.write(bulk("Cu"), dft=-3.0, config_type="bulk", group="run 1")
    dataset = read_dataset(tmp_path / "a.db", LabelKeys(energy_key="dft"))
    assert float(dataset.structures.system["energy"]) == -3
    assert (dataset.config_types, dataset.groups) == (("bulk",), ("run 1",))


def test_several_files_share_one_report(tmp_path):
    paths = [save(tmp_path / f"{i}.extxyz", strained_copper(i + 1)) for i in range(2)]
    dataset = read_dataset(paths)
    assert (len(dataset), dataset.label_report.structures) == (3, 3)
    assert dataset.sources == (f"{paths[0]}[0]", f"{paths[1]}[0]", f"{paths[1]}[1]")


def test_cif_has_no_labels(tmp_path):
    write(tmp_path / "a.cif", bulk("NaCl", "rocksalt", a=5.6))
    dataset = read_dataset(tmp_path / "a.cif")
    assert dataset.groups == ("ClNa",)
    assert dataset.structures.system["energy"].isnan().all()


def test_disorder_is_refused(tmp_path):
    write(tmp_path / "a.cif", bulk("Cu"))
    text = (tmp_path / "a.cif").read_text().replace("1.0000", "0.5000")
    (tmp_path / "a.cif").write_text(text)
    with pytest.raises(DataError, match=r"a.cif\[0\].*partial occupancies"):
        read_dataset(tmp_path / "a.cif")


def row(atoms: Atoms, **more):
    return {
        "material_id": "mp-1",
        "n_atoms": len(atoms),
        "lattice": atoms.cell.cellpar().tolist(),
        "numbers": atoms.numbers.tolist(),
        "frac_coords": atoms.get_scaled_positions().ravel().tolist(),
        **more,
    }


def write_csv(path, rows):
    import csv

    with open(path, "w", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_parquet(path, rows):
    import pyarrow as arrow
    from pyarrow import parquet

    parquet.write_table(arrow.Table.from_pylist(rows), path)
    return path


@pytest.mark.parametrize("writer", [write_csv, write_parquet])
def test_tables(tmp_path, writer):
    crystals = [bulk("NaCl", "rocksalt", a=5.6), bulk("Cu", cubic=True)]
    energies = [{"energy_per_atom": -3.5}, {"energy_per_atom": -4.0}]
    rows = [row(atoms, **e) for atoms, e in zip(crystals, energies, strict=True)]
    dataset = read_dataset(writer(tmp_path / f"a.{writer.__name__[6:]}", rows))
    assert dataset.structures.system["energy"].tolist() == [-7.0, -16.0]
    assert dataset.label_report.energy.key == "energy_per_atom"
    assert torch.allclose(dataset.structures.volume, torch.tensor([5.6**3 / 4, 3.61**3]).double())
    distances = [atoms.get_all_distances(mic=True) for atoms in crystals]
    found = list(read_atoms(tmp_path / f"a.{writer.__name__[6:]}"))
    for atoms, expected in zip(found, distances, strict=True):
        assert np.allclose(atoms.get_all_distances(mic=True), expected)
    assert dataset.groups == ("mp-1", "mp-1")


def test_tables_of_molecules_with_forces(tmp_path):
    water = molecule("H2O")
    forces = np.arange(9.0)
    cells = {"numbers": [8, 1, 1], "positions": water.positions.ravel().tolist(), "energy": -14.2}
    path = write_csv(tmp_path / "a.csv", [{**cells, "forces": str(forces)}])
    dataset = read_dataset(path)
    assert torch.allclose(dataset.structures.positions, torch.tensor(water.positions))
    assert dataset.structures.atom["forces"].flatten().tolist() == forces.tolist()
    assert not dataset.structures.pbc.any()


def test_tables_with_cif_and_matrices(tmp_path):
    write(tmp_path / "a.cif", bulk("Cu"))
    write_csv(tmp_path / "a.csv", [{"cif": (tmp_path / "a.cif").read_text(), "note": "x"}])
    matrix = {**row(bulk("Cu")), "lattice": bulk("Cu").cell.tolist()}
    write_csv(tmp_path / "b.csv", [matrix])
    for name in ("a.csv", "b.csv"):
        volume = read_dataset(tmp_path / name).structures.volume
        assert float(volume) == pytest.approx(3.61**3 / 4, rel=1e-5)


def test_a_table_without_structures(tmp_path):
    with pytest.raises(DataError, match=r"a.csv\[0\]: Expected a column `cif`.*got formula"):
        read_dataset(write_csv(tmp_path / "a.csv", [{"formula": "NaCl"}]))


def test_parquet_without_pyarrow(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(MissingExtraError, match=r'pip install "matkit\[parquet\]"'):
        read_dataset(tmp_path / "a.parquet")
    assert next(tables.read_csv(["numbers,positions", "[8],[0 0 0]"])).numbers.tolist() == [8]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "there is no file"),
        ("", "got an empty file"),
        ("2\n\nH 0 0 0\n", r"\[0\]: .*expected 2 atoms, but the file ends after 1"),
        ("1\n\nH 0 0 0\nx\n", r"Cannot read .*a.xyz\[1\]"),
        ("1\n\nH 0 0 here\n", r"Cannot read .*a.xyz\[0\]"),
    ],
)
def test_bad_files(tmp_path, content, message):
    path = tmp_path / "a.xyz"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        read_dataset(path)


def test_blank_lines_between_structures(tmp_path):
    (tmp_path / "a.xyz").write_text("1\n\nH 0 0 0\n\n1\n\nHe 0 0 0\n\n\n")
    assert read_dataset(tmp_path / "a.xyz").groups == ("H", "He")


def test_groups_and_config_types(tmp_path):
    frames = strained_copper(1, trajectory="run 7", config_type="hot") + strained_copper(1, my=3)
    path = save(tmp_path / "a.extxyz", frames)
    dataset = read_dataset(path)
    assert dataset.groups == ("run 7", "Cu")
    assert dataset.config_types == ("hot", "Default")
    assert read_dataset(path, LabelKeys(group_key="my")).groups == ("Cu", "3")


def test_subsets(tmp_path):
    dataset = read_dataset(save(tmp_path / "a.extxyz", strained_copper(4)))
    part = dataset.subset([2, 0])
    assert part.sources == (dataset.sources[2], dataset.sources[0])
    assert (part.label_report.structures, part.label_report.forces.count) == (2, 2)
    energies = dataset.structures.system["energy"]
    assert torch.equal(part.structures.system["energy"], energies[[2, 0]])
    assert len(dataset.subset([])) == 0


def test_isolated_atoms(tmp_path):
    boxed = Atoms("H", cell=[9, 9, 9], pbc=True, info={"config_type": "IsolatedAtom"})
    boxed.info["REF_energy"] = -13.6
    free = Atoms("O", info={"REF_energy": -2041.0})
    unlabelled = Atoms("C")
    primitive = bulk("Cu")  # one atom, but a crystal
    dataset = read_dataset(save(tmp_path / "a.extxyz", [boxed, free, unlabelled, primitive]))
    assert dataset.isolated() == {1: -13.6, 8: -2041.0}
    assert dataset.without_isolated().groups == ("Cu",)
    assert dataset.subset([3]).without_isolated().sources == (dataset.sources[3],)


@pytest.mark.parametrize("name", ["b.extxyz", "b.xyz.gz"])
def test_writing_and_reading_again(tmp_path, name):
    frames = strained_copper(2, config_type="bulk", trajectory="t", charge=1)
    frames.append(molecule("H2O", info={"charge": 0}))
    dataset = read_dataset(save(tmp_path / "a.extxyz", frames))
    write_dataset(dataset, tmp_path / name)
    again = read_dataset(tmp_path / name)
    assert same(again, dataset)
    assert again.label_report.energy.key == "REF_energy"
    assert (again.groups, again.config_types) == (dataset.groups, dataset.config_types)
    assert again.structures.system["charge"].tolist() == [1, 1, 0]
    assert "REF_energy" not in list(read_atoms(tmp_path / name))[2].info
    with pytest.raises(OutputExistsError, match="already is"):
        write_dataset(dataset, tmp_path / name)
    write_dataset(dataset.subset([0]), tmp_path / name, overwrite=True)
    assert len(read_dataset(tmp_path / name)) == 1


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
    dataset = read_dataset(save(tmp_path / "a.extxyz", strained_copper(2)))

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr("matkit.data.writing.write_extxyz", fail)
    with pytest.raises(OSError, match="disk full"):
        write_dataset(dataset, tmp_path / "out" / "b.xyz")
    assert not list((tmp_path / "out").iterdir())
    assert len(read(tmp_path / "a.extxyz", ":")) == 2
