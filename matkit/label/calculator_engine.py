"""Labels from any ASE calculator, one structure after another."""

from __future__ import annotations

import importlib
import importlib.metadata
import importlib.util
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator, PropertyNotImplementedError
from ase.units import Hartree

from matkit.calculator_info import model_info
from matkit.data.ase import charge_or_spin, check_atoms
from matkit.errors import ConfigError, MissingExtraError
from matkit.label.labels import Array, Engine, Labels, bare
from matkit.label.options import XTB
from matkit.runs.versions import package_version

# A calculator for a structure.
Maker = Callable[[Atoms], BaseCalculator]
# The gap of a calculator that has just been used, eV.
Gap = Callable[[Any], float]
# tblite's own is 1, with noise in finite differences of the size of the errors of good models.
XTB_DEFAULTS = {"accuracy": 0.01, "verbosity": 0}


class CalculatorEngine(Engine):
    """Labels from ASE calculators.

    Args:
        make: Gives the calculator of a structure; it may be the same one each time.
        info: What it is.
        gap: Reads the gap between its orbitals, if it has one.
    """

    batched, exact = False, False

    def __init__(self, make: Maker, info: Mapping[str, Any], gap: Gap | None = None) -> None:
        self.make, self.info, self.gap = make, dict(info), gap

    def labels(self, structures: Sequence[Atoms]) -> list[Labels | str]:
        """Return the labels of each structure, or why it has none."""
        return [self._labels(atoms) for atoms in structures]

    def _labels(self, atoms: Atoms) -> Labels | str:
        try:
            check_atoms(atoms, "")
            work = bare(atoms)
            work.calc = self.make(work)
            energy, forces = work.get_potential_energy(), work.get_forces()
            # With smeared occupations, forces belong to the free energy.
            energy = work.calc.results.get("free_energy", energy)
            gap = None if self.gap is None else self.gap(work.calc)
            dipole, charges = (_of_molecule(work, name) for name in ("dipole", "charges"))
            forces = np.array(forces, dtype=float)
            return Labels(float(energy), forces, _stress(work), gap, dipole=dipole, charges=charges)
        except Exception as error:  # calculators raise anything
            return f"{type(error).__name__}: {error}"

    def calculator(self, atoms: Atoms) -> BaseCalculator:
        """Return the calculator of a structure."""
        return self.make(atoms)

    def displaced_forces(self, atoms: Atoms, positions: Array) -> Array:
        """Return the forces [K, N, 3] at K sets of positions [K, N, 3] of one structure."""
        work = bare(atoms)
        work.calc = self.make(work)
        forces = np.empty_like(positions)
        for k, places in enumerate(positions):
            work.positions = places
            forces[k] = work.get_forces()
        return forces

    def exact_hessian(self, atoms: Atoms) -> Array:
        """Say that there is none.

        Raises:
            ConfigError: always.
        """
        raise ConfigError(
            f"{self.info['calculator']} has no exact Hessian. Use hessian finite-difference, or a "
            "matkit model."
        )


def _of_molecule(work: Atoms, name: str) -> Array | None:
    """Return a result of a molecule that was computed with the rest, None if there is none."""
    found = None if work.pbc.any() else work.calc.results.get(name)
    return None if found is None else np.array(found, dtype=float)


def _stress(work: Atoms) -> Array | None:
    if not (work.pbc.any() and work.cell.rank == 3):
        return None
    try:
        stress: Array = work.get_stress(voigt=False)
    except PropertyNotImplementedError:
        return None
    return stress


def xtb_engine(name: str, options: Mapping[str, Any]) -> CalculatorEngine:
    """Return labels from GFN1-xTB or GFN2-xTB, by tblite.

    Every structure gets a calculator of its own: none begins with the orbitals of the one
    before, and labels do not depend on the order. Charge and multiplicity are those of its info.

    Raises:
        MissingExtraError: tblite is not installed.
        ConfigError: tblite does not know an option.
    """
    try:
        from tblite.ase import TBLite
    except ImportError as error:
        raise MissingExtraError(
            f'The calculator {name} needs tblite: pip install "matkit[xtb]"'
        ) from error
    settings = {"method": XTB[name], **XTB_DEFAULTS, **options}
    unknown = settings.keys() - TBLite.default_parameters.keys()
    if unknown:
        raise ConfigError(
            f"Unknown option of {name}: {', '.join(sorted(unknown))}. Known: "
            f"{', '.join(sorted(TBLite.default_parameters))}."
        )

    def make(atoms: Atoms) -> BaseCalculator:
        charge, spin = charge_or_spin(atoms, "charge"), charge_or_spin(atoms, "spin")
        state = {"charge": charge, "multiplicity": None if spin is None else int(spin)}
        given = {key: value for key, value in state.items() if value is not None}
        return TBLite(**{**settings, **given})

    version = package_version("tblite")
    info = {"calculator": "TBLite", "level": XTB[name], "tblite": version, "options": settings}
    return CalculatorEngine(make, info, _orbital_gap)


