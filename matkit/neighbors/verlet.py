"""Neighbour lists that outlive a few steps of dynamics (Verlet 1967)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.scopes import cat
from matkit.structures import Structures

# Å³ that a cell has at least whose vectors are those of another one, deformed.
SMALLEST_VOLUME = 1e-9


class VerletList:
    """Radius graphs of moving structures, searched anew only where an edge may be missing.

    Candidates up to ``cutoff + skin`` are kept. Atoms may have moved by u beyond a homogeneous
    deformation F of the cell; a pair outside the candidates is then still farther apart than
    ``σ_min(F) (cutoff + skin) - 2 max|u|``, so the candidates serve as long as that exceeds the
    cutoff. Without deformation this is Verlet's rule, half the skin per atom. In a batch every
    structure is judged by itself.

    Args:
        cutoff: Longest edge, Å.
        skin: Extra reach of the candidates, Å; zero searches every time.
        backend: Neighbour search, see `matkit.neighbors.radius_graph`.

    Attributes:
        searches: Structures that were searched so far.
    """

    def __init__(self, cutoff: float, skin: float, backend: str = "auto") -> None:
        self.cutoff, self.skin, self.backend = cutoff, skin, backend
        self.searches = 0
        self._candidates: Graph | None = None
        self._origin: Structures | None = None
        # Candidates, which of them were edges, and their graph.
        self._last: tuple[Graph, Tensor, Graph] | None = None

    def graph(self, structures: Structures, device: torch.device | None = None) -> Graph:
        """Return the radius graph of a batch, on `device` if given."""
        candidates = self.candidates(structures, device)
        here = structures.to(candidates.device)
        moved = candidates.replace(
            positions=here.positions,
            cell=here.cell,
            atom=here.atom,
            system=here.system,
            bonds=here.bonds,
            bond=here.bond,
            cutoff=self.cutoff,
        )
        near = moved.vectors.square().sum(dim=1) < self.cutoff**2
        # Where edges are those of the last time, what was derived from them is too.
        last = self._last
        same = last is not None and last[0] is candidates and last[1].equal(near)
        graph = moved.keep_edges(near, known=last[2] if last is not None and same else None)
        self._last = candidates, near, graph
        return graph

    def candidates(self, structures: Structures, device: torch.device | None = None) -> Graph:
        """Return the last graph searched, up to ``cutoff + skin``, or a new one if it is too old.

        A structure has the positions it was searched at; it is the same object as long as all
        serve.

        Args:
            structures: Batch; the first ones are those of the last call, see `keep`.
            device: Where to search; where the structures are if not given.
        """
        device = structures.device if device is None else device
        stale = self._stale(structures, device)
        if stale is None or len(stale) == len(structures):
            self._search_all(structures, device)
        elif stale:
            self._search_some(structures, stale)
        assert self._candidates is not None
        return self._candidates

    def keep(self, which: Sequence[int]) -> None:
        """Forget all structures but those numbered `which`, which come first from now on."""
        if self._candidates is None or self._origin is None:
            return
        if not len(which):
            self._candidates = self._origin = None
            return
        if list(which) == list(range(len(self._origin))):
            return  # and what was derived from the candidates holds
        self._candidates = self._candidates.index(which)
        self._origin = self._origin.index(which)

    def _search_all(self, structures: Structures, device: torch.device) -> None:
        self.searches += len(structures)
        self._origin = _geometry(structures)
        self._candidates = self._found(self._origin.to(device))

    def _search_some(self, structures: Structures, stale: list[int]) -> None:
        """Search some structures again and put them in their places among the others."""
        assert self._candidates is not None
        assert self._origin is not None
        self.searches += len(stale)
        rest = sorted(set(range(len(structures))) - set(stale))
        order = torch.argsort(torch.tensor(rest + stale)).tolist()
        again = _geometry(structures.index(stale))
        self._origin = cat([self._origin.index(rest), again]).index(order)
        found = self._found(again.to(self._candidates.device))
        self._candidates = cat([self._candidates.index(rest), found]).index(order)

    def _found(self, structures: Structures) -> Graph:
        return radius_graph(structures, self.cutoff + self.skin, self.backend)

    def _stale(self, new: Structures, device: torch.device) -> list[int] | None:
        """Return which structures must be searched; None if all must, since they are others."""
        old, candidates = self._origin, self._candidates
        if old is None or candidates is None or self.skin <= 0:
            return None
        if old.device != new.device or candidates.device != device or len(old) > len(new):
            return None
        known = new if len(old) == len(new) else new.index(range(len(old)))
        if old.species.shape != known.species.shape:
            return None
        if len(known) == 1 and known.device.type == "cpu":
            return [] if self._serves_one(old, known) else [0]
        serves = self._serves(old, known)  # the only look at numbers
        return [i for i, s in enumerate(serves.tolist()) if not s] + list(range(len(old), len(new)))

    def _serves_one(self, old: Structures, new: Structures) -> bool:
        """Return the same as `_serves` for one structure, with a fifth of the calls."""
        before, after = old.cell[0].detach().numpy(), new.cell[0].detach().numpy()
        carried, shrink = old.positions.detach().numpy(), 1.0
        if not (np.array_equal(old.species, new.species) and np.array_equal(old.pbc, new.pbc)):
            return False
        if not np.array_equal(before, after):
            if min(abs(np.linalg.det(before)), abs(np.linalg.det(after))) <= SMALLEST_VOLUME:
                return False
            deformation = np.linalg.solve(before, after)
            carried = carried @ deformation
            shrink -= float(np.linalg.norm(deformation - np.eye(3)))
        moved = new.positions.detach().numpy() - carried
        stray = np.sqrt(np.einsum("nx,nx->n", moved, moved).max())
        return bool(shrink * (self.cutoff + self.skin) - 2 * stray > self.cutoff)

    def _serves(self, old: Structures, new: Structures) -> Tensor:
        """Return whether the candidates of each structure still hold all its edges [B]."""
        same = (old.species == new.species).all() & (old.pbc == new.pbc).all(dim=1)
        deformation, known = _deformation(old, new)
        same = same & (old.n_atoms == new.n_atoms).all()
        carried = torch.einsum("nx,nxy->ny", old.positions, deformation[new.batch])
        stray = _largest((new.positions - carried).norm(dim=1), new)
        # σ_min(F) is at least 1 - |F - 1|; a decomposition would wait for the GPU.
        identity = torch.eye(3, dtype=deformation.dtype, device=old.device)
        shrink = 1 - (deformation - identity).flatten(1).norm(dim=1)
        near = shrink * (self.cutoff + self.skin) - 2 * stray > self.cutoff
        return same & known & near


def _geometry(structures: Structures) -> Structures:
    """Return a copy of the geometry alone; whoever moves atoms in place would move these too."""
    return Structures(
        positions=structures.positions.clone(),
        species=structures.species.clone(),
        cell=structures.cell.clone(),
        pbc=structures.pbc.clone(),
        n_atoms=structures.n_atoms.clone(),
    )


def _largest(by_atom: Tensor, structures: Structures) -> Tensor:
    """Return the largest of non-negative values [N] of the atoms of each structure [B]."""
    if len(structures) == 1:
        return by_atom.amax(dim=0, keepdim=True)
    zero = by_atom.new_zeros(len(structures))
    return zero.scatter_reduce(0, structures.batch, by_atom, "amax")


def _deformation(old: Structures, new: Structures) -> tuple[Tensor, Tensor]:
    """Return F [B, 3, 3] with ``new.cell = old.cell @ F``, and whether there is one [B].

    There is none if lattice vectors came or went.
    """
    same = (old.cell == new.cell).flatten(1).all(dim=1)
    found, _ = torch.linalg.solve_ex(old.cell, new.cell)
    full = torch.minimum(old.volume, new.volume) > SMALLEST_VOLUME
    identity = torch.eye(3, dtype=old.cell.dtype, device=old.device)
    return torch.where(same[:, None, None], identity, found), same | full
