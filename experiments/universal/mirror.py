"""How much the energies of DFT frames and of their mirror images differ, in meV/atom.

    python -m universal.mirror MODEL... --out OUT [--every 30]

Zero for a potential that is invariant under reflections. OUT is the folder of `universal.dataset`,
of whose held-out frames every thirtieth is taken, in double precision.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms

import matkit
from universal.errors import is_taught, sets
from universal.shared import Rows, arguments, report

MIRROR = np.diag([1.0, 1.0, -1.0])


def difference(atoms: Atoms, calc: matkit.MatkitCalculator) -> float:
    """Return by how much the energy of a structure changes in a mirror, meV/atom."""
    energies = []
    for matrix in (np.eye(3), MIRROR):
        cell, positions = atoms.cell.array @ matrix, atoms.positions @ matrix
        seen = Atoms(atoms.numbers, positions, cell=cell, pbc=atoms.pbc, calculator=calc)
        energies.append(seen.get_potential_energy())
    return 1e3 * abs(energies[1] - energies[0]) / len(atoms)


def main() -> None:
    parser = arguments(__doc__, "mirror")
    parser.add_argument("--out", type=Path, required=True, help="folder of universal.dataset")
    parser.add_argument("--every", type=int, default=30)
    given = parser.parse_args()
    held_out = sets(given.out, None).items()
    frames = [atoms for name, found in held_out if not is_taught(name) for atoms in found]
    rows: Rows = []
    for model in given.models:
        calc = matkit.load_calculator(model, dtype="float64")
        found = [difference(atoms, calc) for atoms in frames[:: given.every]]
        mean, most = float(np.mean(found)), max(found)
        rows.append({"model": model, "frames": len(found), "mean": mean, "largest": most})
    report(rows, given.json)


if __name__ == "__main__":
    main()
