"""The network of models of molecules: invariant atoms and pairs, equivariant points.

A transformer over atoms whose attention is biased by features of pairs, as in graph transformers
(Vignac et al., ECML 2023, MiDi). Instead of one point an atom has several, which move along the
lines to those of the other atoms (Satorras et al., ICML 2021; several of them as in SemlaFlow,
Irwin et al., AISTATS 2025): their distances tell angles too. Pairs are symmetric, each occurs once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from matkit.generative.parts.embedding import embed_time
from matkit.generative.parts.molecules import DenseMolecules, guided_ends
from matkit.generative.parts.pairs import Pairs, pairs_of, square
from matkit.interfaces import Condition
from matkit.nn.property_embedding import PropertyEmbedding

RADIAL = 16  # functions of the distance
TIME = 32  # features of time


@dataclass(frozen=True)
class MoleculeSize:
    """How large the network is.

    Attributes:
        width: Features of an atom, a multiple of the heads.
        pair_width: Features of a pair.
        points: Points of an atom.
        heads: Heads of the attention.
        layers: Rounds of messages.
    """

    width: int
    pair_width: int
    points: int
    heads: int
    layers: int


class MoleculeNetwork(nn.Module):
    """From noisy molecules to the ends of their ways.

    Args:
        size: How large it is.
        counts: Number of classes of species, charges and bonds.
        properties: Mean and standard deviation of the properties it can be told.
    """

    def __init__(
        self,
        size: MoleculeSize,
        counts: tuple[int, int, int],
        properties: Mapping[str, Sequence[float]],
    ) -> None:
        super().__init__()
        width, atom_classes = size.width, counts[0] + counts[1]
        self.embed_atoms = nn.Linear(2 * atom_classes + 1 + TIME, width)
        self.embed_properties = PropertyEmbedding(properties, width)
        self.embed_pairs = nn.Linear(2 * (counts[2] + RADIAL), size.pair_width)
        self.embed_points = nn.Parameter(torch.randn(size.points, 2) / 2 + torch.tensor([1.0, 0.0]))
        self.layers = nn.ModuleList(MoleculeLayer(size) for _ in range(size.layers))
        self.norm_atoms, self.norm_pairs = nn.LayerNorm(width), nn.LayerNorm(size.pair_width)
        self.to_atoms = nn.Linear(width, atom_classes)
        self.to_bonds = nn.Linear(size.pair_width, counts[2])
        self.to_position = nn.Parameter(torch.randn(size.points) / (4 * size.points))
        self.counts = counts

    def forward(
        self,
        now: DenseMolecules,
        previous: DenseMolecules,
        known: Bool[Tensor, " B"],
        time: Float[Tensor, " B"],
        values: Mapping[str, Tensor],
    ) -> DenseMolecules:
        """Predict the ends: logits of all classes, and positions.

        Args:
            now: The noisy molecules.
            previous: An earlier prediction of the ends, as probabilities.
            known: For which molecules there is one [B]; for the others it is not looked at.
            time: One time per molecule, or what tells its noise level [B].
            values: Properties they should have, each [B], NaN where it is not told.
        """
        dtype, told = self.to_position.dtype, known.view(-1, 1, 1)
        pairs = pairs_of(now.mask, dtype)
        x = now.positions.to(dtype)
        earlier = torch.where(told, previous.positions.to(dtype), x)
        atoms = self._atoms(now, previous, told, time) + self.embed_properties(
            values, time
        ).unsqueeze(1)
        links = self._links(now, previous, told, (x, earlier), pairs)
        start = torch.einsum("ks,bnsx->bnkx", self.embed_points, torch.stack([x, earlier], dim=2))
        points = start
        for layer in self.layers:
            atoms, links, points = layer(atoms, links, points, pairs, now.mask)
        species, charges = self.to_atoms(self.norm_atoms(atoms)).split(self.counts[:2], dim=-1)
        move = torch.einsum("k,bnkx->bnx", self.to_position, points - start)
        bonds = self.to_bonds(self.norm_pairs(links))
        return DenseMolecules(
            species.to(dtype), charges.to(dtype), bonds.to(dtype), x + move.to(dtype), now.mask
        )

    def repeated(
        self,
        now: DenseMolecules,
        chosen: Bool[Tensor, " B"],
        time: Float[Tensor, " B"],
        values: Mapping[str, Tensor],
    ) -> tuple[DenseMolecules, Bool[Tensor, " B"]]:
        """Return what a first call, without a gradient, says of the chosen molecules, and of which.

        Chen, Zhang & Hinton, ICLR 2023. Arguments as of `forward`.
        """
        which = chosen.nonzero().squeeze(1)
        if not len(which):
            return now, chosen
        some, told = now.index(which), {name: value[which] for name, value in values.items()}
        with torch.no_grad():
            end = self(some, some, torch.zeros_like(chosen[which]), time[which], told)
        return now.with_rows(which, end.probabilities()), chosen

    def guided(
        self,
        now: DenseMolecules,
        previous: tuple[DenseMolecules, Bool[Tensor, " B"]],
        time: Float[Tensor, " B"],
        condition: Condition,
    ) -> DenseMolecules:
        """Predict with the properties of a condition stressed (Ho & Salimans, 2022).

        Args:
            now: The noisy molecules.
            previous: An earlier prediction, and for which molecules there is one.
            time: One time per molecule [B].
            condition: What they are to be.
        """
        values, guidance = condition.properties, condition.guidance
        if not values or guidance == 0:
            return self(now, *previous, time, {})
        told = self(now, *previous, time, values)
        if guidance == 1:
            return told
        return guided_ends(told, self(now, *previous, time, {}), guidance)

    def _atoms(
        self, now: DenseMolecules, previous: DenseMolecules, told: Tensor, time: Tensor
    ) -> Float[Tensor, "B n width"]:
        """Return features of classes, those of the earlier prediction, and time."""
        n = now.mask.shape[1]
        clock = embed_time(time, TIME).to(now.species).unsqueeze(1).expand(-1, n, -1)
        flag = told.to(now.species).expand(-1, n, 1)
        earlier = torch.cat([previous.species, previous.charges], dim=-1) * flag
        parts = [now.species, now.charges, earlier, flag, clock]
        return self.embed_atoms(torch.cat(parts, dim=-1))

    def _links(
        self,
        now: DenseMolecules,
        previous: DenseMolecules,
        told: Tensor,
        positions: tuple[Tensor, Tensor],
        pairs: Pairs,
    ) -> Float[Tensor, "B P pair_width"]:
        """Return features of bonds and distances, now and as predicted earlier."""
        radial = [radial_functions(_distances(x.unsqueeze(2), pairs)) for x in positions]
        parts = [now.bonds, previous.bonds * told, *radial]
        return self.embed_pairs(torch.cat(parts, dim=-1))


class MoleculeLayer(nn.Module):
    """One round: pairs hear of their atoms and distances, atoms of their pairs, points move.

    Args:
        size: How large it is.
    """

    def __init__(self, size: MoleculeSize) -> None:
        super().__init__()
        width, pair, self.points, self.heads = size.width, size.pair_width, size.points, size.heads
        self.norm_atoms, self.norm_pairs = nn.LayerNorm(width), nn.LayerNorm(pair)
        self.from_atoms = nn.Linear(width, 2 * pair)
        self.from_pairs = nn.Linear(pair + self.points, pair)
        self.to_pairs = nn.Linear(pair, pair + self.heads + self.points)
        self.attention = nn.Linear(width, 3 * width + self.points)
        self.to_atoms = nn.Linear(width, width)
        self.message = nn.Linear(pair, width)
        self.mix = nn.Linear(self.points, self.points, bias=False)
        self.norm_mlp = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width)
        )

    def forward(
        self,
        atoms: Float[Tensor, "B n width"],
        links: Float[Tensor, "B P pair"],
        points: Float[Tensor, "B n K 3"],
        pairs: Pairs,
        mask: Bool[Tensor, "B n"],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return atoms, pairs and points one round later."""
        normal, distance = self.norm_atoms(atoms), _distances(points, pairs)
        both, each = self.from_atoms(normal).chunk(2, dim=-1)
        hidden = self.from_pairs(torch.cat([self.norm_pairs(links), distance], dim=-1))
        (left, right), (one, other) = _ends(both, pairs), _ends(each, pairs)
        hidden = nn.functional.silu(hidden + left + right + one * other)
        sizes = (links.shape[-1], self.heads, self.points)
        change, bias, pull = self.to_pairs(hidden).split(sizes, dim=-1)
        pull = pull / (1 + distance) * pairs.mask.unsqueeze(2)
        bias, pull = square(torch.cat([bias, pull], dim=-1), pairs.number).split(sizes[1:], dim=-1)
        heard, gate = self._attend(normal, bias, mask)
        atoms = atoms + heard + self.message(pairs.incidence @ hidden / 4)
        atoms = atoms + self.mlp(self.norm_mlp(atoms))
        moved = pull.sum(dim=2).unsqueeze(3) * points - torch.einsum(
            "bijk,bjkx->bikx", pull, points
        )
        moved = self.mix((gate.unsqueeze(3) * moved).mT).mT
        return atoms, links + change, points + moved

    def _attend(self, atoms: Tensor, bias: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return what atoms hear of each other, and the gates of their points."""
        b, n, width = atoms.shape
        query, key, value, gate = self.attention(atoms).split([width] * 3 + [self.points], dim=-1)
        query, key, value = (
            part.view(b, n, self.heads, -1).transpose(1, 2) for part in (query, key, value)
        )
        scores = query @ key.mT * (width / self.heads) ** -0.5 + bias.permute(0, 3, 1, 2)
        scores = scores.masked_fill(~mask.view(b, 1, 1, n), -torch.inf)
        heard = (scores.softmax(dim=-1) @ value).transpose(1, 2).reshape(b, n, width)
        return self.to_atoms(heard), gate


def radial_functions(distance: Float[Tensor, "B P 1"]) -> Float[Tensor, "B P R"]:
    """Return Gaussians of exp(-distance), which tell short distances apart best.

    Unke & Meuwly, JCTC 2019 (PhysNet), eq. 7.
    """
    centers = torch.linspace(0.0, 1.0, RADIAL).to(distance)
    return torch.exp(-((RADIAL * (torch.exp(-distance) - centers)).square()) / 2)


def _distances(points: Float[Tensor, "B n K 3"], pairs: Pairs) -> Float[Tensor, "B P K"]:
    """Return the distances of the points of two atoms each."""
    left, right = _ends(points, pairs)
    return ((left - right).square().sum(dim=-1) + 1e-8).sqrt()  # finite gradient at zero


def _ends(values: Float[Tensor, "B n *any"], pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Return the values of the later and of the earlier atom of each pair."""
    return values.index_select(1, pairs.left), values.index_select(1, pairs.right)
