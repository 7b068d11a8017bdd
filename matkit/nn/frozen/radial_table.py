"""A radial network frozen into a table: cubic Hermite, checked against the network when built.

Knots are a fixed ratio apart: radial functions are steep where atoms nearly touch and smooth
further out, and on a grid uniform in the length four times as many knots would be needed.
Between knots a distance h apart (in the logarithm of the length), the cubic with the network's own
values and derivatives is off by h⁴/384 times the fourth derivative. Inference needs the network
and its derivative only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, wraps
from math import ceil, log
from typing import ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.nn.kernels import compiler
from matkit.nn.kernels.fused import Interpolated
from matkit.nn.kernels.kernel import Kernel
from matkit.nn.kernels.launch import SCALARS, even_chunks, launch
from matkit.nn.kernels.lookup import generate_lookup
from matkit.nn.kernels.paths import Coupling, Layout
from matkit.nn.radial_functions import Mixture, Radial, with_slope

P = ParamSpec("P")
T = TypeVar("T")

MOST_KNOTS = 8192
PIECE = 64  # knots filled in, or functions looked at, at once
# The cubic's error peaks in the middle, its derivative's at (3 - √3) / 6 and mirrored.
_PROBES = (0.2113, 0.5)


@dataclass(frozen=True)
class RadialTable:
    """Values and derivatives of W radial functions; make one with `tabulate`.

    Attributes:
        rows: Value, derivative by the logarithm of the length times the step, and difference to
            the next value at every knot [knots, 3, W]; differences taken in double precision
            keep derivatives exact.
        grid: Logarithm of the first knot (in Å), one over the step, last index but one [3],
            float64.
        low: Shortest length covered, Å.
        high: Longest length covered, Å.
        error: Largest error of a value, relative to the largest value of its function.
        slope_error: The same of derivatives.
        function: The network, for lengths that are not covered.
    """

    rows: Tensor
    grid: Tensor
    low: float
    high: float
    error: float
    slope_error: float
    function: Radial

    def to(self, device: torch.device) -> RadialTable:
        """Return the table on another device."""
        return replace(self, rows=self.rows.to(device), grid=self.grid.to(device))

    def covers(self, lengths: Float[Tensor, " E"]) -> bool:
        """Return whether no length [E] lies outside the table."""
        return not len(lengths) or bool(((lengths >= self.low) & (lengths <= self.high)).all())

    def interpolated(self, lengths: Float[Tensor, " E"]) -> Interpolated:
        """Return what fused kernels interpolate from; `covers` must be true of the lengths."""
        return Interpolated(self.rows, self.grid, lengths)

    def lookup(self, lengths: Float[Tensor, " E"]) -> tuple[Tensor, Tensor]:
        """Return values and derivatives by the length, both [E, W]; exact outside the table."""
        lengths = lengths.detach().contiguous()
        width = self.rows.shape[2]
        value = self.rows.new_empty(len(lengths), width)
        slope = torch.empty_like(value)
        entry = _entry(width, self.rows.dtype)
        tensors = [self.rows, lengths.log(), self.grid, value, slope]
        launch(entry, tensors, even_chunks(len(lengths)))
        slope.mul_(lengths.reciprocal().to(slope).unsqueeze(1))
        if not self.covers(lengths):
            outside = torch.nonzero(~((lengths >= self.low) & (lengths <= self.high)))[:, 0]
            exact, exact_slope = with_slope(self.function, lengths[outside])
            value[outside], slope[outside] = exact.to(value), exact_slope.to(value)
        return value, slope


def _on_one_thread(build: Callable[P, T]) -> Callable[P, T]:
    """Run `build` without torch's other threads: for hundreds of small steps they only wait.

    On a busy machine every wait costs a time slice, which takes longer than the table.
    """

    @wraps(build)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return build(*args, **kwargs)
        finally:
            torch.set_num_threads(threads)

    return wrapped


@_on_one_thread
def tabulate(
    function: Radial,
    high: float,
    low: float = 0.5,
    onset: float | None = None,
    dtype: torch.dtype = torch.float32,
    tolerance: float = 1e-6,
) -> RadialTable:
    """Build a table fine enough for a tolerance.

    Args:
        function: From lengths [n] in Å, float64, to values [n, W]; differentiable twice.
        high: End of the table, usually the cutoff, Å.
        low: Begin of the table, Å; bonds are never shorter, and what is gets the network itself.
        onset: Where the second derivative jumps (XPLOR), Å; made a knot.
        dtype: Type of the stored numbers.
        tolerance: Largest error of a value at any length, relative to the largest value of the
            same function (beyond the innermost fifth of the table, where functions may be
            steep); five times as much for derivatives.

    Raises:
        ConfigError: the bounds are out of order, or the function is too rough.
    """
    if not 0 < low < (onset or high) <= high:
        raise ConfigError(f"Expected 0 < low < onset <= high, got {low}, {onset}, {high} Å.")
    # With a kink, a whole number of steps lies between it and the end of the table.
    unit = log(high / (onset if onset is not None and onset < high else low))
    count = ceil(256 * unit / log(high / low))
    while True:
        lengths = _knots(low, high, unit / count)
        if len(lengths) > MOST_KNOTS:
            raise ConfigError(
                f"A table with {MOST_KNOTS} knots between {low} and {high} Å does not reach a "
                f"relative error of {tolerance:g}: the radial function is too rough or has a "
                "kink. Name the kink as `onset`, raise `low`, or use the network itself."
            )
        coarse = _inner_rows(function, lengths, unit / count)
        error, slope_error = _errors(function, coarse, lengths, unit / count)
        # Fourth and third order in the step; a little more than needed saves a round.
        missing = max((error / tolerance) ** (1 / 4), (slope_error / (5 * tolerance)) ** (1 / 3))
        if missing <= 1:
            break
        count = ceil(count * min(1.05 * missing, 8.0))
    rows = _mixed(coarse, function, dtype)
    grid = _grid(lengths, unit / count)
    low = max(low, float(lengths[0]))
    return RadialTable(rows, grid, low, high, error, slope_error, function)


def interpolate(rows: Tensor, grid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and derivatives [E, W] from a table, in plain torch (the reference)."""
    s = (lengths.log() - grid[0]) * grid[1]
    knot = s.floor().clamp(0, float(grid[2]))
    u = (s - knot).unsqueeze(1).to(rows)
    value, left, difference = rows[knot.long()].unbind(dim=1)
    right = rows[knot.long() + 1, 1]
    # Coefficients of u² and u³.
    c2, c3 = 3 * difference - 2 * left - right, left + right - 2 * difference
    slope = (left + u * (2 * c2 + u * 3 * c3)) * (grid[1] / lengths).unsqueeze(1).to(rows)
    return value + u * (left + u * (c2 + u * c3)), slope


