"""Give a trained network further parts that change nothing before they are trained.

    python benchmarks/grow.py MODEL OUT --set '{layers: 2}'
    python benchmarks/grow.py sevennet-0 OUT --set '{core: 0.5}'

MODEL is built again with other hyper-parameters and takes over all weights; what is new must begin
as the identity, as residual layers do, or not matter to molecules at rest, as the core of nuclei.
OUT/model.safetensors is to be trained by `matkit finetune --foundation-model`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from ase.build import molecule

import matkit
from matkit.data.ase import from_ase
from matkit.derivatives import force_field
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.structures import Structures


def grown(model: Potential, changes: dict[str, object]) -> Potential:
    """Return a network with other hyper-parameters and the weights of `model`."""
    name, hyperparameters = model.recipe
    larger = checkpoint.build(name, {**hyperparameters, **changes})
    _, unexpected = larger.load_state_dict(model.state_dict(), strict=False)
    if unexpected:
        raise SystemExit(
            f"Expected that {changes} only adds; these weights have no place: {unexpected}"
        )
    if {**larger.recipe[1]} == {**hyperparameters}:
        raise SystemExit(f"Expected hyper-parameters that change, and {changes} changes none.")
    return larger


def difference(a: Potential, b: Potential) -> float:
    """Return the largest difference of the predictions for some molecules, eV/Å² or eV/Å."""
    worst = 0.0
    for name in ("CH3CH2OH", "C6H6", "CH3CN"):
        before, after = (predicted(network, from_ase(molecule(name))) for network in (a, b))
        worst = max(worst, float((before - after).abs().max()))
    return worst


def predicted(network: Potential, structures: Structures) -> torch.Tensor:
    """Return the Hessian of a molecule [3N, 3N] where the network predicts it, else its forces."""
    potential = force_field(network)
    graph = potential.featurize(structures)
    blocks = potential.hessian_blocks(graph)
    if blocks is None:
        return potential(graph)["forces"].detach()
    return blocks.dense()[0].detach()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="name, or file written by matkit")
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", required=True, type=yaml.safe_load, help="what changes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model = matkit.load(given.model).network
    torch.manual_seed(given.seed)
    larger = grown(model, given.set)
    change = difference(model, larger)
    if change > 1e-6:
        raise SystemExit(f"Predictions change by up to {change:.2g} eV/Å² or eV/Å.")
    given.out.mkdir(parents=True, exist_ok=True)
    card = checkpoint.load(given.model)[1]["card"] if Path(given.model).is_file() else {}
    checkpoint.save(larger, given.out / "model.safetensors", card | {"changed": given.set})
    sizes = [sum(p.numel() for p in network.parameters()) for network in (model, larger)]
    print(f"{sizes[0]} parameters, now {sizes[1]}")


if __name__ == "__main__":
    main()
