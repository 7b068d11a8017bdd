"""Descriptors of many structures, in batches."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from ase import Atoms
from ase.calculators.calculator import BaseCalculator

from matkit.calculator import MatkitCalculator
from matkit.conditions import refuse_ignored
from matkit.data.ase import from_ase
from matkit.data.pymatgen import as_atoms
from matkit.derivatives import ForceField
from matkit.descriptors.options import DescriptorsOptions
from matkit.errors import ConfigError, StructureError
from matkit.evaluator import predict
from matkit.options import resolve

if TYPE_CHECKING:
    from matkit.data.pymatgen import AnyStructure


def descriptors(
    structures: AnyStructure | list[AnyStructure] | tuple[AnyStructure, ...],
    calc: BaseCalculator | None = None,
    options: DescriptorsOptions | None = None,
    **changes: Any,
) -> list[np.ndarray]:
    """Return invariant descriptors, e.g. ``descriptors([atoms], calc, per="atom")``.

    They are what the network sees of each atom before it makes energies of it, do not change under
    rotations and translations, and depend on everything within the network's reach.

    Args:
        structures: One or more structures of ASE or pymatgen.
        calc: Calculator of matkit, of a committee its first member; the potential that comes with
            matkit if not given.
        options: See `DescriptorsOptions`.
        **changes: Single options by name.

    Returns:
        For each structure [F], the mean over its atoms, or [N, F] of each atom.

    Raises:
        ConfigError: an option is unknown or impossible, or the calculator has no descriptors.
        StructureError: a structure cannot be computed: an unknown element, a charge that the model
            does not take into account, ...
    """
    options = resolve(DescriptorsOptions, options, changes)
    given = structures if isinstance(structures, list | tuple) else [structures]
    frames = [as_atoms(structure) for structure in given]
    if calc is None:
        from matkit.models.zoo import load_calculator

        calc = load_calculator()
    model = network_of(calc)
    for i, atoms in enumerate(frames):
        if problem := unfit(atoms, calc):
            raise StructureError(f"Structure {i} ({atoms.symbols}): {problem}")
    return list(_computed(frames, model, options))


def network_of(calc: BaseCalculator) -> ForceField:
    """Return the network that gives descriptors.

    Raises:
        ConfigError: there is none.
    """
    members = calc.potentials if isinstance(calc, MatkitCalculator) else []
    if not members or "features" not in members[0].provides:
        raise ConfigError(
            f"Expected a model of matkit with atomic descriptors, got {type(calc).__name__}, which "
            "has none. Models that have: facet, nequip, hip."
        )
    model = members[0]
    assert isinstance(model, ForceField)
    return model


def unfit(atoms: Atoms, calc: BaseCalculator) -> str:
    """Return why a structure cannot be computed; empty if it can be."""
    model = network_of(calc)
    try:
        structure = from_ase(atoms)
        model.check_species(structure)
        if not calc.parameters["ignore_charge"]:
            refuse_ignored(structure, model.conditions)
    except StructureError as error:
        return str(error)
    return ""


def described(
    frames: Iterable[Atoms],
    calc: BaseCalculator,
    options: DescriptorsOptions,
    on_batch: Callable[[int], None] = lambda count: None,
) -> Iterator[tuple[Atoms, np.ndarray]]:
    """Give structures that are fit with their descriptors, a batch in memory at a time.

    Args:
        frames: Structures.
        calc: Calculator of matkit.
        options: How to describe.
        on_batch: Called with the number of structures done.
    """
    model, count = network_of(calc), 0
    for batch in _batches(frames, options.batch_atoms):
        yield from zip(batch, _computed(batch, model, options), strict=True)
        count += len(batch)
        on_batch(count)


def _batches(frames: Iterable[Atoms], most: int) -> Iterator[list[Atoms]]:
    batch: list[Atoms] = []
    for atoms in frames:
        if batch and sum(map(len, batch)) + len(atoms) > most:
            yield batch
            batch = []
        batch.append(atoms)
    if batch:
        yield batch


def _computed(
    frames: Sequence[Atoms], model: ForceField, options: DescriptorsOptions
) -> Iterator[np.ndarray]:
    if not frames:
        return
    found = predict(model, from_ase(frames), ("features",), batch_atoms=options.batch_atoms)
    ends = np.cumsum([len(atoms) for atoms in frames])[:-1]
    for values in np.split(found["features"].numpy(), ends):
        yield values if options.per == "atom" else values.mean(axis=0)
