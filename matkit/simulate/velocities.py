"""First velocities of molecular dynamics."""

from __future__ import annotations

import numpy as np
from ase import Atoms, units
from ase.md.velocitydistribution import Stationary


def set_velocities(atoms: Atoms, temperature: float, rng: np.random.Generator) -> None:
    """Draw momenta from the Maxwell-Boltzmann distribution, unless the atoms already move.

    The total momentum is removed, and so is the rotation of a molecule; then the velocities are
    scaled so that the temperature over ASE's degrees of freedom is exact. Structures with fixed
    atoms and single atoms keep both.

    Args:
        atoms: Structure; its momenta are changed.
        temperature: Temperature in K.
        rng: Random numbers.
    """
    if np.any(atoms.get_momenta()):
        return
    width = np.sqrt(atoms.get_masses() * units.kB * temperature)
    atoms.set_momenta(rng.standard_normal((len(atoms), 3)) * width[:, None])
    if temperature > 0 and len(atoms) > 1:
        if not atoms.constraints:
            Stationary(atoms, preserve_temperature=False)
            if not atoms.pbc.any():
                _stop_rotation(atoms)
        _scale(atoms, temperature)


def _scale(atoms: Atoms, temperature: float) -> None:
    if atoms.get_kinetic_energy() > 0:
        factor = np.sqrt(temperature / atoms.get_temperature())
        atoms.set_momenta(factor * atoms.get_momenta())


def _stop_rotation(atoms: Atoms) -> None:
    """Subtract the rigid rotation ω = I⁺ L; the pseudo-inverse is for linear molecules."""
    arms = atoms.positions - atoms.get_center_of_mass()
    masses = atoms.get_masses()
    inertia = np.einsum("n,nx,nx->", masses, arms, arms) * np.eye(3)
    inertia -= np.einsum("n,nx,ny->xy", masses, arms, arms)
    rotation = np.linalg.pinv(inertia, rcond=1e-8) @ atoms.get_angular_momentum()
    atoms.set_velocities(atoms.get_velocities() - np.cross(rotation, arms))
