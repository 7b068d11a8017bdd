"""Smallest phonon frequencies of Si, NaCl and Cu: none may be imaginary.

    python -m universal.phonons MODEL... [--min-length 15]

Frequencies on the path of the band structure and on the mesh, in THz; below -0.05 THz is imaginary.
Without the splitting of longitudinal and transverse modes at the zone centre.
"""

from __future__ import annotations

import numpy as np
from ase.build import bulk

import matkit
from matkit.phonons import phonons
from universal.shared import Rows, arguments, report

CRYSTALS = {
    "Si": bulk("Si"),
    "NaCl": bulk("NaCl", "rocksalt", a=5.64),
    "Cu": bulk("Cu"),
}


def main() -> None:
    parser = arguments(__doc__, "phonons")
    parser.add_argument("--min-length", type=float, default=15.0, help="of the supercell, Å")
    parser.add_argument("--only", nargs="+", choices=[*CRYSTALS], default=[*CRYSTALS])
    given = parser.parse_args()
    rows: Rows = []
    for model in given.models:
        calc = matkit.load_calculator(model, device="cpu", dtype="float64")
        for name in given.only:
            found = phonons(CRYSTALS[name], calc, min_length=given.min_length)
            lowest = min(float(np.min(part)) for part in found.bands.frequencies)
            rows.append(
                {
                    "model": model,
                    "crystal": name,
                    "relaxed": found.converged,
                    "smallest THz": lowest,
                    "largest THz": found.max_frequency,
                    "imaginary points": len(found.imaginary),
                }
            )
    report(rows, given.json)


if __name__ == "__main__":
    main()
