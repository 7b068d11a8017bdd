"""The bookkeeping of experiments: who is in which part, what is fitted, which curves are sound."""

import importlib
from itertools import combinations_with_replacement
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from ase import Atoms
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.data import covalent_radii
from ase.geometry import get_distances
from ase.io import read

from matkit import load_calculator
from matkit.builders.geometry import approach
from matkit.data.groups import reduced_formula
from matkit.models import checkpoint
from matkit.models.shipped import shipped
from matkit.train.options import FinetuneOptions, TrainOptions

ROOT = Path(__file__).parents[1]
R = np.linspace(0.5, 6.0, 111)


@pytest.fixture
def universal(monkeypatch):
    """Import a module of experiments/universal by its short name."""
    monkeypatch.syspath_prepend(str(ROOT / "experiments"))
    return lambda name: importlib.import_module(f"universal.{name}")


def test_parts_share_no_formula_and_stay_the_same(universal):
    divide = universal("crystals").divide
    names = [f"X{i}" for i in range(200)]
    divide(names, {"test": 0.25, "valid": 0.05}, first := {})
    divide(reversed(names), {"test": 0.25, "valid": 0.05}, second := {})
    assert first == second
    assert sorted(first) == sorted(names)
    assert [list(first.values()).count(part) for part in ("test", "valid")] == [50, 10]
    divide([*names, "new"], {"test": 1.0}, first)
    assert first == second | {"new": "test"}


def test_a_formula_keeps_its_part_whatever_others_there_are(universal):
    part_of = universal("crystals").part_of
    parts = [part_of(f"X{i}", {"test": 0.25, "valid": 0.05}) for i in range(2000)]
    assert parts == [part_of(f"X{i}", {"test": 0.25, "valid": 0.05}) for i in range(2000)]
    assert parts.count("test") == pytest.approx(500, abs=60)
    assert parts.count("valid") == pytest.approx(100, abs=30)
    assert {*parts} == {"test", "valid", "train"}


def test_structures_of_held_out_frames_are_not_made_more_of(universal, monkeypatch):
    module = universal("crystals")
    found = [bulk(symbol, "diamond", a=5.0) for symbol in ("Si", "Ge", "C")]
    found += [bulk("Si").repeat((2, 1, 1)), Atoms("Si")]
    monkeypatch.setattr(module, "frames", lambda path: [atoms.copy() for atoms in found])
    monkeypatch.setattr(module, "data", lambda *parts: Path(*parts))
    kept = module.ordinary_frames({"Si": "train", "Ge": "test", "C": "valid"}, 2)
    assert [str(atoms.symbols) for atoms in kept] == ["Si2"] * len(module.ORDINARY)
    assert kept[0].info == {"source": module.ORDINARY[0], "group": "Si"}


def test_molecules_meet_no_image(universal):
    found = universal("crystals").molecules()
    assert "H2" in {atoms.get_chemical_formula() for atoms in found}
    for atoms in found:
        assert np.ptp(atoms.positions, axis=0) + 8.0 == pytest.approx(atoms.cell.lengths())
        assert atoms.pbc.all()


@pytest.mark.parametrize(
    ("atoms", "number", "kind"),
    [
        (bulk("NaCl", "rocksalt", a=5.6), 199, "hot"),
        (bulk("NaCl", "rocksalt", a=5.6), 5, "simple"),
        (bulk("NaCl", "rocksalt", a=5.6).repeat(3), 5, "large"),
        (Atoms("SrTiO3"), 5, "other"),
        (Atoms("SrTiO3"), 12, "near"),
    ],
)
def test_what_is_made_of_a_crystal(universal, atoms, number, kind):
    assert universal("dataset").kind_of(atoms, number) == kind


def test_a_set_is_not_finished_with_other_settings(universal, monkeypatch, tmp_path):
    module, made = universal("dataset"), []
    monkeypatch.setattr(module, "STAGES", {"label": lambda out, given: made.append(out)})
    for more, text in (((), None), (("--workers", "1"), None), (("--crystals", "5"), "20000")):
        monkeypatch.setattr("sys.argv", ["dataset", str(tmp_path), "--stages", "label", *more])
        if text is None:
            module.main()
            continue
        with pytest.raises(SystemExit, match=text):
            module.main()
    assert made == [tmp_path]


