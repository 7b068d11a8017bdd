"""Every ill of data that the doctor must find, made on purpose, and sound data beside it."""

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.consistency import judge
from matkit.data.dataset import DEFAULT_KEYS, read_dataset
from matkit.data.inspection import KnownElements, inspect
from matkit.data.labels import STRESS_UNITS, LabelKeys
from matkit.data.stress_checks import volume_trend
from matkit.units import GPA
from tests.data.sets import labelled, rattled_copper, save, strained_copper


def examine(tmp_path, known=None, keys=DEFAULT_KEYS, **sets):
    problems = {name: [] for name in sets}
    read = {
        name: read_dataset(save(tmp_path / f"{name}.extxyz", frames), keys, problems[name])
        for name, frames in sets.items()
    }
    return inspect(read, known, problems)


def found(report, check, name="train"):
    return [finding for finding in report.findings[name] if finding.check == check]


def severity(report, check, name="train"):
    return [finding.severity for finding in found(report, check, name)]


def stressed(factor, frames=None):
    frames = strained_copper(8) if frames is None else frames
    return [labelled(atoms, stress=factor * atoms.get_stress()) for atoms in frames]


def test_sound_data(tmp_path):
    report = examine(tmp_path, train=strained_copper(6) + rattled_copper(6))
    assert report.ok
    assert {f.severity for f in report.findings["train"]} <= {"fine", "note"}
    assert severity(report, "stress unit and sign") == ["fine"]
    assert severity(report, "net forces") == ["fine"]
    assert severity(report, "duplicates") == ["fine"]
    (energies,) = report.residuals.values()
    assert len(energies) == 12


@pytest.mark.parametrize(("unit", "factor"), [("eV/A3", 1), ("GPa", 1 / GPA), ("kbar", 10 / GPA)])
@pytest.mark.parametrize("sign", [1, -1])
def test_unit_and_sign_of_stress_from_energies(tmp_path, unit, factor, sign):
    report = examine(tmp_path, train=stressed(sign * factor))
    units, signs = found(report, "stress unit"), found(report, "stress sign")
    assert [f.fix for f in units] == ([f"--stress-unit {unit}"] if unit != "eV/A3" else [])
    assert [f.fix for f in signs] == (["--stress-sign vasp"] if sign < 0 else [])
    assert report.ok == (unit == "eV/A3" and sign > 0)
    # What it recommends mends it.
    keys = LabelKeys(stress_unit=unit, stress_sign="ase" if sign > 0 else "vasp")
    assert examine(tmp_path, keys=keys, train=stressed(sign * factor)).ok


def loose(sign, factor=1.0):
    """Strained structures whose fractional coordinates differ too."""
    frames = []
    for i, atoms in enumerate(strained_copper(14)):
        atoms.rattle(0.03, seed=i)
        atoms = labelled(atoms)
        frames.append(labelled(atoms, stress=sign * factor * atoms.get_stress()))
    return frames


@pytest.mark.parametrize(("sign", "expected"), [(1, "fine"), (-1, "problem")])
def test_sign_of_stress_from_volumes(tmp_path, sign, expected):
    report = examine(tmp_path, train=loose(sign))
    assert severity(report, "stress sign") == [expected]
    assert severity(report, "stress unit") == ["note"]
    path = save(tmp_path / "a.extxyz", loose(sign))
    correlation, number = volume_trend(read_dataset(path))
    assert number == 14
    assert sign * correlation > 0.9


def test_size_of_stress_is_a_suspicion_only(tmp_path):
    report = examine(tmp_path, train=loose(1, 1 / GPA))
    assert severity(report, "stress unit") == ["warning"]
    assert "--stress-unit GPa" in found(report, "stress unit")[0].fix


def test_stress_that_cannot_be_decided_says_so(tmp_path):
    report = examine(tmp_path, train=rattled_copper(6))
    texts = [f.message for f in report.findings["train"] if f.check.startswith("stress ")]
    assert len(texts) == 2
    assert all("could not be decided" in text for text in texts)


def test_stress_that_fits_no_unit(tmp_path):
    report = examine(tmp_path, train=stressed(7.0))
    assert "0.143 times the work of the stress, which fits no unit" in str(report.findings)


def test_an_asymmetric_stress(tmp_path):
    frames = strained_copper(2)
    for atoms in frames:
        atoms.info["REF_stress"] = np.array([1.0, 0.2, 0, 0, 1, 0, 0, 0, 1])
    assert severity(examine(tmp_path, train=frames), "stress symmetry") == ["problem"]


