"""The different crystals among those that were generated and relaxed, ranked by energy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ase import Atoms

from matkit.crystals.judging import SYMPRECS, space_group
from matkit.crystals.matching import DEFAULT, repeats_within
from matkit.crystals.parallel import Pool
from matkit.crystals.reading import crystal_of
from matkit.crystals.results import CrystalEvaluation
from matkit.evaluate.scores import Score, fraction
from matkit.generate.batch import Batch
from matkit.generate.mixture import MAKER
from matkit.symmetry.groups import space_group as group_of

if TYPE_CHECKING:
    from pymatgen.core import Structure

# Tolerance of the space group of a phase and of its CIF file, in Å.
SYMPREC = SYMPRECS[-1]
# Number of the space group at each tolerance of `SYMPRECS`; None where none is found.
Groups = tuple[int | None, ...]


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
        makers: The generators that made them, if several took turns; that of the lowest first.
    """

    formula: str
    group: int | None
    energy: float
    above_best: float
    members: tuple[int, ...]
    atoms: Atoms
    makers: tuple[str, ...] = ()

    @property
    def symbol(self) -> str:
        """Symbol and number of the space group."""
        return "" if self.group is None else f"{group_of(self.group).symbol} ({self.group})"


@dataclass(frozen=True)
class Findings:
    """What is known of generated crystals.

    Attributes:
        drawn: Of the crystals as they were drawn.
        relaxed_groups: Space groups of relaxed crystals at the tolerances of `SYMPRECS`, by number.
        phases: Of the relaxed ones, formula by formula, the lowest in energy first.
        scores: Of the request: how many crystals have the space group that was asked for.
    """

    drawn: CrystalEvaluation
    relaxed_groups: Mapping[int, Groups] = field(default_factory=dict)
    phases: Sequence[Phase] = ()
    scores: Sequence[Score] = ()


def findings(batch: Batch, drawn: CrystalEvaluation, wanted: int | None, pool: Pool) -> Findings:
    """Return what is known of generated crystals.

    Args:
        batch: Crystals with what their relaxations gave.
        drawn: Of the crystals as they were drawn.
        wanted: Number of the space group that was asked for, if one was.
        pool: Where crystals are compared.
    """
    structures = {n: crystal_of(atoms, "").structure for n, atoms in batch.relaxed.items()}
    groups = {n: tuple(_group(s, symprec) for symprec in SYMPRECS) for n, s in structures.items()}
    scores = [] if wanted is None else _group_scores(drawn, groups, wanted)
    return Findings(drawn, groups, _phases(batch, structures, groups, pool), scores)


def _group(structure: Structure | None, symprec: float) -> int | None:
    return None if structure is None else space_group(structure, symprec)


def _phases(
    batch: Batch,
    structures: Mapping[int, Structure | None],
    groups: Mapping[int, Groups],
    pool: Pool,
) -> list[Phase]:
    """Return the phases of the relaxed crystals."""
    energies = {n: batch.relaxation[n]["energy_after"] for n in structures}
    order = sorted(energies, key=lambda number: energies[number])
    like = repeats_within([structures[n] for n in order], DEFAULT, pool).like
    alike: dict[int, list[int]] = {}
    for place, first in enumerate(like):
        alike.setdefault(order[place if first is None else first], []).append(order[place])
    found: list[Phase] = []
    best: dict[str, float] = {}
    for lowest, members in alike.items():
        structure, energy = structures[lowest], energies[lowest]
        if structure is not None:
            formula = structure.composition.reduced_formula
            above = energy - best.setdefault(formula, energy)
            atoms = batch.relaxed[lowest]
            makers = (batch.relaxed[number].info.get(MAKER) for number in members)
            names = tuple(dict.fromkeys(str(maker) for maker in makers if maker is not None))
            group = groups[lowest][-1]
            found.append(Phase(formula, group, energy, above, tuple(members), atoms, names))
    ranks = {formula: rank for rank, formula in enumerate(best)}
    return sorted(found, key=lambda phase: (ranks[phase.formula], phase.above_best))


def _group_scores(
    drawn: CrystalEvaluation, relaxed: Mapping[int, Groups], wanted: int
) -> list[Score]:
    """Return how many crystals have the space group that was asked for, as drawn and relaxed."""
    facts = [fact.geometry for fact in drawn.generated.facts]
    groups = {
        "as drawn": [None if one is None else one.space_groups[-1] for one in facts],
        "relaxed": [one[-1] for one in relaxed.values()],
    }
    protocol = f"spglib finds just this group at a tolerance of {SYMPREC:g} Å"
    return [
        fraction(f"space group {wanted}, {name}", [one == wanted for one in found], protocol)
        for name, found in groups.items()
        if found
    ]


def phase_cells(found: Sequence[Phase]) -> list[list[str]]:
    """Return the table of phases, with one row of headings."""
    rows = [["phase", "space group", "meV/atom above the best", "times found", "crystal"]]
    for phase in found:
        above, count = f"{1e3 * phase.above_best:.1f}", str(len(phase.members))
        rows.append([phase.formula, phase.symbol, above, count, str(phase.members[0])])
    if any(phase.makers for phase in found):
        makers = ["generator", *(", ".join(phase.makers) for phase in found)]
        rows = [[*row, maker] for row, maker in zip(rows, makers, strict=True)]
    return rows


def maker_cells(found: Sequence[Phase]) -> list[list[str]]:
    """Return what each of several generators found, with one row of headings; nothing of one."""
    formulas = dict.fromkeys(phase.formula for phase in found)
    rows = [["generator", "phases", "best phase of a formula", "its best, meV/atom above the best"]]
    for maker in sorted({maker for phase in found for maker in phase.makers}):
        own = [phase for phase in found if maker in phase.makers]
        lowest: dict[str, float] = {}
        for phase in own:
            lowest.setdefault(phase.formula, phase.above_best)
        first = sum(above == 0 for above in lowest.values())
        mean = f"{1e3 * sum(lowest.values()) / len(lowest):.1f}"
        rows.append([maker, str(len(own)), f"{first} of {len(formulas)}", mean])
    return rows if len(rows) > 1 else []
