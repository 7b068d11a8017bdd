"""Give a trained network further parts that change nothing before they are trained.

    python benchmarks/grow.py MODEL OUT --set '{layers: 2}'

MODEL is built again with other hyper-parameters and takes over all weights; what is new must begin
as the identity, as residual layers do. OUT/model.safetensors is to be trained by `matkit finetune
--foundation-model`.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import yaml
from ase.build import molecule

from matkit import checkpoint
from matkit.data.ase import from_ase
from matkit.interfaces import Potential


def grown(model: Potential, changes: dict[str, object]) -> Potential:
    """Return a network with other hyper-parameters and the weights of `model`."""
    name, hyperparameters = model.recipe
    larger = checkpoint.build(name, {**hyperparameters, **changes})
    missing, unexpected = larger.load_state_dict(model.state_dict(), strict=False)
    if unexpected:
        raise SystemExit(
            f"Expected that {changes} only adds; these weights have no place: {unexpected}"
        )
    if not missing:
        raise SystemExit(f"Expected that {changes} adds weights, such as {{layers: 1}} to a HIP.")
    return larger


@torch.no_grad()
def difference(a: Potential, b: Potential) -> float:
    """Return the largest difference of the Hessians of some molecules, eV/Å²."""
    worst = 0.0
    for name in ("CH3CH2OH", "C6H6", "CH3CN"):
        graph = a.featurize(from_ase(molecule(name)))
        (before,), (after,) = (network.hessian_blocks(graph).dense() for network in (a, b))
        worst = max(worst, float((before - after).abs().max()))
    return worst


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--set", required=True, type=yaml.safe_load, help="what changes")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    model, metadata = checkpoint.load(given.model)
    torch.manual_seed(given.seed)
    larger = grown(model, given.set)
    change = difference(model, larger)
    if change > 1e-6:
        raise SystemExit(f"Predicted Hessians change by up to {change:.2g} eV/Å².")
    given.out.mkdir(parents=True, exist_ok=True)
    checkpoint.save(larger, given.out / "model.safetensors", metadata["card"])
    sizes = [sum(p.numel() for p in network.parameters()) for network in (model, larger)]
    print(f"{sizes[0]} parameters, now {sizes[1]}")


if __name__ == "__main__":
    main()
