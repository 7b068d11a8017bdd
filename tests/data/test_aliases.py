"""The names that programs give to labels, and labels that stand at two places."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator

from matkit.data.aliases import PLACES, is_label
from matkit.data.dataset import read_dataset
from matkit.data.labels import LabelKeys
from tests.data.sets import save

ARRAY = np.arange(9.0).reshape(3, 3) + 1


def water(**info) -> Atoms:
    atoms = molecule("H2O", cell=[6, 7, 8], pbc=True)
    atoms.info.update(info)
    return atoms


def read(tmp_path, *frames, **keys):
    return read_dataset(save(tmp_path / "a.extxyz", list(frames)), LabelKeys(**keys))


def findings(dataset, check):
    return [remark for remark in dataset.label_report.remarks if remark.check == check]


@pytest.mark.parametrize(
    "name",
    [
        "dft_energy",
        "Energy",
        "TotEnergy",
        "E",
        "U0",
        "total_energy",
        "potential_energy",
        "DFT_energy",
    ],
)
def test_energies_by_other_names(tmp_path, name):
    dataset = read(tmp_path, water(**{name: -2.5}))
    assert float(dataset.structures.system["energy"]) == -2.5


@pytest.mark.parametrize("name", ["force", "Force", "dft_forces", "dft_force", "F", "REF_force"])
def test_forces_by_other_names(tmp_path, name):
    atoms = water()
    atoms.set_array(name, ARRAY)
    assert np.allclose(read(tmp_path, atoms).structures.atom["forces"], ARRAY)


@pytest.mark.parametrize("name", ["gradient", "dft_gradient", "REF_gradient"])
def test_gradients_are_turned_into_forces(tmp_path, name):
    atoms = water()
    atoms.set_array(name, ARRAY)
    assert np.allclose(read(tmp_path, atoms).structures.atom["forces"], -ARRAY)


@pytest.mark.parametrize("name", ["virial", "Virial", "dft_virial", "REF_virial", "virials"])
def test_virials_by_other_names(tmp_path, name):
    dataset = read(tmp_path, water(**{name: np.eye(3)}))
    assert float(dataset.structures.system["stress"][0, 0, 0]) == pytest.approx(-1 / 336)


@pytest.mark.parametrize("name", ["dft_stress", "Stress", "stress_tensor"])
@pytest.mark.parametrize("shape", [(6,), (9,), (3, 3)])
def test_stresses_by_other_names_and_shapes(tmp_path, name, shape):
    matrix = np.array([[1.0, 6, 5], [6, 2, 4], [5, 4, 3]])
    value = np.arange(1.0, 7) if shape == (6,) else matrix.reshape(shape)
    dataset = read(tmp_path, water(**{name: value}))
    assert np.allclose(dataset.structures.system["stress"][0], matrix)


@pytest.mark.parametrize("text", ["1 2 3 4 5 6", "1 6 5 6 2 4 5 4 3", "_JSON [1, 2, 3, 4, 5, 6]"])
def test_a_plain_stress_of_six_numbers_does_not_refuse_the_file(tmp_path, text):
    line = f'Lattice="6 0 0 0 7 0 0 0 8" Properties=species:S:1:pos:R:3 stress="{text}" pbc="T T T"'
    (tmp_path / "a.xyz").write_text(f"1\n{line}\nCu 0 0 0\n")
    dataset = read_dataset(tmp_path / "a.xyz")
    matrix = [[1, 6, 5], [6, 2, 4], [5, 4, 3]]
    assert dataset.structures.system["stress"][0].tolist() == matrix
    assert bool(findings(dataset, "format")) == (len(text.split()) < 9)


def test_a_plain_stress_that_is_not_symmetric_is_not_cut_to_a_triangle(tmp_path):
    line = 'Lattice="6 0 0 0 7 0 0 0 8" Properties=species:S:1:pos:R:3 stress="1 2 0 0 1 0 0 0 1"'
    (tmp_path / "a.xyz").write_text(f"1\n{line}\nCu 0 0 0\n")
    stress = read_dataset(tmp_path / "a.xyz").structures.system["stress"][0].numpy()
    assert not np.allclose(stress, stress.T)


def test_the_order_of_preference(tmp_path):
    atoms = water(REF_energy=-1.0, dft_energy=-4.0, U0=-5.0)
    atoms.calc = SinglePointCalculator(atoms, energy=-2.0)
    assert float(read(tmp_path, atoms).structures.system["energy"]) == -1
    del atoms.info["REF_energy"]
    assert float(read(tmp_path, atoms).structures.system["energy"]) == -2
    assert float(read(tmp_path, atoms, energy_key="U0").structures.system["energy"]) == -5


def test_two_names_with_different_energies_are_a_problem(tmp_path):
    dataset = read(tmp_path, water(dft_energy=-1.0, TotEnergy=-2.0))
    (finding,) = findings(dataset, "two values of energy")
    assert finding.severity == "problem"
    assert "dft_energy, which is used, and at totenergy" in finding.message
    assert "by 1" in finding.message
    assert not findings(read(tmp_path, water(dft_energy=-1.0, E=-1.0)), "two values of energy")
    named = read(tmp_path, water(dft_energy=-1.0, E=-2.0), energy_key="E")
    assert not findings(named, "two values of energy")


def test_a_reference_is_chosen_over_others_on_purpose(tmp_path):
    (finding,) = findings(read(tmp_path, water(REF_energy=-1.0, E=-2.0)), "two values of energy")
    assert finding.severity == "note"


def test_a_free_energy_differs_rightly(tmp_path):
    atoms = water()
    atoms.calc = SinglePointCalculator(atoms, energy=-2.0, free_energy=-2.1)
    dataset = read(tmp_path, atoms)
    assert float(dataset.structures.system["energy"]) == -2
    assert {f.severity for f in findings(dataset, "two values of energy")} <= {"note"}


@pytest.mark.parametrize("sign", [1, -1])
def test_a_virial_that_contradicts_the_stress(tmp_path, sign):
    atoms = water(REF_stress=0.01 * np.eye(3), REF_virials=-sign * 336 * 0.01 * np.eye(3))
    found = findings(read(tmp_path, atoms), "two values of stress")
    assert [f.severity for f in found] == ([] if sign > 0 else ["problem"])
    assert sign > 0 or "a.extxyz[0] (the sign is opposite)" in found[0].message
    named = read(tmp_path, atoms, stress_key="REF_stress")
    assert not findings(named, "two values of stress")


def test_other_things_under_such_names_are_passed_over(tmp_path):
    atoms = water(E="field", u0=[1.0, 2.0], free_energy="low", dft_energy=-1.0)
    atoms.set_array("energies", np.zeros(3))
    dataset = read(tmp_path, atoms)
    assert float(dataset.structures.system["energy"]) == -1
    assert dataset.label_report.energy.others == {}


def test_messages_name_the_keys_that_there_are(tmp_path):
    assert "(keys found here: my_energy)" in str(read(tmp_path, water(my_energy=1.0)).label_report)


def test_every_name_is_known_as_a_label():
    assert all(is_label(name.removesuffix("()")) for names in PLACES.values() for name in names)
    assert not is_label("config_type")
