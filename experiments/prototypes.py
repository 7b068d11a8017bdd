"""Ask generators for forty well-known compounds, and count whose structures they find.

    python experiments/prototypes.py OUT --model all --samples 20

Of each compound some crystals of its primitive cell are drawn and relaxed with the default
potential. It is found if one of them is like the known structure (StructureMatcher, defaults of
matkit); it is first if the phase of lowest energy is, or lies below the known structure relaxed
with the same potential. The list was written before anything was drawn. The table of prototypes
holds 16 of the forty themselves. The folder holds what was drawn, and the same command goes on with
it.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ase import Atoms
from ase.spacegroup import crystal
from common import table

from matkit.crystals.generation import CrystalOptions
from matkit.crystals.matching import DEFAULT, repeats_within
from matkit.crystals.parallel import Pool
from matkit.crystals.reading import crystal_of
from matkit.generate.api import generate
from matkit.generate.batch import Batch
from matkit.generate.mixture import MAKER
from matkit.models.zoo import load_calculator
from matkit.simulate import relax


class Compound(NamedTuple):
    """A compound as it is found in nature: space group, setting, cell (Å, °) and sites."""

    name: str
    group: int
    cell: tuple[float, ...]
    sites: tuple[tuple[str, tuple[float, float, float]], ...]
    setting: int = 1


def cubic(name: str, group: int, a: float, *sites, setting: int = 1) -> Compound:
    """Return a cubic compound."""
    return Compound(name, group, (a, a, a, 90, 90, 90), sites, setting)


def hexagonal(name: str, group: int, a: float, c: float, *sites) -> Compound:
    """Return a compound with hexagonal axes."""
    return Compound(name, group, (a, a, c, 90, 90, 120), sites)


def tetragonal(name: str, group: int, a: float, c: float, *sites) -> Compound:
    """Return a tetragonal compound."""
    return Compound(name, group, (a, a, c, 90, 90, 90), sites)


def rock_salt(name: str, a: float, *symbols: str) -> Compound:
    """Return a compound with the structure of NaCl."""
    return cubic(name, 225, a, (symbols[0], (0, 0, 0)), (symbols[1], (0.5, 0.5, 0.5)))


def zincblende(name: str, a: float, *symbols: str) -> Compound:
    """Return a compound with the structure of ZnS."""
    return cubic(name, 216, a, (symbols[0], (0, 0, 0)), (symbols[1], (0.25, 0.25, 0.25)))


def wurtzite(name: str, a: float, c: float, u: float, *symbols: str) -> Compound:
    """Return a compound with the structure of wurtzite."""
    sites = (symbols[0], (1 / 3, 2 / 3, 0)), (symbols[1], (1 / 3, 2 / 3, u))
    return hexagonal(name, 186, a, c, *sites)


def perovskite(name: str, a: float, *symbols: str) -> Compound:
    """Return a cubic perovskite."""
    middle, face = (0.5, 0.5, 0.5), (0.5, 0.5, 0)
    return cubic(name, 221, a, (symbols[0], (0, 0, 0)), (symbols[1], middle), ("O", face))


def rutile(name: str, a: float, c: float, x: float, symbol: str) -> Compound:
    """Return a compound with the structure of rutile."""
    return tetragonal(name, 136, a, c, (symbol, (0, 0, 0)), ("O", (x, x, 0)))


def corundum(name: str, a: float, c: float, z: float, symbol: str) -> Compound:
    """Return a compound with the structure of corundum."""
    return hexagonal(name, 167, a, c, (symbol, (0, 0, z)), ("O", (0.306, 0, 0.25)))


ORIGIN, MIDDLE = (0.0, 0.0, 0.0), (0.5, 0.5, 0.5)
LAYERED = (("Li", (0.0, 0.0, 0.5)), ("Co", ORIGIN), ("O", (0.0, 0.0, 0.26)))
COMPOUNDS = [
    *[rock_salt("NaCl", 5.64, "Na", "Cl"), rock_salt("MgO", 4.21, "Mg", "O")],
    *[rock_salt("LiF", 4.03, "Li", "F"), rock_salt("KCl", 6.29, "K", "Cl")],
    rock_salt("PbTe", 6.46, "Pb", "Te"),
    *[zincblende("GaAs", 5.65, "Ga", "As"), zincblende("ZnS sphalerite", 5.41, "Zn", "S")],
    zincblende("CdTe", 6.48, "Cd", "Te"),
    *[wurtzite("ZnO", 3.25, 5.21, 0.382, "Zn", "O"), wurtzite("GaN", 3.19, 5.19, 0.377, "Ga", "N")],
    wurtzite("AlN", 3.11, 4.98, 0.382, "Al", "N"),
    *[perovskite("SrTiO3", 3.905, "Sr", "Ti"), perovskite("BaZrO3", 4.19, "Ba", "Zr")],
    *[rutile("TiO2 rutile", 4.594, 2.959, 0.305, "Ti"), rutile("SnO2", 4.737, 3.186, 0.307, "Sn")],
    corundum("Al2O3 corundum", 4.76, 12.99, 0.352, "Al"),
    corundum("Fe2O3 hematite", 5.03, 13.75, 0.355, "Fe"),
    tetragonal("TiO2 anatase", 141, 3.784, 9.515, ("Ti", ORIGIN), ("O", (0, 0, 0.208))),
    hexagonal("LiCoO2", 166, 2.816, 14.05, *LAYERED),
    hexagonal(
        "CaCO3 calcite",
        167,
        *(4.99, 17.06),
        *[("Ca", ORIGIN), ("C", (0, 0, 0.25)), ("O", (0.257, 0, 0.25))],
    ),
    cubic(
        "MgAl2O4 spinel",
        227,
        8.083,
        *[("Mg", (0.125, 0.125, 0.125)), ("Al", MIDDLE), ("O", (0.2624, 0.2624, 0.2624))],
        setting=2,
    ),
    cubic("Cu2O cuprite", 224, 4.27, ("O", (0.25, 0.25, 0.25)), ("Cu", ORIGIN), setting=2),
    hexagonal(
        "SiO2 quartz",
        154,
        *(4.913, 5.405),
        *[("Si", (0.4697, 0, 2 / 3)), ("O", (0.4133, 0.2672, 0.7855))],
    ),
    *[
        cubic("Si diamond", 227, 5.43, ("Si", ORIGIN)),
        cubic("C diamond", 227, 3.567, ("C", ORIGIN)),
    ],
    cubic("FeS2 pyrite", 205, 5.418, ("Fe", ORIGIN), ("S", (0.385, 0.385, 0.385))),
    cubic("CsCl", 221, 4.12, ("Cs", ORIGIN), ("Cl", MIDDLE)),
    cubic("TiNi", 221, 3.015, ("Ti", ORIGIN), ("Ni", MIDDLE)),
    cubic("CaF2 fluorite", 225, 5.463, ("Ca", ORIGIN), ("F", (0.25, 0.25, 0.25))),
    cubic("Mg2Si", 225, 6.35, ("Si", ORIGIN), ("Mg", (0.25, 0.25, 0.25))),
    cubic("Ni3Al", 221, 3.57, ("Al", ORIGIN), ("Ni", (0.5, 0.5, 0))),
    hexagonal("MoS2", 194, 3.16, 12.3, ("Mo", (1 / 3, 2 / 3, 0.25)), ("S", (1 / 3, 2 / 3, 0.621))),
    hexagonal(
        "Bi2Te3",
        166,
        *(4.38, 30.5),
        *[("Bi", (0, 0, 0.4)), ("Te", ORIGIN), ("Te", (0, 0, 0.21))],
    ),
    hexagonal("NiAs", 194, 3.62, 5.03, ("Ni", ORIGIN), ("As", (1 / 3, 2 / 3, 0.25))),
    hexagonal("WC", 187, 2.906, 2.837, ("W", ORIGIN), ("C", (1 / 3, 2 / 3, 0.5))),
    tetragonal("CuAu", 123, 2.80, 3.67, ("Cu", ORIGIN), ("Au", MIDDLE)),
    Compound(
        "ZrO2 baddeleyite",
        14,
        (5.15, 5.21, 5.32, 90, 99.2, 90),
        (("Zr", (0.275, 0.04, 0.208)), ("O", (0.07, 0.33, 0.345)), ("O", (0.45, 0.757, 0.479))),
    ),
    *[cubic("Cu", 225, 3.61, ("Cu", ORIGIN)), cubic("Fe", 229, 2.87, ("Fe", ORIGIN))],
    hexagonal("Mg", 194, 3.21, 5.21, ("Mg", (1 / 3, 2 / 3, 0.25))),
]


def known(compound: Compound) -> Atoms:
    """Return the primitive cell of a compound."""
    symbols, places = zip(*compound.sites, strict=True)
    return crystal(
        symbols,
        places,
        spacegroup=compound.group,
        setting=compound.setting,
        cellpar=compound.cell,
        primitive_cell=True,
    )


def like(atoms: Atoms, other: Atoms) -> bool:
    """Return whether two crystals match."""
    structures = [crystal_of(one, "").structure for one in (atoms, other)]
    return repeats_within(structures, DEFAULT, Pool(30.0)).like[1] == 0


def asked(compound: Compound, args: argparse.Namespace, calc) -> dict[str, object]:
    """Draw crystals of a compound; return its row of the table."""
    atoms = known(compound)
    best = relax(atoms, calc, relax_cell=True, fmax=0.05, optimizer="BFGS")
    folder = args.out / compound.name.replace(" ", "-")
    options = CrystalOptions(
        model=args.model,
        formula=atoms.get_chemical_formula("metal"),
        num_samples=args.samples,
        relax="default",
        workers=args.workers,
        out=str(folder),
    )
    batch = generate(options)
    found = batch.evaluation.phases
    energy = best.energy / len(atoms)
    members = [n for p in found if like(best.atoms, p.atoms) for n in p.members]
    lowest = found[0].energy - energy
    first = bool(members) and (like(best.atoms, found[0].atoms) or lowest < 0)
    return {
        "compound": compound.name,
        "times found": len(members),
        "found by": makers(batch, members),
        "first": first,
        "lowest - known, meV/atom": f"{1e3 * lowest:.1f}",
    }


def makers(batch: Batch, members: Sequence[int]) -> str:
    """Return which generators made some crystals, and how many each."""
    names = Counter(str(batch.relaxed[n].info.get(MAKER, "")) for n in members)
    return ", ".join(f"{name} {count}" for name, count in sorted(names.items()) if name)


def main() -> None:
    """Print one row a compound, and the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", help="generators, as in matkit generate")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--workers", type=int, default=1)
    args = parser.parse_args()
    assert len(COMPOUNDS) == 40
    calc = load_calculator(dtype="float64")
    rows = []
    for compound in COMPOUNDS:
        rows.append(asked(compound, args, calc))
        print(table(rows[-1:]).splitlines()[-1], flush=True)
    print(table(rows))
    found, first = (sum(bool(row[name]) for row in rows) for name in ("times found", "first"))
    print(f"{found} of {len(rows)} are found, {first} first")


if __name__ == "__main__":
    main()
