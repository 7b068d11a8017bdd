"""What the composition alone says of a property: the zero that networks start from."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

# Added to the normal equations, as a part of their mean diagonal.
RIDGE = 1e-6


class CompositionFit(nn.Module):
    """A number for each element, added up over the atoms or averaged, for each of W columns.

    Args:
        n_species: Number of species.
        sums: For each column whether it is a sum over the atoms or a mean.

    Attributes:
        table: The numbers [W, S], float64.
        spread: Root mean square of what they leave of every column [W], float64.
    """

    table: Tensor
    spread: Tensor
    sums: Tensor

    def __init__(self, n_species: int, sums: list[bool]) -> None:
        super().__init__()
        zeros = torch.zeros(len(sums), n_species, dtype=torch.float64)
        self.register_buffer("table", zeros)
        self.register_buffer("spread", torch.ones(len(sums), dtype=torch.float64))
        self.register_buffer("sums", torch.tensor(sums), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> CompositionFit:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        table, spread = self.table, self.spread
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.table, self.spread = table.to(self.table.device), spread.to(self.spread.device)
        return self

    def fit(self, counts: Float[Tensor, "B S"], values: Float[Tensor, "B W"]) -> None:
        """Take the least-squares fit to columns with gaps (NaN) and the spread about it."""
        for column, (target, extensive) in enumerate(zip(values.T, self.sums, strict=True)):
            known = target.isfinite()
            rows, wanted = _rows(counts[known], bool(extensive)), target[known].double()
            normal = rows.T @ rows
            normal.diagonal().add_(RIDGE * normal.diagonal().mean())
            self.table[column] = torch.linalg.solve(normal, rows.T @ wanted)
            rest = wanted - rows @ self.table[column]
            self.spread[column] = rest.square().mean().sqrt()

    def forward(self, counts: Float[Tensor, "B S"]) -> Float[Tensor, "B W"]:
        """Return the columns for numbers of atoms of each species."""
        both = [_rows(counts, extensive) @ self.table.T for extensive in (False, True)]
        return torch.where(self.sums, both[1], both[0])


def _rows(counts: Tensor, extensive: bool) -> Tensor:
    rows = counts.double()
    return rows if extensive else rows / rows.sum(1, keepdim=True)


def count_species(
    index: Int[Tensor, " N"], batch: Int[Tensor, " N"], size: tuple[int, int]
) -> Float[Tensor, "B S"]:
    """Return how many atoms of each species structures have, float64.

    Args:
        index: Species of each atom, as an index [N].
        batch: Structure of each atom [N].
        size: Numbers of structures and of species.
    """
    flat = torch.bincount(batch * size[1] + index, minlength=size[0] * size[1])
    return flat.view(size).double()
