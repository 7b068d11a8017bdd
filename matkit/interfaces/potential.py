"""What a potential is, for the calculator, the trainer and the command line."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.interfaces.atom_description import AtomDescription
from matkit.interfaces.properties import Properties
from matkit.interfaces.species import check_level, check_species
from matkit.neighbors import radius_graph
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures


class Potential(nn.Module, ABC):
    """A network from a neighbour graph to properties.

    Subclasses set `cutoff` and `species` in their constructor and name in `provides` exactly what
    their `forward` returns; `matkit.derivatives.force_field` checks it. Energy networks return
    `atom_energy` alone (and `features` if they have them): total energy, forces and stress are
    derived from it. A network that predicts forces itself names them too.

    Attributes:
        cutoff: Longest edge of the graph, Å.
        species: Atomic numbers the potential knows.
        one_level: Those whose energies fit together: fewer than `species` after fine-tuning that
            moved the reference energies of some; None if all do.
        sees: What it takes into account besides species: `positions`, `bonds`.
        conditions: Fields of `Structures.system` that it takes into account, such as `charge`.
        hessian_cutoff: Longest pair of atoms in the predicted Hessian, Å; None if there is none.
        pair_cutoff: Longest pair of atoms with a block of its own in any predicted matrix, Å.
        statistics: Arguments of the constructor that training takes from the data unless they are
            given; see `matkit.train.statistics`.
        recordable: Whether it computes alike for all structures of as many atoms, on one device, so
            that a GPU can record it.
        recipe: Name and hyper-parameters, if made by `matkit.models.checkpoint.build`.
    """

    recipe: tuple[str, dict[str, Any]] | None = None
    hessian_cutoff: float | None = None
    pair_cutoff: float | None = None
    provides: frozenset[str] = frozenset({"atom_energy"})
    statistics: ClassVar[frozenset[str]] = frozenset()
    sees: frozenset[str] = frozenset({"positions"})
    conditions: frozenset[str] = frozenset()
    recordable: bool = True
    one_level: frozenset[int] | None = None
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

    def describe(self, graph: Graph) -> AtomDescription:
        """Return the features of the atoms that a read-out of other properties is built on.

        Networks that have features with directions override this.

        Raises:
            ConfigError: the network has no features.
        """
        if "features" not in self.provides:
            raise ConfigError(
                f"{type(self).__name__} has no features of atoms that other properties could be "
                "read from. Take one that provides `features`, such as facet, nequip, mace or mpnn."
            )
        return AtomDescription(self(graph)["features"])

    def without_energy(self) -> Potential:
        """Return a copy that is only asked to `describe`: what makes energies may be left out."""
        return copy.deepcopy(self)

    def hessian_blocks(self, graph: Graph) -> PairBlocks | None:
        """Return a Hessian that the network predicts, in blocks in eV/Å²; None if it does not.

        It need not be the derivative of the energy.
        """
        return None

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's arithmetic."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def featurize(self, structures: Structures, neighbors: str = "auto") -> Graph:
        """Build the graph this potential works on.

        Raises:
            UnknownElementError: a structure holds an element outside `species` or `one_level`.
        """
        self.check_species(structures)
        return radius_graph(structures, self.cutoff, neighbors)

    def featurize_pairs(self, structures: Structures) -> Graph:
        """Build the graph of the pairs that have a block of their own in a predicted matrix.

        Raises:
            ConfigError: the potential predicts no matrix.
        """
        if self.pair_cutoff is None:
            raise ConfigError(
                f"{type(self).__name__} predicts no matrix with blocks for pairs of atoms: it has "
                "no `pair_cutoff`."
            )
        return radius_graph(structures, self.pair_cutoff)

    @property
    def usable_species(self) -> tuple[int, ...]:
        """Atomic numbers of structures that it can be used for."""
        level = self.one_level
        return self.species if level is None else tuple(z for z in self.species if z in level)

    def check_species(self, structures: Structures) -> None:
        """Raise UnknownElementError if an element is outside `species`, or of another level."""
        check_species(structures.species, structures.batch, self.species)
        if self.one_level is not None:
            check_level(structures.species, self.one_level)
