"""What of a molecule is given: elements, or a scaffold with its bonds and positions."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from matkit.errors import ConfigError
from matkit.generative.parts.alignment import centred
from matkit.generative.parts.layout import atom_mask, pad
from matkit.generative.parts.molecules import Classes, DenseMolecules, one_hot, pair_mask
from matkit.generative.parts.pairs import pairs_of
from matkit.generative.parts.randomness import Noise
from matkit.generative.parts.scaffolds import random_parts
from matkit.interfaces import Condition
from matkit.interfaces.species import check_species


@dataclass(frozen=True)
class Given:
    """What is known of molecules from the beginning.

    Attributes:
        part: Atoms of a scaffold, with charges, positions and the bonds between them [B, n].
        species: Atoms whose element is known, those of the scaffold among them [B, n].
        mask: Which places hold an atom [B, n].
    """

    part: Bool[Tensor, "B n"]
    species: Bool[Tensor, "B n"]
    mask: Bool[Tensor, "B n"]

    @property
    def has_scaffold(self) -> Bool[Tensor, " B"]:
        """Which molecules have a scaffold, and so an orientation."""
        return self.part.any(dim=1)

    @property
    def anchor(self) -> Bool[Tensor, "B n"]:
        """Atoms whose centre is the origin: those of the scaffold, or all [B, n]."""
        return torch.where(self.has_scaffold.unsqueeze(1), self.part, self.mask)

    @property
    def free(self) -> tuple[Bool[Tensor, "B n"], Bool[Tensor, "B n"], Bool[Tensor, "B P"]]:
        """Which elements, charges and bonds are to be found."""
        n = self.mask.shape[1]
        left, right = torch.tril_indices(n, n, -1, device=self.mask.device)
        within = self.part[:, left] & self.part[:, right]
        return self.mask & ~self.species, self.mask & ~self.part, pair_mask(self.mask) & ~within

    def settled(self, positions: Float[Tensor, "B n 3"]) -> Float[Tensor, "B n 3"]:
        """Return positions about the centre, where no scaffold says where they are."""
        middle = centred(positions, self.mask, self.mask)
        return torch.where(self.has_scaffold.view(-1, 1, 1), positions, middle)


def random_given(
    data: DenseMolecules, hydrogen: Bool[Tensor, "B n"], shares: tuple[float, float], noise: Noise
) -> Given:
    """Return what a training step shows: nothing, all elements, or a connected part.

    Args:
        data: Molecules.
        hydrogen: Which atoms are hydrogens [B, n].
        shares: Parts of the molecules with elements and with a part given.
        noise: One stream of random numbers per molecule.
    """
    formula, scaffold = (noise.uniform() < share for share in shares)
    bonded = (data.bonds[..., 1:].sum(dim=2, keepdim=True) > 0).to(data.bonds)
    parts = random_parts(
        bonded, data.mask & ~hydrogen, pairs_of(data.mask, data.bonds.dtype), noise
    )
    part = parts & scaffold.unsqueeze(1)
    return Given(part, (formula.unsqueeze(1) & data.mask) | part, data.mask)


def given_by(
    condition: Condition, classes: Classes, spread: float, like: Float[Tensor, "*any"]
) -> tuple[DenseMolecules, Given, Float[Tensor, "B 1 3"]]:
    """Return what a condition gives, about its centre in units of the spread, and the centre in Å.

    Args:
        condition: What molecules are to be.
        classes: The classes of the model.
        spread: Unit of length in Å.
        like: Sets type and device.
    """
    mask = atom_mask(condition.sizes.to(like.device))
    known, part = classes.empty(mask, like.dtype), torch.zeros_like(mask)
    center = known.positions[:, :1]
    if condition.species is not None:
        rows = one_hot(condition.species.to(like.device), classes.species, "element", like.dtype)
        known = replace(known, species=pad(rows, mask))
    if condition.scaffold is not None:
        dense = classes.dense(condition.scaffold.to(like.device), like.dtype)
        part[:, : dense.mask.shape[1]] = dense.mask
        known = known.filled(dense)
        middle = centred(known.positions, part, part)
        center = (known.positions - middle)[:, :1]
        known = replace(known, positions=middle / spread)
    return known, Given(part, part if condition.species is None else mask, mask), center


def check_scaffold(condition: Condition, species: tuple[int, ...]) -> None:
    """Raise if a scaffold cannot be part of what is asked for.

    Args:
        condition: What molecules are to be.
        species: Atomic numbers that the generator knows.

    Raises:
        UnknownElementError: it has another element.
        ConfigError: it leaves no atom to be made, or the species do not begin with its own.
    """
    if (scaffold := condition.scaffold) is None:
        return
    check_species(scaffold.species, scaffold.batch, species)
    room = condition.sizes.cpu() - scaffold.n_atoms.cpu()
    if int(room.min()) < 1:
        b = int(room.argmin())
        raise ConfigError(
            f"A scaffold of {int(scaffold.n_atoms[b])} atoms leaves nothing to be made of a "
            f"molecule of {int(condition.sizes[b])}. Ask for more atoms."
        )
    if condition.species is not None:
        mask = atom_mask(condition.sizes)
        first = pad(condition.species, mask)[:, : int(scaffold.n_atoms.max())]
        part = atom_mask(scaffold.n_atoms)
        if not torch.equal(first[part], scaffold.species):
            raise ConfigError("Expected species that begin with those of the scaffold.")
