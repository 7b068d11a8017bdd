"""What a campaign works on, and what comes of it."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from ase import Atoms
from numpy.typing import NDArray

from matkit.errors import ConfigError

Status = Literal["done", "rejected", "failed"]


@dataclass(frozen=True)
class Item:
    """One piece of work.

    Attributes:
        index: Its number in the whole campaign, the same in every shard.
        source: Where it comes from.
        content: What is worked on: `Atoms`, a text, or a tuple of numbers; None if it could not
            be read.
        reason: Why there is no content.
    """

    index: int
    source: str
    content: Any
    reason: str = ""


@dataclass(frozen=True)
class ItemResult:
    """What became of one item.

    Attributes:
        item: The item.
        status: `done`, `rejected` by a filter that the user asked for, or `failed`.
        frames: Structures to be written.
        reason: Why it was rejected or failed.
        matrix: Square matrix that belongs to the only frame, in the type it is stored in.
        facts: Further numbers for the ledger.
    """

    item: Item
    status: Status
    frames: tuple[Atoms, ...] = ()
    reason: str = ""
    matrix: NDArray[np.floating] | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Shard:
    """Part `number` of `count` parts of a campaign, from 1."""

    number: int = 1
    count: int = 1

    @property
    def suffix(self) -> str:
        """End of the names of its files; empty if there is one part only."""
        return "" if self.count == 1 else f"-{self.number}-of-{self.count}"

    def of(self, items: Iterable[Item]) -> Iterator[Item]:
        """Give the items of this part."""
        return (item for item in items if item.index % self.count == self.number - 1)


WHOLE = Shard()


def parse_shard(text: str) -> Shard:
    """Return the part that is meant by, e.g., ``2/4``.

    Raises:
        ConfigError: there is no such part.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ConfigError(f"Expected a shard such as 1/4, 2/4, ... 4/4; got {text!r}.")
    return Shard(int(found[1]), int(found[2]))


def fingerprint(item: Item) -> str:
    """Return a checksum of the content, to notice that an input file was changed."""
    content = item.content
    if not isinstance(content, Atoms):
        return f"{zlib.crc32(repr((content, item.reason)).encode()):08x}"
    parts = (content.numbers, content.positions, content.cell.array, content.pbc)
    return f"{zlib.crc32(b''.join(np.ascontiguousarray(part).tobytes() for part in parts)):08x}"


def failed(item: Item, error: Exception | str) -> ItemResult:
    """Return the outcome of an item that something went wrong with."""
    if isinstance(error, Exception):
        error = f"{type(error).__name__}: {error}"
    return ItemResult(item, "failed", reason=" ".join(error.split()))
