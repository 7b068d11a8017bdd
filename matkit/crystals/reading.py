"""Crystals of folders, archives and files; whatever cannot be used is kept with the reason."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from matkit.crystals.archives import members
from matkit.data.folders import ENDINGS, NAMES, structure_files
from matkit.data.opening import locate
from matkit.data.reading import brief, entries_of
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms
    from pymatgen.core import Structure

# Where something comes from, and the atoms or why there are none.
Entry: TypeAlias = "tuple[str, Atoms | str]"
# Smaller cells are taken for no crystal (Xie et al. 2022, code).
SMALLEST_VOLUME = 0.1
# Entries that are named before a number stands for the rest.
LISTED = 5

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Crystal:
    """One entry of a file, whether it can be used or not.

    Attributes:
        source: Where it comes from.
        structure: None if there is no crystal in it.
        numbers: Atomic numbers; empty if nothing could be read.
        reason: Why there is no structure.
        attempt: Number of the crystal that it was made like and of the attempt at that, if it
            tells.
    """

    source: str
    structure: Structure | None = None
    numbers: tuple[int, ...] = ()
    reason: str = ""
    attempt: tuple[int, int] | None = None

    @property
    def loaded(self) -> bool:
        """Whether atoms could be read, though perhaps no crystal made of them."""
        return bool(self.numbers)


def read_crystals(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> list[Crystal]:
    """Return every entry of folders, zip archives and files, in natural order of their names.

    Args:
        paths: Where the crystals are.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path does not exist, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    return [_crystal(source, item) for source, item in read_entries(paths, format)]


def read_and_tell(paths: str | Path | Iterable[str | Path]) -> list[Crystal]:
    """Return what `read_crystals` does, and say in the log what cannot be used and why."""
    crystals = read_crystals(paths)
    unusable = [crystal for crystal in crystals if crystal.structure is None]
    for crystal in unusable[:LISTED]:
        log.warning("Left out: %s: %s", crystal.source, crystal.reason)
    if len(unusable) > LISTED:
        log.warning("... and %d more of %d entries", len(unusable) - LISTED, len(crystals))
    return crystals


def read_entries(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> list[Entry]:
    """Return what is in folders, zip archives and files: atoms, or why there are none.

    Args:
        paths: Where the structures are.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path does not exist, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    places = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    found = [entry for place in places for entry in _read(place, format)]
    if not found:
        raise DataError(
            f"Expected crystals in {', '.join(map(str, places))}, found no file of structures. "
            f"Looked for {', '.join((*ENDINGS, *NAMES))}."
        )
    return found


def _crystal(source: str, item: Atoms | str) -> Crystal:
    try:
        return Crystal(source, reason=item) if isinstance(item, str) else crystal_of(item, source)
    except Exception as error:  # pymatgen raises anything
        return Crystal(source, reason=brief(error))


def crystal_of(atoms: Atoms, source: str) -> Crystal:
    """Return the crystal of ASE's atoms."""
    from pymatgen.io.ase import AseAtomsAdaptor

    numbers, attempt = tuple(atoms.numbers.tolist()), attempt_of(atoms)
    reason = fault_of(atoms)
    if reason:
        return Crystal(source, numbers=numbers, reason=reason, attempt=attempt)
    places = atoms.get_scaled_positions(wrap=True)
    bare = type(atoms)(atoms.numbers, cell=atoms.cell, scaled_positions=places, pbc=True)
    return Crystal(source, AseAtomsAdaptor.get_structure(bare), numbers, attempt=attempt)


def attempt_of(atoms: Atoms) -> tuple[int, int] | None:
    """Return which structure atoms were made like, and which attempt at it they are, if known."""
    found = [atoms.info.get(name) for name in ("like", "attempt")]
    like, attempt = (x if isinstance(x, int | np.integer) and x >= 0 else None for x in found)
    return None if like is None or attempt is None else (int(like), int(attempt))


def fault_of(atoms: Atoms) -> str:
    """Return why atoms make no crystal, or nothing."""
    if not len(atoms):
        return "no atoms"
    if not atoms.pbc.all():
        return f"expected a cell periodic in three directions, got {atoms.pbc.tolist()}"
    if not (np.isfinite(atoms.cell.array).all() and np.isfinite(atoms.positions).all()):
        return "positions or cell are not finite"
    if atoms.cell.volume < SMALLEST_VOLUME:
        return f"volume {atoms.cell.volume:.2g} Å³ is below {SMALLEST_VOLUME} Å³"
    return "" if min(atoms.numbers) > 0 else "an atom has no element"


def _read(path: Path, format: str | None) -> Iterator[Entry]:
    file, _ = locate(path)
    if path.is_dir():
        for found in structure_files(path):
            yield from _read_file(found, str(found), format)
    elif path.suffix.lower() == ".zip" and path.is_file():
        for source, content in members(path):
            if isinstance(content, Path):
                yield from _read_file(content, source, format)
            else:
                yield f"{source}[0]", content
    elif file.exists():
        yield from _read_file(path, str(file), format)
    else:
        raise DataError(f"Expected a folder, a zip archive or a file of crystals, found no {path}.")


def _read_file(path: Path, source: str, format: str | None) -> Iterator[Entry]:
    """Give the entries of one file; one that cannot be opened is an entry too."""
    try:
        for entry in entries_of(path, format):
            content = entry.reason if entry.atoms is None else entry.atoms
            yield f"{source}[{entry.index}]", content
    except DataError as error:
        yield f"{source}[0]", str(error)
