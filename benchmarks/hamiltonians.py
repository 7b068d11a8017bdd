"""Time a training step of QHNet beside the same network of e3nn's parts, in turns.

    python benchmarks/hamiltonians.py --out results/hamiltonians.json

A step is forward, backward and the optimiser's, of the sizes of configs/potentials/qhnet.yaml on
ten molecules of water and five of ethanol with the orbitals of def2-SVP, in float32 on one thread,
with memory and denormal numbers handled for both as `matkit train` does.
Times are those of the process. e3nn's network is written by `qhnet_e3nn`, with the same weights.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from ase.build import molecule
from qhnet_e3nn import E3nnQHNet

from matkit.data.ase import from_ase
from matkit.denormals import without_denormals
from matkit.models import checkpoint
from matkit.models.published import configurations
from matkit.orbitals import common_shells, orbital_count
from matkit.structures import Structures, cat
from matkit.train.hamiltonian_sets import with_hamiltonians
from matkit.train.hamiltonians import HamiltonianObjective
from matkit.train.memory import keep_freed_memory

HEAVY = (0, 0, 0, 1, 1, 2)
SHELLS = {1: (0, 0, 1), 6: HEAVY, 8: HEAVY}
BATCHES = {"water": ("H2O", 10), "ethanol": ("CH3CH2OH", 5)}


def labelled(name: str, count: int) -> Structures:
    """Return rattled molecules with random matrices."""
    frames = [molecule(name) for _ in range(count)]
    for seed, atoms in enumerate(frames):
        atoms.rattle(0.05, seed=seed)
    structures = cat([from_ase(atoms) for atoms in frames])
    widths = torch.tensor([orbital_count(SHELLS[z]) for z in structures.species.tolist()])
    size = int(widths.sum()) // count
    generator = torch.Generator().manual_seed(0)
    halves = (
        torch.randn(size, size, dtype=torch.float64, generator=generator) for _ in range(count)
    )
    return with_hamiltonians(structures, [half + half.T for half in halves], widths)


def step_of(model: torch.nn.Module, batch: Structures) -> Callable[[], None]:
    objective = HamiltonianObjective(model.train())
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        objective(batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()

    return step


def main() -> None:
    keep_freed_memory()
    with without_denormals():
        compare()


def compare() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=10)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    torch.set_num_threads(1)
    results = {}
    for name, (formula, count) in BATCHES.items():
        structures = labelled(formula, count)
        species = sorted(set(structures.species.tolist()))
        shells = {z: SHELLS[z] for z in species}
        given = {**configurations("potentials")["qhnet"]["model"], "species": species}
        torch.manual_seed(0)
        network = checkpoint.build(given.pop("name"), {**given, "shells": shells})
        graph = network.featurize(structures)
        other = E3nnQHNet(network, common_shells(shells))
        steps = {"matkit": step_of(network, graph), "e3nn": step_of(other, graph)}
        times: dict[str, list[float]] = {key: [] for key in steps}
        for i in range(args.repeats + 2):  # e3nn's code is compiled in the first two
            for key, step in steps.items():
                begin = time.process_time()
                step()
                if i > 1:
                    times[key].append(time.process_time() - begin)
        found = {key: {"min": min(t), "median": median(t)} for key, t in times.items()}
        ratio = found["e3nn"]["median"] / found["matkit"]["median"]
        results[name] = {"molecules": count, "seconds": found, "ratio": ratio}
        mine, theirs = (1e3 * found[key]["median"] for key in ("matkit", "e3nn"))
        print(
            f"{name} x {count}: {mine:.0f} ms, e3nn {theirs:.0f} ms, {ratio:.1f} times", flush=True
        )
    if args.out is not None:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        args.out.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
