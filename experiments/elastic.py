"""Elastic constants of five crystals by `matkit elastic` and by matcalc, with one calculator.

matcalc goes into an environment of its own, beside matkit's:

    python -m venv other && echo SITE_PACKAGES_OF_MATKIT > other/lib/python3.11/site-packages/m.pth
    other/bin/pip install -c constraints.txt matcalc==0.7.0
    other/bin/python experiments/elastic.py

The strains are the same: those of matcalc, which are matkit's defaults. It prints the constants in
GPa, by how much they differ in percent, and how long each took.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
from ase.build import bulk
from common import table

from matkit import elastic, load_calculator
from matkit.elastic.moduli import moduli
from matkit.units import GPA

CRYSTALS = {
    "Si": bulk("Si"),
    "Cu": bulk("Cu"),
    "Al": bulk("Al"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.7),
    "MgO": bulk("MgO", "rocksalt", a=4.25),
}
# Independent constants of a cubic crystal.
PLACES = {"C11": (0, 0), "C12": (0, 1), "C44": (3, 3)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="nequip-universal")
    parser.add_argument("--fmax", type=float, default=1e-4, help="of both, in eV/Å")
    parser.add_argument("--clamped", action="store_true", help="leave atoms of strained cells")
    parser.add_argument("--out", type=Path, help="JSON file of the table")
    options = parser.parse_args()
    try:
        from matcalc import ElasticityCalc
    except ImportError as error:
        raise SystemExit(
            f"Skipped: matcalc is not here ({error}). See the head of this file."
        ) from None
    calc = load_calculator(options.model, dtype="float64")
    other = ElasticityCalc(
        calc, fmax=options.fmax, relax_deformed_structures=not options.clamped, units_GPa=True
    )
    rows = [row for name in CRYSTALS for row in compare(name, calc, other, options)]
    print(table(rows))
    if options.out is not None:
        options.out.write_text(json.dumps(rows, indent=1))


def compare(name: str, calc, other, options: argparse.Namespace) -> list[dict[str, object]]:
    """Return the rows of one crystal: ours, theirs, and the difference."""
    begin = time.perf_counter()
    found = elastic(CRYSTALS[name], calc, relax_ions=not options.clamped, fmax=options.fmax)
    middle = time.perf_counter()
    tensor = np.array(other.calc(CRYSTALS[name])["elastic_tensor"].voigt)
    end = time.perf_counter()
    ours, theirs = numbers(found.stiffness / GPA), numbers(tensor)
    apart = {key: 100 * (ours[key] / theirs[key] - 1) for key in ours}
    return [
        {"crystal": name, "by": "matkit", **ours, "seconds": middle - begin},
        {"crystal": name, "by": "matcalc", **theirs, "seconds": end - middle},
        {"crystal": name, "by": "apart (%)", **apart},
    ]


def numbers(stiffness: np.ndarray) -> dict[str, float]:
    """Return what is compared, of a cubic crystal in its standard setting."""
    mean = moduli((stiffness + stiffness.T) / 2)
    constants = {key: float(stiffness[place]) for key, place in PLACES.items()}
    return {"K": mean.bulk, "G": mean.shear} | constants


if __name__ == "__main__":
    main()
