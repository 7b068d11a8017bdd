"""(Extended) XYZ: every frame for itself, so that a broken one costs no other."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from matkit.data.formats.extxyz import parse_comment
from matkit.data.species import Species, species_of, with_masses
from matkit.elements import SYMBOLS
from matkit.errors import DataError

if TYPE_CHECKING:
    from ase import Atoms

# What ASE takes where the comment does not say.
PLAIN = "species:S:1:pos:R:3"
# Comment of LAMMPS, which writes types where others write elements.
LAMMPS = "Atoms. Timestep:"
# Characters of a line that are looked at; nothing but binary files has longer ones.
LONGEST = 1 << 24
# Digits of a number of atoms that is believed.
DIGITS = 12


class _Lines:
    """Lines of a stream, the next of which can be looked at.

    Attributes:
        ahead: The next line, None at the end.
        number: Its number, from 1.
        error: Why the stream ends before its end, as a damaged compressed file does.
    """

    def __init__(self, stream: io.TextIOBase) -> None:
        self._stream = stream
        self.ahead: str | None = ""
        self.number = 0
        self.error: Exception | None = None
        self._behind: str | None = None
        self.take()

    def take(self) -> str:
        """Return the next line and go on."""
        line, self.ahead, self._behind = self.ahead, self._behind, None
        assert line is not None
        self.number += 1
        if self.ahead is not None:
            return line
        try:
            self.ahead = self._stream.readline(LONGEST) or None
        except Exception as error:  # each kind of compression has errors of its own
            self.error = error
        return line

    def give_back(self, line: str) -> None:
        """Put the line that was taken last before the next."""
        self.ahead, self._behind = line, self.ahead
        self.number -= 1


def read_xyz(stream: io.TextIOBase) -> Iterator[Atoms | str]:
    """Give the frames of a file, or what is wrong with one.

    A frame begins where a line holds nothing but a number, and is believed only if just as many
    rows follow. So neither a wrong number nor a lost line costs the frames around it, and nothing
    is reserved for a number that a file claims.
    """
    lines = _Lines(stream)
    while lines.ahead is not None:
        if not lines.ahead.strip():
            lines.take()
            continue
        yield _next_frame(lines)
    if lines.error is not None:
        raise lines.error


def _next_frame(lines: _Lines) -> Atoms | str:
    start = lines.number
    try:
        return _atoms(_block(lines), start)
    except DataError as error:
        return f"{error} (frame at line {start})"
    except Exception as error:  # ASE raises anything
        return f"cannot be read: {type(error).__name__}: {error} (frame at line {start})"


def _count(line: str) -> int | None:
    word = line.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) <= DIGITS else None


def _block(lines: _Lines) -> list[str]:
    """Return the lines of a frame.

    Raises:
        DataError: there are more or fewer rows than the frame says.
    """
    head, comment = lines.take(), lines.ahead
    count = _count(head)
    if count is None:
        _drop(lines, in_rows=False)
        raise DataError(f"expected a number of atoms, got {head.strip()[:60]!r}")
    if comment is None:
        raise DataError(f"the file ends after the number of atoms {count}")
    block = [head, lines.take()]
    if _count(comment) is not None and not _is_row(lines.ahead or ""):
        lines.give_back(comment)
        raise DataError(f"nothing follows the number of atoms {count}")
    while len(block) < count + 2 and _goes_on(lines.ahead):
        block.append(lines.take())
    found = len(block) - 2
    if found < count:
        end = "the file ends" if lines.ahead is None else "they end"
        _drop(lines, in_rows=True)
        raise DataError(f"cannot be read: expected {count} atoms, but {end} after {found}")
    while lines.ahead is not None and re.match(r"\s*VEC\d", lines.ahead):
        block.append(lines.take())  # the cell in files of ADF
    if _goes_on(lines.ahead) and _is_like(lines.ahead or "", block[-1] if found else None):
        _drop(lines, in_rows=True)
        raise DataError(f"cannot be read: expected {count} atoms, but more rows follow")
    if not count:
        raise DataError("expected at least one atom, got none")
    return block


def _goes_on(line: str | None) -> bool:
    """Return whether a line may be a row: it is no number of atoms, not blank and not the end."""
    return line is not None and not line.isspace() and _count(line) is None


def _drop(lines: _Lines, in_rows: bool) -> None:
    """Leave out the rest of a broken frame, up to where the next begins or seems to."""
    while lines.ahead is not None and _count(lines.ahead) is None:
        if lines.ahead.strip():
            is_row = _is_row(lines.ahead)
            if in_rows and not is_row:
                return
            in_rows = in_rows or is_row
        lines.take()


def _is_row(line: str) -> bool:
    """Return whether a line looks as if it belonged to an atom."""
    words = line[:1000].split()
    return "=" not in line and len(words) > 3 and sum(map(_is_number, words)) > 2


def _is_like(line: str, row: str | None) -> bool:
    """Return whether a line looks like a row of a frame."""
    if row is None:
        return _is_row(line)
    words, like = line.split(), row.split()
    return list(map(_is_number, words)) == list(map(_is_number, like))


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _atoms(block: list[str], start: int) -> Atoms:
    """Return the structure of a frame whose first line has the number `start`.

    Raises:
        DataError: a line is not what it should be.
    """
    from ase.io.extxyz import read_xyz as read_frame

    _refuse_bytes(block)
    comment = block[1].strip()
    info = _with_usual_names(parse_comment(comment) if comment else {}, comment)
    column, width = _columns(info.get("Properties", PLAIN))
    end = 2 + int(block[0])
    words = [row.split() for row in block[2:end]]
    if "Properties" in info:
        _check_widths(words, width, start + 2)
    if column is None:
        return next(read_frame(io.StringIO("".join(block)), 0, lambda _: info))
    species = _species(words, column, start + 2)
    if comment.startswith(LAMMPS) and all(row[column].isdigit() for row in words):
        raise DataError("its numbers are types of LAMMPS, not atomic numbers. Dump elements")
    if any(row[column] != SYMBOLS[one.number] for row, one in zip(words, species, strict=True)):
        for row, one in zip(words, species, strict=True):
            row[column] = SYMBOLS[one.number]
        block[2:end] = [" ".join(row) + "\n" for row in words]
    atoms = next(read_frame(io.StringIO("".join(block)), 0, lambda _: info))
    if atoms.numbers.tolist() != [one.number for one in species]:
        raise DataError("symbols and atomic numbers contradict each other")
    return with_masses(atoms, species)


def _refuse_bytes(block: Sequence[str]) -> None:
    text = "".join(block)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise DataError("there are bytes that are not UTF-8. Save the file as UTF-8") from error


def _with_usual_names(info: dict[str, Any], comment: str) -> dict[str, Any]:
    """Return the entries of a comment with `Lattice` and `Properties` spelled as ASE does.

    Raises:
        DataError: one of them is there and cannot be read.
    """
    for name in ("Lattice", "Properties"):
        for key in [key for key in info if key.lower() == name.lower() and key != name]:
            info.setdefault(name, info.pop(key))
            lattice = info.get("Lattice")
            if isinstance(lattice, np.ndarray) and lattice.shape == (9,):
                info["Lattice"] = lattice.reshape(3, 3).T
        if name not in info and re.search(rf"\b{name}\s*=", comment, re.IGNORECASE):
            raise DataError(f"{name} in the comment cannot be read: {comment[:100]!r}")
    lattice = info.get("Lattice")
    if lattice is not None and not (
        isinstance(lattice, np.ndarray) and lattice.shape == (3, 3) and lattice.dtype.kind in "if"
    ):
        raise DataError(f"expected nine numbers for Lattice, got {str(lattice)[:100]!r}")
    return info


def _columns(properties: Any) -> tuple[int | None, int]:
    """Return the column of the symbols, if there is one, and how many columns there are.

    Raises:
        DataError: atoms without places or elements.
    """
    words = str(properties).split(":")
    names, kinds, widths = words[::3], words[1::3], words[2::3]
    if len(words) % 3 or not all(width.isdigit() for width in widths):
        raise DataError(f"expected Properties as name:type:columns, got {properties!r}")
    sizes = dict(zip(names, map(int, widths), strict=True))
    usual = {"pos": 3, "species": 1, "Z": 1}
    if "pos" not in sizes or not {"species", "Z"} & sizes.keys() or not set(kinds) <= set("SRIL"):
        raise DataError(f"expected Properties with pos, species or Z, got {properties!r}")
    if len(sizes) < len(names) or any(sizes.get(name, n) != n for name, n in usual.items()):
        raise DataError(f"expected three columns of pos and one of species, got {properties!r}")
    before = names.index("species") if "species" in sizes else None
    column = None if before is None else sum(map(int, widths[:before]))
    return column, sum(sizes.values())


def _check_widths(rows: Sequence[Sequence[str]], width: int, first: int) -> None:
    for i, row in enumerate(rows):
        if len(row) != width:
            raise DataError(
                f"expected {width} columns in line {first + i}, got {len(row)}: "
                f"{' '.join(row)[:80]!r}"
            )


def _species(rows: Sequence[Sequence[str]], column: int, first: int) -> list[Species]:
    """Return what the symbol of every row means."""
    found = []
    for i, row in enumerate(rows):
        symbol = row[column] if len(row) > column else ""
        species = species_of(symbol)
        if species is None:
            raise DataError(f"{symbol[:20]!r} in line {first + i} is no chemical symbol")
        found.append(species)
    return found
