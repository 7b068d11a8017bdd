import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import spglib
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from matkit.data.ase import from_ase, to_ase
from matkit.data.pymatgen import to_pymatgen
from matkit.errors import ConfigError, DataError
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets
from tests.train.crystal_files import cif_archive, cif_text, crystals, csv_file


def read(path, **changes):
    files = {"train_file": str(path), "valid_file": str(path)}
    return read_generator_sets(build(GeneratorOptions, {**files, **changes}), "crystal")


def parquet_file(path, atoms):
    columns = {
        "numbers": [one.numbers.tolist() for one in atoms],
        "lattice": [one.cell.cellpar().tolist() for one in atoms],
        "frac_coords": [one.get_scaled_positions().ravel().tolist() for one in atoms],
        "size": [one.info["size"] for one in atoms],
    }
    pq.write_table(pa.table(columns), path)
    return path


def cif_folder(path, atoms):
    path.mkdir()
    for i, one in enumerate(atoms):
        (path / f"{i}.cif").write_text(cif_text(one))
    return path


def extxyz_file(path, atoms):
    write(path, atoms)
    return path


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("crystals.csv", csv_file),
        ("crystals.parquet", parquet_file),
        ("crystals.extxyz", extxyz_file),
        ("crystals.zip", cif_archive),
        ("crystals", cif_folder),
    ],
)
def test_every_kind_of_file_holds_the_same_crystals(tmp_path, name, make):
    atoms = crystals(6)
    told = name.startswith("crystals.") and not name.endswith("zip")
    sets = read(make(tmp_path / name, atoms), properties=["size"] if told else [])
    expected = from_ase(atoms)
    found = sets.train.structures
    assert torch.equal(found.species.sort().values, expected.species.sort().values)
    assert torch.allclose(found.volume, expected.volume, rtol=1e-4)
    assert sets.train.sources[0].endswith("[0]")
    if told:
        sizes = torch.tensor([one.info["size"] for one in atoms], dtype=torch.float64)
        assert torch.allclose(found.system["size"], sizes, rtol=1e-6)


def test_the_cell_is_reduced_and_the_crystal_stays(tmp_path):
    shape = np.array([[1, 0, 0], [3, 1, 0], [-2, 4, 1]])
    plain = crystals(2)[1]
    skewed = Atoms(plain.numbers, plain.positions, cell=shape @ plain.cell.array, pbc=True)
    path = extxyz_file(tmp_path / "skewed.extxyz", [skewed])
    reduced, given = (read(path, cell=cell).train.structures for cell in ("niggli", "given"))
    assert torch.allclose(given.cell[0], torch.from_numpy(skewed.cell.array), atol=1e-7)
    lengths = reduced.cell.norm(dim=2).sort().values
    assert torch.allclose(lengths, from_ase(plain).cell.norm(dim=2).sort().values, atol=1e-6)
    expected = np.sort(plain.get_all_distances(mic=True).ravel())
    (found,) = to_ase(reduced)
    assert np.allclose(np.sort(found.get_all_distances(mic=True).ravel()), expected, atol=1e-6)


def test_a_cell_that_cannot_be_reduced_stays(tmp_path, monkeypatch):
    monkeypatch.setattr(spglib, "niggli_reduce", lambda cell: None)
    path = extxyz_file(tmp_path / "one.extxyz", crystals(1))
    assert torch.allclose(
        read(path).train.structures.cell[0], torch.from_numpy(crystals(1)[0].cell.array), atol=1e-7
    )


def test_a_part_is_kept_for_validation(tmp_path):
    path = csv_file(tmp_path / "all.csv", crystals(40))
    sets, again = (read(path, valid_file=[], valid_fraction=0.25) for _ in range(2))
    assert len(sets.train) == 30
    assert len({*sets.train.sources, *sets.valid.sources}) == 40
    assert sets.notes == ("10 of 40 crystals kept for validation",)
    assert again.train.sources == sets.train.sources


