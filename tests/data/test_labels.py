import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms
from ase.io import write

from matkit.data.dataset import read_dataset
from matkit.data.labels import LabelKeys
from matkit.errors import DataError, UnknownNameError
from matkit.units import GPA
from tests.data.sets import labelled, save, strained_copper


def water(**info) -> Atoms:
    atoms = molecule("H2O", cell=[6, 7, 8], pbc=True)
    atoms.info.update(info)
    return atoms


def read(tmp_path, frames, **keys):
    return read_dataset(save(tmp_path / "a.extxyz", frames), LabelKeys(**keys))


def test_what_ase_calls_energy_is_found(tmp_path):
    frames = strained_copper(3)
    dataset = read(tmp_path, frames)
    energies = [atoms.get_potential_energy() for atoms in frames]
    assert dataset.structures.system["energy"].tolist() == pytest.approx(energies)
    forces = np.concatenate([atoms.get_forces() for atoms in frames])
    assert np.allclose(dataset.structures.atom["forces"].numpy(), forces, atol=1e-8)
    stress = [atoms.get_stress(voigt=False) for atoms in frames]
    assert np.allclose(dataset.structures.system["stress"].numpy(), stress, atol=1e-7)
    assert dataset.label_report.energy.key == "energy()"
    assert dataset.label_report.energy.count == 3
    assert "3 energy (energy of the ASE calculator)" in str(dataset.label_report)


def test_ref_keys_win_over_the_calculator(tmp_path):
    atoms = strained_copper(1)[0]
    atoms.info["REF_energy"] = -7.5
    atoms.set_array("REF_forces", np.full((4, 3), 0.25))
    dataset = read(tmp_path, [atoms])
    assert float(dataset.structures.system["energy"]) == -7.5
    assert (dataset.structures.atom["forces"] == 0.25).all()
    assert dataset.label_report.energy.others == {"energy()": 1}
    assert dataset.label_report.energy.lost == 0


def test_an_explicit_key_wins_over_all(tmp_path):
    atoms = water(REF_energy=-1.0, dft=-2.0)
    atoms.calc = SinglePointCalculator(atoms, energy=-3.0)
    assert float(read(tmp_path, [atoms], energy_key="dft").structures.system["energy"]) == -2
    assert float(read(tmp_path, [atoms], energy_key="energy").structures.system["energy"]) == -3


def test_missing_labels_are_nan(tmp_path):
    dataset = read(tmp_path, [water(REF_energy=-1.0), water()])
    energy, stress = (dataset.structures.system[key] for key in ("energy", "stress"))
    assert energy.isnan().tolist() == [False, True]
    assert stress.isnan().all()
    assert stress.shape == (2, 3, 3)
    assert dataset.structures.atom["forces"].isnan().all()
    assert dataset.label_report.forces.key is None
    line = "2 structures with 1 energy (REF_energy); no forces; no stress"
    assert str(dataset.label_report) == f"{line} (keys found here: REF_energy)"


def test_forces_of_a_part_of_the_structures(tmp_path):
    full = labelled(strained_copper(1)[0])
    bare = labelled(full, forces=None)
    forces = read(tmp_path, [bare, full, bare]).structures.atom["forces"]
    assert forces.isnan().any(1).tolist() == [True] * 4 + [False] * 4 + [True] * 4


def test_one_place_for_each_label_and_the_others_are_counted(tmp_path):
    old = water()
    old.calc = SinglePointCalculator(old, energy=-3.0)
    dataset = read(tmp_path, [old, water(REF_energy=-1.0), old])
    assert dataset.structures.system["energy"].isnan().tolist() == [True, False, True]
    assert (dataset.label_report.energy.count, dataset.label_report.energy.lost) == (1, 2)
    assert "2 more not used because they are elsewhere" in str(dataset.label_report)


@pytest.mark.parametrize(
    ("unit", "sign", "factor"),
    [("eV/A3", "ase", 1), ("GPa", "ase", GPA), ("kbar", "vasp", -GPA / 10)],
)
def test_units_and_signs_of_stress(tmp_path, unit, sign, factor):
    voigt = np.array([1.0, 2, 3, 4, 5, 6])
    dataset = read(tmp_path, [water(REF_stress=voigt)], stress_unit=unit, stress_sign=sign)
    expected = np.array([[1, 6, 5], [6, 2, 4], [5, 4, 3]]) * factor
    assert np.allclose(dataset.structures.system["stress"][0].numpy(), expected, rtol=1e-12)


def test_nine_numbers_are_a_matrix(tmp_path):
    dataset = read(tmp_path, [water(dft_stress=np.arange(9.0))], stress_key="dft_stress")
    assert dataset.structures.system["stress"].flatten().tolist() == list(range(9))


