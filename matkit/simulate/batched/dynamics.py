"""Molecular dynamics of many structures, in batches where it can be."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import at_precision
from matkit.errors import ConfigError
from matkit.options import MD_PRECISION, resolve
from matkit.runs.text_files import refuse_existing
from matkit.simulate.batched.dynamics_loop import DynamicsLoop
from matkit.simulate.batched.forces import BatchForces
from matkit.simulate.batched.integrators import INTEGRATORS
from matkit.simulate.batched.limits import BatchLimit, BatchSize, check_size
from matkit.simulate.batched.many import Ways, explained, forget, run_many
from matkit.simulate.batched.relaxations import relax_many
from matkit.simulate.batched.replicas import Replica
from matkit.simulate.batched.starts import only_fixed_atoms, with_conditions
from matkit.simulate.dynamics import find_restart, md, warn_of_own_forces
from matkit.simulate.frames import check_input
from matkit.simulate.inputs import default_calculator
from matkit.simulate.options import MDOptions
from matkit.simulate.recorder import md_files
from matkit.simulate.results import MDResult, Reason
from matkit.structures import Structures

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

End = Callable[[int, MDResult], None]


@dataclass(frozen=True)
class MDFiles:
    """Where runs write, and what they do with files that are there.

    Attributes:
        bases: Beginning of the names of the files of every run; empty to write nothing.
        restart: `auto` goes on with the restart files that are there.
        overwrite: Replace the files of older runs.
    """

    bases: Sequence[str | Path] = ()
    restart: Literal["auto"] | None = None
    overwrite: bool = False

    def of(self, number: int) -> dict[str, Path]:
        """Return the files of one run by their kind."""
        return md_files(self.bases[number]) if self.bases else {}


def md_many(
    structures: Sequence[AnyStructure],
    calc: BaseCalculator | None = None,
    options: MDOptions | None = None,
    *,
    files: MDFiles = MDFiles(),
    seeds: Sequence[int] | None = None,
    batch_size: BatchSize = "auto",
    on_result: End | None = None,
    on_step: Callable[[int, int], None] | None = None,
    **changes: Any,
) -> list[MDResult]:
    """Run molecular dynamics of many structures, e.g. replicas: ``md_many([atoms] * 64, calc)``.

    In batches are `nve`, and `nvt` by `langevin` and `bussi`, with no constraints or `FixAtoms`.
    Everything else is run one by one. Each run has random numbers, files and a restart file of its
    own, as if it were alone; one that fails costs only itself.

    Args:
        structures: Starts, of ASE or pymatgen; they are not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given.
        options: See `MDOptions`.
        files: Where to write; nothing is written if not given.
        seeds: Seed of every run; that of the options plus the number of the structure if not given.
        batch_size: Most structures computed at once; `auto` for as many as are fast and fit.
        on_result: Called with the number and the result of every run as it ends.
        on_step: Called with the steps done and in all.
        **changes: Single options by name.

    Returns:
        A result for every structure, in their order.

    Raises:
        ConfigError: an option is unknown or impossible, or there are not as many names of files or
            seeds as structures.
        OutputExistsError: there are files of older runs.
    """
    options = resolve(MDOptions, options, changes)
    check_size(batch_size)
    _check_lengths(len(structures), files, seeds)
    if files.restart is None and not files.overwrite:
        numbered = range(len(files.bases))
        refuse_existing(path for number in numbered for path in files.of(number).values())
    computing = at_precision(default_calculator() if calc is None else calc, MD_PRECISION)
    warn_of_own_forces(computing)
    numbers = range(len(structures)) if seeds is None else [s - options.seed for s in seeds]
    each = [options.model_copy(update={"seed": options.seed + n}) for n in numbers]
    many = _ManyRuns(computing, options, each, files, on_step)
    ways = Ways(
        suits=many.suits,
        together=lambda frames, end: many.together(frames, batch_size, end),
        alone=many.alone,
        nothing=_nothing,
    )
    return run_many(structures, ways, on_result)


def known_to_batches(options: MDOptions) -> bool:
    """Return whether batches can do what is asked for."""
    return options.method in INTEGRATORS


@dataclass(frozen=True)
class _ManyRuns:
    """What the runs share."""

    calc: BaseCalculator
    options: MDOptions
    each: Sequence[MDOptions]
    files: MDFiles
    on_step: Callable[[int, int], None] | None

    def suits(self, atoms: Atoms) -> bool:
        is_ours = isinstance(self.calc, MatkitCalculator) and known_to_batches(self.options)
        return is_ours and only_fixed_atoms(atoms)

    def alone(self, number: int, atoms: Atoms) -> MDResult:
        forget(self.calc)
        out = self.files.bases[number] if self.files.bases else None
        restart, overwrite = self.files.restart, self.files.overwrite
        options = self.each[number]
        return md(atoms, self.calc, options, out=out, restart=restart, overwrite=overwrite)

    def together(self, frames: Mapping[int, Atoms], batch_size: BatchSize, end: End) -> None:
        if not (frames and isinstance(self.calc, MatkitCalculator)):
            return
        replicas: dict[int, Replica] = {}
        structures: dict[int, Structures] = {}
        for number, atoms in frames.items():
            try:
                structures[number] = self._structures(atoms, self.calc)
                replicas[number] = self._replica(number, atoms)
            except Exception as error:
                end(number, _nothing(atoms, "error", explained(error)))
        if self.options.minimize:
            self._minimize(replicas, structures, batch_size, end)
        limit = BatchLimit(batch_size, self.calc.device, self.calc.neighbors.cutoff)
        for group in _groups(replicas, structures, limit):
            loop = DynamicsLoop(
                group, BatchForces(self.calc, limit, replay=True), self.options, self.on_step
            )
            try:
                for number, result in loop.run(structures):
                    end(number, result)
            except KeyboardInterrupt:
                for number, result in loop.under_way():
                    end(number, result)
                raise

    def _structures(self, atoms: Atoms, calc: MatkitCalculator) -> Structures:
        check_input(atoms)
        return with_conditions(calc.structures(atoms), calc.conditions())

    def _replica(self, number: int, atoms: Atoms) -> Replica:
        files, options = self.files.of(number), self.each[number]
        saved, source = find_restart(files, self.files.restart)
        if saved is not None:
            saved.check(atoms, options, source)
        members = self.calc if isinstance(self.calc, MatkitCalculator) else None
        committee = members if members is not None and len(members.potentials) > 1 else None
        return Replica(atoms.copy(), options, files, saved, committee)

    def _minimize(
        self,
        replicas: dict[int, Replica],
        structures: dict[int, Structures],
        batch_size: BatchSize,
        end: End,
    ) -> None:
        """Relax the positions of those that begin; those that cannot be relaxed are ended."""
        new = [number for number, replica in replicas.items() if replica.saved is None]
        starts = [replicas[number].work for number in new]
        relaxed = relax_many(starts, self.calc, batch_size=batch_size, fmax=0.05, steps=200)
        for number, result in zip(new, relaxed, strict=True):
            if result.converged or result.reason == "max_steps":
                replicas[number].work.set_positions(result.atoms.positions)
                continue
            message = f"during minimisation: {result.message}"
            end(number, _nothing(replicas.pop(number).start, result.reason, message))
            del structures[number]


def _groups(
    replicas: Mapping[int, Replica], structures: Mapping[int, Structures], limit: BatchLimit
) -> Iterator[dict[int, Replica]]:
    """Give replicas that run together: as many as fit, and either new ones or continued ones."""
    group: dict[int, Replica] = {}
    edges = 0.0

    def order(number: int) -> tuple[bool, int]:
        return replicas[number].saved is None, -len(replicas[number].work)

    for number in sorted(replicas, key=order):
        more = limit.expected_edges(structures[number])
        same = all((r.saved is None) == (replicas[number].saved is None) for r in group.values())
        if group and not (same and limit.admits(len(group) + 1, edges + more)):
            yield group
            group, edges = {}, 0.0
        group[number] = replicas[number]
        edges += more
    if group:
        yield group


def _check_lengths(count: int, files: MDFiles, seeds: Sequence[int] | None) -> None:
    for name, given in (("names of files", files.bases), ("seeds", seeds or ())):
        if given and len(given) != count:
            raise ConfigError(f"Expected as many {name} as structures, {count}; got {len(given)}.")


def _nothing(atoms: Atoms, reason: Reason, message: str) -> MDResult:
    nothing = float("nan")
    return MDResult(
        atoms=atoms.copy(),
        reason=reason,
        steps=0,
        energy=nothing,
        temperature=nothing,
        drift=None,
        steps_per_second=0.0,
        wall_time=0.0,
        message=message,
    )
