"""Builds MACE models with random weights and computes with them; runs where mace-torch is.

python tests/models/mace_peer.py FOLDER [--small] writes the variants as FOLDER/NAME.model and,
without their code, as FOLDER/NAME-weights.pt and .yaml; and FOLDER/numbers.json with structures
and, per variant and head, energies (eV), forces (eV/Å) and stresses (eV/Å³) in double precision.
With --small, the two that come with the tests, with single-precision weights, few channels and low
degrees: tests/models/mace_small.tar.xz holds one as a module and one as weights.
"""

import json
import os
import sys
from pathlib import Path

# Before e3nn, whose own table of constants is a pickle that newer versions of torch refuse.
os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] = "1"

import numpy as np
import torch
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from e3nn import o3
from mace import data, modules, tools
from mace.tools import torch_geometric

ELEMENTS = [1, 8, 14]
BLOCK = "RealAgnostic{}InteractionBlock"
HEADS = ["first", "second"]
AGNESI = {"distance_transform": "Agnesi", "pair_repulsion": True}
TWO = {"heads": HEADS, "energies": 2}
# Per variant: degree of the features, blocks of the first and of other layers, and the rest.
VARIANTS = {
    "mp-small": (0, "Residual", "Residual", {}),
    "mp-medium": (1, "Residual", "Residual", {}),
    "mp-large": (2, "Residual", "Residual", {"correlation": [3, 2]}),
    "mp-0b": (1, "Residual", "Residual", AGNESI),
    "mpa-0": (1, "Density", "DensityResidual", AGNESI),
    "density-residual": (1, "DensityResidual", "DensityResidual", {"num_interactions": 3}),
    "off": (1, "", "Residual", {"r_max": 4.5}),
    "plain": (1, "", "", {"distance_transform": "Soft"}),
    "two-heads": (1, "Residual", "Residual", TWO),
    "pair-correlation": (1, "Residual", "Residual", {"correlation": 2}),
    "one-layer": (0, "", "Residual", {"num_interactions": 1, "correlation": 1}),
    "unscaled": (1, "", "Residual", {"scaled": False, "pair_repulsion": True}),
    "fine-tuned": (1, "Residual", "Residual", AGNESI | {"steps": 10}),
}
SMALL = {
    "small": (1, "", "Residual", {"correlation": [2, 3]}),
    "small-heads": (0, "Density", "DensityResidual", AGNESI | TWO | {"correlation": 2}),
}
FULL_SIZE = {"channels": 8, "max_ell": 3, "radial_MLP": [16, 16]}
SMALL_SIZE = {"channels": 2, "max_ell": 1, "radial_MLP": [4]}


def build(variant, size):
    degree, first, other, changes = variant
    settings = {"steps": 0} | size | changes
    heads = settings.setdefault("heads", ["Default"])
    channels, scaled = settings.pop("channels"), settings.pop("scaled", True)
    del settings["steps"]
    energies = np.array([[-1.5, -7.25, -4.0], [-2.5, -8.5, -3.0]])[: settings.pop("energies", 1)]
    hidden = (o3.Irreps.spherical_harmonics(degree) * channels).sort()[0].simplify()
    arguments = {
        "r_max": 5.0,
        "num_bessel": 6,
        "num_polynomial_cutoff": 5,
        "interaction_cls_first": modules.interaction_classes[BLOCK.format(first)],
        "interaction_cls": modules.interaction_classes[BLOCK.format(other)],
        "num_interactions": 2,
        "num_elements": len(ELEMENTS),
        "hidden_irreps": hidden,
        "MLP_irreps": o3.Irreps("4x0e"),
        "atomic_energies": energies if len(heads) > 1 else energies[0],
        "avg_num_neighbors": 12.5,
        "atomic_numbers": ELEMENTS,
        "correlation": 3,
        "gate": torch.nn.functional.silu,
        **settings,
    }
    if not scaled:
        return modules.MACE(**arguments)
    scales, shifts = [1.7, 0.9][: len(heads)], [0.25, -0.125][: len(heads)]
    scale, shift = (scales, shifts) if len(heads) > 1 else (scales[0], shifts[0])
    return modules.ScaleShiftMACE(atomic_inter_scale=scale, atomic_inter_shift=shift, **arguments)


