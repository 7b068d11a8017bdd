"""Molecules of folders and files; whatever cannot be used is kept with the reason.

SDF brings its bonds and charges, and so do files that matkit wrote; CSV and ``.smi`` with SMILES
get conformers from RDKit; of all other files bonds and charges are found by distances.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matkit.builders.conformers import embedded
from matkit.builders.smiles import rdkit
from matkit.data.folders import ENDINGS, natural
from matkit.data.opening import OPENERS, check_file, locate, open_text
from matkit.data.reading import entries_of
from matkit.data.tables import csv_rows
from matkit.errors import DataError, MatkitError, MissingExtraError
from matkit.molecules.explicit import has_bonds, structures_with_bonds
from matkit.molecules.perception import one_line, perceive, structures_of
from matkit.molecules.qm9 import read_qm9
from matkit.structures import Structures

if TYPE_CHECKING:
    from ase import Atoms

SDF, SMILES, WHEEL = (".sdf", ".sd", ".mol"), (".smi", ".smiles"), ".whl"


@dataclass(frozen=True)
class MoleculeEntry:
    """One entry of a file, whether it can be used or not.

    Attributes:
        source: Where it comes from, as ``a.sdf[3]``.
        structures: The molecule with its bonds; None if there is none.
        reason: Why there is none.
        carried: What else the file says of it, by name.
    """

    source: str
    structures: Structures | None = None
    reason: str = ""
    carried: Mapping[str, Any] = field(default_factory=dict)


def read_molecules(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> Iterator[MoleculeEntry]:
    """Give every entry of folders and files, files of a folder in natural order of their names.

    Args:
        paths: Where the molecules are.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path does not exist, or a folder has no file of molecules.
        MissingExtraError: a package for a format is not installed.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        for file in _files(Path(path)):
            try:
                yield from _entries(file, format)
            except MatkitError:
                raise
            except Exception as error:  # each kind of compression has errors of its own
                yield MoleculeEntry(str(file), reason=f"it is damaged ({one_line(error)})")


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    endings = {*ENDINGS, *SDF, *SMILES, WHEEL}
    files = [file for file in path.rglob("*") if file.is_file() and ending_of(file) in endings]
    if not files:
        raise DataError(
            f"Expected files of molecules in {path}, found none. Looked for "
            f"{', '.join(sorted(endings))}."
        )
    return sorted(files, key=lambda file: natural(str(file.relative_to(path))))


def ending_of(path: Path) -> str:
    """Return the ending of a file's name in lower case, without that of its compression."""
    endings = [ending.lower() for ending in path.suffixes if ending.lower() not in OPENERS]
    return endings[-1] if endings else ""


def _entries(path: Path, format: str | None) -> Iterator[MoleculeEntry]:
    ending = ending_of(path)
    if format is None and ending in SDF:
        return _sdf(path)
    if format is None and ending == WHEEL:
        return _qm9(path)
    if format is None and (ending in SMILES or (ending == ".csv" and _has_smiles(path))):
        return _smiles(path, ending)
    return _geometries(path, format)


def _entry(
    source: str, make: Callable[[], Structures], carried: Mapping[str, Any]
) -> MoleculeEntry:
    """Return an entry, or why there is none."""
    try:
        return MoleculeEntry(source, make(), carried=carried)
    except MissingExtraError:
        raise
    except MatkitError as error:
        return MoleculeEntry(source, reason=str(error), carried=carried)
    except Exception as error:  # RDKit raises anything
        return MoleculeEntry(source, reason=one_line(error), carried=carried)


def _sdf(path: Path) -> Iterator[MoleculeEntry]:
    """Give the molecules of an SDF; what goes before ``$$$$`` is one, whatever is in it."""
    check_file(path)
    lines: list[str] = []
    number = 0
    with open_text(path, errors="replace") as stream:
        for line in stream:
            if not line.startswith("$$$$"):
                lines.append(line)
                continue
            yield _block("".join(lines), f"{path}[{number}]")
            lines, number = [], number + 1
    if "".join(lines).strip() or not number:
        yield _block("".join(lines), f"{path}[{number}]")


def _block(text: str, source: str) -> MoleculeEntry:
    chem = rdkit()
    supplier = chem.SDMolSupplier()
    supplier.SetData(text, sanitize=False, removeHs=False)
    molecule = next(iter(supplier), None) if text.strip() else None
    if molecule is None:
        return MoleculeEntry(source, reason="no molecule can be read from it")
    carried = {name: _number_or_text(text) for name, text in molecule.GetPropsAsDict().items()}

    def make() -> Structures:
        chem.SanitizeMol(molecule)
        return structures_of(molecule)

    return _entry(source, make, carried)


def _has_smiles(path: Path) -> bool:
    check_file(path)
    with open_text(path) as stream:
        columns = {column.strip('" \r\n').lower() for column in stream.readline().split(",")}
    return "smiles" in columns and not columns & {"numbers", "cif"}


def _smiles(path: Path, ending: str) -> Iterator[MoleculeEntry]:
    """Give molecules of SMILES with one conformer each."""
    check_file(path)
    with open_text(path) as stream:
        if ending == ".csv":
            rows: Iterable[dict[str, Any]] = csv_rows(stream)
        else:
            rows = ({"smiles": words[0]} for line in stream if (words := line.split()))
        for number, row in enumerate(rows):
            lower = {name.lower(): value for name, value in row.items() if name}
            carried = {name: _number_or_text(value) for name, value in row.items() if name}
            yield _entry(f"{path}[{number}]", _conformer(lower.get("smiles"), number), carried)


def _conformer(smiles: str | None, seed: int) -> Callable[[], Structures]:
    def make() -> Structures:
        if not smiles or rdkit().MolFromSmiles(smiles) is None:
            raise DataError(f"not a SMILES: {smiles!r}")
        return structures_of(embedded(smiles, seed)[0])

    return make


def _qm9(path: Path) -> Iterator[MoleculeEntry]:
    check_file(path)
    for row in read_qm9(path):

        def make(numbers: Any = row.numbers, positions: Any = row.positions) -> Structures:
            return structures_of(perceive(numbers, positions))

        yield _entry(f"QM9[{row.index}]", make, row.properties)


def _geometries(path: Path, format: str | None) -> Iterator[MoleculeEntry]:
    """Give the molecules of a file without bonds."""
    file, _ = locate(path)
    for entry in entries_of(path, format):
        source = f"{file}[{entry.index}]"
        if entry.atoms is None:
            yield MoleculeEntry(source, reason=entry.reason)
            continue
        atoms = entry.atoms
        carried = {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info}
        yield _entry(source, _perceived(atoms), carried)


def _perceived(atoms: Atoms) -> Callable[[], Structures]:
    def make() -> Structures:
        if atoms.pbc.any():
            raise DataError("it is periodic")
        if has_bonds(atoms):
            return structures_with_bonds(atoms)
        charge = int(float(atoms.info.get("charge", 0)))
        return structures_of(perceive(atoms.numbers, atoms.positions, charge))

    return make


def _number_or_text(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
