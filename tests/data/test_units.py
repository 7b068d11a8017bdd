"""Units that files declare and users name, and what becomes of positions and labels."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from matkit.data.dataset import read_dataset
from matkit.data.labels import LabelKeys
from matkit.data.options import LabelOptions
from matkit.data.unit_names import factor, known_units
from matkit.errors import DataError, UnknownNameError
from matkit.units import BOHR, GPA, HARTREE
from tests.data.sets import save


def water(forces=1.0, **info) -> Atoms:
    atoms = molecule("H2O", cell=[6, 7, 8], pbc=True)
    atoms.info.update(info)
    atoms.set_array("REF_forces", np.full((3, 3), forces))
    return atoms


def read(tmp_path, *frames, **keys):
    return read_dataset(save(tmp_path / "a.extxyz", list(frames)), LabelKeys(**keys))


def energy(dataset):
    return float(dataset.structures.system["energy"][0])


def force(dataset):
    return float(dataset.structures.atom["forces"][0, 0])


@pytest.mark.parametrize(
    ("quantity", "unit", "value"),
    [
        ("energy", "Ha", HARTREE),
        ("energy", "Ry", HARTREE / 2),
        ("energy", "kcal mol^-1", 0.0433641),
        ("energy", "KJ/mol", 0.0103643),
        ("energy", "eV/atom", 1.0),
        ("length", "Å", 1.0),
        ("length", "a.u.", BOHR),
        ("forces", "Hartree/Bohr", HARTREE / BOHR),
        ("forces", "kcal/mol/Ang", 0.0433641),
        ("forces", "au", HARTREE / BOHR),
        ("stress", "eV/Å³", 1.0),
        ("stress", "eV/Ang^3", 1.0),
        ("stress", "kilobar", None),
        ("stress", "kBar", GPA / 10),
        ("stress", "au", HARTREE / BOHR**3),
        ("energy", "GPa", None),
        ("forces", "eV", None),
        ("stress", "eV/A", None),
    ],
)
def test_spellings_of_units(quantity, unit, value):
    if value is None:
        with pytest.raises(UnknownNameError, match=f"Unknown {quantity}_unit.*Known: "):
            factor(quantity, unit)
    else:
        assert factor(quantity, unit) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("quantity", ["energy", "length", "forces", "stress"])
def test_units_in_messages_are_known(quantity):
    assert all(factor(quantity, unit) for unit in known_units(quantity))


@pytest.mark.parametrize("name", ["energy-unit", "energy_unit", "Energy_Units", "REF_energy_unit"])
def test_a_declared_unit_of_energy_is_honoured_and_said(tmp_path, name):
    dataset = read(tmp_path, water(REF_energy=-1.0, **{name: "hartree", "force-unit": "eV/A"}))
    assert energy(dataset) == pytest.approx(-HARTREE)
    assert force(dataset) == 1
    texts = [remark.message for remark in dataset.label_report.remarks]
    assert texts == ["energy (REF_energy) of 1 structures converted from hartree"]


def test_forces_follow_the_declared_energies_if_they_declare_nothing(tmp_path):
    assert force(read(tmp_path, water(REF_energy=-1.0, energy_unit="hartree"))) == HARTREE


@pytest.mark.parametrize("word", ["atomic", "metal", "real"])
def test_a_system_of_units(tmp_path, word):
    dataset = read(tmp_path, water(REF_energy=-1.0, units=word))
    expected = {"atomic": HARTREE, "metal": 1.0, "real": 0.0433641}[word]
    assert -energy(dataset) == pytest.approx(expected, rel=1e-5)


def test_a_table_of_units(tmp_path):
    units = {"energy": "rydberg", "forces": "rydberg/bohr"}
    dataset = read(tmp_path, water(REF_energy=-1.0, units=units))
    assert energy(dataset) == pytest.approx(-HARTREE / 2)
    assert force(dataset) == pytest.approx(HARTREE / 2 / BOHR)


def test_a_unit_that_contradicts_the_file_is_refused_but_not_the_same(tmp_path):
    atoms = water(REF_energy=-1.0, energy_unit="hartree")
    with pytest.raises(
        DataError, match=r"a.extxyz\[0\]: energy_unit is eV, but the file .*hartree"
    ):
        read(tmp_path, atoms, energy_unit="eV")
    assert energy(read(tmp_path, atoms, energy_unit="Ha")) == pytest.approx(-HARTREE)


def test_an_unknown_declared_unit_is_refused_once(tmp_path):
    frames = [water(REF_energy=-1.0, energy_unit="cows") for _ in range(3)]
    with pytest.raises(DataError, match="Unknown energy_unit 'cows'"):
        read(tmp_path, *frames)
    problems: list[str] = []
    read_dataset(tmp_path / "a.extxyz", problems=problems)
    assert len(problems) == 1


def test_units_of_the_user(tmp_path):
    atoms = water(REF_energy=-1.0, REF_stress=np.eye(3))
    plain = read(tmp_path, atoms)
    dataset = read(tmp_path, atoms, energy_unit="hartree", length_unit="bohr")
    assert energy(dataset) == pytest.approx(-HARTREE)
    assert force(dataset) == pytest.approx(HARTREE / BOHR)
    assert float(dataset.structures.system["stress"][0, 0, 0]) == pytest.approx(HARTREE / BOHR**3)
    assert np.allclose(dataset.structures.positions, BOHR * plain.structures.positions)
    assert np.allclose(dataset.structures.cell, BOHR * plain.structures.cell)
    apart = read(tmp_path, atoms, energy_unit="hartree", forces_unit="eV/A", stress_unit="GPa")
    assert force(apart) == 1
    assert float(apart.structures.system["stress"][0, 0, 0]) == pytest.approx(GPA)


def test_a_virial_in_other_units_is_an_energy_over_the_volume_in_cubic_angstrom(tmp_path):
    atoms = water(REF_energy=-1.0, virial=-336.0 * np.eye(3))
    dataset = read(tmp_path, atoms, energy_unit="hartree", length_unit="bohr")
    stress = float(dataset.structures.system["stress"][0, 0, 0])
    assert stress == pytest.approx(HARTREE / BOHR**3)


def test_energies_per_atom_can_be_named(tmp_path):
    assert energy(read(tmp_path, water(REF_energy=-2.0), energy_unit="eV/atom")) == -6


def test_gradients_can_be_named(tmp_path):
    assert force(read(tmp_path, water(), forces_sign="gradient")) == -1


def test_positions_that_the_file_declares_in_bohr(tmp_path):
    dataset = read(tmp_path, water(length_unit="bohr"))
    assert float(dataset.structures.cell[0, 0, 0]) == pytest.approx(6 * BOHR)
    assert any("multiplied by 0.529177" in r.message for r in dataset.label_report.remarks)


def test_options_refuse_unknown_units_before_anything_is_read():
    with pytest.raises(ValueError, match="Unknown length_unit 'mile'"):
        LabelOptions(length_unit="mile")
    assert LabelOptions(energy_unit="Ha").label_keys().energy_unit == "Ha"
