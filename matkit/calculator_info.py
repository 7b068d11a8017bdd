"""What can be asked of any ASE calculator, those of matkit answering more."""

from __future__ import annotations

from typing import Any

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

DEVIATIONS = ("energy_std", "forces_std", "stress_std")


def model_info(calc: BaseCalculator) -> dict[str, Any]:
    """Return what a calculator says of itself: class, `info`, precision and device."""
    info: dict[str, Any] = {"calculator": type(calc).__name__}
    info.update(getattr(calc, "info", {}))
    for name in ("dtype", "device"):
        if hasattr(calc, name):
            info[name] = str(getattr(calc, name)).removeprefix("torch.")
    return {key: value if _is_json(value) else str(value) for key, value in info.items()}


def at_precision(calc: BaseCalculator, dtype: str) -> BaseCalculator:
    """Return a calculator that computes in `dtype`, if it leaves its precision to the task."""
    at = getattr(calc, "at", None)
    return at(dtype) if at is not None else calc


def ignored_conditions(calc: BaseCalculator, atoms: Atoms) -> str:
    """Return the charge and multiplicity that a calculator leaves out of account, mostly none."""
    ignored = getattr(calc, "ignored", None)
    return str(ignored(atoms)) if ignored is not None else ""


def deviations(calc: BaseCalculator) -> dict[str, Any]:
    """Return how far the members of a committee are apart for the structure computed last.

    Standard deviations `energy_std` in eV, `forces_std` [N, 3] in eV/Å and `stress_std` [6] in
    eV/Å³, as far as they were computed; nothing of a single model.
    """
    results = getattr(calc, "results", {})
    return {name: results[name] for name in DEVIATIONS if name in results}


def _is_json(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(map(_is_json, [*value, *value.values()]))
    return value is None or isinstance(value, str | int | float | bool)
