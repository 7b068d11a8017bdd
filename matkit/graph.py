"""Neighbour graph of a batch of structures, and the one place that says what an edge is.

Edge e points from its centre i to its neighbour j, possibly in another periodic image:
``vector[e] = positions[j] + shift[e] @ cell - positions[i]``, the direction of ASE's "D".
Edges are sorted by centre, so ``pointers`` gives every atom's edges as one contiguous range.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, Self

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.scopes import scoped
from matkit.structures import Structures

# What follows from the atoms that edges connect alone, and fields that have no say in it.
REMEMBERED = ("pointers", "transpose", "batch", "offsets")
FREE = frozenset({"positions", "cell", "pbc", "shift", "cutoff", "atom", "system", "bonds", "bond"})


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph(Structures):
    """Structures with every pair of atoms closer than `cutoff`, both directions.

    Attributes:
        center: Atom i at which the edge is summed [E], sorted.
        neighbor: Atom j whose feature is sent [E].
        shift: Lattice translations of the neighbour [E, 3].
        cutoff: Longest edge, Å.
    """

    center: Int[Tensor, " E"] = scoped("edge", points=True)
    neighbor: Int[Tensor, " E"] = scoped("edge", points=True)
    shift: Int[Tensor, "E 3"] = scoped("edge")
    cutoff: float
    owners: ClassVar[dict[str, str]] = {**Structures.owners, "edge": "center"}

    @cached_property
    def vectors(self) -> Float[Tensor, "E 3"]:
        """Edge vectors [E, 3] in Å, differentiable with respect to positions and cell."""
        cell = self.cell if len(self) == 1 else self.cell[self.batch[self.center]]
        # Not as a product of matrices, for which other threads are called however few edges.
        a, b, c = self.shift.to(cell.dtype).unsqueeze(2).unbind(dim=1)
        image = a * cell[:, 0] + b * cell[:, 1] + c * cell[:, 2]
        return self.positions[self.neighbor] + image - self.positions[self.center]

    @cached_property
    def pointers(self) -> Int[Tensor, " N_plus_1"]:
        """Edges ``pointers[i]:pointers[i + 1]`` have atom i as their centre [N + 1]."""
        count = torch.bincount(self.center, minlength=len(self.species))
        return torch.nn.functional.pad(torch.cumsum(count, 0), (1, 0))

    @cached_property
    def transpose(self) -> tuple[Int[Tensor, " E"], Int[Tensor, " N_plus_1"]]:
        """Edges sorted by neighbour [E], in order of centre among equals, and pointers [N + 1]."""
        count = torch.bincount(self.neighbor, minlength=len(self.species))
        pointers = torch.nn.functional.pad(torch.cumsum(count, 0), (1, 0))
        return torch.argsort(self.neighbor, stable=True), pointers

    @cached_property
    def tables(self) -> dict[str, Any]:
        """What others derive from the atoms that edges connect alone, by their names."""
        return {}

    def replace(self, **changes: Any) -> Self:
        """Return a copy with some fields replaced, and what still holds of what is remembered."""
        copied = super().replace(**changes)
        if changes.keys() <= FREE:
            copied._remember(self)
        return copied

    def keep_edges(self, keep: Tensor, known: Self | None = None) -> Self:
        """Return the graph of the edges selected by a mask [E] or sorted index.

        Args:
            keep: Which edges.
            known: An earlier graph of these very edges, whose tables still hold.
        """
        names = ("center", "neighbor", "shift")
        rows = {name: getattr(known or self, name) for name in names}
        if known is None:
            rows = {name: value[keep] for name, value in rows.items()}
        kept = self.replace(**rows)
        if known is not None:
            kept._remember(known)
        if "vectors" in vars(self):
            vars(kept)["vectors"] = self.vectors[keep]
        return kept

    def _remember(self, other: Self) -> None:
        """Take over what was derived from edges that connect the same atoms."""
        known = vars(other)
        vars(self).update({name: known[name] for name in REMEMBERED if name in known})
        vars(self)["tables"] = other.tables

    def _starts(self, scope: str) -> Int[Tensor, " B_plus_1"]:
        return self.pointers[self.offsets] if scope == "edge" else super()._starts(scope)
