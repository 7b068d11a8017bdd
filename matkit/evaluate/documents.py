"""Results as plain dictionaries, for JSON."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from matkit.elements import SYMBOLS
from matkit.evaluate.comparison import Evaluation

UNITS = {"energy": "eV/atom", "forces": "eV/Å", "stress": "eV/Å³", "hessian": "eV/Å²"}


def document(evaluation: Evaluation, sources: Sequence[str]) -> dict[str, Any]:
    """Return all errors as plain dictionaries, for JSON; units as in `ErrorGroup`.

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
