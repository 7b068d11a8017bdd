"""The loop of molecular dynamics: prepare, then step, test, record and save."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.md.md import MolecularDynamics

from matkit.errors import ConfigError
from matkit.runs.text_files import write_frame
from matkit.simulate.constraints import Held
from matkit.simulate.frames import freeze, has_stress, is_finite
from matkit.simulate.guard import EVERY, Guard, Problem
from matkit.simulate.integrators import at_temperature, get_state, integrator, set_state
from matkit.simulate.options import MDOptions
from matkit.simulate.recorder import Recorder
from matkit.simulate.relaxation import relax
from matkit.simulate.restart import Restart
from matkit.simulate.results import MDResult, OnStep, SimulationProgress
from matkit.simulate.velocities import set_velocities

# Lowest value of the default limit is ten times this temperature, K.
ROOM = 300.0


@dataclass(frozen=True)
class _Good:
    """The last frame that passed every test."""

    atoms: Atoms
    step: int
    temperature: float


class Run:
    """One run of molecular dynamics, new or continued.

    Args:
        work: Structure with its calculator; it is changed.
        options: Checked options.
        files: Path by kind, see `md_files`; empty to write nothing.
        saved: State to go on from; None for a new run.
    """

    def __init__(
        self, work: Atoms, options: MDOptions, files: Mapping[str, Path], saved: Restart | None
    ) -> None:
        self.work, self.options, self.files, self.saved = work, options, files, saved
        self.start = work.copy()
        self.rng = np.random.default_rng(options.seed)
        self.first = saved.step if saved is not None else 0
        self.step = self.first
        self.good: _Good | None = None
        self.recorder: Recorder | None = None
        self.started = False

    def run(self, on_step: OnStep | None = None) -> MDResult:
        """Run to the end, whatever it is."""
        self.begin = time.perf_counter()
        try:
            with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
                outcome = self._simulate(on_step)
        except KeyboardInterrupt:
            outcome = "interrupted", "stopped by the user"
        except Exception as error:
            if not self.started:
                raise
            outcome = self._failure(error)
        finally:
            if self.recorder is not None:
                self.recorder.close()
        return self._result(outcome, time.perf_counter() - self.begin)

    def _simulate(self, on_step: OnStep | None) -> Problem:
        problem = self._prepare() if self.saved is None else self._resume(self.saved)
        if problem is not None:
            return problem
        dynamics = self._open()
        self.started, self.begin = True, time.perf_counter()
        if self.saved is None:
            self._keep(dynamics, on_step)
        self._remove_last_good()
        ramp = self.options.temperature_end is not None
        while self.step < self.options.steps:
            if ramp:
                dynamics = at_temperature(dynamics, self.options, self.step + 1, self.rng)
            dynamics.step()  # type: ignore[attr-defined]
            dynamics.nsteps = self.step + 1
            problem = self._test(self.step + 1)
            if problem is not None:
                return problem
            self.step += 1
            self._keep(dynamics, on_step)
        return "done", ""

    def _prepare(self) -> Problem | None:
        """Minimise, set velocities and equilibrate, as far as asked."""
        if self.options.minimize:
            relaxed = relax(self.work, self.work.calc, fmax=0.05, steps=200)
            if not (relaxed.converged or relaxed.reason == "max_steps"):
                return relaxed.reason, f"during minimisation: {relaxed.message}"
            self.work.set_positions(relaxed.atoms.positions)
        set_velocities(self.work, self.options.temperature, self.rng)
        self._held = Held(self.work)
        self._guard = self._new_guard()
        return self._test(0) or self._equilibrate()

    def _resume(self, saved: Restart) -> Problem | None:
        """Put the saved state into the atoms."""
        self.work.set_cell(saved.cell)
        self.work.set_positions(saved.positions, apply_constraint=False)
        self.work.set_momenta(saved.momenta, apply_constraint=False)
        self._held = Held(self.work)
        self._guard = self._new_guard()
        return self._test(saved.step)

    def _equilibrate(self) -> Problem | None:
        if not self.options.equil_steps:
            return None
        changes = {"ensemble": "nvt", "thermostat": "langevin"}
        langevin = integrator(self.work, self.options.model_copy(update=changes), self.rng)
        for step in range(1, self.options.equil_steps + 1):
            langevin.step()  # type: ignore[attr-defined]
            last = step == self.options.equil_steps
            problem = self._guard.problem(self.work, full=last or step % EVERY == 0)
            if problem is not None:
                return problem[0], f"during equilibration: {problem[1]}"
        self.good = None
        return self._test(0)

    def _new_guard(self) -> Guard:
        present = self.work.get_temperature()
        last = self.options.target(self.options.steps)
        limit = 10 * max(self.options.temperature, last, present, ROOM)
        return Guard(self.options.min_distance, self.options.max_temperature or limit)

    def _test(self, step: int) -> Problem | None:
        """Return what is wrong with the present frame, or keep it if it passes every test."""
        last = step == self.options.steps
        full = step % EVERY == 0 or last or self._is_saved(step) or self.good is None
        problem = self._guard.problem(self.work, full)
        if problem is None and full and (broken := self._held.violated(self.work)):
            problem = "violated", broken
        if problem is None and full:
            self.good = _Good(freeze(self.work), step, float(self.work.get_temperature()))
        return problem

    def _open(self) -> MolecularDynamics:
        """Return the integrator and open the files, once the first frame was computed."""
        stress = has_stress(self.work)
        if self.options.ensemble == "npt" and not stress:
            raise ConfigError(
                "npt needs the stress, which this calculator does not give. Use nvt, or another "
                "calculator."
            )
        dynamics = integrator(self.work, self.options, self.rng)
        self.recorder = Recorder(self.files, self.options, stress)
        if self.saved is None:
            self.recorder.open()
        else:
            set_state(dynamics, self.options.method, self.saved.integrator)
            self.rng.bit_generator.state = dict(self.saved.rng)
            self.recorder.open(self.saved.lengths)
            self._forget()
        return dynamics

    def _remove_last_good(self) -> None:
        """Remove the one file of an older run that this one may not replace."""
        if "last_good" in self.files:
            self.files["last_good"].unlink(missing_ok=True)

    def _keep(self, dynamics: MolecularDynamics, on_step: OnStep | None) -> None:
        """Record, report and save what is due."""
        assert self.recorder is not None
        self.recorder.record(self.step, self.work)
        if on_step is not None:
            on_step(
                SimulationProgress(
                    step=self.step,
                    steps=self.options.steps,
                    energy=float(self.work.get_potential_energy()),
                    temperature=float(self.work.get_temperature()),
                )
            )
        if self._is_saved(self.step):
            self._save(dynamics, self.recorder.lengths())

    def _is_saved(self, step: int) -> bool:
        due = step % self.options.restart_every == 0 or step == self.options.steps
        return due and bool(self.files)

    def _save(self, dynamics: MolecularDynamics, lengths: Mapping[str, int]) -> None:
        Restart(
            step=self.step,
            positions=self.work.get_positions(),
            momenta=self.work.get_momenta(),
            cell=self.work.cell.array.copy(),
            numbers=self.work.numbers,
            integrator=get_state(dynamics, self.options.method),
            rng=self.rng.bit_generator.state,
            lengths=lengths,
            options=self.options.model_dump(),
        ).write(self.files["restart"])
        self._forget()

    def _forget(self) -> None:
        """Drop the calculator's memory, such as a neighbour list with a skin.

        A continued run starts with none. If this one kept its own, sums would run in another
        order and the two would differ in the last digits.
        """
        reset = getattr(self.work.calc, "reset", None)
        if reset is not None:
            reset()

    def _failure(self, error: Exception) -> Problem:
        if not is_finite(self.work):
            return "nan", f"positions or cell are not a number, {error}"
        return "error", f"{type(error).__name__}: {error}"

    def _result(self, outcome: Problem, wall: float) -> MDResult:
        reason, message = outcome
        good = self.good or _Good(self.start, self.first, float("nan"))
        last_good = self.files.get("last_good") if self.good and reason != "done" else None
        if last_good is not None:
            try:
                write_frame(last_good, good.atoms, step=good.step)
            except OSError as error:  # the account of the run is worth more
                last_good, message = None, f"{message}; the last good frame is lost: {error}"
        is_nve = self.options.ensemble == "nve" and self.recorder is not None
        return MDResult(
            atoms=good.atoms,
            reason=reason,
            steps=good.step,
            energy=float(good.atoms.get_potential_energy()) if self.good else float("nan"),
            temperature=good.temperature,
            drift=self.recorder.drift(len(good.atoms)) if is_nve and self.recorder else None,
            steps_per_second=(self.step - self.first) / wall if wall > 0 else 0.0,
            wall_time=wall,
            restarted_from=self.first if self.saved is not None else None,
            last_good=last_good,
            max_forces_std=self.recorder.max_forces_std if self.recorder else None,
            message=message,
        )