def systems():
    """Return a crystal, a molecule, a slab and a cell smaller than the cutoff."""
    rng = np.random.default_rng(0)
    quartz = Atoms(
        "Si3O6",
        scaled_positions=[
            *([0.47, 0, 0], [0, 0.47, 0.667], [0.53, 0.53, 0.333]),
            *([0.41, 0.27, 0.12], [0.73, 0.14, 0.79], [0.86, 0.59, 0.45]),
            *([0.27, 0.41, 0.88], [0.14, 0.73, 0.21], [0.59, 0.86, 0.55]),
        ],
        cell=[4.91, 4.91, 5.40, 90, 90, 120],
        pbc=True,
    )
    surface = fcc111("Si", (1, 1, 3), a=4.6, vacuum=6.0)
    surface.pbc = True
    surface += Atoms("H", [[0.3, 0.2, surface.positions[:, 2].max() + 1.5]])
    found = {
        "bulk": quartz,
        "molecule": molecule("CH3OH"),
        "slab": surface,
        "small cell": bulk("Si", "diamond", a=5.43),
    }
    found["molecule"].numbers[found["molecule"].numbers == 6] = 14
    for atoms in found.values():
        atoms.positions += rng.normal(0, 0.05, atoms.positions.shape)
    # An O-H bond short enough for the repulsion.
    found["molecule"] += Atoms("OH", [[4.0, 0, 0], [4.6, 0.1, 0]])
    return found


def batch_of(model, atoms, heads, head):
    table = tools.AtomicNumberTable(ELEMENTS)
    config = data.config_from_atoms(atoms, head_name=head)
    one = data.AtomicData.from_config(config, z_table=table, cutoff=float(model.r_max), heads=heads)
    return next(iter(torch_geometric.dataloader.DataLoader([one], batch_size=1))).to_dict()


def fine_tune(model, atoms, steps):
    """Make the forces smaller by some steps of training."""
    batch = batch_of(model, atoms, list(model.heads), model.heads[0])
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        model(batch, training=True)["forces"].square().mean().backward()
        optimizer.step()


def compute(model, atoms, heads, head):
    periodic = bool(atoms.pbc.all())
    result = model(batch_of(model, atoms, heads, head), compute_stress=periodic)
    numbers = {"energy": float(result["energy"]), "forces": result["forces"].tolist()}
    return numbers | ({"stress": result["stress"][0].tolist()} if periodic else {})


def main(folder, small):
    folder.mkdir(exist_ok=True, parents=True)
    atoms = systems()
    numbers = {
        "systems": {
            name: {
                "numbers": a.numbers.tolist(),
                "positions": a.positions.tolist(),
                "cell": a.cell.array.tolist(),
                "pbc": a.pbc.tolist(),
            }
            for name, a in atoms.items()
        },
        "models": {},
    }
    for seed, (name, variant) in enumerate((SMALL if small else VARIANTS).items()):
        torch.set_default_dtype(torch.float32 if small else torch.float64)
        torch.manual_seed(seed)
        model = build(variant, dict(SMALL_SIZE if small else FULL_SIZE))
        with torch.no_grad():
            for readout in model.readouts:  # forces of order one
                for parameter in readout.parameters():
                    parameter *= 3
        fine_tune(model, atoms["bulk"], variant[3].get("steps", 0))
        torch.save(model, folder / f"{name}.model")
        torch.save(model.state_dict(), folder / f"{name}-weights.pt")
        heads = list(model.heads)
        settings = {"avg_num_neighbors": 12.5, "heads": heads}
        (folder / f"{name}-weights.yaml").write_text(json.dumps(settings))
        torch.set_default_dtype(torch.float64)
        model = model.double()
        numbers["models"][name] = {
            head: {key: compute(model, a, heads, head) for key, a in atoms.items()}
            for head in heads
        }
    (folder / "numbers.json").write_text(json.dumps(numbers))


if __name__ == "__main__":
    main(Path(sys.argv[1]), "--small" in sys.argv)