def test_wrong_stresses_are_not_learnt_from(universal, monkeypatch, tmp_path):
    module = universal("crystals")

    def frames(path):
        made = [bulk(symbol, "diamond", a=5.0) for symbol in ("Si", "Ge", "C", "Sn")]
        for atoms in made:
            labels = {"energy": -1.0, "forces": np.ones((2, 3)), "stress": np.ones(6)}
            atoms.calc = SinglePointCalculator(atoms, **labels)
        return made

    monkeypatch.setattr(module, "frames", frames)
    monkeypatch.setattr(module, "data", lambda *parts: Path(*parts))
    parts = module.write_dft(tmp_path)
    assert sorted(parts.values()) == ["test", "train", "train", "train"]
    for atoms in read(tmp_path / "train.extxyz", ":"):
        wrong = atoms.info["config_type"] == module.WRONG_STRESS
        assert ("REF_stress" in atoms.info) != wrong
        assert (atoms.info["REF_energy"], atoms.arrays["REF_forces"].sum()) == (-1.0, 6.0)
        assert parts[atoms.info["group"]] == "train"
    for family in module.FAMILIES:
        (atoms,) = read(tmp_path / f"test-{family}.extxyz", ":")
        assert "stress" in atoms.calc.results


def test_crystals_of_forbidden_formulas_are_left_out(universal, monkeypatch):
    module, cells = universal("crystals"), []
    for number, symbol in enumerate(("Si", "Ge", "Si", "C")):
        atoms = bulk(symbol, "diamond", a=5.0).repeat((1, 1, 1 + number // 2))
        atoms.info = {"material_id": number, "e_above_hull": 0.0}
        cells.append(atoms)
    monkeypatch.setattr(module, "read_parquet", lambda path: [cell.copy() for cell in cells])
    monkeypatch.setattr(module, "data", lambda *parts: Path(*parts))
    found = module.candidates({"Ge"}, 3, 0)
    assert [atoms.symbols[0] for atoms in found] == ["Si"]
    assert found[0].info == {"source": "mpts_52", "group": "Si"}


def test_one_of_each_element_is_kept(universal):
    one_of_each = universal("dataset").one_of_each
    crystals = [Atoms("NaCl"), Atoms("Na2"), Atoms("KCl")]
    assert one_of_each(crystals) == [crystals[0], crystals[2]]


def test_all_kinds_are_options_of_perturb(universal):
    from matkit.builders.options import PerturbOptions

    dataset = universal("dataset")
    assert {*dataset.TURNS} <= {*dataset.PROFILES}
    for profile in (*dataset.PROFILES.values(), *dataset.SURROUNDINGS.values()):
        assert PerturbOptions(**{**dataset.NOTHING, **profile}).seed == 0


def test_mirror_images_differ_for_a_potential_that_knows_hands(universal):
    class Handed(Calculator):
        implemented_properties = ("energy",)

        def calculate(self, atoms, *rest):
            self.results = {"energy": float(np.linalg.det(atoms.positions[:3]))}

    difference = universal("mirror").difference
    atoms = Atoms("CHFClBr", np.random.default_rng(0).normal(size=(5, 3)), cell=[9] * 3, pbc=True)
    expected = 2e3 * abs(np.linalg.det(atoms.positions[:3])) / 5
    assert difference(atoms, Handed()) == pytest.approx(expected)
    assert difference(atoms, LennardJones()) == pytest.approx(0, abs=1e-6)


@pytest.fixture
def crystals():
    made = [bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6)]
    for atoms in made:
        atoms.info["group"] = str(atoms.symbols)
    return made


@pytest.mark.parametrize("kind", ["adsorbate", "interstitial", "packed"])
def test_surroundings_are_no_known_crystal_and_none_is_too_near(universal, crystals, kind):
    module, molecules = universal("surroundings"), universal("crystals").molecules()[:40]
    assert {*module.KINDS} == {"adsorbate", "interstitial", "packed"}
    made = [*module.surroundings(kind, crystals, molecules, 8, 52, {"ClNa"}, seed=1)]
    assert made == [*module.surroundings(kind, crystals, molecules, 8, 52, {"ClNa"}, seed=1)]
    groups = {"Cu", "NaCl"} if kind != "packed" else {one.info["group"] for one in molecules}
    for atoms in made:
        assert len(atoms) <= 52
        assert atoms.pbc.all()
        assert approach(atoms) > 0.5
        assert atoms.info["group"] in groups
        assert reduced_formula(atoms.numbers) != "ClNa"


def test_adsorbates_touch_the_surface(universal, crystals):
    module, molecules = universal("surroundings"), universal("crystals").molecules()
    for atoms in module.surroundings("adsorbate", crystals[:1], molecules, 5, 52, set(), seed=2):
        guest = np.flatnonzero(atoms.numbers != 29)
        assert 0 < len(guest) <= 4
        _, distances = get_distances(
            atoms.positions[guest], atoms.positions[: guest[0]], atoms.cell, atoms.pbc
        )
        radii = covalent_radii[atoms.numbers[guest]][:, None] + covalent_radii[29]
        assert 0.9 < (distances / radii).min() < 1.9


def test_interstitials_are_one_atom_more(universal, crystals):
    module = universal("surroundings")
    for atoms in module.surroundings("interstitial", crystals, [], 5, 52, set(), seed=3):
        copper = atoms.info["group"] == "Cu"
        perfect = universal("dataset").supercell(crystals[0 if copper else 1], 16, 51)
        assert len(atoms) == len(perfect) + 1
        assert (atoms.positions[:-1] == perfect.positions).all()


def test_errors_of_a_model_that_is_off_by_reference_energies(universal):
    """What one energy per element explains is not counted after the fit; the rest is."""
    errors, frames = universal("errors"), []
    rng = np.random.default_rng(0)
    for count in range(1, 9):
        atoms = bulk("NaCl", "rocksalt", a=5.6).repeat((count % 3 + 1, 1, 1))
        del atoms[: count % 2]
        forces, stress = rng.normal(size=(len(atoms), 3)), rng.normal(size=6)
        atoms.calc = SinglePointCalculator(atoms, energy=-3.0, forces=forces, stress=stress)
        frames.append(atoms)
    off = np.array([2.0 * sum(a.numbers == 11) - sum(a.numbers == 17) for a in frames])
    found = {
        "energy": off - 3.0,
        "forces": np.concatenate([a.get_forces() for a in frames]) + 0.1,
        "stress": np.stack([a.get_stress(voigt=False) for a in frames]),
    }
    compared = errors.compared(frames, found)
    fitted = errors.references([compared])
    assert fitted[[11, 17]] == pytest.approx([2, -1])
    row = errors.row("some", "set", compared, fitted)
    assert row["energy meV/atom"] > 100
    assert row["energy fitted meV/atom"] == pytest.approx(0, abs=1e-9)
    assert row["force eV/Å"] == pytest.approx(0.1)
    assert row["stress GPa"] == pytest.approx(0)


def test_references_do_not_follow_one_bad_frame(universal):
    errors = universal("errors")
    counts = np.zeros((30, 119), dtype=int)
    counts[:, 11], counts[:, 17] = np.arange(1, 31), np.arange(30, 0, -1)
    energy = counts @ np.where(np.arange(119) == 11, 2.0, -1.0)
    energy[-1] += 31 * 10.0
    fitted = errors.references([errors.Errors(counts, energy, np.empty(0), np.empty(0))])
    assert fitted[[11, 17]] == pytest.approx([2, -1], abs=0.02)


def test_labels_of_the_teacher_are_read(universal):
    atoms = bulk("Si")
    atoms.info |= {"REF_energy": -5.0, "REF_stress": np.arange(9.0)}
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    energy, forces, stress = universal("errors").labels(atoms)
    assert energy == -5.0
    assert forces.sum() == 6
    assert stress[2, 0] == 6


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (0.0, []),
        (-50 * np.exp(-(((R - 0.8) / 0.1) ** 2)), ["attractive inside", "hole"]),
        (np.where(np.isclose(R, 0.6), -10.0, 0.0), ["attractive inside"]),
        (np.where(R < 0.52, np.nan, 0.0), ["not finite"]),
    ],
)
def test_holes_of_curves_are_found(universal, change, expected):
    morse = (1 - np.exp(-1.9 * (R - 1.6))) ** 2
    assert universal("diatomics").faults((26, 8), R, morse + change) == expected


