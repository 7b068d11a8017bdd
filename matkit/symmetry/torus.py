"""Linear congruences: which points of the unit torus an operation leaves where they are."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from jaxtyping import Float, Int

TOLERANCE = 1e-6  # coordinates are multiples of 1/48 or so


def is_integer(values: Float[np.ndarray, "*any"]) -> np.ndarray:
    """Return which numbers are integers, up to rounding."""
    return np.abs(values - np.rint(values)) < TOLERANCE


def diagonal(
    matrix: Int[np.ndarray, "m d"],
) -> tuple[list[int], Int[np.ndarray, "m m"], Int[np.ndarray, "d d"]]:
    """Return the nonzero diagonal of U A V, U and V; both are integer and have determinant +-1."""
    if not matrix.size:  # nothing to hash
        return [], np.eye(len(matrix), dtype=int), np.eye(matrix.shape[1], dtype=int)
    return _diagonal(tuple(tuple(row) for row in matrix.tolist()))


def solutions(
    matrix: Int[np.ndarray, "m d"], right: Float[np.ndarray, " m"]
) -> Iterator[tuple[Float[np.ndarray, " d"], Int[np.ndarray, "d f"]]]:
    """Yield the s with A s = b modulo 1: points, and integer directions in which s is free.

    A solution is a point plus any combination of the directions; together they are all, modulo 1.
    The directions are a basis of the integer vectors in the space that they span.
    """
    pivots, left, columns = diagonal(matrix)
    target = left @ right
    rank = len(pivots)
    if not is_integer(target[rank:]).all():
        return
    for turns in product(*[range(abs(pivot)) for pivot in pivots]):
        y = (target[:rank] + np.array(turns)) / np.array(pivots)
        yield columns[:, :rank] @ y, columns[:, rank:]


def annihilator(directions: Int[np.ndarray, "3 f"]) -> Int[np.ndarray, "r 3"]:
    """Return an integer matrix whose product with a vector is integer exactly for what is asked.

    That is: for an integer vector plus a combination of the directions.
    """
    pivots, left, _ = diagonal(directions)
    return left[len(pivots) :]


@cache
def _diagonal(
    rows: tuple[tuple[int, ...], ...],
) -> tuple[list[int], Int[np.ndarray, "m m"], Int[np.ndarray, "d d"]]:
    work = np.array(rows)
    m, d = work.shape
    left, right = np.eye(m, dtype=int), np.eye(d, dtype=int)
    for step in range(min(m, d)):
        while _to_corner(work, left, right, step):
            _eliminate(work, left, right, step)
    pivots = [int(value) for value in work.diagonal() if value]
    return pivots, left, right


def _to_corner(work: np.ndarray, left: np.ndarray, right: np.ndarray, step: int) -> bool:
    """Bring the smallest entry to the diagonal; return whether others are left beside it."""
    rest = np.abs(work[step:, step:])
    if not rest.any():
        return False
    smallest = np.where(rest > 0, rest, rest.max() + 1).argmin()
    row, column = np.unravel_index(smallest, rest.shape)
    for rows in (work, left):
        rows[[step, step + row]] = rows[[step + row, step]]
    for columns in (work, right):
        columns[:, [step, step + column]] = columns[:, [step + column, step]]
    return bool(work[step + 1 :, step].any() or work[step, step + 1 :].any())


def _eliminate(work: np.ndarray, left: np.ndarray, right: np.ndarray, step: int) -> None:
    """Subtract multiples of the diagonal entry's row and column from the others, in place."""
    factors = work[step + 1 :, step] // work[step, step]
    for rows in (work, left):
        rows[step + 1 :] -= np.outer(factors, rows[step])
    factors = work[step, step + 1 :] // work[step, step]
    for columns in (work, right):
        columns[:, step + 1 :] -= np.outer(columns[:, step], factors)
