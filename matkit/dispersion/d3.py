"""DFT-D3 energies and their derivatives, by the reference program, simple-dftd3.

Of the three libraries, tad-dftd3 knows no periodic structures; torch-dftd differs from the
reference by up to 2e-7 eV and takes 35 to 150 times as long on a CPU (graphite of 4 to 432 atoms).
simple-dftd3 has the exact stress and the exact Hessian, and wheels that need NumPy and cffi only.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from ase.cell import Cell
from ase.units import Bohr, Hartree

from matkit.errors import ConfigError, MissingExtraError, StructureError, did_you_mean

if TYPE_CHECKING:
    from dftd3.interface import DampingParam, DispersionModel

# Class of the damping function by the name of the correction.
DAMPINGS = {"d3": "ZeroDampingParam", "d3bj": "RationalDampingParam"}
# Lawrencium. Beyond, the library returns zero or crashes.
LAST_ELEMENT = 103
# Å. Room around the atoms along axes without periodicity: the library folds atoms that reach out of
# the cell along these too.
MARGIN = 10.0
# Results kept: members of a committee, and the copies of a structure whose Hessian is computed, ask
# for the same again.
KEPT = 8


class D3(NamedTuple):
    """Which correction.

    Attributes:
        damping: `d3` (to zero at short distances; Grimme et al. 2010,
            https://doi.org/10.1063/1.3382344) or `d3bj` (Becke and Johnson's; Grimme, Ehrlich and
            Goerigk 2011, https://doi.org/10.1002/jcc.21759). Both without three-body terms.
        functional: Density functional whose labels it completes, such as `pbe`.
    """

    damping: str
    functional: str = "pbe"


class FrozenGeometry(NamedTuple):
    """A structure that can be looked up: bytes of atomic numbers, positions, cell and pbc."""

    numbers: bytes
    positions: bytes
    cell: bytes
    pbc: bytes


@dataclass(frozen=True)
class Dispersion:
    """Dispersion of one structure.

    Attributes:
        atom_energy: Energies [N], eV.
        forces: Forces [N, 3], eV/Å.
        virial: dE/dε [3, 3], eV.
    """

    atom_energy: np.ndarray
    forces: np.ndarray
    virial: np.ndarray


def geometry(numbers: Any, positions: Any, cell: Any, pbc: Any) -> FrozenGeometry:
    """Return a structure, given by arrays in Å, as one that can be looked up."""
    return FrozenGeometry(
        np.asarray(numbers, np.int64).tobytes(),
        np.asarray(positions, np.float64).tobytes(),
        np.asarray(cell, np.float64).tobytes(),
        np.asarray(pbc, np.bool_).tobytes(),
    )


def check_d3(d3: D3) -> None:
    """Check that a correction is known.

    Raises:
        ConfigError: it is not, or the library has no parameters for the functional.
        MissingExtraError: dftd3 is not installed.
    """
    if d3.damping not in DAMPINGS:
        raise ConfigError(
            f"Unknown dispersion {d3.damping!r}.{did_you_mean(str(d3.damping), DAMPINGS)}"
        )
    _parameters(d3)


@lru_cache(maxsize=KEPT)
def dispersion(d3: D3, structure: FrozenGeometry) -> Dispersion:
    """Return energies, forces and virial.

    Raises:
        StructureError: atoms are too close for the library.
    """
    model, damping = _model(structure), _parameters(d3)
    found = model.get_dispersion(damping, grad=True)
    pairs = model.get_pairwise_dispersion(damping)["additive pairwise energy"]
    return Dispersion(
        atom_energy=Hartree * pairs.sum(axis=1),
        forces=-Hartree / Bohr * found["gradient"],
        virial=Hartree * found["virial"],
    )


@lru_cache(maxsize=KEPT)
def dispersion_hessian(d3: D3, structure: FrozenGeometry) -> np.ndarray:
    """Return second derivatives [3N, 3N] in eV/Å²; errors as of `dispersion`."""
    found: np.ndarray = _model(structure).get_hessian(_parameters(d3))["hessian"]
    return Hartree / Bohr**2 * found


def _library() -> ModuleType:
    try:
        import dftd3.interface
    except ImportError as error:
        raise MissingExtraError(
            'Dispersion corrections need dftd3: pip install "matkit[dispersion]"'
        ) from error
    return dftd3.interface


def _parameters(d3: D3) -> DampingParam:
    try:
        return getattr(_library(), DAMPINGS[d3.damping])(method=d3.functional)
    except RuntimeError as error:
        raise ConfigError(
            f"There are no parameters of {d3.damping} for the functional {d3.functional!r} "
            f"({error}). Name the functional of the labels that the model was trained on, such as "
            "pbe, rpbe, scan or b3-lyp; r2scan has d3bj only."
        ) from error


def _model(structure: FrozenGeometry) -> DispersionModel:
    numbers = np.frombuffer(structure.numbers, np.int64)
    positions = np.frombuffer(structure.positions).reshape(-1, 3)
    cell, pbc = np.frombuffer(structure.cell).reshape(3, 3), np.frombuffer(structure.pbc, np.bool_)
    positions, cell = _in_a_full_cell(positions, cell, pbc)
    try:
        return _library().DispersionModel(numbers, positions / Bohr, cell / Bohr, pbc)
    except RuntimeError as error:
        raise StructureError(f"The dispersion of a structure is not defined: {error}.") from error


def _in_a_full_cell(
    positions: np.ndarray, cell: np.ndarray, pbc: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return positions and cell with room around the atoms where there is no periodicity."""
    axes = np.where(pbc[:, None], cell, 0.0)
    full = np.array(Cell(axes).complete())
    for axis in np.flatnonzero(~pbc):
        along = positions @ full[axis]
        positions = positions + (MARGIN / 2 - along.min(initial=0.0)) * full[axis]
        full[axis] *= np.ptp(along) + MARGIN if len(along) else MARGIN
    return positions, full
