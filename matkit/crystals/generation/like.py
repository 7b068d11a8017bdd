"""Crystals of the same compositions as given structures, such as those of a test set."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from matkit.crystals.generation.options import CrystalOptions
from matkit.crystals.reading import Crystal
from matkit.errors import ConfigError, MatkitError
from matkit.generate.options import SEEDS
from matkit.interfaces import Condition, Generator
from matkit.runs.items import Item


def requests_like(
    crystals: Sequence[Crystal], options: CrystalOptions, generator: Generator
) -> list[Item]:
    """Return `num_samples` crystals to be made of the composition of each structure.

    Item ``i num_samples + j`` is attempt j at structure i. Its seed does not depend on how many
    attempts there are. The smallest come first, so that batches are even.

    Args:
        crystals: The structures. One whose atoms cannot be read, or that the generator does not
            know, gives items without content.
        options: What is asked for.
        generator: The network.

    Raises:
        ConfigError: not one of the compositions is possible.
    """
    reasons = [_objection(crystal, generator) for crystal in crystals]
    if all(reasons):
        raise ConfigError(
            f"The generator can make none of the {len(crystals)} compositions of {options.like}. "
            f"The first: {reasons[0]}"
        )
    items = []
    for i, (crystal, reason) in enumerate(zip(crystals, reasons, strict=True)):
        for attempt in range(options.num_samples):
            index = i * options.num_samples + attempt
            seed = options.seed * SEEDS + attempt * len(crystals) + i
            content = None if reason else (seed, len(crystal.numbers), *crystal.numbers)
            items.append(Item(index, f"crystal {index}", content, reason))
    return sorted(items, key=lambda item: len(item.content or ()))


def _objection(crystal: Crystal, generator: Generator) -> str:
    """Return why the generator cannot make a composition, or nothing."""
    if not crystal.loaded:
        return f"{crystal.source}: {crystal.reason}"
    species = torch.tensor(crystal.numbers)
    try:
        generator.check_condition(Condition(n_atoms=torch.tensor([len(species)]), species=species))
    except MatkitError as error:
        return f"{crystal.source}: {error}"
    return ""
