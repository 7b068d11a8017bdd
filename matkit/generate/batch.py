"""Structures that were generated, and what is known of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ase import Atoms

from matkit.runs.ledger_files import Row


@dataclass(frozen=True)
class Batch:
    """Structures that were made, and what is known of them.

    Attributes:
        noun: What one of them is called.
        generated: Structures as they were drawn.
        rows: What the ledger says of each of them: seconds, why one failed.
        relaxed: Relaxed structures by number.
        relaxation: What the ledger says of the relaxations, by number.
        evaluation: Scores, as the domain gives them; None if there are no structures.
        network_calls: Steps of the sampler.
        metrics: Counts and scores as they were written.
    """

    noun: str
    generated: Sequence[Atoms]
    rows: Mapping[int, Row]
    relaxed: Mapping[int, Atoms] = field(default_factory=dict)
    relaxation: Mapping[int, Row] = field(default_factory=dict)
    evaluation: Any = None
    network_calls: int = 0
    metrics: Mapping[str, Any] = field(default_factory=dict)

    def number(self, atoms: Atoms) -> int:
        """Return the number of a structure."""
        return int(atoms.info[self.noun])

    @property
    def drawn(self) -> dict[int, Atoms]:
        """Structures as they were drawn, by number."""
        return {self.number(atoms): atoms for atoms in self.generated}
