"""Make training and validation sets of MP-20 without its official training file.

    python experiments/mp20.py MP_20_FOLDER OUT [--properties]

The folder holds `train_partial`, `train_extra_from_mpts52`, `val` and `test` as parquet. 8,000
crystals of the official validation set, drawn at random, are learnt from, the other 1,047 are for
validation. The official test set is not touched: models are to be scored on it with the remark
"trained on 14 k structures, not the official split". With `--properties`, crystals of the test set
that also stand in the others under another name are left out of these.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd

from matkit.properties.identity import shared_structures
from matkit.properties.reading import read_property_entries

LEARNT, SEED = 8_000, 0
COLUMNS = ["material_id", "n_atoms", "lattice", "numbers", "frac_coords"]
PROPERTIES = ["formation_energy_per_atom", "band_gap"]


def main() -> None:
    """Write train.parquet and valid.parquet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--properties", action="store_true", help="keep columns of properties")
    arguments = parser.parse_args()
    columns = COLUMNS + (PROPERTIES if arguments.properties else [])
    parts = ("train_partial", "train_extra_from_mpts52", "val", "test")
    tables = {name: pd.read_parquet(arguments.folder / f"{name}.parquet") for name in parts}
    shuffled = tables["val"].sample(frac=1, random_state=SEED)
    learnt = [tables[parts[0]], tables[parts[1]], shuffled[:LEARNT]]
    sets = {"train": pd.concat(learnt)[columns], "valid": shuffled[LEARNT:][columns]}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, table in sets.items():
        for other in ("test", "valid" if name == "train" else "train"):
            unseen = tables["test"] if other == "test" else sets[other]
            if shared := set(table.material_id) & set(unseen.material_id):
                raise SystemExit(f"{len(shared)} crystals are both in {name} and {other}.")
        path = arguments.out / f"{name}.parquet"
        table.to_parquet(path, index=False)
        if arguments.properties:
            table = table[unlike(path, arguments.folder / "test.parquet")]
            table.to_parquet(path, index=False)
        print(f"{name}: {len(table)} crystals")


def unlike(path: Path, test: Path) -> list[bool]:
    """Return of each crystal whether it is none of the test set under another name."""
    entries = read_property_entries([str(path)])
    known = {j for _, j in shared_structures(read_property_entries([str(test)]), entries)}
    return [i not in known for i in range(len(entries))]


if __name__ == "__main__":
    main()
