"""Radial distribution functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from ase import Atoms
from vesin import NeighborList

from matkit.elements import SYMBOLS


@dataclass(frozen=True)
class RadialDistribution:
    """Densities of atoms around atoms, relative to the mean density.

    Attributes:
        distances: Middles of the bins [R], Å.
        edges: Ends of the bins [R + 1], Å.
        total: Of all atoms [R].
        pairs: By pair of elements, such as `Na-Cl`, of the second around the first [R]; it is the
            same the other way round.
        coordination: By pair in both orders the mean number of atoms of the second element around
            one of the first, up to the end of each bin [R].
    """

    distances: np.ndarray
    edges: np.ndarray
    total: np.ndarray
    pairs: Mapping[str, np.ndarray]
    coordination: Mapping[str, np.ndarray]

    @property
    def peaks(self) -> dict[str, float]:
        """Distance in Å of the highest value of every pair that has any."""
        return {
            name: float(self.distances[int(values.argmax())])
            for name, values in self.pairs.items()
            if values.any()
        }


class PairCounts:
    """Counts pairs of atoms by distance and elements, frame by frame.

    Args:
        numbers: Atomic numbers [N] of every frame.
        largest: Largest distance, Å.
        width: Width of the bins, Å.
    """

    def __init__(self, numbers: np.ndarray, largest: float, width: float) -> None:
        self.elements, self._kinds = np.unique(numbers, return_inverse=True)
        self.edges = np.linspace(0, largest, max(2, round(largest / width)) + 1)
        size, bins = len(self.elements), len(self.edges) - 1
        self._counts = np.zeros((size, size, bins))
        self._densities = np.zeros((size, size, bins))
        # Both directions of a pair in one, and no order: several times as fast as `radius_graph`.
        self._finder = NeighborList(cutoff=largest, full_list=False)
        self._frames = 0

    def add(self, atoms: Atoms) -> None:
        """Add a frame; it must be periodic in three directions."""
        first, second, lengths = self._finder.compute(
            atoms.positions, atoms.cell.array, periodic=True, quantities="ijd"
        )
        size, _, bins = self._counts.shape
        places = np.minimum((lengths / self.edges[-1] * bins).astype(int), bins - 1)
        kinds = self._kinds[first] * size + self._kinds[second]
        once = np.bincount(kinds * bins + places, minlength=size * size * bins)
        once = once.reshape(size, size, bins)
        counts = once + once.swapaxes(0, 1)
        self._counts += counts
        self._densities += counts * atoms.get_volume()
        self._frames += 1

    def result(self) -> RadialDistribution:
        """Return the mean over the frames."""
        shells = 4 / 3 * np.pi * np.diff(self.edges**3)
        members = np.bincount(self._kinds)
        norms = np.outer(members, members)[:, :, None] * shells * self._frames
        pairs = self._densities / norms
        around = np.cumsum(self._counts, axis=2) / members[:, None, None] / self._frames
        names = [SYMBOLS[z] for z in self.elements]
        total = self._densities.sum(axis=(0, 1)) / (members.sum() ** 2 * shells * self._frames)
        return RadialDistribution(
            distances=(self.edges[1:] + self.edges[:-1]) / 2,
            edges=self.edges,
            total=total,
            pairs={
                f"{a}-{names[j]}": pairs[i, j]
                for i, a in enumerate(names)
                for j in range(i, len(names))
            },
            coordination={
                f"{a}-{b}": around[i, j] for i, a in enumerate(names) for j, b in enumerate(names)
            },
        )
