"""Normal modes of a molecule from its Hessian, without rigid motions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from ase import Atoms, units
from jaxtyping import Float

from matkit.errors import StructureError

# Energy of a quantum, eV, for an eigenvalue of 1 eV/(Å² amu); and the same as a wavenumber, 1/cm.
QUANTUM = float(units._hbar * 1e10 / np.sqrt(units._e * units._amu))
WAVENUMBER = QUANTUM / float(units.invcm)

# A molecule counts as linear if no atom is farther from its axis than this, in Å. A relaxation
# leaves linear molecules bent by some 1e-4 Å; in bent ones some atom is off by 0.1 Å and more.
LINEAR_TOLERANCE = 0.01

# Modes below this wavenumber, 1/cm, are flat: the sign of their curvature is noise.
FLAT = 1.0


@dataclass(frozen=True)
class NormalModes:
    """Normal modes in the order of their frequencies.

    Attributes:
        frequencies: Wavenumbers [M], 1/cm; imaginary ones are negative.
        vectors: Cartesian displacements [M, N, 3] of atoms, each mode of length 1.
        reduced_masses: [M], amu; with ``μ ω²`` the force constant along the displacement.
        rigid: Number of rigid motions taken out: 3 (atom), 5 (linear), 6, or 0 (frozen atoms).
    """

    frequencies: Float[np.ndarray, " M"]
    vectors: Float[np.ndarray, "M N 3"]
    reduced_masses: Float[np.ndarray, " M"]
    rigid: int

    @property
    def energies(self) -> Float[np.ndarray, " M"]:
        """Energies of the quanta [M], eV; negative for imaginary modes."""
        return self.frequencies * float(units.invcm)

    @property
    def imaginary(self) -> Float[np.ndarray, " K"]:
        """Wavenumbers of the imaginary modes, negative, 1/cm."""
        return self.frequencies[self.frequencies <= -FLAT]

    @property
    def flat(self) -> int:
        """Number of modes without a frequency worth the name."""
        return int((np.abs(self.frequencies) < FLAT).sum())

    @property
    def zero_point_energy(self) -> float:
        """Half the sum of the real modes' energies, eV."""
        return float(self.energies[self.frequencies > 0].sum() / 2)


def normal_modes(
    atoms: Atoms, hessian: Float[np.ndarray, "A B"], free: list[int] | None = None
) -> NormalModes:
    """Diagonalise the mass-weighted Hessian in the space without rigid motions.

    ``M^(-1/2) H M^(-1/2) v = ω² v`` for v orthogonal to translations and rotations in
    mass-weighted coordinates (Eckart 1935, https://doi.org/10.1103/PhysRev.47.552).

    Args:
        atoms: Molecule, with its masses.
        hessian: Second derivatives [3N, 3N], eV/Å².
        free: Atoms that may move; None for all. If some are frozen, the molecule has no rigid
            motions, and only the rows and columns of the others count.

    Raises:
        StructureError: the matrix has another shape or holds NaN or infinity.
    """
    _check(atoms, hessian)
    moving = list(range(len(atoms))) if free is None else free
    rigid = rigid_motions(atoms) if free is None else np.zeros((3 * len(moving), 0))
    rows = (3 * np.array(moving, dtype=int)[:, None] + np.arange(3)).ravel()
    root = np.sqrt(np.repeat(atoms.get_masses()[moving], 3))
    weighted = hessian[np.ix_(rows, rows)] / np.outer(root, root)
    internal = np.linalg.qr(rigid, mode="complete")[0][:, rigid.shape[1] :]
    values, vectors = np.linalg.eigh(internal.T @ (weighted + weighted.T) / 2 @ internal)
    displacements = np.zeros((len(values), 3 * len(atoms)))
    displacements[:, rows] = (internal @ vectors).T / root
    lengths = np.linalg.norm(displacements, axis=1)
    return NormalModes(
        frequencies=WAVENUMBER * np.sign(values) * np.sqrt(np.abs(values)),
        vectors=(displacements / lengths[:, None]).reshape(len(values), len(atoms), 3),
        reduced_masses=lengths**-2,
        rigid=rigid.shape[1],
    )


def rigid_motions(atoms: Atoms) -> Float[np.ndarray, "A R"]:
    """Return an orthonormal basis [3N, R] of mass-weighted translations and rotations."""
    root = np.sqrt(atoms.get_masses())[:, None]
    away = atoms.positions - atoms.get_center_of_mass()
    motions = [np.broadcast_to(axis, away.shape) for axis in np.eye(3)]
    motions += [np.cross(axis, away) for axis in _rotation_axes(atoms)]
    columns = np.stack([(root * motion).ravel() for motion in motions], axis=1)
    basis: np.ndarray = np.linalg.qr(columns)[0]
    return basis


def _rotation_axes(atoms: Atoms) -> list[np.ndarray]:
    """Return the principal axes about which a rotation moves atoms: 3, 2 if linear, or 0."""
    if len(atoms) == 1:
        return []
    _, axes = atoms.get_moments_of_inertia(vectors=True)  # the smallest moment comes first
    return list(axes[1:] if is_linear(atoms) else axes)


def is_linear(atoms: Atoms) -> bool:
    """Return whether all atoms, two or more, lie on one axis within `LINEAR_TOLERANCE`."""
    if len(atoms) < 2:
        return False
    axis = atoms.get_moments_of_inertia(vectors=True)[1][0]
    away = atoms.positions - atoms.get_center_of_mass()
    distances = np.linalg.norm(np.cross(away, axis), axis=1)
    return bool(distances.max() < LINEAR_TOLERANCE)


def _check(atoms: Atoms, hessian: np.ndarray) -> None:
    size = 3 * len(atoms)
    if hessian.shape != (size, size):
        raise StructureError(
            f"Expected a Hessian of shape [{size}, {size}] for {len(atoms)} atoms, got "
            f"{list(hessian.shape)}. Give one row for x, y and z of every atom."
        )
    if not np.isfinite(hessian).all():
        raise StructureError(
            "Expected a finite Hessian, got NaN or infinity. Check the geometry and the model."
        )
