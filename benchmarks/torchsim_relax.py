"""Relax crystals with their cells: matkit in batches and one by one, SevenNet's package, TorchSim.

    python benchmarks/torchsim_relax.py mp_20/test.parquet --count 300 --threads 2

The file may also be left out, with `MATKIT_DATA` naming the folder of the data sets. Every
contender that is installed relaxes the same crystals from the same starts; rounds alternate, and
the median counts. "ASE" is FIRE with `FrechetCellFilter`, one structure after another. All stop at
the same largest force; ASE and TorchSim hold the cell's gradient per atom to the same number, and
matkit the stress, to `--smax`, which is that for 20 Å³ per atom. SevenNet computes in float32.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator
from ase.filters import FrechetCellFilter
from ase.optimize import FIRE
from pymatgen.io.ase import AseAtomsAdaptor

import matkit
from matkit.crystals.reading import read_crystals
from matkit.errors import StructureError
from matkit.report.tables import as_text

# Returns how many crystals came to rest.
Relax = Callable[[list[Atoms]], int]


def crystals(file: Path, count: int, seed: int, calc: matkit.calculator.MatkitCalculator):
    """Return random crystals whose elements the model knows."""
    found = [crystal.structure for crystal in read_crystals([file]) if crystal.structure]
    chosen = []
    for i in np.random.default_rng(seed).permutation(len(found)):
        atoms = AseAtomsAdaptor.get_atoms(found[i], msonable=False)
        try:
            calc.structures(atoms)
        except StructureError:
            continue
        chosen.append(atoms)
        if len(chosen) == count:
            break
    return chosen


def in_batches(calc, settings, frames: list[Atoms]) -> int:
    options = {"fmax": settings.fmax, "smax": settings.smax, "steps": settings.steps}
    results = matkit.relax_many(frames, calc, relax_cell=True, **options)
    return sum(result.converged for result in results)


def one_by_one(calc, settings, frames: list[Atoms]) -> int:
    options = {"fmax": settings.fmax, "smax": settings.smax, "steps": settings.steps}
    return sum(matkit.relax(a, calc, relax_cell=True, **options).converged for a in frames)


def by_ase(calc: Calculator, settings, frames: list[Atoms]) -> int:
    converged = 0
    for frame in frames:
        atoms = frame.copy()
        atoms.calc = calc
        optimizer = FIRE(FrechetCellFilter(atoms), logfile=None)
        converged += bool(optimizer.run(fmax=settings.fmax, steps=settings.steps))
    return converged


def by_torchsim(model, settings, frames: list[Atoms]) -> int:
    import torch_sim as ts

    criterion = ts.generate_force_convergence_fn(settings.fmax, include_cell_forces=True)
    batcher = ts.InFlightAutoBatcher(
        model, memory_scales_with="n_atoms", max_memory_scaler=settings.batch_atoms
    )
    final = ts.optimize(
        frames,
        model,
        optimizer=ts.Optimizer.fire,
        convergence_fn=criterion,
        init_kwargs={"cell_filter": ts.CellFilter.frechet},
        autobatcher=batcher,
        max_steps=settings.steps,
    )
    return int(criterion(final, final.energy).sum())


def contenders(calc, settings) -> dict[str, Relax]:
    """Return those that are installed."""
    found = {
        "matkit, batches": partial(in_batches, calc, settings),
        "matkit, one by one": partial(one_by_one, calc, settings),
        "ASE, matkit": partial(by_ase, calc, settings),
    }
    has_sevenn, has_torchsim = (find_spec(name) is not None for name in ("sevenn", "torch_sim"))
    if has_sevenn:
        from sevenn.calculator import SevenNetCalculator

        found["ASE, sevenn"] = partial(by_ase, SevenNetCalculator("7net-0", device="cpu"), settings)
    if has_torchsim:
        from matkit.interop.torchsim import TorchSimModel

        found["TorchSim, matkit"] = partial(by_torchsim, TorchSimModel(calc), settings)
    if has_sevenn and has_torchsim:
        from sevenn.torchsim import SevenNetModel
        from sevenn.util import load_checkpoint

        network = load_checkpoint("7net-0").build_model()
        model = SevenNetModel(network, device=torch.device("cpu"))
        found["TorchSim, sevenn"] = partial(by_torchsim, model, settings)
    only = settings.only or list(found)
    return {name: relax for name, relax in found.items() if name in only}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "file", nargs="?", type=Path, help="crystals; MP-20's test set if not given"
    )
    parser.add_argument("--count", type=int, default=300, help="crystals")
    parser.add_argument("--seed", type=int, default=0, help="of their choice")
    parser.add_argument("--repeats", type=int, default=3, help="rounds, whose median counts")
    parser.add_argument("--fmax", type=float, default=0.02, help="largest force, eV/Å")
    parser.add_argument("--smax", type=float, default=1e-3, help="largest stress, eV/Å³")
    parser.add_argument("--steps", type=int, default=500, help="most steps of each")
    parser.add_argument("--threads", type=int, default=2, help="of torch")
    parser.add_argument("--model", default="nequip-universal", help="matkit's potential")
    parser.add_argument("--dtype", default="float64", help="precision of matkit's potential")
    parser.add_argument("--batch-atoms", type=int, default=1000, help="TorchSim's largest batch")
    parser.add_argument("--only", action="append", help="one of the contenders, by its name")
    return parser.parse_args()


def main() -> None:
    settings = arguments()
    warnings.filterwarnings("ignore")  # of other packages
    torch.set_num_threads(settings.threads)
    file = settings.file or Path(os.environ["MATKIT_DATA"], "mp_20", "test.parquet")
    calc = matkit.load_calculator(settings.model, device="cpu", dtype=settings.dtype)
    frames = crystals(file, settings.count, settings.seed, calc)
    times: dict[str, list[float]] = {}
    converged: dict[str, int] = {}
    racing = contenders(calc, settings)
    for relax in racing.values():
        relax(frames[:1])  # the first time is slower
    for _ in range(settings.repeats):
        for name, relax in racing.items():
            begin = time.perf_counter()
            converged[name] = relax(frames)
            times.setdefault(name, []).append(time.perf_counter() - begin)
            print(f"{name}: {times[name][-1]:.1f} s", flush=True)
    first = median(next(iter(times.values())))
    rows = [["", "structures/s", "time / first", "at rest"]]
    for name, seconds in times.items():
        middle = median(seconds)
        rate, ratio = f"{len(frames) / middle:.3g}", f"{middle / first:.2f}"
        rows.append([name, rate, ratio, f"{converged[name]} of {len(frames)}"])
    print(as_text(rows))


if __name__ == "__main__":
    main()
