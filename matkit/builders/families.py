"""Perturbed crystals for distillation: one command, from seeds, with provenance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import count

import numpy as np
from ase import Atoms

from matkit.builders.crystals import Make, perturbations, responses
from matkit.builders.geometry import Random, drawn, tagged
from matkit.builders.options import PerturbOptions
from matkit.builders.running import Built, build
from matkit.data.groups import group_of
from matkit.data.response_pairs import KIND as RESPONSE
from matkit.elements import SYMBOLS, atomic_number
from matkit.errors import ConfigError
from matkit.label.engines import EngineSpec, load_engine
from matkit.label.entries import entries
from matkit.runs.items import Item, ItemResult, failed
from matkit.runs.schedule import OnProgress
from matkit.simulate import md

# Shortest and longest distance of dimers, Å.
NEAR, FAR = 0.5, 6.0
STEM = "perturbed"


def perturb(options: PerturbOptions, on_progress: OnProgress | None = None) -> Built:
    """Write perturbed structures of all crystals, or go on with it.

    Every frame has the kind of perturbation as `config_type`, its crystal as `parent`, and as
    `group` what a split must keep together: group or material id of the crystal, else its formula.

    Args:
        options: Files, and how much of each kind. See `PerturbOptions`.
        on_progress: Called after every crystal.

    Raises:
        ConfigError: no file or folder is named, or what is there was made otherwise.
        DataError: a file is missing, or is not what it was at the beginning.
        UnknownNameError: a partner of the dimers is no element.
    """
    if not options.struct:
        raise ConfigError("Expected files of crystals, got none: matkit data perturb FILES... OUT")
    partners = sorted(atomic_number(symbol) for symbol in options.dimers)
    elements = _elements(options.struct)
    work = partial(perturb_items, options, elements)
    return build(STEM, lambda: _items(options, elements, partners), work, options, on_progress)


def _elements(paths: Sequence[str]) -> tuple[int, ...]:
    """Return the atomic numbers of all structures."""
    crystals = (item.content for item in entries(paths) if item.content is not None)
    return tuple(sorted({int(z) for atoms in crystals for z in np.unique(atoms.numbers)}))


def _items(
    options: PerturbOptions, elements: Sequence[int], partners: Sequence[int]
) -> Iterator[Item]:
    """Give crystals, then pairs of elements, then single ones, as (z, z, ...)."""
    last = -1
    for item in entries(options.struct):
        last = item.index
        yield item
    number = count(last + 1)
    pairs = {(min(a, b), max(a, b)) for a in elements for b in (a, *partners)}
    for pair in sorted(pairs) if options.dimer_points else []:
        yield Item(next(number), "-".join(SYMBOLS[z] for z in pair), pair)
    for z in elements if options.isolated else []:
        yield Item(next(number), SYMBOLS[z], (z,))


def perturb_items(
    options: PerturbOptions, elements: tuple[int, ...], items: Sequence[Item]
) -> list[ItemResult]:
    """Return the structures made of every item."""
    return [_outcome(options, elements, item) for item in items]


def _outcome(options: PerturbOptions, elements: tuple[int, ...], item: Item) -> ItemResult:
    if item.content is None:
        return failed(item, item.reason)
    rng = np.random.default_rng([options.seed, item.index])
    if not isinstance(item.content, Atoms):
        return ItemResult(item, "done", tuple(_small(item, options.dimer_points, rng)))
    if not (item.content.pbc.all() and item.content.cell.rank == 3):
        return failed(item, "expected a crystal, periodic along three lattice vectors")
    if len(item.content) > options.max_atoms:
        return ItemResult(item, "rejected", reason=f"more than {options.max_atoms} atoms")
    frames, skipped = _family(options, elements, item, rng)
    return ItemResult(item, "done", tuple(frames), facts={"skipped": skipped})


def _small(item: Item, points: int, rng: Random) -> Iterator[Atoms]:
    """Give an isolated atom, or a dimer at distances that are dense where it is short."""
    if len(item.content) == 1:
        yield tagged(Atoms(item.content), "IsolatedAtom", item.source, item.source)
        return
    edges = np.geomspace(NEAR, FAR, points + 1)
    for distance in rng.uniform(edges[:-1], edges[1:]):
        dimer = Atoms(item.content, [(0, 0, 0), (0, 0, distance)])
        yield tagged(dimer, "dimer", item.source, item.source)


def _family(
    options: PerturbOptions, elements: tuple[int, ...], item: Item, rng: Random
) -> tuple[list[Atoms], dict[str, str]]:
    """Return all structures of a crystal, and why some kinds could not be made of it."""
    atoms, group = item.content, group_of(item.content, None)
    skipped: dict[str, str] = {}
    frames = [tagged(atoms, "relaxed", group, item.source)]
    for kind, make in perturbations(atoms, elements, options, rng):
        made = _made(make, options, kind, skipped)
        if made is not None:
            frames.append(tagged(made, kind, group, item.source))
    frames += [tagged(one, RESPONSE, group, item.source) for one in responses(atoms, options, rng)]
    for kind, snapshot in _dynamics(options, atoms, rng):
        frames.append(tagged(snapshot, kind, group, item.source))
    return frames, skipped


def _made(make: Make, options: PerturbOptions, kind: str, skipped: dict[str, str]) -> Atoms | None:
    try:
        made = drawn(make, options.closest)
    except Exception as error:  # pymatgen raises anything
        skipped[kind] = f"{type(error).__name__}: {error}"
        return None
    if made is None:
        skipped[kind] = "atoms too close in every draw"
    elif len(made) > options.max_atoms:
        skipped[kind] = f"more than {options.max_atoms} atoms"
        return None
    return made


def _dynamics(options: PerturbOptions, atoms: Atoms, rng: Random) -> Iterator[tuple[str, Atoms]]:
    """Give snapshots of molecular dynamics, as far as it runs well."""
    if options.model is None:
        return
    calc = load_engine(EngineSpec(options.model, "{}", "auto", "float32", 1)).calculator(atoms)
    for temperature in options.temperatures:
        state = atoms
        for _ in range(options.snapshots):
            seed = int(rng.integers(2**31))
            result = md(state, calc, steps=options.md_steps, temperature=temperature, seed=seed)
            if result.reason != "done":
                break
            state = result.atoms
            yield f"md-{temperature:g}", state
