"""Trajectory and statistics of molecular dynamics."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from ase import Atoms, units

from matkit.calculator_info import deviations
from matkit.runs.text_files import TextFile, append_frame, check_length
from matkit.simulate.frames import freeze, max_length
from matkit.simulate.options import MDOptions

COLUMNS = ("step", "time_fs", "potential_eV", "kinetic_eV", "total_eV", "temperature_K")
PRESSURE_COLUMNS = ("pressure_GPa", "volume_A3")
TARGET_COLUMNS = ("target_K",)  # of a thermostat whose temperature changes
# Of a committee: deviations of its members, of the forces that of the atom where it is largest.
DEVIATION_COLUMNS = ("energy_std_eV", "max_forces_std_eV_A")


def md_files(out: str | Path) -> dict[str, Path]:
    """Return the files of a run by their kind, such as ``cu-traj.extxyz`` for ``cu``."""
    out = Path(out)
    ends = {
        "traj": "-traj.extxyz",
        "stats": "-stats.csv",
        "restart": "-restart.npz",
        "last_good": "-last-good.extxyz",
    }
    return {kind: out.with_name(out.name + end) for kind, end in ends.items()}


class Recorder:
    """Writes what is due at a step and remembers the total energy for the drift.

    Of a committee it also remembers the largest deviation of forces in `max_forces_std`, eV/Å.

    Args:
        files: Path by kind; empty to write nothing.
        options: Options of the run.
        stress: Whether pressure and volume can be had.
    """

    def __init__(self, files: Mapping[str, Path], options: MDOptions, stress: bool) -> None:
        self.options, self.stress = options, stress
        self.energies: list[tuple[int, float]] = []
        self.max_forces_std: float | None = None
        self._paths = {kind: files[kind] for kind in ("traj", "stats") if kind in files}
        self._files: dict[str, TextFile] = {}

    def open(self, lengths: Mapping[str, int] | None = None) -> None:
        """Begin new files, or go on with the first `lengths` bytes of the old ones."""
        for kind, keep in (lengths or {}).items():
            check_length(self._paths[kind], keep)
        for kind, path in self._paths.items():
            self._files[kind] = TextFile(path, keep=lengths[kind] if lengths else 0)
        if "stats" in self._files and lengths:
            with self._paths["stats"].open() as file:
                rows = list(csv.DictReader(file))
            self.energies = [(int(row["step"]), float(row["total_eV"])) for row in rows]
            for row in rows:
                if (value := row.get(DEVIATION_COLUMNS[1])) is not None:
                    self._remember(float(value))

    def record(self, step: int, atoms: Atoms) -> None:
        """Write the frame and the row of statistics that are due."""
        if step % self.options.stats_every == 0:
            self._record_statistics(step, atoms)
        if step % self.options.traj_every == 0 and "traj" in self._files:
            time = step * self.options.timestep
            append_frame(self._files["traj"], freeze(atoms), step=step, time_fs=time)

    def lengths(self) -> dict[str, int]:
        """Return the length of every file in bytes, once it is safely on the disk."""
        return {kind: file.sync() for kind, file in self._files.items()}

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()

    def drift(self, n_atoms: int) -> float | None:
        """Return the slope of the total energy in meV/atom/ps, by a linear fit."""
        if len(self.energies) < 3:
            return None
        steps, energies = np.array(self.energies).T
        picoseconds = steps * self.options.timestep / 1000
        slope = np.polyfit(picoseconds, energies - energies[0], 1)[0]
        return float(1000 * slope / n_atoms)

    def _columns(self, committee: bool) -> tuple[str, ...]:
        pressure = PRESSURE_COLUMNS if self.stress else ()
        target = TARGET_COLUMNS if self.options.temperature_end is not None else ()
        return (*COLUMNS, *pressure, *target, *(DEVIATION_COLUMNS if committee else ()))

    def _remember(self, deviation: float) -> None:
        self.max_forces_std = max(deviation, self.max_forces_std or 0.0)

    def _record_statistics(self, step: int, atoms: Atoms) -> None:
        potential, kinetic = atoms.get_potential_energy(), atoms.get_kinetic_energy()
        total = float(f"{potential + kinetic:.8f}")  # as read back after a restart
        self.energies.append((step, total))
        cells = [
            f"{step}",
            f"{step * self.options.timestep:.6g}",
            f"{potential:.8f}",
            f"{kinetic:.8f}",
            f"{total:.8f}",
            f"{atoms.get_temperature():.4f}",
        ]
        if self.stress:
            cells += [f"{pressure(atoms):.6f}", f"{atoms.get_volume():.6f}"]
        if self.options.temperature_end is not None:
            cells.append(f"{self.options.target(step):.4f}")
        if apart := deviations(atoms.calc):
            largest = float(f"{max_length(apart['forces_std']):.6f}")
            self._remember(largest)
            cells += [f"{apart['energy_std']:.8f}", f"{largest:.6f}"]
        if "stats" in self._files:
            header = [] if len(self.energies) > 1 else [",".join(self._columns(bool(apart)))]
            self._files["stats"].write("\n".join([*header, ",".join(cells)]) + "\n")


def pressure(atoms: Atoms) -> float:
    """Return the pressure in GPa, that of the moving atoms included."""
    stress = atoms.get_stress(include_ideal_gas=True, apply_constraint=False)
    return float(-np.mean(stress[:3]) / units.GPa)
