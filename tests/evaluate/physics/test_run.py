import builtins
from importlib import import_module

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111
from ase.calculators.emt import EMT

from matkit.errors import StructureError
from matkit.evaluate.physics.crystal_checks import (
    elastic_constants,
    energy_conservation,
    equation_of_state,
    lattice_vibrations,
)
from matkit.evaluate.physics.options import PhysicsOptions
from matkit.evaluate.physics.report import crystal_rows, document, figures, lines
from matkit.evaluate.physics.run import evaluate_physics
from matkit.simulate.options import RelaxOptions
from tests.evaluate.physics import potentials
from tests.phonons.lattice import argon, morse


def copper():
    return bulk("Cu", a=3.59)


class Twisted(EMT):
    """Forces that no energy belongs to."""

    def calculate(self, *given):
        super().calculate(*given)
        pull = self.results["forces"]
        self.results["forces"] = pull + 0.5 * np.roll(pull, 1, axis=1)


class Noisy(EMT):
    """Energies with wiggles over the volume."""

    def calculate(self, *given):
        super().calculate(*given)
        self.results["energy"] += 0.1 * np.sin(8 * self.atoms.get_volume() / len(self.atoms))


@pytest.fixture(scope="module")
def result():
    options = PhysicsOptions(md_steps=10, min_length=4.0)
    return evaluate_physics(EMT(), [bulk("Cu"), bulk("Al")], options)


def test_a_good_potential_passes(result):
    kinds = [check.kind for check in result.checks if check.subject == "Cu"]
    assert kinds == ["equation of state", "energy conservation", "phonons", "elastic constants"]
    diatomics = [check.subject for check in result.checks if check.kind == "diatomic"]
    assert diatomics == ["Cu-Cu", "Al-Al", "Al-Cu"]
    crystals = [check for check in result.checks if check.kind != "diatomic"]
    assert {check.verdict for check in crystals} == {"pass"}
    assert document(result)["tally"]["pass"] >= 8


def test_lengths_volumes_and_moduli_are_told(result):
    head, first, second = crystal_rows(result)
    assert head[0] == "crystal"
    assert (first[0], second[0]) == ("Cu", "Al")
    facts = result.checks[3].facts
    volume = result.crystals["Cu"].get_volume()
    assert facts["equilibrium_volume"] == pytest.approx(volume, rel=1e-3)
    assert float(first[2]) == pytest.approx(volume, rel=1e-3)
    assert "-" not in first
    assert first[2] in lines(result)


def test_every_curve_is_drawn(result):
    assert list(figures(result)) == ["equation of state", "energy conservation", "diatomic"]


def test_only_what_is_asked_for_is_checked():
    options = PhysicsOptions(checks=["elastic"])
    (check,) = evaluate_physics(EMT(), [copper()], options).checks
    assert check.kind == "elastic constants"
    assert "bulk modulus against" in check.reason()


def test_a_quick_check_is_small_but_for_what_was_given():
    small = PhysicsOptions(quick=True, pairs=4).sized()
    assert (small.crystals, small.pairs, small.md_steps) == (1, 4, 100)
    assert PhysicsOptions(pairs=4).sized().crystals == 3
    result = evaluate_physics(
        EMT(), [bulk("Cu"), bulk("Al")], PhysicsOptions(quick=True, checks=["eos"])
    )
    assert [check.subject for check in result.checks] == ["Cu"]


def test_named_crystals_are_all_looked_at():
    options = PhysicsOptions(checks=["eos"], crystals=1, struct=["a", "b"])
    result = evaluate_physics(EMT(), [bulk("Cu"), bulk("Al")], options)
    assert [check.subject for check in result.checks] == ["Cu", "Al"]


def test_crystals_of_the_same_formula_are_told_apart():
    options = PhysicsOptions(checks=["eos"], struct=["a"])
    result = evaluate_physics(EMT(), [bulk("Cu"), bulk("Cu", a=3.5)], options)
    assert [check.subject for check in result.checks] == ["Cu", "Cu (2)"]
    assert [row[0] for row in crystal_rows(result)] == ["crystal", "Cu", "Cu (2)"]


