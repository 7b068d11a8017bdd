"""How far apart two networks are on structures that both know."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
from ase import Atoms
from ase.build import molecule
from ase.data import covalent_radii
from torch import Tensor

from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.interfaces import Potential
from matkit.models.trim import default_crystals
from matkit.structures import Structures

MOLECULES = ("CH3CH2OH", "CH3CN", "H2O")
MOST_CRYSTALS = 3


def largest_change(old: Potential, new: Potential) -> float:
    """Return the largest difference of predictions for structures of elements that both know.

    These are energies per atom (eV), forces (eV/Å) and, where they are predicted, Hessians (eV/Å²)
    of crystals and molecules near rest, in double precision.
    """
    pair = [copy.deepcopy(network).double() for network in (old, new)]
    worst = 0.0
    for atoms in structures_of(old.species):
        before, after = (_predictions(network, from_ase(atoms)) for network in pair)
        changes = [float((a - b).abs().max()) for a, b in zip(before, after, strict=True)]
        worst = max(worst, *changes)
    return worst


def structures_of(species: Sequence[int]) -> list[Atoms]:
    """Return crystals and molecules of given elements; chains of these if there are none."""
    molecules = [molecule(name) for name in MOLECULES]
    fit = [atoms for atoms in molecules if set(atoms.numbers.tolist()) <= set(species)]
    return [*default_crystals(species)[:MOST_CRYSTALS], *fit, _chain([*species][:4])]


def _chain(species: list[int]) -> Atoms:
    """Return a bent chain of atoms at distances of bonds."""
    radii = covalent_radii[species]
    along = np.concatenate([[0.0], np.cumsum(radii[1:] + radii[:-1])])
    positions = np.column_stack([along, 0.3 * np.arange(len(species)) ** 2, 0 * along])
    return Atoms(species, positions)


def _predictions(network: Potential, structures: Structures) -> list[Tensor]:
    model = force_field(network)
    graph = model.featurize(structures)
    properties = model(graph)
    values = [properties[key].detach() for key in ("forces",) if key in properties]
    if "energy" in properties:
        values.append(properties["energy"].detach() / len(structures.species))
    if (blocks := model.hessian_blocks(graph)) is not None:
        values.append(blocks.dense()[0].detach())
    return values
