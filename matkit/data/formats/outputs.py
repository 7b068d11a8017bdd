"""Outputs of electronic-structure programs, read by ASE, which does not look at convergence."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from matkit.data.opening import open_text

if TYPE_CHECKING:
    from ase import Atoms

CONVERGED = "scf_converged"
# Quantum ESPRESSO, ORCA, CP2K, FHI-aims, Gaussian, NWChem, Psi4, GPAW, xtb, SIESTA, CASTEP.
FAILURES = re.compile(
    r"convergence NOT achieved|SCF NOT CONVERGED|SCF run NOT converged|"
    r"SELF-CONSISTENCY CYCLE DID NOT CONVERGE|Convergence failure|"
    r"Calculation failed to converge|Could not converge|Did not converge!|"
    r"charge iterator did not converge|SCF_NOT_CONV|has not reached the groundstate",
    re.IGNORECASE,
)
# OUTCAR of VASP: the step and its electronic iteration, and what a converged one says.
ITERATION = re.compile(r"-+ Iteration\s+(\d+)\(\s*\d+\)")
REACHED = "aborting loop because EDIFF is reached"


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of an output; those that did not converge say so in ``info``."""
    import ase.io

    if "vasprun" in path.name.lower():
        states = _of_vasprun(path)
    elif "outcar" in path.name.lower():
        states = _of_outcar(path)
    else:
        states = [False] if _fails(path) else []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i, atoms in enumerate(ase.io.iread(path, index=":")):
            # What an output says once is said of all of its structures.
            state = states[min(i, len(states) - 1)] if states else True
            if not state:
                atoms.info[CONVERGED] = False
            yield atoms


def _fails(path: Path) -> bool:
    with open_text(path, errors="replace") as stream:
        return any(FAILURES.search(line) for line in stream)


def _of_outcar(path: Path) -> list[bool]:
    """Return whether each ionic step converged."""
    steps: dict[int, bool] = {}
    last = 0
    with open_text(path, errors="replace") as stream:
        for line in stream:
            if match := ITERATION.search(line):
                last = int(match[1])
                steps.setdefault(last, False)
            elif REACHED in line:
                steps[last] = True
    return [steps[step] for step in sorted(steps)]


def _of_vasprun(path: Path) -> list[bool]:
    """Return whether each ionic step took fewer electronic steps than are allowed."""
    states: list[bool] = []
    most, steps = 60, 0
    with open_text(path, errors="replace") as stream:
        for _, element in ElementTree.iterparse(stream):
            if element.tag == "i" and element.get("name") == "NELM":
                most = int(str(element.text))
            elif element.tag == "scstep":
                steps += 1
                element.clear()
            elif element.tag == "calculation":
                states.append(steps < most)
                steps = 0
                element.clear()
    return states
