"""What a name of a file means, which part of it is read, and in which format."""

import os
from itertools import count

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.db import connect
from ase.io import write
from ase.io.trajectory import Trajectory, TrajectoryReader

from matkit.data import reading
from matkit.data.dataset import read_dataset, read_usable
from matkit.data.opening import locate
from matkit.data.reading import entries_of, read_atoms
from matkit.errors import DataError, UnknownNameError
from matkit.simulate.reading import read_frames


@pytest.fixture
def five(tmp_path):
    """Five frames, the fourth of which is broken."""
    path = tmp_path / "five.xyz"
    path.write_text("".join(f"1\n\nH {'x' if i == 3 else i} 0 0\n" for i in range(5)))
    return path


@pytest.mark.parametrize(
    ("part", "indices"),
    [
        ("0", [0]),
        ("2", [2]),
        ("-1", [4]),
        ("-5", [0]),
        (":", [0, 1, 2, 3, 4]),
        ("1:3", [1, 2]),
        ("0:5:2", [0, 2, 4]),
        ("-2:", [3, 4]),
        ("::-2", [4, 2, 0]),
        (":2", [0, 1]),
    ],
)
def test_a_part_of_a_file(five, part, indices):
    entries = list(entries_of(f"{five}@{part}"))
    assert [entry.index for entry in entries] == indices
    assert [entry.atoms is None for entry in entries] == [i == 3 for i in indices]


@pytest.mark.parametrize("part", ["5", "-6", "7:9", "-9:-7"])
def test_a_part_that_is_not_there(five, part):
    with pytest.raises(DataError, match=rf"has no structures {part}\. Give others behind the @"):
        list(entries_of(f"{five}@{part}"))


def test_an_at_sign_in_a_name_is_a_part_only_where_no_file_has_the_name(tmp_path):
    for name in ("a@1.xyz", "b.xyz@0", "c@x.traj", "POSCAR@2"):
        write(tmp_path / "plain.xyz", bulk("Cu"))
        (tmp_path / "plain.xyz").rename(tmp_path / name)
        assert [str(a.symbols) for a in read_atoms(tmp_path / name, "extxyz")] == ["Cu"]
    assert locate(tmp_path / "b.xyz@0") == (tmp_path / "b.xyz@0", "")
    assert locate(tmp_path / "none.xyz@0") == (tmp_path / "none.xyz", "0")
    with pytest.raises(DataError, match="there is no file .*none@home.xyz"):
        list(read_atoms(tmp_path / "none@home.xyz"))


@pytest.mark.parametrize("name", ["me@home.traj", "me@home.json", "me@home.xyz", "me@0.vasp"])
def test_no_format_takes_an_at_sign_for_a_part(tmp_path, name):
    write(tmp_path / name.replace("@", ""), bulk("Cu"))
    (tmp_path / name.replace("@", "")).rename(tmp_path / name)
    assert len(list(read_atoms(tmp_path / name))) == 1


def test_sources_of_a_part_are_places_in_the_file(five):
    assert read_dataset(f"{five}@1:3").sources == (f"{five}[1]", f"{five}[2]")


def test_a_folder_is_said_to_be_one(tmp_path):
    with pytest.raises(DataError, match=r"is a folder. Name the files in it, such as .*\*\.cif"):
        list(read_atoms(tmp_path))


def test_devices_and_pipes_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe.xyz")
    for path in (tmp_path / "pipe.xyz", "/dev/null", "/dev/zero"):
        with pytest.raises(DataError, match="is a device or a pipe"):
            list(read_atoms(path))


@pytest.mark.parametrize("name", ["x" * 300, "a\0b.xyz"])
def test_names_that_no_file_can_have(name):
    with pytest.raises(DataError, match="Cannot open"):
        list(read_atoms(name))


def test_a_file_that_may_not_be_read(five, monkeypatch):
    def refuse(*args, **kwargs):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"Cannot open .*: Permission denied"):
        list(read_atoms(five))


def test_a_format_goes_before_the_name(tmp_path):
    write(tmp_path / "a.dat", bulk("NaCl", "rocksalt", a=5.6), format="vasp")
    write(tmp_path / "b.cif", molecule("H2O"), format="extxyz")
    assert next(read_atoms(tmp_path / "a.dat", "vasp")).cell.volume == pytest.approx(5.6**3 / 4)
    assert str(next(read_atoms(tmp_path / "b.cif", "extxyz")).symbols) == "OH2"
    assert len(read_frames(tmp_path / "b.cif", "xyz")) == 1
    assert "say which it is (format)" in next(entries_of(tmp_path / "a.dat")).reason


def test_an_unknown_format_has_a_neighbour(five):
    with pytest.raises(UnknownNameError, match=r"'extxzy'.*Did you mean 'extxyz'\? Known: .*csv"):
        list(entries_of(five, "extxzy"))


def test_training_names_the_broken_entry_and_accounts_keep_the_others(five):
    with pytest.raises(DataError, match=r"Cannot read .*five\.xyz\[3\]"):
        read_dataset(five)
    problems = []
    assert len(read_dataset(five, problems=problems)) == 4
    dataset, unread = read_usable(five)
    assert (len(dataset), unread) == (4, problems)
    assert "five.xyz[3]" in unread[0]
    with pytest.raises(DataError, match=r"got none.*five\.xyz\[3\]"):
        read_usable(f"{five}@3")


