"""Write what `matkit models info` says of the physics of models.

    matkit evaluate physics nequip-universal facet-universal sevennet-0 --reference sevennet-l3i5 \
        --out results/physics
    python experiments/physics_numbers.py results/physics/comparison.json

The file is matkit/models/physics.json. Numbers of a model are said as long as its weights are those
that they were measured with.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from matkit.models.physics_numbers import FILE, write_physics


def main() -> None:
    """Read, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("comparison", type=Path, help="comparison.json of matkit evaluate physics")
    args = parser.parse_args()
    models = write_physics(json.loads(args.comparison.read_text(encoding="utf-8")))
    print(f"{', '.join(models)} in {FILE}")


if __name__ == "__main__":
    main()
