"""What each molecule is to be, settled before anything is sampled."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from matkit.crystals.generation.compositions import parse_range
from matkit.elements import SYMBOLS
from matkit.errors import ConfigError
from matkit.formulas import Composition, parse_formula
from matkit.generate.options import SEEDS
from matkit.interfaces import Generator
from matkit.molecules.generation.options import MoleculeOptions
from matkit.molecules.generation.scaffolds import Scaffold, read_scaffold
from matkit.molecules.poses import check_installed
from matkit.runs.items import Item

# Valences of elements that have one only, as neutral atoms.
VALENCES = {1: 1, 5: 3, 6: 4, 7: 3, 8: 2, 9: 1, 14: 4}


def requests(
    options: MoleculeOptions, generator: Generator, likely: Mapping[int, float] | None = None
) -> list[Item]:
    """Return what each molecule is to be; the smallest come first, so that batches are even.

    Args:
        options: What is asked for.
        generator: The network.
        likely: How likely each number of atoms is, if neither a formula nor the options say how
            many there are; all of them alike if it is not known.

    Raises:
        ConfigError: what is asked for is impossible.
        UnknownElementError: the generator does not know an element.
        DataError: the file of the scaffold cannot be read.
        MissingExtraError: PoseBusters is asked for and not installed.
    """
    if options.posebusters is not None:
        check_installed()
    scaffold = None if options.scaffold is None else read_scaffold(options.scaffold)
    rng = np.random.default_rng([options.seed, 1])
    if options.formula is not None:
        texts = [text.strip() for text in options.formula.split(",")]
        formulas = [_atoms(text, scaffold) for text in texts]
        drawn = [formulas[i % len(formulas)] for i in range(options.num_samples)]
    else:
        sizes = _sizes(options, generator, likely or {}, scaffold)
        chosen = rng.choice(list(sizes), options.num_samples, p=list(sizes.values()))
        drawn = [(int(size),) for size in chosen]
    drawn.sort(key=lambda atoms: atoms[0])
    return [
        Item(i, f"molecule {i}", (options.seed * SEEDS + i, *atoms))
        for i, atoms in enumerate(drawn)
    ]


def _atoms(text: str, scaffold: Scaffold | None) -> tuple[int, ...]:
    """Return the number of atoms of a formula and their species, those of the scaffold first.

    Raises:
        ConfigError: no molecule has this formula, or none with the scaffold.
    """
    composition = parse_formula(text)
    check_formula(composition, text)
    counts, first = dict(composition), []
    if scaffold is not None:
        first = scaffold.structures.species.tolist()
        for number in first:
            counts[number] = counts.get(number, 0) - 1
            if counts[number] < 0:
                raise ConfigError(
                    f"{text} holds fewer atoms of {SYMBOLS[number]} than the scaffold. Give a "
                    "larger formula."
                )
    rest = [number for number, count in counts.items() for _ in range(count)]
    return (len(first) + len(rest), *first, *rest)


def check_formula(composition: Composition, text: str) -> None:
    """Refuse formulas that no neutral molecule with closed shells has.

    Elements of several valences are not judged.

    Raises:
        ConfigError: there is an unpaired electron, or there are more atoms than can be bonded.
    """
    if any(number not in VALENCES for number, _ in composition):
        return
    spare = 2 + sum(count * (VALENCES[number] - 2) for number, count in composition)
    if spare % 2:
        raise ConfigError(
            f"No molecule has the formula {text}: an electron is left over. Give one hydrogen more "
            "or less."
        )
    if spare < 0:
        raise ConfigError(
            f"No molecule has the formula {text}: {-spare} valences too few to bond all atoms. "
            "Give fewer hydrogens."
        )


def _sizes(
    options: MoleculeOptions,
    generator: Generator,
    likely: Mapping[int, float],
    scaffold: Scaffold | None,
) -> dict[int, float]:
    """Return how likely each number of atoms is to be drawn.

    Raises:
        ConfigError: none is possible.
    """
    weights: Mapping[int, float] = likely or dict.fromkeys(range(1, generator.max_atoms + 1), 1)
    if options.num_atoms is not None:
        weights = dict.fromkeys(parse_range(options.num_atoms, "numbers of atoms"), 1)
        if max(weights) > generator.max_atoms:
            raise ConfigError(
                f"The generator was trained on molecules of up to {generator.max_atoms} atoms, "
                f"asked for {options.num_atoms}. Ask for fewer."
            )
    elif scaffold is not None:  # nothing smaller than the molecule that it is taken from
        largest = max(weights)
        weights = {n: count for n, count in weights.items() if n >= scaffold.complete}
        if not weights:
            raise ConfigError(
                f"The scaffold is taken from a molecule of {scaffold.complete} atoms, the "
                f"generator was trained on molecules of up to {largest}. Take a smaller one."
            )
    total = sum(weights.values())
    return {size: count / total for size, count in weights.items()}
