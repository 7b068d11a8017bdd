"""The network of diffusion and flow models: from noisy crystals to one vector per field."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from matkit.generative.parts.cspnet import CSPNet
from matkit.generative.parts.embedding import embed_time
from matkit.generative.parts.layout import atom_mask, fractional_coordinates, pad
from matkit.generative.parts.randomness import Noise
from matkit.nn.embedding import SpeciesIndex
from matkit.nn.property_embedding import PropertyEmbedding
from matkit.structures import Structures


@dataclass(frozen=True)
class Size:
    """How large the network is.

    Attributes:
        width: Features of an atom.
        layers: Rounds of messages.
        harmonics: Plane waves along each axis.
        time_channels: Features of time, even.
        miller: Bound of the indices of mixed plane waves; 0 for none.
    """

    width: int
    layers: int
    harmonics: int
    time_channels: int
    miller: int = 0


@dataclass(frozen=True)
class Noisy:
    """Crystals on their way, as the network sees them.

    Attributes:
        species: One-hot or noisy species [B, n, S].
        fractional: Fractional coordinates [B, n, 3].
        lattice: Lattices in the model's coordinates, or what the network sees of them [B, L].
        mask: Which places hold an atom [B, n].
    """

    species: Float[Tensor, "B n S"]
    fractional: Float[Tensor, "B n 3"]
    lattice: Float[Tensor, "B L"]
    mask: Bool[Tensor, "B n"]


class Prediction(NamedTuple):
    """What the network says of each field; `species` is None where species are given."""

    coordinates: Float[Tensor, "B n 3"]
    lattice: Float[Tensor, "B O"]
    species: Float[Tensor, "B n S"] | None


class Denoiser(nn.Module):
    """Embeddings, CSPNet and a linear map per field.

    Args:
        size: How large it is.
        species: Atomic numbers it knows.
        lattice: Features of a lattice that come in and that go out.
        generates_species: Whether species are predicted too.
        properties: Mean and standard deviation of the properties it can be told.
    """

    def __init__(
        self,
        size: Size,
        species: tuple[int, ...],
        lattice: tuple[int, int],
        generates_species: bool,
        properties: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        self.time_channels = size.time_channels
        self.index = SpeciesIndex(species)
        self.numbers = species
        self.embed_species = nn.Linear(len(species), size.width, bias=False)
        self.embed_properties = PropertyEmbedding(properties, size.time_channels)
        self.start = nn.Linear(size.width + size.time_channels, size.width)
        self.backbone = CSPNet(size.width, size.layers, lattice[0], size.harmonics, size.miller)
        self.to_coordinates = nn.Linear(size.width, 3, bias=False)
        self.to_lattice = nn.Linear(size.width, lattice[1], bias=False)
        self.to_species = nn.Linear(size.width, len(species)) if generates_species else None
        if not generates_species:  # as an embedding table starts
            nn.init.normal_(self.embed_species.weight)

    def forward(
        self,
        noisy: Noisy,
        time: Float[Tensor, " B"],
        values: Mapping[str, Tensor],
    ) -> Prediction:
        """Predict what the model's objective asks for.

        Args:
            noisy: The crystals.
            time: One time per crystal, between 0 and 1 [B].
            values: Properties the crystals should have, each [B], NaN where one is free.
        """
        context = embed_time(time, self.time_channels).to(noisy.fractional)
        return self.told(noisy, context + self.embed_properties(values, context[:, 0]))

    def told(self, noisy: Noisy, context: Float[Tensor, "B T"]) -> Prediction:
        """Predict with features [B, time channels] that tell everything else of a crystal."""
        context = context.unsqueeze(1).expand(-1, noisy.mask.shape[1], -1)
        nodes = self.start(torch.cat([self.embed_species(noisy.species), context], dim=-1))
        nodes = self.backbone(nodes, noisy.fractional, noisy.lattice, noisy.mask)
        share = noisy.mask.to(nodes) / noisy.mask.sum(dim=1, keepdim=True)
        pooled = torch.einsum("bn,bnc->bc", share, nodes)
        species = None if self.to_species is None else self.to_species(nodes).to(noisy.species)
        coordinates = self.to_coordinates(nodes).to(noisy.fractional)  # torch.autocast rounds
        return Prediction(coordinates, self.to_lattice(pooled).to(noisy.lattice), species)

    def guided(
        self,
        noisy: Noisy,
        time: Float[Tensor, " B"],
        values: Mapping[str, Tensor],
        guidance: float,
    ) -> Prediction:
        """Predict with the properties stressed (Ho & Salimans, 2022, classifier-free guidance).

        Args:
            noisy: The crystals.
            time: One time per crystal [B].
            values: Properties the crystals should have, each [B]; empty for none.
            guidance: 0 ignores the properties, 1 is the conditional model, more exaggerates.
        """
        if not values or guidance == 0:
            return self(noisy, time, {})
        guided = self(noisy, time, values)
        if guidance == 1:
            return guided
        plain = self(noisy, time, {})
        return Prediction(
            _stress(guided.coordinates, plain.coordinates, guidance),
            _stress(guided.lattice, plain.lattice, guidance),
            None if guided.species is None else _stress(guided.species, plain.species, guidance),
        )

    def clean(self, structures: Structures, lattice: Float[Tensor, "B L"]) -> Noisy:
        """Return crystals of the data with their lattices in the model's own coordinates."""
        mask = atom_mask(structures.n_atoms)
        fractional = pad(fractional_coordinates(structures), mask)
        return Noisy(
            species=self.one_hot(structures.species, mask),
            fractional=fractional.to(self.start.weight),
            lattice=lattice.to(self.start.weight),
            mask=mask,
        )

    def one_hot(
        self, species: Int[Tensor, " N"], mask: Bool[Tensor, "B n"]
    ) -> Float[Tensor, "B n S"]:
        """Return atomic numbers as one-hot vectors [B, n, S], zero where there is no atom."""
        rows = torch.nn.functional.one_hot(self.index(species), len(self.numbers))
        return pad(rows.to(self.start.weight.dtype), mask)

    def most_likely(self, species: Float[Tensor, "B n S"]) -> Int[Tensor, "B n"]:
        """Return the atomic numbers [B, n] of the largest channels."""
        return torch.tensor(self.numbers, device=species.device)[species.argmax(dim=-1)]

    def normal(self, mask: Bool[Tensor, "B n"], lattice: int, noise: Noise) -> Noisy:
        """Return standard normal numbers in the place of every field, `lattice` of them there.

        Species that are given need none, and there would be many: they get zeros.
        """
        n, weight = mask.shape[1], self.start.weight
        fractional, cell = noise.normal(n, 3).to(weight), noise.normal(lattice).to(weight)
        species = weight.new_zeros(*mask.shape, len(self.numbers))
        if self.to_species is not None:
            species = noise.normal(n, len(self.numbers)).to(weight)
        return Noisy(species, fractional, cell, mask)


def _stress(guided: Tensor, plain: Tensor, guidance: float) -> Tensor:
    return guidance * guided + (1 - guidance) * plain
