"""Draw structures in batches; each depends on its own seed alone."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from ase import Atoms

from matkit.data.ase import to_ase
from matkit.denormals import without_denormals
from matkit.errors import MatkitError
from matkit.generate.conditions import check_goals, properties_asked
from matkit.generate.domains import DomainRoom
from matkit.generate.mixture import MAKER, GeneratorMixture
from matkit.generate.options import GenerateOptions
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.runs.items import Item, ItemResult, failed
from matkit.structures import Structures

# Between the seeds of two attempts at a structure.
NEXT = 0x9E3779B97F4A7C15
# Between the ranks of two attempts: more than structures of one kind are ever asked for.
LATER = 1_000_003
# Pairs of atoms in a batch: more do not make a CPU faster, and a GPU is kept busy by them.
PAIRS = {"cpu": 16_000, "cuda": 400_000}


@dataclass(frozen=True)
class Sampler:
    """A generator that is ready to draw.

    Attributes:
        generator: The network, on its device.
        steps: Steps from noise to structure.
        options: What is asked for.
        room: What is known of its domain.
        ranks: Number of each item among those that ask for the same.
    """

    generator: Generator
    steps: int
    options: GenerateOptions
    room: DomainRoom
    ranks: Mapping[int, int] = field(default_factory=dict)

    def cost(self, item: Item) -> int:
        """Return what an item takes of a batch: its pairs of atoms, or one place."""
        if item.content is None:
            return 0
        return 1 if self.options.batch_size else item.content[1] ** 2

    @property
    def limit(self) -> int:
        """Return how much goes into a batch."""
        device = next(self.generator.parameters()).device.type
        return self.options.batch_size or PAIRS.get(device, PAIRS["cuda"])

    def check(self, items: Sequence[Item]) -> dict[str, MatkitError]:
        """Raise what is wrong with any request before the first structure is drawn.

        Returns:
            Why a generator makes nothing while others do, by its name.

        Raises:
            ConfigError: more atoms than trained for, or something that was not learnt.
            UnknownElementError: an element that was not learnt.
        """
        check_goals(self.options, self.generator)
        condition = self.condition([i for i in items if i.content])
        if isinstance(self.generator, GeneratorMixture):
            return self.generator.refusals(condition)
        self.generator.check_condition(condition)
        return {}

    def condition(self, items: Sequence[Item], attempt: int = 0) -> Condition:
        """Return what the structures of some items must be; later attempts have later ranks."""
        species = [z for item in items for z in item.content[2:]]
        properties = {
            name: torch.full((len(items),), value)
            for name, value in properties_asked(self.options).items()
        }
        sizes = [item.content[1] for item in items]
        return Condition(
            count=len(items),
            n_atoms=torch.tensor(sizes) if all(sizes) else None,
            species=torch.tensor(species) if species else None,
            **self.room.fields(self.options, self.generator, len(items)),
            properties=properties,
            guidance=self.options.guidance if properties else 1.0,
            rank=torch.tensor([self.ranks.get(item.index, 0) + attempt * LATER for item in items]),
        )

    def __call__(self, items: Sequence[Item]) -> list[ItemResult]:
        """Return the structures of some items; one that is not finite has failed."""
        outcomes = [ItemResult(i, "rejected", reason=i.reason) for i in items if i.content is None]
        items = [item for item in items if item.content is not None]
        return outcomes + self._drawn(items) if items else outcomes

    def _drawn(self, items: Sequence[Item]) -> list[ItemResult]:
        begin = time.perf_counter()
        drawn = self._structures(items, 0)
        times = [0] * len(items)
        for attempt in range(1, 1 + self.options.redraw):
            again = [i for i, atoms in enumerate(drawn) if self._objection(atoms)]
            fresh = self._structures([items[i] for i in again], attempt) if again else []
            for i, atoms in zip(again, fresh, strict=True):
                drawn[i], times[i] = atoms, attempt
        seconds = (time.perf_counter() - begin) / len(items)
        outcomes = []
        for item, atoms, redrawn in zip(items, drawn, times, strict=True):
            if not (np.isfinite(atoms.positions).all() and np.isfinite(atoms.cell.array).all()):
                outcomes.append(failed(item, "positions or cell are not numbers"))
                continue
            if self.options.strict and (reason := self.room.unlike(self.options, atoms)):
                facts = {"seconds": seconds, "redrawn": redrawn}
                outcomes.append(ItemResult(item, "failed", reason=reason, facts=facts))
                continue
            atoms.info |= {
                self.room.NOUN: item.index,
                "seed": item.content[0],
                **self.room.aim(self.options, item),
            }
            formula = atoms.get_chemical_formula("metal")
            facts = {"formula": formula, "seconds": seconds, "redrawn": redrawn}
            outcomes.append(ItemResult(item, "done", (atoms,), facts=facts))
        return outcomes

    def _objection(self, atoms: Atoms) -> str:
        """Return why a structure is to be drawn again, or nothing."""
        return self.room.fault(atoms) or self.room.unlike(self.options, atoms)

    def _structures(self, items: Sequence[Item], attempt: int) -> list[Atoms]:
        """Return the structures of one attempt; its seeds follow from those of the items."""
        numbers = [(item.content[0] + attempt * NEXT) % (1 << 63) for item in items]
        seeds = torch.tensor(numbers)
        asked = self.condition(items, attempt)
        with without_denormals():
            if isinstance(self.generator, GeneratorMixture):
                return _named(self.generator.turns(asked, self.steps, seeds))
            made = self.generator.sample(asked, self.steps, seeds).to("cpu")
        return to_ase(self.room.realize(made, seeds) if isinstance(made, Blueprint) else made)


def _named(turns: Iterable[tuple[str, list[int], Structures]]) -> list[Atoms]:
    """Return the structures of several generators in their order; each says which one made it."""
    found: dict[int, Atoms] = {}
    for name, which, made in turns:
        for place, atoms in zip(which, to_ase(made), strict=True):
            atoms.info[MAKER] = name
            found[place] = atoms
    return [found[place] for place in range(len(found))]


def ranks_of(items: Sequence[Item]) -> dict[int, int]:
    """Return the number of each item among those that ask for the same atoms, if for any."""
    alike: dict[tuple[int, ...], list[int]] = {}
    for item in sorted(items, key=lambda item: item.index):
        if item.content is not None:
            alike.setdefault(tuple(item.content[2:]), []).append(item.index)
    return {index: rank for same in alike.values() for rank, index in enumerate(same)}
