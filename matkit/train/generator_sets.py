"""The structures that a generator learns from: read, reduced and split."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import nan
from numbers import Real
from typing import Any, TypeAlias

import torch
from ase import Atoms

from matkit.crystals.reading import fault_of, read_entries
from matkit.data.ase import from_ase
from matkit.data.groups import reduced_formula
from matkit.data.splitting import split_groups
from matkit.elements import format_species
from matkit.errors import ConfigError, DataError
from matkit.interfaces.generator import Domain
from matkit.listing import first_names
from matkit.molecules.reading import read_molecules
from matkit.structures import Structures, cat
from matkit.symmetry.datasets import niggli_cell
from matkit.train.generator_options import GeneratorOptions
from matkit.train.sets import UNVALIDATED


@dataclass(frozen=True)
class Examples:
    """Structures with their properties.

    Attributes:
        structures: One batch of all, float64; properties in `system`, NaN where missing.
        formulas: Reduced formula of each.
        sources: Where each comes from, as ``data.csv[12]``.
    """

    structures: Structures
    formulas: tuple[str, ...]
    sources: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of structures."""
        return len(self.sources)

    def subset(self, which: Sequence[int]) -> Examples:
        """Return the structures numbered `which`, in that order."""
        return Examples(
            self.structures.index(which),
            tuple(self.formulas[i] for i in which),
            tuple(self.sources[i] for i in which),
        )


@dataclass(frozen=True)
class GeneratorSets:
    """Structures to learn from, those that choose the best epoch, and what happened to them."""

    train: Examples
    valid: Examples
    domain: Domain
    notes: tuple[str, ...]

    def prepared(self, prepare: Callable[[Structures], Structures]) -> GeneratorSets:
        """Return the sets with structures as a generator wants them."""
        train, valid = (
            replace(part, structures=prepare(part.structures)) for part in (self.train, self.valid)
        )
        return replace(self, train=train, valid=valid)


def read_generator_sets(options: GeneratorOptions, domain: Domain) -> GeneratorSets:
    """Read the files of the options.

    Args:
        options: Options.
        domain: What the generator makes.

    Raises:
        ConfigError: no training file is named, or no structure has a property.
        DataError: an entry is of another domain, or lacks a property, and that is not allowed.
    """
    if not options.train_file:
        raise ConfigError(
            f"Expected {domain}s to learn from, got none. Name them: --train-file FILE"
        )
    train, notes = _read(options.train_file, options, domain)
    if options.valid_file:
        valid, more = _read(options.valid_file, options, domain)
        notes += more
    elif not options.valid_fraction:
        valid = train
        notes.append(UNVALIDATED)
    else:
        names = train.formulas if options.split_by == "formula" else train.sources
        fractions = (1 - options.valid_fraction, options.valid_fraction)
        parts = split_groups(names, range(len(train)), fractions, options.seed)
        train, valid = train.subset(parts[0]), train.subset(parts[1])
        notes.append(f"{len(valid)} of {len(train) + len(valid)} {domain}s kept for validation")
    valid, note = _familiar(train, valid, domain)
    return GeneratorSets(train, valid, domain, (*notes, *note))


def _read(
    files: Sequence[str], options: GeneratorOptions, domain: Domain
) -> tuple[Examples, list[str]]:
    structures: list[Structures] = []
    sources, carried, faults = [], [], []
    for source, item, said in READ[domain](files, options):
        if isinstance(item, str):
            faults.append(f"{source} ({item})")
        else:
            structures.append(item)
            sources.append(source)
            carried.append(said)
    notes = _left_out(faults, len(sources), options, domain)
    if not structures:
        raise DataError(f"Expected {domain}s in {', '.join(files)}, found none.")
    properties = _properties(carried, sources, options, domain)
    formulas = tuple(reduced_formula(one.species.numpy()) for one in structures)
    batch = cat(structures).replace(system=properties)
    return Examples(batch, formulas, tuple(sources)), notes


# Where something comes from, the structure or why there is none, and what else is said of it.
Said: TypeAlias = tuple[str, Structures | str, Mapping[str, Any]]


