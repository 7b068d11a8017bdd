"""CIF files as people have them: read rightly, or refused with the reason."""

import gzip
from collections import Counter

import numpy as np
import pytest

from matkit.data import opening
from matkit.data.cif import read_cif
from matkit.data.reading import entries_of
from matkit.data.species import isotopes
from matkit.errors import DataError

NAMES = ("length_a", "length_b", "length_c", "angle_alpha", "angle_beta", "angle_gamma")
CUBIC, HEXAGONAL = (5.43, 5.43, 5.43, 90, 90, 90), (5, 5, 12, 90, 90, 120)
MONOCLINIC, ORTHORHOMBIC = (5, 6, 7, 90, 105, 90), (5, 6, 7, 90, 90, 90)
RHOMBOHEDRAL = (5, 5, 5, 50, 50, 50)
IDENTITY = "loop_\n_space_group_symop_operation_xyz\n'x, y, z'\n"
PLACES = ("fract_x", "fract_y", "fract_z")
COLUMNS = ("label", "type_symbol", *PLACES)


def cif(sites, more=IDENTITY, cell=CUBIC, columns=COLUMNS, name="x"):
    lines = [f"data_{name}"]
    lines += [f"_cell_{key} {value}" for key, value in zip(NAMES, cell, strict=True) if cell]
    lines += [more, "loop_", *(f"_atom_site_{column}" for column in columns), *sites]
    return "\n".join(lines) + "\n"


def one(text):
    """What the only structure is, or why it is none."""
    (found,) = read_cif(text)
    return found


def formula(text):
    found = one(text)
    assert not isinstance(found, str), found
    return dict(Counter(found.symbols))


SILICON = ["Si1 Si 0.1 0.2 0.3"]


def named(name, sites, cell=CUBIC, more=""):
    return cif(sites, f"_symmetry_space_group_name_H-M '{name}'\n{more}", cell)


def test_partial_occupancy_is_refused_and_not_computed_as_one_of_the_elements():
    columns = (*COLUMNS, "occupancy")
    sites = ["La1 La 0 0 0 0.7", "Sr1 Sr 0 0 0 0.3", "Mn1 Mn .5 .5 .5 1"]
    assert "partial occupancies (La1: 0.7)" in one(cif(sites, columns=columns))
    vacancy = ["Cu1 Cu 0 0 0 0.98(1)", "O1 O .5 .5 .5 1.0"]
    assert "partial occupancies (Cu1: 0.98(1))" in one(cif(vacancy, columns=columns))
    assert "occupancy of Cu1" in one(cif(["Cu1 Cu 0 0 0 full"], columns=columns))


@pytest.mark.parametrize("text", ["?", ".", "1", "1.0(2)", "0.9999"])
def test_an_occupancy_that_is_not_given_is_one(text):
    assert formula(cif([f"Cu1 Cu 0 0 0 {text}"], columns=(*COLUMNS, "occupancy"))) == {"Cu": 1}


@pytest.mark.parametrize(
    ("column", "texts", "reason"),
    [
        ("disorder_group", "12", "disorder groups 1, 2"),
        ("disorder_group", ["-1", "."], "disorder groups -1"),
        ("calc_flag", ["d", "dum"], "dummy sites"),
        ("attached_hydrogens", "02", "hydrogen atoms without places"),
        ("pdbx_PDB_model_num", "12", "several models"),
        ("symmetry_multiplicity", "14", "stands for 4 atoms, but .* give 1"),
    ],
)
def test_what_is_no_whole_structure_is_refused(column, texts, reason):
    sites = [f"O1 O 0 0 0 {texts[0]}", f"O2 O 0.5 0.5 0.5 {texts[1]}"]
    with pytest.raises(AssertionError, match=reason):
        formula(cif(sites, columns=(*COLUMNS, column)))


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["NA1", "CL1"], {"Na": 1, "Cl": 1}),
        (["Na1", "Cl1"], {"Na": 1, "Cl": 1}),
        (["na1", "cl1"], {"Na": 1, "Cl": 1}),
        (["CA1", "F1"], {"Ca": 1, "F": 1}),
        (["O1'", "O1A"], {"O": 2}),
        (["C1", "CA1"], "'CA1' may mean Ca or C"),
        (["CB1", "CA1"], "may mean|names no element"),
        (["HO1", "O1"], "'HO1' may mean Ho or H"),
        (["SN1", "S1"], "'SN1' may mean Sn or S"),
        (["Wat1", "O1"], "'Wat1' names no element"),
        (["T1", "O1"], "'T1' names no element"),
        (["X1", "O1"], "'X1' names no element"),
        (["12", "O1"], "'12' names no element"),
    ],
)
def test_labels_in_capitals_are_elements_or_refused(labels, expected):
    sites = [f"{label} 0.{i}5 0.2 0.3" for i, label in enumerate(labels)]
    text = cif(sites, columns=("label", *PLACES))
    if isinstance(expected, dict):
        assert formula(text) == expected
    else:
        with pytest.raises(AssertionError, match=expected):
            formula(text)