@pytest.mark.parametrize(
    ("path", "kind"),
    [("training/universal", TrainOptions), ("finetuning/nequip-universal", FinetuneOptions)],
)
def test_training_configuration(path, kind):
    options = kind(**yaml.safe_load((ROOT / "configs" / f"{path}.yaml").read_text()))
    sources = "".join(path.read_text() for path in (ROOT / "experiments/universal").glob("*.py"))
    assert all(f'"{kind}"' in sources for kind in options.config_type_weights)


def test_short_pairs_repel(universal):
    pairs = [*universal("short").short_dimers([1, 8, 26, 92])]
    kinds = {tuple(atoms.numbers.tolist()) for atoms in pairs}
    # All pairs of hydrogen, oxygen, iron and the element itself.
    assert kinds == {*combinations_with_replacement((1, 8, 26, 92), 2)}
    for atoms in pairs:
        left, right = atoms.arrays["REF_forces"][:, 2]
        assert left == -right < 0
        distance = atoms.get_distance(0, 1)
        if {*atoms.numbers.tolist()} == {1}:  # whose bond of 0.74 Å is longer than its radii
            assert 0.249 < distance < 0.451
        else:
            assert 0.449 < distance < 0.601 * covalent_radii[atoms.numbers].sum()
    oxygen = [atoms for atoms in pairs if set(atoms.numbers) == {8}]
    forces = [atoms.arrays["REF_forces"][1, 2] for atoms in oxygen]
    assert forces == sorted(forces, reverse=True)


