"""Crystals with what was found out about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from matkit.crystals.judging import Facts
from matkit.crystals.matching import Repeats
from matkit.crystals.reading import Crystal
from matkit.crystals.scores import Match
from matkit.crystals.stability import Hull
from matkit.evaluate.scores import Score

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator


@dataclass(frozen=True)
class Judged:
    """Crystals with what was found out about each.

    Attributes:
        crystals: Entries, usable or not.
        facts: About each.
        repeats: Which earlier one each crystal matches.
        energies: In eV/atom; None where unknown. Empty without a potential.
        above_hull: In eV/atom; likewise.
    """

    crystals: Sequence[Crystal]
    facts: Sequence[Facts]
    repeats: Repeats
    energies: Sequence[float | None] = ()
    above_hull: Sequence[float | None] = ()

    @property
    def usable(self) -> list[int]:
        """Indices of the entries that are crystals."""
        return [i for i, fact in enumerate(self.facts) if fact.geometry is not None]

    @property
    def structures(self) -> list[Any]:
        """Structure of each entry, or None."""
        return usable_structures(self.crystals, self.facts)


@dataclass(frozen=True)
class Energetics:
    """What judges stability.

    Attributes:
        calc: Calculator of a potential.
        name: Of the potential.
        hull: Convex hull with the same potential, or None.
    """

    calc: Calculator
    name: str
    hull: Hull | None = None


@dataclass(frozen=True)
class CrystalEvaluation:
    """Everything that was found.

    Attributes:
        generated: The generated crystals.
        reference: Crystals to compare with, or None.
        known: Which known crystal each generated one matches, or None.
        scores: Of the set.
        matches: Match rates, if asked for.
    """

    generated: Judged
    reference: Judged | None = None
    known: Repeats | None = None
    scores: Sequence[Score] = ()
    matches: Sequence[Match] = field(default=())


def usable_structures(crystals: Sequence[Crystal], facts: Sequence[Facts]) -> list[Any]:
    """Return the structure of each entry that has a geometry, else None."""
    pairs = zip(crystals, facts, strict=True)
    return [None if fact.geometry is None else crystal.structure for crystal, fact in pairs]
