"""Hessians for optimisers of other packages: ASE's and Sella's."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from jaxtyping import Float

from matkit.hessians.calculators import check_method, hessian
from matkit.hessians.coordinates import internal_basis
from matkit.hessians.free_atoms import free_atoms


def positive_hessian(
    atoms: Atoms, method: str = "autograd", floor: float = 0.5
) -> Float[np.ndarray, "D D"]:
    """Return a positive definite Hessian [3N, 3N], eV/Å², to begin with.

    The eigenvalues of the Hessian are replaced by their absolute values, and small ones, with
    those of rigid motions, by `floor`. For ASE: ``optimizer = BFGS(atoms); optimizer.H0 =
    positive_hessian(atoms)``.

    Args:
        atoms: Structure with a calculator.
        method: Where the Hessian comes from.
        floor: Smallest eigenvalue, eV/Å².

    Raises:
        ConfigError: the calculator lacks the method.
        StructureError: there is a constraint other than `FixAtoms`.
    """
    free = free_atoms(atoms)
    check_method(atoms.calc, method)
    basis = internal_basis(atoms, free)
    values, vectors = np.linalg.eigh(basis.T @ hessian(atoms, atoms.calc, method, free) @ basis)
    modes = basis @ vectors
    excess = np.maximum(np.abs(values) - floor, 0)
    return (modes * excess) @ modes.T + floor * np.eye(3 * len(atoms))


def hessian_function(
    calc: BaseCalculator, method: str = "autograd"
) -> Callable[[Atoms], Float[np.ndarray, "D D"]]:
    """Return a function from structures to Hessians [3N, 3N] in eV/Å², as Sella takes one.

    ``Sella(atoms, order=1, internal=True, hessian_function=hessian_function(calc, "predict"),
    diag_every_n=1)`` searches a saddle point with a new Hessian in every step.

    Args:
        calc: Any ASE calculator.
        method: Where Hessians come from.

    Raises:
        ConfigError: the calculator lacks the method.
    """
    check_method(calc, method)
    return lambda atoms: hessian(atoms, calc, method)
