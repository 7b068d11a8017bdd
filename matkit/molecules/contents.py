"""What stands in folders and files of molecules, before anything is made of it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ase import Atoms

from matkit.builders.smiles import rdkit
from matkit.data.folders import ENDINGS, natural
from matkit.data.opening import OPENERS, check_file, locate, open_text
from matkit.data.reading import entries_of
from matkit.data.tables import csv_rows
from matkit.errors import DataError, MatkitError
from matkit.molecules.perception import one_line
from matkit.molecules.qm9 import read_qm9

SDF, SMILES, WHEEL = (".sdf", ".sd", ".mol"), (".smi", ".smiles"), ".whl"


@dataclass(frozen=True)
class MoleculeContent:
    """One entry of a file.

    Attributes:
        source: Where it comes from, as ``a.sdf[3]``.
        content: RDKit's molecule, not sanitised; ASE's atoms; a SMILES; None if nothing can be
            read.
        reason: Why there is nothing.
        carried: What else the file says of it, by name.
    """

    source: str
    content: Any = None
    reason: str = ""
    carried: Mapping[str, Any] = field(default_factory=dict)


def read_contents(
    paths: str | Path | Iterable[str | Path], format: str | None = None
) -> Iterator[MoleculeContent]:
    """Give every entry of folders and files, files of a folder in natural order of their names.

    Args:
        paths: Where the molecules are.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path does not exist, or a folder has no file of molecules.
        MissingExtraError: a package for a format is not installed.
    """
    for file in files_of(paths):
        try:
            yield from _contents(file, format)
        except MatkitError:
            raise
        except Exception as error:  # each kind of compression has errors of its own
            yield MoleculeContent(str(file), reason=f"it is damaged ({one_line(error)})")


def files_of(paths: str | Path | Iterable[str | Path]) -> Iterator[Path]:
    """Give files, and those of molecules in folders in natural order of their names.

    Raises:
        DataError: a folder has no file of molecules.
    """
    for path in [paths] if isinstance(paths, str | Path) else paths:
        yield from _files(Path(path))


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


def _contents(path: Path, format: str | None) -> Iterator[MoleculeContent]:
    ending = ending_of(path)
    if format is None and ending in SDF:
        return _sdf(path)
    if format is None and ending == WHEEL:
        return _qm9(path)
    if format is None and (ending in SMILES or (ending == ".csv" and _has_smiles(path))):
        return _smiles(path, ending)
    return _geometries(path, format)


def _sdf(path: Path) -> Iterator[MoleculeContent]:
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


def _block(text: str, source: str) -> MoleculeContent:
    supplier = rdkit().SDMolSupplier()
    supplier.SetData(text, sanitize=False, removeHs=False)
    molecule = next(iter(supplier), None) if text.strip() else None
    if molecule is None:
        return MoleculeContent(source, reason="no molecule can be read from it")
    carried = {name: _number_or_text(text) for name, text in molecule.GetPropsAsDict().items()}
    return MoleculeContent(source, molecule, carried=carried)


def _has_smiles(path: Path) -> bool:
    check_file(path)
    with open_text(path) as stream:
        columns = {column.strip('" \r\n').lower() for column in stream.readline().split(",")}
    return "smiles" in columns and not columns & {"numbers", "cif"}


def _smiles(path: Path, ending: str) -> Iterator[MoleculeContent]:
    check_file(path)
    with open_text(path) as stream:
        if ending == ".csv":
            rows: Iterable[dict[str, Any]] = csv_rows(stream)
        else:
            rows = ({"smiles": words[0]} for line in stream if (words := line.split()))
        for number, row in enumerate(rows):
            lower = {name.lower(): value for name, value in row.items() if name}
            carried = {name: _number_or_text(value) for name, value in row.items() if name}
            smiles = lower.get("smiles")
            known = bool(smiles) and rdkit().MolFromSmiles(smiles) is not None
            reason = "" if known else f"not a SMILES: {smiles!r}"
            yield MoleculeContent(f"{path}[{number}]", smiles if known else None, reason, carried)


def _qm9(path: Path) -> Iterator[MoleculeContent]:
    check_file(path)
    for row in read_qm9(path):
        atoms = Atoms(row.numbers, row.positions)
        yield MoleculeContent(f"QM9[{row.index}]", atoms, carried=row.properties)


def _geometries(path: Path, format: str | None) -> Iterator[MoleculeContent]:
    file, _ = locate(path)
    for entry in entries_of(path, format):
        source, atoms = f"{file}[{entry.index}]", entry.atoms
        if atoms is None:
            yield MoleculeContent(source, reason=entry.reason)
        elif atoms.pbc.any():
            yield MoleculeContent(source, reason="it is periodic")
        else:
            results = atoms.calc.results if atoms.calc is not None else {}
            yield MoleculeContent(source, atoms, carried={**results, **atoms.info})


def _number_or_text(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value
