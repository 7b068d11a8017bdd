"""What potentials and generators are, for the calculator, the trainer and the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypedDict

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import ConfigError, StructureError, UnknownElementError
from matkit.graph import Graph
from matkit.neighbors import radius_graph
from matkit.pair_blocks import PairBlocks
from matkit.structures import Structures


class Properties(TypedDict, total=False):
    """What a potential predicts; a plain dict at run time.

    `energy` [B] eV · `atom_energy` [N] eV · `forces` [N, 3] eV/Å · `stress` [B, 3, 3] eV/Å³,
    positive in tension · `features` [N, F] invariant descriptors · `hessian` in eV/Å².
    """

    energy: Float[Tensor, " B"]
    atom_energy: Float[Tensor, " N"]
    forces: Float[Tensor, "N 3"]
    stress: Float[Tensor, "B 3 3"]
    features: Float[Tensor, "N F"]
    hessian: PairBlocks


class Potential(nn.Module, ABC):
    """A network from a neighbour graph to properties.

    Subclasses set `cutoff` and `species` in their constructor and name in `provides` what
    their `forward` returns. Energy networks return `atom_energy` alone (and `features` if they
    have them); `matkit.derivatives.Conservative` adds total energy, forces and stress.

    Attributes:
        cutoff: Longest edge of the graph, Å.
        species: Atomic numbers the potential knows.
        one_level: Those whose energies fit together: fewer than `species` after fine-tuning that
            moved the reference energies of some; None if all do.
        conditions: Fields of `Structures.system` that it takes into account, such as `charge`.
        hessian_cutoff: Longest pair of atoms in the predicted Hessian, Å; None if there is none.
        pair_cutoff: Longest pair of atoms with a block of its own in any predicted matrix, Å.
        recipe: Name and hyper-parameters, if made by `matkit.checkpoint.build`.
    """

    recipe: tuple[str, dict[str, Any]] | None = None
    hessian_cutoff: float | None = None
    pair_cutoff: float | None = None
    provides: ClassVar[frozenset[str]] = frozenset({"atom_energy"})
    conditions: frozenset[str] = frozenset()
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
        _check_species(structures.species, structures.batch, self.species)
        if self.one_level is not None:
            _check_level(structures.species, self.one_level)


@dataclass(frozen=True, kw_only=True, eq=False)
class Condition:
    """What B crystals to be generated must be.

    Attributes:
        n_atoms: Atoms of each [B].
        species: Atomic numbers [N], in the order of the crystals; None to have them generated.
        space_group: Number of the space group of each [B], if it is to be kept to.
        properties: Properties they should have, each [B], in the unit of the training set.
        guidance: How much the properties are stressed: 0 ignores them, 1 is the conditional model.
    """

    n_atoms: Int[Tensor, " B"]
    species: Int[Tensor, " N"] | None = None
    space_group: Int[Tensor, " G"] | None = None
    properties: Mapping[str, Tensor] = field(default_factory=dict)
    guidance: float = 1.0

    def __post_init__(self) -> None:
        """Check that the fields describe the same number of crystals and of atoms."""
        if len(self) == 0 or int(self.n_atoms.min()) < 1:
            raise ConfigError(
                "Expected at least one crystal, and at least one atom in each, to generate; got "
                f"n_atoms = {self.n_atoms.tolist()}."
            )
        rows = {"space_group": self.space_group, **self.properties}
        expected = {"species": (self.species, int(self.n_atoms.sum()))}
        expected |= {name: (value, len(self)) for name, value in rows.items()}
        for name, (value, count) in expected.items():
            if value is not None and len(value) != count:
                raise ConfigError(f"`{name}` must have {count} rows for n_atoms; got {len(value)}.")

    def __len__(self) -> int:
        """Return the number of crystals B."""
        return len(self.n_atoms)


class Generator(nn.Module, ABC):
    """A network that draws crystals like those it was trained on.

    Subclasses set `species` and `max_atoms` in their constructor. All randomness comes from
    what is given, crystal by crystal: what comes out does not depend on how crystals are put into
    batches.

    Attributes:
        species: Atomic numbers the generator knows.
        max_atoms: Atoms in the largest crystal it was made for.
        steps: Steps from noise to crystal that are enough.
        calls_per_step: Evaluations of the network in each.
        generates_species: Whether it can find the species itself; else they must be given.
        takes_species: Whether species can be given.
        properties: Names of the properties that crystals can be asked for.
        space_groups: Whether a space group can be asked for.
        recipe: Name and hyper-parameters, if made by `matkit.checkpoint.build_generator`.
    """

    recipe: tuple[str, dict[str, Any]] | None = None
    species: tuple[int, ...]
    max_atoms: int
    steps: int
    calls_per_step: ClassVar[int] = 1
    generates_species: bool = False
    takes_species: bool = True
    properties: tuple[str, ...] = ()
    space_groups: ClassVar[bool] = False

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return arguments of the constructor that a training set determines; lists and numbers."""
        return {}

    @abstractmethod
    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the terms of the objective, weighted, per crystal; training adds them up."""

    @abstractmethod
    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Structures:
        """Draw one crystal per item of the condition.

        Args:
            condition: What the crystals must be.
            steps: Steps from noise to crystal.
            seeds: Seed of each crystal [B], which all its randomness comes from.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's arithmetic."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    def check_structures(self, structures: Structures) -> None:
        """Raise if structures cannot be learnt from.

        Raises:
            UnknownElementError: one holds an element outside `species`.
            StructureError: one is not periodic, too large, or without a property to learn.
        """
        _check_species(structures.species, structures.batch, self.species)
        if not bool(structures.pbc.all()) or bool((structures.volume == 0).any()):
            raise StructureError(
                "Expected crystals, periodic along three lattice vectors; got a structure without. "
                "Leave molecules and slabs out."
            )
        if (largest := int(structures.n_atoms.max())) > self.max_atoms:
            raise StructureError(
                f"The generator is made for at most {self.max_atoms} atoms, got a crystal of "
                f"{largest}. Raise `max_atoms`, or leave it out."
            )
        if missing := set(self.properties) - set(structures.system):
            raise StructureError(
                f"The generator learns {', '.join(self.properties)}; the structures lack "
                f"{', '.join(sorted(missing))}. They carry: "
                f"{', '.join(sorted(structures.system)) or 'none'}."
            )

    def check_condition(self, condition: Condition) -> None:
        """Raise if the generator cannot keep to the condition.

        Raises:
            UnknownElementError: it asks for an element outside `species`.
            ConfigError: it asks for more atoms than trained for, or for something not learnt.
        """
        if (largest := int(condition.n_atoms.max())) > self.max_atoms:
            raise ConfigError(
                f"The generator was trained on crystals of up to {self.max_atoms} atoms, asked "
                f"for {largest}. Ask for fewer."
            )
        if condition.species is None and not self.generates_species:
            raise ConfigError(
                "The generator needs the species of all atoms, such as a chemical formula."
            )
        if condition.species is not None and not self.takes_species:
            raise ConfigError(
                "The generator finds the species itself; ask for numbers of atoms only."
            )
        if condition.species is not None:
            batch = torch.arange(len(condition)).repeat_interleave(condition.n_atoms.cpu())
            _check_species(condition.species, batch.to(condition.species.device), self.species)
        if condition.space_group is not None and not self.space_groups:
            raise ConfigError("The generator cannot keep to a space group; leave it out.")
        if unknown := set(condition.properties) - set(self.properties):
            raise ConfigError(
                f"The generator was not trained on {', '.join(sorted(unknown))}. It knows: "
                f"{', '.join(self.properties) or 'no property'}."
            )
        for name, value in condition.properties.items():
            if not bool(value.isfinite().all()):
                raise ConfigError(f"Expected numbers for {name}, got {value.tolist()}.")
        if condition.properties and (missing := set(self.properties) - set(condition.properties)):
            raise ConfigError(
                f"The generator was trained on {', '.join(self.properties)} together; give "
                f"{', '.join(sorted(missing))} too, or none."
            )


