"""``matkit phonons``: what it runs, writes and says."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import PhononsConfig
from matkit.phonons import phonons
from matkit.phonons.predicted import PREDICT
from matkit.phonons.results import PhononsResult
from matkit.runs.atomic import write_atomically
from matkit.simulate.results import OnStep

ENDS = {
    "phonopy": "-phonopy.yaml",  # cells and force constants, for phonopy's own tools
    "bands": "-bands.yaml",
    "dos": "-dos.csv",
    "thermal": "-thermal.yaml",
    "figure": "-phonons.png",
}


def run(
    atoms: Atoms, calc: BaseCalculator, config: PhononsConfig, _out: Path, show: OnStep | None
) -> PhononsResult:
    """Compute the phonons of one crystal."""
    return phonons(atoms, calc, config.options(), on_step=show)


def write(result: PhononsResult, _config: PhononsConfig, out: Path) -> None:
    """Write tables and figure."""
    from matkit.phonons.figures import phonon_figure
    from matkit.report.figures import png  # here, since Matplotlib is slow to import

    paths = {kind: out.with_name(out.name + end) for kind, end in ENDS.items()}
    write_atomically(paths["dos"], dos_table(result).encode())
    write_atomically(paths["figure"], png(phonon_figure(result)))
    with tempfile.TemporaryDirectory() as folder:  # phonopy writes where it is told, in pieces
        own = {kind: Path(folder, path.name) for kind, path in paths.items()}
        result.phonopy.save(own["phonopy"], settings={"force_constants": True})
        result.phonopy.write_yaml_band_structure(filename=own["bands"])
        result.phonopy.write_yaml_thermal_properties(filename=own["thermal"])
        for kind in ("phonopy", "bands", "thermal"):
            write_atomically(paths[kind], own[kind].read_bytes())


def files(_config: PhononsConfig, out: Path) -> list[Path]:
    """Return the files of one crystal."""
    return [out.with_name(out.name + end) for end in ENDS.values()]


def dos_table(result: PhononsResult) -> str:
    """Return the density of states as CSV."""
    rows = zip(result.dos.frequencies, result.dos.density, strict=True)
    lines = [f"{frequency:.6f},{density:.8g}" for frequency, density in rows]
    return "\n".join(["frequency_THz,states_per_THz", *lines]) + "\n"


def describe(result: PhononsResult) -> str:
    """Return a line with the most important numbers, and a table of thermal properties."""
    parts = [
        f"supercell {'x'.join(map(str, result.supercell))} ({_source(result)})",
        f"highest frequency {result.max_frequency:.3f} THz",
        f"sum rule violated by {result.drift:.1e} eV/Å² before it was imposed",
    ]
    return "\n".join([", ".join(parts), *_thermal_lines(result)])


def _source(result: PhononsResult) -> str:
    """Return what was computed to get the force constants of the supercell."""
    if result.method == PREDICT:
        return "filled by one prediction for the primitive cell"
    return f"{result.displacements} displaced" if result.displacements else result.method


def _thermal_lines(result: PhononsResult, count: int = 6) -> list[str]:
    thermal = result.thermal
    lines = ["  T (K)  free energy (eV)  entropy (meV/K)  heat capacity (meV/K), primitive cell"]
    last = len(thermal.temperatures) - 1
    chosen = sorted(set(np.linspace(0, last, count).round().astype(int).tolist()))
    return lines + [
        f"{thermal.temperatures[i]:7.1f}{thermal.free_energy[i]:18.6f}"
        f"{1000 * thermal.entropy[i]:17.6f}{1000 * thermal.heat_capacity[i]:15.6f}"
        for i in chosen
    ]
