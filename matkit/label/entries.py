"""Structures to be labelled, one after another: files, folders of files, converted data sets."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from ase import Atoms

from matkit.campaign.items import Item
from matkit.crystals.reading import structure_files, structures_in
from matkit.data.cached import is_folder
from matkit.data.dataset import read_dataset
from matkit.data.writing import labelled_atoms
from matkit.errors import DataError, MissingExtraError


def entries(paths: Sequence[str | Path]) -> Iterator[Item]:
    """Give every structure with its number; what cannot be read is an item too.

    Args:
        paths: Files in any format that `matkit.data.reading.read_atoms` takes, folders of such
            files at any depth, and folders written by ``matkit data convert``.

    Raises:
        DataError: a path is missing, or there is nothing in any of them.
        MissingExtraError: a package for a format is not installed.
    """
    index = 0
    for path in map(Path, paths):
        for source, content in _contents(path):
            reason = content if isinstance(content, str) else ""
            yield Item(index, source, None if reason else content, reason)
            index += 1
    if not index:
        raise DataError(f"Expected structures in {', '.join(map(str, paths))}, found none.")


def _contents(path: Path) -> Iterator[tuple[str, Atoms | str]]:
    """Give structures, or why there is none, with the place each comes from."""
    if is_folder(path):
        for i, atoms in enumerate(labelled_atoms(read_dataset(path))):
            yield f"{path}[{i}]", atoms
    elif path.is_dir():
        for file in structure_files(path):
            yield from _of_file(file)
    elif path.is_file():
        yield from _of_file(path)
    else:
        raise DataError(f"Expected a file or folder with structures, but there is no {path}.")


def _of_file(path: Path) -> Iterator[tuple[str, Atoms | str]]:
    number = 0
    try:
        for content in structures_in(path):
            yield f"{path}[{number}]", content
            number += 1
    except MissingExtraError:
        raise
    except DataError as error:  # nothing behind it can be read
        yield f"{path}[{number}]", str(error)
