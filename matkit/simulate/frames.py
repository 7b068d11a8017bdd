"""Frames with their results frozen into them, and what a calculator gives for them."""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator


def freeze(atoms: Atoms, stress: bool = False) -> Atoms:
    """Return a copy of `atoms` that holds its energy, forces and, if asked, stress.

    Args:
        atoms: Structure with a calculator.
        stress: Whether to add the stress; the calculator must have it.
    """
    results = {
        "energy": atoms.get_potential_energy(),
        "forces": atoms.get_forces(apply_constraint=False),
    }
    if stress:
        results["stress"] = atoms.get_stress(apply_constraint=False)
    frame = atoms.copy()
    frame.calc = SinglePointCalculator(frame, **results)
    return frame


def has_stress(atoms: Atoms) -> bool:
    """Return whether the calculator of `atoms` gives a stress for it."""
    if atoms.cell.rank < 3 or not atoms.pbc.any():
        return False
    try:
        atoms.get_stress()
    except (PropertyNotImplementedError, NotImplementedError):
        return False
    return True


def max_force(atoms: Atoms) -> float:
    """Return the largest force on an atom that is free to move, eV/Å."""
    return float(np.linalg.norm(atoms.get_forces(), axis=1).max(initial=0.0))


def is_finite(atoms: Atoms) -> bool:
    """Return whether positions and cell are numbers; nothing is computed."""
    return bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all())


def check_input(atoms: Atoms) -> None:
    """Raise StructureError for a structure no calculator can treat: empty, NaN, flat cell."""
    from matkit.data.ase import from_ase

    from_ase(atoms)
