"""Quantities by name: modules of `matkit.evaluate.physics.quantities`."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Protocol, cast, runtime_checkable

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.errors import ConfigError, MissingExtraError, UnknownNameError, did_you_mean
from matkit.evaluate.physics.quantities import quantity_names
from matkit.phonons.supercell import multiples

PACKAGE = "matkit.evaluate.physics.quantities"
# Every other quantity of a crystal is computed of the one at rest, which this one finds.
FIRST = "volume"

# A number, or several of one kind by their names, such as elastic constants.
Components = Mapping[str, float]
Numbers = dict[str, Components]
Difference = Callable[[Components, Components], float]


def mean_absolute(values: Components, reference: Components) -> float:
    """Return the mean absolute difference of components with the same names."""
    return float(np.mean([abs(values[name] - reference[name]) for name in reference]))


@dataclass(frozen=True)
class NumberKind:
    """What a number of a quantity is.

    Attributes:
        unit: Its unit.
        difference: How far one model is from another, in that unit by default.
        label: What the difference is called if not as the number.
        failed: Difference that a model gets which fails, as the literature has it; None if it is
            counted only.
    """

    unit: str
    difference: Difference = mean_absolute
    label: str = ""
    failed: float | None = None


@dataclass(frozen=True)
class Sample:
    """What a quantity is computed of.

    Attributes:
        name: Name of the crystal, molecule or reaction.
        start: Structure that all models are given.
        atoms: The same at rest in the model if it is a crystal, as it was given otherwise.
        min_length: Smallest distance between opposite faces of supercells of phonons, Å.
    """

    name: str
    start: Atoms
    atoms: Atoms
    min_length: float = 8.0

    @property
    def repeats(self) -> list[int]:
        """How often the cell is repeated for phonons, the same for all models."""
        return multiples(self.start, self.min_length)


@runtime_checkable
class Quantity(Protocol):
    """A quantity: a module with these names.

    It may have `USUAL`, names of the crystals that it is computed of if nobody names any.

    Attributes:
        NUMBERS: Kinds of its numbers by name.
        PACKAGES: Packages that it needs.
        EXTRA: Extra of matkit that has them.
    """

    NUMBERS: Mapping[str, NumberKind]
    PACKAGES: tuple[str, ...]
    EXTRA: str

    def subjects(self, crystals: Mapping[str, Atoms]) -> dict[str, Atoms]:
        """Return what it is computed of: some of the crystals, or molecules and reactions."""

    def numbers(self, sample: Sample, calc: BaseCalculator) -> Numbers:
        """Return its numbers by name."""


@cache
def quantity(name: str) -> Quantity:
    """Return a quantity.

    Raises:
        UnknownNameError: there is none of that name.
    """
    if name not in (names := quantity_names()):
        raise UnknownNameError(f"Unknown quantity {name!r}.{did_you_mean(name, names)}")
    return cast(Quantity, importlib.import_module(f"{PACKAGE}.{name}"))


def quantities(names: Iterable[str]) -> dict[str, Quantity]:
    """Return quantities by name, the one that relaxes the crystals first.

    Raises:
        ConfigError: none is named.
        UnknownNameError: there is none of a name.
        MissingExtraError: a package that one needs is not installed.
    """
    wanted = dict.fromkeys(names)
    if not wanted:
        raise ConfigError(f"Expected quantities, got none. Known: {', '.join(quantity_names())}.")
    chosen = {name: quantity(name) for name in {FIRST: None, **wanted}}
    for name, one in chosen.items():
        if missing := [p for p in one.PACKAGES if importlib.util.find_spec(p) is None]:
            raise MissingExtraError(
                f"{name} needs {' and '.join(missing)}: pip install "
                f'"matkit[{one.EXTRA}]", or leave it out of the quantities.'
            )
    return chosen
