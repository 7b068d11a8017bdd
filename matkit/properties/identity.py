"""Which structures are the same, or of one family, so that they may not be on both sides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from matkit.builders.smiles import rdkit, scaffold
from matkit.data.groups import reduced_formula
from matkit.errors import ConfigError
from matkit.neighbors import radius_graph
from matkit.nn.scatter import scatter_sum
from matkit.properties.entries import PropertyEntries
from matkit.structures import Structures

# Å, of the neighbours that tell crystals apart, and structures that are looked at together.
REACH, TOGETHER = 6.0, 512
# Numbers that agree within this are equal.
RESOLUTION = 1e-3


def molecule_names(entries: PropertyEntries) -> list[str]:
    """Return what the same molecule or crystal shares: its SMILES, or its geometry."""
    lacking = [i for i, smiles in enumerate(entries.smiles) if not smiles]
    names = list(entries.smiles)
    if lacking:
        keys = geometry_keys(entries.structures.index(lacking))
        for i, key in zip(lacking, keys, strict=True):
            names[i] = key
    return names


def identities(entries: PropertyEntries) -> list[str]:
    """Return what structures share that no network can tell apart."""
    keys = geometry_keys(entries.structures)
    return [f"{smiles} {key}" for smiles, key in zip(entries.smiles, keys, strict=True)]


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


def shared(first: Sequence[str], second: Iterable[str]) -> list[tuple[int, int]]:
    """Return pairs (i, j) where name j of `second` is name i of `first`, each j at most once."""
    known = {name: i for i, name in enumerate(first)}
    return [(known[name], j) for j, name in enumerate(second) if name in known]


def geometry_keys(structures: Structures) -> list[str]:
    """Return a text for each structure that does not change when it turns or its atoms are sorted.

    It holds the composition, and sums of distances weighted by the elements.
    """
    parts = [
        _moments(structures.index(range(first, min(first + TOGETHER, len(structures)))))
        for first in range(0, len(structures), TOGETHER)
    ]
    moments = (torch.cat(parts) / RESOLUTION).round().long().tolist()
    species, offsets = structures.species.numpy(), structures.offsets.tolist()
    return [
        f"{np.sort(species[a:b]).astype(np.uint8).tobytes().hex()} {row}"
        for (a, b), row in zip(pairwise(offsets), moments, strict=True)
    ]


def _moments(part: Structures) -> Float[Tensor, "B K"]:
    """Return sums over atoms of what surrounds them, by the root of their number, and the volume.

    One atom that has moved must show among many, and small random moves of all of them may not
    cancel: so there are several sums, not means, of unlike functions.
    """
    weights = 0.5 + part.species * 0.6180339887 % 1.0
    if bool(part.pbc.any()):
        graph = radius_graph(part, REACH)
        near = (1 - graph.vectors.norm(dim=1) / REACH) ** 2 * weights[graph.neighbor]
        here = scatter_sum(near, graph.center, len(part.species))
    else:  # all pairs, by moments about the centre
        count = part.n_atoms.unsqueeze(1)
        centers = scatter_sum(part.positions, part.batch, len(part)) / count
        here = (part.positions - centers[part.batch]).norm(dim=1)
    waves = [(k * here).sin() for k in (1.3, 2.9, 4.7)]
    rows = [here, here * weights, here**2 * weights, *waves, *(w * weights for w in waves)]
    sums = scatter_sum(torch.stack(rows, dim=1), part.batch, len(part))
    count = part.n_atoms.unsqueeze(1)
    return torch.cat([sums / count.sqrt(), part.volume.unsqueeze(1) / count], dim=1)
