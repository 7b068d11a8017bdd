"""The network of the Wyckoff Transformer: what orbit comes next, given those that are there.

Kazeev et al., ICML 2025: a transformer encoder without positions, so that the order of the orbits
does not matter, over a token for the space group and one for each orbit; a token with the fields of
the next orbit that are known is read where the next field is asked for.

Deviations: what is there does not see the tokens that ask, so all three fields are asked for in one
pass; tokens also hold the size of the orbit and its number of free coordinates; those that ask, and
the group's, hear the composition so far, in atoms.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from matkit.generative.parts.orbits import FREE, RANKS, Orbits, Positions, composition
from matkit.symmetry.groups import GROUPS
from matkit.symmetry.traits import TRAITS

FIELDS = ("element", "site", "rank")
SIZES = 48  # atoms of the largest orbit in a primitive cell


@dataclass(frozen=True)
class OrbitSize:
    """How large the network is.

    Attributes:
        width: Features of a token, a multiple of the heads.
        layers: Layers.
        heads: Heads of the attention.
        dropout: Part of the features that is dropped in training.
    """

    width: int
    layers: int
    heads: int
    dropout: float


class OrbitNetwork(nn.Module):
    """From the orbits that are there to logits of the fields of the next one.

    Args:
        size: How large it is.
        elements: Number of species.
        sites: Number of site symmetries.
    """

    def __init__(self, size: OrbitSize, elements: int, sites: int) -> None:
        super().__init__()
        width = size.width
        self.elements = elements
        self.embed_element = nn.Embedding(elements, width)
        self.embed_site = nn.Embedding(sites, width)
        self.embed_rank = nn.Embedding(RANKS, width)
        self.embed_size = nn.Embedding(SIZES + 1, width)
        self.embed_free = nn.Embedding(FREE, width)
        self.embed_field = nn.Embedding(len(FIELDS), width)
        self.embed_group = nn.Embedding(GROUPS + 1, width)
        self.embed_traits = nn.Linear(TRAITS, width)
        self.embed_atoms = nn.Linear(elements + 2, width)
        self.dropout = nn.Dropout(size.dropout)
        self.layers = nn.ModuleList(OrbitLayer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(width)
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, count))
            for count in (elements + 1, sites, RANKS)
        )

    def forward(
        self,
        orbits: Orbits,
        positions: Positions,
        element: Int[Tensor, " B"] | None = None,
        site: Int[Tensor, " B"] | None = None,
    ) -> list[Float[Tensor, "B _"]]:
        """Return logits of the element of the next orbit, or that there is none: the last one.

        With the element also those of the site symmetry, and with this too those of the rank.

        Args:
            orbits: Those that are there.
            positions: The Wyckoff positions of the groups.
            element: Index of the species of the next orbit [B].
            site: Token of its site symmetry [B].
        """
        group, tokens, atoms = self._tokens(orbits, positions)
        known = [self.embed_element(element)] if element is not None else []
        known += [self.embed_site(site)] if site is not None else []
        queries = [group + atoms + self.embed_field.weight[i] for i in range(1 + len(known))]
        for i, more in enumerate(known):
            queries[i + 1 :] = [query + more for query in queries[i + 1 :]]
        x = torch.cat([(group + atoms).unsqueeze(1), tokens, torch.stack(queries, dim=1)], dim=1)
        visible = _visible(orbits.mask, len(queries))
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, visible)
        ends = self.norm(x[:, -len(queries) :]).unbind(dim=1)
        return [head(end) for head, end in zip(self.heads, ends, strict=False)]

    def _tokens(
        self, orbits: Orbits, positions: Positions
    ) -> tuple[Float[Tensor, "B w"], Float[Tensor, "B k w"], Float[Tensor, "B w"]]:
        """Return features of the groups, of the orbits, and of what these hold in all."""
        at = orbits.position
        size = positions.size.gather(1, at) * orbits.mask
        tokens = (
            self.embed_element(orbits.element)
            + self.embed_site(positions.site.gather(1, at))
            + self.embed_rank(positions.rank.gather(1, at))
            + self.embed_size(size)
            + self.embed_free(positions.free.gather(1, at))
        )
        group = self.embed_group(orbits.group) + self.embed_traits(positions.traits)
        held = composition(orbits, size, self.elements).to(positions.traits)
        total = held.sum(dim=1, keepdim=True)
        summary = [held / total.clamp(min=1), total.log1p(), orbits.count.unsqueeze(1) / 4]
        return group, tokens, self.embed_atoms(torch.cat(summary, dim=1))


class OrbitLayer(nn.Module):
    """Attention among tokens, and a perceptron for each.

    Args:
        size: How large it is.
    """

    def __init__(self, size: OrbitSize) -> None:
        super().__init__()
        self.heads, width = size.heads, size.width
        self.norm_attention, self.norm_features = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_heads, self.from_heads = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.features = nn.Sequential(
            nn.Linear(width, 3 * width), nn.SiLU(), nn.Linear(3 * width, width)
        )
        self.dropout = nn.Dropout(size.dropout)

    def forward(
        self, x: Float[Tensor, "B t w"], visible: Bool[Tensor, "B 1 t t"]
    ) -> Float[Tensor, "B t w"]:
        """Return new features.

        Args:
            x: Features of the tokens [B, t, width].
            visible: Which token sees which.
        """
        parts = self.to_heads(self.norm_attention(x)).unflatten(2, (3, self.heads, -1))
        query, key, value = parts.permute(2, 0, 3, 1, 4)
        seen = scaled_dot_product_attention(query, key, value, visible)
        x = x + self.dropout(self.from_heads(seen.transpose(1, 2).flatten(2)))
        out: Tensor = x + self.dropout(self.features(self.norm_features(x)))
        return out


def _visible(mask: Bool[Tensor, "B k"], queries: int) -> Bool[Tensor, "B 1 t t"]:
    """Return which tokens see which: all see the group and the orbits; what asks, itself too."""
    group, asks = mask.new_ones(len(mask), 1), mask.new_zeros(len(mask), queries)
    there = torch.cat([group, mask, asks], dim=1)
    own = torch.eye(there.shape[1], dtype=torch.bool, device=mask.device)
    own[:-queries] = False
    return (there.unsqueeze(1) | own).unsqueeze(1)
