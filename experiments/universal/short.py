"""Pairs of atoms nearer than any label, with the forces of screened nuclei."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from ase import Atoms
from ase.data import atomic_numbers, covalent_radii

from matkit.nn.repulsion import screened_coulomb

PARTNERS = ("H", "O", "Fe")
# From that many Å to that part of the sum of covalent radii; bonds are longer (uranyl's, 0.68).
SHORTEST, LONGEST, POINTS = 0.45, 0.6, 8
# Hydrogen is small: its own bond is 0.74 Å.
SHORTEST_OF_HYDROGEN, LONGEST_OF_HYDROGEN = 0.25, 0.45
# He, Ne and Ar make no bonds, and their labels there are of no use: up to that many Å at least.
CLOSED_SHELLS, LONGEST_OF_CLOSED = (2, 10, 18), 1.4


def short_dimers(elements: Sequence[int]) -> Iterator[Atoms]:
    """Give pairs of every element with itself and some others, labelled with forces only.

    The forces are those of the universal potential of Ziegler, Biersack and Littmark; their energy
    has another zero than that of the other labels and is left out.
    """
    partners = [atomic_numbers[symbol] for symbol in PARTNERS]
    pairs = {(min(z, other), max(z, other)) for z in elements for other in (*partners, z)}
    for pair in sorted(pairs):
        for r in distances(pair):
            z = torch.tensor(pair, dtype=torch.float64)
            _, slope = screened_coulomb(torch.tensor([r], dtype=torch.float64), z[:1], z[1:])
            atoms = Atoms(pair, [(0, 0, 0), (0, 0, r)])
            atoms.set_array("REF_forces", np.array([[0, 0, 1], [0, 0, -1]]) * float(slope))
            atoms.info |= {"config_type": "short", "group": f"short-{pair[0]}-{pair[1]}"}
            yield atoms


def distances(pair: tuple[int, int]) -> np.ndarray:
    """Return distances in Å at which a pair is nearer than labels of models can be relied on."""
    if pair == (1, 1):
        return np.linspace(SHORTEST_OF_HYDROGEN, LONGEST_OF_HYDROGEN, POINTS)
    longest = LONGEST * covalent_radii[list(pair)].sum()
    if {*pair} & {*CLOSED_SHELLS}:
        longest = max(longest, LONGEST_OF_CLOSED)
    return np.linspace(SHORTEST, longest, POINTS) if longest > SHORTEST else np.empty(0)