@pytest.mark.parametrize(
    ("ratios", "unit", "sign"),
    [
        ([1.0, 1.1, 0.9], "eV/A3", 1),
        ([-GPA] * 3, "GPa", -1),
        ([1.0, 1.0], None, 1),  # too few
        ([1.0, -1.0, 1.0, -1.0], None, 1),  # no agreement
        ([3.0, 3.0, 3.0], None, 1),  # no unit
    ],
)
def test_judging(ratios, unit, sign):
    verdict = judge(ratios, [1.0] * len(ratios), STRESS_UNITS)
    assert (verdict.unit, verdict.sign) == (unit, sign)
    assert verdict.pairs == len(ratios)


def test_missing_forces_are_found(tmp_path):
    frames = rattled_copper(4)
    frames[2] = labelled(frames[2], forces=None)
    report = examine(tmp_path, train=frames)
    (finding,) = found(report, "missing forces")
    assert finding.severity == "problem"
    assert "train.extxyz[2]" in finding.message
    assert "--forces-key" in finding.fix
    assert not report.ok


def test_no_forces_at_all(tmp_path):
    report = examine(tmp_path, train=[labelled(atoms, forces=None) for atoms in rattled_copper(4)])
    assert severity(report, "missing forces") == ["warning"]


def test_no_energies_at_all(tmp_path):
    report = examine(tmp_path, train=[bulk("Cu"), bulk("Ag")])
    assert severity(report, "missing energy") == ["problem"]
    assert report.e0s == {}


def test_stress_missing_in_some_crystals(tmp_path):
    frames = strained_copper(4)
    frames[1] = labelled(frames[1], stress=None)
    assert severity(examine(tmp_path, train=frames), "missing stress") == ["warning"]
    molecules = [labelled(molecule("H2O")), *strained_copper(3)]
    assert severity(examine(tmp_path, train=molecules), "missing stress") == []


def test_mixed_keys_are_found(tmp_path):
    frames = rattled_copper(4)
    frames[0].info["REF_energy"] = -1.0
    (finding,) = found(examine(tmp_path, train=frames), "mixed energy")
    assert finding.severity == "problem"
    assert "REF_energy; 3 structures have it elsewhere only" in finding.message


def test_nan_is_found(tmp_path):
    frames = rattled_copper(4)
    frames[0] = labelled(frames[0], energy=np.nan)
    frames[1].positions[0] = np.nan
    report = examine(tmp_path, train=frames)
    texts = [finding.message for finding in found(report, "unusable")]
    assert len(texts) == 2
    assert "Expected finite positions" in texts[0]
    assert "train.extxyz[0]: energy (energy of the ASE calculator) is NaN" in texts[1]
    assert severity(report, "unusable") == ["problem"] * 2


def test_net_forces_are_found_and_can_be_taken_out(tmp_path):
    frames = [labelled(a, forces=a.get_forces() + np.array([0, 0, 0.1])) for a in rattled_copper(4)]
    (finding,) = found(examine(tmp_path, train=frames), "net forces")
    assert finding.severity == "warning"
    assert "of 4 structures" in finding.message
    assert "0.400 eV/Å in the median" in finding.message
    again = examine(tmp_path, keys=LabelKeys(zero_net_force=True), train=frames)
    assert severity(again, "net forces") == ["fine"]


def test_forces_that_are_placeholders(tmp_path):
    frames = rattled_copper(3) + strained_copper(3)  # zero by symmetry in the strained ones
    assert severity(examine(tmp_path, train=frames), "zero forces") == []
    frames[1] = labelled(frames[1], forces=np.zeros((4, 3)))
    (finding,) = found(examine(tmp_path, train=frames), "zero forces")
    assert finding.severity == "problem"
    assert "1 structures" in finding.message
    assert "train.extxyz[1]" in finding.message


def test_large_forces(tmp_path):
    frames = rattled_copper(4)
    frames[1] = labelled(frames[1], forces=np.array([[60.0, 0, 0], [-60, 0, 0], [0] * 3, [0] * 3]))
    (finding,) = found(examine(tmp_path, train=frames), "large forces")
    assert "train.extxyz[1] (60.0)" in finding.message


def steps(factor):
    """A copper cell on its way, in small steps."""
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.2, seed=1)
    move = np.random.default_rng(0).normal(size=(4, 3)) * 0.03
    frames = []
    for _ in range(8):
        atoms.positions += move
        one = labelled(atoms)
        frames.append(labelled(one, forces=factor * one.get_forces()))
    return frames


