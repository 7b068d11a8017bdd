"""Molecules with their Kohn-Sham matrices, as fields that go into batches like all others.

``atom["hamiltonian"]`` [N, w, W] holds for every atom the rows of its orbitals, eV: w is the most
orbitals of an atom and W of a molecule in the set, and what lies beyond those of the atom or of its
molecule is zero.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from matkit.data.dataset import Dataset, read_dataset
from matkit.data.splitting import split_dataset
from matkit.errors import ConfigError, DataError
from matkit.hamiltonians.pyscf import shells_of
from matkit.label.matrices import (
    StoredMatrix,
    label_files,
    locate_matrices,
    misfit,
    stored_matrices,
)
from matkit.label.run import STEM
from matkit.orbitals import Shells, orbital_count
from matkit.pair_blocks import species_widths
from matkit.structures import Structures
from matkit.train.hamiltonian_options import HamiltonianOptions


@dataclass(frozen=True)
class HamiltonianSets:
    """Molecules with matrices.

    Attributes:
        train: To learn from.
        valid: To choose the best epoch.
        level: Functional and basis.
        shells: Degrees of the shells of every element of the basis that is in the sets.
    """

    train: Structures
    valid: Structures
    level: str
    shells: Shells


def read_hamiltonian_sets(options: HamiltonianOptions) -> HamiltonianSets:
    """Read the folders of the options.

    Raises:
        ConfigError: no folder is named, or folders were labelled with different methods.
        DataError: a folder holds no matrices, or others than those of its structures.
    """
    if not options.train_file:
        raise ConfigError(
            "Expected folders of matkit label --hamiltonian to learn from, got none. Name them: "
            "--train-file FOLDER"
        )
    level = _level([*options.train_file, *options.valid_file])
    train, located = _read(options.train_file)
    if options.valid_file:
        valid, more = _read(options.valid_file)
        located |= more
    elif options.valid_fraction:
        fractions = (1 - options.valid_fraction, options.valid_fraction)
        (train, valid), _ = split_dataset(train, fractions, options.seed, "random")
    else:
        valid = train
    species = {*train.structures.species.tolist(), *valid.structures.species.tolist()}
    shells = shells_of(species, level.split("/", 1)[1])
    learnt, held = (_with_matrices(dataset, located, shells) for dataset in (train, valid))
    return HamiltonianSets(learnt, held, level, shells)


def with_hamiltonians(
    structures: Structures, matrices: Sequence[Tensor], widths: Int[Tensor, " N"]
) -> Structures:
    """Return molecules with their matrices as a field.

    Args:
        structures: Batch of B molecules.
        matrices: Matrices [M, M] in eV, one for each.
        widths: Orbitals of each atom [N].
    """
    width, size = int(widths.max()), max(map(len, matrices))
    rows = [
        pad(part, (0, size - len(matrix), 0, width - len(part)))
        for matrix, own in zip(matrices, widths.split(structures.n_atoms.tolist()), strict=True)
        for part in matrix.split(own.tolist())
    ]
    return structures.replace(atom={**structures.atom, "hamiltonian": torch.stack(rows)})


def _level(folders: Sequence[str]) -> str:
    """Return functional and basis of all folders."""
    found = {folder: _method(Path(folder)) for folder in folders}
    for folder, level in found.items():
        if level is None:
            raise DataError(
                f"Expected Kohn-Sham matrices in {folder}, found none. Make them: matkit label "
                f"STRUCTURES --out {folder} --hamiltonian pbe/def2-svp"
            )
    levels = {str(level) for level in found.values()}
    if len(levels) > 1:
        raise ConfigError(
            f"Expected matrices of one method, got {' and '.join(sorted(levels))}. Choose folders "
            "that were labelled alike."
        )
    return levels.pop()


def _method(folder: Path) -> str | None:
    for path in sorted(folder.glob(f"{STEM}*.json")):
        settings = json.loads(path.read_text(encoding="utf-8")).get("settings", {})
        if settings.get("hamiltonian"):
            return str(settings["hamiltonian"])
    return None


def _read(folders: Sequence[str]) -> tuple[Dataset, dict[str, StoredMatrix]]:
    files: list[str | Path] = [path for folder in folders for path in label_files(folder)]
    located = {
        source: stored
        for folder in folders
        for source, stored in locate_matrices(folder, "hamiltonian").items()
    }
    return read_dataset(files), located


def _with_matrices(
    dataset: Dataset, located: Mapping[str, StoredMatrix], shells: Shells
) -> Structures:
    structures = dataset.structures
    counts = {z: orbital_count(degrees) for z, degrees in shells.items()}
    widths = species_widths(structures.species, counts)
    rows = [int(own.sum()) for own in widths.split(structures.n_atoms.tolist())]
    stored = stored_matrices(dataset, located, rows)
    matrices = [item.read() for item in stored if item is not None]
    if len(matrices) < len(dataset):
        raise misfit(Path(dataset.sources[0]).parent)
    return with_hamiltonians(structures, matrices, widths)