def test_files_are_read_as_they_are_asked_for(tmp_path, monkeypatch):
    number = count()
    made = (molecule("H2") for _ in range(1000) if next(number) >= 0)
    monkeypatch.setitem(reading.READERS, "extxyz", lambda file: made)
    (tmp_path / "a.xyz").write_text("x")
    assert next(entries_of(tmp_path / "a.xyz@10")).index == 10
    assert next(number) < 15


def test_a_broken_frame_of_a_trajectory_costs_no_other(tmp_path, monkeypatch):
    with Trajectory(tmp_path / "a.traj", "w") as trajectory:
        for i in range(3):
            trajectory.write(Atoms("H", [[i, 0, 0]], pbc=i == 1, cell=np.eye(3) * (i != 1)))
    entries = list(entries_of(tmp_path / "a.traj"))
    assert [entry.atoms is None for entry in entries] == [False, True, False]
    whole = TrajectoryReader.__getitem__

    def damaged(frames, i):
        return whole(frames, i) if i else int("broken")

    monkeypatch.setattr(TrajectoryReader, "__getitem__", damaged)
    assert next(entries_of(tmp_path / "a.traj")).reason.startswith("ValueError")
    assert [entry.atoms is None for entry in entries_of(tmp_path / "a.traj")] == [True, True, False]


def test_a_broken_row_of_a_database_costs_no_other(tmp_path, monkeypatch):
    with connect(tmp_path / "a.db") as database:
        for i in range(3):
            database.write(molecule("H2"), number=i)
    from ase.db.row import AtomsRow

    whole = AtomsRow.toatoms
    monkeypatch.setattr(
        AtomsRow, "toatoms", lambda row: whole(row) if row.number != 1 else int("broken")
    )
    entries = list(entries_of(tmp_path / "a.db"))
    assert [entry.reason[:18] for entry in entries] == ["", "row 2: ValueError:", ""]
    assert entries[2].atoms.info["number"] == 2


@pytest.mark.parametrize("comment", ["Cu O", "copper oxide", "Cu", "Cu O extra", "X O"])
def test_a_poscar_of_vasp_4_takes_elements_from_its_first_line_or_is_refused(tmp_path, comment):
    atoms = bulk("CuO", "rocksalt", a=4.2)
    write(tmp_path / "POSCAR", atoms, format="vasp")
    lines = (tmp_path / "POSCAR").read_text().splitlines(keepends=True)
    (tmp_path / "POSCAR").write_text("".join([f"{comment}\n", *lines[1:5], *lines[6:]]))
    (tmp_path / "POTCAR").write_text(" TITEL  = PAW_PBE Na 1\n TITEL  = PAW_PBE Cl 1\n")
    (entry,) = entries_of(tmp_path / "POSCAR")
    if comment == "Cu O":
        assert str(entry.atoms.symbols) == "CuO"
    else:
        assert "Write 2 symbols there" in entry.reason


def test_selective_dynamics_become_constraints(tmp_path):
    from ase.constraints import FixAtoms

    atoms = bulk("Cu", cubic=True)
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / "POSCAR", atoms, format="vasp")
    (entry,) = entries_of(tmp_path / "POSCAR")
    assert len(entry.atoms.constraints) == 1


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("  1.00  0.00", "  0.50  0.00", "partial occupancies"),
        ("P 1", "P 21 21 21", "by space group P 21 21 21"),
        ("3.610    3.610    3.610", "1.000    1.000    1.000", "cell of 1 Å"),
        ("P 1", "P 1", ""),
    ],
)
def test_pdb_files_are_guarded(tmp_path, old, new, reason):
    write(tmp_path / "a.pdb", bulk("Cu", cubic=True))
    text = (tmp_path / "a.pdb").read_text()
    assert old in text
    (tmp_path / "a.pdb").write_text(text.replace(old, new, 1))
    (entry,) = entries_of(tmp_path / "a.pdb")
    assert reason in entry.reason
    assert (entry.atoms is None) == bool(reason)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("LATT -1", "LATT 1", "part of the cell"),
        ("LATT -1", "LATT -1\nSYMM -x,-y,z", "part of the cell"),
        (" 1.0\n", " 0.5\n", "one atom on every site, got 0.5 of Cu"),
        (" 1.0\n", " 11.000\n", ""),
    ],
)
def test_shelx_files_are_guarded(tmp_path, old, new, reason):
    write(tmp_path / "a.res", bulk("Cu", cubic=True))
    text = (tmp_path / "a.res").read_text()
    assert old in text
    (tmp_path / "a.res").write_text(text.replace(old, new, 1))
    (entry,) = entries_of(tmp_path / "a.res")
    assert reason in entry.reason
    assert (entry.atoms is None) == bool(reason)


def test_elements_that_ase_does_not_know_are_named(tmp_path):
    write(tmp_path / "POSCAR", bulk("Cu"), format="vasp")
    text = (tmp_path / "POSCAR").read_text()
    (tmp_path / "POSCAR").write_text(text.replace("Cu", "Wa"))
    reason = next(entries_of(tmp_path / "POSCAR")).reason
    assert "'Wa'" in reason
    assert reason.strip() != "KeyError: 'Wa'"


def test_a_table_of_cifs_without_structures(tmp_path):
    (tmp_path / "a.csv").write_text('cif\n"data_a\n_cell_length_a 5\n"\n"nothing"\n')
    first, second = entries_of(tmp_path / "a.csv")
    assert "is it cut off" in first.reason
    assert "expected one structure in the column `cif`, got 0" in second.reason
