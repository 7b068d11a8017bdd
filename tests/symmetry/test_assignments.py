from itertools import combinations_with_replacement, product

import numpy as np
import pytest

from matkit.errors import ConfigError
from matkit.symmetry.assignments import Assignments, assignments
from matkit.symmetry.cells import conventional_basis, orbit, reduced_basis, turned
from matkit.symmetry.groups import space_group
from matkit.symmetry.torus import is_integer
from matkit.symmetry.wyckoff import wyckoff_positions


def brute_force(number: int, counts: tuple[int, ...]) -> set[tuple[tuple[int, int], ...]]:
    """All sets of orbits with these numbers of atoms, by trying everything."""
    positions = wyckoff_positions(number)

    def fillings(species: int) -> list[tuple[tuple[int, int], ...]]:
        found = []
        for length in range(1, counts[species] + 1):
            found += [
                tuple((i, species) for i in chosen)
                for chosen in combinations_with_replacement(range(len(positions)), length)
                if sum(positions[i].multiplicity for i in chosen) == counts[species]
            ]
        return found

    ways = set()
    for parts in product(*map(fillings, range(len(counts)))):
        orbits = [orbit for part in parts for orbit in part]
        fixed = [i for i, _ in orbits if positions[i].free == 0]
        if len(fixed) == len(set(fixed)):
            ways.add(tuple(sorted(orbits)))
    return ways


@pytest.mark.parametrize(
    ("number", "counts"),
    [
        *[(225, (1, 1)), (221, (1, 1, 3)), (62, (4, 4, 8)), (2, (2, 3)), (139, (1, 2, 2))],
        *[(146, (2, 1)), (1, (2, 2)), (99, (1, 2, 2)), (194, (2, 2)), (166, (3, 3))],
    ],
)
def test_ways_are_all_there_are_and_each_comes_once(number, counts):
    ways = Assignments(number, counts)
    found = {tuple(sorted(ways.way(index))) for index in range(ways.total)}
    assert len(found) == ways.total
    assert found == brute_force(number, counts)


def test_an_index_beyond_the_last():
    ways = Assignments(225, (1, 1))
    assert ways.total == 2
    for index in (-1, 2):
        with pytest.raises(IndexError, match=f"from 0 to 1, got {index}"):
            ways.way(index)


def test_millions_of_ways_are_counted_at_once():
    ways = Assignments(47, (2, 2, 2, 4))
    assert ways.total > 1_000_000
    sizes = [0, 0, 0, 0]
    for index, species in ways.way(ways.total - 1):
        sizes[species] += ways.sizes[index]
    assert sizes == [2, 2, 2, 4]


def test_the_formula_is_of_the_conventional_cell_or_else_of_a_primitive_one():
    assert assignments(225, (4, 4), 20).conventional
    assert not assignments(225, (1, 1), 20).conventional
    assert assignments(166, (3, 3), 20).conventional
    assert not assignments(166, (1, 1), 20).conventional
    diamond = assignments(227, (8,), 20)  # on 8a or 8b
    assert diamond.conventional
    assert diamond.total == 2


@pytest.mark.parametrize(
    ("number", "counts", "message"),
    [
        (205, (2, 2), r"group Pa-3 \(205\) hold 2\+2 atoms \(2 formula units .* 4, 8, 24 in a"),
        (205, (2, 2), "Of this composition possible are 4, 8 formula units."),
        (225, (1, 5), r"1\+5 atoms \(1 formula unit in .* possible are 2, 3 formula units"),
        (230, (3, 7), "no multiple of the formula up to 20 atoms will do; ask for another group"),
    ],
)
def test_impossible_formulas(number, counts, message):
    with pytest.raises(ConfigError, match=message):
        assignments(number, counts, 20)


@pytest.mark.parametrize("conventional", [False, True])
@pytest.mark.parametrize("number", [5, 41, 88, 146, 166, 194, 216, 220, 227])
def test_orbits_in_a_cell_are_closed_under_the_group(number, conventional):
    group, rng = space_group(number), np.random.default_rng(number)
    ways = Assignments(number, (1,), conventional)
    basis = reduced_basis(number, rng.normal(size=6))
    if conventional:
        basis = conventional_basis(number)
    w, t = turned(group.rotations, basis), group.translations @ np.linalg.inv(basis)
    assert is_integer(w).all()
    for index, size in enumerate(ways.sizes):
        one = orbit(ways, index, basis)
        anchor = one.origin + rng.random(3) @ one.directions
        atoms = one.rotations @ anchor + one.translations
        assert len(atoms) == size
        assert np.allclose(atoms[0], anchor)
        images = (np.einsum("gij,aj->gai", w, atoms) + t[:, None]).reshape(-1, 3)
        same = is_integer(images[:, None] - atoms).all(axis=2)
        assert (same.sum(axis=1) == 1).all()
        shift = one.projector @ rng.normal(size=3)
        assert np.allclose(shift @ np.linalg.pinv(one.directions) @ one.directions, shift)
