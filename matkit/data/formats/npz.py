"""Arrays of one molecule, ``.npz``: MD17, rMD17 and what is written like them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from matkit.data.unit_names import factor
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

Arrays = Mapping[str, NDArray[Any]]
# Names of the arrays; the first three tell what kind of file it is.
KINDS = {
    "MD17": {"species": "z", "positions": "R", "energy": "E", "forces": "F"},
    "rMD17": {
        "species": "nuclear_charges",
        "positions": "coords",
        "energy": "energies",
        "forces": "forces",
    },
}
UNIT = "kcal/mol"
# What sGDML's files say of themselves.
UNITS = {"energy": "e_unit", "length": "r_unit"}


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a file.

    Raises:
        DataError: it holds Python objects, or other arrays than these.
        UnknownNameError: it names a unit that nobody knows.
    """
    from matkit.data.formats.refused import PICKLE

    try:
        with np.load(path, allow_pickle=False) as file:
            names = set(file.files)
            kind = _kind(names)
            wanted = [name for name in (*KINDS[kind].values(), *UNITS.values()) if name in names]
            arrays = {name: file[name] for name in wanted}
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise DataError(PICKLE) from error
        raise
    yield from _frames(kind, arrays)


def _kind(names: set[str]) -> str:
    for kind, known in KINDS.items():
        if {known["species"], known["positions"]} <= names:
            return kind
    raise DataError(
        "Expected the arrays of MD17 (z, R, E, F) or rMD17 (nuclear_charges, coords, energies, "
        f"forces), got {', '.join(sorted(names)) or 'none'}. Convert the file to extended XYZ."
    )


def _frames(kind: str, arrays: Arrays) -> Iterator[Atoms]:
    from ase import Atoms

    names = KINDS[kind]
    species, positions = arrays[names["species"]].ravel().astype(int), arrays[names["positions"]]
    energies, forces = arrays.get(names["energy"]), arrays.get(names["forces"])
    _check(species, positions, energies, forces)
    energy, length = (str(arrays.get(name, "")) for name in UNITS.values())
    energy, length = energy or UNIT, length or "A"
    scale = factor("length", length)
    for i, coordinates in enumerate(positions):
        atoms = Atoms(species, scale * coordinates)
        atoms.info |= {"energy_unit": energy, "forces_unit": f"{energy}/{length}"}
        atoms.info["read_as"] = f"{kind}: positions in {length}, energies in {energy}"
        if energies is not None:
            atoms.info["energy"] = float(energies[i].reshape(()))
        if forces is not None:
            atoms.set_array("forces", forces[i])
        yield atoms


def _check(species: Any, positions: Any, energies: Any, forces: Any) -> None:
    """Check that the arrays belong together."""
    if positions.ndim != 3 or positions.shape[1:] != (len(species), 3):
        raise DataError(
            f"Expected positions [frames, {len(species)}, 3] for {len(species)} atoms, got "
            f"{list(positions.shape)}."
        )
    if energies is not None and energies.size != len(positions):
        raise DataError(f"Expected {len(positions)} energies, got {energies.size}.")
    if forces is not None and forces.shape != positions.shape:
        raise DataError(
            f"Expected forces of the shape {list(positions.shape)}, got {list(forces.shape)}."
        )
