"""Between ASE's and phonopy's structures."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from ase import Atoms

from matkit.errors import MissingExtraError
from matkit.phonons.options import PhononsOptions

if TYPE_CHECKING:
    from phonopy import Phonopy
    from phonopy.structure.atoms import PhonopyAtoms


def multiples(atoms: Atoms, min_length: float) -> list[int]:
    """Return how often the cell is repeated so that opposite faces are `min_length` apart, Å."""
    heights = 1 / np.linalg.norm(np.linalg.inv(atoms.cell.array), axis=0)
    return [int(n) for n in np.ceil(min_length / heights - 1e-9)]


def make_phonopy(
    atoms: Atoms, options: PhononsOptions, repeats: Sequence[int] | None = None
) -> Phonopy:
    """Return phonopy's description of a crystal and its supercell.

    Args:
        atoms: Unit cell, with its masses.
        options: Smallest length of the supercell and tolerance of the symmetry.
        repeats: How often the cell is repeated along each vector, if not as that length asks.

    Raises:
        MissingExtraError: phonopy or seekpath is not installed.
    """
    try:
        import seekpath  # noqa: F401 needed later, and asked for before the work begins
        from phonopy import Phonopy
        from phonopy.structure.atoms import PhonopyAtoms
        from phonopy.structure.cells import PrimitiveMatrixAutoDefaultWarning
    except ImportError as error:
        raise MissingExtraError(
            'Phonons need phonopy and seekpath: pip install "matkit[phonons]"'
        ) from error
    cell = PhonopyAtoms(
        numbers=atoms.numbers,
        masses=atoms.get_masses(),
        scaled_positions=atoms.get_scaled_positions(),
        cell=atoms.cell.array,
    )
    matrix = np.diag(multiples(atoms, options.min_length) if repeats is None else repeats)
    with warnings.catch_warnings():
        # "auto" is meant: it is the primitive cell whose bands are drawn.
        warnings.simplefilter("ignore", PrimitiveMatrixAutoDefaultWarning)
        return Phonopy(cell, matrix, primitive_matrix="auto", symprec=options.symprec)


def to_ase(cell: PhonopyAtoms) -> Atoms:
    """Return a cell of phonopy in ASE's form, with the atoms in the same order."""
    return Atoms(
        numbers=cell.numbers,
        masses=cell.masses,
        scaled_positions=cell.scaled_positions,
        cell=cell.cell,
        pbc=True,
    )
