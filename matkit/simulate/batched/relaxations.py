"""Relaxation of many structures, in batches where it can be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixSymmetry

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import at_precision
from matkit.data.pymatgen import as_atoms
from matkit.errors import MatkitError
from matkit.geometry import to_voigt
from matkit.options import PRECISION, resolve
from matkit.simulate.batched.engine import Finished, RelaxationLoop
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.limits import BatchLimit, BatchSize
from matkit.simulate.batched.optimizers import OPTIMIZERS
from matkit.simulate.batched.relax_state import RelaxState
from matkit.simulate.batched.starts import Queue, Start, only_fixed_atoms, with_conditions
from matkit.simulate.cells import cell_filter, fix_symmetry
from matkit.simulate.constraints import Held
from matkit.simulate.endings import MESSAGES, ending
from matkit.simulate.frames import check_input
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
    calc = at_precision(default_calculator() if calc is None else calc, PRECISION)
    results: dict[int, RelaxResult] = {}

    def end(number: int, result: RelaxResult) -> None:
        results[number] = replace(result, given=type(structures[number]))
        if on_result is not None:
            on_result(number, results[number])

    together, alone = _sorted_out(structures, calc, options, end)
    try:
        if isinstance(calc, MatkitCalculator) and together:
            _relax_together(together, calc, options, batch_size, end)
        for number, atoms in alone.items():
            end(number, _relax_alone(atoms, calc, options))
    except KeyboardInterrupt:
        pass  # those without a result were not begun
    for number, atoms in (together | alone).items():
        if number not in results:
            end(number, _without_result(atoms, "interrupted", "not started"))
    return [results[number] for number in range(len(structures))]


def _sorted_out(
    structures: Sequence[AnyStructure],
    calc: BaseCalculator,
    options: RelaxOptions,
    end: Callable[[int, RelaxResult], None],
) -> tuple[dict[int, Atoms], dict[int, Atoms]]:
    """Return the structures for batches and those for relaxations of their own."""
    together: dict[int, Atoms] = {}
    alone: dict[int, Atoms] = {}
    batches = isinstance(calc, MatkitCalculator) and works_in_batches(options)
    for number, structure in enumerate(structures):
        try:
            atoms = as_atoms(structure)
        except MatkitError as error:
            end(number, _without_result(Atoms(), "error", f"{type(error).__name__}: {error}"))
            continue
        (together if batches and only_fixed_atoms(atoms) else alone)[number] = atoms
    return together, alone


def works_in_batches(options: RelaxOptions) -> bool:
    """Return whether batches can do what the options ask for."""
    known = options.optimizer in OPTIMIZERS and options.hessian is None
    return known and options.cell_mode != "shape"


def _relax_together(
    frames: Mapping[int, Atoms],
    calc: MatkitCalculator,
    options: RelaxOptions,
    batch_size: BatchSize,
    end: Callable[[int, RelaxResult], None],
) -> None:
    limit = BatchLimit(batch_size, calc.device, calc.neighbors.cutoff)
    clock = _Clock()

    def begin(number: int, atoms: Atoms) -> Start:
        clock.begin(number)
        return _start(number, atoms, calc, options)

    def fail(number: int, error: Exception) -> None:
        text = f"{type(error).__name__}: {error}"
        end(number, _without_result(frames[number], "error", text))

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


def _relax_alone(atoms: Atoms, calc: BaseCalculator, options: RelaxOptions) -> RelaxResult:
    reset = getattr(calc, "reset", None)
    if reset is not None:  # so that results do not depend on the structure before
        reset()
    try:
        return relax(atoms, calc, options)
    except Exception as error:
        return _without_result(atoms, "error", f"{type(error).__name__}: {error}")


def _result(
    one: Finished, calc: MatkitCalculator, options: RelaxOptions, wall: float
) -> RelaxResult:
    if one.state is None:
        return replace(_without_result(one.start.atoms, one.reason, one.message), wall_time=wall)
    atoms = _frame(one.start.atoms, one.state, options)
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


def _frame(start: Atoms, state: RelaxState, options: RelaxOptions) -> Atoms:
    """Return the structure of a state with its results."""
    state = state.to("cpu")
    atoms = start.copy()
    atoms.set_cell(state.cell[0].numpy())
    atoms.set_positions(state.positions.numpy(), apply_constraint=False)
    results = {"energy": float(state.energy[0]), "forces": state.forces.numpy()}
    if options.relax_cell:
        results["stress"] = to_voigt(state.stress[0]).numpy()
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def _without_result(atoms: Atoms, reason: Reason, message: str) -> RelaxResult:
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
