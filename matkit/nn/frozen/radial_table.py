"""A radial network frozen into a table, checked against the network when built.

Knots are a fixed ratio apart: radial functions are steep where atoms nearly touch and smooth
further out, and on a grid uniform in the length four times as many knots would be needed.
In single precision the table is a cubic through values and derivatives, whose error is h⁴/384
times the fourth derivative for knots h apart (in the logarithm of the length). In double precision
it is a polynomial of degree seven from each knot to the next: its error falls with h⁸, so that
some two hundred knots reach eleven digits, where a cubic would take ten thousand.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.nn.frozen.table_rows import interpolate, spline_rows
from matkit.nn.kernels.fused import TableWeights
from matkit.nn.kernels.launch import SCALARS
from matkit.nn.kernels.spline import SPLINES
from matkit.nn.radial_functions import Mixture, Radial, with_slope
from matkit.threads import one_thread

PIECE = 64  # knots filled in, or functions looked at, at once


class Accuracy(NamedTuple):
    """How fine a table must be.

    Errors are those at any length, relative to the largest value (or derivative) of the same
    function beyond the innermost fifth of the table, where functions may be steep.

    Attributes:
        error: Largest error of a value.
        slope_error: The same of derivatives.
        order: Power of the step that the error of a value falls with; derivatives have one less.
        knots: Number of the first try.
        most_knots: Where a function counts as too rough.
        probes: Places between two knots where errors peak.
    """

    error: float
    slope_error: float
    order: int
    knots: int
    most_knots: int
    probes: tuple[float, ...]


ACCURACIES = {
    # The cubic's error peaks in the middle, its derivative's at (3 - √3) / 6 and mirrored.
    torch.float32: Accuracy(1e-6, 5e-6, 4, 256, 8192, (0.2113, 0.5)),
    # Between the nodes, and for derivatives at both ends.
    torch.float64: Accuracy(1e-11, 1e-9, 8, 192, 1024, (0.001, 0.038, 0.146, 0.309, 0.5, 0.999)),
}


@dataclass(frozen=True)
class RadialTable:
    """W radial functions; make one with `tabulate`.

    Attributes:
        rows: What is added up at every knot [knots, rows, W].
        grid: Logarithm of the first knot (in Å), one over the step, last index but one [3],
            float64.
        low: Shortest length covered, Å.
        high: Longest length covered, Å.
        error: Largest error of a value, relative to the largest value of its function.
        slope_error: The same of derivatives.
    """

    rows: Tensor
    grid: Tensor
    low: float
    high: float
    error: float
    slope_error: float

    def to(self, device: torch.device) -> RadialTable:
        """Return the table on another device."""
        return replace(self, rows=self.rows.to(device), grid=self.grid.to(device))

    def covers(self, lengths: Float[Tensor, " E"]) -> bool:
        """Return whether no length [E] lies outside the table."""
        if not len(lengths):
            return True
        shortest, longest = lengths.aminmax()
        return self.low <= float(shortest) and float(longest) <= self.high

    def weights(self, lengths: Float[Tensor, " E"]) -> TableWeights:
        """Return what fused kernels interpolate from; `covers` must be true of the lengths."""
        return TableWeights(self.rows, self.grid, lengths)


@one_thread()  # hundreds of small steps
def tabulate(
    function: Radial,
    high: float,
    low: float = 0.5,
    onset: float | None = None,
    dtype: torch.dtype = torch.float32,
    knots: int = 0,
) -> RadialTable:
    """Build a table as fine as `ACCURACIES` demands.

    Args:
        function: From lengths [n] in Å, float64, to values [n, W]; differentiable twice.
        high: End of the table, usually the cutoff, Å.
        low: Begin of the table, Å; bonds are never shorter, and what is gets the network itself.
        onset: Where the second derivative jumps (XPLOR), Å; made a knot.
        dtype: Type of the stored numbers.
        knots: Number of the first try, if that is more than `ACCURACIES` begins with.

    Raises:
        ConfigError: the bounds are out of order, or the function is too rough.
    """
    if not 0 < low < (onset or high) <= high:
        raise ConfigError(f"Expected 0 < low < onset <= high, got {low}, {onset}, {high} Å.")
    spline, wanted = SPLINES[SCALARS[dtype]], ACCURACIES[dtype]
    # With a kink, a whole number of steps lies between it and the end of the table.
    unit = log(high / (onset if onset is not None and onset < high else low))
    count = ceil(max(wanted.knots, knots) * unit / log(high / low))
    while True:
        step = unit / count
        lengths = _knots(low, high, step)
        if len(lengths) > wanted.most_knots:
            raise ConfigError(
                f"A table with {wanted.most_knots} knots between {low} and {high} Å does not reach "
                f"a relative error of {wanted.error:g}: the radial function is too rough or has a "
                "kink. Name the kink as `onset`, raise `low`, or use the network itself."
            )
        rows = spline_rows(spline, _inner(function), lengths, step)
        error, slope_error = _errors(function, rows, lengths, step, dtype)
        missing = max(
            (error / wanted.error) ** (1 / wanted.order),
            (slope_error / wanted.slope_error) ** (1 / (wanted.order - 1)),
        )
        if missing <= 1:
            break
        # A little more than needed saves a round.
        count = ceil(count * min(1.05 * missing, 8.0))
    low, grid = max(low, float(lengths[0])), _grid(lengths, step)
    return RadialTable(_mixed(rows, function, dtype), grid, low, high, error, slope_error)


def _knots(low: float, high: float, step: float) -> Tensor:
    """Return knots [n] a ratio exp(step) apart, from `low` or just below it to `high`."""
    n = ceil(log(high / low) / step - 1e-9) + 1
    return high * torch.exp(-step * torch.arange(n - 1, -1, -1, dtype=torch.float64))


def _grid(knots: Tensor, step: float) -> Tensor:
    return torch.tensor([log(knots[0]), 1 / step, len(knots) - 2], dtype=torch.float64)


def _mixed(inner: Tensor, function: Radial, dtype: torch.dtype) -> Tensor:
    """Return the rows [n, rows, W], mixed in float64 and then rounded; splines are linear."""
    if not isinstance(function, Mixture):
        return inner.to(dtype).contiguous()
    rows = torch.empty(*inner.shape[:2], function.mixing.shape[1], dtype=dtype)
    for some, out in zip(inner.split(PIECE), rows.split(PIECE), strict=True):
        out.copy_(some @ function.mixing)
    return rows


def _errors(
    function: Radial, rows: Tensor, knots: Tensor, step: float, dtype: torch.dtype
) -> tuple[float, float]:
    """Return the largest errors of values and derivatives, relative to their functions' largest.

    Args:
        function: The network.
        rows: From `spline_rows`, of the functions that are mixed.
        knots: Knots [n] in Å.
        step: Step of their logarithms.
        dtype: Type of numbers that the table is for.
    """
    places = ACCURACIES[dtype].probes
    probes = torch.cat([knots[:-1] * torch.exp(torch.tensor(u * step)) for u in places])
    outer = probes >= knots[0] + 0.2 * (knots[-1] - knots[0])
    mixing = function.mixing if isinstance(function, Mixture) else None
    approximation = interpolate(SPLINES[SCALARS[dtype]], rows, _grid(knots, step), probes)
    errors = []
    for exact, got in zip(with_slope(_inner(function), probes), approximation, strict=True):
        scale = _largest(exact[outer], mixing)
        # A function that is nearly zero everywhere has no relative error of its own.
        floor = (1e-3 * scale.amax()).clamp(min=1e-30)
        errors.append(float((_largest(got - exact, mixing) / torch.maximum(scale, floor)).amax()))
    return errors[0], errors[1]


def _largest(inner: Tensor, mixing: Tensor | None) -> Tensor:
    """Return the largest magnitude [W] of every mixture of columns of `inner` [n, H]."""
    if mixing is None:
        return inner.abs().amax(dim=0)
    # Some functions at a time, for the cache's sake.
    return torch.cat([(inner @ part).abs_().amax(dim=0) for part in mixing.split(PIECE, dim=1)])


def _inner(function: Radial) -> Radial:
    """Return the functions that are mixed: much less to do, with the same result."""
    return function.inner if isinstance(function, Mixture) else function
