"""Time and memory per atom of energy, forces and stress, from 1,000 to 50,000 atoms of copper.

python benchmarks/scaling.py --model sevennet-0
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from pathlib import Path

import numpy as np
from ase.build import bulk

import matkit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sevennet-0")
    parser.add_argument("--sizes", default="1000,4000,16000,50000", help="numbers of atoms")
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-scaling.json"))
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    rows = []
    for size in map(int, options.sizes.split(",")):
        cells = round((size / 4) ** (1 / 3))
        atoms = bulk("Cu", cubic=True).repeat(cells)
        atoms.calc = matkit.load_calculator(options.model, dtype="float32")
        times = []
        for _ in range(4):
            atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
            begin = time.perf_counter()
            atoms.get_stress()
            times.append(time.perf_counter() - begin)
        row = {
            "atoms": len(atoms),
            "us_per_atom": 1e6 * float(np.median(times[1:])) / len(atoms),
            "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
        rows.append(row)
        print(
            f"{row['atoms']} atoms: {row['us_per_atom']:.0f} µs per atom, "
            f"peak memory {row['peak_mb']:.0f} MB",
            flush=True,
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
