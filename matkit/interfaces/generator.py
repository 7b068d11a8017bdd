"""What a generator is, for training and for the command line."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.errors import ConfigError, StructureError
from matkit.interfaces.blueprint import Blueprint
from matkit.interfaces.condition import Condition
from matkit.interfaces.species import check_species
from matkit.structures import Structures

Domain = Literal["crystal", "molecule"]
DOMAINS: tuple[Domain, ...] = ("crystal", "molecule")
OUTPUTS = ("structures", "blueprint")
# Fields of `Condition`, and how a message calls them.
INPUTS = {
    "n_atoms": "numbers of atoms",
    "species": "species",
    "space_group": "a space group",
    "position": "Wyckoff positions",
    "elements": "a choice of elements",
    "required_elements": "elements that must occur",
    "scaffold": "a scaffold",
    "properties": "properties",
}


class Generator(nn.Module, ABC):
    """A network that draws structures like those it was trained on.

    Subclasses declare what they take and make, and set `species` and `max_atoms` in their
    constructor. All randomness comes from what is given, structure by structure: what comes out
    does not depend on how structures are put into batches.

    A constructor takes `species`, and of `max_atoms`, `generates_species` and `properties` those
    that it names: training passes nothing else but what `constants` returns and the user chose.

    Attributes:
        domain: What it makes, `crystal` or `molecule`.
        outputs: Whether `sample` returns `structures`, or a `blueprint` without coordinates.
        inputs: Fields of `Condition` that it can keep to.
        required: Those that it cannot do without.
        species: Atomic numbers the generator knows.
        max_atoms: Atoms in the largest structure it was made for.
        steps: Steps from noise to structure that are enough.
        calls_per_step: Evaluations of the network in each.
        properties: Names of the properties that structures can be asked for, alone or together.
        decisive: Terms of the loss by which the best epoch is chosen; empty for all.
        optimizes: Whether it searches for properties, so that the least (-inf) or the largest (inf)
            can be asked for.
        recipe: Name and hyper-parameters, if made by `matkit.models.checkpoint.build`.
    """

    recipe: tuple[str, dict[str, Any]] | None = None
    domain: ClassVar[Domain] = "crystal"
    outputs: ClassVar[Literal["structures", "blueprint"]] = "structures"
    inputs: frozenset[str] = frozenset({"n_atoms", "species"})
    required: frozenset[str] = frozenset({"n_atoms", "species"})
    species: tuple[int, ...]
    max_atoms: int
    steps: int
    calls_per_step: ClassVar[int] = 1
    properties: tuple[str, ...] = ()
    optimizes: ClassVar[bool] = False
    decisive: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return arguments of the constructor that a training set determines; lists and numbers."""
        return {}

    @classmethod
    def prepared(cls, structures: Structures) -> Structures:
        """Return structures with what `loss` would find out anew each time; training keeps it."""
        return structures

    @abstractmethod
    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return the terms of the objective, weighted, per structure; training adds them up."""

    @abstractmethod
    def sample(
        self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]
    ) -> Structures | Blueprint:
        """Draw one structure per item of the condition.

        Args:
            condition: What the structures must be.
            steps: Steps from noise to structure.
            seeds: Seed of each structure [B], which all its randomness comes from.

        Returns:
            What `outputs` says.
        """

    @property
    def dtype(self) -> torch.dtype:
        """Floating-point type of the network's arithmetic."""
        return next(p.dtype for p in self.parameters() if p.is_floating_point())

    @property
    def generates_species(self) -> bool:
        """Whether it can find the species itself."""
        return "species" not in self.required

    def check_structures(self, structures: Structures) -> None:
        """Raise if structures cannot be learnt from.

        Raises:
            UnknownElementError: one holds an element outside `species`.
            StructureError: one is of another domain, too large, or without a property to learn.
        """
        check_species(structures.species, structures.batch, self.species)
        check_domain(structures, self.domain)
        if (largest := int(structures.n_atoms.max())) > self.max_atoms:
            raise StructureError(
                f"The generator is made for at most {self.max_atoms} atoms, got a {self.domain} of "
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
            ConfigError: it asks for more atoms than trained for, for something not learnt, or not
                for something that the generator needs.
        """
        self._check_inputs(condition)
        if condition.n_atoms is not None and int(condition.n_atoms.max()) > self.max_atoms:
            raise ConfigError(
                f"The generator was trained on {self.domain}s of up to {self.max_atoms} atoms, "
                f"asked for {int(condition.n_atoms.max())}. Ask for fewer."
            )
        if condition.species is not None and condition.n_atoms is not None:
            batch = torch.arange(len(condition)).repeat_interleave(condition.n_atoms.cpu())
            check_species(condition.species, batch.to(condition.species.device), self.species)
        self._check_properties(condition)

    def _check_inputs(self, condition: Condition) -> None:
        if lacking := self.required - condition.inputs:
            name = min(lacking)
            hint = "the species of all atoms, such as a chemical formula"
            raise ConfigError(f"The generator needs {hint if name == 'species' else INPUTS[name]}.")
        refused = condition.inputs - self.inputs - {"properties"}
        if "species" in refused:
            raise ConfigError(
                "The generator finds the species itself; ask for numbers of atoms only."
            )
        if refused:
            raise ConfigError(
                f"The generator cannot keep to {INPUTS[min(refused)]}; leave it out. It takes: "
                f"{', '.join(sorted(INPUTS[name] for name in self.inputs)) or 'nothing'}."
            )

    def _check_properties(self, condition: Condition) -> None:
        if unknown := set(condition.properties) - set(self.properties):
            raise ConfigError(
                f"The generator was not trained on {', '.join(sorted(unknown))}. It knows: "
                f"{', '.join(self.properties) or 'no property'}."
            )
        for name, value in condition.properties.items():
            if bool(value.isnan().any()) or (not self.optimizes and bool(value.isinf().any())):
                raise ConfigError(f"Expected numbers for {name}, got {value.tolist()}.")


def check_domain(structures: Structures, domain: Domain) -> None:
    """Refuse structures of another domain: crystals are periodic along three vectors.

    Raises:
        StructureError: one is.
    """
    crystals = structures.pbc.all(dim=1) & (structures.volume > 0)
    if domain == "crystal" and not bool(crystals.all()):
        raise StructureError(
            "Expected crystals, periodic along three lattice vectors; got a structure without. "
            "Leave molecules and slabs out."
        )
    if domain == "molecule" and bool(structures.pbc.any()):
        raise StructureError(
            "Expected molecules, without periodicity; got a periodic structure. Leave crystals "
            "out, or take a molecule out of its box (pbc = False)."
        )
