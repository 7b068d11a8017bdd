"""Reading structures, one bad one among many included."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import ase.io
from ase import Atoms

from matkit.errors import StructureError
from matkit.simulate.frames import check_input

XYZ = (".xyz", ".extxyz")


@dataclass(frozen=True)
class Frame:
    """One structure of a file, or the reason why it cannot be used.

    Attributes:
        index: Position in the file.
        atoms: Structure; None if it cannot be used.
        error: What is wrong with it.
    """

    index: int
    atoms: Atoms | None
    error: str = ""


def read_frames(path: str | Path) -> list[Frame]:
    """Read every structure of a file in any format ASE knows.

    Args:
        path: File; a bad structure in it is reported in its `Frame` and the others are read.

    Raises:
        StructureError: the file is missing, empty, or nothing in it can be read.
    """
    path = Path(path)
    if not path.is_file():
        raise StructureError(f"Expected a file with structures, but there is no file {path}.")
    if not path.stat().st_size:
        raise StructureError(f"Expected structures in {path}, got an empty file.")
    frames = [_checked(frame) for frame in _read(path)]
    if not frames:
        raise StructureError(f"Expected structures in {path}, got none.")
    if all(frame.atoms is None for frame in frames):
        raise StructureError(f"No structure in {path} can be used. {frames[0].error}")
    return frames


def _read(path: Path) -> list[Frame]:
    try:
        images = _parse(path)
    except Exception as error:
        if path.suffix.lower() in XYZ:
            return [_parse_block(i, block) for i, block in enumerate(_xyz_blocks(path))]
        raise StructureError(
            f"Cannot read {path}: {type(error).__name__}: {error}. Expected a file that "
            "ase.io.read understands, such as CIF, POSCAR or extended XYZ; its format is taken "
            "from its name."
        ) from error
    return [Frame(i, atoms) for i, atoms in enumerate(images)]


def _parse(source: Path | io.StringIO, kind: str | None = None) -> list[Atoms]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # CIF files from databases warn about everything
        images = ase.io.read(source, index=":", format=kind)
    return images if isinstance(images, list) else [images]


def _parse_block(index: int, block: str) -> Frame:
    try:
        (atoms,) = _parse(io.StringIO(block), "extxyz")
    except Exception as error:
        return Frame(index, None, f"cannot be read: {type(error).__name__}: {error}")
    return Frame(index, atoms)


def _xyz_blocks(path: Path) -> Iterator[str]:
    """Cut an XYZ file at the lines that hold nothing but a number of atoms."""
    block: list[str] = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        if line.strip().isdigit() and len(block) != 1:
            if block:
                yield "".join(block)
            block = []
        block.append(line)
    if block:
        yield "".join(block)


def _checked(frame: Frame) -> Frame:
    if frame.atoms is None:
        return frame
    try:
        check_input(frame.atoms)
    except StructureError as error:
        return Frame(frame.index, None, str(error))
    return frame
