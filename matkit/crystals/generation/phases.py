"""The different crystals among those that were generated and relaxed, ranked by energy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase import Atoms

from matkit.crystals.judging import SYMPRECS, space_group
from matkit.crystals.matching import DEFAULT, repeats_within
from matkit.crystals.parallel import Pool
from matkit.crystals.reading import crystal_of
from matkit.crystals.results import CrystalEvaluation
from matkit.evaluate.scores import Score
from matkit.generate.batch import Batch
from matkit.symmetry.groups import space_group as group_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

# Tolerance of the space group of a phase and of its CIF file, in Å.
SYMPREC = SYMPRECS[-1]


@dataclass(frozen=True)
class Phase:
    """Crystals that relaxed to one structure.

    Attributes:
        formula: Reduced formula.
        group: Number of the space group at `SYMPREC`; None where none is found.
        energy: Of the lowest of them, in eV/atom.
        above_best: How far that is above the best phase of the formula, in eV/atom.
        members: Numbers of the crystals, the lowest in energy first.
        atoms: The lowest of them.
    """

    formula: str
    group: int | None
    energy: float
    above_best: float
    members: tuple[int, ...]
    atoms: Atoms

    @property
    def symbol(self) -> str:
        """Symbol and number of the space group."""
        return "" if self.group is None else f"{group_of(self.group).symbol} ({self.group})"


@dataclass(frozen=True)
class Findings:
    """What is known of generated crystals.

    Attributes:
        evaluation: Of the crystals as they were drawn.
        phases: Of the relaxed ones, formula by formula, the lowest in energy first.
        scores: Of the request: how many crystals have the space group that was asked for.
    """

    evaluation: CrystalEvaluation
    phases: Sequence[Phase] = ()
    scores: Sequence[Score] = ()


def phases(batch: Batch, pool: Pool) -> list[Phase]:
    """Return the phases of the relaxed crystals.

    Args:
        batch: Crystals with what their relaxations gave.
        pool: Where crystals are compared.
    """
    energies = {n: batch.relaxation[n]["energy_after"] for n in batch.relaxed}
    order = sorted(energies, key=lambda number: energies[number])
    structures = [crystal_of(batch.relaxed[n], "").structure for n in order]
    like = repeats_within(structures, DEFAULT, pool).like
    groups: dict[int, list[int]] = {}
    for place, first in enumerate(like):
        if structures[place] is not None:
            groups.setdefault(place if first is None else first, []).append(order[place])
    found: list[Phase] = []
    best: dict[str, float] = {}
    for place, members in groups.items():
        structure: Structure = structures[place]
        formula, energy = structure.composition.reduced_formula, energies[members[0]]
        above = energy - best.setdefault(formula, energy)
        group = space_group(structure, SYMPREC)
        atoms = batch.relaxed[members[0]]
        found.append(Phase(formula, group, energy, above, tuple(members), atoms))
    return sorted(found, key=lambda phase: (list(best).index(phase.formula), phase.above_best))


def group_scores(batch: Batch, wanted: int | None) -> list[Score]:
    """Return how many crystals have a space group, as drawn and relaxed; nothing if none is asked.

    Args:
        batch: Crystals, and relaxed ones if there are any.
        wanted: Number of the group.
    """
    if wanted is None:
        return []
    found = []
    for name, crystals in (("as drawn", batch.drawn), ("relaxed", batch.relaxed)):
        if crystals:
            structures = [crystal_of(atoms, "").structure for atoms in crystals.values()]
            groups = [s is not None and space_group(s, SYMPREC) == wanted for s in structures]
            found.append(
                Score(
                    f"space group {wanted}, {name}",
                    sum(groups) / len(groups),
                    f"{sum(groups)} of {len(groups)}",
                    f"spglib finds just this group at a tolerance of {SYMPREC:g} Å",
                    is_share=True,
                )
            )
    return found


def phase_cells(found: Sequence[Phase]) -> list[list[str]]:
    """Return the table of phases, with one row of headings."""
    rows = [["phase", "space group", "meV/atom above the best", "times found", "crystal"]]
    for phase in found:
        above, count = f"{1e3 * phase.above_best:.1f}", str(len(phase.members))
        rows.append([phase.formula, phase.symbol, above, count, str(phase.members[0])])
    return rows
