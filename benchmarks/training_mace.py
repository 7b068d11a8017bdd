"""Time a training step of mace-torch's network; started by training.py in its environment.

The sizes are the defaults of `mace_run_train` (2 layers, 128x0e + 128x1o, correlation 3, l <= 3)
on silicon, 32 channels on ethanol; float32, although its own default is float64.
"""

from __future__ import annotations

import argparse
import json
import time

import numpy as np
import torch
from contenders import rattled_ethanol, rattled_silicon
from mace import data, modules, tools
from mace.tools.torch_geometric.dataloader import DataLoader

SYSTEMS = {
    # Structures, atomic numbers, irreps.
    "silicon": (rattled_silicon, [14], "128x0e + 128x1o"),
    "ethanol": (rattled_ethanol, [1, 6, 8], "32x0e + 32x1o"),
}


def network(system: str, cutoff: float, neighbors: float) -> torch.nn.Module:
    from e3nn import o3  # mace makes it importable with present versions of torch

    _, numbers, irreps = SYSTEMS[system]
    kinds = modules.interaction_classes
    return modules.ScaleShiftMACE(
        r_max=cutoff,
        num_bessel=8,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=kinds["RealAgnosticResidualInteractionBlock"],
        interaction_cls_first=kinds["RealAgnosticInteractionBlock"],
        num_interactions=2,
        num_elements=len(numbers),
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(len(numbers)),
        avg_num_neighbors=neighbors,
        atomic_numbers=numbers,
        correlation=3,
        radial_type="bessel",
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=1.0,
        atomic_inter_shift=0.0,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("system", choices=SYSTEMS)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--repeats", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--cutoff", type=float, required=True)
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    structures, numbers, _ = SYSTEMS[given.system]
    table = tools.AtomicNumberTable(numbers)
    graphs = [
        data.AtomicData.from_config(
            data.config_from_atoms(atoms), z_table=table, cutoff=given.cutoff
        )
        for atoms in structures(given.batch)
    ]
    batch = next(iter(DataLoader(graphs, batch_size=given.batch))).to_dict()
    model = network(
        given.system, given.cutoff, batch["edge_index"].shape[1] / len(batch["positions"])
    )
    times = []
    for _ in range(given.repeats + 3):  # TorchScript recompiles during its first calls
        begin = time.perf_counter()
        model.zero_grad(set_to_none=True)
        result = model(batch, training=True)
        loss = result["energy"].square().mean() * 1e-4 + result["forces"].square().mean()
        loss.backward()
        times.append(time.perf_counter() - begin)
    print(json.dumps({"ms": 1e3 * float(np.median(times[3:]))}))


if __name__ == "__main__":
    main()
