"""Molecules with their Kohn-Sham matrices, as fields that go into batches like all others.

``atom["hamiltonian"]`` [N, w, W] holds for every atom the rows of its orbitals, eV: w is the most
orbitals of an atom and W of a molecule in the set, and what lies beyond those of the atom or of its
molecule is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from matkit.data.splitting import split_dataset
from matkit.errors import ConfigError
from matkit.hamiltonians.methods import shells_at
from matkit.label.hamiltonian_set import HamiltonianSet, one_level, read_hamiltonians
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
        level: Functional and basis, or `gfn2`.
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
    train = valid = read_hamiltonians(options.train_file)
    if options.valid_file:
        valid = read_hamiltonians(options.valid_file)
    elif options.valid_fraction:
        fractions = (1 - options.valid_fraction, options.valid_fraction)
        parts, _ = split_dataset(train.dataset, fractions, options.seed, "random")
        train, valid = map(train.of, parts)
    level = one_level([train.level, valid.level])
    sets = (train, valid)
    species = {z for one in sets for z in one.dataset.structures.species.tolist()}
    shells = shells_at(level, species)
    learnt, held = (_with_matrices(one, shells) for one in sets)
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


def _with_matrices(labelled: HamiltonianSet, shells: Shells) -> Structures:
    structures = labelled.dataset.structures
    counts = {z: orbital_count(degrees) for z, degrees in shells.items()}
    widths = species_widths(structures.species, counts)
    return with_hamiltonians(structures, labelled.matrices(shells), widths)
