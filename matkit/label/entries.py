"""Structures to be labelled, one after another: files, folders of files, converted data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms

from matkit.data.cached import is_folder
from matkit.data.dataset import read_dataset
from matkit.data.folders import structure_files
from matkit.data.opening import locate
from matkit.data.reading import entries_of
from matkit.data.writing import labelled_atoms
from matkit.errors import DataError
from matkit.runs.items import Item


def entries(paths: Sequence[str | Path], format: str | None = None) -> Iterator[Item]:
    """Give every structure with its number; what cannot be read is an item too.

    Args:
        paths: Files in any format that `matkit.data.reading.entries_of` takes, folders of such
            files at any depth, and folders written by ``matkit data convert``.
        format: See `matkit.data.reading.entries_of`.

    Raises:
        DataError: a path is missing, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    index = 0
    for path in map(Path, paths):
        for source, content in _contents(path, format):
            reason = content if isinstance(content, str) else ""
            yield Item(index, source, None if reason else content, reason)
            index += 1
    if not index:
        raise DataError(f"Expected structures in {', '.join(map(str, paths))}, found none.")


def _contents(path: Path, format: str | None) -> Iterator[tuple[str, Atoms | str]]:
    """Give structures, or why there is none, with the place each comes from."""
    if is_folder(path):
        for i, atoms in enumerate(labelled_atoms(read_dataset(path))):
            yield f"{path}[{i}]", atoms
    elif path.is_dir():
        for file in structure_files(path):
            yield from _of_file(file, format)
    elif locate(path)[0].exists():
        yield from _of_file(path, format)
    else:
        raise DataError(f"Expected a file or folder with structures, but there is no {path}.")


def _of_file(path: Path, format: str | None) -> Iterator[tuple[str, Atoms | str]]:
    file, _ = locate(path)
    try:
        for entry in entries_of(path, format):
            content = entry.reason if entry.atoms is None else entry.atoms
            yield f"{file}[{entry.index}]", content
    except DataError as error:  # it cannot be opened
        yield f"{file}[0]", str(error)
