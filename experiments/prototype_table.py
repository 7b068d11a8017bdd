"""Make the table of prototypes that comes with matkit.

    python experiments/prototype_table.py matkit/crystals/prototypes-mp20.npz

Its crystals are those of MP-20 below MATKIT_DATA but for the official test set, and the elements in
the reference states of ASE: the part of MP-20 that can be had lacks some, such as diamond. Two
minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms
from ase.build import bulk
from common import data

from matkit.crystals.prototype_table import prototypes_of
from matkit.data.ase import from_ase
from matkit.elements import SYMBOLS
from matkit.generative.parts.volumes import atomic_volumes
from matkit.options import build
from matkit.structures import cat
from matkit.train.generator_options import GeneratorOptions
from matkit.train.generator_sets import read_generator_sets

FILES = ("train_partial", "train_extra_from_mpts52", "val")


def references() -> list[Atoms]:
    """Return the elements in their reference states, where ASE can build them."""
    found = []
    for symbol in SYMBOLS[1:]:
        try:
            found.append(bulk(symbol))
        except (ValueError, KeyError, RuntimeError):  # of unknown or molecular structures
            continue
    return found


def main() -> None:
    """Read, find the prototypes, and write them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    files = [str(data("mp_20", f"{name}.parquet")) for name in FILES]
    options = build(GeneratorOptions, {"train_file": files, "valid_fraction": 0.0})
    known = read_generator_sets(options, "crystal").train.structures
    volumes = atomic_volumes(known)
    everything = cat([known, from_ase(references())])
    volume = np.array([volumes.get(symbol, 0.0) for symbol in SYMBOLS])
    table = prototypes_of(everything, volume, np.random.default_rng(0))
    table.save(args.out)
    print(
        f"{len(table.geometry)} crystals, {len(table.n_atoms)} geometries, "
        f"{args.out.stat().st_size} bytes"
    )


if __name__ == "__main__":
    main()
