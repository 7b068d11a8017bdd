"""Time energies and forces on one and on more threads, around the number of edges that decides.

    python benchmarks/threads.py

Clusters of copper of growing size, in turns on one thread and on the others; to be run on a machine
with nothing else to do, as a thread that waits for a core makes all others wait. A second thread is
called for from `matkit.threads.FEW_EDGES` edges on, and must not make a call slower there.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import matkit
from matkit.threads import FEW_EDGES


def clusters(sizes: list[int]) -> list[Atoms]:
    """Return the so many atoms of copper that are nearest to a point."""
    block = bulk("Cu", cubic=True).repeat(6)
    block.pbc = False
    order = np.linalg.norm(block.positions - block.positions.mean(axis=0), axis=1).argsort()
    return [block[order[:size]] for size in sizes]


def row(atoms: Atoms, model: str, threads: int, repeats: int) -> dict[str, float]:
    """Return edges and the median milliseconds on one and on more threads."""
    atoms.calc = calculator = matkit.load_calculator(model, device="cpu", dtype="float32")
    rng = np.random.default_rng(0)
    times: dict[int, list[float]] = {1: [], threads: []}
    for repeat in range(repeats + 3):
        for count, measured in times.items():
            torch.set_num_threads(count)
            atoms.positions += rng.normal(scale=0.005, size=atoms.positions.shape)
            begin = time.perf_counter()
            atoms.get_forces()
            if repeat >= 3:
                measured.append(1e3 * (time.perf_counter() - begin))
    graph = calculator.neighbors.graph(calculator.structures(atoms))
    one, more = (float(np.median(measured)) for measured in times.values())
    return {"edges": len(graph.center), "one_ms": one, "more_ms": more, "ratio": more / one}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", default="sevennet-0,sevennet-l3i5")
    parser.add_argument(
        "--sizes", default="32,40,48,50,52,54,56,60,64,80,96", help="numbers of atoms"
    )
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--repeats", type=int, default=41)
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-threads.json"))
    options = parser.parse_args()
    results: dict[str, list[dict[str, float]]] = {}
    for model in options.models.split(","):
        results[model] = []
        for atoms in clusters([int(size) for size in options.sizes.split(",")]):
            found = row(atoms, model, options.threads, options.repeats)
            results[model].append(found)
            side = "below" if found["edges"] < FEW_EDGES else "above"
            print(
                f"{model}: {found['edges']} edges ({side} the bound), {found['one_ms']:.1f} ms on "
                f"one thread, {found['more_ms']:.1f} ms on {options.threads}",
                flush=True,
            )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
