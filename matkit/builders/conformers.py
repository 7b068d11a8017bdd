"""One molecule in three dimensions: embedding, and displacements of its atoms."""

from __future__ import annotations

from typing import Any

import numpy as np
from ase import Atoms, units
from ase.data import covalent_radii

from matkit.builders.geometry import Random
from matkit.builders.smiles import rdkit
from matkit.hessians.modes import WAVENUMBER, NormalModes

# A bond is intact below this multiple of the sum of its covalent radii.
INTACT = 1.3
# Largest displacement along one mode, Å: beyond, a soft mode is not harmonic any more.
LARGEST = 0.5

Bonds = tuple[tuple[int, int], ...]


def embedded(smiles: str, seed: int) -> tuple[Any, Atoms]:
    """Return RDKit's molecule with hydrogens, and a geometry by ETKDG and MMFF94 with its charge.

    Where MMFF94 has no parameters, the geometry is that of ETKDG.

    Raises:
        ValueError: there is no geometry.
    """
    chem, methods = rdkit(), rdkit("rdkit.Chem.AllChem")
    molecule = chem.AddHs(chem.MolFromSmiles(smiles))
    settings = methods.ETKDGv3()
    settings.randomSeed = seed
    if methods.EmbedMolecule(molecule, settings) != 0:
        settings.useRandomCoords = True  # helps with cages, and takes longer
        if methods.EmbedMolecule(molecule, settings) != 0:
            raise ValueError(f"no geometry can be found for {smiles}")
    if methods.MMFFHasAllMoleculeParams(molecule):
        methods.MMFFOptimizeMolecule(molecule, maxIters=2000)
    numbers = [atom.GetAtomicNum() for atom in molecule.GetAtoms()]
    atoms = Atoms(numbers, molecule.GetConformer().GetPositions())
    if charge := sum(atom.GetFormalCharge() for atom in molecule.GetAtoms()):
        atoms.info["charge"] = charge
    return molecule, atoms


def bonds_of(molecule: Any) -> Bonds:
    """Return the pairs of bonded atoms."""
    return tuple((b.GetBeginAtomIdx(), b.GetEndAtomIdx()) for b in molecule.GetBonds())


def open_bonds(molecule: Any) -> tuple[Bonds, Bonds]:
    """Return single bonds outside rings, and those of them that something can turn about."""
    single, turning = [], []
    for bond in molecule.GetBonds():
        if bond.IsInRing() or bond.GetBondTypeAsDouble() != 1:
            continue
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        pair = ends[0].GetIdx(), ends[1].GetIdx()
        single.append(pair)
        if all(end.GetDegree() > 1 for end in ends):
            turning.append(pair)
    return tuple(single), tuple(turning)


def is_intact(atoms: Atoms, bonds: Bonds) -> bool:
    """Whether all bonds are still there."""
    radii = covalent_radii[atoms.numbers]
    return all(atoms.get_distance(i, j) < INTACT * (radii[i] + radii[j]) for i, j in bonds)


def side(bonds: Bonds, begin: int, end: int) -> list[int]:
    """Return the atoms on the side of `end` of the bond from `begin` to `end`."""
    found, waiting = {begin, end}, [end]
    while waiting:
        here = waiting.pop()
        near = {j if i == here else i for i, j in bonds if here in (i, j)}
        waiting += near - found
        found |= near
    return sorted(found - {begin})


def turned(atoms: Atoms, bonds: Bonds, bond: tuple[int, int], angle: float) -> Atoms:
    """Return a copy with one side of a bond turned about it by an angle in degrees."""
    copy = atoms.copy()
    moving = side(bonds, *bond)
    part = copy[moving]
    origin, axis = copy.positions[bond[0]], copy.positions[bond[1]] - copy.positions[bond[0]]
    part.rotate(angle, axis, center=origin)
    copy.positions[moving] = part.positions
    return copy


def stretched(atoms: Atoms, bonds: Bonds, bond: tuple[int, int], length: float) -> Atoms:
    """Return a copy with one side of a bond moved away along it by a length in Å."""
    copy = atoms.copy()
    axis = copy.positions[bond[1]] - copy.positions[bond[0]]
    copy.positions[side(bonds, *bond)] += length * axis / np.linalg.norm(axis)
    return copy


def thermal(atoms: Atoms, modes: NormalModes, temperature: float, rng: Random) -> Atoms:
    """Return a copy displaced along all modes as in a classical harmonic ensemble.

    ``q_k ~ N(0, kT / (μ_k ω_k²))``, at most `LARGEST`; imaginary modes count by their size.

    Args:
        atoms: Relaxed molecule.
        modes: Its normal modes.
        temperature: K.
        rng: Source of the randomness.
    """
    stiffness = modes.reduced_masses * (modes.frequencies / WAVENUMBER) ** 2
    spread = np.sqrt(units.kB * temperature / np.maximum(stiffness, 1e-6))
    amounts = np.clip(rng.normal(size=len(spread)) * spread, -LARGEST, LARGEST)
    copy = atoms.copy()
    copy.positions += np.einsum("m,mnx->nx", amounts, modes.vectors)
    return copy
