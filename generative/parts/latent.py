"""A crystal as one vector: the network that finds it, and what it says of the crystal by itself.

Kingma & Welling, ICLR 2014 (variational autoencoders); Xie et al., ICLR 2022 (CDVAE).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from matkit.generative.parts.compositions import CountsHead, SharesHead
from matkit.generative.parts.cspnet import CSPNet
from matkit.generative.parts.denoiser import Noisy


@dataclass(frozen=True)
class LatentSize:
    """How large the networks are.

    Attributes:
        latent: Numbers of a crystal.
        width: Features of an atom, and hidden ones.
        layers: Rounds of messages.
        harmonics: Plane waves along each axis.
    """

    latent: int
    width: int
    layers: int
    harmonics: int


class LatentEncoder(nn.Module):
    """From crystals to normal distributions of vectors.

    Args:
        size: How large it is.
        n_species: Number of species it knows.
        direct: Whether the last map is given the counts of the species and the lattice besides.
    """

    def __init__(self, size: LatentSize, n_species: int, direct: bool = False) -> None:
        super().__init__()
        self.direct = direct
        self.embed_species = nn.Linear(n_species, size.width, bias=False)
        nn.init.normal_(self.embed_species.weight)
        self.backbone = CSPNet(size.width, size.layers, 6, size.harmonics)
        given = n_species + 7 if direct else 0
        self.to_latent = nn.Linear(size.width + given, 2 * size.latent)

    def forward(self, data: Noisy) -> tuple[Float[Tensor, "B Z"], Float[Tensor, "B Z"]]:
        """Return the mean and the logarithm of the variance of each crystal."""
        nodes = self.embed_species(data.species)
        nodes = self.backbone(nodes, data.fractional, data.lattice, data.mask)
        share = data.mask.to(nodes) / data.mask.sum(dim=1, keepdim=True)
        pooled = torch.einsum("bn,bnc->bc", share, nodes)
        if self.direct:
            count, n_atoms = data.species.sum(dim=1), data.mask.sum(dim=1, keepdim=True)
            pooled = torch.cat([pooled, count.log1p(), n_atoms.to(count).log(), data.lattice], 1)
        mean, logarithm = self.to_latent(pooled).chunk(2, dim=1)
        return mean, logarithm.clamp(-20, 5)


class LatentHeads(nn.Module):
    """What a vector says of its crystal: number of atoms, lattice, composition, properties.

    Args:
        size: How large they are.
        max_atoms: Atoms in the largest crystal.
        n_species: Number of species.
        properties: Mean and standard deviation of each property.
        counts: Whether the composition is said as counts, or else as shares.
    """

    def __init__(
        self,
        size: LatentSize,
        max_atoms: int,
        n_species: int,
        properties: Mapping[str, Sequence[float]],
        counts: bool = False,
    ) -> None:
        super().__init__()
        self.scales = {name: tuple(scale) for name, scale in sorted(properties.items())}
        composition = (
            CountsHead(size.latent, n_species, max_atoms)
            if counts
            else SharesHead(size.latent, size.width, n_species)
        )
        heads = {"sizes": _head(size, max_atoms), "lattice": _head(size, 6)}
        self.heads = nn.ModuleDict({**heads, "composition": composition})
        # A list: names of properties are those of columns, and no names of modules.
        self.property_heads = nn.ModuleList(_head(size, 1) for _ in self.scales)

    def sizes(self, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B K"]:
        """Return logits of 1, 2, ... atoms."""
        return self.heads["sizes"](latent)

    def n_atoms(self, latent: Float[Tensor, "B Z"]) -> Int[Tensor, " B"]:
        """Return the likeliest number of atoms, given what is said of the composition too."""
        sizes, composition = self.sizes(latent).log_softmax(dim=1), self.composition(latent)
        return 1 + (sizes + self.composition.sums(composition, sizes.shape[1])).argmax(dim=1)

    def lattice(self, latent: Float[Tensor, "B Z"]) -> Float[Tensor, "B 6"]:
        """Return lattices in the units of the model."""
        return self.heads["lattice"](latent)

    @property
    def composition(self) -> SharesHead | CountsHead:
        """What says the composition."""
        return cast("SharesHead | CountsHead", self.heads["composition"])

    def properties(self, latent: Float[Tensor, "B Z"]) -> dict[str, Float[Tensor, " B"]]:
        """Return the properties, less their mean, in standard deviations."""
        heads = zip(self.scales, self.property_heads, strict=True)
        return {name: head(latent).squeeze(1) for name, head in heads}

    def values(self, latent: Float[Tensor, "B Z"]) -> dict[str, Float[Tensor, " B"]]:
        """Return the properties in the units of the training set, float64."""
        with torch.no_grad():
            said = self.properties(latent).items()
        return {
            name: value.double() * self.scales[name][1] + self.scales[name][0]
            for name, value in said
        }

    def standard(self, name: str, values: Float[Tensor, " B"]) -> Float[Tensor, " B"]:
        """Return values of a property less its mean, in standard deviations."""
        mean, deviation = self.scales[name]
        return (values - mean) / deviation


def _head(size: LatentSize, count: int) -> nn.Sequential:
    first, last = nn.Linear(size.latent, size.width), nn.Linear(size.width, count)
    return nn.Sequential(first, nn.SiLU(), last)


def divergence(mean: Float[Tensor, "B Z"], logarithm: Float[Tensor, "B Z"]) -> Float[Tensor, " B"]:
    """Return the Kullback-Leibler divergence of normal distributions from the standard one."""
    return 0.5 * (mean.square() + logarithm.exp() - 1 - logarithm).sum(dim=1)


def optimized(
    latent: Float[Tensor, "B Z"],
    heads: LatentHeads,
    goals: Mapping[str, Float[Tensor, " B"]],
    steps: int,
    rate: float,
) -> Float[Tensor, "B Z"]:
    """Return vectors moved by gradient descent towards goals of properties (Adam).

    Args:
        latent: Where to start.
        heads: What predicts the properties.
        goals: Properties to reach, each [B]; -inf for the least possible, inf for the largest.
        steps: Steps of the descent.
        rate: Learning rate.
    """
    point = latent.detach().clone().requires_grad_()
    descent = torch.optim.Adam([point], lr=rate)
    with torch.enable_grad():
        for _ in range(steps):
            descent.zero_grad()
            distance(heads, point, goals).sum().backward(inputs=[point])
            descent.step()
    return point.detach()


def distance(
    heads: LatentHeads, latent: Float[Tensor, "B Z"], goals: Mapping[str, Float[Tensor, " B"]]
) -> Float[Tensor, " B"]:
    """Return how far vectors are from goals, in standard deviations of the properties."""
    found, total = heads.properties(latent), torch.zeros_like(latent[:, 0])
    for name, goal in goals.items():
        away = (found[name] - heads.standard(name, goal.to(latent)).nan_to_num(0, 0, 0)).square()
        total = total + torch.where(goal.isinf(), -goal.sign().to(latent) * found[name], away)
    return total
