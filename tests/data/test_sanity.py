"""Labels that look right and are wrong: each is found, and sound ones are not accused."""

import numpy as np
import pytest
import torch
from ase import Atoms
from ase.build import bulk, molecule

from matkit.data.dataset import read_dataset
from matkit.data.labels import STRESS_UNITS, LabelKeys
from matkit.data.model_checks import check_with_model
from matkit.data.sanity import judge_labels, problems, refuse_problems
from matkit.data.stress_checks import check_stress
from matkit.errors import DataError
from matkit.units import GPA, HARTREE, KCAL_PER_MOL
from tests.data.sets import labelled, rattled_copper, save, strained_copper


def read(tmp_path, frames, **keys):
    return read_dataset(save(tmp_path / "a.extxyz", frames), LabelKeys(**keys))


def judged(tmp_path, frames, **keys):
    """The findings that are not good, by what was looked at."""
    found, _ = judge_labels(read(tmp_path, frames, **keys))
    return {f.check: f for f in found if f.severity not in ("fine", "note")}


def energies(atoms: Atoms, value: float) -> Atoms:
    return labelled(atoms, energy=value)


def test_sound_data(tmp_path):
    assert judged(tmp_path, strained_copper(6) + rattled_copper(6)) == {}


def test_energies_of_zero_are_placeholders(tmp_path):
    found = judged(tmp_path, [energies(atoms, 0.0) for atoms in rattled_copper(3)])
    assert found["placeholder energies"].severity == "problem"
    some = rattled_copper(6)
    some[1:3] = [energies(atoms, 0.0) for atoms in some[1:3]]
    assert (
        "2 of 6 energies are exactly zero" in judged(tmp_path, some)["placeholder energies"].message
    )


def test_one_energy_of_zero_may_be_where_energies_are_counted_from(tmp_path):
    frames = rattled_copper(6)
    lowest = min(atoms.get_potential_energy() for atoms in frames)
    frames = [energies(atoms, atoms.get_potential_energy() - lowest) for atoms in frames]
    assert judged(tmp_path, frames)["placeholder energies"].severity == "warning"


def test_equal_energies_of_different_structures_are_placeholders(tmp_path):
    found = judged(tmp_path, [energies(atoms, -3.5) for atoms in rattled_copper(4)])
    assert found["placeholder energies"].severity == "problem"
    assert "placeholder energies" not in judged(tmp_path, [rattled_copper(1)[0]] * 4)


def test_forces_of_zero_everywhere_are_placeholders(tmp_path):
    frames = [labelled(atoms, forces=np.zeros((4, 3))) for atoms in rattled_copper(3)]
    assert judged(tmp_path, frames)["zero forces"].severity == "problem"


@pytest.mark.parametrize(("offset", "severity"), [(-720000.0, "problem"), (-30000.0, "warning")])
def test_energies_in_single_precision(tmp_path, offset, severity):
    frames = [
        energies(atoms, float(np.float32(atoms.get_potential_energy() + offset)))
        for atoms in rattled_copper(6, size=0.3)
    ]
    finding = judged(tmp_path, frames)["rounded energies"]
    assert finding.severity == severity
    step = 1000 * np.spacing(np.float32(-offset)) / 4
    assert f"steps of {step:.3g} meV/atom" in finding.message
    exact = [
        energies(atoms, atoms.get_potential_energy() + offset)
        for atoms in rattled_copper(6, size=0.3)
    ]
    assert "rounded energies" not in judged(tmp_path, exact)


def test_energies_per_atom_do_not_grow(tmp_path):
    frames = [atoms * (1, 1, 1 + i % 2) for i, atoms in enumerate(rattled_copper(8))]
    total = [labelled(atoms) for atoms in frames]
    assert "energy per atom" not in judged(tmp_path, total)
    wrong = [energies(atoms, atoms.get_potential_energy() / len(atoms) - 3.5) for atoms in total]
    assert judged(tmp_path, wrong)["energy per atom"].fix == "--energy-unit eV/atom"
    assert "energy per atom" not in judged(tmp_path, wrong, energy_unit="eV/atom")


@pytest.mark.parametrize(
    "key", ["converged", "scf_converged", "electronic_converged", "is_converged"]
)
@pytest.mark.parametrize("value", [False, "no", 0])
def test_calculations_that_did_not_converge(tmp_path, key, value):
    frames = rattled_copper(3)
    frames[1].info[key] = value
    assert "a.extxyz[1]" in judged(tmp_path, frames)["convergence"].message
    frames[1].info[key] = True
    assert "convergence" not in judged(tmp_path, frames)