@pytest.mark.parametrize(("said", "expected"), [("Ca C", "Ca"), ("C2", "C")])
def test_a_formula_decides_what_labels_mean(said, expected):
    sites = ["CA1 0 0 0", "C1 0.5 0.5 0.5"]
    text = cif(sites, f"{IDENTITY}_chemical_formula_sum '{said}'\n", columns=("label", *PLACES))
    found = one(text)
    if expected == "C":
        assert formula(text) == {"C": 2}
    else:
        assert "may mean" in found


@pytest.mark.parametrize(
    ("symbol", "number"),
    [("Na1+", 11), ("O2-", 8), ("Na+1", 11), ("NA", 11), ("CL1-", 17), ("Fe0", 26), ("11", 11),
     ("Mg2", 12)],
)  # fmt: skip
def test_type_symbols_may_carry_a_charge(symbol, number):
    assert one(cif([f"A1 {symbol} 0 0 0"])).numbers.tolist() == [number]


@pytest.mark.parametrize("symbol", ["Wat", "OH2", "NO3", "X", "M", "Va", ".", "?"])
def test_a_type_symbol_that_is_no_element_is_refused(symbol):
    assert f"{symbol!r} is no chemical symbol" in one(cif([f"A1 {symbol} 0 0 0"]))


def test_isotopes_keep_their_mass():
    found = one(cif(["D1 D 0 0 0", "O1 O .5 .5 .5", "C1 13C .5 0 0"]))
    assert str(found.symbols) == "HOC"
    assert found.get_masses() == pytest.approx([2.0141, 15.999, 13], abs=1e-3)
    assert isotopes(found) == "1 C of 13 u, 1 H of 2.014 u"


@pytest.mark.parametrize("place", ["0 0 0", "1.0 0.0 0.0", "0.01 -0.01 1.0"])
def test_two_sites_on_one_place_are_refused_and_not_merged(place):
    assert "on the same place" in one(cif(["Na1 Na 0 0 0", f"Na2 Na {place}"]))


@pytest.mark.parametrize(("x", "y"), [("0.333", "0.667"), ("0.3333", "0.6667")])
def test_rounded_special_positions_are_one_atom(x, y):
    text = named(
        "P 63/m m c", ["C1 C 0 0 .25", f"C2 C {x} {y} .75"], (2.46, 2.46, 6.7, 90, 90, 120)
    )
    assert formula(text) == {"C": 4}


def test_images_that_hardly_fall_together_are_refused():
    assert "more digits" in one(named("P m -3 m", ["Si1 Si 0.0205 0.0205 0.0205"]))


@pytest.mark.parametrize("value", ["nan", ".", "?", "1/3", "inf"])
def test_a_place_that_is_no_number_is_refused(value):
    assert "expected a number for _atom_site_fract_x" in one(cif([f"Na1 Na {value} 0 0"]))


@pytest.mark.parametrize(
    "cell", [(5, 5, 5, 90, 90, 0), (0, 5, 5, 90, 90, 90), (5, 5, 5, 100, 150, 150)]
)
def test_a_cell_without_volume_is_refused(cell):
    assert "spans no volume" in one(cif(SILICON, cell=cell))


def test_a_cell_that_is_not_complete_is_refused():
    assert "_cell_length_b" in one(cif(SILICON).replace("_cell_length_b 5.43\n", ""))


@pytest.mark.parametrize(
    ("name", "cell", "atoms"),
    [
        ("F d -3 m :1", CUBIC, 8),
        ("F d -3 m S", CUBIC, 8),
        ("Fd-3m:2", CUBIC, 16),
        ("F d -3 m Z", CUBIC, 16),
        ("F m -3 m", CUBIC, 4),
        ("Fm3m", CUBIC, 4),
        ("R -3 m", HEXAGONAL, 3),
        ("R -3 m :R", RHOMBOHEDRAL, 1),
        ("R -3 m", RHOMBOHEDRAL, 1),
        ("P 1 21/n 1", MONOCLINIC, 2),
        ("P 21/c", (5, 6, 7, 105, 90, 90), 2),
        ("C m c a", ORTHORHOMBIC, 4),
    ],
)
def test_groups_without_operators(name, cell, atoms):
    assert formula(named(name, ["Si1 Si 0 0 0"], cell)) == {"Si": atoms}


