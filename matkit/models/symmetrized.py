"""Potentials averaged over turned copies, as people ask for them: grid:24, frames, energy."""

from __future__ import annotations

import copy
from typing import NamedTuple

from matkit.derivatives import ForceField, force_field
from matkit.dispersion import DispersionCorrected
from matkit.errors import ConfigError, did_you_mean
from matkit.interfaces import Potential
from matkit.models.building import model_class
from matkit.nn.rotation_grids import rotation_grid

# What needs no training. The others are hyper-parameters of the architecture `symmetrized`.
MODES = ("grid", "frames", "energy")


class Symmetrization(NamedTuple):
    """How predictions are made symmetric.

    Attributes:
        mode: `grid`, `frames` or `energy`; see `matkit.potentials.symmetrized`.
        size: Matrices of the grid, which also serves where a structure has no axes of its own, and
            from which the lowest energy is sought.
        reflections: Whether mirror images get the same energy.
    """

    mode: str = "grid"
    size: int = 24
    reflections: bool = True


def parse_symmetrization(text: str) -> Symmetrization:
    """Return what a text such as ``grid:24``, ``frames`` or ``grid:12:SO3`` says.

    Raises:
        ConfigError: it says something else, or there is no grid of this size.
    """
    mode, *rest = text.split(":")
    if mode not in MODES:
        raise ConfigError(
            f"Unknown symmetrization {text!r}.{did_you_mean(mode, MODES)} Expected grid, frames "
            "or energy, with the size of the grid if it is not 24 and with SO3 if mirror images "
            "differ: grid:120, frames, grid:12:SO3."
        )
    reflections = not (rest and rest[-1] in ("SO3", "O3") and rest.pop() == "SO3")
    if len(rest) > 1 or not all(word.isdecimal() for word in rest):
        raise ConfigError(f"Expected a symmetrization such as grid:24, got {text!r}.")
    size = int(rest[0]) if rest else (24 if reflections else 12)
    rotation_grid(size, reflections)
    return Symmetrization(mode, size, reflections)


def symmetric_potential(potential: ForceField, wanted: Symmetrization) -> ForceField:
    """Return a potential averaged over turned copies; a dispersion correction stays on top."""
    if isinstance(potential, DispersionCorrected):
        corrected = force_field(potential.network)
        return DispersionCorrected(symmetric_potential(corrected, wanted), potential.d3)
    network = copy.deepcopy(potential.network)
    symmetrized = model_class("symmetrized", Potential)
    made = symmetrized(network.species, network, **wanted._asdict())
    return force_field(made).train(potential.training)
