import numpy as np
import pytest
import spglib

from matkit.symmetry.cells import reduced_basis
from matkit.symmetry.groups import GROUPS, space_group
from matkit.symmetry.torus import annihilator, diagonal, is_integer, solutions
from matkit.symmetry.wyckoff import wyckoff_positions

# Multiplicities in the conventional cell and free coordinates, from the International Tables.
TABLES = {
    1: [(1, 3)],
    2: [(1, 0)] * 8 + [(2, 3)],
    5: [(2, 1)] * 2 + [(4, 3)],
    14: [(2, 0)] * 4 + [(4, 3)],
    62: [(4, 0)] * 2 + [(4, 2), (8, 3)],
    146: [(3, 1), (9, 3)],
    166: [(3, 0)] * 2 + [(6, 1)] + [(9, 0)] * 2 + [(18, 1)] * 2 + [(18, 2), (36, 3)],
    194: [(2, 0)] * 4 + [(4, 1)] * 2 + [(6, 0), (6, 1), (12, 1)] + [(12, 2)] * 2 + [(24, 3)],
    205: [(4, 0)] * 2 + [(8, 1), (24, 3)],
    225: [
        *[(4, 0), (4, 0), (8, 0), (24, 0), (24, 1), (32, 1), (48, 1), (48, 1), (48, 1)],
        *[(96, 2), (96, 2), (192, 3)],
    ],
    227: [
        *[(8, 0), (8, 0), (16, 0), (16, 0), (32, 1), (48, 1), (96, 1), (96, 2), (192, 3)],
    ],
    230: [
        *[(16, 0), (16, 0), (24, 0), (24, 0), (32, 1), (48, 1), (48, 1), (96, 3)],
    ],
}


@pytest.mark.parametrize("number", TABLES)
def test_positions_are_those_of_the_tables(number):
    points = space_group(number).centring
    found = [(points * p.multiplicity, p.free) for p in wyckoff_positions(number)]
    assert found == TABLES[number]


@pytest.mark.slow
def test_all_groups_together_have_1731_positions():
    assert sum(len(wyckoff_positions(number)) for number in range(1, GROUPS + 1)) == 1731


@pytest.mark.parametrize("number", [2, 47, 92, 136, 139, 166, 194, 198, 216, 227])
def test_site_symmetry_by_brute_force(number):
    group = space_group(number)
    rng = np.random.default_rng(number)
    for position in wyckoff_positions(number):
        point = position.point + rng.random(position.free) @ position.directions
        images = group.rotations @ point + group.translations
        fixing = is_integer(images - point).all(axis=1)
        assert np.allclose(group.rotations[fixing].mean(axis=0), position.projector)
        assert np.allclose(position.projector @ position.directions.T, position.directions.T)
        assert np.linalg.matrix_rank(position.projector) == position.free
        orbit = images[position.operations]
        apart = is_integer(orbit[:, None] - orbit).all(axis=2)
        assert (apart == np.eye(len(orbit), dtype=bool)).all()
        assert is_integer(images[:, None] - orbit).all(axis=2).any(axis=1).all()
        assert np.allclose(orbit[0], point)


@pytest.mark.parametrize("number", [15, 44, 88, 122, 148, 164, 187, 199, 221])
def test_spglib_finds_every_orbit(number):
    group, rng = space_group(number), np.random.default_rng(number)
    shape = (group.rotations.mT @ np.diag([40.0, 55.0, 65.0]) @ group.rotations).mean(axis=0)
    lattice = np.linalg.cholesky(shape)
    for position in wyckoff_positions(number):
        # Atoms of a second kind anywhere make sure that the crystal has no further symmetry.
        points = [position.point + rng.random(position.free) @ position.directions, rng.random(3)]
        images = [group.rotations @ point + group.translations for point in points]
        atoms = np.concatenate([images[0][position.operations], images[1]])
        kinds = [1] * position.multiplicity + [2] * len(group.rotations)
        found = spglib.get_symmetry_dataset((lattice, atoms, kinds), symprec=1e-5)
        assert found.number == number
        assert (found.equivalent_atoms[: position.multiplicity] == 0).all()
        letters = set(found.wyckoffs[: position.multiplicity])
        assert len(letters) == 1


def test_congruences_by_brute_force():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(*[np.arange(12) / 12] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    for _ in range(20):
        matrix = rng.integers(-1, 2, (3, 3))
        right = matrix @ rng.integers(0, 12, 3) / 12
        expected = is_integer(grid @ matrix.T - right).all(axis=1)
        covered = np.zeros(len(grid), dtype=bool)
        for point, directions in solutions(matrix, right):
            assert is_integer(matrix @ point - right).all()
            assert not (matrix @ directions).any()
            on_it = annihilator(directions)
            covered |= is_integer((grid - point) @ on_it.T).all(axis=1)
        assert (covered == expected).all()


def test_a_congruence_without_solution():
    matrix, right = np.array([[2, 0, 0], [2, 0, 0], [0, 1, 0]]), np.array([0.5, 0.0, 0.0])
    assert not list(solutions(matrix, right))


def test_diagonal_form():
    rng = np.random.default_rng(1)
    for shape in [(3, 3), (3, 2), (3, 1)]:
        for _ in range(20):
            matrix = rng.integers(-3, 4, shape)
            pivots, left, right = diagonal(matrix)
            expected = np.zeros(shape, dtype=int)
            np.fill_diagonal(expected, [*pivots, 0, 0, 0][: min(shape)])
            assert (left @ matrix @ right == expected).all()
            assert abs(round(np.linalg.det(left))) == abs(round(np.linalg.det(right))) == 1


def test_reduced_cells_are_reduced_and_right_handed():
    rng = np.random.default_rng(2)
    for number in range(1, GROUPS + 1, 3):
        basis = reduced_basis(number, rng.normal(size=6))
        assert np.linalg.det(basis) == pytest.approx(1)
        assert (basis == np.rint(basis)).all()
