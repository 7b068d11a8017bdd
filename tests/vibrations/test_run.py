import json
from importlib import import_module

import numpy as np
import pytest
from ase import Atoms
from ase.build import fcc111, molecule
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms, FixBondLength

from matkit.calculator import MatkitCalculator
from matkit.errors import ConfigError, IgnoredConditionError, SimulationError, StructureError
from matkit.hessians.calculators import difference_hessian
from matkit.vibrations import vibrations
from tests.simulate.calculators import Springs as Misbehaving
from tests.vibrations.springs import ammonia, carbon_dioxide, nitrogen, springs


def test_a_molecule_is_relaxed_first():
    start = ammonia()
    start.rattle(0.05, seed=1)
    result = vibrations(start, springs(constant=20.0))
    expected = vibrations(ammonia(), springs(constant=20.0))
    assert (result.reason, result.message) == ("converged", "")
    assert result.steps > 0
    assert start.calc is None
    assert result.modes.frequencies == pytest.approx(expected.modes.frequencies, abs=0.5)
    assert result.thermochemistry.symmetry_number == 3
    assert result.thermochemistry.geometry == "nonlinear"


@pytest.mark.parametrize("method", ["autograd", "finite-difference"])
def test_methods_agree(method):
    result = vibrations(nitrogen(), springs(), method=method)
    assert result.method == method
    assert result.modes.frequencies == pytest.approx([2 * 535.8], rel=0.2)
    exact = vibrations(nitrogen(), springs())
    assert result.modes.frequencies == pytest.approx(exact.modes.frequencies, abs=1e-3)


def test_any_ase_calculator():
    result = vibrations(molecule("H2O"), EMT(), method="finite-difference")
    work = result.atoms.copy()
    work.calc = EMT()
    assert len(result.modes.frequencies) == 3
    assert result.energy == pytest.approx(work.get_potential_energy())
    assert np.linalg.norm(work.get_forces()) == pytest.approx(result.gradient_norm)


def test_a_structure_that_is_not_relaxed_is_said():
    start = ammonia()
    start.rattle(0.02, seed=1)
    result = vibrations(start, springs(constant=20.0), relax=False)
    assert result.reason == "done"
    assert f"the gradient norm is {result.gradient_norm:.4g} eV/Å" in result.message
    stopped = vibrations(start, springs(constant=20.0), steps=1)
    assert stopped.reason == "max_steps"
    assert not stopped.converged
    assert "gradient norm" in stopped.message


def test_imaginary_modes_leave_no_thermochemistry():
    result = vibrations(nitrogen(), springs(constant=-30.0), relax=False)
    assert result.thermochemistry is None
    assert "expected 0 imaginary modes for a minimum, got 1" in result.message


def test_transition_state():
    result = vibrations(nitrogen(), springs(constant=-30.0), relax=False, transition_state=True)
    assert result.message == ""
    assert result.thermochemistry.geometry == "linear"
    with pytest.raises(ConfigError, match="leaves the transition state"):
        vibrations(nitrogen(), springs(), transition_state=True)


def test_single_atom():
    result = vibrations(Atoms("N", info={"spin": 4}), springs(ignore_charge=True))
    assert len(result.modes.frequencies) == 0
    assert result.thermochemistry.geometry == "monatomic"


def test_open_shells_are_warned_of():
    assert vibrations(nitrogen(), springs()).message == ""
    with pytest.raises(IgnoredConditionError, match="spin 3, but this model"):
        vibrations(nitrogen(), springs(), spin=3)
    result = vibrations(nitrogen(), springs(ignore_charge=True), spin=3)
    assert "open shell (multiplicity 3)" in result.message
    assert result.thermochemistry.spin == 3


def test_a_mode_that_no_molecule_has_is_not_called_converged():
    """Hydrogen is the fastest, with 4401 1/cm."""
    result = vibrations(ammonia(), springs(constant=60.0))
    assert (result.reason, result.converged, result.thermochemistry) == ("implausible", False, None)
    assert "1/cm: none is above 5000 1/cm" in result.message