def test_another_setting_is_another_structure():
    """Pbnm is Pnma with other axes: the mirror plane is another."""
    mirrored = [
        one(named(name, ["Na1 Na .1 .1 .25"], (15, 16, 17, 90, 90, 90)))
        for name in ("Pbnm", "Pnma")
    ]
    assert [len(atoms) for atoms in mirrored] == [4, 8]


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ("_symmetry_space_group_name_H-M 'F d -3 m'", "two usual origins"),
        ("_space_group_IT_number 227", "two usual origins"),
        ("_space_group_IT_number 300", "from 1 to 230, got '300'"),
        ("_space_group_name_H-M_alt 'Q q q'", "there is no space group 'Q q q'"),
        ("_space_group_name_H-M_alt 'P 63/m m c'", "does not have the symmetry"),
        ("_space_group_name_H-M_alt 'F m -3 m'\n_space_group_IT_number 227", "no space group"),
        (f"{IDENTITY}'-x,-y,z'\n'-x,y,-z'", "do not form a group"),
        (f"{IDENTITY}'x,y,z'", "do not form a group"),
        ("_symmetry_equiv_pos_as_xyz 'x,x,z'", "do not form a group"),
        ("_symmetry_equiv_pos_as_xyz 'x+0.1234,y,z'", "do not form a group"),
        ("_symmetry_equiv_pos_as_xyz 'x+1.2.3,y,z'", "operators cannot be read"),
        (f"{IDENTITY}'z,x,y'\n'y,z,x'\n_cell_length_a 9", "symmetry of its operators"),
        (f"{IDENTITY}_space_group_IT_number 225", "names number 225"),
        (f"{IDENTITY}_space_group_name_H-M_alt 'F m -3 m'", "space group 1 and names F m -3 m"),
        (f"{IDENTITY}_chemical_formula_sum 'Si O2'", "the formula is O2 Si1"),
        (f"{IDENTITY}_chemical_formula_sum Si\n_cell_formula_units_Z 4", "with Z = 4"),
        (f"{IDENTITY}_chemical_formula_sum 'La0.7 Sr0.3 Mn O3'", "the formula is La0.7"),
        ("_cell_modulation_dimension 1", "magnetic or modulated"),
    ],
)
def test_a_file_that_can_be_read_in_two_ways_is_refused(more, reason):
    with pytest.raises(AssertionError, match=reason):
        formula(cif(SILICON, f"{more}\n"))


def test_a_hall_symbol_says_the_origin():
    more = "_space_group_name_Hall '-F 4vw 2vw 3'\n_space_group_IT_number 227\n"
    assert formula(cif(["Si1 Si .125 .125 .125"], more)) == {"Si": 8}


def test_a_formula_with_z_settles_a_doubt():
    more = (
        f"{IDENTITY}_space_group_IT_number 225\n_chemical_formula_sum Si\n_cell_formula_units_Z 1"
    )
    assert formula(cif(SILICON, f"{more}\n")) == {"Si": 1}


@pytest.mark.parametrize("formula_sum", ["Si", "Si4", "?", "'Ag0.5+x'"])
def test_formulas_of_the_unit_and_of_the_cell_and_unreadable_ones(formula_sum):
    more = f"_chemical_formula_sum {formula_sum}\n_cell_formula_units_Z 4\n"
    assert formula(named("P 2 2 2", SILICON, more=more)) == {"Si": 4}


def test_quartz_of_an_old_origin_is_refused_without_operators_and_formula():
    sites = ["Si1 Si 0.4697 0 0", "O1 O 0.4133 0.2672 0.1188"]
    found = one(named("P 31 2 1", sites, (4.913, 4.913, 5.405, 90, 90, 120)))
    assert "Si is 1.80 Å from Si" in found


def test_asas_reading_is_asked_too(monkeypatch):
    class Other:
        name = "x"

        def get_atoms(self, fractional_occupancies):
            return one(cif(["Ge1 Ge 0 0 0"], ""))

    text = cif(SILICON)
    assert formula(text) == {"Si": 1}
    monkeypatch.setattr("ase.io.cif.parse_cif", lambda stream: [Other()])
    assert "can be read as Si1 and as Ge1" in one(text)


