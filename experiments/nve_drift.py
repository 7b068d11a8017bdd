"""Energy drift of constant-energy dynamics: 216 atoms of NaCl at 600 K over 5 ps.

python experiments/nve_drift.py --model sevennet-0
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from ase.build import bulk

import matkit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="sevennet-0")
    parser.add_argument("--dtype", default="float32")
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--json", type=Path, default=Path("results/nve-drift.json"))
    options = parser.parse_args()
    atoms = bulk("NaCl", "rocksalt", a=5.64, cubic=True).repeat(3)
    calc = matkit.load_calculator(options.model, dtype=options.dtype)
    # Equipartition takes half of the kinetic energy, so 1200 K become about 600 K.
    result = matkit.md(
        atoms, calc, ensemble="nve", temperature=1200.0, timestep=1.0, steps=options.steps, seed=0
    )
    summary = {
        "model": options.model,
        "dtype": options.dtype,
        "atoms": len(atoms),
        "picoseconds": options.steps / 1000,
        "drift_meV_per_atom_per_ps": result.drift,
        "final_temperature_K": result.temperature,
        "steps_per_second": result.steps_per_second,
        "neighbour_searches": calc.neighbors.searches,
        "reason": result.reason,
    }
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(summary, indent=1))
    print(json.dumps(summary, indent=1))


if __name__ == "__main__":
    main()
