"""Which strains and which symmetry a relaxation may use."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms
from ase.constraints import FixSymmetry
from ase.filters import FrechetCellFilter

from matkit.errors import StructureError
from matkit.simulate.constraints import Held, check_together
from matkit.simulate.options import RelaxOptions

# ASE's order of strain components.
VOIGT = ((0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1))


def cell_filter(atoms: Atoms, options: RelaxOptions) -> FrechetCellFilter:
    """Return the filter that lets an optimiser change the cell as `options` allow.

    Raises:
        StructureError: the structure has no lattice to relax, or is periodic along some vectors
            only and these cannot be strained by themselves.
    """
    if not atoms.pbc.any() or atoms.cell.rank < 3:
        raise StructureError(
            "Relaxing the cell needs a periodic structure with three lattice vectors; got pbc = "
            f"{atoms.pbc.tolist()}, cell = {atoms.cell.array.round(4).tolist()}. Relax the "
            "positions only, or set cell and pbc."
        )
    if not atoms.pbc.all():
        _check_partial(atoms, options)
    modes: dict[str, dict[str, Any]] = {
        "hydrostatic": {"hydrostatic_strain": True},
        "constant-volume": {"constant_volume": True},
    }
    return FrechetCellFilter(
        atoms,
        mask=_mask(atoms.pbc, options),
        scalar_pressure=options.pressure,
        **modes.get(options.cell_mode, {}),
    )


def _mask(pbc: np.ndarray, options: RelaxOptions) -> list[bool]:
    allowed = [bool(pbc[i] and pbc[j]) for i, j in VOIGT]
    shear_only = options.cell_mode == "shape"
    return [a and not (shear_only and i == j) for a, (i, j) in zip(allowed, VOIGT, strict=True)]


def _check_partial(atoms: Atoms, options: RelaxOptions) -> None:
    """The strain of a slab or wire is given along Cartesian axes, so its cell must follow them."""
    if options.cell_mode in ("hydrostatic", "constant-volume") or options.pressure:
        raise StructureError(
            f"cell_mode {options.cell_mode!r} and pressure are meant for structures periodic in "
            f"three directions; got pbc = {atoms.pbc.tolist()}. Use cell_mode 'full' or 'shape' "
            "without pressure."
        )
    mixed = np.outer(atoms.pbc, ~atoms.pbc)
    if np.abs(atoms.cell.array[mixed | mixed.T]).max() > 1e-6:
        raise StructureError(
            f"With pbc = {atoms.pbc.tolist()} only the periodic lattice vectors can be relaxed, "
            "and they must lie along the Cartesian axes of the same number (a in x, b in y, c in "
            f"z); got cell = {atoms.cell.array.round(4).tolist()}. Rotate the structure."
        )


def fix_symmetry(atoms: Atoms) -> None:
    """Add the constraint that keeps the space group; positions are first made symmetric.

    Raises:
        StructureError: the structure is not periodic in three directions, or has constraints that
            do not go together with symmetry.
    """
    if not atoms.pbc.all():
        raise StructureError(
            "fix_symmetry needs a structure periodic in three directions; got pbc = "
            f"{atoms.pbc.tolist()}. Leave fix_symmetry out."
        )
    held, others = Held(atoms), list(atoms.constraints)
    atoms.set_constraint()
    symmetry = FixSymmetry(atoms)
    if problem := held.violated(atoms):
        raise StructureError(
            f"fix_symmetry first makes the structure symmetric, and then {problem}. Make it "
            "symmetric before you set constraints, or leave fix_symmetry out."
        )
    check_together(atoms, symmetry, others)
    atoms.set_constraint([symmetry, *others])
