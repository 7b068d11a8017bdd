"""Molecules as SMILES: reading, choosing, and parts that share no scaffold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from matkit.builders.options import MoleculesOptions
from matkit.data.opening import open_text
from matkit.data.tables import csv_rows
from matkit.errors import DataError, MissingExtraError

PARTS = ("train", "held-out")


@dataclass(frozen=True)
class SmilesEntry:
    """A line of a file: its index there, as the file says or counted, and the SMILES."""

    source: str
    index: int
    smiles: str


def rdkit(module: str = "rdkit.Chem") -> Any:
    """Return a module of RDKit, with its messages off.

    Raises:
        MissingExtraError: RDKit is not installed.
    """
    try:
        import_module("rdkit.RDLogger").DisableLog("rdApp.*")
    except ImportError as error:
        raise MissingExtraError(
            'Building molecules needs RDKit: pip install "matkit[molecules]"'
        ) from error
    return import_module(module)


def read_smiles(paths: Sequence[str]) -> Iterator[SmilesEntry]:
    """Give all SMILES of files: one in each line, or CSV with a column SMILES (and Index).

    Raises:
        DataError: a file is missing, or has no such column.
    """
    for path in map(Path, paths):
        if not path.is_file():
            raise DataError(f"Expected a file of SMILES, but there is no file {path}.")
        with open_text(path) as stream:
            if ".csv" in path.suffixes:
                yield from _csv(path, stream)
            else:
                words = ((i, line.split()) for i, line in enumerate(stream))
                yield from (SmilesEntry(f"{path}[{i}]", i, word[0]) for i, word in words if word)


def _csv(path: Path, stream: Any) -> Iterator[SmilesEntry]:
    for i, row in enumerate(csv_rows(stream)):
        lower = {name.lower(): value for name, value in row.items() if name}
        if "smiles" not in lower:
            raise DataError(f"Expected a column SMILES in {path}, got {', '.join(row)}.")
        index = int(lower.get("index", i))
        yield SmilesEntry(f"{path}[{i}] index {index}", index, lower["smiles"])


def choose(options: MoleculesOptions) -> Iterator[tuple[SmilesEntry, str, str]]:
    """Give molecules in random order, each once, with canonical SMILES and scaffold.

    What cannot be used is passed over: other elements, too many atoms, other charges and radicals.
    """
    chem, left_out = rdkit(), options.left_out
    entries = list(read_smiles(options.struct))
    if left_out is not None:
        entries = [e for e in entries if e.index % left_out[1] != left_out[0]]
    seen: set[str] = set()
    for i in np.random.default_rng(options.seed).permutation(len(entries)).tolist():
        molecule = chem.MolFromSmiles(entries[i].smiles)
        if molecule is None or not _is_wanted(molecule, options):
            continue
        smiles = chem.MolToSmiles(molecule)
        if smiles in seen:
            continue
        seen.add(smiles)
        yield entries[i], smiles, scaffold(molecule)
        if len(seen) == options.count:
            return


def _is_wanted(molecule: Any, options: MoleculesOptions) -> bool:
    atoms = molecule.GetAtoms()
    charged = sum(atom.GetFormalCharge() for atom in atoms) in options.charges
    closed = not any(atom.GetNumRadicalElectrons() for atom in atoms)
    known = {atom.GetSymbol() for atom in atoms} <= {*options.elements}
    small = 0 < molecule.GetNumHeavyAtoms() <= options.max_heavy
    return charged and closed and known and small and "H" in options.elements


def scaffold(molecule: Any) -> str:
    """Return the Murcko scaffold as SMILES, for a chain its skeleton of nameless atoms.

    Chains have no scaffold (Bemis and Murcko 1996); as one class they could not be divided.
    """
    chem = rdkit()
    core = rdkit("rdkit.Chem.Scaffolds.MurckoScaffold").GetScaffoldForMol(molecule)
    if core.GetNumAtoms():
        return str(chem.MolToSmiles(core, isomericSmiles=False))
    skeleton = chem.RWMol()
    for _ in molecule.GetAtoms():
        skeleton.AddAtom(chem.Atom(0))
    for bond in molecule.GetBonds():
        ends = bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()
        skeleton.AddBond(*ends, chem.BondType.SINGLE)
    return str(chem.MolToSmiles(skeleton))


def part_of(scaffold: str, options: MoleculesOptions) -> str:
    """Return the part that all molecules of a scaffold belong to, by a hash of it and the seed."""
    digest = hashlib.sha256(f"{options.seed} {scaffold}".encode()).digest()
    return PARTS[int.from_bytes(digest[:8]) < options.held_out * 2**64]