def test_an_unfinished_relaxation_is_no_unconverged_calculation(tmp_path):
    frames = rattled_copper(3)
    frames[1].info["geometry_converged"] = False
    frames[2].info["unconverged"] = True
    assert "for 1" not in str(found := judged(tmp_path, frames))
    assert found["convergence"].message.startswith("1 structures")


def heads(*names):
    frames = rattled_copper(len(names))
    for atoms, name in zip(frames, names, strict=True):
        if name:
            atoms.info["head"] = name
    return frames


def test_several_heads_are_refused_and_one_can_be_read(tmp_path):
    frames = heads("pbe", "r2scan", "pbe")
    finding = judged(tmp_path, frames)["levels of theory"]
    assert (finding.severity, finding.fix) == ("problem", "take one of them: --head pbe")
    assert "pbe (2), r2scan (1)" in finding.message
    dataset = read(tmp_path, frames, head="pbe")
    assert [source[-3:] for source in dataset.sources] == ["[0]", "[2]"]
    assert judged(tmp_path, frames, head="pbe") == {}
    with pytest.raises(DataError, match=r"No structure has the head 'b3lyp'. Heads .*: pbe \(2\)"):
        read(tmp_path, frames, head="b3lyp")


def test_one_head_is_fine_and_some_without_are_not(tmp_path):
    assert judged(tmp_path, heads("pbe", "pbe")) == {}
    assert "none (1)" in judged(tmp_path, heads("pbe", ""))["levels of theory"].message


@pytest.mark.parametrize("key", ["config_weight", "energy_weight", "config_forces_weight"])
def test_weights_of_structures_are_not_ignored_in_silence(tmp_path, key):
    frames = rattled_copper(3)
    frames[2].info[key] = 2.0
    assert f"1 structures have a {key}" in judged(tmp_path, frames)["weights"].message
    frames[2].info[key] = 1.0
    assert judged(tmp_path, frames) == {}


@pytest.mark.parametrize(
    ("charges", "severity"), [([0, 0, 0], None), ([0, 1, 0], "problem"), ([1, 1, 1], "warning")]
)
def test_charges_that_no_model_is_told_of(tmp_path, charges, severity):
    frames = rattled_copper(3)
    for atoms, charge in zip(frames, charges, strict=True):
        atoms.info["charge"] = charge
    found = judged(tmp_path, frames)
    assert [f.severity for f in found.values()] == ([severity] if severity else [])


@pytest.mark.parametrize(
    "kind", ["IsolatedAtom", "isolated_atom", "isolated-atom", "Isolated atoms"]
)
def test_isolated_atoms_under_other_names_in_small_cells(tmp_path, kind):
    atom = Atoms("Cu", cell=[8, 8, 8], pbc=True, info={"config_type": kind})
    dataset = read(tmp_path, [labelled(atom, energy=3.5), *rattled_copper(2)])
    assert dataset.isolated() == {29: 3.5}


def test_an_atom_alone_in_a_large_periodic_box_is_isolated(tmp_path):
    large = Atoms("Cu", cell=[15, 15, 15], pbc=True)
    crystal = bulk("Cu")
    sheared = Atoms("Cu", cell=[[15, 0, 0], [14, 3, 0], [0, 0, 15]], pbc=True)
    wire = Atoms("Cu", cell=[2.5, 0, 0], pbc=[True, False, False])
    frames = [labelled(atoms, energy=3.5, stress=None) for atoms in (large, crystal, sheared, wire)]
    assert read(tmp_path, frames).isolated_indices() == [0]


def test_several_atoms_called_isolated_are_not(tmp_path):
    frames = rattled_copper(2)
    frames[0].info["config_type"] = "IsolatedAtom"
    assert read(tmp_path, frames).isolated_indices() == []


def test_isolated_atoms_of_two_calculations(tmp_path):
    atoms = [labelled(Atoms("Cu"), energy=energy) for energy in (3.5, 3.6)]
    found = judged(tmp_path, [*atoms, *rattled_copper(3)])
    assert "Cu 3.5000 to 3.6000 eV" in found["isolated atoms"].message


def test_the_stress_of_a_slab_says_that_it_depends_on_the_vacuum(tmp_path):
    frames = rattled_copper(3)
    for atoms in frames:
        atoms.pbc = [True, True, False]
    assert judged(tmp_path, frames)["stress of a vacuum"].severity == "warning"


