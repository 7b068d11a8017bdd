"""Which columns are targets, and their numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite, isinf, nan
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from matkit.errors import ConfigError, DataError, did_you_mean
from matkit.interfaces.property_model import WIDTHS, Target, check_targets
from matkit.listing import first_names

# Order of the six numbers of a symmetric matrix among its nine.
VOIGT = (0, 5, 4, 5, 1, 3, 4, 3, 2)
# Units in which a dipole or a polarizability may be given.
UNITS = {
    "dipole": ("D", "debye", "e*Å", "eÅ", "e*Ang", "e*bohr", "au", "a.u."),
    "polarizability": ("bohr3", "bohr³", "Å3", "Å³", "Ang3", "au", "a.u."),
}

Columns = Mapping[str, Sequence[Any]]


def parse_target(text: str) -> tuple[str, str, str]:
    """Return name, kind and unit of ``COLUMN[:KIND[:UNIT]]``; a target is intensive unless told.

    Raises:
        ConfigError: the kind is unknown, or the unit of a dipole or a polarizability is.
    """
    name, kind, unit = [*text.split(":", 2), "", ""][:3]
    kind = kind or "intensive"
    if not name or kind not in WIDTHS:
        raise ConfigError(
            f"Expected a target as COLUMN[:KIND[:UNIT]], got {text!r}.{did_you_mean(kind, WIDTHS)}"
        )
    if unit and kind in UNITS and unit not in UNITS[kind]:
        raise ConfigError(
            f"Unknown unit {unit!r} of the {kind} {name}.{did_you_mean(unit, UNITS[kind])}"
        )
    return name, kind, unit


def targets_in(
    given: Sequence[str], columns: Columns, sources: Sequence[str]
) -> tuple[Target, ...]:
    """Return the targets of a training with the numbers of their components in the columns.

    Raises:
        ConfigError: there is no target or no such column, a name comes twice, or a kind has no
            such number of components.
        DataError: a value is no number, or has another number of components than the others.
    """
    if not given:
        raise ConfigError("Expected targets to learn, got none. Name columns: --target COLUMN")
    targets = []
    for name, kind, unit in map(parse_target, given):
        values = column(name, columns, sources)
        sizes = {len(value) for value in values if value is not None}
        if len(sizes) != 1:
            raise DataError(
                f"Expected the same number of components of {name} everywhere, got "
                f"{' and '.join(map(str, sorted(sizes))) or 'none'}."
            )
        width = 9 if sizes == {6} and kind == "polarizability" else sizes.pop()
        targets.append(Target(name, kind, width, unit))
    return check_targets(targets)


def column(name: str, columns: Columns, sources: Sequence[str]) -> list[tuple[float, ...] | None]:
    """Return the numbers of a column, None where there are none.

    Raises:
        ConfigError: there is no such column.
        DataError: something is no finite number.
    """
    if name not in columns:
        numeric = [key for key, values in columns.items() if _is_numeric(values)]
        raise ConfigError(f"No structure has the property {name!r}.{did_you_mean(name, numeric)}")
    pairs = zip(columns[name], sources, strict=True)
    return [_numbers(value, name, source) for value, source in pairs]


def values_of(
    targets: Sequence[Target], columns: Columns, sources: Sequence[str]
) -> Float[Tensor, "B W"]:
    """Return the targets side by side [B, W], NaN where missing."""
    parts = []
    for target in targets:
        empty = (nan,) * target.width
        rows = [
            empty if row is None else _as_matrix(row, target)
            for row in column(target.name, columns, sources)
        ]
        if wrong := [s for s, row in zip(sources, rows, strict=True) if len(row) != target.width]:
            raise DataError(
                f"Expected {target.width} component(s) of {target.name}, got others for "
                f"{first_names(wrong)}."
            )
        parts.append(torch.tensor(rows, dtype=torch.float64).view(len(rows), target.width))
    return torch.cat(parts, dim=1)


def _as_matrix(row: tuple[float, ...], target: Target) -> tuple[float, ...]:
    if target.width == 9 and len(row) == 6:
        return tuple(row[k] for k in VOIGT)
    return row


def _numbers(value: Any, name: str, source: str) -> tuple[float, ...] | None:
    """Return the numbers of one structure; None if it has none, or one that is missing."""
    if type(value) is float and isfinite(value):  # nearly all
        return (value,)
    if value is None or (isinstance(value, str) and value.strip() in ("", "nan", "NaN")):
        return None
    try:
        numbers = tuple(np.asarray(value, dtype=float).ravel().tolist())
    except (TypeError, ValueError):
        raise DataError(f"Expected a number for {name} of {source}, got {value!r}.") from None
    if any(map(isinf, numbers)):
        raise DataError(f"Expected a finite number for {name} of {source}, got {value!r}.")
    return None if any(number != number for number in numbers) else numbers


def _is_numeric(values: Sequence[Any]) -> bool:
    first = next((value for value in values if value is not None), None)
    return isinstance(first, int | float | np.ndarray | np.number) and not isinstance(first, bool)
