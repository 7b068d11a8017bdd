"""Test a network of QM9's properties on the molecules that no training has read.

    python experiments/qm9_properties.py WHEEL MODEL [--out FILE.json]

WHEEL is the file of `matkit data download qm9`. Errors are given in the units of
`matkit.molecules.qm9.LABELS`, and divided by chemical accuracy (Faber et al. 2017), beside those of
the composition alone and the published ones of enn-s2s (Gilmer et al. 2017, table 2).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from ase import Atoms

from matkit.data.ase import from_ase
from matkit.errors import MatkitError
from matkit.interfaces import PropertyModel
from matkit.models import checkpoint
from matkit.molecules.qm9 import LABELS, read_held_out_qm9
from matkit.molecules.reading import structures_in
from matkit.properties.qm9 import ACCURACY
from matkit.properties.uncertainty import graphs, uncertainties
from matkit.structures import Structures, cat

PUBLISHED = {
    "mu": 0.30,
    "alpha": 0.92,
    "homo": 0.99,
    "lumo": 0.87,
    "gap": 1.60,
    "r2": 0.15,
    "zpve": 1.27,
    "u0": 0.45,
    "u298": 0.45,
    "h298": 0.39,
    "g298": 0.44,
    "cv": 0.80,
}


def held_out(wheel: Path, bonds: bool) -> tuple[Structures, torch.Tensor, int]:
    """Return the test molecules, their labels [B, 12], and of how many no bonds are found."""
    structures, values, without = [], [], 0
    for row, labels in read_held_out_qm9(wheel):
        atoms = Atoms(row.numbers, row.positions)
        one = from_ase(atoms).replace(system={}, atom={})
        if bonds:
            try:
                one = structures_in(atoms)
            except MatkitError:
                without += 1
                none = torch.zeros(0, dtype=torch.long)
                one = one.replace(
                    atom={"formal_charge": torch.zeros_like(one.species)},
                    bonds=none.view(0, 2),
                    bond={"order": none.double()},
                )
        structures.append(one)
        values.append(labels)
    return cat(structures), torch.tensor(values, dtype=torch.float64), without


def main() -> None:
    """Print a table of errors and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    model, metadata = checkpoint.load(arguments.model)
    if not isinstance(model, PropertyModel):
        raise SystemExit(f"{arguments.model} predicts no properties.")
    structures, labels, without = held_out(arguments.wheel, metadata["card"]["bonds"])
    values, deviations = [], []
    with torch.no_grad():
        for graph in graphs(model, structures):
            value, inputs = model.last_inputs(graph)
            values.append(value)
            parts = zip(uncertainties(model), inputs, strict=True)
            deviations.append(torch.cat([layer(x) for layer, x in parts], dim=1))
    names = list(LABELS)
    order = [names.index(target.name) for target in model.targets]
    wrong = torch.cat(values) - labels[:, order]
    alone = (model.baseline(structures) - labels[:, order]).abs().mean(0).tolist()
    scaled = (wrong / torch.cat(deviations)).square().mean(0).sqrt().tolist()
    rows = {
        target.name: {
            "mae": mae,
            "ratio": mae / ACCURACY[target.name],
            "composition_ratio": alone[k] / ACCURACY[target.name],
            "enn_s2s_ratio": PUBLISHED[target.name],
            "error_over_deviation": scaled[k],
        }
        for k, (target, mae) in enumerate(
            zip(model.targets, wrong.abs().mean(0).tolist(), strict=True)
        )
    }
    for name, row in rows.items():
        print(f"{name:6}" + "  ".join(f"{key} {value:.4g}" for key, value in row.items()))
    ratios = [row["ratio"] for row in rows.values()]
    mean, good = sum(ratios) / len(ratios), sum(ratio <= 1 for ratio in ratios)
    print(f"mean ratio {mean:.3f}; {good} of {len(ratios)} within chemical accuracy")
    print(f"{len(structures)} molecules; of {without} no bonds were found")
    if arguments.out is not None:
        card = {key: metadata["card"].get(key) for key in ("epoch", "structures")}
        arguments.out.write_text(
            json.dumps({"mean_ratio": mean, "targets": rows, **card}, indent=1)
        )


if __name__ == "__main__":
    main()
