"""Surface energies of simple crystals, without reconstruction."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from ase import Atoms, units
from ase.build import surface
from ase.calculators.calculator import BaseCalculator
from spglib import standardize_cell

from matkit.evaluate.physics.quantity import NumberKind, Numbers, Sample
from matkit.evaluate.physics.relaxation import energy_at_rest, energy_of
from matkit.symmetry.datasets import symmetry_dataset

NUMBERS = {"surface energy": NumberKind("J/m²")}
PACKAGES: tuple[str, ...] = ()
EXTRA = ""
# By space group and atoms in the primitive cell: the surface, and its indices in that cell as
# spglib chooses it (for centring F 0 1/2 1/2, 1/2 0 1/2, 1/2 1/2 0; for I -1/2 1/2 1/2, ...).
# Every layer of these slabs holds the whole formula, and they have no dipole.
SURFACES = {
    (225, 1): ("(111)", (1, 1, 1)),  # fcc
    (229, 1): ("(110)", (0, 0, 1)),  # bcc
    (225, 2): ("(100)", (0, 1, 1)),  # rock salt
    (216, 2): ("(110)", (1, 1, 2)),  # zinc blende
}
LAYERS, VACUUM, SYMPREC = 8, 7.5, 1e-3
J_PER_M2 = units.J / units.m**2


def subjects(crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
    """Return the crystals of which a simple surface is known."""
    return {name: atoms for name, atoms in crystals.items() if _kind(atoms) in SURFACES}


def numbers(sample: Sample, calc: BaseCalculator) -> Numbers:
    """Return the energy of a slab with relaxed positions above bulk, over both of its surfaces."""
    slab = slab_of(sample.atoms)
    area = float(np.linalg.norm(np.cross(slab.cell[0], slab.cell[1])))
    bulk = energy_of(sample.atoms, calc) / len(sample.atoms) * len(slab)
    excess = energy_at_rest(slab, calc) - bulk
    return {"surface energy": {surface_name(sample.start): excess / (2 * area) / J_PER_M2}}


def slab_of(atoms: Atoms) -> Atoms:
    """Return eight layers of a crystal with vacuum on both sides."""
    found: Any = standardize_cell(_spglib_cell(atoms), to_primitive=True, symprec=SYMPREC)
    cell, places, species = found
    primitive = Atoms(species, scaled_positions=places, cell=cell, pbc=True)
    _, indices = SURFACES[_kind(primitive)]
    slab = surface(primitive, indices, LAYERS, vacuum=VACUUM, periodic=True)
    slab.wrap()
    return slab


def surface_name(atoms: Atoms) -> str:
    """Return the indices of the surface of a crystal, empty if none is known."""
    return SURFACES[kind][0] if (kind := _kind(atoms)) in SURFACES else ""


def _kind(atoms: Atoms) -> tuple[int, int]:
    """Return space group and number of atoms in the primitive cell; zeros if there is none."""
    data = symmetry_dataset(_spglib_cell(atoms), SYMPREC)
    if data is None:
        return 0, 0
    return int(data.number), len(np.unique(data.mapping_to_primitive))


def _spglib_cell(atoms: Atoms) -> Any:
    return atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers
