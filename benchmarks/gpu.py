"""Times the engine on a GPU: python benchmarks/gpu.py [--json FILE].

Three tables for SevenNet-0 in float32: one step of dynamics of 216 atoms of NaCl through ASE, with
and without recorded CUDA graphs; atoms per second in batches of rattled 64-atom cells of copper
(energy, forces and stress, neighbour search counted apart); and the kernels of one hidden layer.
Without the package `sevenn` the weights are random, which costs the same time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from ase import Atoms, units
from ase.build import bulk
from ase.md.velocitydistribution import MaxwellBoltzmannDistribution
from ase.md.verlet import VelocityVerlet

import matkit
from matkit.calculator import MatkitCalculator
from matkit.data.ase import from_ase
from matkit.derivatives import ForceField, force_field
from matkit.errors import MissingExtraError
from matkit.graph import Graph
from matkit.models import checkpoint
from matkit.nn.harmonics import harmonics
from matkit.nn.irreps import parse_irreps
from matkit.nn.kernels import Convolution, backends, fused
from matkit.nn.kernels.fused import TableWeights

LAYER = "128x0e+64x1e+32x2e"
SHAPE = {
    "species": list(range(1, 90)),
    "irreps": ["128x0e", *[LAYER] * 4, "128x0e"],
    "natural_parity": False,
    "envelope": "xplor",
    "neighbor_norm": 36.0,
    "self_connection": "linear",
    "readout_hidden": 64,
}
KNOTS = 1024


def model() -> ForceField:
    try:
        found = matkit.load("sevennet-0")
    except MissingExtraError:
        print("The package sevenn is not installed: random weights.")
        torch.manual_seed(0)
        found = force_field(checkpoint.build("nequip", SHAPE))
    return found.float().eval()


def milliseconds(function, repeat: int) -> float:
    """Median time of a call on the GPU, by events."""
    times = []
    for _ in range(repeat + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        function()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end))
    return statistics.median(times[3:])


def salt() -> Atoms:
    return bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)


def copper(cells: int) -> list[Atoms]:
    found = []
    for seed in range(cells):
        atoms = bulk("Cu", a=3.6).repeat(4)
        atoms.rattle(0.05, seed=seed)
        found.append(atoms)
    return found


def time_dynamics(network: ForceField, steps: int, recorded: bool) -> dict[str, float]:
    """Median milliseconds of a step of dynamics, and of what the GPU does in it."""
    atoms = salt()
    atoms.calc = calculator = MatkitCalculator(network, device="cuda")
    if not recorded:
        calculator._replay = None
    MaxwellBoltzmannDistribution(atoms, temperature_K=600, rng=np.random.default_rng(0))
    dynamics = VelocityVerlet(atoms, timestep=units.fs)
    dynamics.run(20)
    searches, times = calculator.neighbors.searches, []
    for _ in range(steps):
        begin = time.perf_counter()
        dynamics.run(1)
        times.append(time.perf_counter() - begin)
    found = {"step": 1e3 * statistics.median(times), "mean step": 1e3 * statistics.mean(times)}
    found["searches"] = calculator.neighbors.searches - searches
    replay = calculator._replay
    if replay is not None and replay.works:
        (recording,) = list(replay.recordings.values())[-1:]
        found["on the GPU"] = milliseconds(recording.replay, 50)
        found["recordings"] = len(replay.recordings)
    return found


def time_batch(network: ForceField, cells: int, repeat: int) -> dict[str, float]:
    structures = from_ase(copper(cells)).to("cuda")
    graph = network.featurize(structures)
    torch.cuda.reset_peak_memory_stats()
    step = milliseconds(lambda: network(graph.replace(positions=graph.positions)), repeat)
    search = milliseconds(lambda: network.featurize(structures), repeat)
    return {
        "ms": step,
        "atoms/s": 1e3 * len(structures.species) / step,
        "search ms": search,
        "atoms/s with search": 1e3 * len(structures.species) / (step + search),
        "GiB": torch.cuda.max_memory_allocated() / 2**30,
    }


def time_kernels(graph: Graph, repeat: int) -> dict[str, float]:
    """Milliseconds of the kernels of one hidden layer."""
    irreps = parse_irreps(LAYER)
    layout = Convolution(irreps, 2, irreps, natural_parity=False).layout
    kernels, edges = backends.kernels_for(graph.device), fused.edges_of(graph)
    atoms, n_edges = len(graph.species), len(graph.center)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, device=graph.device)

    x = tuple(random(atoms, 2 * degree + 1, channels) for degree, channels in layout.sources)
    g = tuple(random(atoms, 2 * degree + 1, channels) for degree, channels in layout.targets)
    lengths, y = harmonics(graph.vectors, 2, torch.float32)
    grid = torch.tensor([np.log(0.5), (KNOTS - 1) / np.log(10.0), KNOTS - 2])
    table = TableWeights(
        random(KNOTS, 3, layout.weight_numel), grid.double().to(graph.device), lengths
    )
    w, found = random(n_edges, layout.weight_numel), {}
    for name, weights in (("weights given", w), ("weights from a table", table)):
        inputs = (x, y, weights)
        found[f"forward, {name}"] = milliseconds(
            lambda weights=weights: kernels.product(layout, x, y, weights, edges), repeat
        )
        for wanted in ("x", "y", "w", "xyw"):
            found[f"gradients {wanted}, {name}"] = milliseconds(
                lambda inputs=inputs, wanted=wanted: kernels.gradients(
                    layout, inputs, g, edges, wanted
                ),
                repeat,
            )
    found["harmonics"] = milliseconds(lambda: harmonics(graph.vectors, 2, torch.float32), repeat)
    return found


def show(title: str, rows: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, value in rows.items():
        print(f"  {name:40}{value:14.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--cells", default="16,128,512,1024", help="64-atom cells in a batch")
    parser.add_argument("--json", type=Path, default=Path("results/benchmark-gpu.json"))
    options = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit("There is no CUDA device here, and so nothing to time.")
    device = torch.cuda.get_device_name()
    print(
        f"{device}, torch {torch.__version__}, kernels: {backends.name_for(torch.device('cuda'))}"
    )
    network = model()
    found: dict[str, dict[str, float]] = {}
    for title, recorded in (("recorded", True), ("step by step", False)):
        key = f"NaCl216, milliseconds per step, {title}"
        found[key] = time_dynamics(network, options.steps, recorded)
        show(key, found[key])
    network = network.cuda()
    for cells in map(int, options.cells.split(",")):
        key = f"{cells} cells of 64 copper atoms"
        try:
            found[key] = time_batch(network, cells, options.repeat)
        except torch.cuda.OutOfMemoryError:
            print(f"\n{key}: not enough memory")
            break
        show(key, found[key])
    graphs = {"NaCl216": [salt()], "128 cells of copper": copper(128)}
    for name, atoms in graphs.items():
        key = f"kernels of a hidden layer, milliseconds, {name}"
        graph = network.featurize(from_ase(atoms).to("cuda"))
        found[key] = time_kernels(graph, options.repeat)
        show(key, found[key])
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps({"device": device, "results": found}, indent=1))
    print(f"\nwritten to {options.json}")


if __name__ == "__main__":
    main()
