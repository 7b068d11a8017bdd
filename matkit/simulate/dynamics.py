"""Molecular dynamics."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ase.calculators.calculator import BaseCalculator

from matkit.calculator_info import at_precision
from matkit.errors import ConfigError
from matkit.options import MD_PRECISION, resolve
from matkit.runs.text_files import refuse_existing
from matkit.simulate.frames import check_input
from matkit.simulate.inputs import prepare
from matkit.simulate.integrators import check_method
from matkit.simulate.options import MDOptions
from matkit.simulate.recorder import md_files
from matkit.simulate.restart import Restart, read_restart
from matkit.simulate.results import MDResult, OnStep
from matkit.simulate.run import Run

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure

log = logging.getLogger(__name__)


def md(
    structure: AnyStructure,
    calc: BaseCalculator | None = None,
    options: MDOptions | None = None,
    *,
    out: str | Path | None = None,
    restart: str | Path | None = None,
    overwrite: bool = False,
    on_step: OnStep | None = None,
    **changes: Any,
) -> MDResult:
    """Run molecular dynamics, e.g. ``md(atoms, calc, steps=1000, temperature=600)``.

    Momenta that the atoms carry are used; else they are drawn at the temperature. With `out`
    the run can be stopped at any time and goes on from its last restart file exactly as if it
    had not been stopped: rows written after that file are cut off and computed again.

    Args:
        structure: Start, of ASE or pymatgen; it is not changed.
        calc: Any ASE calculator; the potential that comes with matkit if not given. Its
            ``reset()``, if it has one, must make it forget its past: it is called at every restart
            file, so that both parts of a run see the same.
        options: See `MDOptions`.
        out: Beginning of the names of all files: ``-traj.extxyz``, ``-stats.csv``,
            ``-restart.npz`` and after a failure ``-last-good.extxyz``. Without it no file is
            written.
        restart: `auto` goes on with the restart file of `out` if there is one; a path must
            exist.
        overwrite: Replace the files of an older run.
        on_step: Called after every step.
        **changes: Single options by name.

    Returns:
        Last good frame and how the run ended. Numbers that are none, an exploding temperature,
        atoms too close, Ctrl-C and errors of the calculator after the first step stop the run.

    Raises:
        ConfigError: an option is unknown or impossible for this structure.
        StructureError: the structure is empty, not finite or has a flat cell.
        OutputExistsError: there are files of an older run.
        SimulationError: the restart file is missing, damaged, or belongs to another run.
    """
    options = resolve(MDOptions, options, changes)
    atoms, calc = prepare(structure, calc)
    check_input(atoms)
    check_method(atoms, options.method)
    files = md_files(out) if out is not None else {}
    saved, source = find_restart(files, restart)
    if saved is not None:
        saved.check(atoms, options, source)
    elif restart is None and not overwrite:
        refuse_existing(files.values())
    warn_of_own_forces(calc)
    work = atoms.copy()
    work.calc = at_precision(calc, MD_PRECISION)
    result = Run(work, options, files, saved).run(on_step)
    return replace(result, given=type(structure))


def warn_of_own_forces(calc: BaseCalculator) -> None:
    """Say that energies drift where forces are not the derivative of the energy."""
    if getattr(calc, "conservative", True) is False:
        log.warning(
            "The forces of this model are not the derivative of its energy: the energy is not "
            "conserved, and a thermostat hides that. Compare with a conservative model."
        )


def find_restart(files: dict[str, Path], restart: str | Path | None) -> tuple[Restart | None, Path]:
    """Return the state to go on from, None if there is none, and the path of its file.

    Raises:
        ConfigError: files were not named.
        SimulationError: the file is missing or damaged.
    """
    if restart is None:
        return None, Path()
    if not files:
        raise ConfigError("Going on from a restart file needs the name of its files: set `out`.")
    path = files["restart"] if restart == "auto" else Path(restart)
    if restart == "auto" and not path.exists():
        log.info("No restart file %s yet: starting a new run.", path)
        return None, path
    return read_restart(path), path
