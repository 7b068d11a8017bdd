"""Several starts of a relaxation, of which the one that ends lowest is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from matkit.generate.domains import room_of
from matkit.generate.relaxing import Relaxer
from matkit.runs.items import Item, ItemResult


@dataclass(frozen=True)
class Trials:
    """What relaxes structures from several starts; may be sent to other processes.

    Attributes:
        relaxer: What relaxes from one.
        count: Most starts of a structure; one whose coordinates were not drawn has one.
    """

    relaxer: Relaxer
    count: int

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return what became of some structures, whose starts are all relaxed together."""
        room = room_of(self.relaxer.domain)
        starts = [room.starts(item.content, self.count) for item in items]
        owner = [i for i, own in enumerate(starts) for _ in own]
        flat = [replace(items[i], content=atoms) for i, own in enumerate(starts) for atoms in own]
        numbered = [replace(item, index=place) for place, item in enumerate(flat)]
        results = self.relaxer(numbered)
        return [
            _lowest(item, [result for i, result in zip(owner, results, strict=True) if i == place])
            for place, item in enumerate(items)
        ]


def _lowest(item: Item, results: Sequence[ItemResult]) -> ItemResult:
    """Return the result that is lowest in energy; where none came to an end, the first."""
    done = [result for result in results if result.status == "done"]
    best = min(done, key=lambda result: result.facts["energy_after"], default=results[0])
    facts = {**best.facts, "trials": len(results), "trials_relaxed": len(done)}
    return replace(best, item=item, facts=facts if len(results) > 1 else best.facts)
