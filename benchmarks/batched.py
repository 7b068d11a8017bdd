"""Many structures in batches against one at a time, and against SevenNet's own package.

Run on a quiet machine: ``python benchmarks/batched.py --data FOLDER`` with the data set MP-20 there
(``test.parquet``; `MATKIT_DATA` is looked into too). Everything runs in one process with the same
number of threads, in turns, and the medians are compared.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk
from ase.filters import FrechetCellFilter
from ase.geometry import cellpar_to_cell
from ase.optimize import FIRE, LBFGS

import matkit

FMAX, STEPS = 0.02, 500


def crystals(folder: Path, count: int) -> list[Atoms]:
    """Return some of MP-20's test set, the same ones every time."""
    import pandas

    table = pandas.read_parquet(folder / "test.parquet").sample(count, random_state=0)
    return [
        Atoms(
            row.numbers,
            scaled_positions=np.reshape(row.frac_coords, (-1, 3)),
            cell=cellpar_to_cell(row.lattice),
            pbc=True,
        )
        for row in table.itertuples()
    ]


def seconds(function: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begin = time.perf_counter()
    function()
    return time.perf_counter() - begin


def relaxations(structures: list[Atoms], optimizer: str, repeats: int) -> None:
    """Compare relaxation in batches with relaxation one at a time."""
    calc = matkit.load_calculator(device="cpu")
    options = {"optimizer": optimizer, "relax_cell": True, "fmax": FMAX, "steps": STEPS}
    matkit.relax_many(structures[:3], calc, **options)
    many, one = [], []
    for _ in range(repeats):
        begin = time.perf_counter()
        together = matkit.relax_many(structures, calc, **options)
        middle = time.perf_counter()
        alone = [matkit.relax(a, calc, **options) for a in structures]
        many.append(middle - begin)
        one.append(time.perf_counter() - middle)
    pairs = list(zip(together, alone, strict=True))
    same = sum((x.reason, x.steps) == (y.reason, y.steps) for x, y in pairs)
    off = [abs(x.energy - y.energy) / len(x.atoms) for x, y in pairs]
    a, b = (statistics.median(times) for times in (many, one))
    count = len(structures)
    print(
        f"relax {count} crystals, {optimizer}: {count / a:.2f}/s in batches, {count / b:.2f}/s one "
        f"at a time, ratio {b / a:.2f}; {same} with the same steps and end, energies within "
        f"{max(off):.1e} eV/atom"
    )


def against_sevenn(structures: list[Atoms], optimizer: str, dtype: str) -> None:
    """Compare with ASE driving SevenNet-0 by its own package."""
    warnings.filterwarnings("ignore")
    from sevenn.calculator import SevenNetCalculator

    peer = SevenNetCalculator("7net-0", device="cpu")
    method = {"FIRE": FIRE, "LBFGS": LBFGS}[optimizer]

    def relax_by_ase(atoms: Atoms) -> None:
        work = atoms.copy()
        work.calc = peer
        method(FrechetCellFilter(work), logfile=None).run(fmax=FMAX, steps=STEPS)

    relax_by_ase(structures[0])
    slow = seconds(lambda: list(map(relax_by_ase, structures)))
    for model in ("nequip-universal", "sevennet-0"):
        calc = matkit.load_calculator(model, device="cpu", dtype=dtype)
        options = {"optimizer": optimizer, "relax_cell": True, "fmax": FMAX, "steps": STEPS}
        matkit.relax_many(structures[:2], calc, **options)
        fast = seconds(lambda c=calc, o=options: matkit.relax_many(structures, c, **o))
        count = len(structures)
        print(
            f"{count} crystals, {optimizer}: {model} {dtype} in batches {count / fast:.2f}/s, "
            f"sevenn 7net-0 float32 by ASE {count / slow:.2f}/s, ratio {slow / fast:.1f}"
        )


def dynamics(replicas: int, steps: int, repeats: int) -> None:
    """Compare replicas of an 8-atom cell in a batch with one after the other."""
    calc = matkit.load_calculator(device="cpu", dtype="float32")
    cell = bulk("Si", cubic=True)
    options = {"steps": steps, "temperature": 300}
    matkit.md_many([cell] * replicas, calc, steps=5)
    many, one = [], []
    few = max(1, replicas // 8)
    for _ in range(repeats):
        many.append(seconds(lambda: matkit.md_many([cell] * replicas, calc, **options)))
        one.append(seconds(lambda: [matkit.md(cell, calc, **options) for _ in range(few)]))
    done = len(cell) * steps
    a = done * replicas / statistics.median(many)
    b = done * few / statistics.median(one)
    print(
        f"MD of {replicas} replicas of Si8, float32: {a:,.0f} atom-steps/s in a batch, {b:,.0f} "
        f"one at a time, ratio {a / b:.2f}"
    )


def memory(structures: list[Atoms], count: int) -> None:
    """Print the memory that single points of very many structures take."""
    calc = matkit.load_calculator(device="cpu", dtype="float32")
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    many = [structures[i % len(structures)] for i in range(count)]
    matkit.singlepoint_many(many, calc)
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{count} single points: peak memory {after:.2f} GiB, {before:.2f} GiB before")


def main() -> None:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(os.environ.get("MATKIT_DATA", ".")) / "mp_20"
    parser.add_argument("what", nargs="*", default=["memory", "md", "relax", "sevenn"])
    parser.add_argument("--data", type=Path, default=default, help="folder with test.parquet")
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--peer-count", type=int, default=30)
    parser.add_argument("--optimizer", default="FIRE")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=1)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    structures = crystals(given.data, given.count)
    if "memory" in given.what:
        memory(structures, 10_000)
    if "md" in given.what:
        dynamics(64, 100, 3)
    if "relax" in given.what:
        relaxations(structures, given.optimizer, given.repeats)
    if "sevenn" in given.what:
        for dtype in ("float64", "float32"):
            against_sevenn(structures[: given.peer_count], given.optimizer, dtype)


if __name__ == "__main__":
    main()
