"""What generating needs to know of molecules; see `matkit.generate.domains.DomainRoom`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from ase import Atoms
from ase.neighborlist import build_neighbor_list, get_connectivity_matrix, natural_cutoffs
from jaxtyping import Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generate.batch import Batch
from matkit.generate.domains import Note
from matkit.interfaces import Blueprint, Generator
from matkit.molecules import geometries
from matkit.molecules.evaluation import MoleculeEvaluation
from matkit.molecules.generation.evaluation import evaluate_batch
from matkit.molecules.generation.options import MoleculeOptions
from matkit.molecules.generation.requests import requests
from matkit.molecules.generation.results import archive, lines, rows, scores, sections
from matkit.molecules.generation.scaffolds import read_scaffold
from matkit.runs.items import Item
from matkit.structures import Structures, cat

__all__ = ["archive", "lines", "requests", "rows", "scores", "sections"]

OPTIONS = MoleculeOptions
NOUN = "molecule"
RELAX_CELL = False
WEIGHTLESS: dict[str, Callable[[], tuple[Generator, dict[str, Any]]]] = {}
# Atoms that are nearer, in Å, overlap.
CLOSEST = 0.5
# Bonds are broken beyond this multiple of the sum of the covalent radii.
BROKEN = 1.4


def general(_options: MoleculeOptions) -> Sequence[str]:
    """Return the names of all generators that fit what is asked for: one."""
    return ("moleculeflow-qm9",)


def usual(_options: MoleculeOptions) -> Sequence[str]:
    """Return the names of those that are taken if none is named: the preferred one."""
    return ()


def fields(options: MoleculeOptions, _generator: Generator, count: int) -> dict[str, Any]:
    """Return the scaffold, if one is asked for."""
    if options.scaffold is None:
        return {}
    return {"scaffold": cat([read_scaffold(options.scaffold).structures] * count)}


def is_symmetric(_atoms: Atoms) -> bool:
    """Return that no symmetry of a molecule is kept."""
    return False


def starts(atoms: Atoms, _count: int) -> list[Atoms]:
    """Return where the relaxation of a molecule starts: as it was drawn."""
    return [atoms]


def aim(_options: MoleculeOptions, _item: Item) -> dict[str, int]:
    """Return nothing: a molecule is like no other."""
    return {}


def fault(atoms: Atoms) -> str:
    """Return whether atoms overlap."""
    if len(atoms) < 2:
        return ""
    apart = atoms.get_all_distances()
    closest = float(apart[np.triu_indices(len(atoms), 1)].min())
    return "" if closest >= CLOSEST else f"atoms {closest:.2f} Å apart"


def unlike(_options: MoleculeOptions, _atoms: Atoms) -> str:
    """Return nothing: formulas and scaffolds are kept by construction."""
    return ""


def damage(before: Atoms, after: Atoms) -> str:
    """Return whether a molecule came apart when it was relaxed."""
    return "it came apart" if _parts(after) > _parts(before) else ""


def _parts(atoms: Atoms) -> int:
    near = build_neighbor_list(atoms, natural_cutoffs(atoms, mult=BROKEN), self_interaction=False)
    return int(connected_components(get_connectivity_matrix(near.nl))[0])


def realize(_blueprint: Blueprint, _seeds: Int[Tensor, " B"]) -> Structures:
    """Refuse molecules without coordinates.

    Raises:
        ConfigError: always.
    """
    raise ConfigError("Molecules without coordinates cannot be given any yet.")


def read_known(paths: Sequence[str]) -> Sequence[str]:
    """Return the SMILES of molecules that are not novel."""
    return sorted(geometries.read_known(paths))


def judged(
    batch: Batch, known: Sequence[str], options: MoleculeOptions, note: Note
) -> MoleculeEvaluation:
    """Return all scores of the molecules as they were drawn, and of what relaxing did to them."""
    return evaluate_batch(batch, set(known) if options.known else None, options, note)
