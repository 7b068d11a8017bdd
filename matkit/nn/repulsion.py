"""Repulsion of nuclei at short distances, which training data do not reach."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from ase.data import covalent_radii
from ase.units import Bohr, Hartree
from jaxtyping import Float
from torch import Tensor, nn

from matkit.elements import format_species
from matkit.errors import ConfigError
from matkit.graph import Graph
from matkit.nn.radial import polynomial_envelope
from matkit.nn.scatter import scatter_sum


class ScreenedCoulomb(NamedTuple):
    """Numbers of a screened Coulomb repulsion and its envelope.

    Attributes:
        weights: Weights of the exponentials of the screening function.
        exponents: Their exponents.
        length: Numerator of the screening length ``length / (Zi^power + Zj^power)``, Å.
        power: Power of the atomic numbers.
        coulomb: Repulsion of two unit charges at 1 Å, eV.
        envelope: Power of the polynomial envelope.
    """

    weights: tuple[float, ...]
    exponents: tuple[float, ...]
    length: float
    power: float
    coulomb: float
    envelope: int


# Ziegler, Biersack and Littmark, The Stopping and Range of Ions in Solids (1985): the universal
# screening function. Value and two derivatives of the envelope vanish at the reach (as in MACE).
UNIVERSAL = ScreenedCoulomb(
    weights=(0.18175, 0.50986, 0.28022, 0.02817),
    exponents=(3.19980, 0.94229, 0.40290, 0.20162),
    length=0.8854 * Bohr,
    power=0.23,
    coulomb=Hartree * Bohr,
    envelope=6,
)
# Part of a core's radius where atoms appear at the least distance.
STILL = 0.85
# Curium, the last element with a covalent radius (Cordero et al. 2008).
LAST = 96


class ZBL(nn.Module):
    """Coulomb repulsion of screened nuclei, smoothly cut where covalent bonds begin.

    ``V(r) = e² Zi Zj / (4π ε0 r) φ(r / a) u(r / R)`` with the universal screening function φ of
    Ziegler, Biersack and Littmark, and the polynomial envelope u that ends at R, the sum of the
    covalent radii (or at the cutoff where that is shorter). Always float64; nothing is trained.

    Args:
        species: Atomic numbers that may come.
        cutoff: Longest edge of the graphs, Å.
        part: Part of the sum of the covalent radii at which it ends.
        screening: Other numbers than the universal ones.
        strength: Factor of the energy.

    Raises:
        ConfigError: the covalent radius of an element is not known.
    """

    radii: Tensor

    def __init__(
        self,
        species: Sequence[int],
        cutoff: float,
        part: float = 1.0,
        screening: ScreenedCoulomb = UNIVERSAL,
        strength: float = 1.0,
    ) -> None:
        super().__init__()
        unknown = [z for z in species if z > LAST]
        if unknown:
            raise ConfigError(
                f"The repulsion ends at the sum of covalent radii, and {format_species(unknown)} "
                "has none. Leave out the repulsion, or the element."
            )
        self.cutoff, self.part = cutoff, part
        self.screening, self.strength = screening, strength
        self.register_buffer("radii", torch.tensor(covalent_radii), persistent=False)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> ZBL:
        """Move to a device, but stay float64 whatever the network is rounded to."""
        radii = self.radii
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        self.radii = radii.to(self.radii.device)
        return self

    def forward(self, graph: Graph) -> Float[Tensor, " N"]:
        """Return the repulsion of every atom [N] in eV, half of that of its pairs."""
        near = self._near(graph)
        energy, _ = self._pairs(graph, near, graph.vectors[near].norm(dim=1))
        return scatter_sum(energy / 2, graph.center[near], len(graph.species))

    def with_gradient(self, graph: Graph) -> tuple[Float[Tensor, " N"], Float[Tensor, "E 3"]]:
        """Return the same and its derivative by the edge vectors [E, 3], written out."""
        near, vectors = self._near(graph), graph.vectors.detach()
        lengths = vectors[near].norm(dim=1)
        energy, slope = self._pairs(graph, near, lengths)
        by_edge = torch.zeros_like(vectors)
        by_edge[near] = vectors[near] * (slope / (2 * lengths)).unsqueeze(1)
        return scatter_sum(energy / 2, graph.center[near], len(graph.species)), by_edge

    def network_vectors(self, graph: Graph) -> Float[Tensor, "E 3"]:
        """Return the edge vectors [E, 3] that the network next to it is given."""
        return graph.vectors

    def edge_gradient(self, graph: Graph, by_vectors: Float[Tensor, "E 3"]) -> Float[Tensor, "E 3"]:
        """Return the derivative by the edge vectors [E, 3], given that by the `network_vectors`."""
        return by_vectors

    def _near(self, graph: Graph) -> Tensor | slice:
        """Return which edges are short enough to repel."""
        if graph.vectors.is_cuda:  # to count them, the GPU would have to be waited for
            return slice(None)
        lengths = graph.vectors.detach().norm(dim=1)
        return torch.nonzero(lengths < self._reach(graph, slice(None))).squeeze(1)

    def _reach(self, graph: Graph, which: Tensor | slice) -> Tensor:
        radii = self.radii[graph.species]
        reach = self.part * (radii[graph.center[which]] + radii[graph.neighbor[which]])
        return reach.clamp(max=self.cutoff)

    def _pairs(self, graph: Graph, which: Tensor | slice, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return energies and their derivatives by the length, in eV and eV/Å."""
        z = graph.species.double()
        ends = z[graph.center[which]], z[graph.neighbor[which]]
        value, slope = (
            self.strength * part for part in screened_coulomb(lengths, *ends, self.screening)
        )
        reach, power = self._reach(graph, which), self.screening.envelope
        envelope = polynomial_envelope(lengths, reach, power)
        return value * envelope, slope * envelope + value * _envelope_slope(lengths, reach, power)


