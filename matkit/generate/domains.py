"""What generating structures needs to know of a domain; the rooms of the domains answer it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any, Protocol, cast, runtime_checkable

from ase import Atoms
from jaxtyping import Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generate.batch import Batch
from matkit.generate.options import GenerateOptions
from matkit.interfaces import Blueprint, Generator
from matkit.interfaces.generator import Domain
from matkit.runs.items import Item
from matkit.structures import Structures

Note = Callable[[str], None]
# Modules that are a `DomainRoom`, imported when they are needed.
ROOMS: dict[Domain, str] = {
    "crystal": "matkit.crystals.generation.room",
    "molecule": "matkit.molecules.generation.room",
}


@runtime_checkable
class DomainRoom(Protocol):
    """What a domain knows of its structures: a module with these names.

    Attributes:
        OPTIONS: Options of generating them.
        NOUN: What one structure is called, in messages and files.
        RELAX_CELL: Whether the cell is relaxed too.
        WEIGHTLESS: Generators that come with matkit and have no file of weights, by name, with what
            is known of them.
    """

    OPTIONS: type[GenerateOptions]
    NOUN: str
    RELAX_CELL: bool
    WEIGHTLESS: Mapping[str, Callable[[], tuple[Generator, dict[str, Any]]]]

    def general(self, options: Any) -> Sequence[str]:
        """Return the names of all generators that fit what is asked for."""

    def usual(self, options: Any) -> Sequence[str]:
        """Return the names of those that are taken if none is named; none for the preferred one."""

    def requests(
        self, options: Any, generator: Generator, likely: Mapping[int, float] | None = None
    ) -> list[Item]:
        """Return what each structure is to be.

        `likely` says how likely each number of atoms is where nothing else does. The content of an
        item is its seed, its number of atoms (0 if left open), and their species
        if they are given.
        """

    def fields(self, options: Any, generator: Generator, count: int) -> dict[str, Any]:
        """Return fields of `Condition` that are the same for `count` structures."""

    def aim(self, options: Any, item: Item) -> dict[str, int]:
        """Return what the file of structures is to say of an item besides its number and seed."""

    def fault(self, atoms: Atoms) -> str:
        """Return why a structure is to be drawn again and not worth relaxing, or nothing."""

    def unlike(self, options: Any, atoms: Atoms) -> str:
        """Return what a structure lacks of what was asked for, or nothing; it is drawn again."""

    def damage(self, before: Atoms, after: Atoms) -> str:
        """Return what a relaxation has done to a structure that makes it worthless, or nothing."""

    def realize(self, blueprint: Blueprint, seeds: Int[Tensor, " B"]) -> Structures:
        """Return structures with coordinates."""

    def is_symmetric(self, atoms: Atoms) -> bool:
        """Return whether a structure was made with a symmetry, which relaxing it keeps."""

    def starts(self, atoms: Atoms, count: int) -> list[Atoms]:
        """Return where the relaxation of a structure starts; several, if coordinates were drawn."""

    def read_known(self, paths: Sequence[str]) -> Sequence[Any]:
        """Return structures that are not novel."""

    def judged(
        self, batch: Batch, known: Sequence[Any], options: GenerateOptions, note: Note
    ) -> Any:
        """Return the scores of a batch that is not empty."""

    def rows(self, batch: Batch) -> list[dict[str, Any]]:
        """Return one row of a table for each structure, and for each that failed."""

    def scores(self, batch: Batch) -> list[dict[str, Any]]:
        """Return the scores as documents."""

    def lines(self, batch: Batch) -> list[str]:
        """Return the scores as lines for a terminal."""

    def archive(self, batch: Batch, dedupe: bool) -> bytes:
        """Return the structures in files that other programs read, as a zip archive."""

    def sections(self, batch: Batch) -> list[str]:
        """Return what the page says of the structures, as HTML."""


def room_of(domain: Domain) -> DomainRoom:
    """Return what is known of a domain.

    Raises:
        ConfigError: matkit cannot generate such structures from the command line yet.
    """
    if domain not in ROOMS:
        raise ConfigError(
            f"matkit generate makes {', '.join(sorted(ROOMS))}s; a generator of {domain}s is used "
            "from Python: generator.sample(condition, steps, seeds)."
        )
    return cast(DomainRoom, import_module(ROOMS[domain]))
