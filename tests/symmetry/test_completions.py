from itertools import product

import numpy as np
import pytest

from matkit.symmetry.assignments import Assignments
from matkit.symmetry.completions import Contents, Formula, begun, possible_orbits
from matkit.symmetry.wyckoff import wyckoff_positions


@pytest.mark.parametrize("number", [1, 2, 16, 47, 62, 136, 166, 194, 221, 225])
def test_a_formula_can_be_reached_exactly_where_there_is_a_way(number):
    for counts in product(range(1, 7), range(5)):
        (goal,) = begun(number, (Formula(counts),)).goals
        there = [count for count in counts if count]
        assert (goal is not None) == bool(Assignments(number, tuple(there)).total)


@pytest.mark.parametrize(
    ("number", "goal"),
    [
        (2, Formula((4, 3))),
        (136, Formula((2, 4))),
        (225, Formula((1, 1, 2))),
        (62, Contents(12, 12, 3)),
        (221, Contents(1, 9, 2)),
        (216, Contents(5, 5, 1)),
    ],
)
def test_no_way_ends_nowhere(number, goal):
    rng = np.random.default_rng(number)
    for _ in range(20):
        progress, placed = begun(number, (goal,)), []
        while True:
            kinds, places = np.nonzero(possible_orbits(progress))
            if progress.is_reached[0] and (not len(kinds) or rng.random() < 0.3):
                break
            assert len(kinds)
            one = rng.integers(len(kinds))
            placed.append((int(kinds[one]), int(places[one])))
            progress = progress.placed(*placed[-1])
        positions = wyckoff_positions(number)
        fixed = [p for _, p in placed if not positions[p].free]
        assert len(set(fixed)) == len(fixed)
        atoms = [positions[p].multiplicity for _, p in placed]
        if isinstance(goal, Formula):
            held = [
                sum(n for n, (k, _) in zip(atoms, placed, strict=True) if k == i)
                for i in range(goal.kinds)
            ]
            assert tuple(held) == goal.left
        else:
            assert goal.least <= sum(atoms) <= goal.most
            assert sum(kind == 0 for kind, _ in placed) == goal.missing


def test_what_would_end_nowhere_is_not_possible():
    # Of Na2Cl in Fm-3m, Na is on c: on a, the other position of one atom, another is missing.
    table = possible_orbits(begun(225, (Formula((2, 1)),)))
    assert np.flatnonzero(table[0]).tolist() == [2]
    assert np.flatnonzero(table[1]).tolist() == [0, 1]


def test_one_of_several_goals_is_enough():
    progress = begun(225, (Formula((4, 4)), Formula((1, 1))))
    assert progress.goals[0] is None
    progress = progress.placed(0, 0).placed(1, 1)
    assert progress.is_reached == (False, True)
    assert not possible_orbits(progress).any()


def test_more_than_what_is_left_cannot_be_placed():
    assert Formula((1, 2)).placed(0, 2) is None
    assert Contents(1, 3, 1).placed(1, 4) is None
    assert Contents(1, 3, 0).placed(0, 1) is None
    assert not possible_orbits(begun(225, (Formula((5, 1)),))).size
