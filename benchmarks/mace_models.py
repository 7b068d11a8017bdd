"""Save MACE networks of the released sizes, with random weights; good for timing only.

    MACE/bin/python benchmarks/mace_models.py results/mace

Run it in an environment with mace-torch, whose files matkit and symmetrix-xl read. The settings are
those of the training log of MACE-MP-0 (10 Bessel functions to 6 Å, degree 3, correlation 3, two
layers of 128 channels); small, medium and large differ in the degrees of their features.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np

SIZES = {"small": "128x0e", "medium": "128x0e + 128x1o", "large": "128x0e + 128x1o + 128x2e"}


def save(path: Path, irreps: str) -> None:
    """Write one network in float32."""
    # e3nn 0.4.4, which mace-torch pins, reads a pickled file of its own wheel on import.
    os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"
    import torch
    from e3nn import o3
    from mace import modules

    torch.manual_seed(0)
    block = modules.interaction_classes["RealAgnosticResidualInteractionBlock"]
    model = modules.ScaleShiftMACE(
        r_max=6.0,
        num_bessel=10,
        num_polynomial_cutoff=5,
        max_ell=3,
        interaction_cls=block,
        interaction_cls_first=block,
        num_interactions=2,
        num_elements=89,
        hidden_irreps=o3.Irreps(irreps),
        MLP_irreps=o3.Irreps("16x0e"),
        gate=torch.nn.functional.silu,
        atomic_energies=np.zeros(89),
        avg_num_neighbors=60.0,
        atomic_numbers=list(range(1, 90)),
        correlation=3,
        radial_type="bessel",
        radial_MLP=[64, 64, 64],
        atomic_inter_scale=0.8,
        atomic_inter_shift=0.0,
    ).float()
    torch.save(model, path)


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "results/mace")
    folder.mkdir(parents=True, exist_ok=True)
    for size, irreps in SIZES.items():
        save(folder / f"{size}.model", irreps)
        print(folder / f"{size}.model")


if __name__ == "__main__":
    main()
