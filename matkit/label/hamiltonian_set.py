"""Molecules with their Kohn-Sham matrices, as ``matkit label --hamiltonian`` wrote them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from jaxtyping import Float
from torch import Tensor

from matkit.data.dataset import Dataset, read_dataset
from matkit.errors import ConfigError, DataError
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


@dataclass(frozen=True)
class HamiltonianSet:
    """Molecules and where their matrices are.

    Attributes:
        dataset: Molecules with energies and forces.
        located: Where the matrix of a molecule is, by its source.
        level: Functional and basis, or `gfn2`.
    """

    dataset: Dataset
    located: Mapping[str, StoredMatrix]
    level: str

    def of(self, dataset: Dataset) -> HamiltonianSet:
        """Return the same for a part of the molecules."""
        return replace(self, dataset=dataset)

    def matrices(self, shells: Shells) -> list[Float[Tensor, "M M"]]:
        """Return the matrix of every molecule, eV, orbitals as in `matkit.hamiltonians.orders`.

        Args:
            shells: Degrees of the shells of every element.

        Raises:
            DataError: a molecule has no matrix, or one of another size.
        """
        structures = self.dataset.structures
        counts = {z: orbital_count(degrees) for z, degrees in shells.items()}
        widths = species_widths(structures.species, counts)
        rows = [int(own.sum()) for own in widths.split(structures.n_atoms.tolist())]
        stored = stored_matrices(self.dataset, self.located, rows)
        matrices = [item.read() for item in stored if item is not None]
        if len(matrices) < len(self.dataset):
            raise misfit(Path(self.dataset.sources[0]).parent)
        return matrices


def read_hamiltonians(folders: Sequence[str]) -> HamiltonianSet:
    """Return what is in folders of labels, all shards together.

    Raises:
        ConfigError: folders were labelled with different methods.
        DataError: a folder holds no matrices.
    """
    level = _level(folders)
    files: list[str | Path] = [path for folder in folders for path in label_files(folder)]
    located = {
        source: stored
        for folder in folders
        for source, stored in locate_matrices(folder, "hamiltonian").items()
    }
    return HamiltonianSet(read_dataset(files), located, level)


def one_level(levels: Sequence[str]) -> str:
    """Return the method that all have.

    Raises:
        ConfigError: they have several.
    """
    if len(different := sorted(set(levels))) > 1:
        raise ConfigError(
            f"Expected matrices of one method, got {' and '.join(different)}. Choose what was "
            "labelled alike."
        )
    return different[0]


def _level(folders: Sequence[str]) -> str:
    levels = {folder: _method(Path(folder)) for folder in folders}
    for folder, level in levels.items():
        if level is None:
            raise DataError(
                f"Expected Kohn-Sham matrices in {folder}, found none. Make them: matkit label "
                f"STRUCTURES --out {folder} --hamiltonian pbe/def2-svp"
            )
    return one_level([str(level) for level in levels.values()])


def _method(folder: Path) -> str | None:
    for path in sorted(folder.glob(f"{STEM}*.json")):
        settings = json.loads(path.read_text(encoding="utf-8")).get("settings", {})
        if settings.get("hamiltonian"):
            return str(settings["hamiltonian"])
    return None