def _check_species(
    species: Int[Tensor, " N"], batch: Int[Tensor, " N"], known: tuple[int, ...]
) -> None:
    unknown = set(species.unique().tolist()) - set(known)
    if not unknown:
        return
    mask = torch.isin(species, torch.tensor(sorted(unknown)).to(species.device))
    items = batch[mask].unique().tolist()
    n_items = int(batch[-1]) + 1
    raise UnknownElementError(_unknown_element(unknown, items, n_items, known))


def _check_level(species: Int[Tensor, " N"], level: frozenset[int]) -> None:
    others = set(species.unique().tolist()) - level
    if others:
        raise UnknownElementError(
            f"The energies of this model fit together for {format_species(level)} only, which its "
            f"last training saw; {format_species(others)} are untrained or still at the level of "
            "its base. Use the base, or train with these elements in the data (in fine-tuning "
            "also: in replay_file). To compute it all the same: any_level=True (--any-level); "
            "forces may be good, energies are not."
        )


def _unknown_element(
    unknown: Iterable[int], items: list[int], n_items: int, known: tuple[int, ...]
) -> str:
    where = f" in structure(s) {', '.join(map(str, items))} of the batch" if n_items > 1 else ""
    return (
        f"The model does not know {format_species(unknown)}{where}. It knows "
        f"{len(known)} elements: {format_species(known)}. Use a model trained on these "
        "elements, or leave the structure out."
    )
