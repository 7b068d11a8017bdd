"""Several generators that take turns."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError, MatkitError
from matkit.interfaces import Condition, Generator
from matkit.structures import Structures, cat

# Which generator made a structure, in `Structures.system`.
MAKER = "generator"


class GeneratorMixture(Generator):
    """Structures of several generators in turns, each asked for what it can make.

    Args:
        parts: The generators, by name; of one domain, and all make structures.

    Raises:
        ConfigError: they make different things.
    """

    outputs = "structures"

    def __init__(self, parts: dict[str, Generator]) -> None:
        super().__init__()
        if len({part.domain for part in parts.values()}) > 1:
            raise ConfigError(f"{', '.join(parts)} make different things; name those of one kind.")
        planners = [name for name, part in parts.items() if part.outputs != "structures"]
        if planners:
            raise ConfigError(
                f"{planners[0]} makes no coordinates; among several models, give the one that is "
                "to find them: --coordinates MODEL."
            )
        self.names, self.parts = tuple(parts), nn.ModuleList(parts.values())
        generators = self.generators
        self.domain = generators[0].domain  # type: ignore[misc]
        self.inputs = frozenset.union(*(part.inputs for part in generators))
        # Numbers of atoms are settled if one needs to be told; species only if all do.
        required = [part.required for part in generators]
        sizes = frozenset.union(*required) & {"n_atoms"}
        self.required = frozenset.intersection(*required) | sizes
        self.species = tuple(sorted({z for part in generators for z in part.species}))
        self.max_atoms = max(part.max_atoms for part in generators)
        self.steps = max(part.steps for part in generators)

    @property
    def generators(self) -> list[Generator]:
        """The generators."""
        return [part for part in self.parts if isinstance(part, Generator)]

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """There is nothing to be trained.

        Raises:
            ConfigError: always.
        """
        raise ConfigError("Several models cannot be trained as one; train each by itself.")

    def check_condition(self, condition: Condition) -> None:
        """Raise if there is a structure that none of the generators can make.

        Raises:
            MatkitError: what the first generator says of it.
        """
        self._able(condition)

    def refusals(self, condition: Condition) -> dict[str, MatkitError]:
        """Return what each generator says that can make none of the structures, by its name.

        Raises:
            MatkitError: as `check_condition`.
        """
        able = {number for own in self._able(condition) for number in own}
        parts = enumerate(zip(self.names, self.generators, strict=True))
        found = {name: _refusal(part, condition) for n, (name, part) in parts if n not in able}
        return {name: error for name, error in found.items() if error is not None}

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw structures; the rank of each says whose turn it is.

        Args:
            condition: What they must be.
            steps: Steps of each generator; if it is `steps`, each takes its own number.
            seeds: Seed of each structure [B].
        """
        made: dict[int, Structures] = {}
        for name, which, drawn in self.turns(condition, steps, seeds):
            maker = torch.full((len(which),), self.names.index(name))
            marked = drawn.replace(atom={}, system={MAKER: maker})
            made |= dict(zip(which, marked.split(), strict=True))
        return cat([made[index] for index in range(len(made))])

    def turns(
        self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]
    ) -> Iterator[tuple[str, list[int], Structures]]:
        """Give what each generator makes: its name, which structures these are, and they.

        Arguments are those of `sample`, which forgets what only some generators say of structures.
        """
        ranks = torch.zeros(len(condition), dtype=torch.long)
        ranks = ranks if condition.rank is None else condition.rank
        turns: dict[int, list[tuple[int, int]]] = {}
        for index, (able, rank) in enumerate(
            zip(self._able(condition), ranks.tolist(), strict=True)
        ):
            turns.setdefault(able[rank % len(able)], []).append((index, rank // len(able)))
        for turn, own in turns.items():
            which, rank = [index for index, _ in own], torch.tensor([rank for _, rank in own])
            asked = condition.index(which).ranked(rank)
            part = self.generators[turn]
            drawn = part.sample(asked, part.steps if steps == self.steps else steps, seeds[which])
            assert isinstance(drawn, Structures)
            yield self.names[turn], which, drawn.to("cpu")

    def _able(self, condition: Condition) -> list[list[int]]:
        """Return which generators can make each of the structures.

        Raises:
            MatkitError: what the first generator says of a structure that none can make.
        """
        able: list[list[int]] = [[] for _ in range(len(condition))]
        for number, part in enumerate(self.generators):
            if _refusal(part, condition) is None:  # most can make everything
                for own in able:
                    own.append(number)
                continue
            for index, own in enumerate(able):
                if _refusal(part, condition.index([index])) is None:
                    own.append(number)
        for index, own in enumerate(able):
            if not own and (refusal := _refusal(self.generators[0], condition.index([index]))):
                raise refusal
        return able


def _refusal(generator: Generator, condition: Condition) -> MatkitError | None:
    """Return why a generator cannot make what is asked for, if it cannot."""
    try:
        generator.check_condition(condition)
    except MatkitError as error:
        return error
    return None
