"""Energy over volume, and the equation of state fitted to it."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.units import GPA

# Volumes of the energy-volume curve as parts of the structure's own.
VOLUMES = np.linspace(0.85, 1.15, 13)
# A gap this wide, in Å, is vacuum: the volume of such a cell is not a property of the material.
VACUUM = 8.0

Facts = dict[str, Any]


def energy_volume(atoms: Atoms, calc: BaseCalculator) -> Facts:
    """Return energies per atom of a crystal that is scaled as a whole.

    Positions are scaled with the cell and not relaxed. Where the curve has a minimum inside, the
    equation of Birch and Murnaghan (third order; Birch 1947, Phys. Rev. 71, 809) is fitted.

    Args:
        atoms: Structure.
        calc: Calculator of the model.

    Returns:
        `volume` in Å³ and `energy` in eV, both per atom; and perhaps `equilibrium_volume` in Å³
        per atom and `bulk_modulus` in GPa. Or the reason why it was `skipped`.
    """
    if not atoms.pbc.all():
        return {"skipped": "the structure is not periodic in three directions"}
    gap = widest_gap(atoms)
    if gap > VACUUM:
        return {"skipped": f"the cell has a gap of {gap:.1f} Å, so that its volume means little"}
    energies = []
    for part in VOLUMES:
        scaled = atoms.copy()
        scaled.set_cell(atoms.cell * np.cbrt(part), scale_atoms=True)
        scaled.calc = calc
        energies.append(float(scaled.get_potential_energy()) / len(atoms))
    if not np.isfinite(energies).all():
        return {"skipped": "an energy is not a number"}
    volumes = VOLUMES * atoms.get_volume() / len(atoms)
    curve = {"volume": volumes.tolist(), "energy": energies}
    return curve | fit_birch_murnaghan(volumes, np.array(energies))


def fit_birch_murnaghan(volumes: np.ndarray, energies: np.ndarray) -> Facts:
    """Return volume and bulk modulus of the minimum; nothing if it is not inside the curve.

    The equation is a cubic polynomial in ``x = V^(-2/3)``, hence a linear fit.
    """
    lowest = int(np.argmin(energies))
    if lowest in (0, len(energies) - 1):
        return {}
    polynomial = np.polynomial.Polynomial.fit(volumes ** (-2 / 3), energies, 3)
    first, second = polynomial.deriv(1), polynomial.deriv(2)
    window = volumes[[lowest + 1, lowest - 1]] ** (-2 / 3)
    roots = [r.real for r in first.roots() if abs(r.imag) < 1e-9]
    inside = [r for r in roots if window[0] <= r <= window[1] and second(r) > 0]
    if len(inside) != 1:
        return {}
    x = float(inside[0])
    # B = V d²E/dV² with dx/dV = -(2/3) x / V, where dE/dx = 0.
    volume = x**-1.5
    modulus = float(second(x)) * (2 / 3 * x) ** 2 / volume
    return {"equilibrium_volume": volume, "bulk_modulus": modulus / GPA}


def widest_gap(atoms: Atoms) -> float:
    """Return the widest slab without an atom along any lattice vector, in Å."""
    places = np.sort(atoms.get_scaled_positions(), axis=0)
    gaps = np.diff(np.vstack([places, places[:1] + 1]), axis=0)
    heights = 1 / np.linalg.norm(atoms.cell.reciprocal().array, axis=1)
    # One layer of atoms and its image are as far apart as the cell is high.
    return float((gaps.max(axis=0) * heights).max())
