"""What a potential is, for the calculator, the trainer and the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, ClassVar, TypedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import UnknownElementError
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.structures import Structures


class Properties(TypedDict, total=False):
    """What a potential predicts; a plain dict at run time.

    `energy` [B] eV · `atom_energy` [N] eV · `forces` [N, 3] eV/Å · `stress` [B, 3, 3] eV/Å³,
    positive in tension · `features` [N, F] invariant descriptors.
    """

    energy: Float[Tensor, " B"]
    atom_energy: Float[Tensor, " N"]
    forces: Float[Tensor, "N 3"]
    stress: Float[Tensor, "B 3 3"]
    features: Float[Tensor, "N F"]


class Potential(nn.Module, ABC):
    """A network from a neighbour graph to properties.

    Subclasses set `cutoff` and `species` in their constructor and name in `provides` what
    their `forward` returns. Energy networks return `atom_energy` alone (and `features` if they
    have them); `matkit.derivatives.Conservative` adds total energy, forces and stress.

    Attributes:
        cutoff: Longest edge of the graph, Å.
        species: Atomic numbers the potential knows.
        conditions: Fields of `Structures.system` that it takes into account, such as `charge`.
        recipe: Name and hyper-parameters, if made by `matkit.checkpoint.build`.
    """

    recipe: tuple[str, dict[str, Any]] | None = None
    provides: ClassVar[frozenset[str]] = frozenset({"atom_energy"})
    conditions: frozenset[str] = frozenset()
    cutoff: float
    species: tuple[int, ...]

    @abstractmethod
    def forward(self, graph: Graph) -> Properties:
        """Predict the properties named in `provides`."""

    def edge_gradient(self, graph: Graph) -> tuple[Properties, Float[Tensor, "E 3"]] | None:
        """Return what `forward` does and dE/d(edge vector) [E, 3] in eV/Å, without autograd.

        Energy networks with a derivative of their own override this; the edge vectors must then
        be all they see of the geometry. None means: differentiate `forward`.
        """
        return None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's arithmetic."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def featurize(self, structures: Structures, neighbors: str = "auto") -> Graph:
        """Build the graph this potential works on.

        Raises:
            UnknownElementError: a structure holds an element outside `species`.
        """
        self.check_species(structures)
        return radius_graph(structures, self.cutoff, neighbors)

    def check_species(self, structures: Structures) -> None:
        """Raise UnknownElementError if a structure holds an element outside `species`."""
        unknown = set(structures.species.unique().tolist()) - set(self.species)
        if not unknown:
            return
        mask = torch.isin(structures.species, torch.tensor(sorted(unknown)).to(structures.device))
        items = structures.batch[mask].unique().tolist()
        raise UnknownElementError(_unknown_element(unknown, items, len(structures), self.species))


def _unknown_element(
    unknown: Iterable[int], items: list[int], n_items: int, known: tuple[int, ...]
) -> str:
    where = f" in structure(s) {', '.join(map(str, items))} of the batch" if n_items > 1 else ""
    return (
        f"The model does not know {format_species(unknown)}{where}. It knows "
        f"{len(known)} elements: {format_species(known)}. Use a model trained on these "
        "elements, or leave the structure out."
    )
