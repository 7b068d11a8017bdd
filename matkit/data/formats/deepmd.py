"""Systems of DeePMD-kit: folders with ``type.raw`` and ``set.*/*.npy``, mixed ones too."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms

LABELS = {"energies": "energy", "forces": "forces", "virials": "virial"}


def read(folder: Path) -> Iterator[Atoms]:
    """Give the structures of all systems in a folder, eV and Å as DeePMD-kit has them.

    Raises:
        MissingExtraError: dpdata is not installed.
        DataError: the types have no names.
    """
    for system in sorted(path.parent for path in folder.rglob("type.raw")):
        if not (system / "type_map.raw").is_file():
            raise DataError(
                f"Expected the elements of the types in {system}/type_map.raw, which is not there. "
                "Write one line for each type, such as Cu."
            )
        for part in _systems(system):
            yield from _frames(part)


def _systems(folder: Path) -> Iterator[dict[str, Any]]:
    try:
        import dpdata
    except ImportError as error:
        raise MissingExtraError(
            'Reading DeePMD-kit\'s folders needs dpdata: pip install "matkit[formats]"'
        ) from error
    if any(folder.glob("set.*/real_atom_types.npy")):
        # Systems without labels are none of MultiSystems' business.
        many = dpdata.MultiSystems()
        many.load_systems_from_file(str(folder), fmt="deepmd/npy/mixed")
        yield from (system.data for system in many.systems.values())
        return
    has_energy = any(folder.glob("set.*/energy.npy"))
    kind = dpdata.LabeledSystem if has_energy else dpdata.System
    yield kind(str(folder), fmt="deepmd/npy").data


def _frames(data: dict[str, Any]) -> Iterator[Atoms]:
    from ase import Atoms

    symbols = [data["atom_names"][kind] for kind in data["atom_types"]]
    pbc = not data.get("nopbc", False)
    for i, positions in enumerate(data["coords"]):
        cell = data["cells"][i] if pbc else None
        atoms = Atoms(symbols, positions, cell=cell, pbc=pbc)
        for name, key in LABELS.items():
            if name not in data:
                continue
            if key == "forces":
                atoms.set_array(key, data[name][i])
            else:
                atoms.info[key] = data[name][i]
        atoms.info["read_as"] = "DeePMD-kit: eV, eV/Å; virial = -stress times volume"
        yield atoms
