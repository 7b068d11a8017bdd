"""Energies of crystals by a potential, and how far above a convex hull they are."""

from __future__ import annotations

import csv
import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import linprog

from matkit.crystals.known_hulls import DEFAULT, known_hull
from matkit.crystals.reading import read_and_tell
from matkit.errors import DataError
from matkit.simulate import singlepoint_many

if TYPE_CHECKING:
    from ase.calculators.calculator import Calculator
    from pymatgen.core import Composition, Structure

COLUMNS = ("formula", "energy_per_atom")

log = logging.getLogger(__name__)


def energies(structures: Sequence[Structure | None], calc: Calculator) -> list[float | None]:
    """Return the energy of each crystal as it is, in eV/atom.

    Args:
        structures: Crystals; None gives None.
        calc: Calculator of a potential.

    Returns:
        None also where the potential cannot use the crystal, e.g. an element, or gives no number.
    """
    from pymatgen.io.ase import AseAtomsAdaptor

    frames = {
        i: AseAtomsAdaptor.get_atoms(structure, msonable=False)
        for i, structure in enumerate(structures)
        if structure is not None
    }
    results = singlepoint_many(list(frames.values()), calc, stress=False)
    found = dict(zip(frames, (result.energy for result in results), strict=True))
    sound = {i: e / len(frames[i]) for i, e in found.items() if math.isfinite(e)}
    return [sound.get(i) for i in range(len(structures))]


class Hull:
    """Convex hulls of the phases of a list.

    The energy of the hull at a composition is the lowest that a mixture of phases has: a linear
    program, which is much faster than building the hull of every chemical system.

    Args:
        phases: Formula and energy in eV/atom of each, all with the same potential.
    """

    def __init__(self, phases: Sequence[tuple[str, float]]) -> None:
        self.phases = phases

    def above(self, structure: Structure, energy: float) -> float | None:
        """Return the energy above the hull in eV/atom; negative below it.

        Args:
            structure: Crystal.
            energy: Its energy, in eV/atom.

        Returns:
            None if a pure element of the crystal is not among the phases.
        """
        shares = _shares(structure.composition)
        symbols = sorted(shares)
        inside = [
            phase
            for count in range(1, len(symbols) + 1)
            for system in combinations(symbols, count)
            for phase in self._systems.get(frozenset(system), ())
        ]
        if self.lacking(symbols):
            return None
        parts = np.array([[phase.get(symbol, 0.0) for phase, _ in inside] for symbol in symbols])
        wanted = np.array([shares[symbol] for symbol in symbols])
        found = linprog([e for _, e in inside], A_eq=parts, b_eq=wanted, method="highs")
        return float(energy - found.fun)

    def lacking(self, symbols: Iterable[str]) -> list[str]:
        """Return the elements of which no pure phase is among the phases."""
        return sorted({symbol for symbol in symbols if frozenset([symbol]) not in self._systems})

    @cached_property
    def _systems(self) -> dict[frozenset[str], list[tuple[dict[str, float], float]]]:
        """Phases by the elements that they consist of: shares of the elements, and energy."""
        from pymatgen.core import Composition

        systems: dict[frozenset[str], list[tuple[dict[str, float], float]]] = {}
        for formula, energy in self.phases:
            shares = _shares(Composition(formula))
            systems.setdefault(frozenset(shares), []).append((shares, energy))
        return systems


def _shares(composition: Composition) -> dict[str, float]:
    """Return the share of each element in the atoms."""
    counts = composition.get_el_amt_dict()
    total = sum(counts.values())
    return {symbol: count / total for symbol, count in counts.items()}


def read_hull(paths: Iterable[str | Path], calc: Calculator) -> Hull:
    """Read the phases of a hull.

    Args:
        paths: CSV files with the columns `formula` and `energy_per_atom` (eV) of the same
            potential, files or folders of crystals, which get their energies here as they are,
            and `default` for the table that comes with the potential.
        calc: Calculator of the potential.

    Raises:
        DataError: there is no such file, a column is missing, a line is not to be read, or the
            potential gives no energy for any crystal of a file.
        ConfigError: no table comes with the potential.
    """
    return Hull([phase for path in paths for phase in _phases(Path(path), calc)])


def _phases(path: Path, calc: Calculator) -> list[tuple[str, float]]:
    if str(path) == DEFAULT:
        return _table(known_hull(calc))
    if path.suffix.lower() == ".csv":
        return _table(path)
    structures = [c.structure for c in read_and_tell(path) if c.structure is not None]
    pairs = list(zip(structures, energies(structures, calc), strict=True))
    found = [(s.composition.formula, e) for s, e in pairs if e is not None]
    if len(found) < len(pairs):
        without = ", ".join(s.composition.reduced_formula for s, e in pairs if e is None)
        log.warning("The hull lacks phases of which the potential gives no energy: %s", without)
    if not found:
        raise DataError(f"Expected phases in {path}, found no crystal with an energy.")
    return found


def _table(path: Path) -> list[tuple[str, float]]:
    from pymatgen.core import Composition

    phases = []
    try:
        with open(path, encoding="utf-8", newline="") as file:
            for line, row in enumerate(csv.DictReader(file), start=2):
                try:
                    formula, energy = _phase(row)
                    Composition(formula)
                except (KeyError, TypeError, ValueError) as error:
                    raise DataError(
                        f"Expected {' and '.join(COLUMNS)} (eV) in line {line} of {path}, "
                        f"got {row}."
                    ) from error
                phases.append((formula, energy))
    except OSError as error:
        raise DataError(f"Cannot read the hull {path}: {error}") from error
    if not phases:
        raise DataError(f"Expected phases in {path}, found none below a line with the columns.")
    return phases


def _phase(row: Mapping[str, str]) -> tuple[str, float]:
    energy = float(row[COLUMNS[1]])
    if not math.isfinite(energy):
        raise ValueError(energy)
    return row[COLUMNS[0]], energy
