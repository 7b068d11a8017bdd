"""``matkit qha``: what it runs, writes and says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import QHAConfig
from matkit.qha import QHAResult, qha
from matkit.runs.atomic import write_atomically
from matkit.simulate.results import OnStep
from matkit.units import GPA

ENDS = {"table": "-qha.csv", "figure": "-qha.png"}
COLUMNS = (
    "temperature_K",
    "volume_A3",
    "expansion_1_K",
    "gibbs_eV",
    "entropy_eV_K",
    "heat_capacity_eV_K",
    "bulk_modulus_GPa",
    "grueneisen",
)


def run(
    atoms: Atoms, calc: BaseCalculator, config: QHAConfig, _out: Path, show: OnStep | None
) -> QHAResult:
    """Compute one crystal at temperatures."""
    return qha(atoms, calc, config.options(), on_step=show)


def write(result: QHAResult, _config: QHAConfig, out: Path) -> None:
    """Write table and figure."""
    from matkit.qha.figures import qha_figure
    from matkit.report.figures import png  # here, since Matplotlib is slow to import

    paths = {kind: out.with_name(out.name + end) for kind, end in ENDS.items()}
    write_atomically(paths["table"], table(result).encode())
    write_atomically(paths["figure"], png(qha_figure(result)))


def files(_config: QHAConfig, out: Path) -> list[Path]:
    """Return the files of one crystal."""
    return [out.with_name(out.name + end) for end in ENDS.values()]


def table(result: QHAResult) -> str:
    """Return everything over the temperature as CSV."""
    columns = (
        result.temperatures,
        result.volume,
        result.expansion,
        result.gibbs,
        result.entropy,
        result.heat_capacity,
        result.bulk_modulus / GPA,
        result.grueneisen,
    )
    lines = [",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    return "\n".join([",".join(COLUMNS), *lines]) + "\n"


def describe(result: QHAResult, count: int = 6) -> str:
    """Return a line with the most important numbers, and a table over the temperature."""
    room = result.room_temperature
    values = result.at(room)
    size = "x".join(map(str, result.supercell))
    first = (
        f"{len(result.volumes)} volumes, supercell {size}, at {room:g} K: volume "
        f"{values['volume']:.4f} Å³, expansion {1e6 * values['expansion']:.2f}e-6/K, "
        f"bulk modulus {values['bulk_modulus']:.2f} GPa"
    )
    head = "  T (K)  volume (Å³)  expansion (1e-6/K)  Cp (meV/K)  B (GPa), primitive cell"
    chosen = np.linspace(0, len(result.temperatures) - 1, count).round().astype(int)
    rows = [
        f"{result.temperatures[i]:7.1f}{result.volume[i]:13.4f}"
        f"{1e6 * result.expansion[i]:20.2f}{1000 * result.heat_capacity[i]:12.5f}"
        f"{result.bulk_modulus[i] / GPA:9.2f}"
        for i in sorted(set(chosen.tolist()))
    ]
    return "\n".join([first, head, *rows])
