"""Structures between which no path can be looked for, and those that deserve a warning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.constraints import FixAtoms

from matkit.data.ase import charge_or_spin
from matkit.errors import StructureError
from matkit.hessians.free_atoms import free_atoms
from matkit.simulate.frames import check_input
from matkit.transition.likeness import likeness, rmsd


def check_structures(structures: Sequence[Atoms]) -> None:
    """Check what a search can begin with: a guess, or a reactant and a product.

    Raises:
        StructureError: there are none or more than two, one is empty, a molecule of two atoms, not
            finite, periodic without held atoms, has a constraint other than `FixAtoms`, or the two
            do not hold the same atoms in the same order and cell, or are the same molecule.
    """
    if len(structures) not in (1, 2):
        raise StructureError(
            "Expected one structure (a guess) or two (reactant and product), got "
            f"{len(structures)}."
        )
    for atoms in structures:
        check_input(atoms)
        if atoms.pbc.any() and free_atoms(atoms) is None:
            raise StructureError(
                f"Transition states are meant for molecules, got pbc = {atoms.pbc.tolist()}. Set "
                "pbc = False for a molecule in a box, or freeze a part of a slab with FixAtoms."
            )
        free_atoms(atoms)
    if len(structures) == 2:
        _check_pair(*structures)
    for atoms in structures:
        if len(atoms) < (3 if free_atoms(atoms) is None else 2):
            raise StructureError(
                f"Expected three atoms or more, got {atoms.symbols}: two atoms come together or "
                "part without a transition state, and one has no reaction."
            )


def _check_pair(reactant: Atoms, product: Atoms) -> None:
    if sorted(reactant.numbers) != sorted(product.numbers):
        raise StructureError(
            "Expected the same elements in reactant and product, got "
            f"{reactant.get_chemical_formula()} and {product.get_chemical_formula()}. Put all "
            "molecules of a reaction into both."
        )
    if (reactant.numbers != product.numbers).any():
        place = int(np.flatnonzero(reactant.numbers != product.numbers)[0])
        raise StructureError(
            "Expected the same atoms in the same order in reactant and product, got "
            f"{reactant.symbols[place]} and {product.symbols[place]} as atom {place}. Reorder one."
        )
    same_cell = (reactant.pbc == product.pbc).all() and np.allclose(reactant.cell, product.cell)
    if not same_cell or held_atoms(reactant) != held_atoms(product):
        raise StructureError(
            "Expected the same cell, periodicity and held atoms in reactant and product, got "
            "others. Copy them from one to the other."
        )
    check_different(reactant, product)


def check_different(reactant: Atoms, product: Atoms, when: str = "") -> None:
    """Check that there is a reaction.

    Raises:
        StructureError: reactant and product are the same.
    """
    if likeness(reactant, product) == "identical":
        raise StructureError(
            f"Expected different reactant and product, got the same molecule{when}: their root "
            f"mean square distance is {rmsd(reactant, product):.3f} Å. Check the order of atoms; "
            "a guess of the transition state can be given alone."
        )


def open_shell(atoms: Atoms) -> str:
    """Return a warning if some electrons are not paired, empty if all are."""
    charge, spin = charge_or_spin(atoms, "charge") or 0.0, charge_or_spin(atoms, "spin") or 1.0
    odd = bool((int(atoms.numbers.sum()) - round(charge)) % 2)
    if spin == 1 and not odd:
        return ""
    found = "an odd number of electrons" if odd else f"multiplicity {spin:g}"
    return f"open shell ({found}): check that the calculator is made for it"


def held_atoms(atoms: Atoms) -> tuple[int, ...]:
    """Return the numbers of the atoms that `FixAtoms` holds."""
    held = [c.get_indices() for c in atoms.constraints if isinstance(c, FixAtoms)]
    return tuple(sorted({int(i) for indices in held for i in indices}))
