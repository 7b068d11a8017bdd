"""What a vector says of the composition of its crystal: shares of species, or how many of each."""

from __future__ import annotations

from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import cross_entropy


class SharesHead(nn.Sequential):
    """One distribution over species, from which every atom has its own (Xie et al., 2022).

    Args:
        latent: Numbers of the vector.
        width: Hidden features.
        n_species: Number of species.
    """

    def __init__(self, latent: int, width: int, n_species: int) -> None:
        super().__init__(nn.Linear(latent, width), nn.SiLU(), nn.Linear(width, n_species))

    def error(
        self, logits: Float[Tensor, "B S"], counts: Float[Tensor, "B S"]
    ) -> Float[Tensor, " B"]:
        """Return the cross entropy of the species of an atom [B], given how many there are."""
        share = counts / counts.sum(dim=1, keepdim=True)
        return -(share * logits.log_softmax(dim=1)).sum(dim=1)

    def shares(self, logits: Float[Tensor, "B S"]) -> Float[Tensor, "B S"]:
        """Return the part of the atoms that are of each species [B, S]."""
        return logits.softmax(dim=1)

    def sums(self, logits: Float[Tensor, "B S"], most: int) -> Float[Tensor, "B most"]:
        """Return zeros: shares say nothing of how many atoms there are."""
        return logits.new_zeros(len(logits), most)

    def whole(self, logits: Float[Tensor, "B S"], n_atoms: Int[Tensor, " B"]) -> Int[Tensor, "B S"]:
        """Return how many atoms of each species there are [B, S], see `integer_composition`."""
        return integer_composition(logits, n_atoms)


class CountsHead(nn.Sequential):
    """A distribution over 0, 1, ... atoms of each species.

    Shares of large crystals have to be right to a few per cent to be whole numbers; counts that are
    classes have to be likelier than the others only.

    Args:
        latent: Numbers of the vector, and hidden features.
        n_species: Number of species.
        max_atoms: Most atoms of one species.
    """

    def __init__(self, latent: int, n_species: int, max_atoms: int) -> None:
        last = nn.Linear(latent, n_species * (max_atoms + 1))
        super().__init__(
            nn.Linear(latent, latent),
            nn.SiLU(),
            last,
            nn.Unflatten(1, (n_species, max_atoms + 1)),
        )
        with torch.no_grad():  # at the start, a few per cent of all species are there
            last.bias.view(n_species, -1)[:, 0] = log(20 * max_atoms)

    def error(
        self, logits: Float[Tensor, "B S K"], counts: Float[Tensor, "B S"]
    ) -> Float[Tensor, " B"]:
        """Return the cross entropy of the counts of a crystal [B], summed over species."""
        return cross_entropy(logits.mT, counts.long(), reduction="none").sum(dim=1)

    def shares(self, logits: Float[Tensor, "B S K"]) -> Float[Tensor, "B S"]:
        """Return the part of the atoms that are expected of each species [B, S]."""
        number = torch.arange(logits.shape[2], device=logits.device, dtype=logits.dtype)
        expected = logits.softmax(dim=2) @ number
        return expected / expected.sum(dim=1, keepdim=True)

    def sums(self, logits: Float[Tensor, "B S K"], most: int) -> Float[Tensor, "B most"]:
        """Return how likely the likeliest counts are that have a sum of 1, 2, ... atoms."""
        return best_sums(logits, most)[0][:, 1:]

    def whole(
        self, logits: Float[Tensor, "B S K"], n_atoms: Int[Tensor, " B"]
    ) -> Int[Tensor, "B S"]:
        """Return the counts [B, S] that are likeliest together, see `likeliest_counts`."""
        return likeliest_counts(logits, n_atoms)


def integer_composition(
    logits: Float[Tensor, "B S"], n_atoms: Int[Tensor, " B"]
) -> Int[Tensor, "B S"]:
    """Return how many atoms of each species there are, nearest to their shares.

    The shares are rounded down, and the atoms that are missing go to the largest remainders.

    Args:
        logits: Logits of the species of an atom [B, S].
        n_atoms: Atoms of each crystal [B].
    """
    expected = logits.double().softmax(dim=1) * n_atoms.unsqueeze(1)
    counts = expected.floor()
    missing = n_atoms - counts.sum(dim=1).long()
    rank = (expected - counts).argsort(dim=1, descending=True).argsort(dim=1)
    return counts.long() + (rank < missing.unsqueeze(1)).long()


def likeliest_counts(
    logits: Float[Tensor, "B S K"], n_atoms: Int[Tensor, " B"]
) -> Int[Tensor, "B S"]:
    """Return the counts of species with the right sum that are likeliest together.

    Exact, by dynamic programming over the species.

    Args:
        logits: Logits of 0, 1, ... K - 1 atoms of each species [B, S, K].
        n_atoms: Atoms of each crystal [B], at most S (K - 1).
    """
    _, choices = best_sums(logits, int(n_atoms.max()))
    found, rest = [], n_atoms
    for choice in reversed(choices):
        found.append(choice.gather(1, rest.unsqueeze(1)).squeeze(1))
        rest = rest - found[-1]
    return torch.stack(found[::-1], dim=1)


def best_sums(
    logits: Float[Tensor, "B S K"], most: int
) -> tuple[Float[Tensor, "B most_1"], list[Int[Tensor, "B most_1"]]]:
    """Return how likely the likeliest counts are that have each sum, and which they are.

    Args:
        logits: Logits of 0, 1, ... K - 1 atoms of each species [B, S, K].
        most: Largest sum.

    Returns:
        Logarithms of the probabilities for sums of 0, 1, ... atoms, -inf for none, float64; and for
        every species, its count where it and those before have each sum.
    """
    chances = logits.double().log_softmax(dim=2)
    batch, n_species, kinds = chances.shape
    total = torch.arange(most + 1, device=logits.device).unsqueeze(1)
    # Atoms of the species before, were there so many of this one.
    left = total - torch.arange(kinds, device=logits.device)
    best = chances.new_full((batch, most + 1), -torch.inf)
    best[:, 0] = 0.0
    choices = []
    for species in range(n_species):
        before = best[:, left.clamp(min=0)].masked_fill(left < 0, -torch.inf)
        best, choice = (before + chances[:, species].unsqueeze(1)).max(dim=2)
        choices.append(choice)
    return best, choices
