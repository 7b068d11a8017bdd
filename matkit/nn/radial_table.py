"""A radial network frozen into a table: cubic Hermite on a uniform grid, checked when built.

Between knots a distance h apart, the cubic with the network's own values and derivatives is off
by h⁴/384 times the fourth derivative. Inference needs the network and its derivative only.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, wraps
from math import ceil
from typing import ParamSpec, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.nn.convolution import compiler
from matkit.nn.convolution.fused import Interpolated
from matkit.nn.convolution.kernel import Kernel
from matkit.nn.convolution.launch import SCALARS, even_chunks, launch
from matkit.nn.convolution.lookup import generate_lookup
from matkit.nn.convolution.paths import Layout, Path

Radial = Callable[[Tensor], Tensor]
P = ParamSpec("P")
T = TypeVar("T")

MOST_KNOTS = 8192
PIECE = 64  # knots handled at once
# The cubic's error peaks in the middle, its derivative's at (3 - √3) / 6 and mirrored.
_PROBES = (0.2113, 0.5)


@dataclass(frozen=True)
class RadialTable:
    """Values and derivatives of W radial functions; make one with `tabulate`.

    Attributes:
        rows: Value, derivative times the step and difference to the next value at every knot
            [knots, 3, W]; differences taken in double precision keep derivatives exact.
        grid: First knot in Å, one over the step in 1/Å, last index but one [3], float64.
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
        tensors = [self.rows, lengths, self.grid, value, slope]
        launch(entry, tensors, even_chunks(len(lengths)))
        if not self.covers(lengths):
            outside = torch.nonzero(~((lengths >= self.low) & (lengths <= self.high)))[:, 0]
            exact, exact_slope = with_slope(self.function, lengths[outside])
            value[outside], slope[outside] = exact.to(value), exact_slope.to(value)
        return value, slope


def _on_one_thread(build: Callable[P, T]) -> Callable[P, T]:
    """Run `build` without torch's other threads: for thousands of small steps they only wait.

    On a busy machine every wait costs a time slice, and the table minutes instead of a second.
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
            steep); ten times as much for derivatives.

    Raises:
        ConfigError: the bounds are out of order, or the function is too rough.
    """
    if not 0 < low < (onset or high) <= high:
        raise ConfigError(f"Expected 0 < low < onset <= high, got {low}, {onset}, {high} Å.")
    # With a kink, a whole number of steps lies between it and the end of the table.
    unit = high - onset if onset is not None and onset < high else high - low
    count, stride = ceil(256 * unit / (high - low)), 8
    while True:
        lengths, step = _knots(low, high, unit / count)
        if len(lengths) > MOST_KNOTS:
            raise ConfigError(
                f"A table with {MOST_KNOTS} knots between {low} and {high} Å does not reach a "
                f"relative error of {tolerance:g}: the radial function is too rough or has a "
                "kink. Name the kink as `onset`, raise `low`, or use the network itself."
            )
        rows, error, slope_error = _attempt(function, lengths, step, stride, dtype)
        # Fourth and third order in the step; a little more than needed saves a round.
        missing = max((error / tolerance) ** (1 / 4), (slope_error / (10 * tolerance)) ** (1 / 3))
        if missing <= 1 and stride == 1:
            break
        # The first step is found on every eighth function; the last word is on all of them.
        stride = 1
        count = ceil(count * min(1.05 * missing, 8.0)) if missing > 1 else count
    grid = torch.tensor([lengths[0], 1 / step, len(lengths) - 2], dtype=torch.float64)
    low = max(low, float(lengths[0]))
    return RadialTable(rows, grid, low, high, error, slope_error, function)


def _pieces(lengths: Tensor) -> Iterator[Tensor]:
    """Yield runs of knots, each with the first of the next; the work on one fits the cache."""
    for first in range(0, len(lengths) - 1, PIECE):
        yield lengths[first : first + PIECE + 1]


