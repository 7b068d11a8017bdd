"""Wyckoff Transformer: crystals as sets of orbits of a space group, one orbit after the other.

Kazeev et al., ICML 2025 (arXiv:2503.02407). A crystal is its space group and an unordered set of
tokens: species, site symmetry, and which of the positions of this site symmetry. The network
(parts/orbit_network.py) says what comes next; there are no coordinates. What comes out is a
blueprint: `matkit.generate` finds coordinates for it.

Deviations: positions that the group does not have, or that are taken, are masked in training too,
so every gene is valid; the loss estimates the likelihood of the whole gene, so that parts of large
crystals count as often as they occur; targets are spread over what is left for all fields.
Masks in sampling know whether a goal (a formula, elements, a number of atoms) can still be reached,
and of several genes that reach it one is taken with the probability that the model gives to what
the masks took away (importance resampling): so it is the model that chooses the space group of a
formula.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from matkit.elements import format_species
from matkit.errors import ConfigError
from matkit.generative.parts.orbit_choice import blueprint_of, drawn_genes
from matkit.generative.parts.orbit_network import FIELDS, OrbitNetwork, OrbitSize
from matkit.generative.parts.orbit_sampling import OrbitSampler, starts_of
from matkit.generative.parts.orbit_targets import field_errors, parted
from matkit.generative.parts.orbit_wishes import wishes
from matkit.generative.parts.orbits import Vocabulary, orbits_of, positions_of, with_orbits
from matkit.generative.parts.randomness import noise_for
from matkit.generative.parts.volumes import atomic_volumes, volumes_of
from matkit.interfaces import Blueprint, Condition, Generator
from matkit.interfaces.species import check_species
from matkit.nn.arguments import check_positive
from matkit.structures import Structures
from matkit.symmetry.sites import site_symmetries

TOGETHER = 4096  # genes that are drawn together


class WyFormer(Generator):
    """Autoregressive model of the orbits of crystals.

    Args:
        species: Atomic numbers to know.
        max_atoms: Atoms in the largest primitive cell.
        groups: Number of each space group, and how many crystals of the training set have it.
        sites: Names of the site symmetries in the training set.
        volumes: Volume in Å³ of an atom by its symbol; they add up to that of a crystal.
        width: Features of a token.
        layers: Layers of the network.
        heads: Heads of its attention.
        dropout: Part of the features that is dropped in training.
        temperatures: Of element, site symmetry and rank in sampling: below 1 prefers what is
            likely.
        candidates: Genes drawn for one that is to reach a goal.
    """

    volume: Tensor
    outputs = "blueprint"
    inputs = frozenset({"n_atoms", "species", "space_group", "elements", "required_elements"})
    required = frozenset()
    steps = 1

    def __init__(
        self,
        species: Sequence[int],
        max_atoms: int = 100,
        groups: Sequence[Sequence[int]] = ((1, 1),),
        sites: Sequence[str] = (),
        volumes: Mapping[str, float] | None = None,
        width: int = 128,
        layers: int = 3,
        heads: int = 4,
        dropout: float = 0.1,
        temperatures: Sequence[float] = (1.0, 1.0, 1.0),
        candidates: int = 32,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ConfigError(
                f"Expected `width` to be a multiple of `heads`, got {width}, {heads}."
            )
        if len(temperatures) != len(FIELDS) or min(temperatures) <= 0:
            raise ConfigError(
                f"Expected three positive `temperatures`, of {', '.join(FIELDS)}; got "
                f"{list(temperatures)}."
            )
        check_positive(max_atoms=max_atoms, candidates=candidates)
        self.species, self.max_atoms = tuple(species), max_atoms
        self.vocabulary = Vocabulary(self.species, tuple(sites))
        self.groups = tuple((int(number), int(count)) for number, count in groups)
        self.temperatures, self.candidates = tuple(temperatures), candidates
        volume = volumes_of(self.species, volumes or {})
        self.register_buffer("volume", volume, persistent=False)
        size = OrbitSize(width, layers, heads, dropout)
        self.network = OrbitNetwork(size, len(self.species), len(sites) + 1)

    @classmethod
    def prepared(cls, structures: Structures) -> Structures:
        """Return the crystals with their space groups and orbits."""
        return with_orbits(structures)

    @classmethod
    def constants(cls, structures: Structures) -> dict[str, Any]:
        """Return how frequent space groups are, site symmetries, and volumes of atoms."""
        numbers, counts = with_orbits(structures).system["space_group"].unique(return_counts=True)
        names = {name for n in numbers.tolist() for name, _ in site_symmetries(n)}
        return {
            "groups": [list(pair) for pair in zip(numbers.tolist(), counts.tolist(), strict=True)],
            "sites": sorted(names),
            "volumes": atomic_volumes(structures),
        }

    def loss(self, structures: Structures, rng: torch.Generator) -> dict[str, Float[Tensor, " B"]]:
        """Return an estimate of the negative log-likelihood of the genes, field by field."""
        self.check_structures(structures)
        noise = noise_for(len(structures), rng, structures.device)
        orbits = orbits_of(with_orbits(structures), self.species).in_setting(noise.uniform())
        positions = positions_of(orbits.group, self.vocabulary, self.network.embed_traits.weight)
        parting = parted(orbits, noise)
        element = parting.following(parting.orbits.element)
        site = parting.following(positions.site.gather(1, parting.orbits.position))
        logits = self.network(parting.known, positions, element, site)
        errors = field_errors(logits, parting, positions)
        weight = orbits.count + 1  # one of so many steps was drawn
        return dict(zip(FIELDS, (weight * error for error in errors), strict=True))

    def sample(self, condition: Condition, steps: int, seeds: Int[Tensor, " B"]) -> Blueprint:
        """Draw orbits one after the other; `steps` has no influence.

        Raises:
            ConfigError: no space group has positions for what is asked for, or as
                `check_condition`.
        """
        self.check_condition(condition)
        starts = starts_of(wishes(condition, self.species), self.groups, self.max_atoms)
        sampler = OrbitSampler(self.network, self.vocabulary, self.temperatures)
        is_open = all(start.wish.is_open(len(self.species)) for start in starts)
        candidates = 1 if is_open else self.candidates
        together, drafts = max(1, TOGETHER // candidates), []
        with torch.no_grad():
            for first in range(0, len(starts), together):
                part = slice(first, first + together)
                own = seeds[part].to(self.volume.device)
                drafts += drawn_genes(sampler, starts[part], candidates, own)
        return blueprint_of(drafts, self.vocabulary, self.volume)

    def check_condition(self, condition: Condition) -> None:
        """Raise if the generator cannot keep to the condition.

        Raises:
            UnknownElementError, ConfigError: as for every generator, no element may occur, or one
                must that may not.
        """
        super().check_condition(condition)
        for table in (condition.elements, condition.required_elements):
            if table is not None:
                crystal, number = table.nonzero().unbind(dim=1)
                check_species(number, crystal, self.species)
        if condition.elements is None:
            return
        if not bool(condition.elements.any(dim=1).all()):
            raise ConfigError("Expected at least one element that may occur in each crystal.")
        if condition.required_elements is not None:
            excluded = (condition.required_elements & ~condition.elements).any(dim=0)
            if bool(excluded.any()):
                names = format_species(excluded.nonzero().flatten().tolist())
                raise ConfigError(f"{names} must occur, but may not: add them to the elements.")