def _knots(low: float, high: float, step: float) -> Tensor:
    """Return knots [n] a ratio exp(step) apart, from `low` or just below it to `high`."""
    n = ceil(log(high / low) / step - 1e-9) + 1
    return high * torch.exp(-step * torch.arange(n - 1, -1, -1, dtype=torch.float64))


def _grid(lengths: Tensor, step: float) -> Tensor:
    return torch.tensor([log(lengths[0]), 1 / step, len(lengths) - 2], dtype=torch.float64)


def _inner_rows(function: Radial, lengths: Tensor, step: float) -> Tensor:
    """Return the rows [n, 3, H] of a table of the functions that are mixed, in float64."""
    inner = function.inner if isinstance(function, Mixture) else function
    value, slope = with_slope(inner, lengths)
    difference = torch.diff(value, dim=0, append=value[-1:])
    return torch.stack([value, step * lengths.unsqueeze(1) * slope, difference], dim=1)


def _mixed(inner: Tensor, function: Radial, dtype: torch.dtype) -> Tensor:
    """Return the rows [n, 3, W], mixed in float64 and then rounded; interpolation is linear."""
    if not isinstance(function, Mixture):
        return inner.to(dtype).contiguous()
    rows = torch.empty(*inner.shape[:2], function.mixing.shape[1], dtype=dtype)
    for some, out in zip(inner.split(PIECE), rows.split(PIECE), strict=True):
        out.copy_(some @ function.mixing)
    return rows


def _errors(function: Radial, rows: Tensor, lengths: Tensor, step: float) -> tuple[float, float]:
    """Return the largest errors of values and derivatives, relative to their functions' largest.

    Args:
        function: The network.
        rows: From `_inner_rows` [n, 3, H].
        lengths: Knots [n] in Å.
        step: Step of their logarithms.
    """
    probes = torch.cat([lengths[:-1] * torch.exp(torch.tensor(u * step)) for u in _PROBES])
    outer = probes >= lengths[0] + 0.2 * (lengths[-1] - lengths[0])
    mixing = function.mixing if isinstance(function, Mixture) else None
    inner = function.inner if isinstance(function, Mixture) else function
    found = []
    for exact, got in zip(
        with_slope(inner, probes), interpolate(rows, _grid(lengths, step), probes), strict=True
    ):
        scale = _largest(exact[outer], mixing)
        # A function that is nearly zero everywhere has no relative error of its own.
        floor = (1e-3 * scale.amax()).clamp(min=1e-30)
        found.append(float((_largest(got - exact, mixing) / torch.maximum(scale, floor)).amax()))
    return found[0], found[1]


def _largest(inner: Tensor, mixing: Tensor | None) -> Tensor:
    """Return the largest magnitude [W] of every mixture of columns of `inner` [n, H]."""
    if mixing is None:
        return inner.abs().amax(dim=0)
    # Some functions at a time, for the cache's sake.
    return torch.cat([(inner @ part).abs_().amax(dim=0) for part in mixing.split(PIECE, dim=1)])


@cache
def _entry(width: int, dtype: torch.dtype) -> int:
    size, registers = compiler.vector_unit()
    layout = Layout(((0, width),), ((0, width),), 0, (Coupling(0, 0, 0, width),))
    kernel = Kernel(layout, SCALARS[dtype], "w", True, size, registers)
    return compiler.load(f"lookup {kernel}", lambda: generate_lookup(kernel))
