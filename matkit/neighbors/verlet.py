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
        self._origin: Structures | None = None

    def graph(self, structures: Structures, device: torch.device | None = None) -> Graph:
        """Return the radius graph of one structure (a batch of one), on `device` if given."""
        candidates = self.candidates(structures, device)
        here = structures.to(candidates.device)
        moved = candidates.replace(
            positions=here.positions,
            cell=here.cell,
            atom=here.atom,
            system=here.system,
            cutoff=self.cutoff,
        )
        squared = moved.vectors.square().sum(dim=1)
        return moved.keep_edges(squared < self.cutoff**2)

    def candidates(self, structures: Structures, device: torch.device | None = None) -> Graph:
        """Return the last graph searched, up to ``cutoff + skin``, or a new one if it is too old.

        The graph has the positions it was made for; it is the same object as long as it serves.

        Args:
            structures: One structure (a batch of one).
            device: Where to search; where the structure is if not given.
        """
        device = structures.device if device is None else device
        old = self._candidates
        if old is not None and old.device == device and self._still_valid(structures):
            return old
        self.searches += 1
        # A copy: whoever moves atoms in place would move these too, and none would seem to move.
        self._origin = structures.map(lambda tensor, _: tensor.clone())
        reach = self.cutoff + self.skin
        self._candidates = radius_graph(structures.to(device), reach, self.backend)
        return self._candidates

    def _still_valid(self, new: Structures) -> bool:
        old = self._origin
        if old is None or self.skin <= 0 or old.device != new.device:
            return False
        if old.species.shape != new.species.shape:
            return False
        same = (old.species == new.species).all() & (old.pbc == new.pbc).all()
        deformation, known = _deformation(old, new)
        stray = (new.positions - old.positions @ deformation).norm(dim=1).max()
        # σ_min(F) is at least 1 - |F - 1|; a decomposition would wait for the GPU.
        identity = torch.eye(3, dtype=deformation.dtype, device=old.device)
        shrink = 1 - (deformation - identity).norm()
        near = shrink * (self.cutoff + self.skin) - 2 * stray > self.cutoff
        return bool(same & known & near)  # the only look at a number


def _deformation(old: Structures, new: Structures) -> tuple[Tensor, Tensor]:
    """Return F with ``new.cell = old.cell @ F``, and whether there is one.

    There is none if lattice vectors came or went.
    """
    same = (old.cell == new.cell).all()
    found, _ = torch.linalg.solve_ex(old.cell[0], new.cell[0])
    full = torch.minimum(old.volume, new.volume)[0] > 1e-9
    identity = torch.eye(3, dtype=old.cell.dtype, device=old.device)
    return torch.where(same, identity, found), same | full
