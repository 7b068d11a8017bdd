"""Dense batches of molecules: atoms, formal charges, bonds and positions, with their classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.errors import StructureError
from matkit.generative.parts.alignment import centred
from matkit.generative.parts.layout import atom_mask, pad
from matkit.generative.parts.pairs import pair_number
from matkit.structures import Structures


@dataclass(frozen=True)
class DenseMolecules:
    """Molecules, or what a network says of them.

    Classes are one-hot vectors, zeros where they are covered, or logits.

    Attributes:
        species: Classes of elements [B, n, S].
        charges: Classes of formal charges [B, n, Q].
        bonds: Classes of bonds, the first is none [B, P, O], pairs as in `parts/pairs.py`.
        positions: Cartesian coordinates [B, n, 3], in units of the model.
        mask: Which places hold an atom [B, n].
    """

    species: Float[Tensor, "B n S"]
    charges: Float[Tensor, "B n Q"]
    bonds: Float[Tensor, "B P O"]
    positions: Float[Tensor, "B n 3"]
    mask: Bool[Tensor, "B n"]

    def index(self, which: Int[Tensor, " b"]) -> DenseMolecules:
        """Return the molecules numbered `which`, as much padded."""
        return DenseMolecules(*(value[which] for value in vars(self).values()))

    def with_rows(self, which: Int[Tensor, " b"], others: DenseMolecules) -> DenseMolecules:
        """Return a copy in which the molecules numbered `which` are others."""
        rows = zip(vars(self).values(), vars(others).values(), strict=True)
        return DenseMolecules(*(mine.index_put((which,), new.to(mine)) for mine, new in rows))

    def filled(self, part: DenseMolecules) -> DenseMolecules:
        """Return a copy whose first atoms and pairs are those of smaller molecules."""
        return replace(
            self,
            species=_with_first(self.species, part.species, part.mask),
            charges=_with_first(self.charges, part.charges, part.mask),
            bonds=_with_first(self.bonds, part.bonds, pair_mask(part.mask)),
            positions=_with_first(self.positions, part.positions, part.mask),
        )

    def probabilities(self) -> DenseMolecules:
        """Return probabilities in the place of logits, without a gradient."""
        return replace(
            self,
            species=self.species.softmax(dim=-1).detach(),
            charges=self.charges.softmax(dim=-1).detach(),
            bonds=self.bonds.softmax(dim=-1).detach(),
            positions=self.positions.detach(),
        )


@dataclass(frozen=True)
class Classes:
    """What the classes of molecules mean.

    Attributes:
        species: Atomic numbers.
        charges: Formal charges in e.
        orders: Orders of bonds; the class before them is none.
    """

    species: tuple[int, ...]
    charges: tuple[int, ...]
    orders: tuple[float, ...]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Number of classes of species, charges and bonds."""
        return len(self.species), len(self.charges), 1 + len(self.orders)

    def dense(self, structures: Structures, dtype: torch.dtype) -> DenseMolecules:
        """Return structures as dense molecules; positions in Å stay float64.

        Raises:
            StructureError: their bonds or charges are not known, or of a kind that is no class.
        """
        check_bonds(structures)
        assert structures.bonds is not None
        mask = atom_mask(structures.n_atoms)
        charge, order = structures.atom["formal_charge"], structures.bond["order"]
        species = one_hot(structures.species, self.species, "element", dtype)
        kinds = one_hot(order, (0.0, *self.orders), "bond order", dtype)
        molecule = structures.batch[structures.bonds[:, 0]]
        local = structures.bonds - structures.offsets[molecule].unsqueeze(1)
        n = mask.shape[1]
        bonds = species.new_zeros(len(mask), n * (n - 1) // 2, len(self.orders) + 1)
        bonds[:, :, 0] = 1.0
        bonds[molecule, pair_number(local[:, 0], local[:, 1])] = kinds
        return DenseMolecules(
            species=pad(species, mask),
            charges=pad(one_hot(charge, self.charges, "formal charge", dtype), mask),
            bonds=bonds * pair_mask(mask).unsqueeze(2),
            positions=pad(structures.positions, mask),
            mask=mask,
        )

    def empty(self, mask: Bool[Tensor, "B n"], dtype: torch.dtype) -> DenseMolecules:
        """Return molecules of which nothing is known, all atoms at the origin."""
        b, n = mask.shape
        sizes = (n, n, n * (n - 1) // 2)
        species, charges, bonds = (
            torch.zeros(b, size, count, dtype=dtype, device=mask.device)
            for size, count in zip(sizes, self.counts, strict=True)
        )
        positions = torch.zeros(b, n, 3, dtype=torch.float64, device=mask.device)
        return DenseMolecules(species, charges, bonds, positions, mask)

    def structures(self, molecules: DenseMolecules) -> Structures:
        """Return dense molecules, of the likeliest classes and positions in Å, as structures."""
        mask = molecules.mask
        device, n_atoms = mask.device, mask.sum(dim=1)
        first = torch.nn.functional.pad(n_atoms.cumsum(0), (1, 0))[:-1]
        kind = molecules.bonds.argmax(dim=-1) * pair_mask(mask)
        molecule, pair = kind.nonzero(as_tuple=True)
        n = mask.shape[1]
        ends = torch.stack(list(torch.tril_indices(n, n, -1, device=device)), dim=1)
        species = torch.tensor(self.species, device=device)[molecules.species.argmax(dim=-1)]
        charges = torch.tensor(self.charges, device=device)[molecules.charges.argmax(dim=-1)]
        orders = torch.tensor((0.0, *self.orders), device=device, dtype=torch.float64)
        return Structures(
            positions=molecules.positions.double()[mask],
            species=species[mask],
            cell=torch.zeros(len(mask), 3, 3, dtype=torch.float64, device=device),
            pbc=torch.zeros(len(mask), 3, dtype=torch.bool, device=device),
            n_atoms=n_atoms,
            atom={"formal_charge": charges[mask]},
            bonds=ends[pair] + first[molecule].unsqueeze(1),
            bond={"order": orders[kind[molecule, pair]]},
        )


def _with_first(values: Tensor, first: Tensor, mask: Tensor) -> Tensor:
    """Return values whose first rows are others, where the mask of these says so."""
    count, both = first.shape[1], values.clone()
    both[:, :count] = torch.where(mask.unsqueeze(2), first.to(values), values[:, :count])
    return both


def pair_mask(mask: Bool[Tensor, "B n"]) -> Bool[Tensor, "B P"]:
    """Return which pairs are pairs of atoms; those of a molecule come first."""
    n, n_atoms = mask.shape[1], mask.sum(dim=1)
    count = (n_atoms * (n_atoms - 1) // 2).unsqueeze(1)
    return torch.arange(n * (n - 1) // 2, device=mask.device) < count


def check_bonds(structures: Structures) -> None:
    """Refuse structures whose bonds and charges are not known.

    Raises:
        StructureError: they are not.
    """
    known = {"order": structures.bond, "formal_charge": structures.atom}
    lacking = [name for name, fields in known.items() if name not in fields]
    if structures.bonds is None or lacking:
        raise StructureError(
            "Expected molecules with `bonds`, their `order` and the `formal_charge` of atoms; "
            f"there is no {', '.join(lacking) or 'bonds'}. `matkit.molecules.reading` finds them."
        )


def molecule_kinds(structures: Structures) -> dict[str, Any]:
    """Return the charges, bond orders and the spread of the coordinates of a training set."""
    check_bonds(structures)
    mask = atom_mask(structures.n_atoms)
    positions = centred(pad(structures.positions, mask), mask, mask)[mask]
    return {
        "charges": structures.atom["formal_charge"].unique().tolist(),
        "orders": structures.bond["order"].unique().tolist(),
        "spread": float(positions.square().mean().sqrt()),
    }


def one_hot(
    values: Tensor, classes: Sequence[float], noun: str, dtype: torch.dtype
) -> Float[Tensor, "N C"]:
    """Return classes as one-hot vectors.

    Args:
        values: What is to be told apart [N].
        classes: The values there may be.
        noun: What they are called.
        dtype: Type of the vectors.

    Raises:
        StructureError: a value is no class.
    """
    found = values.unsqueeze(1) == torch.tensor(classes, device=values.device, dtype=values.dtype)
    if not bool(found.any(dim=1).all()):
        strange = values[~found.any(dim=1)].unique().tolist()
        raise StructureError(
            f"The generator does not know the {noun} {', '.join(f'{x:g}' for x in strange)}. It "
            f"knows: {', '.join(f'{x:g}' for x in classes)}. Take molecules without."
        )
    return found.to(dtype)


def guided_ends(told: DenseMolecules, plain: DenseMolecules, guidance: float) -> DenseMolecules:
    """Return predictions with what the network was told stressed, 1 for the told ones."""
    fields = ("species", "charges", "bonds", "positions")
    stressed = {
        name: guidance * getattr(told, name) + (1 - guidance) * getattr(plain, name)
        for name in fields
    }
    return replace(told, **stressed)
