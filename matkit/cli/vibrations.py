"""``matkit vibrations``: what it runs, writes and says."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import VibrationsConfig
from matkit.runs.text_files import TextFile, append_frame
from matkit.simulate.results import OnStep
from matkit.vibrations import vibrations
from matkit.vibrations.animation import animate
from matkit.vibrations.results import (
    VibrationsResult,
    mode_table,
    thermochemistry_table,
    wavenumber,
)


def run(
    atoms: Atoms, calc: BaseCalculator, config: VibrationsConfig, _out: Path, show: OnStep | None
) -> VibrationsResult:
    """Compute the vibrations of one molecule."""
    return vibrations(atoms, calc, config.options(), on_step=show)


def write(result: VibrationsResult, config: VibrationsConfig, out: Path) -> None:
    """Write the animated modes."""
    if len(result.modes.frequencies):
        (path,) = files(config, out)
        with TextFile(path) as file:
            for frame in animate(result.atoms, result.modes, config.amplitude):
                append_frame(file, frame)


def files(_config: VibrationsConfig, out: Path) -> list[Path]:
    """Return the file of the animated modes."""
    return [out.with_name(f"{out.name}-modes.extxyz")]


def describe(result: VibrationsResult) -> str:
    """Return a line with the most important numbers, and the tables below."""
    modes, thermo = result.modes, result.thermochemistry
    named = ", ".join(map(wavenumber, modes.imaginary))
    parts = [
        f"{len(modes.frequencies)} modes ({result.method})",
        f"imaginary: {named} 1/cm" if named else "none imaginary",
        f"energy {result.energy:.6f} eV, zero-point energy {modes.zero_point_energy:.6f} eV",
        f"largest force {result.max_force:.1e} eV/Å",
    ]
    table = mode_table(modes, result.infrared, result.intensities)
    tables = [table] if len(modes.frequencies) else []
    tables += [thermochemistry_table(thermo)] if thermo is not None else []
    return "\n".join([", ".join(parts), *tables])