def test_blocks_cost_each_other_nothing():
    good = cif(["Na1 Na 0 0 0"], name="good")
    bad = cif(["Na1 Na 0 0"], name="bad")
    worse = cif(["Na1 Na nan 0 0"], name="worse")
    text = f"data_global\n_note 'none'\n{bad}{good}{worse}{good}{good[:60]}"
    found = list(read_cif(text))
    assert [isinstance(one, str) for one in found] == [True, False, True, False]
    assert "data_bad" in found[0]
    assert "data_worse" in found[2]


def test_a_block_cut_off_is_said():
    assert one("data_x\n_cell_length_a 5\n_symmetry_spa") == (
        "it has a cell and no atoms; is it cut off? (data_x)"
    )


def test_a_table_without_entries_is_no_structure():
    empty = "data_global\n_atom_site_label ?\n_atom_site_fract_x ?\n"
    assert formula(empty + cif(SILICON)) == {"Si": 1}


def test_data_within_a_text_begins_no_block():
    text = cif(SILICON, f"_note\n;\ndata_of nothing\nloop_\n;\n{IDENTITY}")
    assert formula(text) == {"Si": 1}


def test_sites_twice_are_refused():
    assert "is there twice" in one(cif(SILICON) + cif(SILICON).partition("'x, y, z'\n")[2])


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        (("label", "type_symbol"), "no coordinates"),
        (("label", "type_symbol", "fract_x"), "differ in length"),
        (PLACES, "differ in length"),
    ],
)
def test_columns_that_are_missing(columns, reason):
    row = " ".join({"label": "Si1", "type_symbol": "Si"}.get(name, "0.1") for name in columns)
    assert reason in one(cif([row], columns=columns))


def test_a_column_outside_of_the_table():
    text = cif(["Si1 Si", "Si2 Si"], columns=("label", "type_symbol"))
    loop = "loop_\n_atom_site_fract_x\n_atom_site_fract_y\n_atom_site_fract_z\n0 0 0\n"
    assert "differ in length" in one(text + loop)


CARTESIAN = ("label", "type_symbol", "Cartn_x", "Cartn_y", "Cartn_z")


def test_cartesian_places_with_and_without_a_cell():
    sites = ["Na1 Na 0 0 0", "Cl1 Cl 2.7 2.7 2.7"]
    text = cif(sites, columns=CARTESIAN)
    assert one(text).positions[1].tolist() == pytest.approx([2.7] * 3)
    bare = "data_x\n" + text[text.index("loop_\n_atom") :]
    assert not one(bare).pbc.any()
    fractional = bare.replace("Cartn", "fract")
    assert "no cell" in one(fractional)


def test_cartesian_axes_that_are_not_those_of_the_cell_are_refused():
    def axes(matrix):
        rows = [(i, j, matrix[i][j]) for i in range(3) for j in range(3)]
        return "\n".join(f"_atom_sites_Cartn_tran_matrix_{i + 1}{j + 1} {x}" for i, j, x in rows)

    for matrix, fine in ((5.43 * np.eye(3), True), (5.43 * np.eye(3)[[1, 2, 0]], False)):
        text = cif(["Na1 Na 0 0 1"], f"{IDENTITY}{axes(matrix)}\n", columns=CARTESIAN)
        assert isinstance(one(text), str) is not fine


def test_places_too_large_to_be_numbers_are_refused():
    assert "not finite" in one(cif(["Na1 Na 1e999 0 0"]))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1", "utf-8"])
def test_encodings_and_line_ends_and_compression(tmp_path, encoding):
    text = cif(SILICON, f"_publ_title 'Über Säure'\n{IDENTITY}")
    (tmp_path / "a.cif").write_bytes(text.replace("\n", "\r\n").encode(encoding))
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress(text.encode(encoding)))
    for name in ("a.cif", "a.cif.gz"):
        (entry,) = entries_of(tmp_path / name)
        assert str(entry.atoms.symbols) == "Si"


def test_a_file_that_grows_without_end_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(opening, "LARGEST", 1 << 20)
    (tmp_path / "a.cif.gz").write_bytes(gzip.compress(b"\0" * (1 << 21)))
    with pytest.raises(DataError, match="larger than 1 MiB"):
        opening.read_text(tmp_path / "a.cif.gz")
    assert "larger than 1 MiB" in next(entries_of(tmp_path / "a.cif.gz")).reason


def test_type_symbols_in_capitals_are_what_they_say():
    assert formula(cif(["NA1 NA 0 0 0", "CL1 CL .5 .5 .5"])) == {"Na": 1, "Cl": 1}
