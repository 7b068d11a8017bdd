"""Files of descriptors."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from ase import Atoms

from matkit.elements import SYMBOLS
from matkit.errors import ConfigError, MissingExtraError, did_you_mean
from matkit.runs.text_files import TextFile, append_frame

# Rows of parquet that are written together.
GROUP = 1000


class Described(NamedTuple):
    """A structure with its descriptors.

    Attributes:
        source: Where it is from, such as ``a.xyz[3]``.
        atoms: The structure.
        values: Descriptors [F] of the structure or [N, F] of its atoms.
    """

    source: str
    atoms: Atoms
    values: np.ndarray


def writer_of(path: Path) -> Callable[[Path, Iterable[Described]], int]:
    """Return what writes a file and returns the number of structures.

    Raises:
        ConfigError: the ending of its name is unknown.
        MissingExtraError: pyarrow is not installed.
    """
    ending = path.suffix.lower()
    if ending not in WRITERS:
        raise ConfigError(
            f"Expected a file *.npz, *.extxyz or *.parquet for descriptors, got {path.name!r}."
            f"{did_you_mean(ending, WRITERS)}"
        )
    if ending == ".parquet":
        _pyarrow()
    return WRITERS[ending]


def write_descriptors(path: Path, rows: Iterable[Described]) -> int:
    """Write a file, which appears when it is complete, and return the number of structures."""
    write = writer_of(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{uuid4().hex}{path.suffix}")
    try:
        count = write(part, rows)
        if count:
            os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _write_npz(path: Path, rows: Iterable[Described]) -> int:
    """Write arrays `descriptors` [B or N in all, F], `numbers`, `n_atoms` and `sources`."""
    kept = list(rows)
    if kept:
        np.savez_compressed(
            path,
            descriptors=np.vstack([row.values for row in kept]).astype(np.float32),
            numbers=np.concatenate([row.atoms.numbers for row in kept]),
            n_atoms=np.array([len(row.atoms) for row in kept]),
            sources=np.array([row.source for row in kept]),
        )
    return len(kept)


def _write_extxyz(path: Path, rows: Iterable[Described]) -> int:
    """Write structures with `descriptors` of the atoms as an array, of the structure in `info`."""
    count = 0
    with TextFile(path) as file:
        for count, row in enumerate(rows, start=1):  # noqa: B007
            atoms = row.atoms.copy()
            atoms.calc = row.atoms.calc
            atoms.info["source"] = row.source
            if row.values.ndim == 2:
                atoms.set_array("descriptors", row.values)
            else:
                atoms.info["descriptors"] = row.values
            append_frame(file, atoms)
    return count


def _write_parquet(path: Path, rows: Iterable[Described]) -> int:
    """Write a row for every structure or atom, with a list of numbers."""
    pyarrow = _pyarrow()
    from pyarrow.parquet import ParquetWriter

    count, group, writer = 0, list[dict[str, Any]](), None
    try:
        for count, row in enumerate(rows, start=1):  # noqa: B007
            group += _table_rows(row)
            if len(group) >= GROUP:
                table = pyarrow.Table.from_pylist(group)
                writer = writer or ParquetWriter(path, table.schema)
                writer.write_table(table)
                group = []
        if group:
            table = pyarrow.Table.from_pylist(group)
            writer = writer or ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()
    return count


def _table_rows(row: Described) -> list[dict[str, Any]]:
    start = {"source": row.source}
    if row.values.ndim == 1:
        facts = {"formula": str(row.atoms.symbols), "n_atoms": len(row.atoms)}
        return [start | facts | {"descriptors": row.values.tolist()}]
    return [
        start | {"atom": i, "element": SYMBOLS[z], "descriptors": values.tolist()}
        for i, (z, values) in enumerate(zip(row.atoms.numbers, row.values, strict=True))
    ]


def _pyarrow() -> Any:
    try:
        import pyarrow
    except ImportError as error:
        raise MissingExtraError(
            'Writing parquet needs pyarrow: pip install "matkit[parquet]"'
        ) from error
    return pyarrow


WRITERS: dict[str, Callable[[Path, Iterable[Described]], int]] = {
    ".npz": _write_npz,
    ".extxyz": _write_extxyz,
    ".parquet": _write_parquet,
}