@pytest.mark.parametrize(
    ("factor", "text"),
    [
        (1.0, None),
        (-1.0, "have the wrong sign"),
        (0.529177 / 27.211386, "seem to be in hartree/bohr"),
        (-1 / 0.0433641, "seem to be in kcal/mol/A and have the wrong sign"),
    ],
)
def test_forces_are_compared_with_energies(tmp_path, factor, text):
    (finding,) = found(examine(tmp_path, train=steps(factor)), "forces and energies")
    assert finding.severity == ("fine" if text is None else "problem")
    assert text is None or text in finding.message


def test_energy_outliers(tmp_path):
    frames = rattled_copper(12)
    frames[5] = labelled(frames[5], energy=frames[5].get_potential_energy() + 40)
    (finding,) = found(examine(tmp_path, train=frames), "energy outliers")
    assert "of 1 structures" in finding.message
    assert "train.extxyz[5]" in finding.message


def test_mixed_levels_of_theory(tmp_path):
    frames = rattled_copper(12)
    for i in range(0, 12, 2):
        frames[i] = labelled(frames[i], energy=frames[i].get_potential_energy() - 4000)
    assert "problem" in severity(examine(tmp_path, train=frames), "reference energies")


def test_energies_per_atom_are_found(tmp_path):
    frames = [atoms * (1, 1, 1 + i % 3) for i, atoms in enumerate(strained_copper(9))]
    frames = [labelled(atoms) for atoms in frames]
    assert severity(examine(tmp_path, train=frames), "energy per atom") == []
    wrong = [labelled(a, energy=a.get_potential_energy() / len(a) - 50) for a in frames]
    assert severity(examine(tmp_path, train=wrong), "energy per atom") == ["problem"]


@pytest.mark.parametrize(("energy", "expected"), [(3.5, "fine"), (-3000.0, "problem")])
def test_isolated_atoms_are_compared(tmp_path, energy, expected):
    atom = Atoms("Cu", info={"config_type": "IsolatedAtom"})
    report = examine(tmp_path, train=[labelled(atom, energy=energy), *rattled_copper(3)])
    assert severity(report, "isolated atoms") == [expected]
    assert severity(report, "missing forces") == []


def test_unknown_elements(tmp_path):
    water = labelled(molecule("H2O"))
    known = KnownElements("base", (1, 6, 8))
    assert severity(examine(tmp_path, known, train=[water]), "elements") == ["fine"]
    (finding,) = found(examine(tmp_path, known, train=[water, *rattled_copper(2)]), "elements")
    assert (finding.severity, finding.message) == ("problem", "base does not know Cu")
    assert "matkit finetune adds them" in finding.fix
    fixed = KnownElements("base", (1, 6, 8), "it is of another kind")
    (finding,) = found(examine(tmp_path, fixed, train=[*rattled_copper(2)]), "elements")
    assert "cannot add them to this one (it is of another kind)" in finding.fix


def test_atoms_too_close(tmp_path):
    frames = rattled_copper(3)
    frames[1].positions[1] = frames[1].positions[0] + [0, 0, 0.7]
    (finding,) = found(examine(tmp_path, train=frames), "distances")
    assert finding.severity == "warning"
    assert "train.extxyz[1] (0.27)" in finding.message


def test_copies_within_a_set(tmp_path):
    frames = rattled_copper(3)
    frames.append(labelled(frames[0], energy=frames[0].get_potential_energy() + 0.04))
    (finding,) = found(examine(tmp_path, train=frames), "duplicates")
    assert finding.severity == "warning"
    assert "differ by 10 meV/atom" in finding.message


def test_leakage_is_found(tmp_path):
    train, test = rattled_copper(4), rattled_copper(3, seed=1)
    assert examine(tmp_path, train=train, test=test).ok
    turned = train[2].copy()
    turned.rotate(33, (1, 2, 3), rotate_cell=True)
    report = examine(tmp_path, train=train, test=[*test, labelled(turned)])
    (finding,) = found(report, "leakage", "train and test")
    assert finding.severity == "problem"
    assert "test.extxyz[3] = " in finding.message
    assert "train.extxyz[2]" in finding.message
    assert not report.ok


def test_near_duplicates_are_a_warning(tmp_path):
    train, test = rattled_copper(4), rattled_copper(2, seed=1)
    step = train[1].copy()
    step.rattle(0.005, seed=9)
    report = examine(tmp_path, train=train, valid=[*test, labelled(step)])
    assert report.ok
    (finding,) = found(report, "near duplicates", "train and valid")
    assert "valid.extxyz[2] ~ " in finding.message


def test_nothing_but_isolated_atoms(tmp_path):
    report = examine(tmp_path, train=[labelled(Atoms("Cu"))], test=rattled_copper(2))
    assert report.ok
    assert "1 isolated atoms" in found(report, "size")[0].message
