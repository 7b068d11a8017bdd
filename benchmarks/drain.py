"""Few atoms at a time: what is left of a batched relaxation, and the displaced copies of a Hessian.

    python benchmarks/drain.py --model sevennet-0 --threads 1

Process time in float64, as these tasks compute, per structure and step (or per displaced copy):
over the number of structures that are left, and over the atoms that are computed together. Each
figure is the median of several rounds, which go through all numbers in turn.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import torch
from ase import Atoms
from ase.build import bulk, molecule

import matkit
from matkit.calculator import MatkitCalculator
from matkit.simulate.several import evaluated

STEPS = 20
LEFT = (1, 2, 4, 8, 16, 32)
BLOCKS = (1, 32, 64, 128, 256, 512, 1024)
STRUCTURES: dict[str, Callable[[], Atoms]] = {
    "water": lambda: molecule("H2O"),
    "ethanol": lambda: molecule("CH3CH2OH"),
    "Si8": lambda: bulk("Si", cubic=True),
}


def rattled(make: Callable[[], Atoms], count: int) -> list[Atoms]:
    """Copies of a structure, each rattled differently."""
    copies = [make() for _ in range(count)]
    for seed, atoms in enumerate(copies):
        atoms.rattle(0.1, seed=seed)
    return copies


def process_seconds(function: Callable[[], object]) -> float:
    """Return the processor's time that a call takes, of all threads."""
    begin = time.process_time()
    function()
    return time.process_time() - begin


def tasks(calc: MatkitCalculator, make: Callable[[], Atoms]) -> dict[str, tuple[int, Callable]]:
    """What is timed by its name: into how many parts the time is divided, and a call."""
    found: dict[str, tuple[int, Callable]] = {}
    never = {"fmax": 1e-9, "steps": STEPS}
    for count in LEFT:
        several = rattled(make, count)
        for optimizer in ("FIRE", "LBFGS"):
            options = never | {"optimizer": optimizer}

            def together(several: list[Atoms] = several, options: dict = options) -> object:
                return matkit.relax_many(several, calc, **options)

            found[f"{count} left, {optimizer}"] = count * STEPS, together
        found[f"band of {count}"] = count, lambda several=several: evaluated(several, calc)
    one = rattled(make, 1)[0]
    found["alone, FIRE"] = STEPS, lambda: matkit.relax(one, calc, **never)
    for method, sign in (("finite-difference", 2), ("autograd", 1)):
        for block in BLOCKS:

            def hessian(method: str = method, block: int = block) -> object:
                return calc.get_hessian(one, method=method, block=block)

            found[f"{method}, {block} atoms"] = sign * 3 * len(one), hessian
    return found


def main() -> None:
    """Time everything and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sevennet-0")
    parser.add_argument("--structures", default=",".join(STRUCTURES))
    parser.add_argument("--only", default="", help="text that the names of tasks contain")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-drain.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    calc = matkit.load_calculator(options.model, device="cpu", dtype="float64")
    rows: dict[str, dict[str, float]] = {}
    for name in options.structures.split(","):
        chosen = {k: v for k, v in tasks(calc, STRUCTURES[name]).items() if options.only in k}
        times: dict[str, list[float]] = defaultdict(list)
        for turn in range(options.rounds + 1):
            for task, (parts, call) in chosen.items():
                seconds = process_seconds(call) / parts
                if turn:  # the first one compiles
                    times[task].append(seconds)
        rows[name] = {task: 1e3 * statistics.median(found) for task, found in times.items()}
        for task, ms in rows[name].items():
            print(f"{name:8s} {task:32s} {ms:8.3f} ms", flush=True)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