def test_a_hessian_that_contradicts_the_forces_is_said(monkeypatch):
    def wrong(self, *args, **kwargs):
        return -2 * difference_hessian(args[0], self, range(len(args[0])))

    monkeypatch.setattr(MatkitCalculator, "get_hessian", wrong)
    result = vibrations(nitrogen(), springs())
    assert result.reason == "implausible"
    assert "the Hessian does not agree with the forces" in result.message


def test_infrared_activity_is_beside_the_modes():
    result = vibrations(ammonia(), springs())
    assert result.row()["infrared"] == [True] * 6
    assert vibrations(nitrogen(), springs()).row()["infrared"] == [False]


def test_linear_molecule():
    result = vibrations(carbon_dioxide(), springs(cutoff=2.5))
    assert len(result.modes.frequencies) == 4
    assert result.thermochemistry is None  # these springs do not resist bending
    assert "flat modes (below 1 1/cm), got 2" in result.message


def test_frozen_atoms_have_modes_but_no_thermochemistry():
    slab = fcc111("Cu", (1, 1, 2), vacuum=6.0)
    slab.pbc = True
    slab.set_constraint(FixAtoms([0]))
    result = vibrations(slab, EMT(), method="finite-difference")
    assert len(result.modes.frequencies) == 3
    assert not result.modes.vectors[:, 0].any()
    assert result.thermochemistry is None
    assert result.row()["infrared"] is None
    assert "frozen" in result.message


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda atoms: atoms.set_pbc(True), "matkit phonons"),
        (lambda atoms: atoms.set_constraint(FixBondLength(0, 1)), "FixAtoms, got FixBondLengths"),
        (lambda atoms: atoms.set_constraint(FixAtoms([0, 1])), "holds all of them"),
        (lambda atoms: atoms.info.update(charge=1), "13 electrons"),
        (lambda atoms: atoms.positions.fill(np.nan), "NaN"),
    ],
)
def test_structures_that_are_refused(change, message):
    atoms = nitrogen()
    atoms.set_cell([8, 8, 8])
    change(atoms)
    with pytest.raises(StructureError, match=message):
        vibrations(atoms, springs())


def test_methods_that_are_not_offered():
    with pytest.raises(ConfigError, match="'autogradd'. Did you mean 'autograd'"):
        vibrations(nitrogen(), springs(), method="autogradd")
    with pytest.raises(ConfigError, match="EMT has no.*Known: finite-difference"):
        vibrations(nitrogen(), EMT())
    with pytest.raises(ConfigError, match="predicts no Hessians"):
        vibrations(nitrogen(), springs(), method="predict")


def test_differences_of_forces():
    atoms = ammonia()
    atoms.rattle(0.02, seed=2)
    exact = springs().get_hessian(atoms)
    atoms.set_constraint(FixAtoms([0]))
    found = difference_hessian(atoms, springs(), range(4))
    assert found == pytest.approx(exact, abs=1e-4)
    partial = difference_hessian(atoms, springs(), [1, 2])
    assert partial[3:9] == pytest.approx(exact[3:9], abs=1e-4)
    assert partial[:, 3:9] == pytest.approx(exact[:, 3:9], abs=1e-4)
    assert not partial[9:, :3].any()


@pytest.mark.parametrize(
    ("failure", "error", "message"),
    [("nan", SimulationError, "ended with 'nan'"), ("interrupt", KeyboardInterrupt, None)],
)
def test_failing_relaxations(failure, error, message):
    calc = Misbehaving(fail_at=1, failure=failure)
    with pytest.raises(error, match=message):
        vibrations(nitrogen(), calc, method="finite-difference")


def test_rows_are_json():
    row = json.loads(json.dumps(vibrations(nitrogen(), springs()).row(), allow_nan=False))
    assert len(row["frequencies"]) == 1
    assert row["thermochemistry"]["symmetry_number"] == 2
    assert row["imaginary"] == 0


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'modez'"):
        import_module("matkit.vibrations").modez  # noqa: B018
