"""How far models with a name are from a reference on physics, as it was measured once.

The numbers are in `physics.json` beside this module, which `experiments/physics_numbers.py` writes
from what ``matkit evaluate physics`` found. Without that file nothing is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matkit.errors import DataError
from matkit.report.json_files import json_bytes
from matkit.runs.atomic import write_atomically

FILE = Path(__file__).parent / "physics.json"


def physics_of(name: str, sha256: str, file: Path = FILE) -> str:
    """Return how far a model is from others on physics, in a line; nothing if nobody measured it.

    Args:
        name: Name of the model.
        sha256: Checksum of its weights; what was measured with other ones is not said.
        file: Where the numbers are.
    """
    if not file.is_file():
        return ""
    known = json.loads(file.read_text(encoding="utf-8")).get(name)
    if known is None or known["sha256"] != sha256:
        return ""
    return "; ".join(
        f"from {against}: {', '.join(numbers)}" for against, numbers in known["from"].items()
    )


def write_physics(comparison: Mapping[str, Any], file: Path = FILE) -> list[str]:
    """Write the file that `physics_of` reads.

    Args:
        comparison: Content of the comparison.json of ``matkit evaluate physics``.
        file: Where to.

    Returns:
        Models that it is about.

    Raises:
        DataError: it is no such document.
    """
    if not {"models", "distances"} <= comparison.keys():
        raise DataError(
            "Expected comparison.json of `matkit evaluate physics` with several models, got a "
            f"document with {', '.join(sorted(comparison))}."
        )
    found = {
        name: {"sha256": info["sha256"], "from": _numbers(name, comparison["distances"])}
        for name, info in comparison["models"].items()
        if "sha256" in info
    }
    write_atomically(file, json_bytes(found))
    return list(found)


def _numbers(name: str, distances: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return what is said of one model, by what it is compared with."""
    said: dict[str, list[str]] = {}
    for one in distances:
        if one["model"] == name and one["mean"] is not None:
            unit = f" {one['unit']}" if one["unit"] else ""
            failed = f", {one['failed']} failed" if one["failed"] else ""
            text = f"{one['number']} {one['mean']:.3g}{unit} ({one['items']}{failed})"
            said.setdefault(one["against"], []).append(text)
    return said
