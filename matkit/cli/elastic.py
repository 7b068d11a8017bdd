"""``matkit elastic``: what it runs, writes and says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import ElasticConfig
from matkit.elastic import ElasticResult, elastic
from matkit.runs.atomic import write_atomically
from matkit.simulate.results import OnStep
from matkit.units import GPA

COMPONENTS = ("xx", "yy", "zz", "yz", "xz", "xy")


def run(
    atoms: Atoms, calc: BaseCalculator, config: ElasticConfig, _out: Path, show: OnStep | None
) -> ElasticResult:
    """Compute the elastic constants of one crystal."""
    return elastic(atoms, calc, config.options(), on_step=show)


def write(result: ElasticResult, config: ElasticConfig, out: Path) -> None:
    """Write the tensor as a table."""
    (path,) = files(config, out)
    rows = zip(COMPONENTS, result.stiffness / GPA, strict=True)
    lines = [",".join([name, *(f"{value:.6f}" for value in row)]) for name, row in rows]
    text = "\n".join([",".join(["GPa", *COMPONENTS]), *lines]) + "\n"
    write_atomically(path, text.encode())


def files(_config: ElasticConfig, out: Path) -> list[Path]:
    """Return the file of the tensor."""
    return [out.with_name(f"{out.name}-elastic.csv")]


def describe(result: ElasticResult) -> str:
    """Return a line with the moduli, and the tensor below."""
    parts = [f"{result.strains} strained cells", "stable" if result.stable else "NOT STABLE"]
    if (known := result.moduli) is not None:
        values = known.row(GPA)
        bounds = [
            f"{symbol} {values[name]:.2f} ({values[f'{name}_reuss']:.2f} Reuss, "
            f"{values[f'{name}_voigt']:.2f} Voigt)"
            for symbol, name in (("K", "bulk"), ("G", "shear"))
        ]
        parts += [*bounds, f"E {values['young']:.2f} GPa"]
        parts += [f"Poisson {known.poisson:.3f}", f"anisotropy {known.anisotropy:.3f}"]
    return "\n".join([", ".join(parts), *_tensor_lines(result)])


def _tensor_lines(result: ElasticResult) -> list[str]:
    head = "  GPa" + "".join(f"{name:>9}" for name in COMPONENTS)
    values = np.where(np.abs(result.stiffness / GPA) < 0.005, 0.0, result.stiffness / GPA)
    rows = zip(COMPONENTS, values, strict=True)
    return [head, *(f"  {name} " + "".join(f"{x:9.2f}" for x in row) for name, row in rows)]
