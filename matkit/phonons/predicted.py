"""Force constants that a model predicts: those of the primitive cell, for every lattice image."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.hessians.potentials import predicted_blocks
from matkit.pair_blocks import PairBlocks
from matkit.phonons.options import PhononsOptions
from matkit.phonons.supercell import to_ase

if TYPE_CHECKING:
    from phonopy import Phonopy

PREDICT = "predict"


def with_reach(options: PhononsOptions, calc: BaseCalculator) -> PhononsOptions:
    """Return options with a supercell large enough for predicted force constants.

    With opposite faces twice the cutoff of pairs apart, every pair is closer than all its images in
    the supercell. Then phonopy, which takes the shortest, loses nothing: its dynamical matrix is
    exact at every wave vector.

    Args:
        options: Any method; those without prediction are returned as they are.
        calc: Calculator that has the method.
    """
    if options.method != PREDICT:
        return options
    assert isinstance(calc, MatkitCalculator)
    cutoffs = [member.hessian_cutoff for member in calc.potentials]
    needed = [2 * cutoff for cutoff in cutoffs if cutoff is not None]
    return options.model_copy(update={"min_length": max(options.min_length, *needed)})


def predicted_force_constants(phonopy: Phonopy, calc: BaseCalculator) -> np.ndarray:
    """Return predicted force constants [P, A, 3, 3] in eV/Å²; the network sees the primitive cell.

    Args:
        phonopy: Primitive cell of P atoms, and a supercell of A atoms, see `with_reach`.
        calc: Potential with a Hessian head, or a committee of them, whose mean is returned.
    """
    assert isinstance(calc, MatkitCalculator)
    cell = from_ase(to_ase(phonopy.primitive)).to(calc.device)
    found = [
        fold(predicted_blocks(member, member.featurize(cell)), phonopy)
        for member in calc.potentials
    ]
    mean: np.ndarray = np.mean(found, axis=0)
    return mean


def fold(blocks: PairBlocks, phonopy: Phonopy) -> np.ndarray:
    """Return the rows of primitive atoms in a supercell's matrix [P, A, 3, 3].

    Images of one atom that a lattice vector of the supercell joins are added up.

    Args:
        blocks: Matrix of the primitive cell with P atoms.
        phonopy: That cell, and a supercell of A atoms.
    """
    rows, columns, shifts, values = (part.detach().cpu().numpy() for part in blocks.images())
    folded = np.zeros((len(phonopy.primitive), len(phonopy.supercell), 3, 3))
    np.add.at(folded, (rows, _places(phonopy, rows, columns, shifts)), values)
    return folded


def _places(
    phonopy: Phonopy, rows: np.ndarray, columns: np.ndarray, shifts: np.ndarray
) -> np.ndarray:
    """Return where in the supercell the neighbours of primitive atoms are [E].

    Args:
        phonopy: Cells.
        rows: Primitive atoms [E], meant where phonopy has them in the supercell.
        columns: Primitive atoms that their neighbours are equal to [E].
        shifts: Primitive lattice translations of the neighbours [E, 3].
    """
    small, large = phonopy.primitive, phonopy.supercell
    kinds = _kinds(phonopy)
    inverse = np.linalg.inv(small.cell)
    images = _integers((large.positions - small.positions[kinds]) @ inverse)
    size = len(large) // len(small)
    # Translations differ by one of the supercell if they agree modulo `size` after this matrix.
    adjugate = _integers(size * small.cell @ np.linalg.inv(large.cell))

    def numbered(atoms: np.ndarray, images: np.ndarray) -> np.ndarray:
        classes = images @ adjugate % size
        found = np.ravel_multi_index((atoms, *classes.T), (len(small), size, size, size))
        return np.asarray(found)

    known = numbered(kinds, images)
    order = np.argsort(known)
    wanted = numbered(columns, images[small.p2s_map[rows]] + shifts)
    return order[np.searchsorted(known, wanted, sorter=order)]


def impose_sum_rule(constants: np.ndarray, phonopy: Phonopy) -> np.ndarray:
    """Return the nearest symmetric force constants [P, A, 3, 3] that resist no translation.

    The same projection as phonopy's of all rows [A, A, 3, 3], for which it has a closed form, while
    of these rows phonopy finds it step by step.

    Args:
        constants: Rows of the primitive cell's P atoms, eV/Å².
        phonopy: That cell, and a supercell of A atoms.
    """
    rows = constants.mean(axis=1)
    columns = rows.transpose(0, 2, 1)[_kinds(phonopy)]
    imposed: np.ndarray = constants - rows[:, None] - columns + rows.mean(axis=0)
    return imposed


def _kinds(phonopy: Phonopy) -> np.ndarray:
    """Return for the atoms of the supercell the primitive ones that they are equal to [A]."""
    primitive = phonopy.primitive
    return np.array([primitive.p2p_map[atom] for atom in primitive.s2p_map])


def _integers(values: np.ndarray) -> np.ndarray:
    return np.rint(values).astype(np.int64)
