"""Networks that know more elements or have more parts, and predict what they did before."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any, overload

import torch
from torch import Tensor, nn

from matkit.elements import SYMBOLS, format_species
from matkit.errors import ConfigError, TrainingError
from matkit.interfaces import Potential
from matkit.models import checkpoint
from matkit.models.building import Model, model_class
from matkit.models.compare import largest_change
from matkit.nn.contraction import SymmetricContraction
from matkit.nn.embedding import SpeciesEmbedding, SpeciesScale
from matkit.nn.equivariant import Linear
from matkit.nn.gaunt import GauntContraction
from matkit.nn.references import References
from matkit.structures import Structures

# Largest change of energies per atom (eV), forces (eV/Å) and Hessians (eV/Å²) that is rounding.
LIMIT = 1e-5


@dataclass(frozen=True)
class Growth:
    """A network that has grown.

    Attributes:
        network: The larger network.
        models: The element that each further one begins as.
        change: Largest change of what was predicted before, see `largest_change`.
        parameters: Number of them before and after.
    """

    network: Potential
    models: dict[int, int]
    change: float
    parameters: tuple[int, int]

    def text(self) -> str:
        """Return what a user of the model should know."""
        begins = ", ".join(f"{SYMBOLS[z]} as {SYMBOLS[model]}" for z, model in self.models.items())
        elements = f"Further elements begin as others: {begins}. " if begins else ""
        return (
            f"{elements}{self.parameters[0]} -> {self.parameters[1]} parameters. Predictions for "
            f"the elements it knew change by {self.change:.1g} eV/atom, eV/Å or eV/Å² at most; "
            "fine-tune it before use."
        )


def grow(network: Potential, elements: Sequence[int], changes: Mapping[str, Any]) -> Growth:
    """Return a network with further elements and hyper-parameters that predicts the same as before.

    Args:
        network: Network made by `matkit.models.checkpoint.build`; not changed.
        elements: Atomic numbers it does not know.
        changes: Hyper-parameters that only add something.

    Raises:
        ConfigError: nothing is added, or predictions change.
        TrainingError: the architecture cannot learn further elements.
    """
    if known := [z for z in elements if z in network.species]:
        raise ConfigError(f"The model knows {format_species(known)} already.")
    if not elements and not changes:
        raise ConfigError("Expected further elements or hyper-parameters, got none.")
    larger = enlarged(network, changes) if changes else network
    models: dict[int, int] = {}
    if elements:
        larger, models = extended(larger, elements)
    change = largest_change(network, larger)
    if change > LIMIT:
        raise ConfigError(
            f"{dict(changes)} changes predictions by up to {change:.2g} eV/atom, eV/Å or eV/Å²: "
            "only what begins as the identity can be added."
        )
    before, after = (sum(p.numel() for p in one.parameters()) for one in (network, larger))
    return Growth(larger.eval(), models, change, (before, after))


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


@overload
def enlarged(network: Potential, changes: Mapping[str, Any]) -> Potential: ...
@overload
def enlarged(network: Model, changes: Mapping[str, Any], kind: type[Model]) -> Model: ...
def enlarged(network: Any, changes: Mapping[str, Any], kind: type[Any] = Potential) -> Any:
    """Return a network with other hyper-parameters and the weights of `network`.

    New parts get the same random weights every time. `matkit.models.compare.largest_change` tells
    whether they begin as the identity, as residual layers do.

    Args:
        network: Network made by `matkit.models.checkpoint.build`.
        changes: Hyper-parameters that only add something, such as ``{"layers": 3}``.
        kind: `Potential` or `Generator`.

    Raises:
        ConfigError: the recipe is unknown, or the changes are none, or take parts away.
    """
    if network.recipe is None:
        raise ConfigError("Only models from model files or by name can be given new parts.")
    name, hyperparameters = network.recipe
    parameters = inspect.signature(model_class(name, kind)).parameters
    present = {key: parameter.default for key, parameter in parameters.items()} | hyperparameters
    if "species" in changes:
        raise ConfigError("Elements are no hyper-parameter to set; name them as further elements.")
    if all(key in present and present[key] == value for key, value in changes.items()):
        raise ConfigError(f"Expected hyper-parameters that change; the model has {dict(changes)}.")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        larger = checkpoint.build(name, {**hyperparameters, **changes}, kind).to(network.dtype)
    try:
        _, homeless = larger.load_state_dict(network.state_dict(), strict=False)
    except RuntimeError as error:
        raise ConfigError(f"{dict(changes)} alters weights that are there: {error}") from error
    if homeless:
        raise ConfigError(
            f"Expected that {dict(changes)} only adds; these weights have no place: "
            f"{', '.join(homeless)}"
        )
    return larger.eval()


def begin_as(network: nn.Module, other: nn.Module, species: bool = True) -> int:
    """Copy the tensors that have the same name and shape in both networks.

    Args:
        network: What gets them.
        other: What gives them.
        species: Whether both know the same species; if not, tensors named after them are left out.

    Returns:
        How many there were.

    Raises:
        ConfigError: there are none.
    """
    given, state = other.state_dict(), network.state_dict()
    alike = {k: v for k, v in given.items() if k in state and state[k].shape == v.shape}
    same = {k: v for k, v in alike.items() if species or "species" not in k}
    if not same:
        raise ConfigError(
            f"No weights of {type(other).__name__} have the name and shape of one of "
            f"{type(network).__name__}: choose the same width, layers and harmonics."
        )
    network.load_state_dict(same, strict=False)
    return len(same)


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
        # Buffers that are not saved, such as the map from atomic numbers to rows, are made anew.
        tensors = {
            **dict(old.named_parameters(recurse=False)),
            **dict(old.named_buffers(recurse=False)),
        }
        tensors = {k: v for k, v in tensors.items() if k not in old._non_persistent_buffers_set}
        places = {
            **dict(new.named_parameters(recurse=False)),
            **dict(new.named_buffers(recurse=False)),
        }
        above = [larger.get_submodule(".".join(path)) for path in _prefixes(name)]
        for key, tensor in tensors.items():
            target = places[key]
            if tensor.shape == target.shape:
                target.copy_(tensor)
            else:
                target.copy_(tensor[rows] * _factor(new, above, n_old, n_new))


def _prefixes(name: str) -> list[list[str]]:
    """Return the names of the modules that one is in, as parts; the outermost first."""
    parts = name.split(".")
    return [parts[:depth] for depth in range(1, len(parts))]


def _factor(module: nn.Module, above: Sequence[nn.Module], n_old: int, n_new: int) -> float:
    """Return by how much a row grows so that its effect stays the same.

    Args:
        module: What the row is a parameter of.
        above: The modules that it is in.
        n_old: Number of species before.
        n_new: Number of species after.
    """
    if any(isinstance(one, SpeciesEmbedding | Linear) for one in (module, *above)):
        return sqrt(n_new / n_old)
    if any(
        isinstance(one, References | SpeciesScale | SymmetricContraction | GauntContraction)
        for one in (module, *above)
    ):
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