def _crystals(files: Sequence[str], options: GeneratorOptions) -> Iterator[Said]:
    for source, item in read_entries(files, options.format):
        if isinstance(item, str) or fault_of(item):
            yield source, item if isinstance(item, str) else fault_of(item), {}
        else:
            cell = _niggli(item) if options.cell == "niggli" else item
            yield source, from_ase(cell).replace(system={}), _carried(item)


def _molecules(files: Sequence[str], options: GeneratorOptions) -> Iterator[Said]:
    for entry in read_molecules(files, options.format):
        yield entry.source, entry.structures or entry.reason, entry.carried


READ: dict[Domain, Callable[[Sequence[str], GeneratorOptions], Iterator[Said]]] = {
    "crystal": _crystals,
    "molecule": _molecules,
}


def _left_out(
    faults: Sequence[str], good: int, options: GeneratorOptions, domain: Domain
) -> list[str]:
    if not faults:
        return []
    text = f"{len(faults)} of {good + len(faults)} entries are no {domain}s: {first_names(faults)}"
    if not (options.allow_missing and good):
        raise DataError(f"{text}. Repair them, or set allow_missing to leave them out.")
    return [f"Left out: {text}"]


def _niggli(atoms: Atoms) -> Atoms:
    """Return the same crystal in its Niggli-reduced cell, in the same orientation."""
    cell = niggli_cell(atoms.cell.array)
    if cell is None:  # it gives up on cells that are extremely flat
        return atoms
    return type(atoms)(atoms.numbers, positions=atoms.positions, cell=cell, pbc=True)


def _properties(
    carried: Sequence[Mapping[str, Any]],
    sources: Sequence[str],
    options: GeneratorOptions,
    domain: Domain,
) -> dict[str, torch.Tensor]:
    """Return each property [B], NaN where missing."""
    found = {}
    for name in options.properties:
        values = [_number(one, name, at) for one, at in zip(carried, sources, strict=True)]
        lacking = [s for s, value in zip(sources, values, strict=True) if value != value]
        if len(lacking) == len(values):
            raise ConfigError(
                f"No {domain} has the property {name!r}. There are: "
                f"{', '.join(_numeric(carried[0]))}."
            )
        if lacking and not options.allow_missing:
            raise DataError(
                f"{len(lacking)} of {len(values)} {domain}s have no {name}: "
                f"{first_names(lacking)}. Set allow_missing to learn from them without it."
            )
        found[name] = torch.tensor(values, dtype=torch.float64)
    return found


def _carried(atoms: Atoms) -> Mapping[str, Any]:
    return {**(atoms.calc.results if atoms.calc is not None else {}), **atoms.info}


def _number(carried: Mapping[str, Any], name: str, source: str) -> float:
    """Return the property of one structure.

    Raises:
        DataError: there is something else than a number.
    """
    value = carried.get(name, nan)
    if not isinstance(value, Real):
        raise DataError(f"Expected a number for {name} of {source}, got {value!r}.")
    return float(value)


def _numeric(carried: Mapping[str, Any]) -> list[str]:
    names = [name for name, value in carried.items() if isinstance(value, Real)]
    return sorted(names) or ["none"]


def _familiar(train: Examples, valid: Examples, domain: Domain) -> tuple[Examples, list[str]]:
    """Return the validation set without what no training can teach.

    Raises:
        ConfigError: nothing is left.
    """
    known, largest = train.structures.species.unique(), train.structures.n_atoms.max()
    strange = ~torch.isin(valid.structures.species, known)
    new = torch.zeros(len(valid), dtype=torch.bool)
    new[valid.structures.batch[strange]] = True
    kept = (~new & (valid.structures.n_atoms <= largest)).nonzero().flatten().tolist()
    if len(kept) == len(valid):
        return valid, []
    elements = format_species(valid.structures.species[strange].tolist())
    text = (
        f"{len(valid) - len(kept)} of {len(valid)} validation {domain}s are larger than any for "
        f"training or hold elements that these lack ({elements or 'none'})"
    )
    if not kept:
        raise ConfigError(f"{text}. Validate on {domain}s like those of train_file.")
    return valid.subset(kept), [f"Left out: {text}"]
