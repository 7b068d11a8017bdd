"""Several structures at once: evaluated in batches where the calculator can, and relaxed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.calculators.singlepoint import SinglePointCalculator
from ase.stress import full_3x3_to_voigt_6_stress

from matkit.conditions import refuse_ignored
from matkit.simulate.frames import freeze
from matkit.simulate.options import RelaxOptions
from matkit.simulate.results import OnStep, Reason
from matkit.simulate.stationary import settled, stationary_point

if TYPE_CHECKING:
    from matkit.calculator import MatkitCalculator


def relaxed(
    cells: Sequence[Atoms],
    calc: BaseCalculator,
    options: RelaxOptions,
    on_step: OnStep | None = None,
) -> tuple[list[Atoms], list[Reason]]:
    """Return structures after their relaxations, with energy and forces, and how these ended.

    Potentials of matkit relax all structures in batches, of whose steps nobody is told; other
    calculators one by one.

    Raises:
        SimulationError: a relaxation broke off.
    """
    from matkit.calculator import MatkitCalculator  # which needs torch, others do not
    from matkit.simulate.batched.relaxations import relax_many

    if isinstance(calc, MatkitCalculator):
        ends = [settled(result) for result in relax_many(cells, calc, options)]
    else:
        ends = [stationary_point(cell, calc, options, on_step) for cell in cells]
    return [atoms for atoms, _, _ in ends], [reason for _, reason, _ in ends]


def evaluated(cells: Sequence[Atoms], calc: BaseCalculator, stress: bool = False) -> list[Atoms]:
    """Return copies that hold their energy, forces and, if asked, stress.

    Potentials of matkit take all structures in batches, other calculators one by one.

    Raises:
        StructureError: a structure is empty or not finite, or has a charge or multiplicity that the
            model does not take into account.
        UnknownElementError: an element is unknown to the model.
    """
    from matkit.calculator import MatkitCalculator  # which needs torch, others do not

    if isinstance(calc, MatkitCalculator):
        return _in_batches(cells, calc, stress)
    frames = []
    for cell in cells:
        work = cell.copy()
        work.calc = calc
        frames.append(freeze(work, stress=stress))
    return frames


def _in_batches(cells: Sequence[Atoms], calc: MatkitCalculator, stress: bool) -> list[Atoms]:
    """Return structures with the mean of what all members of a committee predict."""
    from matkit.data.ase import from_ase
    from matkit.derivatives import ForceField
    from matkit.evaluator import predict

    wanted = ("energy", "forces", "stress") if stress else ("energy", "forces")
    batch = from_ase(cells)
    if not calc.parameters["ignore_charge"]:
        refuse_ignored(batch, frozenset.intersection(*(m.conditions for m in calc.potentials)))
    members: list[Any] = []
    for member in calc.potentials:
        assert isinstance(member, ForceField)
        member.check_species(batch)
        members.append(predict(member, batch, wanted))
    mean = {key: np.mean([member[key].numpy() for member in members], axis=0) for key in wanted}
    ends = np.cumsum([len(cell) for cell in cells])
    frames = []
    parts = zip(cells, np.split(mean["forces"], ends[:-1]), strict=True)
    for i, (cell, forces) in enumerate(parts):
        frame = cell.copy()
        results = {"energy": float(mean["energy"][i]), "forces": forces}
        if stress:
            results["stress"] = full_3x3_to_voigt_6_stress(mean["stress"][i])
        frame.calc = SinglePointCalculator(frame, **results)
        frames.append(frame)
    return frames
