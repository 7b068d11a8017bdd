"""What computes labels: batches equal singles, and every failure stays with its structure."""

import json

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.emt import EMT
from ase.io import write
from ase.units import Bohr, Hartree

from matkit.errors import ConfigError, MissingExtraError, UnknownNameError
from matkit.hessians.differences import symmetrised
from matkit.label import LabellingOptions, label
from matkit.label.calculator_engine import is_factory
from matkit.label.engines import EngineSpec, _load, load_engine
from matkit.label.labels import Labels
from matkit.models import checkpoint
from matkit.models.zoo import load_calculator
from matkit.testing.systems import crystal, slab, water
from tests.evaluate.labelled import network
from tests.label.calculators import matrix_of

QUADRATIC = "tests.label.calculators:Quadratic"


def engine(name: str, options: str = "{}", batch_atoms: int = 40):
    return load_engine(EngineSpec(name, options, "cpu", "float64", batch_atoms))


@pytest.fixture
def model(tmp_path):
    """A tiny model in a file."""
    path = tmp_path / "tiny.safetensors"
    checkpoint.save(network((1, 8, 11, 17)), path, {})
    return str(path)


def test_batches_of_a_model_equal_its_calculator(model):
    structures = [crystal(), water(), slab(), Atoms("O")]
    found = engine(model).labels(structures)
    for atoms, labels in zip(structures, found, strict=True):
        atoms.calc = load_calculator(model, "cpu", "float64")
        assert labels.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-10)
        np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-10)
        if atoms.pbc.all():
            np.testing.assert_allclose(labels.stress, atoms.get_stress(voigt=False), atol=1e-10)
    assert found[0].stress is not None
    assert found[1].stress is None
    assert found[3].stress is None


@pytest.mark.parametrize("batch_atoms", [1, 7, 1000])
def test_displaced_structures_are_computed_in_batches_of_limited_size(model, batch_atoms):
    start = crystal()
    places = start.positions + np.random.default_rng(0).normal(scale=0.05, size=(5, len(start), 3))
    found = engine(model, batch_atoms=batch_atoms).displaced_forces(start, places)
    start.calc = load_calculator(model, "cpu", "float64")
    for forces, positions in zip(found, places, strict=True):
        start.positions = positions
        np.testing.assert_allclose(forces, start.get_forces(), atol=1e-10)


def test_a_bad_structure_does_not_spoil_its_batch(model):
    ion, touching, nan = water(), water(), water()
    ion.info["charge"] = 1
    touching.positions[1] = touching.positions[0]
    nan.positions[0, 0] = np.nan
    structures = [bulk("Cu"), water(), ion, touching, Atoms(), nan, crystal()]
    found = engine(model).labels(structures)
    assert [isinstance(labels, Labels) for labels in found] == [
        *(False, True, False, False, False, False, True)
    ]
    messages = [found[i] for i in (0, 2, 3, 4, 5)]
    expected = ["does not know Cu", "has charge 1", "same place", "empty structure", "NaN"]
    assert all(part in text for part, text in zip(expected, messages, strict=True))
    alone = engine(model).labels([water()])[0]
    np.testing.assert_allclose(found[1].forces, alone.forces, atol=1e-12)


def test_a_batch_that_fails_is_done_one_by_one(model, monkeypatch):
    """As when memory is not enough for all of them, or one of them upsets the model."""
    made = engine(model)
    batch = type(made)._batch

    def at_most_two(self, structures):
        if any(len(atoms) == 8 for atoms in structures):
            raise RuntimeError("out of memory")
        return batch(self, structures)

    monkeypatch.setattr(type(made), "_batch", at_most_two)
    found = made.labels([water(), crystal(), water()])
    assert found[1] == "RuntimeError: out of memory"
    assert all(isinstance(found[i], Labels) for i in (0, 2))


def test_a_committee_is_refused(model, tmp_path):
    checkpoint.save(network((1, 8), seed=1), tmp_path / "tiny2.safetensors", {})
    with pytest.raises(ConfigError, match="a committee of 2"):
        engine(str(tmp_path / "tiny*.safetensors"))


