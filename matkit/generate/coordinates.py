"""A generator of blueprints, and another one that finds coordinates for them."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generate.domains import room_of
from matkit.generate.options import GenerateOptions
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.models.zoo import load_generator
from matkit.structures import Structures, cat

OWN = "The generator makes structures with coordinates of its own; leave {} out."


def with_coordinates(generator: Generator, finder: str | None, device: str) -> Generator:
    """Return a generator together with the one that is to find coordinates for what it makes.

    Args:
        generator: What makes structures or blueprints.
        finder: Name or file of the second one, if there is to be one.
        device: Where it runs.

    Raises:
        ConfigError: the first makes structures already, or the second cannot be told positions.
        UnknownNameError, MissingExtraError, CheckpointError: the second cannot be had.
    """
    if finder is None:
        return generator
    if generator.outputs != "blueprint":
        raise ConfigError(OWN.format("coordinates"))
    return Completed(generator, load_generator(finder, device)[0])


def check_trials(generator: Generator, options: GenerateOptions) -> None:
    """Raise ConfigError if there are to be several starts for structures that can have one only."""
    is_drawn = generator.outputs == "blueprint" or isinstance(generator, Completed)
    if options.trials > 1 and not is_drawn:
        raise ConfigError(OWN.format("trials"))


class Completed(Generator):
    """Structures in two steps: what they consist of, then where the atoms are.

    What the second generator does not know, or is too large for it, is realised at random.

    Args:
        planner: Makes blueprints.
        finder: Makes structures of given species on given positions.

    Raises:
        ConfigError: the second cannot be told positions.
    """

    outputs = "structures"

    def __init__(self, planner: Generator, finder: Generator) -> None:
        super().__init__()
        if not {"species", "position"} <= finder.inputs:
            raise ConfigError(
                "The model of `coordinates` cannot be told species and their positions; choose one "
                "of crystal structure prediction, such as crystalflow-mp20."
            )
        self.planner, self.finder = planner, finder
        self.species, self.max_atoms = planner.species, planner.max_atoms
        self.inputs, self.required = planner.inputs, planner.required
        self.properties, self.steps = planner.properties, finder.steps

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the loss of the blueprints."""
        return self.planner.loss(structures, rng)

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw blueprints, and find coordinates for them in `steps` steps."""
        blueprint = self.planner.sample(condition, self.planner.steps, seeds)
        assert isinstance(blueprint, Blueprint)
        blueprint, seeds = blueprint.to("cpu"), seeds.cpu()
        known = self._is_known(blueprint)
        made: dict[int, Structures] = {}
        for find, which in ((self._found, known), (self._drawn, ~known)):
            if numbers := which.nonzero().flatten().tolist():
                part = find(blueprint.index(numbers), steps, seeds[which])
                made |= dict(zip(numbers, part.split(), strict=True))
        return cat([made[i] for i in range(len(made))])

    def _found(self, part: Blueprint, steps: int, seeds: Int[Tensor, " k"]) -> Structures:
        condition = Condition(
            n_atoms=part.n_atoms,
            species=part.species,
            space_group=part.space_group,
            position=part.position,
            conventional=part.conventional,
        )
        made = self.finder.sample(condition, steps, seeds)
        assert isinstance(made, Structures)
        return part.mark(made.to("cpu"))

    def _drawn(self, part: Blueprint, _steps: int, seeds: Int[Tensor, " k"]) -> Structures:
        return room_of(self.planner.domain).realize(part, seeds)

    def _is_known(self, blueprint: Blueprint) -> Bool[Tensor, " B"]:
        """Return for which blueprints the second generator can find coordinates."""
        strange = ~torch.isin(blueprint.species, torch.tensor(self.finder.species))
        strange_ones = torch.zeros(len(blueprint), dtype=torch.bool)
        strange_ones[blueprint.batch[strange]] = True
        return ~strange_ones & (blueprint.n_atoms <= self.finder.max_atoms)
