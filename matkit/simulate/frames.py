"""Frames with their results frozen into them, and what a calculator gives for them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import PropertyNotImplementedError
from ase.calculators.singlepoint import SinglePointCalculator

from matkit.calculator_info import DEVIATIONS, deviations

RESIDUAL = "rotational_residual"


def freeze(atoms: Atoms, stress: bool = False) -> Atoms:
    """Return a copy of `atoms` that holds its energy, forces and, if asked, stress.

    Of a committee it holds the deviations too: `forces_std` among the arrays, the others in `info`.

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
    hold(frame, results | deviations(atoms.calc))
    return frame


def hold(frame: Atoms, results: Mapping[str, Any]) -> None:
    """Make a structure hold results, and nothing of earlier ones.

    Args:
        frame: Structure; it is changed.
        results: What ASE's calculators give, the deviations of a committee, and how much the energy
            depends on how the structure lies.
    """
    for name in (*DEVIATIONS, RESIDUAL):
        frame.info.pop(name, None)
        frame.arrays.pop(name, None)
    beside = results.keys() & {*DEVIATIONS, RESIDUAL}
    for name in beside:
        if name == "forces_std":
            frame.set_array(name, results[name])
        else:
            frame.info[name] = results[name]
    plain = {name: value for name, value in results.items() if name not in beside}
    frame.calc = SinglePointCalculator(frame, **plain)


def spread(frame: Atoms) -> dict[str, float]:
    """Return `energy_std` (eV) and `max_forces_std` (eV/Å, of an atom's vector) of a committee."""
    if "forces_std" not in frame.arrays:
        return {}
    largest = max_length(frame.arrays["forces_std"])
    return {"energy_std": float(frame.info["energy_std"]), "max_forces_std": largest}


def max_length(vectors: np.ndarray) -> float:
    """Return the length of the longest vector [N, 3]."""
    return float(np.linalg.norm(vectors, axis=1).max(initial=0.0))


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
    return max_length(atoms.get_forces())


def is_finite(atoms: Atoms) -> bool:
    """Return whether positions and cell are numbers; nothing is computed."""
    return bool(np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all())


def check_input(atoms: Atoms) -> None:
    """Raise StructureError for a structure no calculator can treat: empty, NaN, flat cell."""
    from matkit.data.ase import from_ase

    from_ase(atoms)