def _orbital_gap(calc: Any) -> float:
    """Return the gap above the highest orbital of the majority spin, eV; inf if all are full."""
    # tblite's ASE calculator has no public way to its orbitals.
    energies, occupations = (calc._res[f"orbital-{what}"] for what in ("energies", "occupations"))
    unpaired = (calc.parameters.multiplicity or 1) - 1
    occupied = round(float(np.sum(occupations)) + unpaired) // 2
    levels = np.append(np.atleast_2d(energies)[0] * Hartree, np.inf)
    return float(levels[occupied] - levels[occupied - 1])


def is_factory(name: str) -> bool:
    """Whether a calculator is named like ``module:factory`` or is an entry point, and no file."""
    module, colon, function = name.partition(":")
    looks = all(part.isidentifier() for part in (*module.split("."), function))
    return (bool(colon) and looks and not Path(name).is_file()) or bool(_entry_points(name))


def refuse_function(name: str) -> None:
    """Refuse a calculator that only a user may name, and no file: it would run what it likes.

    Allowed are entry points of the group ``matkit.calculators``, and subclasses of ASE's
    Calculator in packages that are installed; a module beside the file is not.

    Raises:
        ConfigError: it is something else.
    """
    if not is_factory(name) or _entry_points(name):
        return
    module, _, function = name.partition(":")
    if _is_installed(module.split(".")[0]):
        made = getattr(importlib.import_module(module), function, None)
        if isinstance(made, type) and issubclass(made, BaseCalculator):
            return
    raise ConfigError(
        f"A file may name as calculator a model, a subclass of ASE's Calculator in an installed "
        f"package, or an entry point of the group matkit.calculators; got {name}, which could run "
        f"anything. If you trust it, name it on the command line: --calculator {name}"
    )


def _is_installed(package: str) -> bool:
    """Whether a package is where pip puts them; nothing is imported to find out."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return False
    if spec is None or spec.origin is None:
        return False
    places = {sysconfig.get_path(kind) for kind in ("purelib", "platlib")}
    return any(Path(spec.origin).is_relative_to(place) for place in places)


def _entry_points(name: str) -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group="matkit.calculators", name=name)


def factory_engine(name: str, options: Mapping[str, Any]) -> CalculatorEngine:
    """Return labels from the calculator that ``factory(**options)`` of a module returns.

    Raises:
        ConfigError: as `calculator_by`.
    """
    calc = calculator_by(name, options)

    def make(_atoms: Atoms) -> BaseCalculator:
        if hasattr(calc, "reset"):
            calc.reset()
        return calc

    distribution = _module_of(name)[0].split(".")[0]
    info = {"factory": name, "options": dict(options), distribution: package_version(distribution)}
    return CalculatorEngine(make, model_info(calc) | info)


def calculator_by(name: str, options: Mapping[str, Any]) -> BaseCalculator:
    """Return the calculator that ``factory(**options)`` of a module returns.

    Args:
        name: ``module:factory``, or an entry point of the group ``matkit.calculators``.
        options: Arguments of the factory.

    Raises:
        ConfigError: there is no such function, or it returns something else.
    """
    module, function = _module_of(name)
    try:
        calc = getattr(importlib.import_module(module), function)(**options)
    except (ImportError, AttributeError, TypeError, ValueError) as error:
        raise ConfigError(
            f"Cannot make a calculator by {name} with options {dict(options)}: "
            f"{type(error).__name__}: {error}"
        ) from error
    if not isinstance(calc, BaseCalculator):
        raise ConfigError(
            f"Expected an ASE calculator from {name}, got {type(calc).__name__}. Name a function "
            "or class that returns one."
        )
    return calc


def _module_of(name: str) -> tuple[str, str]:
    """Return the module and the function that a factory's name, or its entry point, says."""
    point = next(iter(_entry_points(name)), None)
    module, _, function = (name if point is None else point.value).partition(":")
    return module, function