def _rows(function: Radial, knots: Tensor, step: float) -> Tensor:
    """Return value, derivative times the step and difference to the next (or 0) [n, 3, W]."""
    value, slope = with_slope(function, knots)
    difference = torch.diff(value, dim=0, append=value[-1:])
    return torch.stack([value, step * slope, difference], dim=1)


def _knots(low: float, high: float, step: float) -> tuple[Tensor, float]:
    """Return uniform knots [n] ending at `high`, the first at or just below `low`; and the step."""
    n = ceil((high - low) / step - 1e-9) + 1
    lengths = high - step * torch.arange(n - 1, -1, -1, dtype=torch.float64)
    return lengths[lengths > 0], step


def with_slope(function: Radial, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return function(lengths) and its derivative, both [n, W] in float64.

    Each row depends on its own length alone, so the derivative is a Jacobian-vector product: the
    derivative of the vector-Jacobian product by its vector. (Forward-mode differentiation would
    first import 800 modules.)
    """
    with torch.enable_grad():
        r = lengths.detach().double().requires_grad_()
        value = function(r)
        vector = torch.zeros_like(value, requires_grad=True)
        # Sums, because torch imports sympy when it is handed a vector.
        (back,) = torch.autograd.grad((value * vector).sum(), r, create_graph=True)
        (slope,) = torch.autograd.grad(back.sum(), vector)
    return value.detach(), slope.detach()


def interpolate(rows: Tensor, grid: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """Return values and derivatives [E, W] from a table, in plain torch (the reference)."""
    s = (lengths - grid[0]) * grid[1]
    knot = s.floor().clamp(0, float(grid[2]))
    u = (s - knot).unsqueeze(1).to(rows)
    value, left, difference = rows[knot.long()].unbind(dim=1)
    right = rows[knot.long() + 1, 1]
    # Coefficients of u² and u³.
    c2, c3 = 3 * difference - 2 * left - right, left + right - 2 * difference
    slope = (left + u * (2 * c2 + u * 3 * c3)) * grid[1].to(rows)
    return value + u * (left + u * (c2 + u * c3)), slope


def _attempt(
    function: Radial, lengths: Tensor, step: float, stride: int, dtype: torch.dtype
) -> tuple[Tensor, float, float]:
    """Return the rows of a table and its largest relative errors of value and derivative.

    Only every `stride`-th function is made and looked at.
    """
    steep = lengths[0] + 0.2 * (lengths[-1] - lengths[0])
    table, scales, errors = torch.empty(0), [], []
    for first, knots in enumerate(_pieces(lengths)):
        rows = _rows(function, knots, step)[:, :, ::stride]
        if not first:
            table = torch.empty(len(lengths), *rows.shape[1:], dtype=dtype)
        # The last row of a piece is the first of the next, which knows the difference, too.
        table[first * PIECE : first * PIECE + len(rows)] = rows
        grid = torch.tensor([knots[0], 1 / step, len(knots) - 2], dtype=torch.float64)
        probes = torch.cat([knots[:-1] + u * step for u in _PROBES])
        exact = [right[:, ::stride] for right in with_slope(function, probes)]
        pairs = list(zip(exact, interpolate(rows, grid, probes), strict=True))
        errors.append(torch.stack([(got - right).abs_().amax(0) for right, got in pairs]))
        outer = probes >= steep
        if bool(outer.any()):
            scales.append(torch.stack([right[outer].abs().amax(0) for right in exact]))
    scale = torch.stack(scales).amax(0)
    # A function that is nearly zero everywhere has no relative error of its own.
    floor = (1e-3 * scale.amax(1, keepdim=True)).clamp(min=1e-30)
    value_error, slope_error = (torch.stack(errors).amax(0) / torch.maximum(scale, floor)).amax(1)
    return table, float(value_error), float(slope_error)


@cache
def _entry(width: int, dtype: torch.dtype) -> int:
    size, registers = compiler.vector_unit()
    layout = Layout(((0, width),), ((0, width),), 0, (Path(0, 0, 0, width),))
    kernel = Kernel(layout, SCALARS[dtype], "w", True, size, registers)
    return compiler.load(f"lookup {kernel}", lambda: generate_lookup(kernel))
