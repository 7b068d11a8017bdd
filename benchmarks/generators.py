"""Time CrystalFlow beside DiffCSP: the same network, the same crystals, the same machine.

    python benchmarks/generators.py mp_20/test.parquet --threads 2

Both get the backbone of configs/training/mp20.yaml with random weights, which cost as much as
trained ones, and random compositions of the file. Each method takes the steps that it recommends.
`--diffcsp-steps` measures fewer of DiffCSP's thousand, which all cost the same, and multiplies.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import yaml

from matkit.crystals.reading import read_crystals
from matkit.interfaces import Condition, Generator
from matkit.models import checkpoint
from matkit.report.tables import as_text

CONFIG = Path(__file__).parents[1] / "configs" / "training" / "mp20.yaml"
SHARED = ("width", "layers", "harmonics", "time_channels")


def compositions(file: Path, count: int, seed: int) -> list[tuple[int, ...]]:
    """Return the atoms of random structures, the smallest first."""
    crystals = read_crystals([file])
    chosen = np.random.default_rng(seed).choice(len(crystals), count, replace=False)
    return sorted((crystals[i].numbers for i in chosen), key=len)


def built(name: str, species: list[int], max_atoms: int) -> Generator:
    """Return a generator with random weights and the network of the recipe."""
    recipe = yaml.safe_load(CONFIG.read_text(encoding="utf-8"))["model"]
    size = {key: recipe[key] for key in SHARED}
    size |= {"miller": recipe["miller"]} if name == "crystalflow" else {}  # DiffCSP has none
    torch.manual_seed(0)
    return checkpoint.build(name, {"species": species, "max_atoms": max_atoms, **size}, Generator)


def timed(generator: Generator, condition: Condition, steps: int) -> float:
    """Return the seconds that sampling takes."""
    seeds = torch.arange(len(condition))
    generator.sample(condition, 2, seeds)  # the first time is slower
    begin = time.perf_counter()
    generator.sample(condition, steps, seeds).to("cpu")
    return time.perf_counter() - begin


def row_of(name: str, atoms: list[tuple[int, ...]], measured: int | None) -> dict[str, object]:
    """Return one row of the table; `measured` steps stand for all, if given."""
    species = sorted({number for numbers in atoms for number in numbers})
    generator = built(name, species, max(map(len, atoms))).eval()
    condition = Condition(
        n_atoms=torch.tensor([len(numbers) for numbers in atoms]),
        species=torch.tensor([number for numbers in atoms for number in numbers]),
    )
    steps = measured or generator.steps
    seconds = timed(generator, condition, steps) * generator.steps / steps
    return {
        "method": name,
        "parameters": f"{sum(p.numel() for p in generator.parameters()):,}",
        "steps": generator.steps,
        "measured steps": steps,
        "network calls": generator.steps * generator.calls_per_step,
        "seconds": f"{seconds:.1f}",
        "crystals/s": f"{len(atoms) / seconds:.3g}",
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="structures whose compositions are taken")
    parser.add_argument("--count", type=int, default=100, help="crystals")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--diffcsp-steps", type=int)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    atoms = compositions(args.file, args.count, args.seed)
    sizes = [len(numbers) for numbers in atoms]
    rows = [row_of("crystalflow", atoms, None), row_of("diffcsp", atoms, args.diffcsp_steps)]
    cells = [[*map(str, values)] for values in (rows[0], *(row.values() for row in rows))]
    print(
        f"{args.count} crystals of {np.mean(sizes):.1f} atoms on average (at most {max(sizes)}), "
        f"{args.threads} threads, float32\n\n{as_text(cells)}"
    )


if __name__ == "__main__":
    main()
