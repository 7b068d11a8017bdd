"""Results as plain dictionaries, for JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from matkit.elements import SYMBOLS
from matkit.evaluate.comparison import Evaluation

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "hessian": "eV/Å²"}


def document(evaluation: Evaluation, sources: Sequence[str]) -> dict[str, Any]:
    """Return all errors as plain dictionaries, for JSON; units as in `Group`.

    Args:
        evaluation: Errors.
        sources: Where each structure comes from.
    """
    groups = [
        {
            "kind": group.kind,
            "name": group.name,
            "structures": group.structures,
            "errors": {key: asdict(value) for key, value in group.errors.items()},
        }
        for group in evaluation.groups
    ]
    return {
        "groups": groups,
        "fitted_references_eV": {SYMBOLS[z]: e for z, e in evaluation.references.items()},
        "not_finite": [sources[i] for i in evaluation.not_finite],
    }


def plain(value: Any) -> Any:
    """Return what JSON can hold: no number that is none, and text for what it does not know."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def json_bytes(content: Mapping[str, Any]) -> bytes:
    """Return a JSON file."""
    return (json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()
