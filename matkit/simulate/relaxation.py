"""Relaxation of positions and cell."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.filters import FrechetCellFilter
from ase.optimize import BFGS, FIRE, LBFGS
from ase.optimize.optimize import Optimizer

from matkit.calculator_info import at_precision
from matkit.options import PRECISION, resolve
from matkit.runs.text_files import TextFile, append_frame
from matkit.simulate.cells import cell_filter, fix_symmetry
from matkit.simulate.constraints import Held
from matkit.simulate.endings import MESSAGES, ending
from matkit.simulate.frames import check_input, freeze, is_finite, max_force
from matkit.simulate.inputs import prepare
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep, Reason, RelaxResult, SimulationProgress

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

OPTIMIZERS: dict[str, type[Optimizer]] = {"FIRE": FIRE, "LBFGS": LBFGS, "BFGS": BFGS}


def relax(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: RelaxOptions | None = None,
    *,
    trajectory: str | Path | None = None,
    on_step: OnStep | None = None,
    **changes: Any,
) -> RelaxResult:
    """Relax a structure, e.g. ``relax(atoms, calc, fmax=0.01, relax_cell=True)``.

    Converged means that the largest force on an atom is below `fmax` and, if the cell is
    relaxed, that the largest component of the stress that may still relax is below `smax`. (ASE
    compares the virial per atom with `fmax`; at 0.01 eV that leaves lattice vectors off by 0.3 %.)

    Args:
        structure: Start, of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `RelaxOptions`.
        trajectory: Extended XYZ file for every step; an existing one is replaced.
        on_step: Called after every step.
        **changes: Single options by name.

    Returns:
        Relaxed structure and how it ended. Not-a-number forces, Ctrl-C and errors of the
        calculator after the first step stop the relaxation and keep the last good frame.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator has no such Hessian.
        StructureError: the structure is empty, not finite, has a flat cell, has no cell that
            could be relaxed, or a constraint other than `FixAtoms` where Hessians are used.
    """
    options = resolve(RelaxOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    work = atoms.copy()
    if options.fix_symmetry:
        fix_symmetry(work)
    work.calc = at_precision(calc, PRECISION)
    target: Any = cell_filter(work, options) if options.relax_cell else work
    optimizer = _optimizer(target, options)
    keeper = _Keeper(None if trajectory is None else Path(trajectory), options.steps, on_step)
    result = _Relaxation(work, target, optimizer, options).run(keeper, atoms)
    return replace(result, given=type(structure))


def _optimizer(target: Any, options: RelaxOptions) -> Optimizer:
    if options.optimizer == "RFO":
        from matkit.simulate.optimizers.rfo import RFO  # needs torch, ASE's own do not

        given: dict[str, Any] = {"method": options.hessian, "every": options.hessian_every}
        return RFO(target, **{key: value for key, value in given.items() if value is not None})
    optimizer: Any = OPTIMIZERS[options.optimizer](target, logfile=None)
    if options.hessian is not None:
        from matkit.hessians.start import positive_hessian

        optimizer.H0 = positive_hessian(target, options.hessian)
    made: Optimizer = optimizer
    return made


@dataclass
class _State:
    """A frame worth keeping."""

    atoms: Atoms
    step: int
    max_force: float
    max_stress: float | None
    converged: bool


class _Keeper:
    """Holds the last good frame, and hands every frame to the trajectory and the display."""

    def __init__(self, trajectory: Path | None, steps: int, on_step: OnStep | None) -> None:
        self.trajectory, self.steps, self.on_step = trajectory, steps, on_step
        self.good: _State | None = None
        self.initial_energy = float("nan")
        self._file: TextFile | None = None

    def keep(self, state: _State) -> None:
        """Take the next frame."""
        energy = float(state.atoms.get_potential_energy())
        if self.good is None:
            self.initial_energy = energy
            self._file = TextFile(self.trajectory) if self.trajectory is not None else None
        self.good = state
        if self._file is not None:
            append_frame(self._file, state.atoms, step=state.step)
        if self.on_step is not None:
            force = state.max_force
            self.on_step(
                SimulationProgress(
                    step=state.step, steps=self.steps, energy=energy, max_force=force
                )
            )

    def close(self) -> None:
        """Close the trajectory."""
        if self._file is not None:
            self._file.close()


class _Relaxation:
    """The loop: evaluate, keep, test, step."""

    def __init__(
        self,
        work: Atoms,
        target: Atoms | FrechetCellFilter,
        optimizer: Optimizer,
        options: RelaxOptions,
    ) -> None:
        self.work, self.target, self.optimizer, self.options = work, target, optimizer, options
        self.held = Held(work)

    def run(self, keeper: _Keeper, start: Atoms) -> RelaxResult:
        begin = time.perf_counter()
        reason: Reason
        try:
            reason, message = self._loop(keeper)
        except KeyboardInterrupt:
            reason, message = "interrupted", MESSAGES["interrupted"]
        except Exception as error:
            if keeper.good is None:
                raise
            reason, message = "error", f"{type(error).__name__}: {error}"
        finally:
            keeper.close()
        wall = time.perf_counter() - begin
        good = keeper.good or _State(start.copy(), 0, float("nan"), None, False)
        good.atoms.set_constraint(start.constraints)
        evaluated = good.atoms.calc is not None
        return RelaxResult(
            atoms=good.atoms,
            reason=reason,
            steps=good.step,
            initial_energy=keeper.initial_energy,
            energy=float(good.atoms.get_potential_energy()) if evaluated else float("nan"),
            max_force=good.max_force,
            max_stress=good.max_stress,
            wall_time=wall,
            message=message,
        )

    def _loop(self, keeper: _Keeper) -> tuple[Reason, str]:
        for step in range(self.options.steps + 1):
            if step:
                self.optimizer.step()
                self.optimizer.nsteps = step
            state = self._evaluate(step)
            if state is None:
                return "nan", MESSAGES["nan"]
            keeper.keep(state)
            if state.converged:
                return ending("converged", self.held, self.work, self.work.calc)
        return ending("max_steps", self.held, self.work, self.work.calc)

    def _evaluate(self, step: int) -> _State | None:
        """Return the present frame, or None if something is not a number."""
        if not is_finite(self.work):
            return None
        gradient = self.target.get_forces()
        if not (np.isfinite(gradient).all() and np.isfinite(self.work.get_potential_energy())):
            return None
        force, stress = max_force(self.work), _max_stress(self.target)
        return _State(
            freeze(self.work, stress=self.options.relax_cell),
            step,
            force,
            stress,
            force < self.options.fmax and (stress is None or stress < self.options.smax),
        )


def _max_stress(target: Atoms | FrechetCellFilter) -> float | None:
    """Return the largest component of the stress that the filter still wants to relax."""
    if isinstance(target, Atoms) or target.stress is None:
        return None
    return float(np.abs(target.stress).max())
