"""Which structures are the same, or of one family, so that they may not be on both sides."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

from matkit.builders.smiles import rdkit, scaffold
from matkit.data.duplicates import equal_structures
from matkit.data.groups import reduced_formula
from matkit.errors import ConfigError
from matkit.properties.entries import PropertyEntries
from matkit.structures import Structures


def molecule_names(entries: PropertyEntries) -> list[str]:
    """Return what the same molecule or crystal shares within these: its SMILES, or a number."""
    firsts = first_equals(entries.structures, _nameless(entries))
    return [smiles or str(i) for smiles, i in zip(entries.smiles, firsts, strict=True)]


def identities(entries: PropertyEntries) -> list[str]:
    """Return what structures share within these that no network can tell apart."""
    counts = Counter(entries.smiles)
    several = [i for i, smiles in enumerate(entries.smiles) if counts[smiles] > 1]
    firsts = first_equals(entries.structures, several)
    return [f"{smiles} {i}" for smiles, i in zip(entries.smiles, firsts, strict=True)]


def families(entries: PropertyEntries, by: str) -> list[str]:
    """Return the group of each structure.

    Args:
        entries: Structures.
        by: `group` (the SMILES, or the reduced formula where there is none), `formula`, `scaffold`
            (Murcko's) or `random`, which groups nothing but the same structures.

    Raises:
        ConfigError: scaffolds are asked for, and a structure has no SMILES.
    """
    if by == "random":
        return molecule_names(entries)
    if by == "scaffold":
        return scaffolds(entries)
    formulas = formulas_of(entries.structures)
    if by == "formula":
        return formulas
    return [smiles or name for smiles, name in zip(entries.smiles, formulas, strict=True)]


def scaffolds(entries: PropertyEntries) -> list[str]:
    """Return the Murcko scaffold of each molecule.

    Raises:
        ConfigError: a structure has no SMILES.
    """
    for source, smiles in zip(entries.sources, entries.smiles, strict=True):
        if not smiles:
            raise ConfigError(
                f"Expected SMILES to find scaffolds, got none of {source}. Split by formula, group "
                "or random instead."
            )
    return [scaffold(rdkit().MolFromSmiles(smiles)) for smiles in entries.smiles]


def formulas_of(structures: Structures) -> list[str]:
    """Return the reduced formula of each structure."""
    species = structures.species.numpy()
    return [reduced_formula(species[a:b]) for a, b in pairwise(structures.offsets.tolist())]


def shared_structures(first: PropertyEntries, second: PropertyEntries) -> list[tuple[int, int]]:
    """Return pairs (i, j) where structure j of `second` is structure i of `first`."""
    pairs = [(i, j) for i, j in shared(first.smiles, second.smiles) if second.smiles[j]]
    ours, theirs = _nameless(first), _nameless(second)
    if ours and theirs:
        equal = equal_structures(first.structures.index(ours), second.structures.index(theirs))
        pairs += [(ours[i], theirs[j]) for i, j in equal]
    return sorted(pairs, key=lambda pair: pair[1])


def _nameless(entries: PropertyEntries) -> list[int]:
    return [i for i, smiles in enumerate(entries.smiles) if not smiles]


def first_equals(structures: Structures, which: Sequence[int]) -> list[int]:
    """Return of each structure the number of the first that it equals.

    Args:
        structures: Structures.
        which: Those that are compared; the others equal none.
    """
    firsts = list(range(len(structures)))
    for i, j in equal_structures(structures.index(which)) if which else []:
        firsts[which[j]] = firsts[which[i]]
    return firsts


def shared(first: Sequence[str], second: Iterable[str]) -> list[tuple[int, int]]:
    """Return pairs (i, j) where name j of `second` is name i of `first`, each j at most once."""
    known = {name: i for i, name in enumerate(first)}
    return [(known[name], j) for j, name in enumerate(second) if name in known]