def test_a_virial_under_the_name_of_a_stress_by_strained_energies(tmp_path):
    frames = strained_copper(8)
    wrong = [labelled(a, stress=-a.get_volume() * a.get_stress()) for a in frames]
    (finding,) = (f for f in check_stress(read(tmp_path, wrong)) if f.severity == "problem")
    assert "virials, not stresses" in finding.message
    assert finding.fix == "--virials-key KEY"
    for atoms in frames:
        atoms.info["virial"] = atoms.get_stress(voigt=False)
        del atoms.calc.results["stress"]
    (finding,) = (f for f in check_stress(read(tmp_path, frames)) if f.severity == "problem")
    assert "stresses, not virials" in finding.message


@pytest.mark.parametrize("unit", ["GPa", "kbar"])
def test_a_unit_of_stress_is_not_taken_for_a_virial(tmp_path, unit):
    frames = [labelled(a, stress=-a.get_stress() / STRESS_UNITS[unit]) for a in strained_copper(8)]
    found = {f.check for f in check_stress(read(tmp_path, frames)) if f.severity == "problem"}
    assert found == {"stress unit", "stress sign"}


@pytest.mark.parametrize(("scale", "severity"), [(0.529177, "problem"), (1 / 0.529177, "warning")])
def test_positions_in_bohr(tmp_path, scale, severity):
    frames = rattled_copper(3)
    for atoms in frames:
        atoms.set_cell(scale * atoms.cell, scale_atoms=True)
    assert judged(tmp_path, frames)["unit of length"].severity == severity


def truth(structures):
    """What a perfect model says: the labels of the structures that it was given."""
    return {
        "energy": structures.system["energy"],
        "forces": structures.atom["forces"],
        "stress": structures.system["stress"],
    }


def compared(tmp_path, frames, right, known=(29,)):
    """Problems that a comparison with a model finds which knows the right labels."""
    right = read_dataset(save(tmp_path / "right.extxyz", right)).structures
    table = {part.positions.numpy().tobytes(): part for part in right.split()}

    def predict(structures):
        parts = [table[part.positions.numpy().tobytes()] for part in structures.split()]
        every = [truth(part) for part in parts]
        return {key: torch.cat([one[key] for one in every]) for key in every[0]}

    found = check_with_model(read(tmp_path, frames), predict, known, "base")
    return [(f.check, f.message, f.fix) for f in found if f.severity == "problem"]


def large_copper(n=8):
    frames = []
    for i in range(n):
        atoms = bulk("Cu", cubic=True) * (2, 2, 1)
        atoms.set_cell(atoms.cell * (0.97 + 0.01 * i), scale_atoms=True)
        atoms.rattle(0.08, seed=i)
        frames.append(labelled(atoms))
    return frames


def test_a_model_has_nothing_against_right_labels(tmp_path):
    assert compared(tmp_path, large_copper(), large_copper()) == []


@pytest.mark.parametrize(
    ("factor", "fix"),
    [
        (-1, "--forces-sign gradient"),
        (1 / KCAL_PER_MOL, "--forces-unit kcal/mol/A"),
        (-0.529177 / HARTREE, "--forces-unit hartree/bohr --forces-sign gradient"),
        (0.529177, "--forces-unit eV/bohr"),
    ],
)
def test_five_structures_settle_unit_and_sign_of_forces(tmp_path, factor, fix):
    frames = large_copper()
    wrong = [labelled(atoms, forces=factor * atoms.get_forces()) for atoms in frames]
    ((check, message, got),) = compared(tmp_path, wrong, frames)
    assert (check, got) == ("forces and model", fix)
    assert f"are {factor:.4g} times those of base (correlation {np.sign(factor):.3f})" in message


@pytest.mark.parametrize(
    ("factor", "unit"), [(1 / HARTREE, "hartree"), (1 / KCAL_PER_MOL, "kcal/mol"), (1e3, "meV")]
)
def test_energies_in_another_unit_than_the_forces(tmp_path, factor, unit):
    frames = large_copper()
    wrong = [energies(atoms, factor * atoms.get_potential_energy()) for atoms in frames]
    ((check, _, fix),) = compared(tmp_path, wrong, frames)
    assert check == "energies and model"
    assert unit in fix


