"""Restart files: everything from which a run goes on as if it had never stopped."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms

from matkit.cache import write_atomically
from matkit.errors import SimulationError
from matkit.simulate.options import MDOptions

FORMAT_VERSION = 1
# What may not differ between the two parts of a run.
FIXED = (
    "ensemble",
    "thermostat",
    "timestep",
    "temperature",
    "friction",
    "pressure",
    "barostat_time",
    "seed",
)
ARRAYS = ("positions", "momenta", "cell", "numbers")


@dataclass(frozen=True, kw_only=True)
class Restart:
    """State after a step, in full precision.

    Attributes:
        step: Steps done.
        positions: Positions [N, 3], Å.
        momenta: Momenta [N, 3] in ASE's unit.
        cell: Lattice vectors [3, 3], Å.
        numbers: Atomic numbers [N].
        integrator: The integrator's own variables, by name.
        rng: State of the random numbers.
        lengths: Length in bytes of each output file, by its kind.
        options: Options of the run.
    """

    step: int
    positions: np.ndarray
    momenta: np.ndarray
    cell: np.ndarray
    numbers: np.ndarray
    integrator: Mapping[str, np.ndarray]
    rng: Mapping[str, Any]
    lengths: Mapping[str, int]
    options: Mapping[str, Any]

    def write(self, path: Path) -> None:
        """Write the file in one piece: the old one stays until the new one is complete."""
        header = {
            "format_version": FORMAT_VERSION,
            "step": self.step,
            "rng": self.rng,
            "lengths": self.lengths,
            "options": self.options,
        }
        arrays: dict[str, Any] = {name: getattr(self, name) for name in ARRAYS}
        arrays |= {f"integrator.{name}": value for name, value in self.integrator.items()}
        buffer = io.BytesIO()
        np.savez(buffer, header=np.array(json.dumps(header)), **arrays)
        write_atomically(path, buffer.getvalue())

    def check(self, atoms: Atoms, options: MDOptions, path: Path) -> None:
        """Raise SimulationError if this is the state of other atoms or another kind of run."""
        if not np.array_equal(self.numbers, atoms.numbers):
            raise SimulationError(
                f"{path} belongs to another structure: expected the elements of "
                f"{_formula(self.numbers)}, got {_formula(atoms.numbers)} (in this order). Use the "
                "structure the run began with, or another output name."
            )
        now = options.model_dump()
        changed = [
            f"{key} = {self.options[key]} then, {now[key]} now"
            for key in FIXED
            if self.options.get(key) != now[key]
        ]
        if changed:
            raise SimulationError(
                f"{path} was written by a run with other options: {'; '.join(changed)}. Use the "
                "same ones, or start a new run from the last frame of the trajectory."
            )


def read_restart(path: Path) -> Restart:
    """Read a restart file.

    Raises:
        SimulationError: the file is missing, damaged, or of an unknown version.
    """
    if not path.is_file():
        raise SimulationError(f"Expected a restart file, but there is no file {path}.")
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = json.loads(str(arrays.pop("header")))
        version = header.pop("format_version")
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise SimulationError(
            f"{path} is not a restart file of matkit, or is damaged ({error}). Start anew with "
            "overwrite."
        ) from error
    if version != FORMAT_VERSION:
        raise SimulationError(
            f"{path} has format {version}; this version of matkit reads format {FORMAT_VERSION}. "
            "Go on with the version that wrote it."
        )
    prefix = "integrator."
    own = {k.removeprefix(prefix): arrays.pop(k) for k in list(arrays) if k.startswith(prefix)}
    return Restart(**header, **arrays, integrator=own)


def _formula(numbers: np.ndarray) -> str:
    return str(Atoms(numbers=numbers).symbols)
