"""What a CIF says, block by block, as text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from matkit.errors import DataError

NOTHING = ("", ".", "?")
NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)(?:\(\d*\)?)?")


@dataclass(frozen=True)
class Tags:
    """The values of a block, by their names in lower case; those of a loop are lists.

    Attributes:
        name: What the block is called.
        values: Texts; `.` and `?` are left as they are.
    """

    name: str
    values: Mapping[str, str | list[str]]

    def column(self, *names: str) -> list[str]:
        """Return the values of the first name that is there, empty if none is."""
        for name in names:
            value = self.values.get(name, [])
            if value:
                return [value] if isinstance(value, str) else value
        return []

    def text(self, *names: str) -> str:
        """Return the first value that says something, empty if none does."""
        for name in names:
            for value in self.column(name)[:1]:
                if value not in NOTHING:
                    return value
        return ""


def number(text: str, what: str) -> float:
    """Return a number without its uncertainty, such as 5.64 of `5.640(3)`.

    Raises:
        DataError: it is none.
    """
    found = NUMBER.fullmatch(text)
    if found is None:
        raise DataError(f"expected a number for {what}, got {text!r}")
    return float(found[1])


def blocks(text: str) -> Iterator[Tags | str]:
    """Give the data blocks of a CIF, or why one cannot be read."""
    for block in _cut(text):
        name = block.split(maxsplit=1)[0][5:]
        try:
            yield _tags(name, block)
        except DataError as error:
            yield f"{error} (data_{name})"
        except Exception as error:  # pymatgen raises anything
            yield (
                "cannot be read as CIF; is a row not complete, or a quote not closed? "
                f"({type(error).__name__}: {error}, data_{name})"
            )


def _cut(text: str) -> Iterator[str]:
    """Cut a text before every `data_` that does not stand in a text of several lines."""
    block: list[str] = []
    in_text = False
    for line in text.splitlines(keepends=True):
        in_text ^= line.startswith(";")
        if not in_text and line.lstrip()[:5].lower() == "data_":
            if block:
                yield "".join(block)
            block = []
        elif not block:
            continue
        block.append(line)
    if block:
        yield "".join(block)


def _tags(name: str, block: str) -> Tags:
    from pymatgen.io.cif import CifBlock

    parsed = CifBlock.from_str(block.lstrip())
    names = [tag.lower() for loop in parsed.loops for tag in loop]
    twice = {tag for tag in names if names.count(tag) > 1 and tag.startswith("_atom_site")}
    if twice:
        raise DataError(f"{', '.join(sorted(twice))} is there twice")
    # The newer dictionaries write _atom_site.fract_x.
    return Tags(name, {key.lower().replace(".", "_"): value for key, value in parsed.data.items()})