def test_energies_per_atom_of_structures_of_one_size(tmp_path):
    frames = large_copper()
    wrong = [energies(atoms, atoms.get_potential_energy() / 16) for atoms in frames]
    ((_, _, fix),) = compared(tmp_path, wrong, frames)
    assert "eV/atom" in fix


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        (lambda a: a.get_stress() / GPA, "--stress-unit GPa"),
        (lambda a: -10 * a.get_stress() / GPA, "--stress-unit kbar --stress-sign vasp"),
        (lambda a: -a.get_volume() * a.get_stress(), "--virials-key KEY"),
    ],
)
def test_a_model_settles_unit_and_sign_of_stress(tmp_path, change, fix):
    frames = large_copper()
    wrong = [labelled(atoms, stress=change(atoms)) for atoms in frames]
    ((check, _, got),) = compared(tmp_path, wrong, frames)
    assert check == "stress and model"
    assert got.startswith(fix)  # others may be as good: 160 Å³ is one over GPa


@pytest.mark.parametrize("factor", [1, 1 / HARTREE])
def test_energies_of_different_compositions(tmp_path, factor):
    """One structure of each composition; all count from the model's zero."""
    right = []
    for i, atoms in enumerate(large_copper(6)):
        atoms.numbers[: i % 3] = 47
        right.append(labelled(atoms, energy=-3.5 * 16 + 0.1 * i - 2 * (i % 3), stress=None))
    wrong = [energies(atoms, factor * atoms.get_potential_energy()) for atoms in right]
    found = compared(tmp_path, wrong, right, (29, 47))
    assert [fix for _, _, fix in found] == ([] if factor == 1 else ["--energy-unit hartree"])


def test_shear_stresses_in_the_order_of_vasp(tmp_path):
    frames = []
    for i, atoms in enumerate(large_copper()):
        shear = 0.03 * np.random.default_rng(i).normal(size=(3, 3))
        atoms.set_cell(atoms.cell.array @ (np.eye(3) + shear), scale_atoms=True)
        frames.append(labelled(atoms))
    assert compared(tmp_path, frames, frames) == []
    wrong = [labelled(a, stress=a.get_stress()[[0, 1, 2, 5, 3, 4]]) for a in frames]
    ((check, _, fix),) = compared(tmp_path, wrong, frames)
    assert check == "stress order"
    assert "or 3x3" in fix


def test_few_steps_are_a_suspicion_only(tmp_path):
    atoms, frames = rattled_copper(1)[0], []
    for _ in range(9):
        atoms.positions += 0.03 * np.random.default_rng(0).normal(size=(4, 3))
        frames.append(labelled(labelled(atoms), forces=-labelled(atoms).get_forces()))
    assert judged(tmp_path, frames)["forces and energies"].severity == "problem"
    assert judged(tmp_path, frames[:5])["forces and energies"].severity == "warning"
    odd = [labelled(a, forces=7 * a.get_forces()) for a in frames]
    assert "fits no unit" in judged(tmp_path, odd)["forces and energies"].message


def test_a_stress_under_the_name_of_a_virial_beside_a_model(tmp_path):
    frames = large_copper()
    wrong = [labelled(atoms, stress=None) for atoms in frames]
    for atoms, right in zip(wrong, frames, strict=True):
        atoms.info["virial"] = right.get_stress(voigt=False)
    ((_, message, fix),) = compared(tmp_path, wrong, frames)
    assert fix == "--stress-key KEY"
    assert "no virial" in message


def test_a_model_that_is_wrong_itself_judges_nothing(tmp_path):
    frames, rng = large_copper(), np.random.default_rng(0)
    noise = [
        labelled(a, forces=rng.normal(size=(16, 3)), energy=float(rng.normal()), stress=None)
        for a in frames
    ]
    assert compared(tmp_path, noise, frames) == []


def test_elements_that_the_model_does_not_know_are_passed_over(tmp_path):
    def never(structures):
        raise AssertionError("predicted")

    assert check_with_model(read(tmp_path, [labelled(molecule("H2O"))]), never, [29], "base") == []


def test_problems_are_refused_by_name_or_told(tmp_path):
    findings, _ = judge_labels(read(tmp_path, heads("pbe", "r2scan")))
    with pytest.raises(
        DataError, match=r"training set look wrong:\n  levels of theory: .*--head pbe"
    ):
        refuse_problems(findings, "training", allow=False)
    (told,) = refuse_problems(findings, "training", allow=True)
    assert told.startswith("levels of theory: ")
    assert len(problems(findings)) == 1


def test_what_structures_say_survives_conversion(tmp_path):
    from matkit.data.cached import convert
    from matkit.data.dataset import located_atoms

    path = save(tmp_path / "a.extxyz", heads("pbe", "r2scan"))
    convert(located_atoms([path]), tmp_path / "folder", LabelKeys())
    found, _ = judge_labels(read_dataset(tmp_path / "folder"))
    assert "levels of theory" in {f.check for f in problems(found)}
