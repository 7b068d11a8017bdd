import json

import numpy as np
import pytest
from ase.build import bulk, molecule
from ase.calculators.emt import EMT

import matkit.simulate
from matkit.errors import ConfigError
from matkit.simulate import singlepoint
from tests.simulate.calculators import Springs


def test_energy_forces_and_stress():
    atoms = bulk("Cu")
    result = singlepoint(atoms, EMT())
    atoms.calc = EMT()
    assert result.converged
    assert result.energy == atoms.get_potential_energy()
    assert np.array_equal(result.stress, atoms.get_stress())
    assert result.forces.shape == (1, 3)
    assert np.array_equal(result.atoms.get_stress(), result.stress)


@pytest.mark.parametrize(
    ("atoms", "calc", "changes"),
    [
        (molecule("H2O"), EMT(), {}),
        (bulk("Cu"), Springs(), {}),
        (bulk("Cu"), EMT(), {"stress": False}),
    ],
)
def test_no_stress_where_there_is_none(atoms, calc, changes):
    assert singlepoint(atoms, calc, **changes).stress is None


def test_the_input_is_not_changed():
    atoms = bulk("Cu")
    singlepoint(atoms, EMT())
    assert atoms.calc is None


@pytest.mark.parametrize("failure", ["nan", "nan energy"])
def test_nan_is_said(failure):
    result = singlepoint(molecule("H2O"), Springs(fail_at=1, failure=failure))
    assert (result.converged, result.reason) == (False, "nan")


def test_rows_are_json():
    row = singlepoint(molecule("H2O"), EMT()).row()
    assert json.loads(json.dumps(row, allow_nan=False))["reason"] == "done"


def test_unknown_options_are_refused():
    with pytest.raises(ConfigError, match="Known: residual, stress"):
        singlepoint(bulk("Cu"), EMT(), pressure=1)


def test_unknown_names_of_the_package():
    with pytest.raises(AttributeError, match="has no attribute 'relaxx'"):
        matkit.simulate.relaxx  # noqa: B018