def test_formulas_are_not_torn_apart(tmp_path):
    made = []
    for metal in ("Ti", "Na", "Mg", "Ca"):
        made += [bulk(f"{metal}O", "rocksalt", a=a) for a in (4.0, 4.2, 4.4)]
        made += [bulk(f"{metal}", "fcc", a=4.0)]
    made.append(bulk("O", "sc", a=3.0))
    path = extxyz_file(tmp_path / "all.extxyz", made)
    sets = read(path, valid_file=[], valid_fraction=0.3, split_by="formula")
    assert not set(sets.train.formulas) & set(sets.valid.formulas)


def test_entries_that_are_no_crystals(tmp_path):
    folder = cif_folder(tmp_path / "some", crystals(3))
    (folder / "3.cif").write_text("nonsense")
    write(folder / "water.xyz", molecule("H2O"))
    with pytest.raises(
        DataError, match=r"2 of 5 entries are no crystals: .*3.cif.*water.*allow_mi"
    ):
        read(folder)
    sets = read(folder, allow_missing=True)
    assert len(sets.train) == 3
    assert sets.notes[0].startswith("Left out: 2 of 5")


def test_nothing_but_molecules(tmp_path):
    write(tmp_path / "water.xyz", molecule("H2O"))
    with pytest.raises(DataError, match="1 of 1 entries are no crystals"):
        read(tmp_path / "water.xyz", allow_missing=True)


def test_no_file():
    with pytest.raises(ConfigError, match="--train-file"):
        read_generator_sets(build(GeneratorOptions, {}), "crystal")


def test_missing_properties(tmp_path):
    some = crystals(4)
    del some[2].info["size"]
    path = csv_file(tmp_path / "some.csv", some)
    with pytest.raises(
        DataError, match=r"1 of 4 crystals have no size: .*some.csv\[2\]. Set allow"
    ):
        read(path, properties="size")
    values = read(path, properties="size", allow_missing=True).train.structures.system["size"]
    assert values.isnan().tolist() == [False, False, True, False]


def test_a_property_that_is_no_number(tmp_path):
    some = crystals(2)
    for atoms in some:
        atoms.info["colour"] = "red"
    path = csv_file(tmp_path / "some.csv", some, ("size", "colour"))
    with pytest.raises(DataError, match=r"Expected a number for colour of .*\[0\], got 'red'"):
        read(path, properties="colour")


def test_validation_crystals_that_nothing_can_teach(tmp_path):
    train = extxyz_file(tmp_path / "train.extxyz", [bulk("TiO", "rocksalt", a=4.2)] * 2)
    strange = [bulk("NaCl", "rocksalt", a=5.6), bulk("TiO", "rocksalt", a=4.2) * 2]
    good = [bulk("TiO", "cesiumchloride", a=3.0)]
    valid = extxyz_file(tmp_path / "valid.extxyz", [*strange, *good])
    sets = read(train, valid_file=str(valid))
    assert [source[-3:] for source in sets.valid.sources] == ["[2]"]
    assert "2 of 3 validation crystals are larger" in sets.notes[-1]
    assert "(Na, Cl)" in sets.notes[-1]
    nothing = extxyz_file(tmp_path / "nothing.extxyz", strange)
    with pytest.raises(ConfigError, match="2 of 2 validation crystals.*like those of train_file"):
        read(train, valid_file=str(nothing))


def test_reduced_cells_match_their_originals(tmp_path):
    from pymatgen.core.structure_matcher import StructureMatcher

    atoms = crystals(4, seed=3)
    found = read(extxyz_file(tmp_path / "all.extxyz", atoms)).train.structures
    matcher = StructureMatcher()
    for a, b in zip(to_pymatgen(found), to_pymatgen(from_ase(atoms)), strict=True):
        assert matcher.get_rms_dist(a, b)[0] < 1e-6
