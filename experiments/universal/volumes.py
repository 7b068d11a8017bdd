"""Equilibrium volumes of 30 elements and binaries against those of a reference model.

    python -m universal.volumes MODEL... [--reference sevennet-l3i5] [--only Si NaCl]

Cell and positions are relaxed with the symmetry kept, in float64, from experimental lattices. The
heavier alkali metals are left out: SevenNet-l3i5, whose cutoff is 5 Å, has the same energy, to
5 meV, for potassium of 70 and of 120 Å³ per atom.
"""

from __future__ import annotations

import numpy as np
from ase import Atoms
from ase.build import bulk

import matkit
from universal.shared import Rows, arguments, report

ELEMENTS = """
    Li Na Mg Ca Al Si Ge C Ti V Fe Ni Cu Zn Nb Mo Rh Pd Ag Ta W Pt Au Pb
    """.split()  # noqa: SIM905 a column of quoted symbols is harder to read
BINARIES = {
    "NaCl": ("rocksalt", 5.64),
    "MgO": ("rocksalt", 4.21),
    "GaAs": ("zincblende", 5.65),
    "SiC": ("zincblende", 4.36),
    "CsCl": ("cesiumchloride", 4.12),
    "CaF2": ("fluorite", 5.46),
}


def crystals() -> dict[str, Atoms]:
    """Return the primitive cells."""
    made = {symbol: bulk(symbol) for symbol in ELEMENTS}
    return made | {name: bulk(name, kind, a=a) for name, (kind, a) in BINARIES.items()}


def volume(atoms: Atoms, model: str) -> float:
    """Return the volume per atom of the relaxed crystal in Å³; NaN if it does not relax."""
    calc = matkit.load_calculator(model, device="cpu", dtype="float64")
    found = matkit.relax(atoms, calc, relax_cell=True, fix_symmetry=True, optimizer="BFGS")
    return found.atoms.get_volume() / len(atoms) if found.converged else np.nan


def main() -> None:
    parser = arguments(__doc__, "volumes")
    parser.add_argument("--reference", default="sevennet-l3i5")
    parser.add_argument("--only", nargs="+", help="crystals, such as Si NaCl")
    given = parser.parse_args()
    chosen = {k: v for k, v in crystals().items() if given.only is None or k in given.only}
    expected = {name: volume(atoms, given.reference) for name, atoms in chosen.items()}
    rows: Rows = []
    for model in given.models:
        found = {name: volume(atoms, model) for name, atoms in chosen.items()}
        percent = {name: 100 * (found[name] / expected[name] - 1) for name in chosen}
        rows += [
            {"model": model, "crystal": name, "Å³/atom": found[name], "deviation %": percent[name]}
            for name in chosen
        ]
        mean = float(np.mean(np.abs([*percent.values()])))
        rows.append({"model": model, "crystal": "mean absolute", "deviation %": mean})
    report(rows, given.json)


if __name__ == "__main__":
    main()
