"""The potential of a screening, loaded once in every process."""

from __future__ import annotations

from functools import lru_cache

from ase.calculators.calculator import Calculator

from matkit.models.zoo import load_calculator


@lru_cache(maxsize=2)
def calculator(model: str, device: str, dtype: str) -> Calculator:
    """Return the calculator of a potential; arguments and errors as of `load_calculator`."""
    return load_calculator(model, device=device, dtype=dtype)
