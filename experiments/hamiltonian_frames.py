r"""Draw geometries of a molecule from molecular dynamics, to be labelled with Kohn-Sham matrices.

    python experiments/hamiltonian_frames.py water OUT
    python experiments/hamiltonian_frames.py RMD17/ethanol_train_01.extxyz.gz OUT \
        --held-out RMD17/ethanol_test_01.extxyz.gz --train 1000 --valid 100 --count 300

    for part in train valid test; do
        matkit label OUT/$part.extxyz --out OUT/$part --hamiltonian pbe/def2-svp
    done

Of water, geometries of dynamics with GFN2-xTB at 500 K, 10 fs apart: as many and as hot as in the
set of Schuett et al. (2019), whose frames are not at hand, and as there 500 are learnt from, 500
validate and the rest is for the test. Of files, their own frames. They are divided at random.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from ase import Atoms, units
from ase.build import molecule
from ase.io import read, write
from ase.md.bussi import Bussi
from ase.md.velocitydistribution import thermalize_momenta
from tblite.ase import TBLite

TEMPERATURE, STEP, APART, SETTLED = 500.0, 0.5 * units.fs, 20, 4000


def main() -> None:
    """Write train.extxyz, valid.extxyz and test.extxyz."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="water, or a file")
    parser.add_argument("out", type=Path)
    parser.add_argument("--held-out", help="file that validation and test come from")
    parser.add_argument(
        "--count", type=int, default=4900, help="of water, or held out for the test"
    )
    parser.add_argument("--train", type=int, default=500)
    parser.add_argument("--valid", type=int, default=500)
    args = parser.parse_args()
    frames = water(args.count) if args.source == "water" else bare(read(args.source, ":"))
    rng, places = np.random.default_rng(0), [args.train, args.train + args.valid]
    frames = [frames[i] for i in rng.permutation(len(frames))]
    if args.held_out:
        others = bare(read(args.held_out, ":"))
        chosen = rng.permutation(len(others))[: args.valid + args.count]
        frames = frames[: args.train] + [others[i] for i in chosen]
    parts = frames[: places[0]], frames[places[0] : places[1]], frames[places[1] :]
    args.out.mkdir(parents=True, exist_ok=True)
    for name, part in zip(("train", "valid", "test"), parts, strict=True):
        write(args.out / f"{name}.extxyz", part)
        print(f"{name}: {len(part)}")


def water(count: int) -> list[Atoms]:
    """Return geometries of one molecule of water, its centre of mass at rest."""
    atoms, rng = molecule("H2O"), np.random.default_rng(0)
    atoms.calc = TBLite(method="GFN2-xTB", verbosity=0)
    thermalize_momenta(atoms, temperature_K=TEMPERATURE, rng=rng)
    dynamics = Bussi(atoms, STEP, temperature_K=TEMPERATURE, taut=50 * units.fs, rng=rng)
    dynamics.run(SETTLED)
    frames = []
    for _ in range(count):
        dynamics.run(APART)
        frames.append(Atoms(atoms.numbers, atoms.positions - atoms.get_center_of_mass()))
    return frames


def bare(frames: list[Atoms]) -> list[Atoms]:
    """Return geometries without the labels they have."""
    return [Atoms(atoms.numbers, atoms.positions) for atoms in frames]


if __name__ == "__main__":
    main()
