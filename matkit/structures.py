"""The one structure type: a frozen batch of atomic structures."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from matkit.scopes import Scoped, cat, scoped

__all__ = ["Structures", "cat"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Structures(Scoped):
    """A batch of B structures with N atoms in all; one structure is a batch of one.

    Attributes:
        positions: Cartesian coordinates [N, 3], Å, float64.
        species: Atomic numbers [N]; 0 is a masked atom.
        cell: Lattice vectors as rows [B, 3, 3], Å, float64; zero rows where there are none.
        pbc: Periodicity along each lattice vector [B, 3].
        n_atoms: Atoms in each structure [B].
        atom: Further per-atom tensors [N, ...], such as `forces` in eV/Å.
        system: Further per-structure tensors [B, ...], such as `energy` in eV, `stress` in
            eV/Å³ (positive in tension), `charge` in e, `spin` = multiplicity 2S+1.
        bonds: Pairs of bonded atoms [M, 2], each once, those of one structure together and in the
            order of the structures; None where bonds are not known.
        bond: Further per-bond tensors [M, ...], such as `order` (1, 1.5, 2, 3).
    """

    positions: Float[Tensor, "N 3"] = scoped("atom")
    cell: Float[Tensor, "B 3 3"] = scoped("system")
    pbc: Bool[Tensor, "B 3"] = scoped("system")
    atom: Mapping[str, Tensor] = scoped("atom", default_factory=dict)
    system: Mapping[str, Tensor] = scoped("system", default_factory=dict)
    bonds: Int[Tensor, "M 2"] | None = scoped("bond", points=True, default=None)
    bond: Mapping[str, Tensor] = scoped("bond", default_factory=dict)
    owners: ClassVar[dict[str, str]] = {"bond": "bonds"}

    @property
    def volume(self) -> Float[Tensor, " B"]:
        """Cell volumes [B] in Å³; zero where a cell vector is missing."""
        a, b, c = self.cell.unbind(dim=1)
        return (torch.linalg.cross(a, b) * c).sum(dim=1).abs()
