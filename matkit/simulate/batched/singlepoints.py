"""Energies, forces and stresses of many structures, in batches where they can be."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.calculator_info import at_precision
from matkit.geometry import to_voigt
from matkit.options import PRECISION, resolve
from matkit.scopes import cat
from matkit.simulate.batched.forces import BatchForces, Results
from matkit.simulate.batched.limits import BatchLimit, BatchSize, check_size
from matkit.simulate.batched.many import Ways, explained, forget, run_many
from matkit.simulate.batched.starts import Queue, Start, with_conditions
from matkit.simulate.constraints import Held
from matkit.simulate.frames import RESIDUAL, check_input, hold
from matkit.simulate.inputs import default_calculator
from matkit.simulate.options import SinglepointOptions
from matkit.simulate.results import Reason, SinglepointResult
from matkit.simulate.static import result_of, singlepoint
from matkit.structures import Structures
from matkit.symmetrize.residual import mean_residual

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def singlepoint_many(
    structures: Sequence[AnyStructure],
    calc: BaseCalculator | None = None,
    options: SinglepointOptions | None = None,
    *,
    batch_size: BatchSize = "auto",
    on_result: Callable[[int, SinglepointResult], None] | None = None,
    **changes: Any,
) -> list[SinglepointResult]:
    """Compute energies, forces and stresses of many structures.

    A structure that cannot be computed costs only itself, see `relax_many`.

    Args:
        structures: Of ASE or pymatgen; they are not changed.
        calc: Any ASE calculator, those of others one structure at a time; the potential that comes
            with matkit if not given.
        options: See `SinglepointOptions`.
        batch_size: Most structures computed at once; `auto` for as many as are fast and fit.
        on_result: Called with the number and the result of every structure as it ends.
        **changes: Single options by name.

    Returns:
        A result for every structure, in their order.

    Raises:
        ConfigError: an option is unknown or impossible.
    """
    options = resolve(SinglepointOptions, options, changes)
    computing = at_precision(default_calculator() if calc is None else calc, PRECISION)
    check_size(batch_size)
    ways = Ways(
        suits=lambda _: isinstance(computing, MatkitCalculator),
        together=lambda frames, end: _together(frames, computing, options, batch_size, end),
        alone=lambda _, atoms: _alone(atoms, computing, options),
        nothing=_nothing,
    )
    return run_many(structures, ways, on_result)


def _together(
    frames: Mapping[int, Atoms],
    calc: BaseCalculator,
    options: SinglepointOptions,
    batch_size: BatchSize,
    end: Callable[[int, SinglepointResult], None],
) -> None:
    if not (frames and isinstance(calc, MatkitCalculator)):
        return
    limit = BatchLimit(batch_size, calc.device, calc.neighbors.cutoff)

    def begin(number: int, atoms: Atoms) -> Start:
        check_input(atoms)
        structures = with_conditions(calc.structures(atoms), calc.conditions())
        return Start(number, atoms, structures, None, Held(Atoms()))

    def fail(number: int, error: Exception) -> None:
        end(number, _nothing(frames[number], "error", explained(error)))

    queue, forces = Queue(frames, begin, limit, fail), BatchForces(calc, limit)
    while starts := queue.taken([]):
        for number, result in _computed(starts, forces, calc, options):
            end(number, result)
            del queue.starts[number]


def _computed(
    starts: Sequence[Start],
    forces: BatchForces,
    calc: MatkitCalculator,
    options: SinglepointOptions,
) -> list[tuple[int, SinglepointResult]]:
    batch = cat([start.structures for start in starts]).to(forces.device)
    forces.keep([])
    found = forces(batch)
    energy, stress = found.energy.cpu().numpy(), found.stress.cpu()
    parts = torch.split(found.forces.cpu(), batch.n_atoms.tolist())
    spread = _deviations(found, batch)
    results: list[tuple[int, SinglepointResult]] = []
    for i, start in enumerate(starts):
        if (problem := found.problems.get(i)) is not None:
            results.append((start.number, _nothing(start.atoms, "error", problem)))
            continue
        values: dict[str, Any] = {"energy": float(energy[i]), "forces": parts[i].numpy()}
        if options.stress and bool(stress[i].isfinite().all()):
            values["stress"] = to_voigt(stress[i]).numpy()
        values |= {name: value[i] for name, value in spread.items()}
        if "stress" not in values:
            values.pop("stress_std", None)
        if options.residual:
            values[RESIDUAL] = float(mean_residual(calc.potentials, start.structures)[0])
        frame = start.atoms.copy()
        hold(frame, values)
        results.append((start.number, result_of(frame, calc)))
    return results


def _deviations(found: Results, batch: Structures) -> dict[str, list[Any]]:
    """Return the deviations of a committee by structure; nothing of a single potential."""
    if found.deviation is None:
        return {}
    energy, forces, stress = (x.cpu() for x in found.deviation)
    parts = torch.split(forces, batch.n_atoms.tolist())
    return {
        "energy_std": energy.tolist(),
        "forces_std": [part.numpy() for part in parts],
        "stress_std": list(to_voigt(stress).numpy()),
    }


def _alone(atoms: Atoms, calc: BaseCalculator, options: SinglepointOptions) -> SinglepointResult:
    forget(calc)
    return singlepoint(atoms, calc, options)


def _nothing(atoms: Atoms, reason: Reason, message: str) -> SinglepointResult:
    nothing = float("nan")
    return SinglepointResult(
        atoms=atoms.copy(),
        reason=reason,
        energy=nothing,
        forces=np.full((len(atoms), 3), nothing),
        stress=None,
        max_force=nothing,
        message=message,
    )
