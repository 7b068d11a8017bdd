"""Molecules from SMILES for Hessian labels: relaxed, displaced, and on the way to others."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial

import numpy as np
from ase import Atoms

from matkit.builders.conformers import (
    Bonds,
    bonds_of,
    embedded,
    is_intact,
    open_bonds,
    stretched,
    thermal,
    turned,
)
from matkit.builders.geometry import Random, displaced, drawn, tagged
from matkit.builders.options import MoleculesOptions
from matkit.builders.paths import ReactionPath, paths
from matkit.builders.running import Built, build
from matkit.builders.smiles import PARTS, choose, part_of, rdkit
from matkit.errors import ConfigError
from matkit.hessians.differences import symmetrised
from matkit.hessians.modes import normal_modes
from matkit.label.engines import EngineSpec, load_engine
from matkit.label.labels import Engine
from matkit.label.options import STEP
from matkit.runs.items import Item, ItemResult, failed
from matkit.runs.schedule import OnProgress
from matkit.simulate import relax

Draw = Callable[[], Atoms]


def build_molecules(
    options: MoleculesOptions, on_progress: OnProgress | None = None
) -> dict[str, Built]:
    """Write geometries of molecules in two parts that share no scaffold, or go on with it.

    Every frame has its kind as `config_type`, the scaffold as `group` and the SMILES as `parent`
    and `smiles`; those of kind ``path`` are between the parent and the SMILES `product`, of the
    same atoms.

    Args:
        options: Files, and how much of each kind. See `MoleculesOptions`.
        on_progress: Called after every molecule.

    Returns:
        What was made of each part: ``train`` and ``held-out``.

    Raises:
        ConfigError: no file or folder is named, or what is there was made otherwise.
        DataError: a file is missing, or is not what it was at the beginning.
        MissingExtraError: RDKit, or what the calculator needs, is not installed.
    """
    if not options.struct:
        raise ConfigError("Expected files of SMILES, got none: matkit data molecules FILES... OUT")
    rdkit(), _engine(options)  # what is missing is said before the work
    parts: dict[str, list[Item]] = {part: [] for part in PARTS}
    for part, item in _items(options):
        parts[part].append(item)
    work = partial(build_items, options)
    return {
        part: build(part, lambda items=items: iter(items), work, options, on_progress)  # type: ignore[misc]
        for part, items in parts.items()
    }


def _items(options: MoleculesOptions) -> Iterator[tuple[str, Item]]:
    for index, (entry, smiles, scaffold) in enumerate(choose(options)):
        yield part_of(scaffold, options), Item(index, entry.source, (smiles, scaffold))


def _engine(options: MoleculesOptions) -> Engine:
    return load_engine(EngineSpec(options.calculator, "{}", "cpu", "float64", 512))


def build_items(options: MoleculesOptions, items: Sequence[Item]) -> list[ItemResult]:
    """Return the geometries of every molecule."""
    return [_outcome(options, item) for item in items]


def _outcome(options: MoleculesOptions, item: Item) -> ItemResult:
    rng = np.random.default_rng([options.seed, item.index])
    smiles, scaffold = item.content
    try:
        molecule, start = embedded(smiles, int(rng.integers(2**31)))
        relaxed = _relaxed(start, bonds_of(molecule), options)
        geometries = list(_geometries(molecule, relaxed, options, rng))
        found = paths(molecule, relaxed, _engine(options), options, rng.spawn(1)[0])
    except Exception as error:  # RDKit and calculators raise anything
        return failed(item, error)
    made = ((kind, drawn(draw, options.closest)) for kind, draw in geometries)
    frames = [tagged(atoms, kind, scaffold, smiles) for kind, atoms in made if atoms is not None]
    frames = [tagged(relaxed, "relaxed", scaffold, smiles), *frames]
    for path in found:
        for atoms in _images(path, options, rng):
            frames.append(tagged(atoms, "path", scaffold, smiles))
            frames[-1].info["product"] = path.product
    for atoms in frames:
        atoms.info["smiles"] = smiles  # which `train --split-by scaffold` reads
    facts = {"paths": len(found)} if options.paths else {}
    return ItemResult(item, "done", tuple(frames), facts=facts)


def _images(path: ReactionPath, options: MoleculesOptions, rng: Random) -> Iterator[Atoms]:
    """Give the images of a path, displaced a little."""
    for image in path.images:
        atoms = drawn(partial(displaced, image, options.jiggle, rng), options.closest)
        if atoms is not None:
            yield atoms


def _relaxed(start: Atoms, bonds: Bonds, options: MoleculesOptions) -> Atoms:
    """Return the relaxed molecule.

    Raises:
        ValueError: the relaxation did not end, or broke a bond.
    """
    calc = _engine(options).calculator(start)
    result = relax(start, calc, optimizer="BFGS", fmax=options.fmax, steps=options.steps)
    if not result.converged:
        raise ValueError(f"the relaxation ended with {result.reason} {result.message}")
    if not is_intact(result.atoms, bonds):
        raise ValueError("the relaxation broke a bond")
    return Atoms(start.numbers, result.atoms.positions, info=start.info)


def _geometries(
    molecule: object, relaxed: Atoms, options: MoleculesOptions, rng: Random
) -> Iterator[tuple[str, Draw]]:
    """Give the kind of every geometry but the relaxed one, and a function that draws one."""
    for amplitude in options.rattle:
        yield f"rattled-{amplitude:g}", partial(displaced, relaxed, amplitude, rng)
    if options.temperatures and len(relaxed) > 1:
        hessian, _, _ = symmetrised(_engine(options).difference_hessian(relaxed, STEP))
        modes = normal_modes(relaxed, hessian)
        for temperature in options.temperatures:
            yield f"thermal-{temperature:g}", partial(thermal, relaxed, modes, temperature, rng)
    single, turning = open_bonds(molecule)
    bonds = bonds_of(molecule)

    def jiggled(atoms: Atoms) -> Atoms:
        return displaced(atoms, options.jiggle, rng)

    for _ in range(options.torsions if turning else 0):
        yield (
            "torsion",
            lambda: jiggled(
                turned(relaxed, bonds, _one_of(turning, rng), float(rng.uniform(0, 360)))
            ),
        )
    for _ in range(options.stretches if single else 0):
        yield (
            "stretched",
            lambda: jiggled(
                stretched(
                    relaxed, bonds, _one_of(single, rng), float(rng.uniform(0, options.max_stretch))
                )
            ),
        )


def _one_of(bonds: Bonds, rng: Random) -> tuple[int, int]:
    return bonds[int(rng.integers(len(bonds)))]
