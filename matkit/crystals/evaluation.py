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
from matkit.crystals.parallel import Pool, open_pool
from matkit.crystals.reading import Crystal
from matkit.crystals.results import Energetics, Evaluation, Judged, usable_structures
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
) -> Evaluation:
    """Judge generated crystals, and the reference in the same way.

    Args:
        sets: `generated`, and perhaps `reference` and `known`.
        options: What is asked for.
        energetics: Potential and hull, if energies are asked for.
        note: Told what is being done.

    Raises:
        DataError: the predictions are not `samples` for each crystal of the reference.
    """
    _check_samples(sets, options.samples)
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
            *stability_scores(generated, reference, known, energetics, options),
        ]
        found: list[Match] = []
        if reference is not None:
            scores += distribution_scores(generated, reference, options)
        if reference is not None and options.samples:
            note("Matching with the reference")
            found = _matches(generated, reference, options.samples, pool)
    return Evaluation(generated, reference, known, scores, found)


def _check_samples(sets: Mapping[str, Sequence[Crystal]], samples: int | None) -> None:
    if samples and len(sets["generated"]) != samples * len(sets["reference"]):
        raise DataError(
            f"Expected {samples} crystals for each of the {len(sets['reference'])} of the "
            f"reference, got {len(sets['generated'])}. Match rates pair them in their order."
        )


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


def _matches(generated: Judged, reference: Judged, samples: int, pool: Pool) -> list[Match]:
    truths = [truth for truth in reference.structures for _ in range(samples)]
    pairs = [
        None if one is None or truth is None else (one, truth)
        for one, truth in zip(generated.structures, truths, strict=True)
    ]
    valid = [fact.valid for fact in generated.facts]
    valid_reference = [fact.valid for fact in reference.facts]
    return [
        row
        for tolerances in (PUBLISHED, DEFAULT)
        for row in matches(
            distances(pairs, tolerances, pool), samples, tolerances, valid, valid_reference
        )
    ]
