"""Atoms that may move, whose second derivatives are wanted."""

from __future__ import annotations

from ase import Atoms

from matkit.errors import StructureError


def free_atoms(atoms: Atoms) -> list[int] | None:
    """Return the atoms that no `FixAtoms` holds, None if none is held.

    Raises:
        StructureError: there is another constraint, or every atom is held.
    """
    others = [type(c).__name__ for c in atoms.constraints if type(c).__name__ != "FixAtoms"]
    if others:
        raise StructureError(
            f"Expected no constraints but FixAtoms, got {', '.join(others)}. Remove them."
        )
    if not atoms.constraints:
        return None
    held = {int(i) for constraint in atoms.constraints for i in constraint.get_indices()}
    free = [i for i in range(len(atoms)) if i not in held]
    if not free:
        raise StructureError("Expected some atoms that may move, but FixAtoms holds all of them.")
    return free if held else None
