"""Ask for crystals of twenty space groups, and count which have the group, as drawn and relaxed.

    python experiments/space_groups.py TRAIN.parquet OUT --model all --steps 100

TRAIN is the training set of the generator: twenty groups are drawn among those that have twenty
formulas or more in it, and ten formulas of each, so that all that is asked for exists. A formula is
that of the conventional cell, or of the primitive one if that has more than 20 atoms. Relaxations
keep the symmetry, as those of `matkit generate crystal --space-group`, and end after `--steps` at
the latest. The folder holds what was drawn, and the same command goes on with it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from ase.formula import Formula
from common import table

from matkit.crystals.generation import CrystalOptions
from matkit.crystals.generation.room import unlike
from matkit.crystals.reading import read_entries
from matkit.elements import SYMBOLS
from matkit.errors import StructureError
from matkit.generate.api import generate
from matkit.models.zoo import load_calculator
from matkit.simulate import relax_many
from matkit.symmetry.genes import Gene, gene_of
from matkit.symmetry.groups import space_group
from matkit.symmetry.wyckoff import wyckoff_positions

GROUPS, FORMULAS, ENOUGH = 20, 10, 20
MOST_ATOMS = 20


def formula_of(gene: Gene) -> str:
    """Return the formula of the conventional cell, or of the primitive one if that is too large."""
    positions, counts = wyckoff_positions(gene.number), Counter[str]()
    for z, place in zip(gene.species.tolist(), gene.position.tolist(), strict=True):
        counts[SYMBOLS[z]] += positions[place].multiplicity
    centring = space_group(gene.number).centring
    if centring * counts.total() <= MOST_ATOMS:
        counts = Counter({symbol: centring * count for symbol, count in counts.items()})
    return Formula.from_dict(dict(sorted(counts.items()))).format("metal")


def requests(path: Path, seed: int) -> dict[int, list[str]]:
    """Return formulas of the cells to ask for, by group."""
    formulas: dict[int, set[str]] = {}
    for _, atoms in read_entries([path]):
        try:
            gene = gene_of(atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
        except StructureError:
            continue
        formulas.setdefault(gene.number, set()).add(formula_of(gene))
    possible = sorted(n for n, found in formulas.items() if n > 1 and len(found) >= ENOUGH)
    rng = np.random.default_rng(seed)
    groups = sorted(rng.choice(possible, GROUPS, replace=False).tolist())
    return {n: rng.choice(sorted(formulas[n]), FORMULAS, replace=False).tolist() for n in groups}


def row_of(options: CrystalOptions, args: argparse.Namespace, calc) -> dict[str, object]:
    """Draw and relax the crystals of a group; return its row of the table."""
    crystals = list(generate(options).generated)
    ends = relax_many(
        crystals,
        calc,
        optimizer="BFGS",
        relax_cell=True,
        fix_symmetry=True,
        fmax=0.05,
        steps=args.steps,
    )
    return {
        "space group": f"{space_group(int(options.space_group)).symbol} ({options.space_group})",
        "drawn": len(crystals),
        "have it": sum(not unlike(options, atoms) for atoms in crystals),
        "relaxed have it": sum(not unlike(options, end.atoms) for end in ends),
        "both": sum(
            not unlike(options, atoms) and not unlike(options, end.atoms)
            for atoms, end in zip(crystals, ends, strict=True)
        ),
        "converged": sum(end.reason == "converged" for end in ends),
    }


def main() -> None:
    """Print one row a group, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="generators, as in matkit generate")
    parser.add_argument("--steps", type=int, default=100, help="most steps of a relaxation")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    calc = load_calculator(dtype="float32")
    rows = []
    for group, formulas in requests(args.train, args.seed).items():
        options = CrystalOptions(
            model=args.model,
            formula=",".join(formulas),
            space_group=str(group),
            num_samples=len(formulas),
            seed=args.seed,
            out=str(args.out / str(group)),
        )
        rows.append(row_of(options, args, calc))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    names = ("drawn", "have it", "relaxed have it", "both", "converged")
    sums = ", ".join(f"{name} {sum(int(str(row[name])) for row in rows)}" for name in names)
    print(f"of {GROUPS * FORMULAS} asked for: {sums} (--strict-symmetry gives `both`)")


if __name__ == "__main__":
    main()
