"""Time and memory of a Hessian: predicted, by autograd, and by differences of forces.

    python benchmarks/hessian_cost.py MODEL --out OUT [--sizes 10 20 33 50 100] [--threads 1]

One model with a Hessian head, straight alkanes of about these numbers of atoms, float32. Every
measurement is a process of its own, so that its peak memory is that of one method; the memory of
the same process after one evaluation of energy and forces is subtracted. The slope is the
exponent of the time in the number of atoms, by least squares.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from ase import Atoms

from matkit.report.tables import as_text

METHODS = ("predict", "autograd", "finite-difference")
REPEATS = 5


def alkane(n_atoms: int) -> Atoms:
    """Return a straight alkane of about so many atoms, with angles of 109.5° throughout."""
    count = max(1, round((n_atoms - 2) / 3))
    along, across, bond = 1.54 * np.sin(0.955), 1.54 * np.cos(0.955), 1.09
    carbons = [(along * i, across * (i % 2), 0.0) for i in range(count)]
    hydrogens = []
    for i, (x, y, _) in enumerate(carbons):
        out = 2 * (i % 2) - 1
        high, wide = bond * np.cos(0.955) * out, bond * np.sin(0.955)
        hydrogens += [(x, y + high, wide), (x, y + high, -wide)]
    sides = ((-1, 0), (1, count - 1))
    for side, i in sides:
        x, y, _ = carbons[i]
        down = -bond * np.cos(0.955) * (2 * (i % 2) - 1)
        hydrogens.append((x + side * bond * np.sin(0.955), y + down, 0.0))
    return Atoms(f"C{count}H{len(hydrogens)}", np.array(carbons + hydrogens))


def peak() -> float:
    """Return the largest memory of this process so far, MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def one(model: str, n_atoms: int, method: str) -> dict[str, object]:
    """Measure one method on one molecule, in this process."""
    from matkit import load_calculator

    atoms = alkane(n_atoms)
    calc = load_calculator(model, device="cpu", dtype="float32")
    calc.get_potential_energy(atoms)
    calc.get_forces(atoms)
    before, times = peak(), []
    for repeat in range(REPEATS):
        atoms.rattle(0.01, seed=repeat)
        begin = time.perf_counter()
        calc.get_hessian(atoms, method=method)
        times.append(time.perf_counter() - begin)
        if sum(times) > 60:
            break
    seconds = min(times[1:] or times)
    return {"atoms": len(atoms), "method": method, "s": seconds, "mib": peak() - before}


def measured(given: argparse.Namespace, n_atoms: int, method: str) -> dict[str, object]:
    """Measure in a process of its own."""
    words = ("--one", str(n_atoms), "--method", method, "--threads", str(given.threads))
    command = [sys.executable, __file__, given.model, *words]
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def slope(rows: list[dict[str, object]], method: str) -> float:
    """Return the exponent of the time in the number of atoms."""
    chosen = [row for row in rows if row["method"] == method]
    sizes, times = ([float(str(row[name])) for row in chosen] for name in ("atoms", "s"))
    return float(np.polyfit(np.log(sizes), np.log(times), 1)[0])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def main() -> None:
    """Measure all, and write a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--sizes", type=int, nargs="+", default=[10, 20, 33, 50, 100])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--method", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one is not None:
        print(json.dumps(one(given.model, given.one, given.method)))
        return
    rows = []
    for size in given.sizes:
        some = [measured(given, size, method) for method in METHODS]
        fastest = float(str(some[0]["s"]))
        rows += [row | {"times_slower": float(str(row["s"])) / fastest} for row in some]
    slopes = {method: slope(rows, method) for method in METHODS}
    cells = [[*rows[0]], *([_cell(value) for value in row.values()] for row in rows)]
    text = f"{as_text(cells)}\n\nSlopes: " + ", ".join(f"{m} {v:.2f}" for m, v in slopes.items())
    print(text)
    if given.out is not None:
        given.out.mkdir(parents=True, exist_ok=True)
        record = {"model": given.model, "threads": given.threads, "rows": rows, "slopes": slopes}
        (given.out / "hessian_cost.json").write_text(json.dumps(record, indent=2))
        (given.out / "hessian_cost.txt").write_text(text + "\n")


if __name__ == "__main__":
    main()
