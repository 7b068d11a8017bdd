"""Relaxation of many structures, in batches where it can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.constraints import FixSymmetry

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import at_precision
from matkit.geometry import to_voigt
from matkit.options import PRECISION, resolve
from matkit.simulate.batched.engine import Finished, RelaxationLoop
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.limits import BatchLimit, BatchSize, check_size
from matkit.simulate.batched.many import Ways, explained, forget, run_many
from matkit.simulate.batched.optimizers import OPTIMIZERS
from matkit.simulate.batched.relax_state import RelaxState
from matkit.simulate.batched.starts import Queue, Start, only_fixed_atoms, with_conditions
from matkit.simulate.cells import cell_filter, fix_symmetry
from matkit.simulate.constraints import Held
from matkit.simulate.endings import MESSAGES, ending
from matkit.simulate.frames import check_input, freeze, hold
from matkit.simulate.inputs import default_calculator
from matkit.simulate.options import RelaxOptions
from matkit.simulate.relaxation import relax
from matkit.simulate.results import Reason, RelaxResult

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

OnResult = Callable[[int, RelaxResult], None]


def relax_many(
    structures: Sequence[AnyStructure],
    calc: BaseCalculator | None = None,
    options: RelaxOptions | None = None,
    *,
    batch_size: BatchSize = "auto",
    on_result: OnResult | None = None,
    **changes: Any,
) -> list[RelaxResult]:
    """Relax many structures, e.g. ``relax_many(crystals, relax_cell=True)``.

    Steps are those of `relax`, but the network computes many structures at once. What batches do
    not know (calculators of others, second derivatives, constraints other than `FixAtoms`) is
    relaxed one by one. A structure that cannot be relaxed costs only itself: its result has the
    reason `error`, and its message says why.

    Args:
        structures: Starts, of ASE or pymatgen; they are not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `RelaxOptions`.
        batch_size: Most structures computed at once; `auto` for as many as are fast and fit.
        on_result: Called with the number and the result of every structure as it ends.
        **changes: Single options by name.

    Returns:
        A result for every structure, in their order. After Ctrl-C those that were under way and
        those not begun have the reason `interrupted`. The wall time of one is that from its first
        step to its last, in which others were computed too.

    Raises:
        ConfigError: an option is unknown or impossible.
    """
    options = resolve(RelaxOptions, options, changes)
    computing = at_precision(default_calculator() if calc is None else calc, PRECISION)
    check_size(batch_size)
    batches = isinstance(computing, MatkitCalculator) and known_to_batches(options)
    ways = Ways(
        suits=lambda atoms: batches and only_fixed_atoms(atoms),
        together=lambda frames, end: _together(frames, computing, options, batch_size, end),
        alone=lambda _, atoms: _alone(atoms, computing, options),
        nothing=_nothing,
    )
    return run_many(structures, ways, on_result)


def known_to_batches(options: RelaxOptions) -> bool:
    """Return whether batches can do what is asked for."""
    known = options.optimizer in OPTIMIZERS and options.hessian is None
    return known and options.cell_mode != "shape"


def _together(
    frames: Mapping[int, Atoms],
    calc: BaseCalculator,
    options: RelaxOptions,
    batch_size: BatchSize,
    end: Callable[[int, RelaxResult], None],
) -> None:
    if not (frames and isinstance(calc, MatkitCalculator)):
        return
    limit = BatchLimit(batch_size, calc.device, calc.neighbors.cutoff)
    clock = _Clock()

    def begin(number: int, atoms: Atoms) -> Start:
        clock.begin(number)
        return _start(number, atoms, calc, options)

    def fail(number: int, error: Exception) -> None:
        end(number, _nothing(frames[number], "error", explained(error)))

    queue = Queue(frames, begin, limit, fail)
    loop = RelaxationLoop(queue, BatchForces(calc, limit), options)
    try:
        for one in loop.run():
            end(one.start.number, _result(one, calc, options, clock.end(one.start.number)))
    except KeyboardInterrupt:
        for one in loop.under_way():
            end(one.start.number, _result(one, calc, options, clock.end(one.start.number)))
        raise


def _start(number: int, atoms: Atoms, calc: MatkitCalculator, options: RelaxOptions) -> Start:
    """Return a start, checked and made symmetric as `relax` does."""
    check_input(atoms)
    work = atoms.copy()
    if options.fix_symmetry:
        fix_symmetry(work)
    if options.relax_cell:
        cell_filter(work, options)
    structures = with_conditions(calc.structures(work), calc.conditions())
    symmetry = next((c for c in work.constraints if isinstance(c, FixSymmetry)), None)
    return Start(number, atoms, structures, symmetry, Held(work))


def _alone(atoms: Atoms, calc: BaseCalculator, options: RelaxOptions) -> RelaxResult:
    forget(calc)
    return relax(atoms, calc, options)


def _result(
    one: Finished, calc: MatkitCalculator, options: RelaxOptions, wall: float
) -> RelaxResult:
    if one.state is None:
        return replace(_nothing(one.start.atoms, one.reason, one.message), wall_time=wall)
    atoms = _frame(one.start.atoms, one.state, calc, options)
    reason, message = one.reason, one.message or MESSAGES.get(one.reason, "")
    if reason in ("converged", "max_steps"):
        reason, message = ending(reason, one.start.held, atoms, calc)
    return RelaxResult(
        atoms=atoms,
        reason=reason,
        steps=int(one.state.steps[0]),
        initial_energy=one.initial_energy,
        energy=float(one.state.energy[0]),
        max_force=float(one.state.max_force[0]),
        max_stress=float(one.state.max_stress[0]) if options.relax_cell else None,
        wall_time=wall,
        message=message,
    )


def _frame(start: Atoms, state: RelaxState, calc: MatkitCalculator, options: RelaxOptions) -> Atoms:
    """Return the structure of a state with its results."""
    state = state.to("cpu")
    atoms = start.copy()
    atoms.set_cell(state.cell[0].numpy())
    atoms.set_positions(state.positions.numpy(), apply_constraint=False)
    if len(calc.potentials) > 1:  # whose members a batch has not kept apart
        atoms.calc = calc
        return freeze(atoms, stress=options.relax_cell)
    results = {"energy": float(state.energy[0]), "forces": state.forces.numpy()}
    if options.relax_cell:
        results["stress"] = to_voigt(state.stress[0]).numpy()
    hold(atoms, results)
    return atoms


def _nothing(atoms: Atoms, reason: Reason, message: str) -> RelaxResult:
    nothing = float("nan")
    return RelaxResult(
        atoms=atoms.copy(),
        reason=reason,
        steps=0,
        initial_energy=nothing,
        energy=nothing,
        max_force=nothing,
        max_stress=None,
        wall_time=0.0,
        message=message,
    )


class _Clock:
    """How long each structure was under way, s."""

    def __init__(self) -> None:
        self._begun: dict[int, float] = {}

    def begin(self, number: int) -> None:
        self._begun[number] = time.perf_counter()

    def end(self, number: int) -> float:
        return time.perf_counter() - self._begun.pop(number)
