"""Whether constraints of a structure hold, whatever they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms, FixSymmetry

from matkit.errors import StructureError

# How far atoms may be from where a constraint wants them, Å.
TOLERANCE = 1e-3
# Length of the displacements on which two constraints are compared, Å, and how different what they
# leave of them may be, relative to it.
TRIAL, DIFFERENCE = 1e-3, 0.02


class Held:
    """The constraints of a structure as it is now, to be compared with what becomes of it.

    A constraint holds if it would let the atoms go from here to there: ASE's constraints change the
    positions that they are asked for, and do not change those that they allow. Where the cell has
    changed, "here" is strained with it, as ASE strains atoms that are held.

    Args:
        atoms: Structure with its constraints.

    Raises:
        StructureError: a constraint cannot be met at all.
    """

    def __init__(self, atoms: Atoms) -> None:
        self.start = atoms.copy()
        self.constraints = list(self.start.constraints)
        self.start.set_constraint()
        for constraint in self.constraints:  # some look at the structure when they are first used
            try:
                _allowed(constraint, self.start, self.start.positions)
            except ValueError as error:
                raise StructureError(
                    f"The constraint {type(constraint).__name__} of the structure cannot be met: "
                    f"{error}. Correct it, or take it out."
                ) from error

    def violated(self, atoms: Atoms) -> str:
        """Return which constraint does not hold, empty if all do."""
        start = self.start.copy()
        start.set_cell(atoms.cell, scale_atoms=True)
        for constraint in self.constraints:
            name = type(constraint).__name__
            try:
                wanted = _allowed(constraint, start, atoms.positions)
            except ValueError as error:  # what cannot be mended is far off
                return f"the constraint {name} does not hold: {error}"
            away = np.linalg.norm(wanted - atoms.positions, axis=1)
            worst = int(np.argmax(away))
            if away[worst] > TOLERANCE:
                return (
                    f"the constraint {name} does not hold: atom {worst} is {away[worst]:.2g} Å "
                    "from where it may be"
                )
        return ""


def check_together(atoms: Atoms, symmetry: FixSymmetry, others: Iterable[Any]) -> None:
    """Check that symmetry can be kept together with other constraints.

    What each leaves of small displacements must be left alone by the other.

    Raises:
        StructureError: they contradict each other.
    """
    bare = atoms.copy()
    bare.set_constraint()
    random = np.random.default_rng(0)
    for constraint in others:
        for _ in range(3):
            trial = bare.positions + TRIAL * random.normal(size=bare.positions.shape)
            both = _allowed(symmetry, bare, _allowed(constraint, bare, trial))
            left = _allowed(constraint, bare, both)
            if np.abs(left - both).max() > DIFFERENCE * TRIAL:
                raise StructureError(_contradiction(constraint, symmetry))


def _contradiction(constraint: Any, symmetry: FixSymmetry) -> str:
    name = type(constraint).__name__
    text = f"fix_symmetry contradicts the constraint {name} of the structure: "
    if isinstance(constraint, FixAtoms):
        held = set(constraint.get_indices().tolist())
        for atom in sorted(held):
            images = {int(places[atom]) for places in symmetry.symm_map}
            if free := sorted(images - held):
                return (
                    f"{text}symmetry moves atom {atom}, which is held, together with "
                    f"{', '.join(map(str, free))}, which are free. Hold all of them or none, or "
                    "leave fix_symmetry out."
                )
    return f"{text}it treats atoms differently that symmetry makes alike. Leave one of them out."


def _allowed(constraint: Any, start: Atoms, positions: np.ndarray) -> np.ndarray:
    """Return the positions that a constraint makes of those that are asked for."""
    changed: np.ndarray = positions.copy()
    adjust = getattr(constraint, "adjust_positions", None)
    if adjust is not None:
        adjust(start, changed)
    return changed
