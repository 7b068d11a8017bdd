"""Which molecules have Kohn-Sham matrices here: neutral ones with closed shells."""

from __future__ import annotations

from ase import Atoms

from matkit.data.ase import charge_or_spin
from matkit.errors import SimulationError, StructureError


def check_closed_shells(atoms: Atoms) -> None:
    """Raise if a molecule is another one.

    Raises:
        StructureError: it is charged, has another multiplicity than 1, or is periodic.
        SimulationError: it has an odd number of electrons.
    """
    charge, spin = charge_or_spin(atoms, "charge"), charge_or_spin(atoms, "spin")
    if charge or spin not in (None, 1) or atoms.pbc.any():
        raise StructureError(
            "Expected a neutral molecule with closed shells, got "
            f"charge {charge or 0:g}, multiplicity {spin or 1:g}, pbc {atoms.pbc.tolist()}. Leave "
            "it out, or set them if they are not meant."
        )
    if int(atoms.numbers.sum()) % 2:
        raise SimulationError(
            f"{atoms.get_chemical_formula()} has an odd number of electrons; Kohn-Sham matrices "
            "are made of molecules with closed shells. Leave radicals out."
        )
