"""All scores of a set of generated crystals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from matkit.crystals.judging import judge
from matkit.crystals.matching import (
    DEFAULT,
    PUBLISHED,
    Repeats,
    distances,
    repeats_of,
    repeats_within,
)
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.pairing import Pairing, pair
from matkit.crystals.parallel import Pool, open_pool
from matkit.crystals.reading import Crystal
from matkit.crystals.results import CrystalEvaluation, Energetics, Judged, usable_structures
from matkit.crystals.scores import Match, matches
from matkit.crystals.scoring import (
    distribution_scores,
    originality_scores,
    stability_scores,
    validity_scores,
)
from matkit.crystals.stability import energies
from matkit.errors import DataError

Note = Callable[[str], None]


def evaluate_crystals(
    sets: Mapping[str, Sequence[Crystal]],
    options: CrystalsOptions,
    energetics: Energetics | None = None,
    note: Note = lambda text: None,
) -> CrystalEvaluation:
    """Judge generated crystals, and the reference in the same way.

    Args:
        sets: `generated`, and perhaps `reference` and `known`.
        options: What is asked for.
        energetics: Potential and hull, if energies are asked for.
        note: Told what is being done.

    Raises:
        DataError: the predictions are not `samples` for each crystal of the reference, as asked.
    """
    pairing = _pairing(sets, options.samples, note)
    with open_pool(options.workers, options.timeout) as pool:
        judged = {}
        for name in ("generated", "reference"):
            if name in sets:
                note(f"Judging {len(sets[name])} crystals ({name})")
                judged[name] = _judged(sets[name], options, energetics, pool)
        generated, reference = judged["generated"], judged.get("reference")
        known, of_reference = _novelty(sets, pool, note)
        scores = [
            *validity_scores(generated, reference, options.coverage is not None),
            *originality_scores(generated, reference, known, of_reference),
            *stability_scores(generated, reference, (known, of_reference), energetics, options),
        ]
        found: list[Match] = []
        if reference is not None:
            scores += distribution_scores(generated, reference, options)
        if reference is not None and pairing is not None:
            note("Matching with the reference")
            found = match_rates(generated, reference, pairing, pool)
    return CrystalEvaluation(generated, reference, known, scores, found)


def _pairing(
    sets: Mapping[str, Sequence[Crystal]], samples: int | None, note: Note
) -> Pairing | None:
    """Return how predictions go with the reference, if match rates are wanted or possible."""
    if "reference" not in sets:
        return None
    try:
        return pair(sets["generated"], sets["reference"], samples)
    except DataError as error:
        if samples is not None:
            raise
        note(f"No match rates: {error}")
        return None


def _judged(
    crystals: Sequence[Crystal],
    options: CrystalsOptions,
    energetics: Energetics | None,
    pool: Pool,
) -> Judged:
    facts = judge(crystals, pool, options.coverage is not None)
    structures = usable_structures(crystals, facts)
    repeats = repeats_within(structures, DEFAULT, pool)
    if energetics is None:
        return Judged(crystals, facts, repeats)
    sound = [s if f.structural else None for s, f in zip(structures, facts, strict=True)]
    found = energies(sound, energetics.calc)
    above: list[float | None] = []
    if energetics.hull is not None:
        hull = energetics.hull
        above = [
            None if energy is None else hull.above(structure, energy)
            for structure, energy in zip(sound, found, strict=True)
        ]
    return Judged(crystals, facts, repeats, found, above)


def _novelty(
    sets: Mapping[str, Sequence[Crystal]], pool: Pool, note: Note
) -> tuple[Repeats | None, Repeats | None]:
    """Return what the generated crystals, and those of the reference, repeat of what is known."""
    known = sets.get("known") or sets.get("reference")
    if known is None:
        return None, None
    note(f"Comparing with {len(known)} known crystals")
    structures = [crystal.structure for crystal in known]
    found = [
        repeats_of([crystal.structure for crystal in sets[name]], structures, DEFAULT, pool)
        for name in ("generated", *(["reference"] if sets.get("known") else []))
        if name in sets
    ]
    return found[0], found[1] if len(found) > 1 else None


def match_rates(generated: Judged, reference: Judged, pairing: Pairing, pool: Pool) -> list[Match]:
    """Return how many crystals of the reference were found, by every protocol.

    Args:
        generated: Attempts.
        reference: What was to be found.
        pairing: Which attempt is at which crystal; a missing one counts as unmatched.
        pool: Where to compute.
    """
    truths = [truth for truth in reference.structures for _ in range(pairing.samples)]
    found = generated.structures
    pairs = [
        None if place is None or found[place] is None or truth is None else (found[place], truth)
        for place, truth in zip(pairing.places, truths, strict=True)
    ]
    valid = [place is not None and generated.facts[place].valid for place in pairing.places]
    valid_reference = [fact.valid for fact in reference.facts]
    rows: list[Match] = []
    for tolerances in (PUBLISHED, DEFAULT):
        apart = distances(pairs, tolerances, pool)
        rows += matches(apart, pairing.samples, tolerances, valid, valid_reference)
        # The next tolerances are tighter: what does not match now cannot match then.
        pairs = [None if d is None else both for d, both in zip(apart, pairs, strict=True)]
    return rows
