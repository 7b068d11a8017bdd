"""Time a training step (energy and forces, double backward) of SevenNet-0's network.

    python benchmarks/training.py [--mace .envs/mace-torch/bin/python]

Against the package `sevenn`, which runs the same network with e3nn's tensor products: same
weights, structures, loss and threads, in the same process, in turns. Facet S on five molecules of
ethanol, with derivatives written out and by autograd. And, against mace-torch in an environment of
its own, with the same structures, cutoff, loss and threads: Facet on silicon against its default
network, and MACE of 32 channels on ethanol against the same network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from ase import Atoms
from contenders import rattled_ethanol, rattled_silicon

import matkit
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField, force_field
from matkit.models import published
from matkit.models.checkpoint import build
from matkit.train.memory import keep_freed_memory

warnings.filterwarnings("ignore")

CUTOFF = 5.0  # Å, mace-torch's and Facet's default
MOLECULES = 5  # of ethanol in a batch


def loss(energy: torch.Tensor, forces: torch.Tensor) -> torch.Tensor:
    return energy.double().square().mean() * 1e-4 + forces.double().square().mean()


def ours(model: ForceField, batch: list[Atoms]) -> Callable[[], None]:
    model.train()
    graph = model.featurize(from_ase(batch))
    weights = list(model.parameters())

    def step() -> None:
        model.zero_grad(set_to_none=True)
        result = model(graph, properties=("forces",))
        # As `matkit train` does: nothing is derived by the positions.
        loss(result["energy"], result["forces"]).backward(inputs=weights)

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


def timed(steps: dict[str, Callable[[], None]], repeats: int) -> dict[str, float]:
    """Return the median milliseconds of each step, taken in turns."""
    times: dict[str, list[float]] = {key: [] for key in steps}
    for repeat in range(repeats + 2):
        for key, step in steps.items():
            begin = time.perf_counter()
            step()
            if repeat >= 2:
                times[key].append(time.perf_counter() - begin)
    return {key: 1e3 * float(np.median(value)) for key, value in times.items()}


def on_molecules(repeats: int) -> dict[str, float]:
    """Time Facet S on molecules, with derivatives written out and by autograd."""
    molecules = rattled_ethanol(MOLECULES)
    network = published.configurations()["facet-s"]["model"] | {"species": [1, 6, 8]}
    name, steps = network.pop("name"), {}
    for key in ("matkit", "autograd"):
        potential = build(name, network)
        if key == "autograd":
            vars(potential)["_trained_layers"] = lambda *args: None
        steps[key] = ours(force_field(potential), molecules)
    ms = timed(steps, 20 * repeats)
    return ms | {"ratio": ms["autograd"] / ms["matkit"]}


def against_mace(options: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Time Facet and MACE here, and mace-torch's networks in its own environment."""
    theirs_ms = mace_torch(options, "silicon", options.batch, options.repeats)
    results = {}
    for name in ("facet-s", "facet-m"):
        network = published.configurations()[name]["model"] | {"species": [14], "cutoff": CUTOFF}
        model = force_field(build(network.pop("name"), network))
        step = ours(model, rattled_silicon(options.batch))
        ms = timed({"matkit": step}, options.repeats)
        results[name] = ms | {"mace": theirs_ms, "ratio": theirs_ms / ms["matkit"]}
    mace = {"species": [1, 6, 8], "num_channels": 32, "cutoff": CUTOFF}
    model = force_field(build("mace", mace))
    ms = timed({"matkit": ours(model, rattled_ethanol(MOLECULES))}, 20 * options.repeats)
    theirs_ms = mace_torch(options, "ethanol", MOLECULES, 20 * options.repeats)
    results["mace, ethanol"] = ms | {"mace": theirs_ms, "ratio": theirs_ms / ms["matkit"]}
    return results


def mace_torch(options: argparse.Namespace, system: str, batch: int, repeats: int) -> float:
    """Return the milliseconds of mace-torch's step."""
    given = {"batch": batch, "repeats": repeats, "threads": options.threads, "cutoff": CUTOFF}
    flags = [f"--{name}={value}" for name, value in given.items()]
    script = Path(__file__).with_name("training_mace.py")
    command = list(map(str, [options.mace, script, system, *flags]))
    output = subprocess.run(command, check=True, capture_output=True, text=True)
    return float(json.loads(output.stdout.splitlines()[-1])["ms"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--mace", type=Path, help="python of an environment with mace-torch")
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-training.json"))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    keep_freed_memory()  # as `matkit train` does
    results = {}
    for name, peer in (("sevennet-0", "7net-0"), ("sevennet-l3i5", "7net-l3i5")):
        batch = rattled_silicon(options.batch)
        steps = {"matkit": ours(matkit.load(name), batch), "sevenn": theirs(peer, batch)}
        ms = timed(steps, options.repeats)
        results[name] = ms | {"ratio": ms["sevenn"] / ms["matkit"]}
    results["facet-s, ethanol"] = on_molecules(options.repeats)
    if options.mace:
        results |= against_mace(options)
    for name, ms in results.items():
        print(name, ", ".join(f"{key} {value:.1f}" for key, value in ms.items()))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
