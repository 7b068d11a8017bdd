"""A small set with partial labels, and tiny models."""

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.io import write

from matkit.data.dataset import Dataset, read_dataset
from matkit.derivatives import Conservative
from matkit.interfaces import Potential
from matkit.models import checkpoint
from tests.train.labelled import TINY


def network(species: tuple[int, ...], seed: int = 0, **changes: object) -> Potential:
    torch.manual_seed(seed)
    settings = {key: value for key, value in TINY.items() if key != "name"}
    return checkpoint.build(TINY["name"], {**settings, "species": list(species), **changes})


def model(species: tuple[int, ...], seed: int = 0, **changes: object) -> Conservative:
    return Conservative(network(species, seed, **changes)).eval()


def frames(count: int = 8, seed: int = 0) -> list[Atoms]:
    """Crystals and water in turn; every third without energy, every fourth without forces."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        if i % 2:
            atoms = molecule("H2O")
        else:
            atoms = bulk("NaCl", "rocksalt", a=5.6, cubic=i % 4 == 0)
            atoms.info["REF_stress"] = rng.normal(size=6)
        atoms.rattle(0.05, seed=i)
        atoms.info["config_type"] = "water" if i % 2 else "salt"
        if i % 3 != 2:
            atoms.info["REF_energy"] = rng.normal()
        if i % 4 != 3:
            atoms.set_array("REF_forces", rng.normal(size=(len(atoms), 3)))
        made.append(atoms)
    return made


def dataset(folder, atoms: list[Atoms] | None = None) -> Dataset:
    path = folder / "labelled.extxyz"
    write(path, frames() if atoms is None else atoms)
    return read_dataset(path)


def guesses(data: Dataset, seed: int = 1) -> dict[str, torch.Tensor]:
    """Predictions made up for every structure; molecules have no stress."""
    rng = torch.Generator().manual_seed(seed)
    structures = data.structures
    stress = torch.randn(len(data), 3, 3, generator=rng, dtype=torch.float64)
    stress[~structures.pbc.any(dim=1)] = torch.nan
    return {
        "energy": torch.randn(len(data), generator=rng, dtype=torch.float64),
        "forces": torch.randn(len(structures.species), 3, generator=rng, dtype=torch.float64),
        "stress": stress + stress.mT,
    }
