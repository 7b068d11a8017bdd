"""Curves of diatomic molecules of every element with H, O and Fe: repulsive, and without holes.

    python -m universal.diatomics MODEL... [--elements Si Cl]

A curve is sound if the energy rises at every step from 0.6 times the sum of the covalent radii (at
least 0.55 Å) down to 0.5 Å, and has its minimum outside. Multiple bonds are as short as 0.68 times
that sum (uranyl), and SevenNet-0 has those of iron with Ce, Pa and U at 0.61 to 0.62 times,
SevenNet-l3i5 at 0.56 to 0.58.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.data import atomic_numbers, chemical_symbols, covalent_radii

import matkit
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField
from universal.shared import Rows, arguments, report

PARTNERS = ("H", "O", "Fe")
NEAR, FAR, POINTS = 0.5, 6.0, 111
LEAST, PART = 0.55, 0.6


def curve(potential: ForceField, pair: tuple[int, int], r: np.ndarray) -> np.ndarray:
    """Return the energies in eV of a pair of atoms at distances [K] in Å."""
    dimers = [Atoms(pair, [(0, 0, 0), (0, 0, distance)]) for distance in r]
    graph = potential.featurize(from_ase(dimers))
    # The derivative is not needed; with it edges would have to be in a table.
    return potential(graph, properties=("energy",))["energy"].detach().numpy()


def faults(pair: tuple[int, int], r: np.ndarray, energy: np.ndarray) -> list[str]:
    """Return what is wrong with a curve."""
    limit = max(LEAST, PART * sum(covalent_radii[z] for z in pair))
    wall = energy[r <= limit]
    found = [] if np.isfinite(energy).all() else ["not finite"]
    found += ["attractive inside"] if (np.diff(wall) >= 0).any() else []
    return found + (["hole"] if energy[r > limit].min() > wall.min() else [])


def main() -> None:
    parser = arguments(__doc__, "diatomics")
    parser.add_argument("--elements", nargs="+", help="symbols; all that the model knows if none")
    given = parser.parse_args()
    r = np.linspace(NEAR, FAR, POINTS)
    rows: Rows = []
    for model in given.models:
        potential = matkit.load(model)
        chosen = [atomic_numbers[s] for s in given.elements or []] or potential.species
        wrong: dict[str, list[str]] = {}
        for z in chosen:
            for partner in PARTNERS:
                pair = z, atomic_numbers[partner]
                found = faults(pair, r, curve(potential, pair, r))
                if found:
                    wrong[f"{chemical_symbols[z]}-{partner}"] = found
        count = len(chosen) * len(PARTNERS)
        listed = ", ".join(f"{name} ({', '.join(found)})" for name, found in wrong.items())
        rows.append({"model": model, "curves": count, "faulty": len(wrong), "which": listed})
    report(rows, given.json)


if __name__ == "__main__":
    main()
