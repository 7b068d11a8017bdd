"""What the steps have found on each candidate, as a verdict with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from matkit.runs.items import Shard
from matkit.runs.ledger_files import last_rows
from matkit.screen.chain import Step, chain
from matkit.screen.options import ScreenOptions
from matkit.screen.run import frames_of, step_files

# eV/atom. Crystals nearer to the hull than this are on it: energies are not known better.
ON_HULL = 1e-3
FAILED = "failed"

Row = dict[str, Any]


@dataclass(frozen=True)
class Screening:
    """What became of all candidates.

    Attributes:
        rows: One for each, survivors first, from the lowest above the hull, or else in energy.
        survivors: Crystals that passed all steps, by the number of their candidate, in this order.
        document: Everything about the run, fit for JSON.
        files: Where results are written, by kind.
    """

    rows: Sequence[Row]
    survivors: Mapping[int, Atoms]
    document: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Path] = field(default_factory=dict)

    @property
    def counts(self) -> dict[str, int]:
        """How many candidates got which verdict."""
        return dict(Counter(row["verdict"].split(" by ")[0] for row in self.rows))

    @property
    def failed(self) -> list[tuple[str, str]]:
        """Source and reason of the candidates that failed."""
        return [(row["source"], row["reason"]) for row in self.rows if row["verdict"] == FAILED]


def verdicts(options: ScreenOptions, shards: Sequence[Shard]) -> Screening:
    """Return what the ledgers of some shards say.

    Args:
        options: Of the screening.
        shards: Which parts.
    """
    steps = chain(options)
    rows: dict[int, Row] = {}
    survivors: dict[int, Atoms] = {}
    for shard in shards:
        for step in steps:
            for number, found in last_rows(step_files(options, step, shard)).items():
                rows[number] = rows.get(number, {}) | _row(number, step, found)
        survivors |= frames_of(step_files(options, steps[-1], shard))
    for number in survivors:
        rows[number] |= {"verdict": _standing(rows[number]), "stopped_at": "", "reason": ""}
    ranked = sorted(rows.values(), key=lambda row: _rank(row, steps))
    ranks = [
        {"rank": i if row["candidate"] in survivors else None} for i, row in enumerate(ranked, 1)
    ]
    complete = [rank | row for rank, row in zip(ranks, ranked, strict=True)]
    order = [row["candidate"] for row in ranked if row["candidate"] in survivors]
    return Screening(complete, {number: survivors[number] for number in order})


def _row(number: int, step: Step, found: Mapping[str, Any]) -> Row:
    facts = {name: found[name] for name in step.columns if name in found}
    verdict = {"failed": FAILED, "rejected": step.verdict}.get(found["status"], "")
    return {
        "candidate": number,
        "source": found["source"],
        "formula": found.get("formula", ""),
        "n_atoms": found.get("n_atoms"),
        "verdict": verdict,
        "stopped_at": step.name,
        "reason": found["reason"],
        **facts,
    }


def _standing(row: Row) -> str:
    """Return the verdict on a crystal that passed all steps."""
    above = row.get("above_hull")
    if above is None:
        return "passed"
    return "stable" if above <= ON_HULL else f"metastable by {above:.3f} eV/atom"


def _rank(row: Row, steps: Sequence[Step]) -> tuple[Any, ...]:
    """Return what rows are sorted by: how far they came, then their energy."""
    names = [step.name for step in steps]
    came = len(names) if not row["stopped_at"] else names.index(row["stopped_at"])
    energy = row.get("above_hull", row.get("energy_per_atom"))
    worth = (row["verdict"] == FAILED, energy is None, energy or 0.0)
    return (-came, *worth, row["candidate"])


def columns(options: ScreenOptions) -> list[str]:
    """Return the columns of the table."""
    general = ["rank", "candidate", "source", "formula", "n_atoms", "verdict", "stopped_at"]
    return [*general, *(name for step in chain(options) for name in step.columns), "reason"]
