"""Pairs of structures that no path can lead between, and those that deserve a warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.geometry import get_distances
from scipy.optimize import linear_sum_assignment

from matkit.errors import StructureError
from matkit.hessians.free_atoms import free_atoms
from matkit.simulate.frames import check_input
from matkit.transition.band import way
from matkit.transition.checks import held_atoms

# Lattice vectors are the same if they do not differ by more, Å.
SAME_CELL = 1e-4
# Ends are the same if no atom moves farther, Å.
SAME_PLACE = 0.05
# Atoms are perhaps in another order if exchanging them shortens their ways by more, Å.
SHORTER = 1.0


def check_ends(structures: Sequence[Atoms]) -> None:
    """Check that a path can lead from one structure to the other.

    Raises:
        StructureError: there are not two, or they are empty, not finite, do not hold the same atoms
            in the same order and cell, have other constraints, or are the same.
    """
    if len(structures) != 2:
        raise StructureError(
            f"Expected two structures, the initial and the final one, got {len(structures)}."
        )
    initial, final = structures
    for atoms in structures:
        check_input(atoms)
        free_atoms(atoms)
    _check_atoms(initial, final)
    _check_cells(initial, final)
    if held_atoms(initial) != held_atoms(final):
        raise StructureError(
            "Expected the same held atoms in both ends, got "
            f"{list(held_atoms(initial))} and {list(held_atoms(final))}."
        )
    for i in held_atoms(initial):
        if (moved := float(np.linalg.norm(way(initial, final)[i]))) > SAME_PLACE:
            raise StructureError(
                f"Atom {i} ({initial.symbols[i]}) is held by FixAtoms, but lies {moved:.2f} Å "
                "apart in the two ends. Copy its place from one to the other, or let it go."
            )
    check_moved(initial, final)


def check_moved(initial: Atoms, final: Atoms, when: str = "") -> None:
    """Check that there is a way.

    Raises:
        StructureError: no atom moves.
    """
    farthest = float(np.linalg.norm(way(initial, final), axis=1).max())
    if farthest < SAME_PLACE:
        raise StructureError(
            f"Expected different ends, got the same structure{when}: no atom moves by more than "
            f"{farthest:.3f} Å. Check the files, and that both are minima."
        )


def _check_atoms(initial: Atoms, final: Atoms) -> None:
    if len(initial) != len(final):
        raise StructureError(
            f"Expected the same atoms in both ends, got {len(initial)} ({initial.symbols}) and "
            f"{len(final)} ({final.symbols}); "
            f"{_missing(initial, final) or _missing(final, initial)}."
        )
    other = np.flatnonzero(initial.numbers != final.numbers)
    if len(other):
        i = int(other[0])
        same = sorted(initial.numbers) == sorted(final.numbers)
        todo = "Bring them into the same order" if same else "Put the same atoms into both"
        raise StructureError(
            "Expected the same atoms in the same order in both ends, got "
            f"{initial.symbols[i]} and {final.symbols[i]} as atom {i} "
            f"({len(other)} of {len(initial)} atoms differ). {todo}."
        )


def _missing(atoms: Atoms, other: Atoms) -> str:
    """Return which elements are in one structure more often than in the other."""
    here, there = atoms.symbols.formula.count(), other.symbols.formula.count()
    more = [f"{n - there.get(s, 0)} {s}" for s, n in here.items() if n > there.get(s, 0)]
    return f"{', '.join(more)} more in the one with {len(atoms)} atoms" if more else ""


def _check_cells(initial: Atoms, final: Atoms) -> None:
    if (initial.pbc != final.pbc).any():
        raise StructureError(
            f"Expected the same periodicity in both ends, got pbc = {initial.pbc.tolist()} and "
            f"{final.pbc.tolist()}."
        )
    apart = np.abs(initial.cell.array - final.cell.array).max(axis=1) * initial.pbc
    if apart.max() > SAME_CELL:
        i = int(apart.argmax())
        raise StructureError(
            f"Expected the same cell in both ends, got as lattice vector {'abc'[i]} "
            f"{initial.cell.array[i].round(4).tolist()} and {final.cell.array[i].round(4).tolist()}"
            " Å. Relax the cell of one of them only, and put the atoms of both into it."
        )


def exchanged(initial: Atoms, final: Atoms) -> str:
    """Return a warning if equal atoms seem to be in another order, or nothing."""
    pairs: list[tuple[int, int]] = []
    gain = 0.0
    for number in set(initial.numbers.tolist()):
        group = np.flatnonzero(initial.numbers == number)
        distances = get_distances(
            initial.positions[group], final.positions[group], initial.cell, initial.pbc
        )[1]
        rows, columns = linear_sum_assignment(distances**2)
        gain += float(np.trace(distances) - distances[rows, columns].sum())
        pairs += [
            (int(group[i]), int(group[j])) for i, j in zip(rows, columns, strict=True) if i != j
        ]
    if gain < SHORTER:
        return ""
    i, j = pairs[0]
    return (
        f"perhaps the atoms are in another order: if atom {i} of the initial structure were atom "
        f"{j} of the final one ({len(pairs)} such pairs), the ways would be {gain:.1f} Å shorter"
    )
