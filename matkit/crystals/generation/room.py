"""What generating needs to know of crystals; see `matkit.generate.domains.DomainRoom`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from ase import Atoms
from jaxtyping import Bool
from torch import Tensor

from matkit.crystals.evaluation import Note, evaluate_crystals
from matkit.crystals.generation.compositions import parse_elements
from matkit.crystals.generation.options import ATOMS, CrystalOptions
from matkit.crystals.generation.phases import SYMPREC, Findings, findings
from matkit.crystals.generation.realize import realize
from matkit.crystals.generation.requests import requests
from matkit.crystals.generation.results import archive, lines, rows, scores, sections
from matkit.crystals.generation.substitution import known_prototypes
from matkit.crystals.judging import space_group
from matkit.crystals.options import CrystalsOptions
from matkit.crystals.parallel import open_pool
from matkit.crystals.reading import Crystal, crystal_of, read_and_tell
from matkit.crystals.validity import CLOSEST, smallest_distance, smallest_self_distance
from matkit.data.ase import to_ase
from matkit.elements import SYMBOLS
from matkit.generate.batch import Batch
from matkit.generate.options import SEEDS
from matkit.interfaces import Blueprint, Generator
from matkit.runs.items import Item
from matkit.symmetry.groups import parse
from matkit.symmetry.groups import space_group as group_of

__all__ = ["archive", "lines", "realize", "requests", "rows", "scores", "sections"]

OPTIONS = CrystalOptions
NOUN = "crystal"
RELAX_CELL = True
WEIGHTLESS = {"prototypes": known_prototypes}
# Generators that take turns if none is named, and all of them where nothing says which elements
# there are.
USUAL = ("prototypes", "crystalflow-mp20")
OPEN = ("prototypes", "crystalflow-mp20", "wyformer-mp20")
# Those that can be told which elements must occur among others.
TOLD = ("wyformer-mp20",)
# A crystal that has grown to this many times its volume has come apart.
BURST = 3.0


def general(options: CrystalOptions) -> Sequence[str]:
    """Return the names of all generators that fit what is asked for."""
    if options.required_elements:
        return TOLD
    named = any(getattr(options, name) is not None for name in ATOMS)
    return USUAL if named else OPEN


def usual(options: CrystalOptions) -> Sequence[str]:
    """Return the names of those that are taken if none is named; none for the preferred one.

    Known prototypes hear nothing of properties.
    """
    if options.condition or options.optimize:
        return ()
    return TOLD if options.required_elements else USUAL


def fields(options: CrystalOptions, generator: Generator, count: int) -> dict[str, Any]:
    """Return the space group, and the elements if the generator can choose among some."""
    group = _group(options)
    found = {} if group is None else {"space_group": torch.full((count,), group)}
    if "elements" not in generator.inputs:
        return found
    system = options.chemical_system
    named = {
        "elements": system or options.elements,
        "required_elements": system or options.required_elements,
    }
    return found | {key: _table(text, count) for key, text in named.items() if text is not None}


def _table(text: str, count: int) -> Bool[Tensor, "B Z"]:
    table = torch.zeros(count, len(SYMBOLS), dtype=torch.bool)
    table[:, list(parse_elements(text))] = True
    return table


def is_symmetric(atoms: Atoms) -> bool:
    """Return whether a crystal was made from Wyckoff positions: relaxing keeps its group."""
    return "wyckoff" in atoms.arrays


def starts(atoms: Atoms, count: int) -> list[Atoms]:
    """Return places where the relaxation of a crystal starts: there, and others of its orbits."""
    if count == 1 or not is_symmetric(atoms):
        return [atoms]
    names = ("space_group", "conventional", "expected_volume")
    told = {name: torch.tensor([atoms.info[name]]) for name in names if name in atoms.info}
    blueprint = Blueprint(
        species=torch.from_numpy(atoms.numbers),
        n_atoms=torch.tensor([len(atoms)]),
        space_group=told.get("space_group"),
        conventional=told.get("conventional"),
        position=torch.from_numpy(atoms.arrays["wyckoff"]),
        system={name: value for name, value in told.items() if name == "expected_volume"},
    )
    first = int(atoms.info["seed"])
    seeds = [(first + trial * SEEDS) % (1 << 63) for trial in range(1, count)]
    others = [to_ase(realize(blueprint, torch.tensor([seed])))[0] for seed in seeds]
    for other in others:
        other.info = dict(atoms.info)
    return [atoms, *others]


def aim(options: CrystalOptions, item: Item) -> dict[str, int]:
    """Return which structure a crystal is to be like, and which attempt at it this is."""
    if options.like is None:
        return {}
    target, attempt = divmod(item.index, options.num_samples)
    return {"like": target, "attempt": attempt}


def fault(atoms: Atoms) -> str:
    """Return why a crystal is not worth relaxing, or nothing."""
    crystal = crystal_of(atoms, "")
    if crystal.structure is None:
        return crystal.reason
    closest = min(smallest_distance(crystal.structure), smallest_self_distance(crystal.structure))
    return f"atoms {closest:.2f} Å apart" if closest < CLOSEST else ""


def unlike(options: CrystalOptions, atoms: Atoms) -> str:
    """Return which space group a crystal has in the place of the one that is asked for."""
    wanted = _group(options)
    structure = None if wanted is None else crystal_of(atoms, "").structure
    if wanted is None or structure is None:
        return ""
    found = space_group(structure, SYMPREC)
    if found == wanted:
        return ""
    name = "none" if found is None else f"{group_of(found).symbol} ({found})"
    return f"its space group is {name}, not {group_of(wanted).symbol} ({wanted})"


def _group(options: CrystalOptions) -> int | None:
    return None if options.space_group is None else parse(options.space_group)


def damage(before: Atoms, after: Atoms) -> str:
    """Return whether a crystal came apart when it was relaxed."""
    return "it came apart" if after.get_volume() > BURST * before.get_volume() else ""


def read_known(paths: Sequence[str]) -> Sequence[Crystal]:
    """Return crystals that are not novel."""
    return read_and_tell(paths)


def judged(batch: Batch, known: Sequence[Crystal], options: CrystalOptions, note: Note) -> Findings:
    """Return all scores of the crystals as they were drawn, and the phases of relaxed ones."""
    entries = [crystal_of(atoms, f"crystal {batch.number(atoms)}") for atoms in batch.generated]
    sets: dict[str, Sequence[Crystal]] = {"generated": entries}
    if known:
        sets["known"] = known
    judging = CrystalsOptions(workers=options.workers, seed=options.seed)
    drawn = evaluate_crystals(sets, judging, note=note)
    with open_pool(options.workers, judging.timeout) as pool:
        return findings(batch, drawn, _group(options), pool)
