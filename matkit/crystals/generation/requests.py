"""What each crystal is to be, settled before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from matkit.crystals.generation.compositions import (
    draw_composition,
    draw_system,
    multiplied,
    parse_elements,
    parse_range,
)
from matkit.crystals.generation.like import requests_like
from matkit.crystals.generation.options import ATOMS, CrystalOptions
from matkit.crystals.reading import read_crystals
from matkit.errors import ConfigError
from matkit.formulas import Composition, parse_formula
from matkit.generate.options import SEEDS
from matkit.interfaces import Generator
from matkit.runs.items import Item
from matkit.symmetry.assignments import assignments, is_possible
from matkit.symmetry.groups import parse

# Numbers of one crystal: its seed, how many atoms it has, and their species if they are given.
Content = tuple[int, ...]


def requests(
    options: CrystalOptions, generator: Generator, likely: Mapping[int, float] | None = None
) -> list[Item]:
    """Return what each crystal is to be; the smallest come first, so that batches are even.

    Args:
        options: What is asked for.
        generator: The network.
        likely: How likely each number of atoms is, if neither a formula nor the options say how
            many there are; all of them alike if it is not known.

    Raises:
        ConfigError: what is asked for is impossible, or not enough, for the generator.
        UnknownElementError: the generator does not know an element.
        DataError: there are no structures where those that they are to be like should be.
    """
    free = _finds_species(options, generator)
    if options.like is not None:
        return requests_like(read_crystals([options.like]), options, generator)
    rng = np.random.default_rng([options.seed, 1])
    room = _Room(options, generator, likely or {}, free)
    drawn = [_one(options, room, rng, i) for i in range(options.num_samples)]
    drawn.sort(key=lambda atoms: atoms[0])
    items = []
    for index, atoms in enumerate(drawn):
        content = (options.seed * SEEDS + index, *atoms)
        items.append(Item(index, f"crystal {index}", content))
    return items


def _finds_species(options: CrystalOptions, generator: Generator) -> bool:
    """Return whether the generator is to find the species itself: where nothing says them."""
    given = [name for name in ATOMS if getattr(options, name) is not None]
    if options.required_elements and "required_elements" not in generator.inputs:
        raise ConfigError(
            "The generator cannot be told which elements must occur among others. Leave "
            "required_elements out, or give a chemical_system."
        )
    if "elements" in generator.inputs and given in (["elements"], ["chemical_system"]):
        return True
    if given and "species" not in generator.inputs:
        raise ConfigError(
            f"The generator finds the species itself and cannot keep to a {given[0]}. Leave it "
            "out, or choose a model of crystal structure prediction."
        )
    return generator.generates_species and not given


def _one(options: CrystalOptions, room: _Room, rng: np.random.Generator, index: int) -> Content:
    """Return the number of atoms of a crystal, and their species if they are not generated."""
    if room.is_open:
        return (0,)
    if room.free:
        return (int(rng.choice(list(room.sizes), p=list(room.sizes.values()))),)
    composition = _composition(options, room, rng, index)
    room.check([count for _, count in composition])
    species = [number for number, count in composition for _ in range(count)]
    return (len(species), *species)


class _Room:
    """What the cell can hold: numbers of atoms, and what the space group allows.

    Where the generator finds the species, and need not be told of how many atoms, neither matters.

    Args:
        options: What is asked for.
        generator: The network.
        likely: How likely each number of atoms is.
        free: Whether the generator finds the species.

    Raises:
        ConfigError: no number of atoms is possible.
        UnknownNameError: there is no such space group.
    """

    def __init__(
        self,
        options: CrystalOptions,
        generator: Generator,
        likely: Mapping[int, float],
        free: bool,
    ) -> None:
        self.group = None if options.space_group is None else parse(options.space_group)
        self.max_atoms, self.free = generator.max_atoms, free
        self.is_open = free and not options.num_atoms and "n_atoms" not in generator.required
        self.sizes = _sizes(options, generator, likely)
        if free and not self.is_open:
            possible = {n: p for n, p in self.sizes.items() if self.fits(((0, n),))}
            if not possible:
                self.check([max(self.sizes)])
            total = sum(possible.values())
            self.sizes = {size: share / total for size, share in possible.items()}

    def check(self, counts: Sequence[int]) -> None:
        """Raise ConfigError if no cell of the space group holds such numbers of atoms."""
        if self.group is not None:
            assignments(self.group, tuple(counts), self.max_atoms)

    def fits(self, composition: Composition) -> bool:
        """Whether the space group has cells of a composition."""
        counts = tuple(sorted(count for _, count in composition))
        return self.group is None or is_possible(self.group, counts)


def _composition(
    options: CrystalOptions, room: _Room, rng: np.random.Generator, index: int
) -> Composition:
    if options.formula is not None:
        formulas = options.formula.split(",")
        return parse_formula(formulas[index % len(formulas)].strip())
    if options.composition is not None:
        units = parse_range(options.z, "formula units")
        return multiplied(parse_formula(options.composition), units[index % len(units)])
    if options.chemical_system is not None:
        system = parse_elements(options.chemical_system)
        return draw_composition(system, list(room.sizes), rng, room.fits)
    if options.elements is not None:
        return _of_elements(parse_elements(options.elements), room, rng)
    raise ConfigError(
        "The generator needs to know the atoms: give a formula, a composition, a chemical_system, "
        "elements or structures that they are to be like, or choose a model that generates species."
    )


def _of_elements(elements: tuple[int, ...], room: _Room, rng: np.random.Generator) -> Composition:
    """Draw systems until one has a composition."""
    sizes = list(room.sizes)
    for _ in range(100):
        try:
            return draw_composition(draw_system(elements, rng), sizes, rng, room.fits)
        except ConfigError:
            continue
    return draw_composition(elements, sizes, rng, room.fits)  # says what was looked for


def _sizes(
    options: CrystalOptions, generator: Generator, likely: Mapping[int, float]
) -> dict[int, float]:
    """Return how likely each number of atoms is to be drawn."""
    weights: Mapping[int, float] = dict.fromkeys(range(1, generator.max_atoms + 1), 1)
    if options.num_atoms is not None:
        numbers = parse_range(options.num_atoms, "numbers of atoms")
        if numbers[-1] > generator.max_atoms:
            raise ConfigError(
                f"The generator was trained on crystals of up to {generator.max_atoms} atoms, "
                f"asked for {options.num_atoms}. Ask for fewer."
            )
        weights = dict.fromkeys(numbers, 1)
    elif likely:
        weights = likely
    total = sum(weights.values())
    return {size: weight / total for size, weight in weights.items()}
