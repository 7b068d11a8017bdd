"""Frames of a trajectory, one after another, and the times between them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from ase import Atoms

from matkit.analysis.options import TrajectoryOptions
from matkit.data.reading import read_atoms
from matkit.errors import ConfigError, DataError, StructureError
from matkit.units import GPA

NO_TIMES = (
    "the file does not say the times of its frames (time_fs). Say the time between two of them: "
    "--frame-interval 10 (in fs; frame_interval in Python)"
)
# Difference of intervals, relative to them, that rounding in files explains.
UNEQUAL = 1e-3


def frames_of(
    trajectory: str | Path | Iterable[Atoms], options: TrajectoryOptions
) -> Iterator[Atoms]:
    """Give the frames that are to be analysed; they must be of the same atoms.

    Raises:
        StructureError: there is no frame, it cannot be read, or atoms change.
    """
    frames = _read(trajectory, options.format) if isinstance(trajectory, str | Path) else trajectory
    first: Atoms | None = None
    for i, atoms in enumerate(islice(frames, options.skip, None, options.every)):
        number = options.skip + i * options.every
        first = atoms if first is None else first
        if len(atoms) != len(first) or (atoms.numbers != first.numbers).any():
            raise StructureError(
                f"Expected the same atoms in the same order in every frame, got {first.symbols} "
                f"first and {atoms.symbols} in frame {number}. Analyse trajectories one by one."
            )
        yield atoms
    if first is None:
        raise StructureError(f"Expected frames after the first {options.skip}, got none.")


def _read(path: str | Path, format: str | None) -> Iterator[Atoms]:
    try:
        yield from read_atoms(path, format)
    except DataError as error:
        raise StructureError(str(error)) from error


class FrameCurves:
    """What frames say of themselves: time, temperature, energy, pressure and volume."""

    def __init__(self) -> None:
        self.times: list[float | None] = []
        self._rows: list[dict[str, float]] = []

    def add(self, atoms: Atoms) -> None:
        """Add a frame."""
        time = atoms.info.get("time_fs")
        self.times.append(float(time) if isinstance(time, int | float | np.number) else None)
        self._rows.append(_values(atoms))

    def result(self) -> dict[str, np.ndarray]:
        """Return what all frames have, by name."""
        names = [name for name in self._rows[0] if all(name in row for row in self._rows)]
        return {name: np.array([row[name] for row in self._rows]) for name in names}


def _values(atoms: Atoms) -> dict[str, float]:
    found: dict[str, float] = {}
    results = getattr(atoms.calc, "results", {})
    moves = atoms.has("momenta")
    if moves:
        found["temperature_K"] = float(atoms.get_temperature())
    if "energy" in results:
        found["potential_eV"] = float(results["energy"])
        if moves:
            found["total_eV"] = found["potential_eV"] + float(atoms.get_kinetic_energy())
    if atoms.cell.rank == 3 and atoms.pbc.any():
        found["volume_A3"] = float(atoms.get_volume())
        if "stress" in results:
            stress = atoms.get_stress(include_ideal_gas=moves, apply_constraint=False)
            found["pressure_GPa"] = float(-np.mean(stress[:3]) / GPA)
    if "energy_std" in atoms.info:
        found["energy_std_eV"] = float(atoms.info["energy_std"])
    return found


def interval_of(times: Sequence[float | None], options: TrajectoryOptions) -> float | None:
    """Return the time between two analysed frames in fs; None if nobody knows.

    Raises:
        ConfigError: the frames are not equally far apart, or another interval is given.
    """
    given = None if options.frame_interval is None else options.frame_interval * options.every
    known = [time for time in times if time is not None]
    if len(known) < len(times) or len(known) < 2:
        return given
    steps = np.diff(known)
    interval = float(np.mean(steps))
    if not interval > 0 or np.ptp(steps) > UNEQUAL * interval:
        raise ConfigError(
            f"Expected frames at equal distances in time, got intervals from {steps.min():.4g} to "
            f"{steps.max():.4g} fs. Analyse the parts one by one (a.xyz@0:100)."
        )
    if given is not None and abs(given - interval) > UNEQUAL * interval:
        raise ConfigError(
            f"The frames are {interval / options.every:.6g} fs apart, as the file says, and not "
            f"{options.frame_interval:.6g} fs. Leave frame_interval out."
        )
    return interval
