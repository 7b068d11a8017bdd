"""The potential of a screening, loaded once in every process."""

from __future__ import annotations

from functools import lru_cache

from ase.calculators.calculator import Calculator

from matkit.models.zoo import load_calculator
from matkit.options import PRECISION
from matkit.screen.options import ScreenOptions


def calculator(options: ScreenOptions, dtype: str = PRECISION) -> Calculator:
    """Return the calculator of the potential; errors as of `load_calculator`."""
    dispersion = options.dispersion, options.dispersion_functional
    return _loaded(options.model, options.device, dtype, *dispersion)


@lru_cache(maxsize=2)
def _loaded(
    model: str, device: str, dtype: str, dispersion: str | None, functional: str
) -> Calculator:
    return load_calculator(
        model, device, dtype, dispersion=dispersion, dispersion_functional=functional
    )