def test_without_crystals_pairs_are_of_the_elements_of_the_model():
    result = evaluate_physics(EMT(), [], PhysicsOptions(pairs=1), species=[79])
    assert [check.subject for check in result.checks] == ["Au-Au"]
    assert lines(result).count("\n") == 1


def test_forces_that_no_energy_belongs_to_are_found():
    atoms = bulk("Cu")
    check = energy_conservation(atoms, Twisted(), 40)
    assert check.verdict == "fail"
    assert "drift" in check.reason() or check.failure
    assert energy_conservation(atoms, EMT(), 40).verdict == "pass"


def test_an_interruption_is_no_failure_of_the_model():
    class Interrupted(EMT):
        calls = 0

        def calculate(self, *given):
            self.calls += 1
            if self.calls > 3:
                raise KeyboardInterrupt
            super().calculate(*given)

    with pytest.raises(KeyboardInterrupt):
        energy_conservation(copper(), Interrupted(), 40)


def test_energies_with_wiggles_are_found():
    check = equation_of_state(copper(), Noisy())
    assert check.verdict == "fail"
    assert "roughness" in check.reason()


def test_an_unstable_crystal_is_found():
    """A square lattice of pairs that prefer to be close packed."""
    simple = Atoms("Ar", cell=3.9 * np.eye(3), pbc=True)
    vibrations = lattice_vibrations(simple, morse(), 8.0)
    assert "lowest frequency" in vibrations.reason()
    assert vibrations.verdict == "fail"
    strains = elastic_constants(simple, morse(), None)
    assert "softest strain" in strains.reason()
    assert lattice_vibrations(argon(), morse(), 8.0).verdict == "pass"


def test_stresses_that_do_not_fit_the_energy_are_found():
    check = elastic_constants(copper(), EMT(), bulk_modulus=200.0)
    assert check.verdict == "fail"
    assert check.reason().startswith("bulk modulus against the equation of state")


def test_a_crystal_that_does_not_come_to_rest_fails(monkeypatch):
    none = RelaxOptions(steps=0, relax_cell=True)
    monkeypatch.setattr(import_module("matkit.evaluate.physics.run"), "RELAXATION", none)
    (check,) = evaluate_physics(EMT(), [bulk("Cu", a=3.9)], PhysicsOptions(checks=["eos"])).checks
    assert (check.kind, check.failure) == ("relaxation", "not at rest after 0 steps")


def test_numbers_that_are_none_fail_and_stop_nothing():
    calc = potentials.faulty(lambda distance: distance * np.nan)
    result = evaluate_physics(calc, [argon(), argon()], PhysicsOptions(checks=["eos"]))
    assert [check.kind for check in result.checks] == ["relaxation"] * 2
    assert not result.passes


def test_a_check_that_breaks_off_fails_and_stops_nothing(monkeypatch):
    def broken(*given):
        raise StructureError("atoms coincide")

    monkeypatch.setattr(import_module("matkit.evaluate.physics.run"), "energy_conservation", broken)
    options = PhysicsOptions(checks=["nve", "elastic"])
    first, second = evaluate_physics(EMT(), [copper()], options).checks
    assert (first.verdict, first.failure) == ("fail", "atoms coincide")
    assert second.verdict == "pass"


def test_phonons_without_phonopy_are_left_out(monkeypatch):
    load = builtins.__import__

    def without(name, *given):
        if name.startswith("phonopy"):
            raise ImportError(name)
        return load(name, *given)

    monkeypatch.setattr(builtins, "__import__", without)
    check = lattice_vibrations(copper(), EMT(), 5.0)
    assert check.verdict == "skipped"
    assert 'pip install "matkit[phonons]"' in check.reason()


def test_slabs_and_molecules_are_refused():
    slab = fcc111("Cu", (1, 1, 3), vacuum=7.0)
    for atoms in (slab, Atoms("Cu2", [[0, 0, 0], [2, 0, 0]])):
        with pytest.raises(StructureError, match="Expected crystals"):
            evaluate_physics(EMT(), [atoms], PhysicsOptions())


def test_an_equation_of_state_of_numbers_that_are_none():
    calc = potentials.faulty(lambda distance: distance * np.nan)
    assert equation_of_state(argon(), calc).failure == "an energy is not a number"
    assert equation_of_state(fcc111("Cu", (1, 1, 3), vacuum=7.0), EMT()).verdict == "skipped"
