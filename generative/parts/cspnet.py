"""CSPNet: message passing between all atoms of a cell, invariant under shifts and rotations.

Jiao et al., NeurIPS 2023 (DiffCSP), eqs. 8-10. Atoms see each other through plane waves of their
difference in fractional coordinates, which know no cell boundary, and through the lattice.

Deviations: the constant wave is left out (the biases have it). The first linear map of the message
is split into its parts, so that only the waves are multiplied per pair: the same numbers with
fewer operations.
"""

from __future__ import annotations

from math import pi

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.functional import linear, pad, silu

# Sizes of crystals that share a group in training on a CPU: 3 took 0.7 of the time of 1.
SIZES = 3


def wave_vectors(harmonics: int, miller: int) -> Float[Tensor, "M 3"]:
    """Return integer wave vectors [M, 3]: multiples of the axes, then mixed Miller indices.

    Args:
        harmonics: Multiples 1, 2, ... of each axis.
        miller: Mixed indices from 0 to `miller` - 1 in each direction; 0 or 1 for none.
    """
    multiples = torch.arange(1, harmonics + 1, dtype=torch.float64)
    along_axes = torch.cat([multiples.unsqueeze(1) * axis for axis in torch.eye(3).double()])
    range_ = torch.arange(max(miller, 1), dtype=torch.float64)
    grid = torch.cartesian_prod(range_, range_, range_)
    return torch.cat([along_axes, grid[(grid > 0).sum(dim=1) > 1]])


def pair_waves(
    fractional: Float[Tensor, "B n 3"], vectors: Float[Tensor, "M 3"]
) -> Float[Tensor, "B n n two_M"]:
    """Return sines, then cosines, of 2 pi h.(x_j - x_i) for atoms i, j [B, n, n, 2M].

    Made of the sines and cosines of single atoms by the addition theorem.
    """
    # The phase modulo 1 first: large multiples would cost digits, as would torch.autocast.
    phase = (fractional.unsqueeze(-2) * vectors).sum(dim=-1)
    angle = 2 * pi * (phase - phase.floor())
    s, c = angle.sin(), angle.cos()
    s_i, c_i, s_j, c_j = s.unsqueeze(2), c.unsqueeze(2), s.unsqueeze(1), c.unsqueeze(1)
    return torch.cat([s_j * c_i - c_j * s_i, c_j * c_i + s_j * s_i], dim=-1)


class Layer(nn.Module):
    """One round of messages between all pairs of atoms, an atom and itself included.

    Args:
        width: Features of an atom.
        lattice: Features of a lattice.
        waves: Features of a pair.
    """

    def __init__(self, width: int, lattice: int, waves: int) -> None:
        super().__init__()
        self.parts = [width, width, lattice, waves]
        self.norm = nn.LayerNorm(width)
        self.first = nn.Linear(sum(self.parts), width)
        self.second = nn.Linear(width, width)
        self.update = nn.Sequential(
            nn.Linear(2 * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )

    def forward(
        self,
        nodes: Float[Tensor, "B n W"],
        lattice: Float[Tensor, "B L"],
        waves: Float[Tensor, "B n n M"],
        mask: Bool[Tensor, "B n"],
    ) -> Float[Tensor, "B n W"]:
        """Return new features of the atoms."""
        h = self.norm(nodes)
        of_i, of_j, of_cell, of_pair = self.first.weight.split(self.parts, dim=1)
        center = linear(h, of_i, self.first.bias) + linear(lattice, of_cell).unsqueeze(1)
        # Most time goes here, and on a CPU much of it into memory: nothing of the size of all
        # pairs is copied that need not be. The derivative of `silu` wants what came in.
        here = not torch.is_grad_enabled()
        pairs = linear(waves, of_pair).add_(center.unsqueeze(2)).add_(linear(h, of_j).unsqueeze(1))
        messages = silu(self.second(silu(pairs, inplace=here)), inplace=here)
        share = mask.to(h) / mask.sum(dim=1, keepdim=True)
        mean = torch.matmul(share[:, None, None], messages).squeeze(2)
        return nodes + self.update(torch.cat([h, mean], dim=-1))


class CSPNet(nn.Module):
    """Layers between all atoms of a cell.

    Args:
        width: Features of an atom.
        layers: Rounds of messages.
        lattice: Features of a lattice.
        harmonics: Plane waves along each axis.
        miller: Bound of the indices of mixed waves; 0 for none.
    """

    vectors: Tensor

    def __init__(
        self, width: int, layers: int, lattice: int, harmonics: int, miller: int = 0
    ) -> None:
        super().__init__()
        vectors = wave_vectors(harmonics, miller)
        self.register_buffer("vectors", vectors, persistent=False)
        self.layers = nn.ModuleList(Layer(width, lattice, 2 * len(vectors)) for _ in range(layers))
        self.norm = nn.LayerNorm(width)

    def forward(
        self,
        nodes: Float[Tensor, "B n W"],
        fractional: Float[Tensor, "B n 3"],
        lattice: Float[Tensor, "B L"],
        mask: Bool[Tensor, "B n"],
    ) -> Float[Tensor, "B n W"]:
        """Return features of the atoms [B, n, W]; whatever where there is no atom.

        Args:
            nodes: Features at the start [B, n, W].
            fractional: Fractional coordinates [B, n, 3].
            lattice: Features of the lattices [B, L].
            mask: Which places hold an atom [B, n].
        """
        if mask.device.type != "cpu":
            return self.padded(nodes, fractional, lattice, mask)
        # Work grows with the square of n. Crystals of one size at a time need no padding; small
        # batches, as in training, are faster in fewer groups; a GPU with one large batch.
        count = mask.sum(dim=1)
        kind = count.div(SIZES, rounding_mode="floor") if torch.is_grad_enabled() else count
        results, order = [], []
        for own in kind.unique().tolist():
            rows = (kind == own).nonzero().squeeze(1)
            n = int(count[rows].max())
            group = (nodes[rows, :n], fractional[rows, :n], lattice[rows], mask[rows, :n])
            results.append(pad(self.padded(*group), (0, 0, 0, mask.shape[1] - n)))
            order.append(rows)
        return torch.cat(results)[torch.argsort(torch.cat(order))]

    def padded(
        self,
        nodes: Float[Tensor, "B n W"],
        fractional: Float[Tensor, "B n 3"],
        lattice: Float[Tensor, "B L"],
        mask: Bool[Tensor, "B n"],
    ) -> Float[Tensor, "B n W"]:
        """Do the same for the batch as it is, padding included."""
        waves = pair_waves(fractional, self.vectors.to(fractional))
        for layer in self.layers:
            nodes = layer(nodes, lattice, waves, mask)
        return self.norm(nodes)
