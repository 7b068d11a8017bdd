"""Scaffolds: the heavy atoms of a molecule that others are to contain."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from matkit.builders.conformers import embedded
from matkit.builders.smiles import rdkit
from matkit.errors import ConfigError
from matkit.molecules.perception import one_line, structures_of
from matkit.molecules.reading import read_molecules
from matkit.structures import Structures


@dataclass(frozen=True)
class Scaffold:
    """What molecules are to contain.

    Attributes:
        structures: The heavy atoms with their bonds.
        complete: Atoms of the molecule with its hydrogens, which are not given.
    """

    structures: Structures
    complete: int


@lru_cache(maxsize=4)  # asked for by every batch
def read_scaffold(text: str) -> Scaffold:
    """Return the scaffold of a SMILES or of a file with one molecule.

    Raises:
        ConfigError: it is neither, or has no heavy atoms.
        DataError: the file cannot be read.
    """
    molecule = _of_file(text) if Path(text).exists() else _of_smiles(text)
    heavy = (molecule.species != 1).nonzero().flatten()
    if not len(heavy):
        raise ConfigError(f"Expected a scaffold with heavy atoms, got {text!r}.")
    return Scaffold(_part(molecule, heavy), len(molecule.species))


def _of_file(path: str) -> Structures:
    entries = list(read_molecules(path))
    first = entries[0]
    if first.structures is None or len(entries) > 1:
        reason = first.reason if first.structures is None else f"{len(entries)} molecules"
        raise ConfigError(f"Expected a file with one molecule as scaffold, got {path}: {reason}.")
    return first.structures


def _of_smiles(text: str) -> Structures:
    unchecked = rdkit().MolFromSmiles(text, sanitize=False)
    if unchecked is None:
        raise ConfigError(f"Expected a scaffold as SMILES or a file, {text!r} is neither.")
    try:
        rdkit().SanitizeMol(unchecked)  # says which valence is impossible
        return structures_of(embedded(text, 0)[0])
    except Exception as error:  # RDKit raises anything
        raise ConfigError(f"Cannot take {text!r} as a scaffold: {one_line(error)}.") from error


def _part(molecule: Structures, atoms: torch.Tensor) -> Structures:
    """Return some atoms of a molecule and the bonds between them."""
    assert molecule.bonds is not None
    place = torch.full((len(molecule.species),), -1)
    place[atoms] = torch.arange(len(atoms))
    ends = place[molecule.bonds]
    within = (ends >= 0).all(dim=1)
    return Structures(
        positions=molecule.positions[atoms],
        species=molecule.species[atoms],
        cell=molecule.cell,
        pbc=molecule.pbc,
        n_atoms=torch.tensor([len(atoms)]),
        atom={name: value[atoms] for name, value in molecule.atom.items()},
        bonds=ends[within],
        bond={name: value[within] for name, value in molecule.bond.items()},
    )