def test_closed_shells_repel_as_far_as_bonds_are_long(universal):
    distances = universal("short").distances
    assert distances((1, 2)).max() == pytest.approx(1.4)
    assert distances((2, 26)).max() == pytest.approx(1.4)
    assert distances((9, 36)).max() < 1.2  # krypton fluoride is bound


def test_variants_have_no_forbidden_formula_and_keep_groups_of_atoms(universal):
    module = universal("varied")
    phosphate, salt = Atoms("Na3PO4", cell=[5] * 3), Atoms("KCl", cell=[4] * 3)
    crystals = [phosphate, salt, Atoms("CO2", cell=[4] * 3)]
    for atoms in crystals:
        atoms.info["group"] = str(atoms.symbols)
    made = [*module.variants(crystals, {"ClNa"}, seed=1, count=20)]
    assert made == [*module.variants(crystals, {"ClNa"}, seed=1, count=20)]
    found = {str(atoms.symbols) for atoms in made}
    assert len(found) > 5
    assert not {"NaCl", "CO2"} & found
    for atoms in made:
        if len(atoms) == 8:
            assert (atoms.numbers == 8).tolist() == (phosphate.numbers == 8).tolist()
        assert atoms.info["group"] == module.reduced_formula(atoms.numbers)


def test_variants_go_downhill_and_lost_ones_are_left_out(universal, monkeypatch):
    module = universal("varied")
    wrong = bulk("NaCl", "rocksalt", a=5.6, cubic=True)
    wrong.info["group"] = "NaCl"
    wrong.rattle(0.2, seed=0)
    wrong.set_cell(wrong.cell * 1.05, scale_atoms=True)
    right = wrong.copy()
    (found,) = module.relaxed([wrong])
    assert wrong == right
    assert found.info == wrong.info
    calc = load_calculator("facet-universal", device="cpu")
    before, after = (np.abs(calc.get_forces(atoms)).mean() for atoms in (wrong, found))
    assert after < 0.3 * before
    assert found.get_volume() < wrong.get_volume()
    monkeypatch.setattr(module, "VOLUMES", (0.99, 1.01))
    assert module.relaxed([wrong]) == []


