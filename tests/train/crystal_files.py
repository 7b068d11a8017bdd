"""Small crystals in files of every kind."""

import csv
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from ase.io import write

from matkit.options import build
from matkit.train.generator_options import GeneratorOptions

FLOW = {
    "name": "crystalflow",
    "width": 16,
    "layers": 2,
    "harmonics": 3,
    "miller": 0,
    "time_channels": 8,
}
DIFFUSION = {
    "name": "diffcsp",
    "width": 16,
    "layers": 2,
    "harmonics": 3,
    "time_channels": 8,
    "levels": 50,
}


def crystals(count: int = 24, seed: int = 0) -> list[Atoms]:
    """Crystals of two and of six atoms in turn, with `size` (Å), the edge of their cells."""
    rng = np.random.default_rng(seed)
    made = []
    for i in range(count):
        size = 3.0 + rng.random()
        atoms = bulk("TiO" if i % 4 else "NaO", "cesiumchloride", a=size)
        if i % 2:
            atoms = atoms * (3, 1, 1)
        atoms.positions += 0.05 * rng.normal(size=(len(atoms), 3))
        atoms.info["size"] = size
        made.append(atoms)
    return made


def cif_text(atoms: Atoms) -> str:
    buffer = io.BytesIO()
    write(buffer, atoms, format="cif")
    return buffer.getvalue().decode()


def csv_file(path: Path, atoms: list[Atoms], names: tuple[str, ...] = ("size",)) -> str:
    """A table with the columns of the published sets."""
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["", "material_id", "cif", *names])
        for i, one in enumerate(atoms):
            values = (one.info.get(name, "") for name in names)
            writer.writerow([i, f"id-{i}", cif_text(one), *values])
    return str(path)


def cif_archive(path: Path, atoms: list[Atoms]) -> str:
    with zipfile.ZipFile(path, "w") as archive:
        for i, one in enumerate(atoms):
            archive.writestr(f"{i}.cif", cif_text(one))
    return str(path)


def quick_options(folder: Path) -> Callable[..., GeneratorOptions]:
    """Return what makes the options of a run in a folder that takes a second."""
    files = {
        "train_file": csv_file(folder / "train.csv", crystals()),
        "valid_file": csv_file(folder / "valid.csv", crystals(8, seed=1)),
    }
    rest = {"model": FLOW, "work_dir": str(folder), "max_num_epochs": 3, "batch_size": 6}

    def make(**changes: object) -> GeneratorOptions:
        return build(GeneratorOptions, {**files, **rest, "report": False, **changes})

    return make
