"""What an average over turned copies costs, of the default potential, against one prediction.

    python benchmarks/symmetrize.py --threads 1

Process time of energy and forces (and stress of crystals) of one structure whose atoms move a
little between calls; alone and with grids, in turns; medians. The default potential knows all
symmetry itself, so that its average is itself: only the cost is of interest. The mode energy takes
steps that depend on the network, so that it is for models without symmetry (`--modes energy:24`).
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from ase import Atoms
from ase.build import bulk, molecule
from ase.calculators.calculator import Calculator

import matkit

ROUNDS = 7
MODES = ("grid:24", "grid:120", "frames")
STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "water": lambda: molecule("H2O"),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "Si8": lambda: bulk("Si", cubic=True),
    "Si64": lambda: bulk("Si", cubic=True) * (2, 2, 2),
}


def milliseconds(atoms: Atoms, calc: Calculator, seed: int) -> float:
    """Return the processor's time of one prediction for moved atoms."""
    moved = atoms.copy()
    moved.rattle(0.02, seed=seed)
    properties = ["energy", "forces"] + (["stress"] if atoms.pbc.all() else [])
    begin = time.process_time()
    calc.calculate(moved, properties)
    return 1e3 * (time.process_time() - begin)


def main() -> None:
    """Print one line for each structure and mode."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="nequip-universal")
    parser.add_argument("--modes", nargs="+", default=list(MODES))
    parser.add_argument("--structures", nargs="+", choices=STRUCTURES, default=list(STRUCTURES))
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| structure | mode | alone, ms | averaged, ms | ratio | ratio / size of the set |")
    print("|---|---|---|---|---|---|")
    for name in options.structures:
        make = STRUCTURES[name]
        plain = matkit.load_calculator(options.model, dtype="float32", device="cpu")
        calculators = {mode: matkit.symmetrize(plain, mode) for mode in options.modes}
        times: dict[str, list[float]] = {mode: [] for mode in ("alone", *options.modes)}
        for seed in range(ROUNDS + 2):  # the first two warm up
            times["alone"].append(milliseconds(make(), plain, seed))
            for mode, calc in calculators.items():
                times[mode].append(milliseconds(make(), calc, seed))
        median = {mode: statistics.median(values[2:]) for mode, values in times.items()}
        for mode in options.modes:
            size = int(mode.partition(":")[2] or 8)
            ratio = median[mode] / median["alone"]
            print(
                f"| {name} | {mode} | {median['alone']:.1f} | {median[mode]:.1f} | {ratio:.1f} "
                f"| {ratio / size:.2f} |",
                flush=True,
            )


if __name__ == "__main__":
    main()
