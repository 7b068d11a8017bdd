"""Structures of files of any kind with what else the files say of them."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from ase import Atoms

from matkit.builders.smiles import rdkit
from matkit.crystals.reading import read_entries
from matkit.data.ase import from_ase
from matkit.data.opening import check_file, locate, open_text
from matkit.data.tables import csv_rows, parquet_rows
from matkit.errors import DataError, MatkitError, MissingExtraError
from matkit.molecules.cached import cached_arrays, pack, unpack
from matkit.molecules.contents import SDF, SMILES, WHEEL, ending_of
from matkit.molecules.entries import MoleculeEntry
from matkit.molecules.perception import bonded_structures, one_line
from matkit.molecules.reading import read_molecules, structures_in
from matkit.molecules.validity import canonical_smiles, to_rdkit
from matkit.properties.entries import PropertyEntries
from matkit.properties.qm9 import read_labelled_qm9
from matkit.structures import Structures, cat


@dataclass(frozen=True)
class _Entry:
    source: str
    content: Structures | str
    carried: Mapping[str, Any]
    smiles: str = ""


def read_property_entries(
    files: Sequence[str],
    conformers: bool = True,
    table: str | None = None,
    format: str | None = None,
) -> PropertyEntries:
    """Read structures with what is known of them.

    Args:
        files: extxyz and all else with structures, CSV or parquet with SMILES or CIF texts, SDF,
            folders, and the wheel of QM9, without its held-out molecules.
        conformers: Whether SMILES get a geometry (RDKit's); without, all atoms are at the origin.
        table: CSV file with more of the structures, which its first column names by their files.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: there is no structure, or a file of the table is not there.
        MissingExtraError: a package for a format is not installed.
    """
    wheels = [file for file in files if ending_of(Path(file)) == WHEEL]
    if wheels and len(files) > 1:
        raise DataError(f"Expected {wheels[0]} alone, got {', '.join(files)}. Train on it alone.")
    if wheels:
        return read_labelled_qm9(Path(wheels[0]))
    entries = [entry for file in files for entry in _read(file, conformers, format)]
    faults = tuple(f"{e.source} ({e.content})" for e in entries if isinstance(e.content, str))
    sound = [entry for entry in entries if isinstance(entry.content, Structures)]
    if not sound:
        why = f": {faults[0]}" if faults else ""
        raise DataError(f"Expected structures in {', '.join(files)}, found none{why}.")
    carried = [entry.carried for entry in sound]
    if table is not None:
        rows = _by_name(Path(table))
        carried = [{**one.carried, **_row_of(one.source, rows, table)} for one in sound]
    names = list(dict.fromkeys(name for one in carried for name in one))
    return PropertyEntries(
        _joined([entry.content for entry in sound if isinstance(entry.content, Structures)]),
        tuple(entry.source for entry in sound),
        tuple(entry.smiles for entry in sound),
        {name: [one.get(name) for one in carried] for name in names},
        faults,
    )


def _joined(structures: Sequence[Structures]) -> Structures:
    """Return one batch with charges; bonds stay only if all have them."""
    bonded = all(one.bonds is not None for one in structures)
    plain = []
    for one in structures:
        formal = one.atom.get("formal_charge", torch.zeros_like(one.species))
        charge = one.system.get("charge", formal.sum().double().view(1))
        kept = one.replace(system={"charge": charge}, atom={"formal_charge": formal})
        plain.append(kept if bonded else kept.replace(atom={}, bonds=None, bond={}))
    return cat(plain)


def _read(file: str, conformers: bool, format: str | None) -> Iterator[_Entry]:
    path = Path(file)
    ending = ending_of(path)
    if format is None and ending in SDF:
        yield from map(_of_molecule, read_molecules(path))
    elif format is None and (rows := _smiles_rows(path, ending)) is not None:
        yield from _of_smiles(path, rows, conformers)
    else:
        for source, item in read_entries(file, format):
            yield _Entry(source, item, {}) if isinstance(item, str) else _of_atoms(source, item)


def _of_molecule(entry: MoleculeEntry) -> _Entry:
    content = entry.reason if entry.structures is None else entry.structures
    smiles = ""
    if entry.structures is not None:
        smiles = canonical_smiles(to_rdkit(entry.structures))
    return _Entry(entry.source, content, entry.carried, smiles)


def _of_atoms(source: str, atoms: Atoms) -> _Entry:
    results = atoms.calc.results if atoms.calc is not None else {}
    carried = {**results, **atoms.info}
    try:
        smiles = _canonical(str(carried["smiles"])) if "smiles" in carried else ""
        return _Entry(source, from_ase(atoms), carried, smiles)
    except MissingExtraError:
        raise
    except MatkitError as error:
        return _Entry(source, str(error), carried)


def _smiles_rows(path: Path, ending: str) -> list[dict[str, Any]] | None:
    """Return the rows of a table with a column of SMILES; None if it is another file."""
    if ending not in (*SMILES, ".csv", ".parquet") or not locate(path)[0].is_file():
        return None
    check_file(path)
    if ending == ".parquet":
        rows = list(parquet_rows(path))
    else:
        with open_text(path) as stream:
            if ending in SMILES:
                return [{"smiles": words[0]} for line in stream if (words := line.split())]
            rows = list(csv_rows(stream))
    names = {str(name).lower() for name in (rows[0] if rows else {})}
    return rows if "smiles" in names and not names & {"cif", "numbers"} else None


def _of_smiles(path: Path, rows: Sequence[Mapping[str, Any]], conformers: bool) -> Iterator[_Entry]:
    texts = [
        next((str(v) for k, v in row.items() if str(k).lower() == "smiles"), "") for row in rows
    ]
    make = partial(_molecules, path, texts, conformers)
    kind = "conformers" if conformers else "graphs"
    found = unpack(cached_arrays(path, kind, lambda: pack(list(make()))))
    for entry, row, text in zip(found, rows, texts, strict=True):
        carried = {str(name): _number_or_text(value) for name, value in row.items() if name}
        content = entry.reason if entry.structures is None else entry.structures
        smiles = "" if entry.structures is None else _canonical(text)
        yield _Entry(entry.source, content, carried, smiles)


def _molecules(path: Path, texts: Sequence[str], conformers: bool) -> Iterator[MoleculeEntry]:
    for number, text in enumerate(texts):
        source = f"{path}[{number}]"
        try:
            yield MoleculeEntry(source, molecule_of(text, conformers))
        except MissingExtraError:
            raise
        except Exception as error:  # RDKit raises anything
            yield MoleculeEntry(source, None, one_line(error))


def molecule_of(smiles: str, conformers: bool) -> Structures:
    """Return a molecule with bonds and all its hydrogens.

    Args:
        smiles: SMILES.
        conformers: Whether to find a geometry; the same for the same SMILES.

    Raises:
        DataError: it is no SMILES.
        StructureError, ValueError: there is no geometry, or it is a radical or several molecules.
    """
    chem = rdkit()
    molecule = chem.MolFromSmiles(smiles) if smiles else None
    if molecule is None:
        raise DataError(f"not a SMILES: {smiles!r}")
    if conformers:
        return structures_in(smiles)
    molecule = chem.AddHs(molecule)
    molecule.AddConformer(chem.Conformer(molecule.GetNumAtoms()))
    return bonded_structures(molecule)


def _canonical(smiles: str) -> str:
    molecule = rdkit().MolFromSmiles(smiles)
    return "" if molecule is None else canonical_smiles(molecule)


def _number_or_text(value: Any) -> Any:
    try:
        return float(value)
    except (TypeError, ValueError):
        return value or None


def _by_name(path: Path) -> dict[str, dict[str, Any]]:
    """Return the rows of a table by the name in their first column."""
    check_file(path)
    with open_text(path) as stream:
        reader = csv.DictReader(stream)
        (first, *others) = reader.fieldnames or [""]
        rows = list(reader)
    if not others:
        raise DataError(f"Expected in {path} names of files and columns of values, got {first!r}.")
    return {
        Path(str(row[first])).stem: {name: _number_or_text(row[name]) for name in others}
        for row in rows
    }


def _row_of(source: str, rows: Mapping[str, dict[str, Any]], table: str) -> dict[str, Any]:
    name = Path(source.rpartition("[")[0]).stem
    if name not in rows:
        raise DataError(
            f"Expected a row for {name} in {table}, found none; it has {len(rows)} rows."
        )
    return rows[name]