@pytest.mark.parametrize("keys", [{}, {"virials_key": "w"}])
def test_a_virial_is_minus_stress_times_volume(tmp_path, keys):
    name = keys.get("virials_key", "REF_virials")
    dataset = read(tmp_path, [water(**{name: np.eye(3) * 33.6})], stress_unit="GPa", **keys)
    assert torch.allclose(dataset.structures.system["stress"][0], -0.1 * torch.eye(3).double())


@pytest.mark.parametrize("name", ["REF_virials", "REF_stress", "stress", "virial"])
def test_a_stress_without_a_volume_is_left_out_and_said(tmp_path, name):
    atoms = molecule("H2O")
    atoms.info[name] = np.eye(3)
    dataset = read(tmp_path, [atoms, water(REF_energy=1.0)])
    assert dataset.structures.system["stress"].isnan().all()
    (remark,) = (r for r in dataset.label_report.remarks if r.check == "stress without volume")
    assert remark.severity == "warning"
    assert "a.extxyz[0]" in remark.message


def test_net_forces_can_be_taken_out(tmp_path):
    atoms = water()
    atoms.set_array("REF_forces", np.arange(9.0).reshape(3, 3))
    forces = read(tmp_path, [atoms], zero_net_force=True).structures.atom["forces"]
    assert torch.allclose(forces.sum(0), torch.zeros(3).double())
    assert forces[1].tolist() == [0, 0, 0]


def test_constraints_do_not_touch_forces(tmp_path):
    atoms = strained_copper(1)[0]
    atoms.calc.results["forces"] = np.ones((4, 3))
    atoms.set_constraint(FixAtoms([0]))
    write(tmp_path / "a.traj", atoms)
    assert (read_dataset(tmp_path / "a.traj").structures.atom["forces"] == 1).all()


def test_a_charge_is_not_lost_beside_structures_that_do_not_say(tmp_path):
    both = read(tmp_path, [water(charge=1, spin=2), water(total_charge=0)])
    assert both.structures.system["charge"].tolist() == [1, 0]
    assert both.structures.system["spin"].tolist() == [2, 1]


@pytest.mark.parametrize(
    ("info", "keys", "message"),
    [
        ({"REF_energy": np.nan}, {}, r"\[1\]: energy \(REF_energy\) is NaN or infinite"),
        ({"REF_energy": np.inf}, {}, "NaN or infinite"),
        ({"REF_energy": "low"}, {}, "not made of numbers: 'low'"),
        ({"REF_energy": [1.0, 2.0]}, {}, r"must be one number, got the shape \[2\]"),
        ({"REF_stress": [1.0, 2.0]}, {}, r"must be \[3, 3\] or \[6\], got the shape \[2\]"),
        ({}, {"energy_key": "dft"}, "No structure has energy under the key 'dft'. Keys .*: other"),
        ({}, {"forces_key": "dft"}, "No structure has forces under the key 'dft'"),
        ({}, {"virials_key": "dft"}, "No structure has stress under the key 'dft'"),
    ],
)
def test_bad_labels_are_refused_by_name(tmp_path, info, keys, message):
    with pytest.raises(DataError, match=message):
        read(tmp_path, [water(other=1), water(other=1, **info)], **keys)


def test_forces_of_a_wrong_shape(tmp_path):
    atoms = water()
    atoms.set_array("REF_forces", np.ones((3, 2)))
    with pytest.raises(DataError, match=r"must be \[3, 3\], got the shape \[3, 2\]"):
        read(tmp_path, [atoms])


def test_a_label_that_is_not_used_may_be_wrong(tmp_path):
    atoms = water(REF_energy=-1.0)
    atoms.calc = SinglePointCalculator(atoms, energy=np.nan)
    assert float(read(tmp_path, [atoms]).structures.system["energy"]) == -1


def test_problems_can_be_collected(tmp_path):
    broken = water(REF_energy=-1.0)
    broken.positions[0] = np.nan
    path = save(tmp_path / "a.extxyz", [water(REF_energy=-1.0), broken, water(REF_energy=np.nan)])
    with pytest.raises(DataError, match=r"a.extxyz\[1\]"):
        read_dataset(path)
    problems: list[str] = []
    dataset = read_dataset(path, problems=problems)
    assert dataset.sources == (f"{path}[0]", f"{path}[2]")
    assert dataset.structures.system["energy"].isnan().tolist() == [False, True]
    assert len(problems) == 2


def test_nothing_but_bad_structures(tmp_path):
    broken = water()
    broken.positions[0] = np.nan
    with pytest.raises(DataError, match="Expected structures, got none. .*Expected finite"):
        read_dataset(save(tmp_path / "a.extxyz", [broken]), problems=[])


@pytest.mark.parametrize(
    "keys", [{"stress_unit": "psi"}, {"stress_sign": "-"}, {"forces_sign": "+"}]
)
def test_unknown_units(keys):
    with pytest.raises(UnknownNameError, match="Known:"):
        LabelKeys(**keys)
