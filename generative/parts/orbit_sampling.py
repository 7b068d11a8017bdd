"""Drawing orbits one after the other, with a goal always in reach."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.generative.parts.orbit_network import OrbitNetwork
from matkit.generative.parts.orbit_targets import (
    legal_ranks,
    legal_sites,
    log_probabilities,
    usable_positions,
)
from matkit.generative.parts.orbit_wishes import Groups, Wish
from matkit.generative.parts.orbits import MOST, Orbits, Positions, Vocabulary, positions_of
from matkit.symmetry.completions import Progress, possible_orbits


@dataclass(eq=False)
class Draft:
    """A gene that is being drawn.

    Attributes:
        wish: What it is to be.
        progress: What is placed, and what is left to do.
        orbits: Species and position of the orbits so far.
        weight: Logarithm of the probability of what was allowed, of all the model might have said.
        goal: Which goal is reached, once nothing follows.
    """

    wish: Wish
    progress: Progress
    orbits: list[tuple[int, int]]
    weight: float = 0.0
    goal: int | None = None

    @property
    def kinds(self) -> list[list[int]]:
        """Species of each kind of orbit that the goals know."""
        if self.wish.formula:
            return [[element] for element, _ in self.wish.formula]
        missing = self.wish.required - {element for element, _ in self.orbits}
        return [sorted(missing), sorted((self.wish.allowed | self.wish.required) - missing)]

    def place(self, element: int, position: int) -> None:
        """Add an orbit."""
        kind = next(i for i, elements in enumerate(self.kinds) if element in elements)
        self.progress = self.progress.placed(kind, position)
        self.orbits.append((element, position))

    @property
    def may_end(self) -> bool:
        """Whether a goal is reached."""
        return bool(self.orbits) and any(self.progress.is_reached)

    def possible(self, elements: int) -> Bool[np.ndarray, "e 27"]:
        """Return which species can come next on which positions; the last row is no species."""
        table = np.zeros((elements + 1, MOST), dtype=bool)
        for row, members in zip(possible_orbits(self.progress), self.kinds, strict=False):
            table[members, : len(row)] = row
        return table


@dataclass(frozen=True, eq=False)
class Beginning:
    """What a crystal is to be, and where its gene can begin.

    Attributes:
        wish: What it is to be.
        places: Nothing placed yet, in each group that is possible.
        chances: Rising part of the crystals that have one of the groups so far.
    """

    wish: Wish
    places: Sequence[Progress]
    chances: Float[np.ndarray, " g"]

    def draft(self, uniform: float) -> Draft:
        """Return a gene without orbits; the number, between 0 and 1, chooses its group."""
        return Draft(self.wish, self.places[int(np.searchsorted(self.chances, uniform))], [])


def starts_of(asked: Sequence[Wish], groups: Groups, max_atoms: int) -> list[Beginning]:
    """Return where the genes of some wishes begin.

    Args:
        asked: What the crystals are to be.
        groups: Number of each group, and how many crystals of the training set have it.
        max_atoms: Atoms in the largest primitive cell.

    Raises:
        ConfigError: one of the wishes is impossible.
    """
    known: dict[Wish, Beginning] = {}
    for wish in asked:
        if wish not in known:
            places, counts = wish.possible(groups, max_atoms)
            known[wish] = Beginning(wish, places, np.cumsum(counts) / sum(counts))
    return [known[wish] for wish in asked]


@dataclass(frozen=True, eq=False)
class OrbitSampler:
    """A network that is ready to draw.

    Attributes:
        network: The network.
        vocabulary: Its tokens.
        temperatures: Of the fields.
    """

    network: OrbitNetwork
    vocabulary: Vocabulary
    temperatures: tuple[float, ...]

    def extend(self, drafts: Sequence[Draft], uniform: Float[Tensor, "R 3"]) -> list[bool]:
        """Add an orbit to each draft, or end it; return which go on.

        Args:
            drafts: Genes with a goal in reach.
            uniform: Random numbers between 0 and 1, for the three fields [R, 3].
        """
        known = self._batch(drafts)
        positions = positions_of(known.group, self.vocabulary, self.network.embed_traits.weight)
        elements = len(self.vocabulary.species)
        device = known.group.device
        table = torch.from_numpy(np.stack([one.possible(elements) for one in drafts])).to(device)
        able = table.any(dim=2)
        able[:, -1] = torch.tensor([draft.may_end for draft in drafts], device=device)
        legal = torch.ones_like(able)
        legal[:, -1] = known.mask.any(dim=1)
        (logits,) = self.network(known, positions)
        element, weight = self._drawn(0, logits, legal, able, uniform)
        on = element < elements
        row = torch.arange(len(element), device=element.device)
        position = torch.zeros_like(element)
        if bool(on.any()):
            position[on], more = self._place(
                known.index(on),
                positions.index(on),
                element[on],
                table[row, element][on],
                uniform[on],
            )
            weight[on] += more
        for draft, e, p, w in zip(
            drafts, element.tolist(), position.tolist(), weight.tolist(), strict=True
        ):
            draft.weight += w
            if e == elements:
                draft.goal = draft.progress.is_reached.index(True)
            else:
                draft.place(e, p)
        return [bool(one) for one in on]

    def _place(
        self,
        known: Orbits,
        positions: Positions,
        element: Int[Tensor, " R"],
        able: Bool[Tensor, "R 27"],
        uniform: Float[Tensor, "R 3"],
    ) -> tuple[Int[Tensor, " R"], Float[Tensor, " R"]]:
        """Return the positions of the next orbits, and the logarithm of what was allowed."""
        usable = usable_positions(known, positions)
        logits = self.network(known, positions, element)[1]
        sites = logits.shape[1]
        legal, possible = (legal_sites(u, positions, sites) for u in (usable, able))
        site, weight = self._drawn(1, logits, legal, possible, uniform)
        logits = self.network(known, positions, element, site)[2]
        legal, possible = (legal_ranks(u, positions, site) for u in (usable, able))
        rank, more = self._drawn(2, logits, legal, possible, uniform)
        here = (positions.site == site.unsqueeze(1)) & (positions.rank == rank.unsqueeze(1))
        # Several site symmetries that no training crystal had share a token, and ranks.
        return (here & able).long().argmax(dim=1), weight + more

    def _drawn(
        self,
        field: int,
        logits: Float[Tensor, "R c"],
        legal: Bool[Tensor, "R c"],
        able: Bool[Tensor, "R c"],
        uniform: Float[Tensor, "R 3"],
    ) -> tuple[Int[Tensor, " R"], Float[Tensor, " R"]]:
        """Return tokens of a field, and the logarithm of the probability of what was allowed."""
        found = log_probabilities(logits.double() / self.temperatures[field], legal)
        chance = found.masked_fill(~able, -torch.inf)
        weight = chance.logsumexp(dim=1)
        # What is improbable may still be all that is possible.
        summed = (chance - weight.unsqueeze(1)).exp().cumsum(dim=1)
        token = torch.searchsorted(summed, uniform[:, field : field + 1] * summed[:, -1:])
        return token.squeeze(1), weight

    def _batch(self, drafts: Sequence[Draft]) -> Orbits:
        device = self.network.embed_traits.weight.device
        longest = max(len(draft.orbits) for draft in drafts)
        rows = [d.orbits + [(0, 0)] * (longest - len(d.orbits)) for d in drafts]
        table = torch.tensor(rows, dtype=torch.long, device=device).reshape(len(drafts), longest, 2)
        count = torch.tensor([len(draft.orbits) for draft in drafts], device=device)
        return Orbits(
            torch.tensor([draft.progress.number for draft in drafts], device=device),
            table[..., 0],
            table[..., 1],
            torch.arange(longest, device=device) < count.unsqueeze(1),
        )
