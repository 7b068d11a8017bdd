"""JSON of VASP calculations: MPtrj, MatPES and CHGNet's lists; anything else is left to ASE.

Structures are pymatgen's dictionaries, energies eV, forces eV/Å; stresses are VASP's, in kbar and
positive in compression.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.data.ase_files import format_of, read_by_ase
from matkit.data.opening import OPENERS
from matkit.errors import DataError, MissingExtraError

if TYPE_CHECKING:
    from ase import Atoms

Entry = Mapping[str, Any]

STRUCTURE = "structure"
ENERGY = ("uncorrected_total_energy", "energy")
FORCES = ("force", "forces")
# The order of their stresses, where there are six numbers, is ASE's.
READ_AS = (
    "JSON of VASP calculations: {energy} in eV, forces in eV/Å, stresses in kbar with VASP's sign, "
    "turned round"
)


def read(path: Path) -> Iterator[Atoms]:
    """Give the structures of a file, one after another where it is a list or a table of entries.

    Raises:
        MissingExtraError: ijson is not installed.
        DataError: a structure cannot be used.
    """
    ijson = _ijson()
    first, nested = ("other", False) if ijson is None else _beginning(ijson, path)
    entries: Iterator[tuple[str | None, Any]]
    with OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        if first == "list":
            entries = ((None, entry) for entry in ijson.items(stream, "item", use_float=True))
        elif first == "columns":
            entries = _rows(next(ijson.items(stream, "", use_float=True)))
        elif first == "table":
            pairs = ijson.kvitems(stream, "", use_float=True)
            entries = (
                (key, entry)
                for key, value in pairs
                for entry in (value.values() if nested else (value,))
            )
        else:
            yield from _by_ase(path, ijson is None)
            return
        for group, entry in entries:
            yield _atoms(entry, group)


def _ijson() -> Any:
    """Return the reader of JSON in pieces, None if it is not installed."""
    try:
        import ijson
    except ImportError:
        return None
    return ijson


def _by_ase(path: Path, lacks_extra: bool) -> Iterator[Atoms]:
    """Give what ASE makes of a file.

    Raises:
        MissingExtraError: it makes nothing of it, and we might.
    """
    try:
        yield from read_by_ase(format_of(path), path)
    except Exception as error:  # it raises anything
        if not lacks_extra:
            raise
        raise MissingExtraError(
            'Reading JSON of many structures needs ijson: pip install "matkit[formats]"'
        ) from error


def _beginning(ijson: Any, path: Path) -> tuple[str, bool]:
    """Return how a file is built, by its beginning, and whether entries stand two levels deep."""
    with OPENERS.get(path.suffix.lower(), open)(path, "rb") as stream:
        events = ijson.parse(stream)
        _, event, _ = next(events)
        if event == "start_array":
            return "list", False
        names = 0
        for prefix, event, value in events:
            depth = prefix.count(".") + 1 if prefix else 0
            if event == "map_key" and value == STRUCTURE:
                kind = "table" if depth else "columns"
                return kind, depth > 1
            names += event == "map_key" and depth <= 1
            if names > 100:
                break
    return "other", False


def _rows(columns: Mapping[str, Any]) -> Iterator[tuple[None, Entry]]:
    count = len(columns[STRUCTURE])
    whole = {k: v for k, v in columns.items() if isinstance(v, list) and len(v) == count}
    for i in range(count):
        yield None, {key: values[i] for key, values in whole.items()}


def _atoms(entry: Any, group: str | None) -> Atoms:
    if not (isinstance(entry, Mapping) and isinstance(entry.get(STRUCTURE), Mapping)):
        raise DataError(
            f"expected an entry with a {STRUCTURE!r} of pymatgen, got {str(entry)[:60]!r}"
        )
    atoms = _structure(entry[STRUCTURE])
    name = next((key for key in ENERGY if entry.get(key) is not None), "")
    if name:
        atoms.info["energy"] = float(entry[name])
    elif entry.get("energy_per_atom") is not None:
        name = "energy_per_atom"
        atoms.info[name] = float(entry[name])
    for key in FORCES:
        if entry.get(key) is not None:
            atoms.set_array("forces", np.asarray(entry[key], dtype=float).reshape(len(atoms), 3))
    if entry.get("stress") is not None:
        # The sign is turned, so that --stress-sign keeps its meaning for all files.
        atoms.info |= {"stress": -np.asarray(entry["stress"], float), "stress_unit": "kbar"}
    if group is not None:
        atoms.info["material_id"] = group
    atoms.info["read_as"] = READ_AS.format(energy=name or "nothing")
    return atoms


def _structure(data: Mapping[str, Any]) -> Atoms:
    """Return the atoms of pymatgen's dictionary.

    Read here and not by `Structure.from_dict`, which makes objects of whatever classes it names.
    """
    from ase import Atoms

    symbols, positions = [], []
    for site in data["sites"]:
        (species, *others) = site["species"]
        if others or species.get("occu", 1) != 1:
            raise DataError(
                "expected one atom on every site, got partial occupancies. Make an ordered cell "
                "first."
            )
        symbols.append("".join(filter(str.isalpha, str(species["element"]))))
        positions.append(site.get("abc") or site["xyz"])
    lattice = data.get("lattice")
    charge = {"charge": data["charge"]} if data.get("charge") else {}
    if lattice is None:
        return Atoms(symbols, [site["xyz"] for site in data["sites"]], info=charge)
    pbc = lattice.get("pbc", True)
    return Atoms(symbols, scaled_positions=positions, cell=lattice["matrix"], pbc=pbc, info=charge)
