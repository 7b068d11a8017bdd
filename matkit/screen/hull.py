"""Step ``hull``: energy above the convex hull of references."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from ase.calculators.calculator import Calculator

from matkit.crystals.reading import crystal_of
from matkit.crystals.stability import Hull, read_hull
from matkit.errors import ConfigError
from matkit.runs.items import Item, ItemResult, failed
from matkit.screen.chain import Step
from matkit.screen.model import calculator
from matkit.screen.options import ScreenOptions

# No crystal that was overlooked lies so far below known ones, in eV/atom.
DEEP: Final = 0.2

log = logging.getLogger(__name__)


def near_hull(options: ScreenOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Reject what is too far above the hull; what cannot be placed has failed."""
    hull = references(options)
    outcomes = [_outcome(options, hull, item) for item in items]
    deep = [o for o in outcomes if o.facts.get("above_hull", 0.0) < -DEEP]
    if deep:
        names = ", ".join(o.item.content.get_chemical_formula("metal") for o in deep[:5])
        log.warning(
            "%d candidates lie more than %g eV/atom below the hull (%s): it seems that the "
            "references lack phases that compete with them.",
            *(len(deep), DEEP, names),
        )
    return outcomes


def _outcome(options: ScreenOptions, hull: Hull, item: Item) -> ItemResult:
    structure = crystal_of(item.content, item.source).structure
    above = hull.above(structure, item.content.info["energy_per_atom"])
    if above is None:
        return failed(
            item, f"the references lack pure {', '.join(hull.lacking(item.content.symbols))}"
        )
    facts = {"above_hull": above}
    if above > options.max_above_hull:
        reason = (
            f"{above:.3f} eV/atom above the hull, more than max_above_hull "
            f"{options.max_above_hull:g}"
        )
        return ItemResult(item, "rejected", reason=reason, facts=facts)
    atoms = item.content.copy()
    atoms.info["above_hull"] = above
    return ItemResult(item, "done", (atoms,), facts=facts)


def references(options: ScreenOptions) -> Hull:
    """Return the hull of the files that are named, with energies by the potential."""
    return _references(tuple(options.hull), calculator(options))


@lru_cache(maxsize=1)
def _references(paths: tuple[str, ...], calc: Calculator) -> Hull:
    return read_hull(paths, calc)


def check(options: ScreenOptions, items: Sequence[Item]) -> None:
    """Raise if there are no references, or none for any candidate.

    Raises:
        ConfigError: no files are named, or every candidate has an element without a pure phase.
        DataError: the files cannot be read.
    """
    if not options.hull:
        raise ConfigError(
            "The step hull needs references: --hull default for those of the default potential, "
            "--hull FILES with the pure elements and compounds that compete, or leave hull out "
            "of --steps."
        )
    hull = references(options)
    readable = [item.content for item in items if item.content is not None]
    if readable and all(hull.lacking(atoms.symbols) for atoms in readable):
        elements = hull.lacking(symbol for atoms in readable for symbol in atoms.symbols)
        raise ConfigError(
            f"No candidate can be placed: the references in {', '.join(options.hull)} lack pure "
            f"{', '.join(elements)}. Add a crystal of each, or leave hull out of --steps."
        )


STEP = Step(
    name="hull",
    work=near_hull,
    columns=("above_hull",),
    verdict="unstable",
    after=("relax",),
    options=frozenset({"hull", "max_above_hull"}),
    check=check,
    whole=True,
)
