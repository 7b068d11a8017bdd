"""What steps share that take one candidate after another."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.runs.items import Item, ItemResult, failed
from matkit.screen.chain import StepWork
from matkit.screen.model import calculator
from matkit.screen.options import ScreenOptions
from matkit.simulate.batched.many import forget
from matkit.simulate.options import RelaxOptions
from matkit.simulate.stationary import stationary_point

OneByOne = Callable[[ScreenOptions, Item, BaseCalculator], ItemResult]
# eV/Å³. A stress that is left shifts frequencies and constants by less than they are known.
SMAX: Final = 1e-4


def singly(one: OneByOne) -> StepWork:
    """Return work on one candidate after another, each of which may fail by itself."""
    return partial(_each, one)


def _each(one: OneByOne, options: ScreenOptions, items: Sequence[Item]) -> list[ItemResult]:
    calc = calculator(options)
    outcomes = []
    for item in items:
        forget(calc)
        try:
            with warnings.catch_warnings():  # of phonopy about every second crystal
                warnings.simplefilter("ignore")
                outcomes.append(one(options, item, calc))
        except Exception as error:  # of the crystal, the model, phonopy, ...
            outcomes.append(failed(item, error))
    return outcomes


def at_rest(atoms: Atoms, calc: BaseCalculator, options: ScreenOptions) -> Atoms:
    """Return a crystal that is relaxed as second derivatives need it, with its space group kept."""
    wanted = RelaxOptions(
        optimizer="BFGS",
        fmax=options.tight,
        smax=SMAX,
        steps=options.relax_steps,
        relax_cell=True,
        fix_symmetry=True,
    )
    frame, _, _ = stationary_point(atoms, calc, wanted, None)
    frame.set_constraint()
    return frame
