"""Neighbour lists that outlive a few steps of dynamics (Verlet 1967)."""

from __future__ import annotations

import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.structures import Structures


class VerletList:
    """Radius graphs of a moving structure, searched anew only when an edge may be missing.

    Candidates up to ``cutoff + skin`` are kept. Atoms may have moved by u beyond a homogeneous
    deformation F of the cell; a pair outside the candidates is then still farther apart than
    ``σ_min(F) (cutoff + skin) - 2 max|u|``, so the candidates serve as long as that exceeds the
    cutoff. Without deformation this is Verlet's rule, half the skin per atom.

    Args:
        cutoff: Longest edge, Å.
        skin: Extra reach of the candidates, Å; zero searches every time.
        backend: Neighbour search, see `matkit.neighbors.radius_graph`.
    """

    def __init__(self, cutoff: float, skin: float, backend: str = "auto") -> None:
        self.cutoff, self.skin, self.backend = cutoff, skin, backend
        self.searches = 0
        self._candidates: Graph | None = None

    def graph(self, structures: Structures) -> Graph:
        """Return the radius graph of one structure (a batch of one)."""
        if self._candidates is None or not self._still_valid(self._candidates, structures):
            self.searches += 1
            self._candidates = radius_graph(structures, self.cutoff + self.skin, self.backend)
        moved = self._candidates.replace(
            positions=structures.positions,
            cell=structures.cell,
            atom=structures.atom,
            system=structures.system,
            cutoff=self.cutoff,
        )
        squared = moved.vectors.square().sum(dim=1)
        return moved.keep_edges(squared < self.cutoff**2)

    def _still_valid(self, old: Graph, new: Structures) -> bool:
        same = (
            self.skin > 0
            and old.device == new.device
            and torch.equal(old.species, new.species)
            and torch.equal(old.pbc, new.pbc)
        )
        if not same:
            return False
        deformation = _deformation(old, new)
        if deformation is None:
            return False
        stray = (new.positions - old.positions @ deformation).norm(dim=1).max()
        shrink = torch.linalg.svdvals(deformation)[-1]
        return bool(shrink * (self.cutoff + self.skin) - 2 * stray > self.cutoff)


def _deformation(old: Structures, new: Structures) -> Tensor | None:
    """Return F with ``new.cell = old.cell @ F``, or None if lattice vectors came or went."""
    if torch.equal(old.cell, new.cell):
        return torch.eye(3, dtype=old.cell.dtype, device=old.device)
    if bool((torch.linalg.det(torch.stack([old.cell[0], new.cell[0]])).abs() < 1e-9).any()):
        return None
    return torch.linalg.solve(old.cell[0], new.cell[0])
