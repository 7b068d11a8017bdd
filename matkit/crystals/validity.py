"""Structural and compositional validity as in CDVAE (Xie et al. 2022, arXiv:2110.06197)."""

from __future__ import annotations

import csv
import itertools
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

import numpy as np

from matkit.elements import SYMBOLS

if TYPE_CHECKING:
    from pymatgen.core import Structure

# Smallest distance of two atoms in a valid structure, in Å.
CLOSEST = 0.5
TABLE = "smact.csv"


@dataclass(frozen=True)
class Element:
    """What SMACT knows of an element.

    Attributes:
        states: Oxidation states; none for most noble gases.
        electronegativity: Pauling's, or None.
        metal: Whether it is a metal.
    """

    states: tuple[int, ...]
    electronegativity: float | None
    metal: bool


def structure_validity(structure: Structure) -> bool:
    """Return whether no two atoms of the cell are nearer than 0.5 Å.

    As published, distances of an atom to its own images do not count.

    Source: Xie et al. 2022, section 5.3 and scripts/eval_utils.py.
    """
    return smallest_distance(structure) >= CLOSEST


def smallest_distance(structure: Structure) -> float:
    """Return the smallest distance between two atoms of a cell or their images, in Å.

    Infinite for one atom.
    """
    distances = structure.distance_matrix + np.diag(np.full(len(structure), np.inf))
    return float(distances.min())


def smallest_self_distance(structure: Structure) -> float:
    """Return the smallest distance of an atom to its own image, in Å: the shortest translation."""
    reduced = structure.lattice.get_lll_reduced_lattice().matrix
    steps = np.array(list(itertools.product((-1, 0, 1), repeat=3)))
    return float(np.linalg.norm(steps[steps.any(axis=1)] @ reduced, axis=1).min())


def composition_validity(numbers: Iterable[int]) -> bool:
    """Return whether a composition is an element, an alloy, or balanced in charge.

    Every element has one oxidation state; some choice must be neutral, with anions more
    electronegative than cations.

    Args:
        numbers: Atomic numbers of the atoms of a crystal.

    Source: Davies et al. 2019 (SMACT) as called by Xie et al. 2022; the table is SMACT's original
        of 2014. Where an electronegativity is missing the test is passed, as in the version that
        CDVAE used; later versions of SMACT let it fail.
    """
    counts = sorted(Counter(numbers).items())
    divisor = math.gcd(*(count for _, count in counts))
    table = elements()
    known = [table.get(SYMBOLS[z]) for z, _ in counts]
    if len(counts) == 1 or all(element is not None and element.metal for element in known):
        return True
    if any(element is None or not element.states for element in known):
        return False
    kinds = [element for element in known if element is not None]
    return _neutral(kinds, [count // divisor for _, count in counts])


@cache
def elements() -> Mapping[str, Element]:
    """Return the frozen table, by symbol."""
    text = files("matkit.crystals").joinpath(TABLE).read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {
        row["symbol"]: Element(
            tuple(map(int, row["oxidation_states"].split())),
            float(row["electronegativity"]) if row["electronegativity"] else None,
            row["metal"] == "1",
        )
        for row in rows
    }


def _neutral(kinds: list[Element], counts: list[int]) -> bool:
    """Return whether a choice of oxidation states is neutral and passes Pauling's test.

    The last element's state follows from the others, which spares the longest factor.
    """
    last = len(kinds) - 1
    allowed = set(kinds[last].states)
    for states in itertools.product(*(kind.states for kind in kinds[:last])):
        charge = sum(n * q for n, q in zip(counts[:last], states, strict=True))
        missing, rest = divmod(-charge, counts[last])
        if not rest and missing in allowed and _pauling([*states, missing], kinds):
            return True
    return False


def _pauling(states: list[int], kinds: list[Element]) -> bool:
    """Return whether anions are more electronegative than cations; True where it is unknown."""
    pairs = itertools.combinations(zip(states, kinds, strict=True), 2)
    for (q, one), (p, other) in pairs:
        if q * p >= 0:
            continue
        x, y = one.electronegativity, other.electronegativity
        if x is None or y is None:
            return True
        if (x - y) * (1 if q > 0 else -1) >= 0:
            return False
    return True
