"""Rows of radial tables: what kernels add up to the value at any length, see `kernels.spline`.

All is done in double precision, for functions [n, H] of the length, at knots a fixed ratio apart.
"""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.nn.kernels.spline import DEGREE, HERMITE, Polynomial, Spline
from matkit.nn.radial_functions import Radial, with_slope


def spline_rows(spline: Spline, function: Radial, knots: Tensor, step: float) -> Tensor:
    """Return the rows [knots, rows, H] of a spline that follows a function.

    Args:
        spline: Which one.
        function: From lengths [n] in Å to values [n, H].
        knots: Lengths [knots] in Å.
        step: Difference of their logarithms.
    """
    make = _hermite_rows if spline == HERMITE else _piece_rows
    return make(function, knots, step)


def interpolate(
    spline: Spline, rows: Tensor, grid: Tensor, lengths: Tensor
) -> tuple[Tensor, Tensor]:
    """Return values and derivatives by the length [E, W], in plain torch (the reference).

    Args:
        spline: What the rows are.
        rows: Table [knots, rows, W].
        grid: See `RadialTable`.
        lengths: Lengths [E] in Å, float64.
    """
    s = (lengths.log() - grid[0]) * grid[1]
    knot = s.floor().clamp(0, float(grid[2]))
    u = (s - knot - spline.middle).unsqueeze(1).to(rows)
    flat, first = rows.flatten(0, 1), spline.rows * knot.long()
    value, slope = flat[first], torch.zeros_like(flat[first])
    for place, factor, by_u in zip(spline.places, spline.factors, spline.slopes, strict=True):
        row = flat[first + place]
        value = value + _polynomial(factor, u) * row
        slope = slope + _polynomial(by_u, u) * row
    return value, slope * (grid[1] / lengths).unsqueeze(1).to(rows)


def _hermite_rows(function: Radial, knots: Tensor, step: float) -> Tensor:
    """Return value, derivative by the logarithm times the step, and difference to the next value.

    Differences taken in double precision keep derivatives exact where rows are rounded.
    """
    value, slope = with_slope(function, knots)
    difference = torch.diff(value, dim=0, append=value[-1:])
    return torch.stack([value, step * knots.unsqueeze(1) * slope, difference], dim=1)


def _piece_rows(function: Radial, knots: Tensor, step: float) -> Tensor:
    """Return the coefficients of polynomials through the values at Chebyshev's nodes.

    Nodes lie strictly between knots, so that a kink may be a knot. The last knot has no row.
    """
    power = torch.arange(DEGREE + 1, dtype=torch.float64)
    nodes = -torch.cos(torch.pi * (2 * power + 1) / (2 * (DEGREE + 1))) / 2
    lengths = knots[:-1].unsqueeze(1) * torch.exp(step * (nodes + 0.5))
    with torch.no_grad():
        values = function(lengths.flatten()).unflatten(0, lengths.shape)
    return torch.linalg.inv(nodes.unsqueeze(1) ** power) @ values


def _polynomial(coefficients: Polynomial, u: Tensor) -> Tensor:
    value = torch.full_like(u, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * u + coefficient
    return value
