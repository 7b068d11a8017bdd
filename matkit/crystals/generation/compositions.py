"""Which atoms the cells hold: elements that are named, and compositions that are drawn."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from matkit.crystals.validity import composition_validity
from matkit.elements import SYMBOLS, atomic_number
from matkit.errors import ConfigError
from matkit.formulas import Composition

# Draws after which a size is given up, and sizes after which a system is.
DRAWS, SIZES = 2000, 20

Fits = Callable[[Composition], bool]


def parse_elements(text: str) -> tuple[int, ...]:
    """Return the atomic numbers of ``Li-O`` or ``Li,O``.

    Raises:
        ConfigError: there is none, or one occurs twice.
        UnknownNameError: a symbol is not one.
    """
    numbers = tuple(atomic_number(symbol) for symbol in re.split(r"[-,\s]+", text.strip()))
    if len(set(numbers)) < len(numbers):
        raise ConfigError(f"Expected different elements, got {text!r}.")
    return numbers


def parse_range(text: str, what: str) -> range:
    """Return the whole numbers of ``8`` or ``1-20``.

    Raises:
        ConfigError: the text is neither.
    """
    found = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", text)
    first = int(found[1]) if found else 0
    last = int(found[2] or first) if found else 0
    if not 1 <= first <= last:
        raise ConfigError(f"Expected {what} as 8 or 1-20, got {text!r}.")
    return range(first, last + 1)


def multiplied(composition: Composition, units: int) -> Composition:
    """Return the composition of several formula units."""
    return tuple((number, units * count) for number, count in composition)


def draw_composition(
    system: Sequence[int], sizes: Sequence[int], rng: np.random.Generator, fits: Fits
) -> Composition:
    """Draw a composition that holds all elements and that SMACT accepts.

    A number of atoms is drawn first, then a composition among those of that many atoms.

    Args:
        system: Atomic numbers.
        sizes: Allowed numbers of atoms.
        rng: Source of randomness.
        fits: Says whether a composition can be had at all, e.g. in a space group.

    Raises:
        ConfigError: none was found.
    """
    possible = [size for size in sizes if size >= len(system)]
    for size in rng.permutation(possible)[:SIZES]:
        for _ in range(DRAWS if len(system) > 1 else 1):
            cuts = np.sort(rng.choice(size - 1, len(system) - 1, replace=False)) + 1
            counts = np.diff([0, *cuts, size])
            found = tuple(zip(system, map(int, counts), strict=True))
            if _valid(tuple(sorted(found))) and fits(found):
                return found
    symbols = "-".join(SYMBOLS[number] for number in system)
    bounds = f"{min(sizes)} to {max(sizes)}" if sizes else "no"
    raise ConfigError(
        f"Found no composition of {symbols} with {bounds} atoms whose oxidation states are "
        "balanced and that the space group, if there is one, allows. Ask for other numbers of "
        "atoms, or name a formula."
    )


def draw_system(elements: Sequence[int], rng: np.random.Generator) -> tuple[int, ...]:
    """Draw two to four different elements."""
    count = int(rng.integers(2, min(4, len(elements)) + 1)) if len(elements) > 1 else 1
    return tuple(int(z) for z in rng.choice(np.array(elements), count, replace=False))


@lru_cache(maxsize=100_000)
def _valid(composition: Composition) -> bool:
    return composition_validity([z for z, count in composition for _ in range(count)])
