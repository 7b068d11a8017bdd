"""The structures that properties are learnt from: read, judged and split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from matkit.data.splitting import remarks_on, split_groups
from matkit.elements import format_species
from matkit.errors import ConfigError, DataError, TrainingError
from matkit.interfaces.property_model import Target
from matkit.listing import first_names
from matkit.properties.checks import (
    contradictions,
    refuse_constants,
    refuse_gaps,
    remarks_on_kinds,
)
from matkit.properties.columns import targets_in, values_of
from matkit.properties.entries import PropertyEntries
from matkit.properties.identity import (
    families,
    formulas_of,
    identities,
    shared,
    shared_structures,
)
from matkit.properties.reading import read_property_entries
from matkit.structures import Structures
from matkit.train.property_options import PropertyOptions
from matkit.train.sets import UNVALIDATED


@dataclass(frozen=True)
class PropertySets:
    """Structures with ``system["targets"]`` [B, W], and what happened to them.

    Attributes:
        train: To learn from.
        valid: To choose the best epoch.
        test: To look at in the end, if any.
        targets: What is learnt.
        sources: Where the training structures come from.
        notes: What is to be said of the data.
        validated: Whether `valid` is kept from training; else it is the training set itself.
    """

    train: Structures
    valid: Structures
    test: Structures | None
    targets: tuple[Target, ...]
    sources: tuple[str, ...]
    notes: tuple[str, ...]
    validated: bool = True


def read_property_sets(options: PropertyOptions) -> PropertySets:
    """Read the files of the options.

    Raises:
        ConfigError: no file or target is named, or there is no such column.
        DataError: values are missing, constant or contradictory, and that is not allowed.
        TrainingError: sets share structures, and that is not allowed.
    """
    if not options.train_file:
        raise ConfigError("Expected files to learn from, got none. Name them: --train-file FILE")
    read = _read(options.train_file, options)
    targets = targets_in(options.target, read.columns, read.sources)
    both = _labelled(read, targets)
    notes = _judge(both, targets, options, "training")
    refuse_constants(targets, both.structures.system["targets"])
    train, valid = _split(both, targets, options, notes)
    test = None
    if options.test_file:
        test = _labelled(_read(options.test_file, options), targets)
        notes += _judge(test, targets, options, "test")
    valid = _checked(train, valid, "validation", options, notes)
    test = _checked(train, test, "test", options, notes)
    learnt = train.structures
    notes += remarks_on_kinds(targets, learnt.system["targets"], learnt)
    return PropertySets(
        _numbered(train),
        _numbered(valid or train),
        None if test is None else _numbered(test),
        targets,
        train.sources,
        tuple(notes),
        valid is not None,
    )


def _read(files: list[str], options: PropertyOptions) -> PropertyEntries:
    return read_property_entries(files, options.conformers, options.table, options.format)


def _labelled(entries: PropertyEntries, targets: Sequence[Target]) -> PropertyEntries:
    """Return structures with their targets as a field, NaN where missing."""
    values = values_of(targets, entries.columns, entries.sources)
    structures = entries.structures.replace(system={**entries.structures.system, "targets": values})
    return replace(entries, structures=structures, columns={})


def _numbered(entries: PropertyEntries) -> Structures:
    """Return the structures with their number in the set, for messages."""
    fields = {**entries.structures.system, "index": torch.arange(len(entries))}
    return entries.structures.replace(system=fields)


def _split(
    both: PropertyEntries,
    targets: Sequence[Target],
    options: PropertyOptions,
    notes: list[str],
) -> tuple[PropertyEntries, PropertyEntries | None]:
    if options.valid_file:
        valid = _labelled(_read(options.valid_file, options), targets)
        notes += _judge(valid, targets, options, "validation")
        return both, valid
    if not options.valid_fraction:
        notes.append(UNVALIDATED)
        return both, None
    names = families(both, options.split_by)
    fractions = (1 - options.valid_fraction, options.valid_fraction)
    parts = split_groups(names, range(len(both)), fractions, options.seed)
    notes.append(f"{len(parts[1])} of {len(both)} structures kept for validation")
    return both.subset(parts[0]), both.subset(parts[1])


def _judge(
    entries: PropertyEntries, targets: Sequence[Target], options: PropertyOptions, name: str
) -> list[str]:
    """Refuse what cannot be learnt from; return what is to be said about the rest."""
    notes = []
    if entries.faults:
        text = f"{len(entries.faults)} entries of the {name} set are no structures: "
        text += first_names(entries.faults)
        if len(entries.faults) > 0.01 * len(entries) and not options.allow_missing:
            raise DataError(f"{text}. Repair them, or set allow_missing to leave them out.")
        notes.append(f"Left out: {text}")
    values = entries.structures.system["targets"]
    notes += refuse_gaps(targets, values, entries.sources, options.allow_missing)
    twice = contradictions(identities(entries), targets, values, entries.sources)
    if twice and name == "training" and not options.allow_problems:
        raise DataError(
            f"{' '.join(twice)} Correct or remove them, or set allow_problems to learn from them "
            "all."
        )
    return [*notes, *(f"In the {name} set {text}" for text in twice)]


def _checked(
    train: PropertyEntries,
    other: PropertyEntries | None,
    name: str,
    options: PropertyOptions,
    notes: list[str],
) -> PropertyEntries | None:
    """Return a set that shares nothing with the training set, without elements that this lacks."""
    if other is None:
        return None
    notes += _refuse_leakage(train, other, options, name)
    structures = other.structures
    strange = ~torch.isin(structures.species, train.structures.species.unique())
    out = set(structures.batch[strange].tolist())
    if out:
        text = (
            f"{len(out)} of {len(other)} {name} structures hold elements that the training set "
            f"lacks ({format_species(set(structures.species[strange].tolist()))})"
        )
        if len(out) == len(other):
            raise ConfigError(f"{text}. Take structures like those of train_file.")
        notes.append(f"Left out: {text}")
        other = other.subset([i for i in range(len(other)) if i not in out])
    notes += remarks_on({name: len(other)})
    return other


def _refuse_leakage(
    train: PropertyEntries, other: PropertyEntries, options: PropertyOptions, name: str
) -> list[str]:
    """Refuse sets that share structures, or what `split_by` keeps apart."""
    same = shared_structures(train, other)
    kind = "structures"
    if not same and options.split_by in ("formula", "scaffold"):
        kind = f"structures, by their {options.split_by}s,"
        same = shared(families(train, options.split_by), families(other, options.split_by))
    if same and not options.allow_leakage:
        raise TrainingError(
            f"{len(same)} {kind} of the {name} set are in the training set too: "
            f"{first_names(f'{other.sources[j]} = {train.sources[i]}' for i, j in same)}. Take "
            "them out of one, or say allow_leakage."
        )
    alike = shared(formulas_of(train.structures), formulas_of(other.structures))
    said = f"{len(alike)} of {len(other)} {name} structures have the formula of a training one."
    return [said] if alike else []
