"""Molecular dynamics whose thermostat heats or cools."""

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from matkit.errors import ConfigError, SimulationError
from matkit.simulate import MDOptions, md
from tests.simulate.calculators import InterruptedEMT
from tests.simulate.test_dynamics import METHODS, copper, rows
from tests.simulate.test_restart import assert_same, folders, run

__all__ = ["folders"]  # a fixture

RAMPS = {name: options for name, options in METHODS.items() if name != "nve"}
HEATING = {"temperature": 300, "temperature_end": 900}


@pytest.mark.parametrize("method", RAMPS)
def test_a_ramp_that_was_stopped_is_the_one_that_was_not(method, folders):
    whole, parts = folders
    complete = run(whole, **RAMPS[method], **HEATING)
    stopped = run(parts, InterruptedEMT(fail_at=30), **RAMPS[method], **HEATING)
    assert stopped.reason == "interrupted"
    rest = run(parts, **RAMPS[method], **HEATING, restart="auto")
    assert rest.restarted_from in (10, 20)
    assert_same(complete, rest, whole, parts)


@pytest.mark.parametrize("method", RAMPS)
def test_a_ramp_to_the_same_temperature_is_none(method, folders):
    flat, ramp = folders
    one = run(flat, **RAMPS[method])
    two = run(ramp, **RAMPS[method], temperature_end=300)
    assert np.array_equal(one.atoms.positions, two.atoms.positions)
    assert np.array_equal(one.atoms.get_momenta(), two.atoms.get_momenta())


@pytest.mark.slow
@pytest.mark.parametrize("method", RAMPS)
def test_the_temperature_follows_the_ramp(method):
    options = {"steps": 400, "timestep": 4.0, "friction": 0.05, **RAMPS[method]}
    hot = md(copper().repeat((1, 2, 2)), EMT(), temperature=300, temperature_end=1200, **options)
    cold = md(copper().repeat((1, 2, 2)), EMT(), temperature=300, **options)
    assert hot.temperature > 700
    assert cold.temperature < 500


def test_statistics_hold_the_target(tmp_path):
    md(copper(), EMT(), out=tmp_path / "cu", steps=20, stats_every=5, **HEATING)
    targets = [float(row["target_K"]) for row in rows(tmp_path / "cu-stats.csv")]
    assert targets == [300, 450, 600, 750, 900]
    md(copper(), EMT(), out=tmp_path / "flat", steps=5, stats_every=5)
    assert "target_K" not in rows(tmp_path / "flat-stats.csv")[0]


def test_a_ramp_cools_to_absolute_zero_by_langevin():
    options = MDOptions(temperature=500, temperature_end=0, steps=50)
    assert [options.target(step) for step in (0, 25, 50)] == [500, 250, 0]
    assert md(copper(), EMT(), options).converged


def test_the_safety_limit_is_that_of_the_hotter_end():
    """Ten times the highest temperature that is asked for."""
    result = md(copper(), EMT(), temperature=10, temperature_end=5000, steps=5)
    assert result.converged
    hot = bulk("Cu", cubic=True)
    hot.set_momenta(np.full((4, 3), 20.0) * [[1], [-1], [1], [-1]])
    assert md(hot, EMT(), steps=1, temperature_end=9000, max_temperature=100).reason == "exploded"


def test_the_length_of_a_ramp_may_not_change(tmp_path):
    run(tmp_path, steps=20, **HEATING)
    with pytest.raises(SimulationError, match="steps = 20 then, 40 now"):
        run(tmp_path, steps=40, **HEATING, restart="auto")
    with pytest.raises(SimulationError, match="temperature_end = 900.0 then, 800.0 now"):
        run(tmp_path, steps=20, temperature=300, temperature_end=800, restart="auto")


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"ensemble": "nve"}, "temperature_end has no effect in nve"),
        ({"thermostat": "bussi", "temperature_end": 0}, "bussi needs a temperature above 0 K"),
        ({"temperature_end": -1}, "greater than or equal to 0"),
    ],
)
def test_impossible_ramps_are_refused(changes, match):
    with pytest.raises(ConfigError, match=match):
        md(copper(), EMT(), **{"temperature_end": 500, **changes})
