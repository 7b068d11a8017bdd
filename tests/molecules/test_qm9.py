import zipfile

import numpy as np
import pytest
from ase.build import molecule

from matkit.data.download import find_set
from matkit.errors import DataError
from matkit.molecules.qm9 import is_held_out, read_qm9
from matkit.molecules.reading import read_molecules
from matkit.options import build
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets
from tests.molecules.files import qm9_file


def test_one_in_25_molecules_is_held_out():
    assert [i for i in range(1, 60) if is_held_out(i)] == [7, 32, 57]


def test_held_out_molecules_are_never_read(tmp_path):
    rows = {index: molecule("CH4") for index in range(1, 60)}
    path = qm9_file(tmp_path / "qm9pack.whl", rows)
    left = set(rows) - {7, 32, 57}
    assert {row.index for row in read_qm9(path)} == left
    assert {entry.source for entry in read_molecules(path)} == {f"QM9[{i}]" for i in left}
    assert {entry.source for entry in read_molecules(tmp_path)} == {f"QM9[{i}]" for i in left}
    given = {"train_file": [str(tmp_path)], "valid_fraction": 0.2}
    sets = read_generator_sets(build(GeneratorOptions, given), "molecule")
    assert {*sets.train.sources, *sets.valid.sources} == {f"QM9[{i}]" for i in left}


def test_atoms_and_properties_in_their_units(tmp_path):
    (row,) = read_qm9(qm9_file(tmp_path / "a.whl", {1: molecule("CH4")}))
    assert row.numbers.tolist() == [6, 1, 1, 1, 1]
    assert np.allclose(row.positions, molecule("CH4").positions, atol=1e-7)
    assert row.properties["gap"] == pytest.approx(0.5 * 27.211386)
    assert row.properties["polarizability"] == 13.21
    assert row.properties["dipole"] == 0.0


@pytest.mark.parametrize("content", ["nothing", "another", "cut", "rubbish"])
def test_damaged_wheels(tmp_path, content):
    path = qm9_file(tmp_path / "a.whl", {1: molecule("CH4")})
    message = "is damaged"
    if content == "nothing":
        path.write_bytes(b"no archive")
    elif content == "cut":
        path.write_bytes(path.read_bytes()[:200])
    elif content == "another":
        qm9_file(path, {}, "other/table.csv")
        message = "found no tables of QM9"
    else:
        with zipfile.ZipFile(path, "w") as wheel:
            wheel.writestr(
                "qm9pack/data/qm9_part1.csv", "Index,Elements,XYZ_Ang\n1,['C'],[[0,x]]\n"
            )
    with pytest.raises(DataError, match=message):
        list(read_qm9(path))


def test_the_set_can_be_downloaded():
    assert "MIT" in find_set("qm9").licence
