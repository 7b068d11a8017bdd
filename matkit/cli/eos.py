"""``matkit eos``: what it runs, writes and says."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import EOSConfig
from matkit.eos import EOSResult, eos
from matkit.runs.atomic import write_atomically
from matkit.runs.text_files import TextFile, append_frame
from matkit.simulate.results import OnStep
from matkit.units import GPA

ENDS = {"table": "-eos.csv", "figure": "-eos.png", "frames": "-volumes.extxyz"}


def run(
    atoms: Atoms, calc: BaseCalculator, config: EOSConfig, _out: Path, show: OnStep | None
) -> EOSResult:
    """Fit the equation of state of one crystal."""
    return eos(atoms, calc, config.options(), on_step=show)


def write(result: EOSResult, _config: EOSConfig, out: Path) -> None:
    """Write table, figure and structures."""
    from matkit.eos.figures import eos_figure
    from matkit.report.figures import png  # here, since Matplotlib is slow to import

    paths = {kind: out.with_name(out.name + end) for kind, end in ENDS.items()}
    rows = zip(result.volumes, result.energies, strict=True)
    lines = [f"{volume:.6f},{energy:.8f}" for volume, energy in rows]
    text = "\n".join(["volume_A3,energy_eV", *lines]) + "\n"
    write_atomically(paths["table"], text.encode())
    write_atomically(paths["figure"], png(eos_figure(result)))
    with TextFile(paths["frames"]) as file:
        for frame in result.frames:
            append_frame(file, frame)


def files(_config: EOSConfig, out: Path) -> list[Path]:
    """Return the files of one crystal."""
    return [out.with_name(out.name + end) for end in ENDS.values()]


def describe(result: EOSResult) -> str:
    """Return a line with the most important numbers."""
    fit, count = result.fit, len(result.atoms)
    return (
        f"{fit.equation} of {len(result.frames)} volumes, V0 {fit.volume:.4f} Å³ "
        f"({fit.volume / count:.4f} per atom), E0 {fit.energy:.6f} eV, "
        f"B0 {fit.bulk_modulus / GPA:.2f} GPa, B0' {fit.derivative:.2f}, "
        f"residual {1000 * fit.residual / count:.2g} meV/atom"
    )
