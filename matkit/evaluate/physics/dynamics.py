"""Dynamics at constant energy: whether forces are the slope of the energy."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import BaseCalculator

from matkit.errors import MatkitError
from matkit.simulate import MDOptions, md
from matkit.simulate.results import SimulationProgress

# Length of the dynamics in fs and its temperature in K.
LENGTH, TEMPERATURE = 1000.0, 300.0
# Fewer steps say nothing about the drift; slow models may take longer for them, by this factor.
FEWEST, PATIENCE = 100, 6.0
ROWS = 100

Facts = dict[str, Any]


def nve(atoms: Atoms, calc: BaseCalculator, seconds: float) -> Facts:
    """Run up to 1 ps at constant energy, as far as the time allows; see `constant_energy`.

    Args:
        atoms: Structure.
        calc: Calculator of the model.
        seconds: What the run may cost; it is shorter where steps are slow, but not below the
            fewest steps that tell something, unless these take `PATIENCE` times as long.

    Returns:
        What `constant_energy` does, or the reason why it was `skipped`.
    """
    if len(atoms) < 2:
        return {"skipped": "a single atom does not move"}
    try:
        step = _time_of_step(atoms, calc)
        steps = min(int(LENGTH / time_step(atoms)), max(FEWEST, int(seconds / step)))
        if FEWEST * step > PATIENCE * seconds:
            cost = f"{step:.2f} s, so that {FEWEST} steps take more than {PATIENCE * seconds:.0f} s"
            return {"skipped": f"one step takes {cost}"}
        return constant_energy(atoms, calc, steps)
    except MatkitError as error:
        return {"skipped": str(error)}


def constant_energy(atoms: Atoms, calc: BaseCalculator, steps: int) -> Facts:
    """Run dynamics at constant energy from 300 K and return how well the energy is kept.

    The time step is 0.5 fs with hydrogen and 1 fs without.

    Returns:
        `reason` why it ended, `steps`, `timestep` in fs, `drift` in meV/atom/ps, mean
        `temperature` in K, and by `time` in fs the change of the `total_energy` in meV/atom.
        Or the reason why it was `skipped`.
    """
    timestep = time_step(atoms)
    rows: list[tuple[float, float, float]] = []
    every = max(1, steps // ROWS)

    def on_step(state: SimulationProgress) -> None:
        if state.step % every == 0 and state.temperature is not None:
            total = state.energy + 1.5 * len(atoms) * units.kB * state.temperature
            rows.append((state.step * timestep, total, state.temperature))

    options = MDOptions(
        ensemble="nve", steps=steps, timestep=timestep, temperature=TEMPERATURE, stats_every=every
    )
    result = md(atoms, calc, options, on_step=on_step)
    if not rows:
        return {"skipped": f"it could not begin: {result.message}"}
    times, totals, temperatures = (list(column) for column in zip(*rows, strict=True))
    return {
        "reason": result.reason,
        "message": result.message,
        "steps": result.steps,
        "timestep": timestep,
        "drift": result.drift,
        "temperature": float(np.mean(temperatures)),
        "time": times,
        "total_energy": [1000 * (total - totals[0]) / len(atoms) for total in totals],
    }


def time_step(atoms: Atoms) -> float:
    """Return a time step in fs that the fastest vibrations allow."""
    return 0.5 if 1 in atoms.numbers else 1.0


def _time_of_step(atoms: Atoms, calc: BaseCalculator) -> float:
    """Return the seconds that forces take once everything is compiled and prepared."""
    work = atoms.copy()
    work.calc = calc
    work.get_forces()
    work.rattle(0.001, seed=0)
    begin = time.perf_counter()
    work.get_forces()
    return time.perf_counter() - begin
