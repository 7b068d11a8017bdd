from importlib import import_module

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.calculator import Calculator
from ase.calculators.emt import EMT

from matkit.errors import StructureError
from matkit.evaluate.physics.dynamics import FEWEST, nve


@pytest.mark.parametrize(("symbol", "timestep"), [("Cu", 1.0), ("H", 0.5)])
def test_energy_is_kept(symbol, timestep, monkeypatch):
    monkeypatch.setattr(import_module("matkit.evaluate.physics.dynamics"), "LENGTH", 100.0)
    atoms = bulk("Cu", cubic=True)
    atoms.symbols[0] = symbol
    run = nve(atoms, EMT(), seconds=1000.0)
    assert (run["reason"], run["steps"], run["timestep"]) == ("done", 100 / timestep, timestep)
    assert run["time"][-1] == 100.0
    assert run["total_energy"][0] == 0.0
    assert np.abs(run["total_energy"]).max() < 20
    assert 50 < run["temperature"] < 400
    assert run["drift"] == pytest.approx(
        1000 * np.polyfit(run["time"], run["total_energy"], 1)[0], rel=1e-4, abs=1e-4
    )


class Slow(Calculator):
    """EMT that takes its time, or refuses."""

    implemented_properties = ("energy", "forces")

    def __init__(self, error: Exception | None = None) -> None:
        super().__init__()
        self.error = error

    def calculate(self, atoms=None, properties=("energy",), system_changes=()) -> None:
        super().calculate(atoms, properties, system_changes)
        if self.error is not None:
            raise self.error
        self.results = {"energy": 0.0, "forces": np.zeros((len(atoms), 3))}


def test_the_run_is_shorter_where_steps_are_slow(monkeypatch):
    monkeypatch.setattr(
        import_module("matkit.evaluate.physics.dynamics"), "_time_of_step", lambda atoms, calc: 0.1
    )
    run = nve(bulk("Cu", cubic=True), Slow(), seconds=15.0)
    assert run["steps"] == 150
    run = nve(bulk("Cu", cubic=True), Slow(), seconds=9.0)  # it was skipped
    assert run["steps"] == FEWEST
    skipped = nve(bulk("Cu", cubic=True), Slow(), seconds=1.5)["skipped"]
    assert "0.10 s" in skipped
    assert "more than 9 s" in skipped


def test_dynamics_that_cannot_be_are_skipped():
    assert "single atom" in nve(bulk("Cu"), EMT(), 1.0)["skipped"]
    refusing = Slow(StructureError("atoms coincide"))
    assert nve(bulk("Cu", cubic=True), refusing, 1.0) == {"skipped": "atoms coincide"}
