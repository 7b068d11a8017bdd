"""How kernels interpolate weights between the knots of a table: which rows, times what."""

from __future__ import annotations

from typing import NamedTuple

Polynomial = tuple[int, ...]  # coefficients of u, lowest power first


class Spline(NamedTuple):
    """A weight is the first row of its knot, plus other rows times polynomials of the place u.

    Attributes:
        rows: Rows of one knot.
        places: Rows that are added, counted from the knot's first; some may be the next knot's.
        factors: What each of them is multiplied by.
        slopes: The derivatives of these factors.
        middle: Value of u at the knot is minus this; it grows by one to the next knot.
    """

    rows: int
    places: tuple[int, ...]
    factors: tuple[Polynomial, ...]
    slopes: tuple[Polynomial, ...]
    middle: float


# Cubic through the values and derivatives at both knots (Hermite): a knot has rows for its value,
# its derivative and the difference to the next value. For single precision.
HERMITE = Spline(
    rows=3,
    places=(1, 2, 4),
    factors=((0, 1, -2, 1), (0, 0, 3, -2), (0, 0, -1, 1)),
    slopes=((1, -4, 3), (0, 6, -6), (0, -2, 3)),
    middle=0.0,
)

# One polynomial of its own from each knot to the next; rows are the coefficients of u, counted
# from the middle, where they are well conditioned. For double precision.
DEGREE = 7
PIECES = Spline(
    rows=DEGREE + 1,
    places=tuple(range(1, DEGREE + 1)),
    factors=tuple((0,) * power + (1,) for power in range(1, DEGREE + 1)),
    slopes=tuple((0,) * (power - 1) + (power,) for power in range(1, DEGREE + 1)),
    middle=0.5,
)

SPLINES = {"float": HERMITE, "double": PIECES}
