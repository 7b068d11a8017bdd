"""Numbers that equal structures share, whatever their orientation and order of atoms."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from ase.data import covalent_radii
from numpy.typing import NDArray

from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.structures import Structures

Array = NDArray[np.floating[Any]]
Index = NDArray[np.signedinteger[Any]]

# Å.
CUTOFF = 5.0
# No two atoms of a sound structure are nearer, in Å.
SHORTEST = 0.5
# Column of |sum n u|.
DIPOLE = 2
# How the numbers of an atom are made one, before they are added up by its neighbours.
MIXTURE = np.array([0.1, -0.17, 0.23, 0.29, -0.31, 0.37]) / 10
# Atoms of which the neighbours are held at once.
CHUNK = 20_000


@dataclass(frozen=True)
class Fingerprints:
    """What is the same for equal structures.

    Attributes:
        values: Sums over the neighbours of each atom [N, K], sorted within each structure and
            element: sorting never makes two such lists differ more than the atoms do.
        offsets: First row of each structure, closed by N [B + 1].
        sizes: Edge of a cube for each atom, or radius of gyration without cell [B], in Å.
        slopes: Largest change of a value when no distance changes by more than 1 Å [B], in 1/Å.
        compositions: Atoms and periodicity of each structure.
        closest: Shortest distance as a fraction of the sum of the covalent radii, of each
            structure [B]; infinite where no atoms are near.
    """

    values: Array
    offsets: Index
    sizes: Array
    slopes: Array
    compositions: list[bytes]
    closest: Array

    def one_sided(self) -> Array:
        """Return how unevenly the atoms of each structure are surrounded at most [B].

        Where it is zero for an atom, symmetry may forbid a force on it.
        """
        uneven = np.zeros(len(self.sizes))
        system = np.repeat(np.arange(len(self.sizes)), np.diff(self.offsets))
        np.maximum.at(uneven, system, self.values[:, DIPOLE])
        return uneven

    def all_rows(self, which: int) -> Array:
        """Return all values of one structure."""
        return self.values[self.offsets[which] : self.offsets[which + 1]]

    def rows(self, which: list[int], most: int) -> Array:
        """Return one row for each of some structures of equal composition, `most` values long."""
        first, last = self.offsets[which[0]], self.offsets[which[0] + 1]
        n = int(last - first) * self.values.shape[1]
        taken = np.unique(np.linspace(0, n - 1, min(most, n)).astype(int))
        starts = self.offsets[which]
        blocks = [self.values[start : start + last - first].reshape(-1)[taken] for start in starts]
        return np.column_stack([np.array(blocks), self.sizes[which]])


def fingerprints(structures: Structures) -> Fingerprints:
    """Compute the fingerprints of structures, some at a time."""
    chunks = [
        _fingerprints(structures.index(range(first, last)))
        for first, last in _chunks(structures.offsets.numpy())
    ]
    if not chunks:
        none = np.empty(0)
        return Fingerprints(
            np.empty((0, DIPOLE + 1)), structures.offsets.numpy(), none, none, [], none
        )
    return Fingerprints(
        np.concatenate([chunk.values for chunk in chunks]),
        structures.offsets.numpy(),
        np.concatenate([chunk.sizes for chunk in chunks]),
        np.concatenate([chunk.slopes for chunk in chunks]),
        [key for chunk in chunks for key in chunk.compositions],
        np.concatenate([chunk.closest for chunk in chunks]),
    )


def sizes(part: Structures) -> Array:
    """Return the edge of a cube for each atom, or the radius of gyration without cell [B], in Å."""
    counts = part.n_atoms.unsqueeze(1)
    zeros = torch.zeros(len(part), 3, dtype=torch.float64)
    centers = zeros.index_add(0, part.batch, part.positions) / counts
    squares = (part.positions - centers[part.batch]).square()
    gyration = (zeros.index_add(0, part.batch, squares) / counts).sum(dim=1).sqrt()
    edge = (part.volume / part.n_atoms).pow(1 / 3)
    return torch.where(part.pbc.any(dim=1), edge, gyration).numpy()


def _fingerprints(part: Structures) -> Fingerprints:
    graph = radius_graph(part, CUTOFF)
    distances, batch = graph.vectors.norm(dim=1).numpy(), part.batch.numpy()
    sums, slopes = _sums(graph, distances)
    values = np.empty_like(sums)
    for k in range(sums.shape[1]):
        values[:, k] = sums[np.lexsort((sums[:, k], part.species.numpy(), batch)), k]
    steepest = np.zeros(len(part))
    np.maximum.at(steepest, batch, slopes)
    return Fingerprints(
        values,
        part.offsets.numpy(),
        sizes(part),
        np.maximum(steepest, 1.0),  # a size changes by no more than the distances
        _compositions(part),
        _closest(graph, distances),
    )


def _sums(graph: Graph, distances: Array) -> tuple[Array, Array]:
    """Return invariants of the surroundings of each atom [N, K], and their steepest slope [N].

    With n_j = w_j (1 - r/c)² and unit vectors u: sum n, sum n cos(pi r/c), |sum n u|, and the
    eigenvalues of sum n u u^T, so that angles matter too. Lattices that are occupied in different
    ways can share all these, so the last number adds a combination of those of the neighbours.
    """
    center, neighbor = graph.center.numpy(), graph.neighbor.numpy()
    n_atoms, x = len(graph.species), distances / CUTOFF
    weights = _weight(graph.species.numpy())[neighbor]
    near = weights * (1 - x) ** 2
    over = partial(_sum_over, center, n_atoms)
    units = graph.vectors.numpy() / np.maximum(distances, SHORTEST)[:, None]
    dipole = np.stack([over(near * units[:, a]) for a in range(3)], axis=1)
    products = [[over(near * units[:, a] * units[:, b]) for b in range(3)] for a in range(3)]
    quadrupole = np.linalg.eigvalsh(np.array(products).transpose(2, 0, 1))
    waves = over(near), over(near * np.cos(np.pi * x))
    first = np.column_stack([*waves, np.linalg.norm(dipole, axis=1), quadrupole])
    # A unit vector turns by up to twice the change of distance over the distance.
    radial = 2 * weights * (1 - x) / CUTOFF
    turning = 4 * near / np.maximum(distances, SHORTEST)
    slope = over(radial + np.maximum(np.pi * near / CUTOFF, turning))
    mixed = first @ MIXTURE
    second = over(near * mixed[neighbor])
    mixed_slope = slope * np.abs(MIXTURE).sum()
    second_slope = over(radial * np.abs(mixed[neighbor]) + near * mixed_slope[neighbor])
    return np.column_stack([first, second]), np.maximum(slope, second_slope)


def _sum_over(center: Index, n_atoms: int, values: Array) -> Array:
    # numpy counts in integers if there is nothing to count.
    return np.bincount(center, values, n_atoms).astype(np.float64)


def _weight(species: Index) -> Array:
    """Return a number between 1/2 and 3/2 for each element, unlike for unlike elements."""
    return 0.5 + species * 0.6180339887 % 1.0


def _closest(graph: Graph, distances: Array) -> Array:
    species = graph.species.numpy()
    radii = covalent_radii[species[graph.center.numpy()]]
    radii = radii + covalent_radii[species[graph.neighbor.numpy()]]
    closest = np.full(len(graph), np.inf)
    np.minimum.at(closest, graph.batch.numpy()[graph.center.numpy()], distances / radii)
    return closest


def _compositions(part: Structures) -> list[bytes]:
    species, offsets = part.species.numpy(), part.offsets.tolist()
    pbc = np.sort(part.pbc.numpy(), axis=1)
    return [
        np.sort(species[first:last]).astype(np.uint8).tobytes() + pbc[b].tobytes()
        for b, (first, last) in enumerate(pairwise(offsets))
    ]


def _chunks(offsets: Index) -> Iterator[tuple[int, int]]:
    """Give ranges of structures with at most CHUNK atoms, at least one structure each."""
    first = 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + CHUNK, side="right")) - 1
        last = max(last, first + 1)
        yield first, last
        first = last
