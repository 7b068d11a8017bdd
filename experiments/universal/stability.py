"""Hot dynamics of ten crystals of MP-20's test set, and energy drift.

    python -m universal.stability MODEL... [--picoseconds 20] [--crystals 10] [--workers 2]

NVT at 1000 K, steps of 2 fs (with hydrogen 1 fs), cells of at least 40 atoms. Stable means: no
number is not finite, the temperature stays below 10,000 K and no two atoms come closer than 0.5 Å
at any time (tests of `matkit.md`), and at the end no pair is nearer than 0.55 of the sum of its
covalent radii. NVE from 300 K in steps of 1 fs after that, a tenth as long: the slope of the total
energy.
"""

from __future__ import annotations

import random
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context

import torch
from ase import Atoms
from common import data

import matkit
from matkit.builders.crystals import supercell
from matkit.builders.geometry import approach
from matkit.data.tables import read_parquet
from universal.shared import Rows, arguments, report

CLOSEST = 0.55
LEAST_ATOMS, MOST_ATOMS = 40, 100


def diverse(count: int) -> list[Atoms]:
    """Return crystals of the test set that bring the most new elements, one after another."""
    pool = [atoms for atoms in read_parquet(data("mp_20", "test.parquet")) if len(atoms) > 3]
    pool = random.Random(0).sample(pool, 1000)
    seen: set[int] = set()
    chosen = []
    for _ in range(count):
        best = max(pool, key=lambda atoms: len({*atoms.numbers.tolist()} - seen))
        seen |= {*best.numbers.tolist()}
        chosen.append(supercell(best, LEAST_ATOMS, MOST_ATOMS))
    return chosen


def row(model: str, atoms: Atoms, picoseconds: float) -> dict[str, object]:
    """Return what becomes of one crystal."""
    calc = matkit.load_calculator(model, device="cpu", dtype="float32")
    timestep = 1.0 if 1 in atoms.numbers else 2.0
    steps = round(1000 * picoseconds / timestep)
    hot = matkit.md(
        atoms, calc, temperature=1000.0, timestep=timestep, steps=steps, min_distance=0.5, seed=0
    )
    closest = approach(hot.atoms)
    # Equipartition takes half of the kinetic energy: 600 K become about 300 K.
    steps = round(100 * picoseconds)
    free = matkit.md(
        atoms, calc, ensemble="nve", temperature=600.0, timestep=1.0, steps=steps, seed=0
    )
    return {
        "model": model,
        "crystal": atoms.get_chemical_formula(),
        "end": hot.reason,
        "ps": hot.steps * timestep / 1000,
        "closest/radii": closest,
        "stable": hot.converged and closest > CLOSEST,
        "drift meV/atom/ps": free.drift if free.converged else None,
        "steps/s": hot.steps_per_second,
    }


def main() -> None:
    parser = arguments(__doc__, "stability")
    parser.add_argument("--picoseconds", type=float, default=20.0)
    parser.add_argument("--crystals", type=int, default=10)
    parser.add_argument("--workers", type=int, default=1, help="processes of one thread each")
    given = parser.parse_args()
    work = [(model, atoms) for model in given.models for atoms in diverse(given.crystals)]
    rows: Rows = []
    start = partial(torch.set_num_threads, 1)
    context = get_context("spawn")
    with ProcessPoolExecutor(given.workers, mp_context=context, initializer=start) as executor:
        for found in executor.map(
            partial(row, picoseconds=given.picoseconds), *zip(*work, strict=True)
        ):
            rows.append(found)
            print(found, flush=True)  # each takes minutes
    report(rows, given.json)


if __name__ == "__main__":
    main()