def test_substitution_leads_to_no_held_out_formula(universal, monkeypatch, tmp_path):
    module = universal("dataset")
    monkeypatch.setattr(module, "tested_formulas", lambda: {"ClNa"})

    def write(name, *symbols, kind="relaxed"):
        made = [bulk(s, "rocksalt", a=5.0) if len(s) > 2 else bulk(s) for s in symbols]
        for atoms in made:
            atoms.info["config_type"] = kind
        module.save(tmp_path / f"{name}.extxyz", made)

    write("dft/valid", "KCl")
    write("dft/test-some", "LiCl")
    write("crystals/test-near", "Ge")
    write("crystals/train-near", "Si")
    write("labels/train/labels", "NaCl", "KCl", "LiCl", "Ge", "LiF", kind="substituted")
    write("labels/varied/labels", "Si")
    write("labels/hydrogen/labels", "Cu")
    write("dft/train", "Ag", "Ge")
    write("short", "Au")
    module.join(tmp_path, None)
    joined = [atoms.get_chemical_formula() for atoms in read(tmp_path / "train.extxyz", ":")]
    assert joined == ["FLi", "Si2", "Cu", "Ag", "Ge2", "Au"]


def test_frames_are_damaged_that_the_student_predicts_worse_than_its_parent(universal):
    module = universal("damaged")
    frames = [bulk("Cu"), bulk("NaCl", "rocksalt", a=5.6), bulk("Cu")]
    for atoms, kind in zip(frames, ("near", "far", "near"), strict=True):
        atoms.arrays["REF_forces"] = np.zeros((len(atoms), 3))
        atoms.info["config_type"] = kind
    student = module.force_errors(frames, np.array([[0.3, 0, 0], *[[0.1] * 3] * 2, [0.0] * 3]))
    parent = module.force_errors(frames, np.array([[0.0, 0, 0], *[[0.2] * 3] * 2, [0.0] * 3]))
    np.testing.assert_allclose(student, [0.1, 0.1, 0.0])
    assert module.damaged(student, parent).tolist() == [True, False, False]
    far, near = module.by_family(frames, student, parent)
    assert (far["frames"], near["frames"]) == (1, 2)
    assert (far["damaged"], near["damaged"]) == (0.0, 0.5)
    assert near["student eV/Å"] == pytest.approx(0.05)


def test_predictions_are_made_by_a_process_of_their_own(universal, tmp_path):
    atoms = bulk("NaCl", "rocksalt", a=5.6)
    atoms.rattle(0.05, seed=0)
    found = universal("errors").predicted(tmp_path, "facet-universal", [atoms], "")
    atoms.calc = load_calculator("facet-universal", "cpu", "float64")
    np.testing.assert_allclose(found["forces"], atoms.get_forces(), atol=1e-4)
    np.testing.assert_allclose(found["energy"], atoms.get_potential_energy(), atol=1e-4)


def test_between_two_potentials_are_parts_of_what_changed(universal, tmp_path, monkeypatch):
    before, facts = checkpoint.load(shipped()["facet-universal"])
    after, _ = checkpoint.load(shipped()["facet-universal"])
    with torch.no_grad():
        for weight in after.parameters():
            weight += 0.4
    paths = [tmp_path / "after.safetensors", tmp_path / "out.safetensors"]
    checkpoint.save(after, paths[0], facts)
    command = ["between", "facet-universal", *map(str, paths), "--part", "0.25"]
    monkeypatch.setattr("sys.argv", command)
    universal("between").main()
    found, _ = checkpoint.load(paths[1])
    for one, other in zip(before.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(other, one + 0.1)