@pytest.mark.parametrize("system", [water, crystal])
def test_hessians_of_a_model_agree(model, system):
    made = engine(model)
    raw = made.difference_hessian(system(), 1e-4)
    exact = made.exact_hessian(system())
    np.testing.assert_allclose(raw, exact, atol=1e-6 * np.abs(exact).max())


def test_any_calculator_by_its_name():
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=0)
    (labels,) = engine("ase.calculators.emt:EMT").labels([atoms])
    atoms.calc = EMT()
    assert labels.energy == pytest.approx(atoms.get_potential_energy())
    np.testing.assert_allclose(labels.forces, atoms.get_forces())
    np.testing.assert_allclose(labels.stress, atoms.get_stress(voigt=False))


def test_the_energy_is_that_of_the_forces():
    (labels,) = engine(QUADRATIC).labels([water()])
    x = water().positions.ravel()
    assert labels.energy == pytest.approx(x @ matrix_of(3) @ x / 2)
    assert labels.stress is None


def test_a_calculator_without_stress_gives_none_of_a_crystal():
    assert engine(QUADRATIC).labels([crystal()])[0].stress is None


def test_an_error_of_a_calculator_is_kept():
    found = engine(QUADRATIC, '{"fail": 3}').labels([water(), Atoms("H")])
    assert found[0] == "RuntimeError: did not\nconverge"
    assert isinstance(found[1], Labels)


def test_hessian_of_a_quadratic_energy_is_its_matrix():
    raw = engine(QUADRATIC).difference_hessian(water(), 0.01)
    hessian, mean, largest = symmetrised(raw)
    np.testing.assert_allclose(hessian, matrix_of(3), atol=1e-10)
    assert largest < 1e-10
    assert 0 < mean <= largest


def test_asymmetry_is_measured_and_taken_out():
    raw = engine(QUADRATIC, '{"skew": 0.25}').difference_hessian(water(), 0.01)
    hessian, mean, largest = symmetrised(raw)
    np.testing.assert_allclose(hessian, matrix_of(3), atol=1e-10)
    assert largest == pytest.approx(0.5)
    assert mean == pytest.approx(0.5 * 8 / 9)  # all but the diagonal


def test_an_ase_calculator_has_no_exact_hessian():
    with pytest.raises(ConfigError, match="Quadratic has no exact Hessian"):
        engine(QUADRATIC).exact_hessian(water())


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("ase.calculators.emt:Nothing", "{}", "Cannot make a calculator by ase"),
        ("no.such.module:EMT", "{}", "No module named"),
        (QUADRATIC, '{"xc": "PBE"}', "with options {'xc': 'PBE'}"),
        ("tests.label.calculators:no_calculator", "{}", "Expected an ASE calculator from"),
        ("sevennet-0", '{"xc": "PBE"}', "takes no calculator_options"),
    ],
)
def test_impossible_calculators(name, options, message):
    with pytest.raises(ConfigError, match=message):
        engine(name, options)


def test_unknown_models_get_a_suggestion():
    with pytest.raises(UnknownNameError, match="Did you mean 'sevennet-0'"):
        engine("sevenet-0")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.b:c", True), ("a:b", True), ("gfn2", False), ("C:\\m.safetensors", False), ("a:", False)],
)
def test_which_names_are_factories(name, expected):
    assert is_factory(name) is expected


def test_tblite_is_asked_for_by_its_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tblite.ase", None)
    _load.cache_clear()
    with pytest.raises(MissingExtraError, match=r"pip install \"matkit\[xtb\]\""):
        engine("gfn2")


