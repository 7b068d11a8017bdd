"""Extended XYZ with broken frames: each costs itself and nothing else."""

import bz2
import gzip
import lzma

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.io import write

from matkit.data.reading import entries_of
from matkit.data.species import isotopes

FRAMES = 12
BROKEN = (3, 6, 7)  # two of them neighbours


def frame(i):
    x = f"2.{i:02d}00"
    return [
        "2\n",
        f'Lattice="5.6 0 0 0 5.6 0 0 0 5.6" Properties=species:S:1:pos:R:3 id={i} pbc="T T T"\n',
        "Na 0.0000 0.0000 0.0000\n",
        f"Cl {x} 2.8000 2.8000\n",
    ]


def replaced(line, old, new):
    def change(lines):
        assert old in lines[line]
        return [*lines[:line], lines[line].replace(old, new, 1), *lines[line + 1 :]]

    return change


# The thirteen kinds that a field trial found, and some of their relatives.
DAMAGES = {
    "text count": replaced(0, "2", "abc"),
    "count too big": replaced(0, "2", "3"),
    "count too small": replaced(0, "2", "1"),
    "lost row": lambda lines: lines[:-1],
    "not a number": replaced(2, "0.0000", "nan"),
    "two points": replaced(2, "0.0000", "1.2.3"),
    "unknown element": replaced(2, "Na", "Qq"),
    "huge count": replaced(0, "2", "30000000"),
    "absurd count": replaced(0, "2", "1000000000000"),
    "blank count": replaced(0, "2", ""),
    "no atoms": lambda lines: ["0\n", lines[1]],
    "cut row": replaced(3, " 2.8000 2.8000", ""),
    "latin-1": replaced(1, "id=", "name=\xff id="),
    "row twice": lambda lines: [*lines, lines[-1]],
    "negative count": replaced(0, "2", "-2"),
    "float count": replaced(0, "2", "2.0"),
    "exponent": replaced(0, "2", "1e12"),
    "zero with rows": replaced(0, "2", "0"),
    "superscript": replaced(0, "2", "\xb2"),
    "lost comment": lambda lines: [lines[0], *lines[2:]],
    "count alone": lambda lines: lines[:1],
    "blank among rows": lambda lines: [*lines[:3], "\n", *lines[3:]],
    "column too many": replaced(2, "Na ", "Na 1 "),
    "infinite cell": replaced(1, "5.6 0 0 0 5.6", "inf 0 0 0 5.6"),
    "flat cell": replaced(1, "5.6 0 0 0 5.6", "5.6 0 0 5.6 0"),
    "eight numbers of a cell": replaced(1, "5.6 0 0 0 5.6", "5.6 0 0 0"),
    "words for a cell": replaced(1, "5.6 0 0", "a b c"),
    "quote not closed": replaced(1, '5.6"', "5.6"),
    "no places": replaced(1, "pos:R:3", "force:R:3"),
    "two places": replaced(1, "pos:R:3", "pos:R:2"),
    "places twice": replaced(1, "species:S:1:pos:R:3", "species:S:1:pos:R:3:pos:R:3"),
    "no kind of properties": replaced(1, "species:S:1:pos:R:3", "species:S"),
    "unknown kind of properties": replaced(1, "species:S:1", "species:Q:1"),
    "ghost": replaced(2, "Na", "X"),
    "null bytes": replaced(2, "0.0000", "\0\0\0"),
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
def test_a_broken_frame_costs_itself_and_no_neighbour(tmp_path, damage):
    frames = [damage(frame(i)) if i in BROKEN else frame(i) for i in range(FRAMES)]
    path = tmp_path / "a.extxyz"
    path.write_text("".join("".join(lines) for lines in frames), encoding="latin-1")
    entries = list(entries_of(path))
    kept = [entry.atoms.info["id"] for entry in entries if entry.atoms is not None]
    assert kept == [i for i in range(FRAMES) if i not in BROKEN]
    assert len(entries) == FRAMES
    assert all(entry.reason for entry in entries if entry.atoms is None)
    assert [entry.index for entry in entries] == list(range(FRAMES))


@pytest.mark.parametrize("kept", range(1, 4))
def test_a_last_frame_cut_off_is_one_reason(tmp_path, kept):
    path = tmp_path / "a.xyz"
    path.write_text("".join(frame(0) + frame(1)[:kept]))
    good, bad = entries_of(path)
    assert good.atoms is not None
    assert "the file ends" in bad.reason


def test_reasons_name_line_and_symbol(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\n\nH 0 0 0\n2\n\nO 0 0 0\nWa 0 0 1\n")
    assert [entry.reason for entry in entries_of(path)] == [
        "",
        "'Wa' in line 7 is no chemical symbol (frame at line 4)",
    ]


def test_a_file_of_bytes_is_an_entry_and_neither_hangs_nor_fails(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_bytes(np.random.default_rng(0).bytes(100_000))
    assert all(entry.atoms is None for entry in entries_of(path))


@pytest.mark.parametrize("start", ["", "\ufeff"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_byte_order_marks_and_windows_line_ends(tmp_path, start, end):
    path = tmp_path / "a.xyz"
    path.write_bytes((start + "".join(frame(0) + frame(1))).replace("\n", end).encode())
    assert [str(entry.atoms.symbols) for entry in entries_of(path)] == ["NaCl", "NaCl"]


@pytest.mark.parametrize(("ending", "opener"), [("gz", gzip), ("bz2", bz2), ("xz", lzma)])
def test_a_compressed_file_that_is_cut_gives_what_came_before(tmp_path, ending, opener):
    path = tmp_path / f"a.xyz.{ending}"
    with opener.open(path, "wt") as stream:
        stream.write("".join("".join(frame(i)) for i in range(3)))
    assert [entry.atoms.info["id"] for entry in entries_of(path)] == [0, 1, 2]
    path.write_bytes(path.read_bytes()[:-12])
    assert list(entries_of(path))[-1].atoms is None


def test_atomic_numbers_and_any_case_are_symbols(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("4\n\n8 0 0 0.1\n1 0 0.8 -0.5\nCL 3 0 0\nna 0 3 0\n")
    (entry,) = entries_of(path)
    assert str(entry.atoms.symbols) == "OHClNa"


def test_a_number_that_is_no_element_is_refused(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\n\n119 0 0 0\n")
    assert "'119' in line 3" in next(entries_of(path)).reason


def test_types_of_lammps_are_not_taken_for_atomic_numbers(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nAtoms. Timestep: 0\n1 0 0 0\n1\nAtoms. Timestep: 1\nCu 0 0 0\n")
    first, second = entries_of(path)
    assert "types of LAMMPS" in first.reason
    assert str(second.atoms.symbols) == "Cu"


def test_deuterium_and_tritium_are_hydrogen_of_their_mass(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("3\nheavy water\nO 0 0 0.1\nD 0 0.8 -0.5\nT 0 -0.8 -0.5\n")
    (entry,) = entries_of(path)
    assert entry.atoms.numbers.tolist() == [8, 1, 1]
    assert entry.atoms.get_masses() == pytest.approx([15.999, 2.0141, 3.0160], abs=1e-3)
    assert isotopes(entry.atoms) == "1 H of 2.014 u, 1 H of 3.016 u"
    assert isotopes(molecule("H2O")) == ""


def test_masses_of_the_file_go_before_the_symbol(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\nProperties=species:S:1:pos:R:3:masses:R:1\nD 0 0 0 2.5\n")
    assert next(entries_of(path)).atoms.get_masses().tolist() == [2.5]


def test_symbols_that_contradict_atomic_numbers_are_refused(tmp_path):
    path = tmp_path / "a.xyz"
    row = "1\nProperties=species:S:1:pos:R:3:Z:I:1\nH 0 0 0 {}\n"
    path.write_text(row.format(1) + row.format(8))
    assert [entry.atoms is None for entry in entries_of(path)] == [False, True]


def test_a_lower_case_lattice_is_not_passed_over(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text('1\nlattice="3 0 0 0 4 0 0 0 5"\nH 0 0 0\n')
    assert next(entries_of(path)).atoms.cell.lengths().tolist() == [3, 4, 5]


def test_a_comment_that_is_a_number_is_no_count(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text("1\n17\nH 0 0 0\n1\n18\nHe 0 0 0\n")
    assert [str(entry.atoms.symbols) for entry in entries_of(path)] == ["H", "He"]


def test_atoms_by_number_and_cells_of_adf(tmp_path):
    path = tmp_path / "a.xyz"
    path.write_text(
        "1\nProperties=Z:I:1:pos:R:3\n8 0 0 0\n1\n\nHe 0 0 0\nVEC1 3 0 0\nVEC2 0 3 0\nVEC3 0 0 3\n"
    )
    first, second = entries_of(path)
    assert (str(first.atoms.symbols), second.atoms.cell.volume) == ("O", 27)


def test_partial_occupancies_of_other_formats_are_refused_in_xyz_too(tmp_path):
    atoms = bulk("Cu", cubic=True)
    atoms.arrays["occupancy"] = np.array([1, 0.5, 1, 1])
    write(tmp_path / "a.extxyz", [atoms])
    assert "partial occupancies" in next(entries_of(tmp_path / "a.extxyz")).reason
    atoms.arrays["occupancy"][:] = 0  # nobody filled it in
    write(tmp_path / "a.extxyz", [atoms])
    assert next(entries_of(tmp_path / "a.extxyz")).atoms is not None
