"""Write what `matkit models info` says of the physics of models.

    matkit evaluate physics nequip-universal facet-universal sevennet-0 --reference sevennet-l3i5 \
        --out results/physics
    matkit evaluate physics nequip-universal facet-universal sevennet-0 --reference sevennet-l3i5 \
        --quantities conductivity --out results/conductivity
    python experiments/physics_numbers.py results/{physics,conductivity}/comparison.json

The file is matkit/models/physics.json. Numbers of a model are said as long as its weights are those
that they were measured with. Of a number that is in several files the first is taken.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matkit.models.physics_numbers import FILE, write_physics


def main() -> None:
    """Read, and write the numbers."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    text = "comparison.json of matkit evaluate physics"
    parser.add_argument("comparisons", nargs="+", type=Path, help=text)
    args = parser.parse_args()
    documents = [json.loads(path.read_text(encoding="utf-8")) for path in args.comparisons]
    models = write_physics(together(documents))
    print(f"{', '.join(models)} in {FILE}")


def together(documents: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the first document with what only the others have of its models."""
    first, *others = documents
    distances: dict[tuple[str, ...], Any] = {}
    for document in documents:
        for row in document["distances"]:
            distances.setdefault((row["against"], row["model"], row["number"]), row)
    for name, info in [pair for other in others for pair in other["models"].items()]:
        if first["models"].get(name, {}).get("sha256") != info.get("sha256"):
            raise SystemExit(f"Expected the weights of {name} to be the same in all files.")
    return first | {"distances": [*distances.values()]}


if __name__ == "__main__":
    main()
