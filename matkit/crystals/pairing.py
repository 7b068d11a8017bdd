"""Which generated crystal is an attempt at which one of the reference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matkit.crystals.reading import Crystal
from matkit.errors import DataError


@dataclass(frozen=True)
class Pairing:
    """Attempts at each crystal of the reference.

    Attributes:
        samples: Attempts at each.
        places: Index of the generated crystal, all attempts at one crystal of the reference after
            another; None where an attempt is missing.
    """

    samples: int
    places: Sequence[int | None]


def pair(
    generated: Sequence[Crystal], reference: Sequence[Crystal], samples: int | None
) -> Pairing | None:
    """Return the attempts at each crystal of the reference.

    Crystals that say what they were made like (`matkit generate crystal --like`) are paired by
    that, and need not be complete or in order; others by their order.

    Args:
        generated: Generated crystals.
        reference: What they are compared with.
        samples: Attempts to count; None for all that the crystals tell of themselves.

    Returns:
        None if the crystals tell nothing and no number is given.

    Raises:
        DataError: there are fewer attempts, or they are attempts at other crystals.
    """
    told = [crystal.attempt for crystal in generated]
    if told and all(told):
        return _by_attempt(generated, reference, samples)
    if samples is None:
        return None
    if len(generated) != samples * len(reference):
        raise DataError(
            f"Expected {samples} crystals for each of the {len(reference)} of the reference, got "
            f"{len(generated)}. Match rates pair them in their order."
        )
    return Pairing(samples, range(len(generated)))


def _by_attempt(
    generated: Sequence[Crystal], reference: Sequence[Crystal], samples: int | None
) -> Pairing:
    attempts = [crystal.attempt for crystal in generated if crystal.attempt is not None]
    most = 1 + max(attempt for _, attempt in attempts)
    if samples is not None and samples > most:
        raise DataError(f"Expected {samples} attempts at each crystal, got {most}.")
    number = samples or most
    places: list[int | None] = [None] * (number * len(reference))
    for index, (crystal, (target, attempt)) in enumerate(zip(generated, attempts, strict=True)):
        if attempt >= number:
            continue
        _check(crystal, target, reference)
        place = target * number + attempt
        if (other := places[place]) is not None:
            raise DataError(
                f"{generated[other].source} and {crystal.source} are both attempt {attempt} at "
                f"crystal {target} of the reference. Relaxed and unrelaxed ones are judged apart: "
                "name one of the files."
            )
        places[place] = index
    return Pairing(number, places)


def _check(crystal: Crystal, target: int, reference: Sequence[Crystal]) -> None:
    """Raise DataError if a crystal was made like another one than that of the reference."""
    if target >= len(reference):
        raise DataError(
            f"{crystal.source} was made like crystal {target}, but there are only "
            f"{len(reference)} in the reference. Give the file that it was made like."
        )
    if sorted(crystal.numbers) != sorted(reference[target].numbers):
        raise DataError(
            f"{crystal.source} was made like crystal {target}, but has not the atoms of "
            f"{reference[target].source}. Give the file that it was made like."
        )
