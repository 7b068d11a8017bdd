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
from pydantic import BaseModel, ConfigDict, Field, NonNegativeInt, StrictInt, field_validator

from matkit.errors import SimulationError
from matkit.runs.atomic import write_atomically
from matkit.runs.settings import changed_settings
from matkit.simulate.options import MDOptions

FORMAT_VERSION = 1
# What may not differ between the two parts of a run.
FIXED = (
    "ensemble",
    "thermostat",
    "timestep",
    "temperature",
    "temperature_end",
    "friction",
    "pressure",
    "barostat_time",
    "seed",
)
ARRAYS = ("positions", "momenta", "cell", "numbers")


class Header(BaseModel):
    """What a restart file says beside its arrays."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    format_version: StrictInt
    step: StrictInt = Field(ge=0)
    rng: dict[str, Any]
    lengths: dict[str, NonNegativeInt]
    options: dict[str, Any]

    @field_validator("rng")
    @classmethod
    def _is_a_state(cls, value: dict[str, Any]) -> dict[str, Any]:
        try:
            np.random.default_rng().bit_generator.state = value
        except (KeyError, OverflowError, TypeError) as error:
            raise ValueError(f"no state of random numbers: {error!r}") from error
        return value


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
        # The slope of a ramp depends on the number of its steps.
        fixed = {*FIXED, *(("steps",) if options.temperature_end is not None else ())}
        if changed := changed_settings(self.options, now, now.keys() - fixed, options.defaults()):
            raise SimulationError(
                f"{path} was written by a run with other options: {changed}. Use the same ones, or "
                "start a new run from the last frame of the trajectory."
            )


def read_restart(path: Path) -> Restart:
    """Read a restart file.

    Raises:
        SimulationError: the file is missing, damaged, or of an unknown version.
    """
    if not path.is_file():
        raise SimulationError(f"Expected a restart file, but there is no file {path}.")
    try:
        _refuse_compressed(path)
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        header = Header.model_validate_json(str(arrays.pop("header")))
    # A file may hold anything; MemoryError: an array that claims to be larger than the file.
    except Exception as error:
        raise _damaged(path, f"{type(error).__name__}: {error}") from error
    if header.format_version != FORMAT_VERSION:
        raise SimulationError(
            f"{path} has format {header.format_version}; this version of matkit reads format "
            f"{FORMAT_VERSION}. Go on with the version that wrote it."
        )
    if problem := _problem(arrays):
        raise _damaged(path, problem)
    prefix = "integrator."
    own = {k.removeprefix(prefix): arrays.pop(k) for k in list(arrays) if k.startswith(prefix)}
    known = {name: arrays[name] for name in ARRAYS}
    return Restart(**header.model_dump(exclude={"format_version"}), **known, integrator=own)


def _refuse_compressed(path: Path) -> None:
    """Refuse members that are larger than the file, which numpy's `savez` never writes."""
    with zipfile.ZipFile(path) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise zipfile.BadZipFile("a member is compressed")


def _problem(arrays: Mapping[str, np.ndarray]) -> str:
    """Return what is wrong with the arrays of a restart file, or nothing."""
    if missing := sorted(set(ARRAYS) - arrays.keys()):
        return f"there is no {', '.join(missing)}"
    if arrays["numbers"].ndim != 1 or arrays["numbers"].dtype.kind not in "iu":
        return "numbers are no row of whole numbers"
    n_atoms = len(arrays["numbers"])
    for name, shape in {"positions": (n_atoms, 3), "momenta": (n_atoms, 3), "cell": (3, 3)}.items():
        if arrays[name].shape != shape:
            return f"{name} have the shape {arrays[name].shape}, not {shape}"
    for name, array in arrays.items():
        if array.dtype.kind not in "iufb" or not np.isfinite(array).all():
            return f"{name} are not finite numbers"
    return ""


def _damaged(path: Path, why: str) -> SimulationError:
    why = "".join(sign for sign in " ".join(why.split())[:300] if sign.isprintable())
    return SimulationError(
        f"{path} is not a restart file of matkit, or is damaged ({why}). Start anew with overwrite."
    )


def _formula(numbers: np.ndarray) -> str:
    return str(Atoms(numbers=numbers).symbols)
