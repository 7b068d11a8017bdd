"""Step ``dedupe``: crystals that repeat an earlier one."""

from __future__ import annotations

from collections.abc import Sequence

from matkit.crystals.matching import DEFAULT, repeats_within
from matkit.crystals.parallel import open_pool
from matkit.crystals.reading import crystal_of
from matkit.runs.items import Item, ItemResult
from matkit.screen.chain import Step
from matkit.screen.options import ScreenOptions


def unlike(options: ScreenOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Reject what pymatgen's StructureMatcher finds to be like an earlier candidate."""
    structures = [crystal_of(item.content, item.source).structure for item in items]
    with open_pool(options.workers, options.timeout) as pool:
        like = repeats_within(structures, DEFAULT, pool).like
    return [
        _outcome(item, None if i is None else items[i]) for item, i in zip(items, like, strict=True)
    ]


def _outcome(item: Item, first: Item | None) -> ItemResult:
    if first is None:
        return ItemResult(item, "done", (item.content,))
    facts = {"duplicate_of": first.index}
    return ItemResult(item, "rejected", reason=f"duplicate of {first.index}", facts=facts)


STEP = Step(
    name="dedupe",
    work=unlike,
    columns=("duplicate_of",),
    verdict="duplicate",
    options=frozenset({"timeout"}),
    whole=True,
)
