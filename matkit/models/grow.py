"""A network that knows more elements than before, and is unchanged for those it knew."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from math import sqrt

import torch
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import TrainingError
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.nn.embedding import SpeciesEmbedding, SpeciesScale
from matkit.nn.equivariant import Linear
from matkit.nn.references import References
from matkit.structures import Structures


def extended(network: Potential, new: Sequence[int]) -> tuple[Potential, dict[int, int]]:
    """Return a copy of a network that knows further elements.

    Rows of a new element are those of the chemically nearest element it knew.

    Args:
        network: Network made by `matkit.models.checkpoint.build`.
        new: Atomic numbers it does not know.

    Returns:
        The larger network, and the model of each new element.

    Raises:
        TrainingError: its recipe is unknown, or a parameter depends on the number of species in
            a way that is not understood.
    """
    if network.recipe is None:
        raise TrainingError("Only models from model files or by name can learn new elements.")
    name, hyperparameters = network.recipe
    old = list(network.species)
    parents = {z: nearest_element(z, old) for z in new}
    rows = [*range(len(old)), *(old.index(parents[z]) for z in new)]
    larger = checkpoint.build(name, {**hyperparameters, "species": [*old, *new]})
    larger = larger.to(network.dtype)
    with torch.no_grad():
        _copy(network, larger, rows)
    _check(network, larger)
    return larger, parents


def nearest_element(z: int, known: Sequence[int]) -> int:
    """Return the element most like `z`: same group if there is one, else near in the table.

    The distance counts groups, periods, electronegativity (Pauling) and atomic radius.
    """
    return min(known, key=lambda other: (_distance(z, other), other))


def _distance(a: int, b: int) -> float:
    first, second = _traits(a), _traits(b)
    return sum(abs(x - y) for x, y in zip(first, second, strict=True))


def _traits(z: int) -> tuple[float, ...]:
    from ase.data import covalent_radii
    from pymatgen.core import Element

    element = Element.from_Z(z)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noble gases have none
        negativity = element.X if element.X == element.X else 0.0
    return element.group / 1.0, element.row / 2.0, 2.0 * negativity, 2.0 * covalent_radii[z]


def _copy(network: Potential, larger: Potential, rows: list[int]) -> None:
    """Fill the larger network; what is normalised by the number of species keeps its effect."""
    n_old, n_new = len(network.species), len(larger.species)
    for (name, old), new in zip(network.named_modules(), larger.modules(), strict=True):
        kept = {
            **dict(old.named_parameters(recurse=False)),
            **dict(old.named_buffers(recurse=False)),
        }
        filled = {
            **dict(new.named_parameters(recurse=False)),
            **dict(new.named_buffers(recurse=False)),
        }
        parent = larger.get_submodule(name.rpartition(".")[0]) if "." in name else larger
        for key, tensor in kept.items():
            target = filled[key]
            if tensor.shape == target.shape:
                target.copy_(tensor)
            elif key != "table":  # the map from atomic numbers to rows is made anew
                target.copy_(tensor[rows] * _factor(new, parent, n_old, n_new))


def _factor(module: nn.Module, parent: nn.Module, n_old: int, n_new: int) -> float:
    """Return by how much a row grows so that its effect stays the same."""
    if isinstance(module, SpeciesEmbedding) or isinstance(parent, Linear):
        return sqrt(n_new / n_old)
    if isinstance(module, References) or isinstance(parent, SpeciesScale):
        return 1.0
    raise TrainingError(
        f"{type(module).__name__} depends on the number of species in a way that matkit cannot "
        "extend to new elements."
    )


def _check(network: Potential, larger: Potential) -> None:
    """Compare the two on elements that both know."""
    species = torch.tensor(list(network.species)[:4])
    n = len(species)
    grid = torch.arange(n, dtype=torch.float64)
    positions = torch.stack([1.9 * grid, 0.3 * grid.square(), torch.zeros(n).double()], dim=1)
    structures = Structures(
        positions=positions,
        species=species,
        cell=torch.zeros(1, 3, 3, dtype=torch.float64),
        pbc=torch.zeros(1, 3, dtype=torch.bool),
        n_atoms=torch.tensor([n]),
    )
    with torch.no_grad():
        before, after = (_energies(model, structures) for model in (network, larger))
    if not torch.allclose(before, after, rtol=1e-5, atol=1e-5):
        raise TrainingError(
            f"Adding elements changed the energies of {format_species(species.tolist())}; this "
            "architecture cannot be extended."
        )


def _energies(network: Potential, structures: Structures) -> Tensor:
    return network(network.featurize(structures))["atom_energy"]