class Core(ZBL):
    """The same inside of a core, where the network next to it no longer sees how near atoms are.

    With ``x = r / R``, R the radius of the core, an edge of length r is given to the network as one
    of length ``R s(x)`` in the same direction: s(x) = x outside, has two continuous derivatives and
    is constant from x = `STILL` inwards. There a network has no force along the edge, whatever it
    learnt, and nuclei repel.

    Args:
        species: Atomic numbers that may come.
        cutoff: Longest edge of the graphs, Å.
        part: Radius of the core as a part of the sum of the covalent radii.

    Raises:
        ConfigError: the covalent radius of an element is not known, or `part` is not positive.
    """

    def __init__(self, species: Sequence[int], cutoff: float, part: float) -> None:
        if not part > 0:
            raise ConfigError(f"Expected a positive `core`, got {part}; leave it out for none.")
        super().__init__(species, cutoff, part)

    def network_vectors(self, graph: Graph) -> Float[Tensor, "E 3"]:
        """Return the edge vectors [E, 3] that the network next to it is given."""
        near = self._near(graph)
        vectors = graph.vectors[near]
        _, ratio, _ = self._stretch(graph, near, vectors)
        return _put(graph.vectors, near, vectors * ratio)

    def edge_gradient(self, graph: Graph, by_vectors: Float[Tensor, "E 3"]) -> Float[Tensor, "E 3"]:
        """Return the derivative by the edge vectors [E, 3], given that by the `network_vectors`."""
        near = self._near(graph)
        direction, ratio, slope = self._stretch(graph, near, graph.vectors.detach()[near])
        by_near = by_vectors[near]
        along = (by_near * direction).sum(dim=1, keepdim=True) * direction
        return _put(by_vectors, near, ratio * by_near + (slope - ratio) * along)

    def _stretch(
        self, graph: Graph, which: Tensor | slice, vectors: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return directions [K, 3], and per edge [K, 1] s(x) / x and the derivative of s."""
        lengths = vectors.norm(dim=1)
        x = lengths / self._reach(graph, which)
        t = ((1 - x) / (1 - STILL)).clamp(0, 1)
        ratio = (x.clamp(min=1) - (1 - STILL) * (t - t**3 + t**4 / 2)) / x
        # Of an edge that is not near, to the last bit.
        ratio = torch.where(x < 1, ratio, 1.0)
        slope = 1 - 3 * t**2 + 2 * t**3
        return vectors / lengths.unsqueeze(1), ratio.unsqueeze(1), slope.unsqueeze(1)


def _put(all_edges: Tensor, which: Tensor | slice, rows: Tensor) -> Tensor:
    """Return a copy with other rows at `which`."""
    if isinstance(which, slice):
        return rows
    return all_edges.index_copy(0, which, rows) if len(which) else all_edges


def screened_coulomb(
    lengths: Float[Tensor, " E"],
    z_i: Float[Tensor, " E"],
    z_j: Float[Tensor, " E"],
    screening: ScreenedCoulomb = UNIVERSAL,
) -> tuple[Float[Tensor, " E"], Float[Tensor, " E"]]:
    """Return the screened repulsion [E] in eV and its derivative by the length in eV/Å.

    Args:
        lengths: Distances, Å.
        z_i: Atomic numbers of one end.
        z_j: Atomic numbers of the other.
        screening: Numbers of the repulsion.
    """
    decay = (z_i**screening.power + z_j**screening.power) / screening.length
    x = lengths * decay
    terms = list(zip(screening.weights, screening.exponents, strict=True))
    parts = [weight * torch.exp(-exponent * x) for weight, exponent in terms]
    screened = torch.stack(parts).sum(dim=0)
    falls = [exponent * part for (_, exponent), part in zip(terms, parts, strict=True)]
    fall = torch.stack(falls).sum(dim=0)
    coulomb = screening.coulomb * z_i * z_j / lengths
    return coulomb * screened, -coulomb * (screened / lengths + fall * decay)


def _envelope_slope(lengths: Tensor, reach: Tensor, power: int) -> Tensor:
    """Return the derivative of the polynomial envelope by the length."""
    x, p = lengths / reach, power
    inside = -p * (p + 1) * (p + 2) / 2 * x ** (p - 1) * (1 - x) ** 2 / reach
    return torch.where(x < 1, inside, 0.0)
