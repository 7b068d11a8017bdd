"""Tables of radial functions that depend on the kind of the pair beside the length.

Kernels interpolate by one number per edge. The tables of all kinds, of equal step in the logarithm
of the length, are put one behind the other; the number of an edge is its length times a factor that
leads to the table of its kind (`PairSlots.code`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil, exp, inf, log

import torch
from torch import Tensor
from torch.nn.functional import pad

from matkit.nn.frozen.radial_table import RadialTable, tabulate
from matkit.nn.radial_functions import Mixture, Radial

# Shortest length that has a number, Å; bonds are never shorter.
LOW = 0.5
# Logarithm of the ratio of the numbers of two kinds next to each other, over that of the bounds.
STRETCH = 1.25
MULTIPLE = 4


@dataclass(frozen=True)
class PairSlots:
    """One number for the length and the kind of a pair.

    Attributes:
        slots: Place of every kind's table, -1 for none [kinds].
        kinds: Kind of every place.
        high: Longest length, Å.
    """

    slots: Tensor
    kinds: Tensor
    high: float

    @classmethod
    def of(cls, kinds: Sequence[int], number: int, high: float, device: torch.device) -> PairSlots:
        """Return numbers for some kinds.

        Args:
            kinds: Which ones.
            number: How many kinds there are.
            high: Longest length, Å.
            device: Where edges are.
        """
        chosen = torch.tensor(kinds, device=device)
        slots = torch.full((number,), -1, device=device)
        slots[chosen] = torch.arange(len(kinds), device=device)
        return cls(slots, chosen, high)

    @property
    def span(self) -> float:
        """Logarithm of the ratio of the numbers of two kinds next to each other."""
        return STRETCH * log(self.high / LOW)

    def code(self, lengths: Tensor, kinds: Tensor) -> tuple[Tensor, Tensor]:
        """Return numbers of edges [E] and their derivatives by the lengths; 0 for none.

        Args:
            lengths: Lengths [E], none above `high`, Å.
            kinds: Kinds of the pairs [E].
        """
        slots = self.slots[kinds]
        factor = torch.exp(self.span * slots.to(lengths))
        known = (lengths >= LOW) & (slots >= 0)
        return torch.where(known, lengths * factor, 0.0), factor

    def decode(self, codes: Tensor) -> tuple[Tensor, Tensor]:
        """Return the lengths [E] and the kinds of the pairs [E]."""
        # A little below, because the shortest length may be rounded down.
        slots = ((codes.detach() / LOW).log() / self.span + 1e-9).floor()
        kinds = self.kinds.to(codes.device)[slots.long()]
        return codes * torch.exp(-self.span * slots), kinds

    def of_kind(self, function: Radial, place: int) -> Radial:
        """Return a function of the number as one of the length, for the kind at a place."""
        factor = exp(self.span * place)
        if isinstance(function, Mixture):
            return Mixture(lambda lengths: function.inner(factor * lengths), function.mixing)
        return lambda lengths: function(factor * lengths)


def tabulate_pairs(
    functions: Sequence[Radial], slots: PairSlots, dtype: torch.dtype
) -> RadialTable:
    """Return one table of the functions of all kinds.

    Args:
        functions: Of every kind, from lengths [n] in Å, float64, to values [n, W].
        slots: Numbers of lengths and kinds.
        dtype: Type of the stored numbers.

    Raises:
        ConfigError: a function is too rough.
    """
    knots = 0
    tables = [tabulate(function, slots.high, LOW, dtype=dtype) for function in functions]
    while {_steps(table) for table in tables} != {knots}:
        # A multiple, so that the tables of two kinds are a whole number of steps apart.
        knots = MULTIPLE * ceil(max(map(_steps, tables)) / MULTIPLE)
        tables = [tabulate(f, slots.high, LOW, dtype=dtype, knots=knots) for f in functions]
    # From one table to the next there are knots that no length comes to.
    rows = round(STRETCH * knots)
    parts = [pad(table.rows, (0, 0, 0, 0, 0, rows - len(table.rows))) for table in tables]
    first = tables[0]
    grid = first.grid.clone()
    grid[2] = rows * len(parts) - 2
    return replace(
        first,
        rows=torch.cat(parts),
        grid=grid,
        high=inf,
        error=max(table.error for table in tables),
        slope_error=max(table.slope_error for table in tables),
    )


def _steps(table: RadialTable) -> int:
    """Return the number of steps from the first knot to the last."""
    return int(table.grid[2]) + 1
