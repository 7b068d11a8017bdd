"""Verdicts on hand-made crystals, and on compositions against the plain definition."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from pymatgen.core import Composition, Lattice, Structure

from matkit.crystals.validity import (
    composition_validity,
    elements,
    smallest_distance,
    smallest_self_distance,
    structure_validity,
)
from matkit.elements import SYMBOLS
from tests.crystals import samples


def numbers(formula: str) -> list[int]:
    return [e.Z for e, n in Composition(formula).items() for _ in range(int(n))]


def by_definition(atoms: list[int]) -> bool:
    """Every choice of states is tried, as published."""
    counts = sorted(Counter(atoms).items())
    kinds = [elements()[SYMBOLS[z]] for z, _ in counts]
    if len(kinds) == 1 or all(kind.metal for kind in kinds):
        return True
    divisor = math.gcd(*(n for _, n in counts))
    for states in itertools.product(*(kind.states for kind in kinds)):
        if sum(q * n // divisor for q, (_, n) in zip(states, counts, strict=True)):
            continue
        worst = max((k.electronegativity for k, q in zip(kinds, states, strict=True) if q > 0))
        least = min((k.electronegativity for k, q in zip(kinds, states, strict=True) if q < 0))
        if worst < least:
            return True
    return False


@pytest.mark.parametrize(
    ("formula", "verdict"),
    [
        ("NaCl", True),
        ("Na4Cl4", True),  # counts are divided by their greatest common divisor
        ("SrTiO3", True),
        ("Fe3O4", False),  # one state for each element: the mixed valence has none
        ("Fe2O3", True),
        ("NaCl2", False),
        ("NaF2", False),
        ("Fe", True),
        ("Ar", True),  # an element is valid whatever its states
        ("CuZn", True),  # an alloy
        ("NaAr", False),  # no states
        ("BrF", True),
        ("PmBr3", True),  # no electronegativity: passed, as in the version that CDVAE used
        ("PmBr4", False),
    ],
)
def test_composition(formula, verdict):
    assert composition_validity(numbers(formula)) is verdict


def test_composition_as_defined():
    # Elements whose electronegativity is known, in every small stoichiometry of three.
    rng = np.random.default_rng(0)
    known = [
        z for z in range(1, 84) if (e := elements()[SYMBOLS[z]]).states and e.electronegativity
    ]
    verdicts = []
    for _ in range(400):
        kinds = rng.choice(known, rng.integers(2, 5), replace=False)
        atoms = np.repeat(kinds, rng.integers(1, 5, len(kinds))).tolist()
        verdicts.append(composition_validity(atoms))
        assert verdicts[-1] is by_definition(atoms), atoms
    assert 0.1 < np.mean(verdicts) < 0.9


def test_an_element_beyond_the_table_is_not_valid_in_a_compound():
    assert not composition_validity([118, 17])


def test_structure():
    assert structure_validity(samples.salt())
    assert not structure_validity(samples.colliding())
    assert smallest_distance(samples.colliding()) == pytest.approx(0.4)
    assert smallest_distance(samples.salt()) == pytest.approx(5.64 / 2)


def test_the_threshold_counts_as_valid():
    pair = Structure(Lattice.cubic(4.0), ["Na", "Cl"], [[0, 0, 0], [0.125, 0, 0]])
    assert smallest_distance(pair) == 0.5
    assert structure_validity(pair)


def test_images_of_an_atom_do_not_count_as_published():
    single = Structure(Lattice.cubic(0.48), ["Na"], [[0, 0, 0]])
    assert structure_validity(single)
    assert smallest_distance(single) == np.inf
    assert smallest_self_distance(single) == pytest.approx(0.48)


def test_the_shortest_translation_of_a_skewed_cell():
    cell = np.array([[3.0, 0, 0], [8.9, 0.7, 0], [1.4, 2.5, 4.0]])
    steps = np.array([s for s in itertools.product(range(-8, 9), repeat=3) if any(s)])
    shortest = np.linalg.norm(steps @ cell, axis=1).min()
    found = smallest_self_distance(Structure(cell, ["Na"], [[0, 0, 0]]))
    assert found == pytest.approx(shortest)
