"""The account of one structure in a batch of molecular dynamics: checks, files, restart, result."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from ase import Atoms
from ase.calculators.singlepoint import SinglePointCalculator

from matkit.calculator import MatkitCalculator
from matkit.geometry import to_voigt
from matkit.simulate.batched.integrators import DynamicsState
from matkit.simulate.batched.starts import fixed_atoms
from matkit.simulate.constraints import Held
from matkit.simulate.guard import EVERY, Problem
from matkit.simulate.options import MDOptions
from matkit.simulate.restart import Restart
from matkit.simulate.results import MDResult
from matkit.simulate.run import Run
from matkit.simulate.velocities import set_velocities
from matkit.structures import Structures

# Name of Bussi's own variable in restart files.
TRANSFERRED = "transferred_energy"


class Snapshot(NamedTuple):
    """What the atoms of one structure do now, in ASE's units."""

    positions: np.ndarray
    momenta: np.ndarray
    forces: np.ndarray
    energy: float
    stress: np.ndarray | None
    transferred: float


def snapshots(state: DynamicsState) -> list[Snapshot]:
    """Return what every structure of a state does now."""
    here = state.to("cpu")
    counts = here.n_atoms.tolist()
    positions, momenta, forces = (
        [part.numpy() for part in torch.split(array, counts)]
        for array in (here.positions, here.momenta, here.forces)
    )
    defined = here.stress.isfinite().flatten(1).all(dim=1).tolist()
    stress = to_voigt(here.stress).numpy()
    return [
        Snapshot(
            positions[i],
            momenta[i],
            forces[i],
            float(here.energy[i]),
            stress[i] if defined[i] else None,
            float(here.transferred[i]),
        )
        for i in range(len(counts))
    ]


class Replica(Run):
    """A run whose steps are taken by a batch.

    Args:
        work: Structure without a calculator; it is changed.
        options: Checked options.
        files: Path by kind; empty to write nothing.
        saved: State to go on from; None for a new run.
        committee: Computes recorded frames again, for the deviations of its members.
    """

    def __init__(
        self,
        work: Atoms,
        options: MDOptions,
        files: Mapping[str, Path],
        saved: Restart | None,
        committee: MatkitCalculator | None = None,
    ) -> None:
        super().__init__(work, options, files, saved)
        self._committee = committee
        self._dynamics: Any = None

    def first_state(self, number: int, structures: Structures) -> DynamicsState:
        """Return the state to begin with; nothing is computed for it yet.

        Args:
            number: Place of the structure in the input.
            structures: The structure as a batch of one.
        """
        if self.saved is None:
            set_velocities(self.work, self.options.temperature, self.rng)
        else:
            self.work.set_cell(self.saved.cell)
            self.work.set_positions(self.saved.positions, apply_constraint=False)
            self.work.set_momenta(self.saved.momenta, apply_constraint=False)
        self._held, self._guard = Held(self.work), self._new_guard()
        self.begin = time.perf_counter()
        transferred = 0.0 if self.saved is None else self.saved.integrator.get(TRANSFERRED, 0.0)
        one = torch.ones(1, dtype=torch.float64)
        fields = {name: getattr(structures, name) for name in Structures._scopes()}
        geometry = {
            "positions": torch.tensor(self.work.positions),
            "cell": torch.tensor(self.work.cell.array).unsqueeze(0),
        }
        return DynamicsState(
            **(fields | geometry),
            number=torch.tensor([number]),
            momenta=torch.tensor(self.work.get_momenta()),
            masses=torch.tensor(self.work.get_masses()).unsqueeze(1),
            fixed=fixed_atoms(self.work).unsqueeze(1),
            freedom=one * self.work.get_number_of_degrees_of_freedom(),
            energy=0 * one,
            forces=torch.zeros(len(self.work), 3, dtype=torch.float64),
            stress=torch.zeros(1, 3, 3, dtype=torch.float64),
            transferred=one * float(transferred),
        )

    def open(self, now: Snapshot) -> Problem | None:
        """Test the first frame and open the files; return what is wrong with it."""
        self._take(self.first, now)
        problem = self._test(self.first)
        if problem is not None:
            return problem
        self._dynamics = self._open()
        self.started = True
        if self.saved is None:
            self._keep(self._dynamics, None)
        self._remove_last_good()
        return None

    def is_due(self, step: int) -> bool:
        """Return whether a step is to be tested in full, recorded or saved."""
        every = (EVERY, self.options.stats_every, self.options.traj_every)
        return any(step % n == 0 for n in every) or self.saves(step)

    def saves(self, step: int) -> bool:
        """Return whether a restart file is due, or the run ends."""
        return step % self.options.restart_every == 0 or step == self.options.steps

    def advance(self, step: int, now: Snapshot) -> Problem | None:
        """Test, record and save a step that is due; return what is wrong with it."""
        self._take(step, now)
        problem = self._test(step)
        if problem is not None:
            return problem
        self.step = step
        if self.options.method == "bussi":
            self._dynamics.transferred_energy = now.transferred
        self._keep(self._dynamics, None)
        return None

    def hottest(self) -> float:
        """Return the temperature above which the run stops, K."""
        return self._guard.max_temperature

    def close(self, outcome: Problem) -> MDResult:
        """Close the files and return the result."""
        if self.recorder is not None:
            self.recorder.close()
        return self._result(outcome, time.perf_counter() - self.begin)

    def _take(self, step: int, now: Snapshot) -> None:
        self.work.set_positions(now.positions, apply_constraint=False)
        self.work.set_momenta(now.momenta, apply_constraint=False)
        every = (self.options.stats_every, self.options.traj_every, max(self.options.steps, 1))
        if self._committee is not None and any(step % n == 0 for n in every):
            self.work.calc = self._committee
            return
        results: dict[str, Any] = {"energy": now.energy, "forces": now.forces}
        if now.stress is not None:
            results["stress"] = now.stress
        self.work.calc = SinglePointCalculator(self.work, **results)
