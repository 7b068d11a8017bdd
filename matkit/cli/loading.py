"""The calculator of a command."""

from __future__ import annotations

from ase.calculators.calculator import BaseCalculator

from matkit.cli.configs import RunConfig, VibrationsConfig
from matkit.interop.options import IPIClientOptions


def load_model(config: RunConfig | IPIClientOptions) -> BaseCalculator:
    """Return the calculator that `config` asks for."""
    from matkit.models.zoo import load_calculator

    return load_calculator(
        config.model,
        config.device,
        config.dtype,
        any_level=config.any_level,
        ignore_charge=config.ignore_charge,
        dispersion=config.dispersion,
        dispersion_functional=config.dispersion_functional,
        symmetrize=config.symmetrize,
        dipole=config.dipole if isinstance(config, VibrationsConfig) else None,
    )
