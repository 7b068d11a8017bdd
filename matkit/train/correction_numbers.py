"""What a generator that corrects itself has made: judged by a potential, sorted out, counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ase import Atoms

from matkit.crystals.evaluation import evaluate_crystals
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.reading import Crystal, crystal_of
from matkit.crystals.results import CrystalEvaluation, Energetics
from matkit.crystals.stability import read_hull
from matkit.models.zoo import load_calculator

COUNTED = ("drawn", "relaxed", "stable", "unique_and_new", "stable_unique_and_new", "kept")


@dataclass(frozen=True)
class Verifier:
    """What says which crystals are good.

    Attributes:
        potential: Name or file of the potential; None where all valid crystals are good.
        hull: Phases of its hull.
        stable: Largest energy above that of a good crystal, in eV/atom.
        device: Where it runs.
    """

    potential: str | None
    hull: Sequence[str]
    stable: float
    device: str

    def evaluation(
        self, frames: Sequence[Atoms], known: Sequence[Crystal]
    ) -> CrystalEvaluation | None:
        """Return what is known of crystals as they are; None if there are none.

        Args:
            frames: Crystals.
            known: Those that are not new.
        """
        if not frames:
            return None
        generated = [crystal_of(atoms, f"crystal {i}") for i, atoms in enumerate(frames)]
        energetics = None
        if self.potential is not None:
            calc = load_calculator(self.potential, device=self.device)
            energetics = Energetics(calc, self.potential, read_hull(self.hull, calc))
        sets = {"generated": generated, "known": known}
        return evaluate_crystals(sets, CrystalsOptions(stable=self.stable), energetics)

    def good(self, found: CrystalEvaluation | None) -> list[int]:
        """Return which crystals are stable (valid without a potential), unique and new."""
        if found is None:
            return []
        sound = self._stable(found)
        if self.potential is None:
            sound = [fact.valid for fact in found.generated.facts]
        return [i for i, new in enumerate(_new(found)) if new and sound[i]]

    def counts(self, found: CrystalEvaluation | None) -> dict[str, int]:
        """Return how many crystals are stable, how many unique and new, and how many all."""
        if found is None:
            return dict.fromkeys(("stable", "unique_and_new", "stable_unique_and_new"), 0)
        stable, new = self._stable(found), _new(found)
        return {
            "stable": sum(stable),
            "unique_and_new": sum(new),
            "stable_unique_and_new": sum(map(all, zip(stable, new, strict=True))),
        }

    def _stable(self, found: CrystalEvaluation) -> list[bool]:
        above = found.generated.above_hull or [None] * len(found.generated.crystals)
        return [one is not None and one <= self.stable for one in above]


def _new(found: CrystalEvaluation) -> list[bool]:
    """Return which crystals match neither an earlier nor a known one."""
    assert found.known is not None
    pairs = zip(found.generated.repeats.like, found.known.like, strict=True)
    return [both == (None, None) for both in pairs]


def sentence(numbers: Mapping[str, Any]) -> str:
    """Return how many crystals there are of each kind, as a text."""
    said = [f"{numbers[n]} {n.replace('_', ' ')}" for n in COUNTED if n in numbers]
    return ", ".join(said)
