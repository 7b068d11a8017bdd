"""Make a model or a calculator symmetric."""

from __future__ import annotations

from typing import overload

from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.derivatives import ForceField, force_field
from matkit.errors import ConfigError
from matkit.interfaces import Potential
from matkit.models.symmetrized import parse_symmetrization, symmetric_potential
from matkit.symmetrize.calculator import SymmetrizedCalculator


@overload
def symmetrize(model: Potential, mode: str = "grid:24") -> ForceField: ...
@overload
def symmetrize(model: BaseCalculator, mode: str = "grid:24") -> BaseCalculator: ...
def symmetrize(
    model: Potential | BaseCalculator, mode: str = "grid:24"
) -> ForceField | BaseCalculator:
    """Return a model whose predictions do not depend on how a structure lies.

    They are averages over turned copies. With ``grid:24`` these are a fixed set (24, 48, 120, 512,
    1000, 1728 or 4096 rotations and reflections): energies are smooth, forces and stress their
    derivatives, and what is left of the dependence falls with the size. With ``frames`` they are
    the principal axes with all signs: the energy is invariant to rounding and forces are its
    derivatives, but it jumps where two principal moments become equal, and structures whose moments
    are equal by symmetry (cubic crystals, methane, linear molecules) get the grid. With
    ``energy:24`` it is the one orientation of lowest energy, sought from the grid: invariant where
    the lowest minimum is found, without any average; forces jump where two orientations become
    equally low, as they always are of structures with a symmetry.

    Args:
        model: Potential of matkit, its ASE calculator, or any other ASE calculator, such as of
            MACE, CHGNet or a classical force field.
        mode: ``grid``, ``frames``, ``energy``, or one of them with the size of the grid
            (``grid:120``); with ``:SO3`` mirror images may differ (``grid:12:SO3``).

    Raises:
        ConfigError: there is no such mode or grid, or the model is none.
    """
    wanted = parse_symmetrization(mode)
    if isinstance(model, Potential):
        return symmetric_potential(force_field(model), wanted)
    if isinstance(model, MatkitCalculator):
        members = [symmetric_potential(force_field(p), wanted) for p in model.potentials]
        info = {**model.info, "symmetrize": mode}
        return MatkitCalculator(members, info=info, dipole=model.dipole, **model.parameters)
    if isinstance(model, BaseCalculator):
        return SymmetrizedCalculator(model, wanted)
    raise ConfigError(
        f"Expected a potential or an ASE calculator, got {type(model).__name__}. Generators of "
        "structures have a symmetry of their own."
    )
