"""Which scores a set of crystals gets."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from matkit.crystals.judging import Facts
from matkit.crystals.matching import DEFAULT, Repeats
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.reading import SMALLEST_VOLUME
from matkit.crystals.results import Energetics, Judged
from matkit.crystals.scores import coverage
from matkit.crystals.validity import CLOSEST
from matkit.evaluate.scores import Score, distribution, draw, fraction


def validity_scores(generated: Judged, reference: Judged | None, prints: bool) -> list[Score]:
    """Return fractions of entries that are valid.

    Args:
        generated: The generated crystals.
        reference: Crystals to compare with, or None.
        prints: Whether fingerprints were asked for.
    """
    entries = "of all entries, those that could not be read included"
    volume = f"volume >= {SMALLEST_VOLUME} Å³"
    kinds: dict[str, tuple[Callable[[Facts], bool], str]] = {
        "constructed": (lambda f: f.geometry is not None, f"ordered, {volume}; {entries}"),
        "structural validity": (
            lambda f: f.structural,
            f"distances >= {CLOSEST} Å, own images not counted, {volume}; {entries}",
        ),
        "structural validity, own images too": (
            lambda f: f.structural and f.geometry is not None and f.geometry.own_image >= CLOSEST,
            f"as above with the images of the atom itself; {entries}",
        ),
        "compositional validity": (
            lambda f: f.compositional,
            f"SMACT, oxidation states of 2014, alloys and elements valid; {entries}",
        ),
        "validity": (
            lambda f: f.valid,
            f"structural and compositional{', fingerprints computable' * prints}; {entries}",
        ),
    }
    return [
        fraction(
            name,
            [test(f) for f in generated.facts],
            protocol,
            None if reference is None else [test(f) for f in reference.facts],
        )
        for name, (test, protocol) in kinds.items()
    ]


def originality_scores(
    generated: Judged,
    reference: Judged | None,
    known: Repeats | None,
    of_reference: Repeats | None,
) -> list[Score]:
    """Return fractions of crystals that are new, if it is known."""
    protocol = f"StructureMatcher, {DEFAULT}; of those constructed"
    scores = [
        fraction(
            "uniqueness",
            _new(generated, generated.repeats),
            f"matches no earlier one; {protocol}; {generated.repeats.undecided} pairs undecided",
            None if reference is None else _new(reference, reference.repeats),
        )
    ]
    if known is not None:
        novel = f"matches no known one; {protocol}; {known.undecided} pairs undecided"
        theirs = both = None
        if of_reference is not None and reference is not None:
            theirs, both = _new(reference, of_reference), _new_twice(reference, of_reference)
        scores.append(fraction("novelty", _new(generated, known), novel, theirs))
        mine = _new_twice(generated, known)
        scores.append(fraction("unique and novel", mine, protocol, both))
    return scores


def _new(judged: Judged, repeats: Repeats) -> list[bool]:
    return [repeats.like[i] is None for i in judged.usable]


def _new_twice(judged: Judged, known: Repeats) -> list[bool]:
    """Return which crystals match neither an earlier nor a known one."""
    pairs = zip(_new(judged, judged.repeats), _new(judged, known), strict=True)
    return [unique and novel for unique, novel in pairs]


def stability_scores(
    generated: Judged,
    reference: Judged | None,
    repeats: tuple[Repeats | None, Repeats | None],
    energetics: Energetics | None,
    options: CrystalsOptions,
) -> list[Score]:
    """Return fractions of entries near the hull, if there is one.

    Args:
        generated: The generated crystals.
        reference: Crystals to compare with, or None.
        repeats: Which known crystal each generated one matches, and each one of the reference.
        energetics: Potential and hull, if energies are asked for.
        options: How far above the hull is stable.
    """
    if energetics is None or energetics.hull is None:
        return []
    name = f"stable@{options.stable:g}"
    stable = _stable(generated, options.stable)
    unknown = sum(one is None for one in generated.above_hull)
    protocol = (
        f"energy above the hull of {len(energetics.hull.phases)} phases <= {options.stable:g} "
        f"eV/atom with {energetics.name}, not relaxed here, {unknown} without an energy or a hull "
        "count as unstable; of all entries"
    )
    theirs = None if reference is None else _stable(reference, options.stable)
    scores = [fraction(name, stable, protocol, theirs)]
    known, of_reference = repeats
    if known is not None:
        both = None
        if reference is not None and theirs is not None and of_reference is not None:
            both = _sun(reference, of_reference, theirs)
        text = f"stable, unique and novel; {protocol}"
        scores.append(fraction(f"S.U.N. ({name})", _sun(generated, known, stable), text, both))
    return scores


def _sun(judged: Judged, known: Repeats, stable: Sequence[bool]) -> list[bool]:
    like = zip(judged.repeats.like, known.like, strict=True)
    return [s and twins == (None, None) for s, twins in zip(stable, like, strict=True)]


def _stable(judged: Judged, limit: float) -> list[bool]:
    return [above is not None and above <= limit for above in judged.above_hull]


def distribution_scores(
    generated: Judged, reference: Judged, options: CrystalsOptions
) -> list[Score]:
    """Return distances of distributions, and the coverage if it is asked for."""
    rng = np.random.default_rng(options.seed)
    valid = [fact.valid for fact in generated.facts]
    mine, theirs = draw(valid, options.draw, rng), reference.usable
    protocol = f"Wasserstein distance, at most {options.draw} random valid ones, {{}}"
    found = [
        distribution(
            f"W {name}",
            _values(generated, mine, name),
            _values(reference, theirs, name),
            protocol.format(unit),
            rng,
        )
        for name, unit in (
            ("density", "g/cm³"),
            ("number of elements", "elements"),
            ("volume", "Å³/atom"),
            *([("energy", "eV/atom, by the potential")] if generated.energies else []),
        )
    ]
    if options.coverage is not None:
        found += coverage(generated.facts, reference.facts, options.coverage, rng)
    return found


def _values(judged: Judged, indices: Sequence[int], name: str) -> list[float]:
    """Return a quantity of some crystals, where it is known."""
    if name == "energy":
        return [e for i in indices if (e := judged.energies[i]) is not None]
    if name == "number of elements":
        return [float(len(set(judged.crystals[i].numbers))) for i in indices]
    return [float(getattr(judged.facts[i].geometry, name)) for i in indices]
