"""What the experiments on real data share: running matkit's commands and reading their metrics."""

from __future__ import annotations

import gzip
import io
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ase import Atoms
from ase.io import read, write


def data(*parts: str) -> Path:
    """Return the path of a file below the folder that `MATKIT_DATA` names."""
    if "MATKIT_DATA" not in os.environ:
        raise SystemExit("Set MATKIT_DATA to the folder that holds the data sets.")
    return Path(os.environ["MATKIT_DATA"], *parts)


def matkit(*arguments: object, threads: int) -> float:
    """Run a command of matkit, or go on with it; return the minutes it took in this process."""
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-m", "matkit", *map(str, arguments)]
    begin = time.perf_counter()
    subprocess.run(command, check=True, env=environment)
    return (time.perf_counter() - begin) / 60


def metrics(folder: Path) -> dict[str, Any]:
    """Return what a run or an evaluation left in its folder."""
    return json.loads((folder / "metrics.json").read_text())


def errors(found: dict[str, Any], dataset: str, model: str = "result") -> dict[str, float]:
    """Return errors of a model on a set: energies in meV/atom, forces in meV/Å.

    `energy_fitted` is what is left after one reference energy per element was fitted.
    """
    overall = found["errors"][dataset][model]["groups"][0]["errors"]
    units = {"energy": "mev_atom", "energy_fitted": "mev_atom", "forces": "mev_ang"}
    return {
        f"{label}_{kind}_{unit}": 1e3 * overall[label][kind]
        for label, unit in units.items()
        for kind in ("mae", "rmse")
    }


def frames(path: Path) -> list[Atoms]:
    """Read all structures of a compressed extended XYZ file.

    It is unpacked first: ASE jumps back and forth in the file, and an archive starts over then.
    """
    with gzip.open(path, "rt") as file:
        return read(io.StringIO(file.read()), ":", format="extxyz")


def save(path: Path, structures: Sequence[Atoms]) -> Path:
    """Write structures with their labels to an extended XYZ file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path, list(structures), format="extxyz")
    return path


def table(rows: Sequence[dict[str, object]]) -> str:
    """Return rows as a Markdown table; numbers with three digits, nothing where there is None."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_cell(row.get(name, "")) for name in names] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
