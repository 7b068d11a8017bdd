"""Time a training step (energy and forces, double backward) of SevenNet-0's network.

    python benchmarks/training.py

Against the package `sevenn`, which runs the same network with e3nn's tensor products: same
weights, structures, loss and threads, in the same process, in turns.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk

import matkit
from matkit.data.ase import from_ase

warnings.filterwarnings("ignore")


def structures(count: int) -> list[Atoms]:
    """Copies of 64 atoms of silicon, each rattled differently."""
    batch = [bulk("Si", cubic=True).repeat(2) for _ in range(count)]
    for seed, atoms in enumerate(batch):
        atoms.rattle(0.1, seed=seed)
    return batch


def loss(energy: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    return energy.double().square().mean() * 1e-4 + forces.double().square().mean()


def ours(name: str, batch: list[Atoms]) -> Callable[[], None]:
    model = matkit.load(name).train()
    graph = model.featurize(from_ase(batch))

    def step() -> None:
        model.zero_grad(set_to_none=True)
        result = model(graph, properties=("forces",))
        loss(result["energy"], result["forces"]).backward()

    return step


def theirs(name: str, batch: list[Atoms]) -> Callable[[], None]:
    from sevenn.atom_graph_data import AtomGraphData
    from sevenn.train.dataload import unlabeled_atoms_to_graph
    from sevenn.util import model_from_checkpoint, pretrained_name_to_path
    from torch_geometric.data import Batch

    model, _ = model_from_checkpoint(pretrained_name_to_path(name))
    model.train()
    model.set_is_batch_data(True)
    graphs = [
        AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, model.cutoff))
        for atoms in batch
    ]
    for graph in graphs:
        graph["x"] = torch.tensor([model.type_map[int(z)] for z in graph["atomic_numbers"]])

    def step() -> None:
        model.zero_grad(set_to_none=True)
        result = model(Batch.from_data_list([graph.clone() for graph in graphs]))
        loss(result["inferred_total_energy"], result["inferred_force"]).backward()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-training.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    results = {}
    for name, peer in (("sevennet-0", "7net-0"), ("sevennet-l3i5", "7net-l3i5")):
        batch = structures(options.batch)
        steps = {"matkit": ours(name, batch), "sevenn": theirs(peer, batch)}
        times: dict[str, list[float]] = {key: [] for key in steps}
        for repeat in range(options.repeats + 2):
            for key, step in steps.items():
                begin = time.perf_counter()
                step()
                if repeat >= 2:
                    times[key].append(time.perf_counter() - begin)
        ms = {key: 1e3 * float(np.median(value)) for key, value in times.items()}
        results[name] = ms | {"ratio": ms["sevenn"] / ms["matkit"]}
        print(
            f"{name}: {ms['matkit']:.0f} ms, sevenn {ms['sevenn']:.0f} ms, "
            f"{results[name]['ratio']:.1f}x",
            flush=True,
        )
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
