import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import read, write

from matkit.errors import OutputExistsError, SimulationError, StructureError
from matkit.runs.atomic import write_atomically
from matkit.runs.text_files import (
    TextFile,
    check_length,
    refuse_existing,
    write_frame,
)
from matkit.simulate.reading import read_frames


@pytest.fixture
def three(tmp_path):
    path = tmp_path / "three.xyz"
    write(path, [bulk("Cu"), molecule("H2O"), bulk("Si")])
    return path


def test_all_frames_are_read(three):
    frames = read_frames(three)
    assert [frame.index for frame in frames] == [0, 1, 2]
    assert [str(frame.atoms.symbols) for frame in frames] == ["Cu", "OH2", "Si2"]


@pytest.mark.parametrize("name", ["one.cif", "POSCAR", "one.traj", "one.json", "one.xyz"])
def test_any_format_ase_knows(tmp_path, name):
    write(tmp_path / name, bulk("NaCl", "rocksalt", a=5.6))
    (frame,) = read_frames(str(tmp_path / name))
    assert sorted(frame.atoms.symbols) == ["Cl", "Na"]


def test_a_missing_file(tmp_path):
    with pytest.raises(StructureError, match="there is no file"):
        read_frames(tmp_path / "nothing.cif")


def test_an_empty_file(tmp_path):
    (tmp_path / "empty.cif").touch()
    with pytest.raises(StructureError, match="empty file"):
        read_frames(tmp_path / "empty.cif")


@pytest.mark.parametrize("name", ["junk.cif", "junk.dat", "POSCAR", "junk.traj"])
def test_an_unreadable_file(tmp_path, name):
    (tmp_path / name).write_text("this is not a structure\n")
    with pytest.raises(StructureError, match="No structure in .* can be used"):
        read_frames(tmp_path / name)


def test_an_unreadable_xyz_file(tmp_path):
    (tmp_path / "junk.xyz").write_text("hello\nworld\n")
    with pytest.raises(StructureError, match="No structure in .* can be used"):
        read_frames(tmp_path / "junk.xyz")


def test_a_file_without_structures(tmp_path):
    (tmp_path / "none.xyz").write_text("\n")
    with pytest.raises(StructureError, match="can be used: there is no structure in it"):
        read_frames(tmp_path / "none.xyz")


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("O ", "Qq ", "'Qq' in line 6 is no chemical symbol"),
        ("H ", "H nonsense ", "expected 4 columns in line 7, got 5"),
        ("3\n", "4\n", "expected 4 atoms, but they end after 3"),
        ("3\n", "2\n", "expected 2 atoms, but more rows follow"),
        ('pbc="F F F"', 'pbc="F F', "cannot be read"),
    ],
)
def test_one_bad_frame_does_not_hide_the_others(three, old, new, reason):
    text = three.read_text()
    assert old in text
    three.write_text(text.replace(old, new, 1))
    frames = read_frames(three)
    assert [frame.atoms is None for frame in frames] == [False, True, False]
    assert reason in frames[1].error
    assert str(frames[2].atoms.symbols) == "Si2"


def test_a_frame_no_calculator_can_treat_is_reported(tmp_path):
    bad = molecule("H2O")
    bad.positions[1, 2] = np.nan
    write(tmp_path / "a.xyz", [bulk("Cu"), bad, Atoms("Cu", cell=[3, 3, 0], pbc=True)])
    frames = read_frames(tmp_path / "a.xyz")
    assert frames[0].atoms is not None
    assert "finite positions" in frames[1].error
    assert "do not span" in frames[2].error


def test_only_bad_frames(tmp_path):
    write(tmp_path / "a.xyz", Atoms("Cu", positions=[[np.inf, 0, 0]]))
    with pytest.raises(StructureError, match=r"No structure.*finite positions"):
        read_frames(tmp_path / "a.xyz")


def test_text_files_are_cut_back(tmp_path):
    path = tmp_path / "new" / "a.csv"
    file = TextFile(path)
    file.write("one\n")
    assert file.sync() == 4
    file.write("two\n")
    file.close()
    file.close()
    file = TextFile(path, keep=4)
    file.write("three\n")
    file.close()
    assert path.read_text() == "one\nthree\n"


def test_missing_bytes_are_noticed(tmp_path):
    (tmp_path / "a").write_text("abc")
    check_length(tmp_path / "a", 3)
    with pytest.raises(SimulationError, match="at least 4 bytes from the run before, got 3"):
        check_length(tmp_path / "a", 4)
    with pytest.raises(SimulationError, match="got 0"):
        check_length(tmp_path / "b", 1)


def test_atomic_writing_leaves_one_file(tmp_path):
    write_atomically(tmp_path / "x" / "a", b"old")
    write_atomically(tmp_path / "x" / "a", b"new")
    assert [p.read_bytes() for p in (tmp_path / "x").iterdir()] == [b"new"]


def test_existing_files_are_named(tmp_path):
    (tmp_path / "a").touch()
    refuse_existing([tmp_path / "b"])
    with pytest.raises(OutputExistsError, match=r"/a\. Choose"):
        refuse_existing([tmp_path / "a", tmp_path / "b"])


def test_frames_are_written_with_their_info(tmp_path):
    write_frame(tmp_path / "a.extxyz", molecule("H2O"), step=3)
    assert read(tmp_path / "a.extxyz").info["step"] == 3