class TestXTB:
    """GFN2-xTB by tblite."""

    @pytest.fixture(autouse=True)
    def _tblite(self):
        pytest.importorskip("tblite")
        _load.cache_clear()

    def test_labels_are_those_of_its_own_calculator(self):
        from tblite.ase import TBLite

        atoms = molecule("CH3OH")
        (labels,) = engine("gfn2").labels([atoms])
        atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
        assert labels.energy == pytest.approx(atoms.get_potential_energy(), abs=1e-6)
        np.testing.assert_allclose(labels.forces, atoms.get_forces(), atol=1e-5)

    def test_labels_do_not_depend_on_the_order(self):
        structures = [molecule("H2O"), molecule("CH4"), molecule("H2O")]
        structures[2].rattle(0.1, seed=0)
        forward, backward = (
            engine("gfn2").labels(structures),
            engine("gfn2").labels(structures[::-1]),
        )
        for one, other in zip(forward, backward[::-1], strict=True):
            # Orbitals of another structure change forces by 1e-7; sums round by where arrays lie.
            assert one.energy == pytest.approx(other.energy, abs=1e-10)
            np.testing.assert_allclose(one.forces, other.forces, rtol=0, atol=1e-12)

    def test_charge_and_multiplicity_count(self):
        ion, triplet = molecule("H2O"), molecule("CH2_s3B1d")
        ion.info["charge"] = -1
        triplet.info["spin"] = 3
        found = engine("gfn2").labels([molecule("H2O"), ion, triplet, molecule("CH2_s3B1d")])
        energies = [labels.energy for labels in found]
        assert energies[1] == pytest.approx(-131.50015843891816, abs=1e-3)  # tblite's manual
        assert energies[0] == pytest.approx(-137.96777625229421, abs=1e-3)
        assert abs(energies[2] - energies[3]) > 0.1

    def test_gaps_are_between_the_last_filled_and_the_first_empty_orbital(self):
        from tblite.interface import Calculator

        for name, spin in (("C2H4", 1), ("CH2_s3B1d", 3)):
            atoms = molecule(name)
            atoms.info["spin"] = spin
            (labels,) = engine("gfn2").labels([atoms])
            positions = atoms.positions / Bohr
            theirs = Calculator("GFN2-xTB", atoms.numbers, positions, uhf=spin - 1)
            theirs.set("verbosity", 0)
            found = theirs.singlepoint()
            levels = found["orbital-energies"] * Hartree
            filled = found["orbital-occupations"].reshape(-1, len(levels)).max(axis=0) > 0.5
            expected = levels[~filled].min() - levels[filled].max()
            assert labels.gap == pytest.approx(expected, abs=1e-3)

    def test_twisted_ethylene_has_no_gap(self, tmp_path):
        flat, twisted = molecule("C2H4"), molecule("C2H4")
        first = twisted.get_distances(0, range(6)) < 1.2  # a carbon and its hydrogens
        half = twisted[first]
        half.rotate(90, twisted.positions[1] - twisted.positions[0], center=twisted.positions[0])
        twisted.positions[first] = half.positions
        write(tmp_path / "s.extxyz", [flat, twisted])
        options = LabellingOptions(calculator="gfn2", min_gap=0.5, hessian="finite-difference")
        assert label(tmp_path / "s.extxyz", tmp_path / "out", options).rejected == 1
        rows = map(json.loads, (tmp_path / "out/labels.jsonl").read_text().splitlines())
        kept, left_out = sorted(rows, key=lambda row: row["index"])
        assert kept["gap"] > 3
        assert left_out["reason"] == f"the orbitals' gap {left_out['gap']:.4g} eV, below 0.5"
        assert left_out["gap"] < 0.5

    def test_unknown_options_are_refused(self):
        with pytest.raises(ConfigError, match="Unknown option of gfn1: max_cycles"):
            engine("gfn1", '{"max_cycles": 1}')

    def test_vibrations_of_water(self):
        """Those of ASE's own differences with tblite's calculator, and of the xtb program."""
        from ase.optimize import BFGS
        from ase.vibrations import Vibrations
        from tblite.ase import TBLite

        from matkit.hessians.modes import normal_modes

        atoms = molecule("H2O")
        atoms.calc = TBLite(method="GFN2-xTB", accuracy=0.01, verbosity=0)
        BFGS(atoms, logfile=None).run(fmax=1e-4)
        hessian, mean, _ = symmetrised(engine("gfn2").difference_hessian(atoms, 0.005))
        found = normal_modes(atoms, hessian).frequencies
        assert mean < 1e-3
        # `xtb --ohess`, in the manual of xtb.
        np.testing.assert_allclose(found, [1539.3, 3643.5, 3651.9], atol=3)
        theirs = Vibrations(atoms, delta=0.005, name="unused")
        theirs.cache = {}
        for displacement, moved in theirs.iterdisplace(inplace=False):
            moved.calc = atoms.calc
            theirs.cache[displacement.name] = {"forces": moved.get_forces()}
        np.testing.assert_allclose(found, np.real(theirs.get_frequencies())[6:], atol=1)
