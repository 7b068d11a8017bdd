"""Reference energies of the elements, E0: what is taken from total energies before learning."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from matkit.data.dataset import Dataset
from matkit.elements import ATOMIC_NUMBERS, SYMBOLS, format_species
from matkit.errors import DataError, UnknownNameError, did_you_mean

log = logging.getLogger(__name__)

# What `resolve_e0s` calls a way to get reference energies, and the names it goes by.
WAYS = {
    "isolated": "isolated",
    "isolatedatom": "isolated",
    "fit": "fit",
    "average": "fit",
    "estimated": "fit",
    "foundation": "foundation",
}
# Largest |E - sum of E0| in eV/atom; cohesive energies are below 10.
ABSURD = 50.0
LISTED = 5


@dataclass(frozen=True)
class ReferenceFit:
    """Reference energies fitted to total energies.

    Attributes:
        e0s: Energy in eV by atomic number.
        residuals: (E - sum of E0) / number of atoms [B] in eV/atom, NaN where there is no energy.
        determined: Whether the compositions determine every element; else these are the smallest
            energies that fit (minimum norm), and only their sums mean something.
    """

    e0s: dict[int, float]
    residuals: Tensor
    determined: bool


def fit_e0s(dataset: Dataset) -> dict[int, float]:
    """Return reference energies in eV by atomic number, fitted by least squares.

    Raises:
        DataError: no structure has an energy.
    """
    fit = fit_references(dataset, dataset.structures.system["energy"])
    if not fit.determined:
        log.warning(
            "The compositions do not determine the reference energies of %s one by one (the "
            "elements always come in the same proportions); took the smallest that fit.",
            format_species(fit.e0s),
        )
    return fit.e0s


def fit_references(dataset: Dataset, energies: Tensor) -> ReferenceFit:
    """Fit reference energies, E_b = sum over elements of n_bz E0_z, by least squares.

    Args:
        dataset: Structures.
        energies: Energies [B] in eV to fit, those of the structures or what a model lacks;
            structures with NaN are left out.

    Raises:
        DataError: every energy is NaN.
    """
    species, counts = compositions(dataset)
    known = energies.isfinite()
    if not bool(known.any()):
        raise DataError("Expected structures with energies to fit reference energies, got none.")
    present = counts[known].sum(dim=0) > 0
    matrix, target = counts[known][:, present], energies[known].unsqueeze(1)
    # gelsd: the solution of minimum norm where the rank is not full.
    solution = torch.linalg.lstsq(matrix, target, driver="gelsd")
    values = solution.solution[:, 0]
    e0s = dict(zip(species[present].tolist(), values.tolist(), strict=True))
    rest = (energies - counts[:, present] @ values) / dataset.structures.n_atoms
    return ReferenceFit(e0s, rest, int(solution.rank) == len(values))


def compositions(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """Return the atomic numbers [Z] of a data set and how often each structure has them [B, Z]."""
    structures = dataset.structures
    species, index = structures.species.unique(return_inverse=True)
    flat = structures.batch * len(species) + index
    counts = torch.bincount(flat, minlength=len(structures) * len(species))
    return species, counts.reshape(len(structures), len(species)).to(torch.float64)


def residuals(dataset: Dataset, e0s: Mapping[int, float]) -> Tensor:
    """Return (E - sum of E0) / number of atoms [B] in eV/atom; every element needs an E0."""
    species, counts = compositions(dataset)
    values = torch.tensor([e0s[z] for z in species.tolist()], dtype=torch.float64)
    return (dataset.structures.system["energy"] - counts @ values) / dataset.structures.n_atoms


def resolve_e0s(
    spec: str | Mapping[Any, Any], dataset: Dataset, foundation: Mapping[int, float] | None = None
) -> dict[int, float]:
    """Return the reference energy of every element of a data set.

    Args:
        spec: `isolated` (energies of isolated atoms in the data), `fit` (least squares),
            `foundation` (those of the model to start from), a table by symbol or atomic number,
            or the JSON file of one. MACE's `IsolatedAtom` means the first, its `average`
            and `estimated` the second.
        dataset: Structures with energies.
        foundation: Reference energies of the model to start from, if there is one.

    Raises:
        DataError: an element has no reference energy, or energies are absurdly far from the sum
            of the reference energies.
        UnknownNameError: `spec` is none of these, or has an unknown symbol.
    """
    e0s = _table(spec, dataset, foundation)
    present = set(dataset.structures.species.tolist())
    if missing := present - e0s.keys():
        raise DataError(
            f"No reference energy (E0) for {format_species(missing)}; there are "
            f"{format_species(e0s) or 'none'}, from {spec!r}. Add isolated atoms (config_type "
            "IsolatedAtom) or a table with all elements, or use `fit`."
        )
    _check_size(dataset, e0s)
    return {z: e0s[z] for z in sorted(present)}


def _table(
    spec: str | Mapping[Any, Any], dataset: Dataset, foundation: Mapping[int, float] | None
) -> dict[int, float]:
    if not isinstance(spec, str):
        return parse_e0s(spec)
    way = WAYS.get(spec.lower())
    if way == "fit":
        return fit_e0s(dataset)
    if way == "isolated":
        return dataset.isolated()
    if way == "foundation":
        if foundation is None:
            raise DataError("E0s of a foundation model were asked for, but there is no such model.")
        return dict(foundation)
    return parse_e0s(_parse(spec))


def parse_e0s(table: Mapping[Any, Any]) -> dict[int, float]:
    """Return reference energies by atomic number from a table by symbol or atomic number.

    Raises:
        DataError: a value is not a number.
        UnknownNameError: a key is neither a symbol nor an atomic number.
    """
    parsed = {}
    for key, value in table.items():
        number = ATOMIC_NUMBERS.get(str(key), int(key) if str(key).isdigit() else 0)
        if not 0 < number < len(SYMBOLS):
            raise UnknownNameError(f"{key!r} in the reference energies is not an element.")
        if not isinstance(value, int | float):
            raise DataError(f"Expected the E0 of {key} in eV, got {value!r}.")
        parsed[number] = float(value)
    return parsed


def _parse(spec: str) -> Mapping[Any, Any]:
    """Return the table in a text or a JSON file."""
    is_text = spec.lstrip().startswith("{")
    if not is_text and not Path(spec).is_file():
        raise UnknownNameError(f"Unknown E0s {spec!r}, and no such file.{did_you_mean(spec, WAYS)}")
    text = spec if is_text else Path(spec).read_text(encoding="utf-8")
    try:
        # MACE's tables are Python's: {1: -13.6}.
        table = ast.literal_eval(text) if is_text else json.loads(text)
    except (ValueError, SyntaxError) as error:
        raise DataError(f"Cannot read the reference energies {spec!r}: {error}") from error
    if not isinstance(table, dict):
        raise DataError(f"Expected a table of reference energies by element, got {table!r}.")
    return table


def _check_size(dataset: Dataset, e0s: Mapping[int, float]) -> None:
    rest = residuals(dataset, e0s)
    bad = (rest.abs() > ABSURD).nonzero().flatten().tolist()
    if bad:
        named = ", ".join(f"{dataset.sources[i]}: {rest[i]:.1f}" for i in bad[:LISTED])
        raise DataError(
            f"{len(bad)} of {len(dataset)} energies are more than {ABSURD:.0f} eV/atom away from "
            f"the sum of the reference energies ({named}; eV/atom). The E0s belong to another "
            "level of theory, or the energies have another unit. `fit` takes them from the data."
        )
