"""Orders and signs of the orbitals of a shell, in quantum chemistry and in networks.

A shell's orbitals are real spherical harmonics times one radial function. PySCF orders them by m
from -l to l (Condon-Shortley phase left out), but p as x, y, z. Networks here use the harmonics of
`matkit.nn.irreps`, whose polar axis is y. Both span the same functions, so that an orthogonal
matrix leads from one to the other and everything else stays as it is: no axis is permuted.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from scipy.linalg import block_diag
from scipy.special import sph_harm_y
from torch import Tensor

from matkit.nn.irreps import spherical_harmonics
from matkit.orbitals import Shells


def from_pyscf(
    matrix: Float[np.ndarray, "M M"], species: Sequence[int] | Int[np.ndarray, " N"], shells: Shells
) -> Float[np.ndarray, "M M"]:
    """Return a matrix over orbitals in the network's order, given it in PySCF's.

    Args:
        matrix: Of one molecule, atom after atom.
        species: Atomic numbers.
        shells: Degrees of the shells of every element.
    """
    turn = _turn(species, shells)
    return turn @ matrix @ turn.T


def to_pyscf(
    matrix: Float[np.ndarray, "M M"], species: Sequence[int] | Int[np.ndarray, " N"], shells: Shells
) -> Float[np.ndarray, "M M"]:
    """Return a matrix over orbitals in PySCF's order, given it in the network's."""
    turn = _turn(species, shells)
    return turn.T @ matrix @ turn


def _turn(species: Sequence[int] | NDArray[np.int64], shells: Shells) -> NDArray[np.float64]:
    parts = [pyscf_order(degree) for z in species for degree in shells[int(z)]]
    return np.asarray(block_diag(*parts))


@cache
def pyscf_order(degree: int) -> NDArray[np.float64]:
    """Return the orthogonal matrix from PySCF's orbitals of a shell to the network's."""
    directions = np.random.default_rng(0).normal(size=(8 * degree + 8, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    points: Tensor = torch.from_numpy(directions)
    own = spherical_harmonics(degree, points)[:, degree**2 :].numpy() / np.sqrt(4 * np.pi)
    found = np.linalg.lstsq(_pyscf_harmonics(degree, directions), own, rcond=None)[0]
    return np.asarray(found.T)


def _pyscf_harmonics(degree: int, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return real harmonics of unit vectors in PySCF's order [points, 2l + 1]."""
    x, y, z = directions.T
    if degree == 1:
        return np.sqrt(3 / (4 * np.pi)) * directions
    polar, azimuth = np.arccos(z), np.arctan2(y, x)
    columns = []
    for m in range(-degree, degree + 1):
        complex_ = sph_harm_y(degree, abs(m), polar, azimuth) * (-1) ** m
        columns.append(
            complex_.real if m == 0 else np.sqrt(2) * (complex_.imag if m < 0 else complex_.real)
        )
    return np.stack(columns, axis=1)
