"""Geometries between a relaxed molecule and what an elementary step makes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from ase import Atoms

from matkit.builders.elementary_steps import ElementaryStep, steps
from matkit.builders.geometry import Random
from matkit.builders.options import MoleculesOptions
from matkit.builders.smiles import rdkit
from matkit.label.labels import Engine, Labels
from matkit.simulate import relax
from matkit.transition.band import interpolated
from matkit.transition.likeness import aligned, bonds

# Structures between both ends, and how many of them around the highest are kept.
IMAGES, KEPT = 7, 3
# Steps that are tried, for every path that is wanted.
TRIES = 8
# Largest force of a product, eV/Å: loosely bound fragments would take long to come to rest.
RELAXED = 0.05
# Highest energy above both ends, eV: farther up, xTB and its labels mean little.
HIGHEST = 8.0


@dataclass(frozen=True)
class ReactionPath:
    """The top of the way from a molecule to a product.

    Attributes:
        product: SMILES of what is at the other end.
        end: Its relaxed geometry, atom by atom that of the molecule.
        images: Structures around the highest one, in order.
    """

    product: str
    end: Atoms
    images: tuple[Atoms, ...]


def paths(
    molecule: Any, relaxed: Atoms, engine: Engine, options: MoleculesOptions, rng: Random
) -> list[ReactionPath]:
    """Return paths to products that are drawn at random, fewer than wanted if there are no more.

    The product is relaxed by MMFF94 or UFF from the place of the molecule, then by the engine, and
    must have the bonds of its SMILES. Between both, atoms move by the image-dependent pair
    potential; the engine says which image is the highest.

    Args:
        molecule: RDKit's molecule with hydrogens.
        relaxed: Its relaxed geometry.
        engine: Gives energies and forces.
        options: How many paths, and the largest number of steps of a relaxation.
        rng: Source of the randomness.
    """
    possible = steps(molecule, relaxed.positions) if options.paths else []
    order = rng.permutation(len(possible))[: TRIES * options.paths].tolist()
    found: list[ReactionPath] = []
    while order and len(found) < options.paths:
        path = _path(possible[order.pop(0)], relaxed, engine, options.steps)
        found += [path] if path is not None else []
    return found


def _path(step: ElementaryStep, relaxed: Atoms, engine: Engine, limit: int) -> ReactionPath | None:
    """Return the top of the way to a product, None if there is none."""
    end = _end(step, relaxed, engine, limit)
    if end is None:
        return None
    images = _top(relaxed, end, engine)
    return ReactionPath(step.smiles, end, images) if images else None


def _end(step: ElementaryStep, relaxed: Atoms, engine: Engine, limit: int) -> Atoms | None:
    """Return the relaxed product, aligned; None if it is not stable."""
    start = _folded(step, relaxed)
    if start is None or isinstance(engine.labels([start])[0], str):
        return None
    calc = engine.calculator(start)
    result = relax(start, calc, optimizer="BFGS", fmax=RELAXED, steps=limit)
    before, after = bonds(relaxed), bonds(result.atoms)
    changed = before - after == {*step.broken} and after - before == {*step.formed}
    if not (result.converged and changed):
        return None
    return aligned(Atoms(relaxed.numbers, result.atoms.positions), relaxed)


def _folded(step: ElementaryStep, relaxed: Atoms) -> Atoms | None:
    """Return the product by a force field, None if it has none.

    First only the atoms move that become bonded: all at once, UFF ends with bonds at no angle.
    """
    chem = rdkit()
    conformer = chem.Conformer(len(relaxed))
    conformer.SetPositions(relaxed.positions)
    product = chem.Mol(step.product)
    product.AddConformer(conformer)
    moving = {atom for pair in step.formed for atom in pair}
    for fixed in ([i for i in range(len(relaxed)) if i not in moving], []):
        field = _force_field(product)
        if field is None:
            return None
        for i in fixed:
            field.AddFixedPoint(i)
        field.Minimize(maxIts=2000)
    return Atoms(relaxed.numbers, product.GetConformer().GetPositions())


def _force_field(product: Any) -> Any:
    """Return MMFF94 with forces between fragments, UFF where it has no parameters, or None."""
    methods = rdkit("rdkit.Chem.rdForceFieldHelpers")
    if methods.MMFFHasAllMoleculeParams(product):
        kinds = methods.MMFFGetMoleculeProperties(product)
        field = methods.MMFFGetMoleculeForceField(product, kinds, ignoreInterfragInteractions=False)
    elif methods.UFFHasAllMoleculeParams(product):
        field = methods.UFFGetMoleculeForceField(product, ignoreInterfragInteractions=False)
    else:
        return None
    field.Initialize()
    return field


def _top(relaxed: Atoms, end: Atoms, engine: Engine) -> tuple[Atoms, ...]:
    """Return the images around the highest one, none if it is no way over a barrier."""
    images = interpolated(relaxed, end, IMAGES)
    found = [one for one in engine.labels(images) if isinstance(one, Labels)]
    energies = np.array([one.energy for one in found])
    if len(found) < len(images) or not np.isfinite(energies).all():
        return ()
    peak, ends = int(energies.argmax()), max(energies[0], energies[-1])
    if not ends < energies[peak] < ends + HIGHEST:
        return ()
    first = min(max(peak - KEPT // 2, 1), IMAGES + 1 - KEPT)
    return tuple(images[first : first + KEPT])
